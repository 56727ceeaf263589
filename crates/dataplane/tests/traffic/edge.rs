//! What holds before a route is known: who is at the other end, and how slow it may be.

use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run, settings, until};
use sluice_dataplane::{Edge, MaxMemory, Settings};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

const SOON: Duration = Duration::from_millis(100);

/// As a balancer would send them, for 192.0.2.7:56324.
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn behind_a_balancer(workers: usize, edge: Edge) -> Settings {
    Settings {
        proxy_protocol: ["127.0.0.0/8".parse().unwrap()].into(),
        ..settings(workers, edge)
    }
}

fn refused(node: &Node, why: &str) -> f64 {
    node.metric(&format!("sluice_connections_refused_total{{why=\"{why}\"}}"))
}

#[test]
fn a_balancer_tells_whose_the_connection_is() {
    run(async {
        let backend = Backend::answering(|got| ok(got.field("x-forwarded-for").unwrap())).await;
        let node = Node::with(&forwarding(&backend.url(), ""), behind_a_balancer(1, Edge::default()));
        for (header, client) in [
            (LINE, "192.0.2.7"),
            (BINARY, "192.0.2.7"),
            (LOCAL, "127.0.0.1"),
            (UNKNOWN, "127.0.0.1"),
        ] {
            let mut together = node.client().await;
            together.say([header, REQUEST].concat()).await;
            assert_eq!(together.answer().await.unwrap().text(), client);
            // The connection goes on as any other.
            assert_eq!(together.get("/").await.text(), client);
            let mut apart = node.client().await;
            for byte in header {
                apart.say([*byte]).await;
            }
            assert_eq!(apart.get("/").await.text(), client);
        }
    });
}

#[test]
fn trust_is_in_the_address_that_the_balancer_tells_and_not_in_its_own() {
    run(async {
        let backend = Backend::answering(|got| ok(got.field("x-forwarded-for").unwrap())).await;
        let document = forwarding(&backend.url(), "")
            .replace("hosts:", "trusted_proxies: [127.0.0.1, 198.51.100.0/24]\n    hosts:");
        let node = Node::with(&document, behind_a_balancer(1, Edge::default()));
        for (source, seen) in [
            ("192.0.2.7", "192.0.2.7"),
            ("198.51.100.9", "203.0.113.5, 198.51.100.9"),
        ] {
            let mut client = node.client().await;
            client.say(format!("PROXY TCP4 {source} 127.0.0.1 1 2\r\n")).await;
            let answer = client
                .ask("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n")
                .await;
            assert_eq!(answer.text(), seen);
        }
    });
}

#[test]
fn a_connection_without_the_header_of_its_peer_is_closed_and_counted() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            header_timeout: SOON,
            ..Edge::default()
        };
        let node = Node::with(&forwarding(&backend.url(), ""), behind_a_balancer(1, edge));
        let mut wrong = BINARY.to_vec();
        wrong[12] = 0x31;
        for (n, sent) in [REQUEST, b"PROXY TCP4 nobody\r\n", &wrong, b"PROXY TCP4", b""]
            .into_iter()
            .enumerate()
        {
            let mut client = node.client().await;
            client.say(sent).await;
            assert_eq!(client.end().await.bytes, b"", "{sent:?}");
            until("it is counted", || refused(&node, "proxy") == (n + 1) as f64).await;
        }
        // A look at the port is none.
        drop(node.client().await);
        until("it is gone", || node.dataplane.connections() == 0).await;
        assert_eq!(refused(&node, "proxy"), 5.0);
        assert_eq!(backend.count(), 0);
    });
}

#[test]
fn a_header_of_whoever_is_no_balancer_is_a_bad_request() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for header in [LINE, BINARY] {
            let mut client = node.client().await;
            client.say([header, REQUEST].concat()).await;
            assert_eq!(client.answer().await.unwrap().code(), "bad_request");
            assert_eq!(client.end().await.bytes, b"");
        }
        assert_eq!(backend.count(), 0);
    });
}

#[test]
fn the_limit_by_address_counts_those_whom_the_balancer_names() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            per_address: Some(2),
            ..Edge::default()
        };
        let node = Node::with(&forwarding(&backend.url(), ""), behind_a_balancer(3, edge));
        let mut open = Vec::new();
        for source in ["192.0.2.7", "192.0.2.7", "192.0.2.8"] {
            let mut client = node.client().await;
            client.say(format!("PROXY TCP4 {source} 127.0.0.1 1 2\r\n")).await;
            assert_eq!(client.get("/").await.status, 200);
            open.push(client);
        }
        let mut third = node.client().await;
        third.say(LINE).await;
        assert_eq!(third.end().await.bytes, b"");
        assert_eq!(refused(&node, "address"), 1.0);
        drop(open);
        until("all are gone", || node.dataplane.connections() == 0).await;
        let mut again = node.client().await;
        again.say([LINE, REQUEST].concat()).await;
        assert_eq!(again.answer().await.unwrap().status, 200);
    });
}

