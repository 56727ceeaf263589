//! What the gateway answers itself: one problem document for each reason.

use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run};
use sluice_dataplane::Edge;
use std::time::Duration;

#[test]
fn requests_that_cannot_be_told_apart_are_refused() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let long_name = "x".repeat(300);
        for hostile in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            "GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a.example:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\nContent-Length: 5\r\n\r\nhello",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
            "G{T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /../a HTTP/1.1\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let mut client = node.client().await;
            // Whoever stands before us may read its end elsewhere: what follows is not read.
            client
                .say(format!("{hostile}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            let answer = client
                .answer()
                .await
                .unwrap_or_else(|cut| panic!("{hostile:?}: {cut:?}"));
            assert_eq!(answer.status, 400, "{hostile:?}");
            assert_eq!(answer.code(), "bad_request", "{hostile:?}");
            assert_eq!(client.end().await.bytes, b"", "{hostile:?}");
        }
        assert_eq!(backend.count(), 0);
        // A long name hides nothing.
        let mut client = node.client().await;
        let answer = client
            .ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{long_name}: 1\r\n\r\n"))
            .await;
        assert_eq!(answer.status, 200);
    });
}

#[test]
fn limits_of_the_head_have_a_code_each() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        for max_headers in [100, 20] {
            let edge = Edge {
                max_headers,
                ..Edge::default()
            };
            let node = Node::edge(&forwarding(&backend.url(), ""), edge);
            let request = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let many = |count: usize| (0..count).map(|i| format!("X-{i}: 1\r\n")).collect::<String>();
            for (request, code) in [
                (request(&format!("/{}", "x".repeat(8191)), ""), None),
                (request(&format!("/{}", "x".repeat(8192)), ""), Some("uri_too_long")),
                (request(&format!("/{}", "x".repeat(100_000)), ""), Some("uri_too_long")),
                (request("/", &format!("X: {}\r\n", "x".repeat(30_000))), None),
                (
                    request("/", &format!("X: {}\r\n", "x".repeat(33_000))),
                    Some("headers_too_large"),
                ),
                (request("/", &many(max_headers - 1)), None),
                (request("/", &many(max_headers)), Some("headers_too_large")),
            ] {
                let mut client = node.client().await;
                client.say(&request).await;
                let answer = client.answer().await.unwrap();
                match code {
                    None => assert_eq!(answer.status, 200, "{}", &request[..40]),
                    Some(code) => assert_eq!(answer.code(), code, "{}", &request[..40]),
                }
            }
            assert_eq!(
                node.metric("sluice_requests_rejected_total{code=\"uri_too_long\"}"),
                2.0
            );
            assert_eq!(
                node.metric("sluice_requests_rejected_total{code=\"headers_too_large\"}"),
                2.0
            );
        }
    });
}

#[test]
fn what_no_route_takes_is_told_why() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = format!(
            "upstreams: {{ a: {{ targets: [\"{}\"] }} }}\ngateways:\n  web:\n    hosts: [\"shop.example\"]\n    routes:\n      - {{ path: /a, methods: [GET, POST], upstream: a }}\n      - {{ path: /b/**, upstream: a, encoded_slash: refuse }}\n      - {{ path: /c/**, upstream: a }}\n",
            backend.url()
        );
        let node = Node::new(&document);
        let mut client = node.client().await;
        let mut ask = async |request: &str| client.ask(request).await;
        let answer = ask("GET /a HTTP/1.1\r\nHost: other.example\r\n\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "no_route"));
        let answer = ask("GET /none HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "no_route"));
        let answer = ask("DELETE /a HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
        assert_eq!(answer.field("allow"), Some("GET, HEAD, POST"));
        let answer = ask("GET /b/x%2Fy HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "encoded_slash"));
        let answer = ask("GET /c/x%2F..%2Fy HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "encoded_slash"));
        let answer = ask("GET /c/x%2Fy HTTP/1.1\r\nHost: SHOP.example.:8080\r\n\r\n").await;
        assert_eq!(answer.status, 200);
        let answer = ask("CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (501, "connect_not_supported"));
    });
}

#[test]
fn bytes_after_a_connect_are_never_a_request() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for length in ["", "Content-Length: 40\r\n"] {
            let mut client = node.client().await;
            client
                .say(format!(
                    "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n{length}\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
                ))
                .await;
            assert_eq!(client.answer().await.unwrap().status, 501);
            assert_eq!(client.end().await.bytes, b"");
        }
        assert_eq!(node.client().await.get("/").await.text(), "ok");
        assert_eq!(backend.count(), 1);
    });
}

