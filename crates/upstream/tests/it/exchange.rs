//! One request and its answer: framing, trailers, early and interim answers, time-outs.

use crate::support::*;
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt;
use sluice_upstream::{Body, BodyError, SendErrorKind};
use std::cell::RefCell;
use std::rc::Rc;

#[test]
fn a_known_length_is_told_and_an_unknown_one_is_chunked() {
    on_worker(async {
        let backend = mirror().await;
        let rig = Rig::to(&backend);
        let text = |method: &'static str, body| {
            let rig = &rig;
            async move {
                rig.send(request(method, "/x", body))
                    .await
                    .map_err(|(error, _)| error)
                    .unwrap()
                    .text()
            }
        };
        let sent = text("POST", Body::Full("hello".into())).await;
        assert!(
            sent.contains("content-length: 5\r\n") && !sent.contains("transfer-encoding"),
            "{sent}"
        );
        assert!(sent.ends_with("\r\n\r\nhello"), "{sent}");
        for method in ["POST", "PUT", "GET", "HEAD", "DELETE", "OPTIONS"] {
            if method == "HEAD" {
                continue;
            }
            let sent = text(method, chunks(pieces(&["hel", "", "lo"]))).await;
            assert!(
                sent.contains("transfer-encoding: chunked\r\n") && !sent.contains("content-length"),
                "{sent}"
            );
            assert!(
                sent.ends_with("\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
                "{method} {sent}"
            );
        }
        let sent = text("POST", Body::Empty).await;
        assert!(
            !sent.contains("content-length") && !sent.contains("transfer-encoding"),
            "{sent}"
        );
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn a_declared_length_goes_with_a_streamed_body() {
    on_worker(async {
        let backend = mirror().await;
        let rig = Rig::to(&backend);
        let mut declared = request("POST", "/x", chunks(pieces(&["hel", "lo"])));
        declared.headers_mut().insert("content-length", 5.into());
        let sent = rig.send(declared).await.map_err(|(error, _)| error).unwrap().text();
        assert!(
            sent.contains("content-length: 5\r\n") && sent.ends_with("\r\n\r\nhello"),
            "{sent}"
        );
        let mut empty = request("POST", "/x", Body::Empty);
        empty.headers_mut().insert("content-length", 0.into());
        let sent = rig.send(empty).await.map_err(|(error, _)| error).unwrap().text();
        assert!(sent.contains("content-length: 0\r\n"), "{sent}");
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn a_body_shorter_than_declared_is_the_client_s_fault_and_reaches_nobody_as_whole() {
    on_worker(async {
        let backend = mirror().await;
        let rig = Rig::to(&backend);
        let mut short = request("POST", "/x", chunks(pieces(&["hel"])));
        short.headers_mut().insert("content-length", 5.into());
        let Err((error, _)) = rig.send(short).await else {
            panic!()
        };
        assert!(matches!(error.kind, SendErrorKind::ClientBody(_)), "{error}");
        let failing = vec![Ok("hel".into()), Err(BodyError::TooLarge { limit: 3 })];
        let Err((error, _)) = rig.send(request("POST", "/x", chunks(failing))).await else {
            panic!()
        };
        assert!(
            matches!(error.kind, SendErrorKind::ClientBody(BodyError::TooLarge { limit: 3 })),
            "{error}"
        );
        assert_eq!(rig.connections(), (0, 0));
        rig.get("/").await;
    });
}

#[test]
fn trailers_pass_both_ways_and_the_connection_is_kept() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                let body = String::from_utf8_lossy(&got.body).to_lowercase();
                let there = body.contains("\r\n0\r\nx-sum: 7\r\n\r\n");
                conn.say(format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-There\r\n\r\n2\r\nab\r\n0\r\nX-There: {there}\r\n\r\n"
                ))
                .await;
            }
        })
        .await;
        let rig = Rig::to(&backend);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        for _ in 0..5 {
            let mut request = request("POST", "/", with_trailers(pieces(&["hello"]), trailers.clone()));
            request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            let answer = rig.send(request).await.map_err(|(error, _)| error).unwrap();
            assert_eq!(answer.body.unwrap(), b"ab");
            assert_eq!(answer.trailers.unwrap()["x-there"], "true");
            assert_eq!(rig.connections(), (0, 1));
        }
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn a_long_answer_comes_whole_in_any_framing_and_gives_its_connection_back() {
    on_worker(async {
        let body: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        let mut length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        length.extend_from_slice(&body);
        let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(7_001) {
            chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        for answer in [length, chunked] {
            let backend = saying(answer).await;
            let rig = Rig::to(&backend);
            for _ in 0..3 {
                let answer = rig.get("/").await;
                assert!(answer.body.unwrap() == body);
                assert_eq!(rig.connections(), (0, 1));
            }
            assert_eq!(backend.accepted.get(), 1);
        }
        // Without a length the end of the connection is the end.
        let mut close = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        close.extend_from_slice(&body);
        let backend = Backend::new(move |mut conn| {
            let close = close.clone();
            async move {
                conn.request().await;
                conn.say(&close).await;
            }
        })
        .await;
        let rig = Rig::to(&backend);
        assert!(rig.get("/").await.body.unwrap() == body);
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn a_slow_reader_holds_the_target_back() {
    on_worker(async {
        let written = Rc::new(RefCell::new(0usize));
        let count = Rc::clone(&written);
        let backend = Backend::new(move |mut conn| {
            let written = Rc::clone(&count);
            async move {
                conn.request().await;
                conn.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
                loop {
                    use tokio::io::AsyncWriteExt;
                    let Ok(n) = conn.stream.write(&[7; 65536]).await else {
                        return;
                    };
                    *written.borrow_mut() += n;
                }
            }
        })
        .await;
        let rig = Rig::to(&backend);
        let (answer, _) = rig.start(request("GET", "/", Body::Empty)).await;
        let mut last = usize::MAX;
        while last != *written.borrow() {
            last = *written.borrow();
            tokio::time::sleep(50 * MS).await;
        }
        assert!(last < 20_000_000, "{last}");
        drop(answer);
    });
}

#[test]
fn interim_answers_are_dropped_and_counted() {
    on_worker(async {
        let mut answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n".to_vec();
        answer.extend_from_slice(&vec![b'x'; 300_000]);
        answer.extend_from_slice(b"\r\n0\r\n\r\n");
        let backend = Backend::new(move |mut conn| {
            let answer = answer.clone();
            async move {
                while conn.request().await.is_some() {
                    for piece in [&answer[..10], &answer[10..60], &answer[60..]] {
                        conn.say(piece).await;
                        tokio::task::yield_now().await;
                    }
                }
            }
        })
        .await;
        let rig = Rig::to(&backend);
        for i in 1..=3 {
            let answer = rig
                .send(request("PUT", "/x", Body::Full("body".into())))
                .await
                .map_err(|(error, _)| error)
                .unwrap();
            assert_eq!(answer.status, 200);
            assert!(!answer.headers.contains_key("link"));
            assert_eq!(answer.attempts.interim, 3);
            assert_eq!(answer.body.unwrap().len(), 300_000);
            assert_eq!(rig.reading().interim, 3 * i);
        }
        assert_eq!(backend.accepted.get(), 1);
        assert_eq!(rig.reading().durations.iter().map(|d| d.0).collect::<Vec<_>>(), [200]);
    });
}

#[test]
fn what_may_not_be_passed_on_is_told_and_its_connection_closed() {
    on_worker(async {
        for answer in [
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxxxx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
            "\0\0\0\0\r\n\r\n",
        ] {
            let backend = saying(answer).await;
            let rig = Rig::to(&backend);
            let Err((error, attempts)) = rig.send(request("GET", "/", Body::Empty)).await else {
                panic!("{answer}")
            };
            assert!(matches!(error.kind, SendErrorKind::Protocol), "{answer}: {error}");
            assert!(error.sent);
            assert_eq!(attempts.replaced, None);
            assert_eq!(rig.connections(), (0, 0));
            let next = rig.get("/next").await;
            assert_eq!((next.text().as_str(), next.attempts.reused), ("next", false));
        }
    });
}

#[test]
fn a_chunked_answer_that_also_tells_a_length_is_passed_on_without_it() {
    on_worker(async {
        let backend =
            saying("HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
                .await;
        let rig = Rig::to(&backend);
        let answer = rig.get("/").await;
        assert_eq!(answer.body.unwrap(), b"ab");
        assert!(!answer.headers.contains_key("content-length"));
        let backend = saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab").await;
        let answer = Rig::to(&backend).get("/").await;
        assert_eq!(
            answer.headers.get_all("content-length").iter().collect::<Vec<_>>(),
            ["2"]
        );
    });
}

#[test]
fn the_length_of_an_answer_to_head_stays() {
    on_worker(async {
        let backend = saying("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n").await;
        let rig = Rig::to(&backend);
        for _ in 0..3 {
            let answer = rig
                .send(request("HEAD", "/", Body::Empty))
                .await
                .map_err(|(error, _)| error)
                .unwrap();
            assert_eq!(answer.headers["content-length"], "20");
            assert_eq!(answer.body.unwrap(), b"");
        }
        assert_eq!(backend.accepted.get(), 1);
        let rig = Rig::to(&saying("HTTP/1.1 204 No\r\nContent-Length: 20\r\n\r\n").await);
        let answer = rig.send(request("HEAD", "/", Body::Empty)).await;
        let answer = answer.map_err(|(error, _)| error).unwrap();
        assert!(!answer.headers.contains_key("content-length"));
    });
}

#[test]
fn an_answer_cut_short_is_an_error_and_never_a_clean_end() {
    on_worker(async {
        for (answer, rst) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
                false,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n",
                true,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n12345", true),
        ] {
            for pause in [false, true] {
                let backend = Backend::new(move |mut conn| async move {
                    conn.request().await;
                    conn.say(answer).await;
                    if pause {
                        tokio::time::sleep(10 * MS).await;
                    }
                    if rst {
                        conn.reset();
                    }
                })
                .await;
                let rig = Rig::to(&backend);
                match rig.send(request("GET", "/", Body::Empty)).await {
                    Ok(answered) => {
                        let error = answered.body.unwrap_err();
                        assert!(matches!(error, BodyError::UpstreamReset(_)), "{answer:?} {error}");
                    }
                    // The kernel may drop what it holds when a reset comes.
                    Err((error, _)) => assert!(rst && matches!(error.kind, SendErrorKind::Reset), "{answer:?} {error}"),
                }
                assert_eq!(rig.connections(), (0, 0));
                assert_eq!(backend.accepted.get(), 1);
            }
        }
    });
}

#[test]
fn malformed_chunks_are_told() {
    on_worker(async {
        let backend = saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n").await;
        let answer = Rig::to(&backend).get("/").await;
        assert!(matches!(answer.body.unwrap_err(), BodyError::UpstreamMalformed(_)));
    });
}

#[test]
fn who_leaves_takes_his_request_with_him() {
    on_worker(async {
        let gone = Rc::new(std::cell::Cell::new(0));
        let count = Rc::clone(&gone);
        let backend = Backend::new(move |mut conn| {
            let gone = Rc::clone(&count);
            async move {
                conn.request().await;
                conn.rest().await;
                gone.set(gone.get() + 1);
            }
        })
        .await;
        let rig = Rig::to(&backend);
        let waiting = rig.start(request("GET", "/", Body::Empty));
        assert!(tokio::time::timeout(20 * MS, waiting).await.is_err());
        until("the backend sees the client leave", || gone.get() == 1).await;
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn base_path_and_host_reach_the_wire() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                conn.say(ok(&format!("{} {}", got.line(), got.field("host").unwrap())))
                    .await;
            }
        })
        .await;
        let rig = Rig::new(spec(&[&format!("{}/base/", backend.url())]));
        assert_eq!(rig.get("/leaf?").await.text(), "GET /base/leaf? HTTP/1.1 shop.example");
        let mut attempts = sluice_upstream::Attempts {
            bare_path: true,
            ..Default::default()
        };
        let mut request = request("GET", "/?x=1&y=2", Body::Empty);
        let answer = rig
            .upstreams
            .send(
                &rig.spec,
                sluice_upstream::Plan::of(&rig.spec),
                &mut request,
                &mut attempts,
            )
            .await
            .unwrap();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&text[..], b"GET /base?x=1&y=2 HTTP/1.1 shop.example");
    });
}

#[test]
fn a_short_answer_needs_no_connection_any_more() {
    on_worker(async {
        let backend = saying(ok("12345")).await;
        let rig = Rig::to(&backend);
        let (answer, _) = rig.start(request("GET", "/", Body::Empty)).await;
        let body = answer.unwrap().into_body();
        assert!(matches!(body, Body::Incoming(_)));
        assert_eq!(body.size_hint().exact(), Some(5));
        rig.upstreams.reconcile(&[]);
        assert_eq!(&body.collect().await.unwrap().to_bytes()[..], b"12345");
    });
}

#[test]
fn no_target_makes_us_hold_more_than_a_bound_at_once() {
    on_worker(async {
        let long = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{}",
            "x".repeat(3_000_000)
        );
        let rig = Rig::to(&saying(long).await);
        let (answer, _) = rig.start(request("GET", "/", Body::Empty)).await;
        let mut body = answer.unwrap().into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap().len();
            assert!(piece <= 128 * 1024, "{piece}");
            length += piece;
        }
        assert_eq!(length, 3_000_000);
        let long = format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(200_000)
        );
        let rig = Rig::to(&saying(long).await);
        let (error, _) = rig.send(request("GET", "/", Body::Empty)).await.err().unwrap();
        assert!(matches!(error.kind, SendErrorKind::Protocol), "{error}");
        assert_eq!(rig.connections(), (0, 0));
    });
}
