//! Answers: heads, ends, trailers, and what becomes of them when one side stops.

use super::decent::{decent, decent_with, get, read};
use super::frames::{
    CANCEL, DATA, END_STREAM, HEADERS, INTERNAL_ERROR, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use super::requests::h2c;
use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run, until};
use std::time::Duration;

#[test]
fn answers_without_a_body_end_with_their_head() {
    run(async {
        let backend = Backend::answering(|got| match got.target() {
            "/none" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            "/same" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 7\r\n\r\n".to_owned(),
            "/empty" => ok(""),
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned(),
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        for (method, path, status) in [
            ("GET", "/none", 204),
            ("GET", "/same", 304),
            ("GET", "/empty", 200),
            ("HEAD", "/", 200),
        ] {
            let mut raw = Raw::open(node.address()).await;
            raw.head(1, &super::frames::request(method, path, &[])).await;
            let head = loop {
                let frame = raw.answer().await.unwrap();
                if frame.kind == HEADERS {
                    break frame;
                }
            };
            assert_eq!((head.status(), head.flags & END_STREAM), (status, END_STREAM), "{path}");
        }
        let client = decent(node.address()).await;
        let head = http::Request::head("http://a.example/").body(()).unwrap();
        assert_eq!(client.ask(head).await.unwrap().field("content-length"), Some("7"));
    });
}

#[test]
fn bodies_of_all_forms_arrive_whole_with_their_trailers() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                let long = "x".repeat(300_000);
                match got.target() {
                    "/length" => conn.say(ok(&long)).await,
                    "/chunked" => {
                        conn.say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
                            .await;
                        conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")
                            .await;
                        conn.say(format!(
                            "{:x}\r\n{long}\r\n0\r\nx-sum: 7\r\nTransfer-Encoding: no\r\n\r\n",
                            long.len()
                        ))
                        .await;
                    }
                    _ => {
                        conn.say(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{long}"))
                            .await;
                        return;
                    }
                }
            }
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        // A client of the smallest windows, and one of the usual.
        for window in [1, 65_535] {
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(window.max(1000));
            let client = decent_with(node.address(), &builder).await;
            for path in ["/length", "/chunked", "/close"] {
                let answer = client.ask(get(path)).await.unwrap();
                assert_eq!((answer.status(), answer.body.len()), (200, 300_000), "{path}");
                let length = (path == "/length").then_some("300000");
                assert_eq!(answer.field("content-length"), length);
                let sum = answer.trailers.as_ref().and_then(|trailers| trailers.get("x-sum"));
                assert_eq!(sum.is_some(), path == "/chunked");
                assert!(answer.trailers.is_none_or(|trailers| trailers.len() == 1));
            }
        }
        assert_eq!(node.metric("sluice_interim_dropped_total"), 4.0);
    });
}

#[test]
fn a_window_of_exactly_the_body_needs_no_more() {
    run(async {
        let body = "x".repeat(1000);
        let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n{body}\r\n0\r\n\r\n");
        let backend = Backend::answering(move |got| {
            if got.target() == "/chunked" {
                chunked.clone()
            } else {
                ok(&body)
            }
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        for path in ["/length", "/chunked"] {
            let mut raw = Raw::open_with(node.address(), &[(4, 1000)]).await;
            raw.head(1, &super::frames::get(path)).await;
            let mut length = 0;
            loop {
                let frame = raw.answer().await.unwrap();
                length += if frame.kind == DATA { frame.payload.len() } else { 0 };
                if frame.flags & END_STREAM != 0 {
                    break;
                }
            }
            assert_eq!(length, 1000, "{path}");
        }
    });
}

#[test]
fn a_cut_answer_is_never_a_clean_end() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                match got.target() {
                    "/length" => conn.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome").await,
                    "/chunked" => {
                        conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n")
                            .await
                    }
                    _ => {
                        conn.say(ok("ok")).await;
                        continue;
                    }
                }
                if got.field("x-how") == Some("reset") {
                    conn.reset();
                }
                return;
            }
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::open(node.address()).await;
        let mut stream = 1;
        for path in ["/length", "/chunked"] {
            for how in ["fin", "reset"] {
                raw.head(stream, &super::frames::request("GET", path, &[("x-how", how)]))
                    .await;
                let mut got = Vec::new();
                let end = loop {
                    let frame = raw.answer().await.unwrap();
                    match frame.kind {
                        DATA => got.extend(frame.payload.clone()),
                        RST_STREAM => break frame.code(),
                        _ => {}
                    }
                    assert_eq!(frame.flags & END_STREAM, 0, "{path} {how}");
                };
                assert_eq!(end, INTERNAL_ERROR);
                if how == "fin" {
                    assert_eq!(got, b"some", "{path}");
                }
                stream += 2;
            }
        }
        assert_eq!(decent(node.address()).await.ask(get("/")).await.unwrap().text(), "ok");
    });
}