#[test]
fn a_target_that_fails_has_a_code_for_how() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let got = conn.request().await.unwrap();
            match got.target() {
                "/close" => {}
                "/reset" => conn.reset(),
                "/garbage" => conn.say("SSH-2.0-OpenSSH\r\n\r\n").await,
                "/two-lengths" => {
                    conn.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
                        .await
                }
                "/gzip" => conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc").await,
                _ => {
                    conn.rest().await;
                }
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ", timeout: { first_byte: 200ms }"));
        for (path, status, code) in [
            ("/close", 502, "upstream_reset"),
            ("/reset", 502, "upstream_reset"),
            ("/garbage", 502, "upstream_protocol"),
            ("/two-lengths", 502, "upstream_protocol"),
            ("/gzip", 502, "upstream_protocol"),
            ("/silent", 504, "upstream_timeout"),
        ] {
            let answer = node.client().await.get(path).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
        }
        // Nobody listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let node = Node::new(&forwarding(&format!("http://{free}"), ""));
        let answer = node.client().await.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_connect"));
        let none = "upstreams: { a: { targets: [{ url: \"http://127.0.0.1:9\", weight: 0 }] } }\ngateways: { web: { hosts: [\"*\"], routes: [{ path: /**, upstream: a }] } }";
        let answer = Node::new(none).client().await.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "no_target"));
    });
}

#[test]
fn the_whole_exchange_has_a_deadline_where_it_is_declared() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            conn.rest().await;
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ", timeout: { total: 100ms }"));
        let answer = node.client().await.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "deadline"));
    });
}

#[test]
fn a_slow_client_is_told_so() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            header_timeout: Duration::from_millis(100),
            body_idle: Duration::from_millis(100),
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut client = node.client().await;
        assert_eq!(client.get("/").await.status, 200);
        client.say("GET / HTTP/1.1\r\nHos").await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (408, "client_timeout"));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(!client.end().await.reset);
        let mut client = node.client().await;
        client
            .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\npart")
            .await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (408, "client_timeout"));
        assert!(!client.end().await.reset);
        assert_eq!(
            node.metric("sluice_requests_rejected_total{code=\"client_timeout\"}"),
            2.0
        );
    });
}

#[test]
fn a_malformed_body_is_the_client_s_fault() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        for body in [
            "xyz\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "ffffffffffffffffff\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
        ] {
            let mut client = node.client().await;
            client
                .say(format!(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
                ))
                .await;
            let answer = client.answer().await.unwrap();
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "bad_request"),
                "{body:?}"
            );
        }
    });
}

#[cfg(feature = "fault-points")]
#[test]
fn a_panic_in_a_request_costs_that_request_a_500() {
    let name = "own_answers::a_panic_in_a_request_costs_that_request_a_500";
    crate::node::run_with("request=panics", name, async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = format!(
            "upstreams: {{ a: {{ targets: [\"{}\"] }} }}\ngateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ id: panics-here, path: /bad, upstream: a }}\n      - {{ path: /**, upstream: a }}\n",
            backend.url()
        );
        let node = Node::new(&document);
        let mut client = node.client().await;
        let answer = client.get("/bad").await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "internal"));
        assert!(answer.text().contains("panics-here"));
        assert_eq!(node.client().await.get("/good").await.text(), "ok");
        assert_eq!(node.metric("sluice_panics_total{where=\"request\"}"), 1.0);
    });
}
