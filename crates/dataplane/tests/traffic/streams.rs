//! Streams: what comes goes on at once, both ways, and for as long as anything comes.
//!
//! Each piece is sent only once the one before has arrived: what holds anything back would hang.

use crate::backend::Backend;
use crate::client::Client;
use crate::node::{Node, forwarding, run};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Sends piece after piece, each when it is told to.
async fn in_step(head: &'static str, pieces: Vec<Vec<u8>>) -> (Backend, Arc<Semaphore>) {
    let go = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&go);
    let backend = Backend::new(move |mut conn| {
        let (told, pieces) = (Arc::clone(&told), pieces.clone());
        async move {
            conn.request().await;
            conn.say(head).await;
            for piece in pieces {
                told.acquire().await.unwrap().forget();
                conn.say(piece).await;
            }
        }
    })
    .await;
    (backend, go)
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The next piece of a chunked body, however many chunks it came in.
async fn piece(client: &mut Client, length: usize) -> Vec<u8> {
    let mut piece = Vec::new();
    while piece.len() < length {
        piece.extend(client.chunk().await.unwrap());
    }
    piece
}

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nVary: Origin\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENTS_UTF8: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nVary: Origin\r\nTransfer-Encoding: chunked\r\n\r\n";
const NDJSON: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nVary: Origin\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Compression never holds back server-sent events: nothing else does either.
#[test]
fn an_event_is_with_the_client_before_the_next_is_sent() {
    run(async {
        for (head, event) in [
            (EVENTS, "data: twenty bytes\n\n"),
            (EVENTS_UTF8, "data: twenty bytes\n\n"),
            (NDJSON, "{\"twenty\": \"bytes\"}\n"),
            (NDJSON, "x"),
        ] {
            let (backend, go) = in_step(head, vec![chunk(event.as_bytes()); 20]).await;
            let node = Node::new(&forwarding(&backend.url(), ""));
            let mut client = node.client().await;
            client
                .say("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\r\n")
                .await;
            let (status, head) = client.head().await.unwrap();
            assert_eq!(status, 200);
            let field = |name| crate::backend::field(&head, name);
            assert_eq!((field("content-encoding"), field("vary")), (None, Some("Origin")));
            for _ in 0..20 {
                go.add_permits(1);
                assert_eq!(piece(&mut client, event.len()).await, event.as_bytes());
            }
        }
    });
}

#[test]
fn a_body_of_any_framing_comes_byte_by_byte() {
    run(async {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
            // To the end of the connection: passed on in chunks.
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        ] {
            let (backend, go) = in_step(head, (b'a'..b'u').map(|byte| vec![byte]).collect()).await;
            let node = Node::new(&forwarding(&backend.url(), ""));
            let mut client = node.client().await;
            client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let (_, head) = client.head().await.unwrap();
            let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
            for byte in b'a'..b'u' {
                go.add_permits(1);
                let came = match chunked {
                    true => piece(&mut client, 1).await,
                    false => client.bytes(1).await.unwrap(),
                };
                assert_eq!(came, [byte]);
            }
        }
    });
}

#[test]
fn a_clients_body_is_with_the_service_before_it_goes_on() {
    run(async {
        let got = Arc::new(Semaphore::new(0));
        let tell = Arc::clone(&got);
        let backend = Backend::new(move |mut conn| {
            let tell = Arc::clone(&tell);
            async move {
                let Some(head) = conn.head().await else { return };
                let framed = head.to_lowercase().contains("transfer-encoding");
                for byte in b'a'..b'k' {
                    let expected = if framed { chunk(&[byte]) } else { vec![byte] };
                    assert_eq!(conn.bytes(expected.len()).await.unwrap(), expected);
                    tell.add_permits(1);
                }
                if framed {
                    assert_eq!(conn.bytes(5).await.unwrap(), b"0\r\n\r\n");
                }
                conn.say(crate::backend::ok("ok")).await;
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for framing in ["Transfer-Encoding: chunked", "Content-Length: 10"] {
            let mut client = node.client().await;
            client
                .say(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"))
                .await;
            let framed = framing.starts_with("Transfer");
            for byte in b'a'..b'k' {
                client.say(if framed { chunk(&[byte]) } else { vec![byte] }).await;
                got.acquire().await.unwrap().forget();
            }
            if framed {
                client.say("0\r\n\r\n").await;
            }
            assert_eq!(client.answer().await.unwrap().text(), "ok");
        }
    });
}

#[test]
fn an_answer_may_go_beside_its_request_piece_by_piece() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let Some(_) = conn.head().await else { return };
            conn.say(NDJSON).await;
            for byte in b'a'..b'k' {
                assert_eq!(conn.bytes(6).await.unwrap(), chunk(&[byte]));
                conn.say(chunk(&[byte])).await;
            }
            conn.bytes(5).await;
            conn.say("0\r\n\r\n").await;
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        client
            .say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        client.head().await.unwrap();
        for byte in b'a'..b'k' {
            client.say(chunk(&[byte])).await;
            assert_eq!(piece(&mut client, 1).await, [byte]);
        }
        client.say("0\r\n\r\n").await;
        assert_eq!(client.chunk().await.unwrap(), b"");
    });
}

#[test]
fn a_stream_lives_by_its_heartbeats_and_ends_by_silence() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            conn.say(EVENTS).await;
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                conn.say(chunk(b":\n\n")).await;
            }
            conn.rest().await;
        })
        .await;
        let node = Node::new(&forwarding(
            &backend.url(),
            ", timeout: { idle: 400ms, first_byte: 400ms }",
        ));
        let mut client = node.client().await;
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.head().await.unwrap();
        for _ in 0..8 {
            assert_eq!(piece(&mut client, 3).await, b":\n\n");
        }
        // Cut, and not ended: the last chunk is missing.
        assert!(client.chunk().await.unwrap_err().bytes.is_empty());
    });
}