#[test]
fn a_connection_is_handed_over_with_what_the_balancer_told() {
    run(async {
        let backend = Backend::answering(|got| ok(got.field("x-forwarded-for").unwrap())).await;
        let node = Node::with(&forwarding(&backend.url(), ""), behind_a_balancer(3, Edge::default()));
        let mut clients = Vec::new();
        for n in 0..60 {
            let mut client = node.client().await;
            let source = format!("192.0.2.{n}");
            client
                .say([format!("PROXY TCP4 {source} 127.0.0.1 1 2\r\n").as_bytes(), REQUEST].concat())
                .await;
            assert_eq!(client.answer().await.unwrap().text(), source);
            clients.push(client);
        }
        until("some were handed over", || {
            node.metric("sluice_connections_handed_total") > 0.0
        })
        .await;
    });
}

#[test]
fn a_drain_waits_for_a_balancer_that_has_begun_to_tell() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            drain_delay: Duration::ZERO,
            ..Edge::default()
        };
        let node = Node::with(&forwarding(&backend.url(), ""), behind_a_balancer(1, edge));
        let mut client = node.client().await;
        client.say(&LINE[..10]).await;
        until("it is there", || node.dataplane.connections() == 1).await;
        let finish = async {
            until("nobody listens", || {
                std::net::TcpStream::connect(node.address()).is_err()
            })
            .await;
            client.say([&LINE[10..], REQUEST].concat()).await;
            assert_eq!(client.answer().await.unwrap().status, 200);
        };
        tokio::join!(node.dataplane.drain(), finish);
    });
}

#[test]
fn a_body_that_trickles_is_given_up_and_one_that_waits_for_its_answer_is_not() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let head = conn.head().await.unwrap();
            if head.contains("GET") || head.contains("/conversation") {
                // An answer that begins before the request ends.
                conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            }
            conn.rest().await;
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ""), Edge::default());
        let post =
            |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n{more}\r\n");
        let began = Instant::now();
        let (mut trickling, mut conversation, mut call) =
            (node.client().await, node.client().await, node.client().await);
        trickling.say(post("/", "")).await;
        conversation.say(post("/conversation", "")).await;
        call.say(post("/call", "Content-Type: application/grpc\r\n")).await;
        assert_eq!(conversation.head().await.unwrap().0, 200);
        let mut trickle = tokio::time::interval(SOON);
        let answer = loop {
            tokio::select! {
                answer = trickling.answer() => break answer.unwrap(),
                _ = trickle.tick() => {
                    for client in [&conversation, &call] {
                        let _ = client.stream.try_write(b"x").unwrap();
                    }
                }
            }
        };
        assert_eq!((answer.status, answer.code().as_str()), (408, "client_timeout"));
        assert!(began.elapsed() >= Duration::from_secs(5));
        // These two are as slow, and still there.
        for client in [&mut conversation, &mut call] {
            client.say("x").await;
            let ended = tokio::time::timeout(SOON, client.end()).await;
            assert!(ended.is_err(), "{ended:?}");
        }
    });
}

#[test]
fn a_reader_that_takes_nothing_is_given_up() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            while conn.stream.write_all(chunk.as_bytes()).await.is_ok() {}
        })
        .await;
        let edge = Edge {
            write_stall: 5 * SOON,
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut client = node.client().await;
        client.say(REQUEST).await;
        assert_eq!(client.head().await.unwrap().0, 200);
        until("it is given up", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn half_heads_by_the_hundred_keep_nobody_waiting_and_end_in_a_408_each() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            header_timeout: 20 * SOON,
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut halves = Vec::new();
        for _ in 0..200 {
            let mut client = node.client().await;
            client.say("GET / HTTP/1.1\r\nHost: a\r\nX-").await;
            halves.push(client);
        }
        let mut other = node.client().await;
        for _ in 0..50 {
            assert_eq!(other.get("/").await.status, 200);
        }
        for mut half in halves {
            assert_eq!(half.answer().await.unwrap().code(), "client_timeout");
            assert_eq!(half.end().await.bytes, b"");
        }
    });
}

#[test]
fn where_the_memory_is_used_up_connections_are_closed_and_counted_and_the_level_is_told() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            max_memory: MaxMemory::Bytes(1),
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let level = || node.metric("sluice_overload_level{resource=\"memory\"}");
        until("it is seen", || level() == 2.0).await;
        // The orders may be a moment on their way to the worker.
        loop {
            let mut client = node.client().await;
            client.say(REQUEST).await;
            if client.answer().await.is_err() {
                break;
            }
        }
        assert!(refused(&node, "overload") > 0.0);
    });
}

#[test]
fn a_request_whose_coding_is_refused_is_the_last_of_its_connection() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for coding in ["gzip, chunked", "chunked, chunked", "identity, chunked"] {
            for (body, later) in [
                ("", ""),
                ("0\r\n\r\n", ""),
                ("5\r\nhel", ""),
                ("", "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
            ] {
                let mut client = node.client().await;
                client
                    .say(format!(
                        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n{body}"
                    ))
                    .await;
                let answer = client.answer().await.unwrap();
                assert_eq!(answer.code(), "bad_request");
                assert_eq!(answer.field("connection"), Some("close"), "{coding} {body:?}");
                if !later.is_empty() {
                    client.say(later).await;
                }
                assert_eq!(client.end().await.bytes, b"", "{coding} {body:?}");
            }
        }
        until("all are closed", || node.dataplane.connections() == 0).await;
        assert_eq!(backend.count(), 0);
    });
}
