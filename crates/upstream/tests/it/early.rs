//! Answers that begin before their request has ended.

use crate::support::*;
use http_body_util::BodyExt;
use sluice_upstream::{BodyError, SendErrorKind};

#[test]
fn an_early_refusal_is_passed_on_and_the_body_read_no_further() {
    on_worker(async {
        for close in [false, true] {
            for large in [false, true] {
                let backend = Backend::new(move |mut conn| async move {
                    conn.head().await;
                    let close_field = if close { "Connection: close\r\n" } else { "" };
                    conn.say(format!(
                        "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n{close_field}\r\nlarge"
                    ))
                    .await;
                    if !close {
                        conn.rest().await;
                    }
                })
                .await;
                let rig = Rig::to(&backend);
                let body = if large {
                    chunks((0..4_000).map(|_| Ok(vec![0u8; 16_384].into())).collect())
                } else {
                    endless(pieces(&["some"]))
                };
                let answer = rig
                    .send(request("POST", "/", body))
                    .await
                    .map_err(|(error, _)| error)
                    .unwrap();
                assert_eq!(answer.status, 413);
                assert_eq!(answer.text(), "large");
                assert_eq!(rig.connections(), (0, 0), "never used again");
            }
        }
    });
}

#[test]
fn an_early_answer_survives_the_reset_that_follows_it() {
    on_worker(async {
        let mut whole = 0;
        for _ in 0..100 {
            let backend = Backend::new(|mut conn| async move {
                conn.head().await;
                // Closed with unread bytes: the kernel sends RST after the answer.
                conn.say(format!(
                    "HTTP/1.1 413 Too Large\r\nContent-Length: 2000\r\n\r\n{}",
                    "x".repeat(2000)
                ))
                .await;
            })
            .await;
            let rig = Rig::to(&backend);
            let body = chunks((0..200).map(|_| Ok(vec![0u8; 65_536].into())).collect());
            if let Ok(answer) = rig.send(request("POST", "/", body)).await {
                assert_eq!(answer.status, 413);
                whole += usize::from(answer.body.is_ok_and(|body| body.len() == 2000));
            }
        }
        assert!(whole >= 99, "{whole}");
    });
}

#[test]
fn an_answer_that_streams_beside_its_request_moves_both_ways() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
                .await;
            let mut got = Vec::new();
            use tokio::io::AsyncReadExt;
            while !got.ends_with(b"0\r\n\r\n") {
                let mut some = [0; 65536];
                let n = conn.stream.read(&mut some).await.unwrap();
                assert!(n > 0, "the request was cut off");
                got.extend_from_slice(&some[..n]);
            }
            conn.say("3\r\ntwo\r\n0\r\n\r\n").await;
            conn.rest().await;
        })
        .await;
        let rig = Rig::to(&backend);
        let body = chunks((0..300).map(|_| Ok(vec![b'x'; 16_384].into())).collect());
        let (answer, _) = rig.start(request("POST", "/", body)).await;
        let mut body = answer.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&first[..], b"one");
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(&rest[..], b"two");
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn a_client_that_breaks_off_beside_its_answer_is_told_as_the_client() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
                .await;
            conn.rest().await;
        })
        .await;
        let rig = Rig::to(&backend);
        let mut body: Vec<_> = (0..20).map(|_| Ok(vec![b'x'; 65_536].into())).collect();
        body.push(Err(BodyError::ClientGone));
        let answer = rig.send(request("POST", "/", chunks(body))).await;
        match answer {
            Ok(answer) => assert!(matches!(answer.body.unwrap_err(), BodyError::ClientGone)),
            Err((error, _)) => assert!(
                matches!(error.kind, SendErrorKind::ClientBody(BodyError::ClientGone)),
                "{error}"
            ),
        }
    });
}
