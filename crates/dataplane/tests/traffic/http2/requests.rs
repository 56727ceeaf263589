//! What a request is taken for, and what the service gets of it.

use super::decent::{decent, get, post};
use super::frames::{END_HEADERS, END_STREAM, HEADERS, PREFACE, PROTOCOL_ERROR, Raw, SETTINGS, fields, frame, request};
use crate::backend::{Backend, Got, ok};
use crate::node::{Node, forwarding, run, until};
use sluice_dataplane::Edge;
use std::time::Duration;

pub fn h2c() -> Edge {
    Edge {
        h2c: true,
        ..Edge::default()
    }
}

#[test]
fn a_request_reaches_the_service_as_http_1_1_would_have_brought_it() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let client = decent(node.address()).await;
        let mut request = get("/a/../b?q=1");
        let headers = request.headers_mut();
        headers.append("cookie", "a=1".parse().unwrap());
        headers.append("cookie", "b=2".parse().unwrap());
        headers.append("cookie", "c=3; d=4".parse().unwrap());
        headers.insert("te", "trailers".parse().unwrap());
        let answer = client.ask(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let got = Got {
            head: answer.text().to_owned(),
            body: Vec::new(),
        };
        assert_eq!(got.line(), "GET /b?q=1 HTTP/1.1");
        assert_eq!(got.field("host"), Some("a.example"));
        assert_eq!(got.field("cookie"), Some("a=1; b=2; c=3; d=4"));
        assert_eq!(got.field("te"), Some("trailers"));
        assert_eq!(got.field("connection"), Some("te"));
        assert_eq!(got.field("via"), Some("2.0 sluice"));
        assert_eq!(got.field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(got.field("x-forwarded-host"), Some("a.example"));
        assert_eq!(got.field("x-request-id"), answer.field("x-request-id"));
        assert!(answer.field("date").is_some() && answer.field("connection").is_none());
        assert_eq!(node.metric("sluice_http2_connections{listener=\"public\"}"), 1.0);
    });
}

#[test]
fn one_listener_takes_both_protocols_however_the_first_bytes_come() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        // The preface byte by byte, each in a segment of its own.
        let mut raw = Raw::connect(node.address()).await;
        for byte in PREFACE {
            raw.write(&[*byte]).await;
            tokio::task::yield_now().await;
        }
        raw.send(SETTINGS, 0, 0, &[]).await;
        raw.head(1, &super::frames::get("/")).await;
        assert_eq!(raw.status(1).await, Ok(200));
        // The preface with all that follows in one.
        let mut raw = Raw::connect(node.address()).await;
        let mut all = PREFACE.to_vec();
        all.extend(frame(SETTINGS, 0, 0, &[]));
        all.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &super::frames::get("/")));
        raw.write(&all).await;
        assert_eq!(raw.status(1).await, Ok(200));
        // HTTP/1.1, also such as begins alike.
        for method in ["GET", "P", "PRI", "PROPFIND", "POST"] {
            let mut client = node.client().await;
            for piece in [method, " / HTTP/1.1\r\nHost: a\r\nContent-", "Length: 0\r\n\r\n"] {
                client.say(piece).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(client.answer().await.unwrap().status, 200, "{method}");
        }
        // A preface is no second request.
        let mut client = node.client().await;
        assert_eq!(client.get("/").await.status, 200);
        client.say(String::from_utf8(PREFACE.to_vec()).unwrap()).await;
        assert_eq!(client.answer().await.unwrap().status, 400);
    });
}

