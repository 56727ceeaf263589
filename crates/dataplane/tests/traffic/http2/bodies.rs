//! Bodies of requests: their ends, their limits, their leaving.

use super::decent::{decent, get, post, read};
use super::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, NO_ERROR, PROTOCOL_ERROR, RST_STREAM, Raw, request,
};
use super::requests::h2c;
use crate::backend::{Backend, Got, field, ok};
use crate::node::{Node, forwarding, run, until};
use bytes::Bytes;
use http::HeaderMap;
use sluice_dataplane::Edge;
use std::time::Duration;

/// Sends a POST on `stream`, in frames of DATA with these flags, and maybe trailers.
async fn upload(raw: &mut Raw, stream: u32, length: Option<&str>, frames: &[(&[u8], u8)], trailers: bool) -> u16 {
    let more: Vec<_> = length.into_iter().map(|length| ("content-length", length)).collect();
    raw.send(HEADERS, END_HEADERS, stream, &request("POST", "/", &more))
        .await;
    for (bytes, flags) in frames {
        raw.send(DATA, *flags, stream, bytes).await;
    }
    if trailers {
        let fields = super::frames::fields(&[("x-sum", "1")]);
        raw.send(HEADERS, END_HEADERS | END_STREAM, stream, &fields).await;
    }
    raw.status(stream).await.unwrap()
}

#[test]
fn a_body_ends_once_whatever_frame_ends_it() {
    run(async {
        // A strict service: what follows a request is the next request, or the test fails in its head.
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::open(node.address()).await;
        let other = decent(node.address()).await;
        for round in 0..40u32 {
            let stream = 2 * round + 1;
            let ten = b"0123456789";
            let status = match round % 5 {
                0 => upload(&mut raw, stream, None, &[(ten, 0), (b"", END_STREAM)], false).await,
                1 => upload(&mut raw, stream, None, &[(b"", END_STREAM)], false).await,
                2 => upload(&mut raw, stream, Some("10"), &[(ten, 0), (b"", END_STREAM)], false).await,
                3 => upload(&mut raw, stream, None, &[(ten, 0)], true).await,
                _ => upload(&mut raw, stream, None, &[(ten, 0), (b"", 0), (ten, END_STREAM)], false).await,
            };
            assert_eq!(status, 200);
            assert_eq!(other.ask(get("/other")).await.unwrap().text(), "ok");
        }
        let heads = backend.heads();
        assert_eq!(heads.len(), 80);
        for pair in heads.chunks(2) {
            assert!(pair[0].starts_with("POST / HTTP/1.1\r\n"), "{heads:?}");
            assert!(pair[1].starts_with("GET /other HTTP/1.1\r\n"), "{heads:?}");
        }
        for (round, head) in heads.iter().step_by(2).enumerate() {
            let framed = (field(head, "content-length"), field(head, "transfer-encoding"));
            let expected = if round % 5 == 2 {
                (Some("10"), None)
            } else {
                (None, Some("chunked"))
            };
            assert_eq!(framed, expected, "{head}");
        }
    });
}

#[test]
fn trailers_reach_the_service() {
    run(async {
        let backend = Backend::mirror().await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let client = decent(node.address()).await;
        let mut request = post("/");
        request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        let (answer, mut body) = client.begin(request).await.unwrap();
        body.send_data(Bytes::from_static(b"data"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        trailers.insert("x-forwarded-for", "forged".parse().unwrap());
        body.send_trailers(trailers).unwrap();
        let answer = read(answer.await.unwrap()).await.unwrap();
        assert!(
            answer.text().ends_with("4\r\ndata\r\n0\r\nx-sum: 7\r\n\r\n"),
            "{}",
            answer.text()
        );
    });
}

#[test]
fn a_body_that_is_longer_or_shorter_than_its_length_is_malformed() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::open(node.address()).await;
        for (stream, bytes) in [(1, &b"12345678901"[..]), (3, b"123456789")] {
            let head = request("POST", "/", &[("content-length", "10")]);
            raw.send(HEADERS, END_HEADERS, stream, &head).await;
            raw.send(DATA, END_STREAM, stream, bytes).await;
            assert_eq!(raw.status(stream).await, Err(PROTOCOL_ERROR));
        }
        // The service never had a whole request.
        raw.head(5, &super::frames::get("/")).await;
        assert_eq!(raw.status(5).await, Ok(200));
    });
}

