//! Clients and services that mean no good, or do not know better.

use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run, until};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn trailers_speak_for_nobody() {
    run(async {
        let backend = Backend::answering(|got| {
            let body = String::from_utf8_lossy(&got.body).to_lowercase();
            assert!(body.ends_with("\r\n0\r\nx-sum: 7\r\n\r\n"), "{body}");
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-After, Sluice-Version, X-Request-Id\r\n\r\n2\r\nok\r\n0\r\nX-After: 9\r\nSluice-Version: 77\r\nX-Request-Id: 5\r\n\r\n".to_owned()
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for _ in 0..2 {
            let answer = client
                .ask("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Sum, X-Forwarded-For, X_Forwarded_For, Forwarded, Via, X-Request-Id, X-Consumer-Id\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nVia: 1.1 other\r\nX-Request-Id: 1\r\nX-Consumer-Id: root\r\n\r\n")
                .await;
            assert_eq!(answer.text(), "ok");
            assert_eq!(answer.trailers.to_lowercase(), "x-after: 9\r\n");
        }
    });
}

#[test]
fn an_old_target_s_answer_goes_on_in_our_version_and_cut_it_does_not_look_whole() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let got = conn.request().await.unwrap();
            conn.say("HTTP/1.0 200 OK\r\n\r\nall there is").await;
            if got.target() == "/cut" {
                tokio::time::sleep(Duration::from_millis(10)).await;
                conn.reset();
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for _ in 0..2 {
            let answer = client.get("/whole").await;
            assert!(answer.head.starts_with("HTTP/1.1 200"), "{}", answer.head);
            assert_eq!(answer.text(), "all there is");
        }
        client.say("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.answer().await.unwrap_err();
    });
}

#[test]
fn a_client_that_reads_slowly_holds_a_target_no_longer_than_the_whole_exchange_may_take() {
    run(async {
        let long = ok(&"x".repeat(30_000_000));
        let backend = Backend::answering(move |_| long.clone()).await;
        let node = Node::new(&forwarding(&backend.url(), ", timeout: { total: 2s }"));
        let mut client = node.client().await;
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut first = [0; 100];
        client.stream.read_exact(&mut first).await.unwrap();
        assert!(first.starts_with(b"HTTP/1.1 200"));
        until("it is broken off", || node.dataplane.connections() == 0).await;
        assert!(client.end().await.bytes.len() < 30_000_000);
    });
}

#[test]
fn what_a_stranger_says_of_others_decides_nothing() {
    run(async {
        let document = |trusted: &str| {
            format!(
                "gateways:\n  web:\n    hosts: [\"*\"]\n    trusted_proxies: [{trusted}]\n    routes:\n      - {{ path: /a, respond: {{ text: \"none ${{request.headers['x-forwarded-proto']}}${{request.headers['x-role']}}\" }} }}\n      - {{ id: b, path: /a, match: {{ headers: {{ X-Forwarded-Proto: https }} }}, respond: {{ text: \"secure ${{request.headers['x-forwarded-proto']}}\" }} }}\n"
            )
        };
        let fields = "X-Forwarded-Proto: https\r\nX-Role: r\r\nX_Forwarded_Proto: https\r\n";
        for (trusted, text) in [("192.0.2.1", "none r"), ("127.0.0.1", "secure https")] {
            let node = Node::new(&document(trusted));
            let mut client = node.client().await;
            let answer = client.ask(&format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
            assert_eq!(answer.text(), text);
        }
    });
}

#[test]
fn a_length_has_no_zeros_in_front_where_it_goes_on() {
    run(async {
        let backend = Backend::answering(|got| {
            let length = got.field("content-length").unwrap_or("none");
            format!("HTTP/1.1 200 OK\r\nContent-Length: 00{}\r\n\r\n{length}", length.len())
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for (length, body, seen) in [
            ("010", "0123456789", "10"),
            ("000", "", "0"),
            ("0", "", "0"),
            ("2", "ab", "2"),
        ] {
            let answer = client
                .ask(&format!(
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
                ))
                .await;
            assert_eq!(answer.text(), seen);
            assert_eq!(answer.field("content-length"), Some(seen.len().to_string().as_str()));
        }
    });
}

#[test]
fn a_body_that_nobody_reads_is_never_a_request() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(head) = conn.head().await {
                let early = head.contains("/early");
                if early {
                    conn.say("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").await;
                }
                if conn.body(&head).await.is_none() {
                    return;
                }
                if !early {
                    conn.say(ok("served")).await;
                }
            }
        })
        .await;
        let document = format!(
            "upstreams: {{ a: {{ targets: [\"{}\"] }} }}\ngateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ path: /**, upstream: a }}\n      - {{ path: /small, upstream: a, max_body: 4 }}\n      - {{ path: /own, respond: {{ text: own }} }}\n      - {{ path: /get, methods: [GET], upstream: a }}\n      - {{ path: /slash/**, encoded_slash: refuse, upstream: a }}\n",
            backend.url()
        );
        let node = Node::new(&document);
        let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
        let framed = [
            format!("Content-Length: {}\r\n\r\n{inner}", inner.len()),
            format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
                inner.len()
            ),
        ];
        for (path, status) in [("/small", 413), ("/own", 200), ("/slash/a%2Fb", 400), ("/early", 403)] {
            for rest in &framed {
                for pause in [false, true] {
                    let mut client = node.client().await;
                    client.say(format!("POST {path} HTTP/1.1\r\nHost: a\r\n")).await;
                    let (first, second) = rest.split_at(rest.len() / 2);
                    client.say(first).await;
                    if pause {
                        assert_eq!(client.answer().await.unwrap().status, status, "{path}");
                    }
                    // The connection may have ended by now, which is as well.
                    let more = format!("{second}GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                    let _ = client.stream.write_all(more.as_bytes()).await;
                    if !pause {
                        assert_eq!(client.answer().await.unwrap().status, status, "{path}");
                    }
                    let after = client.end().await.bytes;
                    let answers = String::from_utf8_lossy(&after).matches("HTTP/1.1 ").count();
                    assert!(answers <= 1, "{path}: {after:?}");
                }
            }
        }
        let heads = backend.heads();
        assert!(!heads.iter().any(|head| head.contains("/smuggled")), "{heads:#?}");
    });
}

