//! Messages that do not simply go there and come back.

use crate::backend::{Backend, ok};
use crate::client::Client;
use crate::node::{Node, forwarding, run, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_body_is_asked_for_only_when_the_target_reads_it() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(head) = conn.head().await {
                assert!(!head.to_lowercase().contains("expect"));
                if head.contains("/refuse") {
                    conn.say("HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        .await;
                    return;
                }
                let body = conn.body(&head).await.unwrap();
                conn.say(ok(&format!("{} bytes", body.len()))).await;
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ", max_body: 10"));
        let head = |path: &str, length: usize| {
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
        };
        let mut client = node.client().await;
        client.say(head("/", 5)).await;
        assert_eq!(client.head().await.unwrap().0, 100);
        client.say("hello").await;
        assert_eq!(client.answer().await.unwrap().text(), "5 bytes");
        // Refused by its length: never asked for.
        client.say(head("/", 11)).await;
        let (status, _) = client.head().await.unwrap();
        assert_eq!(status, 413);
        assert_eq!(backend.count(), 1);
        // Whatever a target answers early, the next request has an answer of its own.
        for _ in 0..3 {
            let mut client = node.client().await;
            client.say(head("/refuse", 5)).await;
            assert_eq!(client.answer().await.unwrap().status, 417);
            assert_eq!(node.client().await.get("/next").await.text(), "0 bytes");
        }
    });
}

#[test]
fn an_early_answer_is_passed_on_while_the_client_still_sends() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").await;
            conn.rest().await;
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ", max_body: none"));
        for framing in ["Content-Length: 50000000", "Transfer-Encoding: chunked"] {
            let mut client = node.client().await;
            client
                .say(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nhello\r\n"))
                .await;
            let answer = client.answer().await.unwrap();
            assert_eq!((answer.status, answer.text()), (403, "no"));
        }
    });
}

#[test]
fn a_refusal_reaches_a_client_that_reads_only_after_it_has_sent_all() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ", max_body: 1MiB"));
        let upload = |chunked: bool| {
            let address = node.address();
            async move {
                let mut client = Client::to(address).await;
                let framing = if chunked {
                    "Transfer-Encoding: chunked"
                } else {
                    "Content-Length: 52428800"
                };
                client
                    .say(format!("POST /up HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"))
                    .await;
                let piece = vec![b'x'; 65536];
                for _ in 0..800 {
                    let framed = if chunked {
                        [b"10000\r\n", &piece[..], b"\r\n"].concat()
                    } else {
                        piece.clone()
                    };
                    if client.stream.write_all(&framed).await.is_err() {
                        break;
                    }
                }
                client.answer().await.unwrap()
            }
        };
        for chunked in [false, true] {
            for answer in futures_util::future::join_all((0..8).map(|_| upload(chunked))).await {
                assert_eq!(answer.code(), "body_too_large");
                let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(problem["max"], 1_048_576);
            }
            if !chunked {
                assert_eq!(backend.count(), 0);
            }
        }
    });
}

#[test]
fn trailers_go_both_ways() {
    run(async {
        let backend = Backend::answering(|got| {
            let body = String::from_utf8_lossy(&got.body);
            assert!(body.to_lowercase().ends_with("0\r\nx-sum: 7\r\n\r\n"), "{body}");
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-After\r\n\r\n2\r\nok\r\n0\r\nX-After: 9\r\n\r\n".to_owned()
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for _ in 0..2 {
            let answer = client
                .ask("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
                .await;
            assert_eq!(answer.text(), "ok");
            assert_eq!(answer.trailers.to_lowercase(), "x-after: 9\r\n");
        }
    });
}

#[test]
fn a_client_that_closed_its_sending_side_gets_its_answer() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                tokio::time::sleep(Duration::from_millis(if got.target() == "/slow" { 1500 } else { 30 })).await;
                conn.say(ok(&format!("{} {}", got.target(), got.body.len()))).await;
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for (request, text) in [
            ("GET /get HTTP/1.1\r\nHost: a\r\n\r\n", "/get 0"),
            (
                "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                "/post 5",
            ),
            ("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", "/slow 0"),
        ] {
            let mut client = node.client().await;
            client.say(request).await;
            client.stream.shutdown().await.unwrap();
            assert_eq!(client.answer().await.unwrap().text(), text);
            let end = client.end().await;
            assert!(end.bytes.is_empty() && !end.reset);
        }
    });
}