#[test]
fn total_cuts_an_answer_that_goes_on_too_long() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            loop {
                conn.say("1\r\nx\r\n").await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ", timeout: { total: 300ms }"), h2c());
        let client = decent(node.address()).await;
        let error = client.ask(get("/")).await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        // A client that takes nothing keeps it no longer.
        let mut raw = Raw::open_with(node.address(), &[(4, 0)]).await;
        raw.head(1, &super::frames::get("/")).await;
        assert_eq!(raw.status(1).await, Ok(200));
        let end = loop {
            let frame = raw.answer().await.unwrap();
            if frame.kind == RST_STREAM {
                break frame.code();
            }
        };
        assert!(matches!(end, CANCEL | INTERNAL_ERROR));
        until("nothing is active", || {
            node.metric("sluice_upstream_connections{upstream=\"a\",state=\"active\"}") == 0.0
        })
        .await;
    });
}

/// Streams that are reset by the client, or whose connection goes, at any moment between the head of
/// the request and the end of the answer.
#[test]
fn a_client_that_stops_anywhere_leaves_nothing_behind() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while conn.request().await.is_some() {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..3))).await;
                let length = fastrand::usize(0..200_000);
                conn.say(ok(&"x".repeat(length))).await;
            }
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let clients = (0..20).map(async |_| {
            let mut raw = Raw::open(node.address()).await;
            for round in 0..20u32 {
                let stream = 2 * round + 1;
                if fastrand::bool() {
                    raw.head(stream, &super::frames::get("/")).await;
                } else {
                    let head = super::frames::request("POST", "/", &[]);
                    raw.send(HEADERS, super::frames::END_HEADERS, stream, &head).await;
                    raw.send(DATA, fastrand::u8(0..2), stream, &vec![0; fastrand::usize(0..5000)])
                        .await;
                }
                // Windows of random width, so that some answers wait.
                for at in [0, stream] {
                    raw.send(WINDOW_UPDATE, 0, at, &fastrand::u32(1..100_000).to_be_bytes())
                        .await;
                }
                tokio::time::sleep(Duration::from_micros(fastrand::u64(0..4000))).await;
                raw.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).await;
                if fastrand::u8(0..30) == 0 {
                    break;
                }
            }
            raw.send(SETTINGS, 1, 0, &[]).await;
        });
        futures_util::future::join_all(clients).await;
        until("nothing is left", || {
            node.dataplane.connections() == 0
                && node.metric("sluice_connections{listener=\"public\",state=\"active\"}") == 0.0
                && node.metric("sluice_connections{listener=\"public\",state=\"idle\"}") == 0.0
                && node.metric("sluice_http2_connections{listener=\"public\"}") == 0.0
                && node.metric("sluice_http2_streams{listener=\"public\"}") == 0.0
                && node.metric("sluice_upstream_connections{upstream=\"a\",state=\"active\"}") == 0.0
                && node.metric("sluice_upstream_connections{upstream=\"a\",state=\"connecting\"}") == 0.0
        })
        .await;
        assert_eq!(node.metric("sluice_panics_total{where=\"request\"}"), 0.0);
    });
}

#[test]
fn a_stream_that_does_not_read_holds_up_no_other() {
    run(async {
        let backend = Backend::answering(|got| {
            if got.target() == "/long" {
                ok(&"x".repeat(1 << 17))
            } else {
                ok("ok")
            }
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(10_000)
            .initial_connection_window_size(1 << 20);
        let client = decent_with(node.address(), &builder).await;
        let mut held = Vec::new();
        for _ in 0..20 {
            let mut sender = client.sender.clone().ready().await.unwrap();
            let (answer, _) = sender.send_request(get("/long"), true).unwrap();
            held.push(answer.await.unwrap());
        }
        for _ in 0..20 {
            assert_eq!(client.ask(get("/")).await.unwrap().text(), "ok");
        }
        // And each goes on when it is read.
        for answer in held {
            assert_eq!(read(answer).await.unwrap().body.len(), 1 << 17);
        }
    });
}

#[cfg(feature = "fault-points")]
#[test]
fn a_panic_in_a_request_is_a_500_of_its_stream() {
    let name = "http2::answers::a_panic_in_a_request_is_a_500_of_its_stream";
    crate::node::run_with("request=panics", name, async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = format!(
            "upstreams: {{ a: {{ targets: [\"{}\"] }} }}\ngateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ id: panics-here, path: /bad, upstream: a }}\n      - {{ path: /**, upstream: a }}\n",
            backend.url()
        );
        let node = Node::edge(&document, h2c());
        let client = decent(node.address()).await;
        let answer = client.ask(get("/bad")).await.unwrap();
        assert_eq!((answer.status(), answer.code().as_str()), (500, "internal"));
        assert_eq!(client.ask(get("/good")).await.unwrap().text(), "ok");
        assert!(!client.connection.is_finished());
    });
}

#[test]
fn segments_that_end_anywhere_are_read_alike() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::open(node.address()).await;
        let mut bytes = Vec::new();
        for stream in [1, 3, 5] {
            bytes.extend(frame(
                HEADERS,
                super::frames::END_HEADERS,
                stream,
                &super::frames::request("POST", "/", &[]),
            ));
            bytes.extend(frame(DATA, 0, stream, b"body"));
            bytes.extend(frame(DATA, END_STREAM, stream, b""));
        }
        for piece in bytes.chunks(7) {
            raw.write(piece).await;
            tokio::task::yield_now().await;
        }
        let mut ended = 0;
        while ended < 3 {
            let frame = raw.answer().await.unwrap();
            ended += u32::from(frame.kind == DATA && frame.flags & END_STREAM != 0);
        }
    });
}