#[test]
fn a_wish_to_switch_protocols_changes_nothing_about_what_follows() {
    run(async {
        let backend = Backend::answering(|got| ok(&format!("{} {:?}", got.target(), got.field("upgrade")))).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for (upgrade, told) in [
            ("Connection: upgrade\r\nUpgrade: websocket\r\n", "Some(\"websocket\")"),
            ("Connection: keep-alive\r\nUpgrade: websocket\r\n", "None"),
            ("Connection: upgrade\r\nUpgrade: foo\r\n", "None"),
            (
                "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
                "None",
            ),
        ] {
            let mut client = node.client().await;
            client
                .say(format!(
                    "GET /first HTTP/1.1\r\nHost: a\r\n{upgrade}\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n"
                ))
                .await;
            assert_eq!(client.answer().await.unwrap().text(), format!("/first {told}"));
            assert_eq!(client.answer().await.unwrap().text(), "/second None");
        }
        assert_eq!(backend.count(), 8);
    });
}

#[test]
fn whatever_the_method_a_body_may_be_announced_and_what_follows_stays_in_step() {
    run(async {
        let backend = Backend::answering(|got| {
            assert_eq!(got.field("expect"), None);
            ok(&format!("{} {}", got.target(), got.body.len()))
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for method in ["GET", "OPTIONS", "DELETE", "PUT", "PATCH", "TRACE", "FOO"] {
            for (framing, length) in [
                ("Content-Length: 3\r\n\r\nabc", 3),
                ("Content-Length: 0\r\n\r\n", 0),
                ("\r\n", 0),
            ] {
                let mut client = node.client().await;
                client
                    .say(format!(
                        "{method} /first HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
                    ))
                    .await;
                assert_eq!(
                    client.answer().await.unwrap().text(),
                    format!("/first {length}"),
                    "{method}"
                );
                assert_eq!(client.answer().await.unwrap().text(), "/second 0", "{method}");
            }
        }
    });
}