#[test]
fn an_early_refusal_ends_the_stream_and_leaves_others_going() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = format!(
            "upstreams: {{ a: {{ targets: [\"{0}\"] }} }}\ngateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ path: /up, upstream: a, max_body: 1KiB }}\n      - {{ path: /**, upstream: a, max_body: none }}\n",
            backend.url()
        );
        let node = Node::edge(&document, h2c());
        let client = decent(node.address()).await;
        let (answer, mut long) = client.begin(post("/long")).await.unwrap();
        long.send_data(Bytes::from_static(b"first"), false).unwrap();
        for length in [Some("52428800"), None] {
            let tries = (0..64).map(async |_| {
                let mut request = post("/up");
                if let Some(length) = length {
                    request.headers_mut().insert("content-length", length.parse().unwrap());
                }
                let (answer, mut body) = client.begin(request).await.unwrap();
                // As much as the windows take, and on until the stream ends.
                let sending = async {
                    body.reserve_capacity(usize::MAX >> 1);
                    while let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await {
                        if body.send_data(vec![b'x'; room.min(4096)].into(), false).is_err() {
                            break;
                        }
                    }
                    std::future::poll_fn(|cx| body.poll_reset(cx)).await
                };
                let reading = async { read(answer.await.unwrap()).await.unwrap() };
                tokio::join!(reading, sending)
            });
            for (answer, reset) in futures_util::future::join_all(tries).await {
                assert_eq!((answer.status(), answer.code().as_str()), (413, "body_too_large"));
                assert_eq!(reset.unwrap(), h2::Reason::NO_ERROR);
            }
        }
        long.send_data(Bytes::from_static(b"last"), true).unwrap();
        assert_eq!(read(answer.await.unwrap()).await.unwrap().text(), "ok");
        assert!(!client.connection.is_finished());
        let whole = backend
            .heads()
            .iter()
            .filter(|head| head.starts_with("POST /long"))
            .count();
        assert_eq!(whole, 1);
    });
}

#[test]
fn a_body_that_stands_still_is_a_408_of_its_stream() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            body_idle: Duration::from_millis(100),
            ..h2c()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut raw = Raw::open(node.address()).await;
        raw.send(HEADERS, END_HEADERS, 1, &request("POST", "/", &[])).await;
        raw.send(DATA, 0, 1, b"some").await;
        assert_eq!(raw.status(1).await, Ok(408));
        loop {
            let frame = raw.answer().await.unwrap();
            if frame.kind == RST_STREAM {
                assert_eq!((frame.stream, frame.code()), (1, NO_ERROR));
                break;
            }
        }
        raw.head(3, &super::frames::get("/")).await;
        assert_eq!(raw.status(3).await, Ok(200));
    });
}

#[test]
fn a_client_that_waits_for_100_gets_it_when_the_service_reads() {
    run(async {
        let backend = Backend::mirror().await;
        let document = format!(
            "{}      - {{ path: /none, respond: {{ text: none }} }}\n",
            forwarding(&backend.url(), "")
        );
        let node = Node::edge(&document, h2c());
        let mut raw = Raw::open(node.address()).await;
        let head = request("POST", "/", &[("expect", "100-continue"), ("content-length", "4")]);
        raw.send(HEADERS, END_HEADERS, 1, &head).await;
        assert_eq!(raw.status(1).await, Ok(100));
        raw.send(DATA, END_STREAM, 1, b"body").await;
        let last = loop {
            let frame = raw.answer().await.unwrap();
            match frame.kind {
                HEADERS => assert_eq!(frame.status(), 200),
                DATA if frame.flags & END_STREAM != 0 => break frame,
                _ => {}
            }
        };
        let text = String::from_utf8(last.payload).unwrap();
        let got = Got {
            head: text.clone(),
            body: Vec::new(),
        };
        assert!(text.ends_with("body") && got.field("expect").is_none(), "{text}");
        // Nobody reads: the answer comes without a 100.
        let head = request("POST", "/none", &[("expect", "100-continue"), ("content-length", "4")]);
        let mut raw = Raw::open(node.address()).await;
        raw.send(HEADERS, END_HEADERS, 1, &head).await;
        assert_eq!(raw.status(1).await, Ok(200));
    });
}

#[test]
fn a_reset_upload_never_looks_whole() {
    run(async {
        // Answers only what is whole.
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::open(node.address()).await;
        for (stream, code) in [(1, CANCEL), (3, NO_ERROR)] {
            raw.send(HEADERS, END_HEADERS, stream, &request("POST", "/", &[])).await;
            raw.send(DATA, 0, stream, b"half").await;
            let seen = backend.accepted();
            until("the service has it", || {
                backend.accepted() > 0 && backend.count() > 0 || seen > 0
            })
            .await;
            raw.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
        }
        let idle = "sluice_upstream_connections{upstream=\"a\",state=\"active\"}";
        until("none is active", || node.metric(idle) == 0.0).await;
        raw.head(5, &super::frames::get("/")).await;
        assert_eq!(raw.status(5).await, Ok(200));
        // Requests whose body broke off were not answered, and their connections are not used again.
        assert_eq!(node.metric("http_server_request_duration_seconds_count{gateway=\"web\",http_route=\"/**\",http_request_method=\"GET\",http_response_status_code=\"200\"}"), 1.0);
    });
}
