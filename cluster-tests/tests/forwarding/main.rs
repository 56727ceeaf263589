//! What passes between a client and a service: heads, bodies, connections, and what happens when one side misbehaves.

mod answers;
mod bodies;
mod connections;
mod fields;
mod http2;

use cluster_tests::document::with_routes;
use cluster_tests::wire::{Head, Wire};
use cluster_tests::{Backend, Cluster, World};
use std::net::SocketAddr;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One node in front of one service, everything passed on.
async fn in_front_of(world: &World, service: &Backend) -> Cluster {
    let cluster = Cluster::one(world).await;
    cluster
        .apply(&with_routes(
            &[("a", &service.url())],
            &["{ path: '/**', upstream: a }"],
        ))
        .await;
    cluster
}

/// Sends raw bytes and reads one whole answer.
async fn raw(at: SocketAddr, request: impl AsRef<[u8]>) -> (Head, Vec<u8>) {
    let mut wire = Wire::connect(at).await.expect("the node listens");
    wire.send(request).await.expect("it is taken");
    let head = wire.head().await.expect("an answer").expect("an answer");
    let body = wire.body(&head).await.expect("a whole body");
    (head, body)
}