#[test]
fn a_client_that_leaves_ends_its_request_at_the_target() {
    run(async {
        let gone = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&gone);
        let backend = Backend::new(move |mut conn| {
            let gone = Arc::clone(&count);
            async move {
                let head = conn.head().await.unwrap();
                if head.contains("/body") {
                    conn.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
                    while conn.stream.write_all(&[b'x'; 65536]).await.is_ok() {}
                } else {
                    conn.rest().await;
                }
                gone.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let uploading = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart";
        let ways = [
            ("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET /body HTTP/1.1\r\nHost: a\r\n\r\n", false),
            (uploading, false),
            (uploading, true),
        ];
        for (expected, (request, reset)) in (1..).zip(ways) {
            let mut client = node.client().await;
            client.say(request).await;
            until("the target has it", || backend.count() == expected).await;
            if reset {
                client.stream.set_zero_linger().unwrap();
            }
            drop(client);
            until("the target sees it leave", || gone.load(Ordering::SeqCst) == expected).await;
        }
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_reset_ends_an_answer_that_says_nothing_for_long() {
    run(async {
        let gone = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&gone);
        let backend = Backend::new(move |mut conn| {
            let gone = Arc::clone(&count);
            async move {
                conn.head().await.unwrap();
                conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n")
                    .await;
                // The next event never comes.
                conn.rest().await;
                gone.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        client.say("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut heard = Vec::new();
        while !heard.ends_with(b"event\r\n") {
            assert_ne!(client.stream.read_buf(&mut heard).await.unwrap(), 0);
        }
        client.stream.set_zero_linger().unwrap();
        drop(client);
        until("the target sees it leave", || gone.load(Ordering::SeqCst) == 1).await;
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_cut_answer_never_looks_whole() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let got = conn.request().await.unwrap();
            conn.say(match got.target() {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
                _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
            })
            .await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            conn.reset();
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for path in ["/length", "/chunked"] {
            let mut client = node.client().await;
            client.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let cut = client.answer().await.unwrap_err();
            // A plain close short of the end: curl tells it as a partial transfer.
            assert!(!cut.reset, "{path}");
            // Without any framing only a reset tells.
            let mut client = node.client().await;
            client.say(format!("GET {path} HTTP/1.0\r\nHost: a\r\n\r\n")).await;
            assert!(client.answer().await.is_err(), "{path}");
        }
        assert_eq!(backend.count(), 4);
    });
}

#[test]
fn an_old_client_is_answered_in_its_own_version() {
    run(async {
        let backend = Backend::answering(|_| {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned()
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        client.say("GET / HTTP/1.0\r\n\r\n").await;
        let answer = client.answer().await.unwrap();
        assert!(answer.head.starts_with("HTTP/1.0 200"), "{}", answer.head);
        assert_eq!(answer.field("transfer-encoding"), None);
        assert_eq!(answer.text(), "ok");
    });
}

#[test]
fn an_interim_answer_never_counts_as_the_answer() {
    run(async {
        let body = "x".repeat(300_000);
        let whole = body.clone();
        let backend = Backend::answering(move |got| {
            let interim = match got.target() {
                "/put" => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
                "/get" => "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
                _ => return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
            };
            format!("{interim}HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        client
            .say("PUT /put HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
            .await;
        assert_eq!(client.answer().await.unwrap().text(), whole);
        assert_eq!(client.get("/get").await.text(), whole);
        let answer = client.get("/unasked").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_protocol"));
        assert_eq!(client.get("/get").await.text(), whole);
        assert!(node.metric("sluice_interim_dropped_total") >= 5.0);
        assert_eq!(backend.accepted(), 2);
    });
}

#[test]
fn a_body_where_none_may_be_does_not_poison_the_next_answer() {
    run(async {
        for late in [false, true] {
            let backend = Backend::new(move |mut conn| async move {
                while let Some(got) = conn.request().await {
                    let (head, surplus) = match got.target() {
                        "/head" => ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", "twenty bytes of body"),
                        "/204" => ("HTTP/1.1 204 No Content\r\n\r\n", "eleven byte"),
                        "/304" => ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "hello"),
                        "/long" => ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "more"),
                        _ => ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext", ""),
                    };
                    if late {
                        conn.say(head).await;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        conn.say(surplus).await;
                    } else {
                        conn.say(format!("{head}{surplus}")).await;
                    }
                }
            })
            .await;
            let node = Node::new(&forwarding(&backend.url(), ""));
            for (method, path, body) in [
                ("HEAD", "/head", ""),
                ("GET", "/204", ""),
                ("GET", "/304", ""),
                ("GET", "/long", "hello"),
            ] {
                let mut client = node.client().await;
                client.say(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
                assert_eq!(client.answer_to(method).await.unwrap().text(), body, "{path}");
                if late {
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
                assert_eq!(node.client().await.get("/next").await.text(), "next", "after {path}");
                // The first client's connection is in step too.
                assert_eq!(client.get("/next").await.text(), "next", "after {path}");
            }
        }
    });
}

#[test]
fn a_connection_that_the_target_has_just_closed_costs_no_error() {
    run(async {
        for reset in [false, true] {
            // Each connection serves one request, then closes without a word.
            let backend = Backend::new(move |mut conn| async move {
                let got = conn.request().await.unwrap();
                conn.say(ok(got.target())).await;
                if reset {
                    conn.reset();
                }
            })
            .await;
            let node = Node::new(&forwarding(&backend.url(), ""));
            let mut client = node.client().await;
            for i in 0..100 {
                assert_eq!(client.get(&format!("/{i}")).await.text(), format!("/{i}"));
            }
        }
    });
}

#[test]
fn a_post_is_never_sent_twice() {
    run(async {
        // The second request of a connection is read, and the connection closed without an answer.
        let backend = Backend::new(|mut conn| async move {
            let got = conn.request().await.unwrap();
            conn.say(ok(got.target())).await;
            conn.request().await;
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for (method, length, status) in [
            ("POST", "Content-Length: 0\r\n", 502),
            ("POST", "", 502),
            ("PATCH", "Content-Length: 0\r\n", 502),
            ("PUT", "Content-Length: 0\r\n", 200),
            ("GET", "", 200),
        ] {
            assert_eq!(client.get("/warm").await.status, 200);
            let before = backend.count();
            let answer = client
                .ask(&format!("{method} /charge HTTP/1.1\r\nHost: a\r\n{length}\r\n"))
                .await;
            assert_eq!(answer.status, status, "{method}");
            let seen = backend.heads()[before..]
                .iter()
                .filter(|head| head.contains("/charge"))
                .count();
            assert_eq!(seen, if status == 502 { 1 } else { 2 }, "{method}");
            if status == 502 {
                assert_eq!(answer.code(), "upstream_reset");
            }
        }
    });
}

#[test]
fn once_an_answer_has_begun_a_try_s_time_does_not_cut_it() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                conn.say("x").await;
            }
        })
        .await;
        let node = Node::new(&forwarding(
            &backend.url(),
            ", timeout: { try: 200ms, first_byte: 300ms }",
        ));
        assert_eq!(node.client().await.get("/").await.text(), "xxxxxxxxxx");
    });
}

#[test]
fn requests_in_one_segment_are_answered_in_their_order() {
    run(async {
        let backend = Backend::answering(|got| ok(got.target())).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        let many: String = (0..20)
            .map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .collect();
        client.say(many).await;
        for i in 0..20 {
            assert_eq!(client.answer().await.unwrap().text(), format!("/{i}"));
        }
    });
}

#[test]
fn what_follows_an_ambiguous_request_is_never_read() {
    run(async {
        let backend = Backend::answering(|got| ok(got.target())).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        client
            .say(
                "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                 GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
            )
            .await;
        assert_eq!(client.answer().await.unwrap().text(), "/first");
        assert!(client.answer().await.is_err());
        let heads = backend.heads();
        assert_eq!(heads.len(), 1);
        assert!(!heads[0].to_lowercase().contains("content-length"));
    });
}

#[test]
fn whenever_a_client_leaves_nothing_of_it_stays() {
    run(async {
        // Answers in pieces, with time between them.
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                for piece in [
                    "HTTP/1.1 200 OK\r\nTransfer-Enc",
                    "oding: chunked\r\n\r\n5\r\nhello\r\n",
                ] {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    conn.say(piece).await;
                }
                conn.say(format!(
                    "{:x}\r\n{}\r\n0\r\n\r\n",
                    got.body.len().max(1),
                    "x".repeat(got.body.len().max(1))
                ))
                .await;
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let address = node.address();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n{}",
            "x".repeat(20_000)
        );
        let one = |number: u64| {
            let request = request.clone();
            async move {
                // Fixed by its number: how much it says, how long it listens, how it leaves.
                let mut chance = fastrand::Rng::with_seed(number);
                let mut client = Client::to(address).await;
                let said = if chance.bool() {
                    request.len()
                } else {
                    chance.usize(..request.len())
                };
                client.say(&request[..said]).await;
                let listening = Duration::from_micros(chance.u64(..12_000));
                let _ = tokio::time::timeout(listening, client.answer()).await;
                if chance.bool() {
                    client.stream.set_zero_linger().unwrap();
                }
            }
        };
        for round in 0..10 {
            futures_util::future::join_all((0..40).map(|i| one(round * 40 + i))).await;
        }
        until("no connection is left", || node.dataplane.connections() == 0).await;
        let level = |name: &str| node.metric(name);
        until("no request is left", || {
            level("sluice_connections{listener=\"public\",state=\"active\"}") == 0.0
        })
        .await;
        until("no target is busy", || {
            level("sluice_upstream_connections{upstream=\"a\",state=\"active\"}") == 0.0
        })
        .await;
        assert_eq!(level("sluice_panics_total{where=\"request\"}"), 0.0);
        assert_eq!(node.client().await.get("/").await.text(), "hellox");
    });
}
