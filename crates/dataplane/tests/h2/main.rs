//! HTTP/2 in front of a data plane, over real sockets: by a decent client, and frame by frame.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[allow(dead_code, reason = "the tests of HTTP/1.1 use the rest")]
#[path = "../traffic/backend.rs"]
mod backend;
#[allow(dead_code, reason = "the tests of HTTP/1.1 use the rest")]
#[path = "../traffic/client.rs"]
mod client;
#[allow(dead_code, reason = "the tests of HTTP/1.1 use the rest")]
#[path = "../traffic/node.rs"]
mod node;

mod answers;
mod bodies;
mod connection;
mod decent;
mod frames;
mod grpc;
mod limits;
mod requests;
mod streams;