#[test]
fn half_a_preface_waits_as_half_a_head_does() {
    run(async {
        let edge = Edge {
            header_timeout: Duration::from_millis(100),
            ..h2c()
        };
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut client = node.client().await;
        client.say("PRI * HTTP/2.0\r\n\r\nSM".to_owned()).await;
        assert_eq!(client.answer().await.unwrap().status, 408);
        // What stops within a frame, or between the parts of a head.
        let head = frame(HEADERS, END_STREAM, 1, &super::frames::get("/"));
        for bytes in [&head[..], &head[..20], &head[..5]] {
            let mut raw = Raw::open(node.address()).await;
            raw.write(bytes).await;
            let mut code = None;
            while let Some(frame) = raw.next().await {
                code = (frame.kind == super::frames::GOAWAY).then(|| frame.code()).or(code);
            }
            assert_eq!(code, Some(super::frames::ENHANCE_YOUR_CALM));
        }
        assert_eq!(node.metric("sluice_http2_ended_total{why=\"slow\"}"), 3.0);
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn what_is_no_http_2_is_refused_cleanly() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let garbage: [&[u8]; 7] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            // DATA of a stream that nobody opened, HEADERS on the connection, an even stream.
            &frame(super::frames::DATA, 0, 1, b"x"),
            &frame(HEADERS, END_HEADERS | END_STREAM, 0, &super::frames::get("/")),
            &frame(HEADERS, END_HEADERS | END_STREAM, 2, &super::frames::get("/")),
            // A frame within the fields of another; a continuation of nothing.
            &[
                frame(HEADERS, END_STREAM, 1, b""),
                frame(super::frames::PING, 0, 0, &[0; 8]),
            ]
            .concat(),
            &frame(super::frames::CONTINUATION, END_HEADERS, 1, b""),
            // Fields that are none.
            &frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]),
        ];
        for bytes in garbage {
            let mut raw = Raw::open(node.address()).await;
            raw.write(bytes).await;
            let code = raw.end().await;
            assert!(code.is_some_and(|code| code != 0), "{bytes:?}: {code:?}");
        }
        // A truncated frame, and then nothing any more.
        let mut raw = Raw::open(node.address()).await;
        raw.write(&frame(SETTINGS, 0, 0, &[0; 6])[..12]).await;
        drop(raw);
        assert_eq!(backend.count(), 0);
        until("nothing is left", || node.dataplane.connections() == 0).await;
        assert_eq!(node.metric("sluice_http2_connections{listener=\"public\"}"), 0.0);
    });
}

#[test]
fn a_malformed_request_costs_its_stream_alone() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let plain = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a.example"),
            (":path", "/"),
        ];
        let with = |more: &[(&'static str, &'static str)]| fields(&[&plain[..], more].concat());
        let without = |name: &str| {
            let rest: Vec<_> = plain.into_iter().filter(|(other, _)| *other != name).collect();
            fields(&rest)
        };
        let malformed = [
            with(&[("connection", "keep-alive")]),
            with(&[("keep-alive", "1")]),
            with(&[("proxy-connection", "close")]),
            with(&[("transfer-encoding", "chunked")]),
            with(&[("upgrade", "h2c")]),
            with(&[("te", "gzip")]),
            with(&[("te", "trailers, gzip")]),
            with(&[("content-length", "5")]),
            with(&[("content-length", "0"), ("content-length", "1")]),
            with(&[("x", "1"), (":path", "/late")]),
            with(&[(":path", "/twice")]),
            with(&[(":status", "200")]),
            with(&[(":protocol", "websocket")]),
            without(":method"),
            without(":scheme"),
            without(":path"),
            fields(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.example"),
                (":path", ""),
            ]),
            request("GET", "/a b", &[]),
            request("GET", "/a\r\nx: y", &[]),
            // An extended CONNECT (RFC 8441), which nobody offered.
            fields(&[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":authority", "a.example"),
                (":path", "/"),
            ]),
        ];
        let mut raw = Raw::open(node.address()).await;
        let mut stream = 1;
        for head in &malformed {
            raw.head(stream, head).await;
            let status = raw.status(stream).await;
            assert!(
                matches!(status, Err(PROTOCOL_ERROR) | Ok(400)),
                "{}: {status:?}",
                String::from_utf8_lossy(head)
            );
            stream += 2;
        }
        assert_eq!(backend.count(), 0);
        raw.head(stream, &with(&[])).await;
        assert_eq!(raw.status(stream).await, Ok(200));
        let refused = node.metric("sluice_http2_ended_total{why=\"refused\"}");
        // What cannot even be kept as a field ends the connection: the library tells it as it tells broken
        // compression.
        for head in [
            with(&[("X-Upper", "1")]),
            with(&[("a b", "1")]),
            with(&[(":unknown", "1")]),
            with(&[("", "1")]),
            with(&[("x", "a\r\nb: c")]),
            with(&[("x", "a\0")]),
            request("G ET", "/", &[]),
        ] {
            let mut raw = Raw::open(node.address()).await;
            raw.head(1, &head).await;
            assert_eq!(
                raw.end().await,
                Some(PROTOCOL_ERROR),
                "{}",
                String::from_utf8_lossy(&head)
            );
        }
        let answered = node.metric("sluice_requests_rejected_total{code=\"bad_request\"}");
        assert_eq!(refused + answered, malformed.len() as f64);
    });
}

