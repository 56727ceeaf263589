//! Streams over HTTP/2: what comes goes on at once, both ways.
//!
//! Each piece is sent only once the one before has arrived: what holds anything back would hang.

use super::decent::{decent, get, post};
use super::requests::h2c;
use crate::backend::Backend;
use crate::node::{Node, forwarding, run};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Semaphore;

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[test]
fn an_event_is_with_the_client_before_the_next_is_sent() {
    run(async {
        for (kind, event) in [
            ("text/event-stream", "data: twenty bytes\n\n"),
            ("text/event-stream; charset=utf-8", "data: twenty bytes\n\n"),
            ("application/x-ndjson", "{\"twenty\": \"bytes\"}\n"),
            ("application/x-ndjson", "x"),
        ] {
            let go = Arc::new(Semaphore::new(0));
            let told = Arc::clone(&go);
            let backend = Backend::new(move |mut conn| {
                let told = Arc::clone(&told);
                async move {
                    conn.request().await;
                    conn.say(format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
                    ))
                    .await;
                    for _ in 0..20 {
                        told.acquire().await.unwrap().forget();
                        conn.say(chunk(event.as_bytes())).await;
                    }
                }
            })
            .await;
            let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
            let client = decent(node.address()).await;
            let mut request = get("/");
            let headers = request.headers_mut();
            headers.insert("accept-encoding", "gzip, br".parse().unwrap());
            let mut sender = client.sender.clone().ready().await.unwrap();
            let (answer, _) = sender.send_request(request, true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.headers()["content-type"], kind);
            assert!(!answer.headers().contains_key("content-encoding"));
            let mut body = answer.into_body();
            for _ in 0..20 {
                go.add_permits(1);
                let mut came = Vec::new();
                while came.len() < event.len() {
                    let more = body.data().await.unwrap().unwrap();
                    body.flow_control().release_capacity(more.len()).unwrap();
                    came.extend(more);
                }
                assert_eq!(came, event.as_bytes());
            }
        }
    });
}

#[test]
fn an_answer_may_go_beside_its_request_piece_by_piece() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let Some(_) = conn.head().await else { return };
            conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for byte in b'a'..b'k' {
                assert_eq!(conn.bytes(6).await.unwrap(), chunk(&[byte]));
                conn.say(chunk(&[byte])).await;
            }
            conn.bytes(5).await;
            conn.say("0\r\n\r\n").await;
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let client = decent(node.address()).await;
        let (answer, mut up) = client.begin(post("/")).await.unwrap();
        let mut down = answer.await.unwrap().into_body();
        for byte in b'a'..b'k' {
            up.send_data(Bytes::copy_from_slice(&[byte]), false).unwrap();
            assert_eq!(down.data().await.unwrap().unwrap(), [byte][..]);
        }
        up.send_data(Bytes::new(), true).unwrap();
        while let Some(rest) = down.data().await {
            assert_eq!(rest.unwrap(), [][..]);
        }
    });
}
