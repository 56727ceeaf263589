//! What each time-out bounds, and what it does not.

use crate::support::*;
use bytes::Bytes;
use http_body_util::BodyExt;
use sluice_upstream::{Body, BodyError, SendErrorKind, Which};
use std::time::Duration;

#[test]
fn each_time_out_ends_what_it_bounds() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                if got.line().contains("/next") {
                    conn.say(ok("next")).await;
                } else if got.line().contains("/body") {
                    conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123").await;
                } else if got.line().contains("/drip") {
                    conn.say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
                    for _ in 0..1000 {
                        conn.say("x").await;
                        tokio::time::sleep(5 * MS).await;
                    }
                } else if got.line().contains("/interim") {
                    for _ in 0..1000 {
                        conn.say("HTTP/1.1 102 Processing\r\n\r\n").await;
                        tokio::time::sleep(5 * MS).await;
                    }
                }
            }
        })
        .await;
        for reused in [false, true] {
            let mut rig = Rig::to(&backend);
            let defaults = rig.timeouts;
            let cases = [
                ("/", Which::FirstByte),
                ("/interim", Which::FirstByte),
                ("/", Which::Attempt),
                ("/", Which::Total),
                ("/body", Which::Idle),
                ("/body", Which::Total),
                ("/drip", Which::Total),
            ];
            for (path, which) in cases {
                rig.timeouts = defaults;
                if reused {
                    rig.get("/next").await;
                }
                match which {
                    Which::FirstByte => rig.timeouts.first_byte = 40 * MS,
                    Which::Attempt => rig.timeouts.attempt = Some(40 * MS),
                    Which::Total => rig.timeouts.total = Some(40 * MS),
                    Which::Idle => rig.timeouts.idle = 40 * MS,
                    Which::Connect => unreachable!(),
                }
                assert_eq!(
                    time_out_of(rig.send(request("GET", path, Body::Empty)).await),
                    which,
                    "{path}"
                );
                assert_eq!(rig.connections(), (0, 0));
            }
        }
    });
}

/// A target on a thread of its own that says `head`, and then `again` for as long as it is taken.
fn flood(head: &'static [u8], again: &'static [u8]) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(head);
        let much = again.repeat(1000);
        while stream.write_all(&much).is_ok() {}
    });
    url
}

#[test]
fn a_target_that_never_stops_sending_is_too_late_all_the_same() {
    on_worker(async {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut rig = Rig::new(spec(&[&flood(chunked, b"4\r\nmore\r\n")]));
        rig.timeouts.total = Some(50 * MS);
        let answer = rig.send(request("GET", "/", Body::Empty)).await;
        assert_eq!(time_out_of(answer), Which::Total);
        assert_eq!(rig.connections(), (0, 0));
        let mut rig = Rig::new(spec(&[&flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")]));
        rig.timeouts.first_byte = 50 * MS;
        let answer = rig.send(request("GET", "/", Body::Empty)).await;
        assert_eq!(time_out_of(answer), Which::FirstByte);
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn an_answer_that_is_left_lying_is_over_when_its_time_is() {
    on_worker(async {
        let long = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{}",
            "x".repeat(3_000_000)
        );
        let backend = saying(long).await;
        let mut rig = Rig::to(&backend);
        rig.timeouts.total = Some(50 * MS);
        let (answer, _) = rig.start(request("GET", "/", Body::Empty)).await;
        let mut body = answer.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        tokio::time::sleep(100 * MS).await;
        let end = loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(BodyError::UpstreamTimeout(Which::Total)))));
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn once_an_answer_has_begun_the_try_s_time_out_does_not_cut_it() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while conn.request().await.is_some() {
                tokio::time::sleep(20 * MS).await;
                conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
                for _ in 0..10 {
                    tokio::time::sleep(50 * MS).await;
                    conn.say("x").await;
                }
            }
        })
        .await;
        let mut rig = Rig::to(&backend);
        rig.timeouts.attempt = Some(300 * MS);
        rig.timeouts.first_byte = 300 * MS;
        for _ in 0..2 {
            assert_eq!(rig.get("/").await.text(), "xxxxxxxxxx");
        }
        assert_eq!(backend.lines().len(), 2);
    });
}

#[test]
fn a_long_upload_does_not_use_up_the_time_for_the_head() {
    on_worker(async {
        let backend = mirror().await;
        let mut rig = Rig::to(&backend);
        rig.timeouts.first_byte = 200 * MS;
        rig.timeouts.attempt = Some(200 * MS);
        struct Slow(u32, Option<std::pin::Pin<Box<tokio::time::Sleep>>>);
        impl http_body::Body for Slow {
            type Data = Bytes;
            type Error = BodyError;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
                let this = self.get_mut();
                if this.0 == 0 {
                    return std::task::Poll::Ready(None);
                }
                let sleep = this.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(20 * MS)));
                std::task::ready!(Future::poll(sleep.as_mut(), cx));
                this.1 = None;
                this.0 -= 1;
                std::task::Poll::Ready(Some(Ok(http_body::Frame::data("x".into()))))
            }
        }
        let slow = Body::boxed(Slow(25, None));
        let answer = rig
            .send(request("POST", "/", slow))
            .await
            .map_err(|(error, _)| error)
            .unwrap();
        assert_eq!(answer.status, 200);
    });
}

#[test]
fn a_target_that_takes_no_more_of_a_body_is_given_up() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            tokio::time::sleep(Duration::from_secs(30)).await;
        })
        .await;
        let mut rig = Rig::to(&backend);
        rig.timeouts.idle = 80 * MS;
        rig.timeouts.first_byte = Duration::from_secs(40);
        let body = chunks((0..2_000).map(|_| Ok(vec![0u8; 65_536].into())).collect());
        let Err((error, _)) = rig.send(request("POST", "/", body)).await else {
            panic!()
        };
        assert!(matches!(error.kind, SendErrorKind::Timeout(Which::Idle)), "{error}");
        assert!(error.sent);
    });
}

#[test]
fn an_answer_read_slowly_is_not_cut_by_the_idle_time_out() {
    on_worker(async {
        let long = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{}",
            "x".repeat(3_000_000)
        );
        let backend = saying(long).await;
        let mut rig = Rig::to(&backend);
        rig.timeouts.idle = 30 * MS;
        let (answer, _) = rig.start(request("GET", "/", Body::Empty)).await;
        let mut body = answer.unwrap().into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            if length == 0 {
                tokio::time::sleep(100 * MS).await;
            }
            length += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(length, 3_000_000);
    });
}