#[test]
fn what_http_2_lets_through_is_judged_by_the_gateway() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let client = decent(node.address()).await;
        let bad: [&[(&str, &str)]; 8] = [
            // Two hosts; two that are alike but for the port; none at all.
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.example"),
                (":path", "/"),
                ("host", "b.example"),
            ],
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.example"),
                (":path", "/"),
                ("host", "a.example:80"),
            ],
            &[(":method", "GET"), (":scheme", "http"), (":path", "/")],
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                ("host", "a"),
                ("host", "a"),
            ],
            // Another scheme than the connection's.
            &[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "a.example"),
                (":path", "/"),
            ],
            &[
                (":method", "GET"),
                (":scheme", "ftp"),
                (":authority", "a.example"),
                (":path", "/"),
            ],
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.example"),
                (":path", "*"),
            ],
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.example"),
                (":path", "/%00"),
            ],
        ];
        let mut raw = Raw::open(node.address()).await;
        for (n, head) in (0u32..).zip(bad) {
            // The next ones have their status from the table of the connection.
            let mut raw = Raw::open(node.address()).await;
            raw.head(1, &fields(head)).await;
            assert_eq!(raw.status(1).await, Ok(400), "{n}: {head:?}");
        }
        raw.head(1, &request("GET", "no-slash", &[])).await;
        assert!(matches!(raw.status(1).await, Ok(400) | Err(PROTOCOL_ERROR)));
        assert_eq!(backend.count(), 0);
        // Host alone, and Host beside the same authority.
        for head in [
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                ("host", "a.example"),
            ][..],
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.example"),
                (":path", "/"),
                ("host", "A.example"),
            ],
        ] {
            let mut raw = Raw::open(node.address()).await;
            raw.head(1, &fields(head)).await;
            assert_eq!(raw.status(1).await, Ok(200), "{head:?}");
        }
        assert!(
            backend.heads()[1].contains("host: a.example\r\n"),
            "{:?}",
            backend.heads()
        );
        let connect = http::Request::connect("a.example:443").body(()).unwrap();
        let answer = client.ask(connect).await.unwrap();
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (501, "connect_not_supported")
        );
        let options = http::Request::options("http://a.example/x").body(()).unwrap();
        assert_eq!(client.ask(options).await.unwrap().status(), 200);
    });
}

#[test]
fn a_trusted_proxy_may_tell_of_another_scheme() {
    run(async {
        let backend = Backend::mirror().await;
        let document = forwarding(&backend.url(), "").replace("hosts:", "trusted_proxies: [127.0.0.0/8]\n    hosts:");
        let node = Node::edge(&document, h2c());
        let client = decent(node.address()).await;
        let request = http::Request::get("https://a.example/x").body(()).unwrap();
        let answer = client.ask(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.text().starts_with("GET /x HTTP/1.1\r\n"));
    });
}

#[test]
fn limits_of_the_head_have_a_code_each_and_cost_their_stream_alone() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let client = decent(node.address()).await;
        let ask = async |change: &dyn Fn(&mut http::HeaderMap)| {
            let mut request = get("/");
            change(request.headers_mut());
            let answer = client.ask(request).await.unwrap();
            let code = if answer.status() == 200 {
                String::new()
            } else {
                answer.code()
            };
            (answer.status(), code)
        };
        let count = |n: u32| {
            move |headers: &mut http::HeaderMap| {
                for i in 0..n {
                    headers.insert(
                        http::HeaderName::try_from(format!("x-{i}")).unwrap(),
                        "1".parse().unwrap(),
                    );
                }
            }
        };
        let too_large = (431, "headers_too_large".to_owned());
        assert_eq!(ask(&count(100)).await.0, 200);
        assert_eq!(ask(&count(101)).await, too_large);
        let crumbs = |headers: &mut http::HeaderMap| {
            for i in 0..101 {
                headers.append("cookie", format!("c{i}=1").parse().unwrap());
            }
        };
        assert_eq!(ask(&crumbs).await, too_large);
        let long = |length: usize| {
            move |headers: &mut http::HeaderMap| {
                headers.insert("x-long", "a".repeat(length).parse().unwrap());
            }
        };
        assert_eq!(ask(&long(16 * 1024 - 6 - 32)).await.0, 200);
        assert_eq!(ask(&long(16 * 1024)).await, too_large);
        // Beyond twice as much the HTTP/2 library answers, without a body.
        let mut request = get("/");
        long(33 * 1024)(request.headers_mut());
        assert_eq!(client.ask(request).await.unwrap().status(), 431);
        let path = format!("/{}", "a".repeat(8 * 1024));
        let answer = client.ask(get(&path)).await.unwrap();
        assert_eq!((answer.status(), answer.code().as_str()), (414, "uri_too_long"));
        let answer = client.send(post("/"), &[b"body"]).await.unwrap();
        assert_eq!(answer.status(), 200);
    });
}

#[test]
fn without_the_setting_the_preface_is_answered_as_any_bad_request() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        client.say(String::from_utf8(PREFACE.to_vec()).unwrap()).await;
        assert_eq!(client.answer().await.unwrap().status, 400);
        assert_eq!(client.end().await.bytes, b"");
    });
}
