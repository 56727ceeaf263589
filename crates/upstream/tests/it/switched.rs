//! Connections on which the target switched protocols.

use crate::support::{Backend, Rig, on_worker, request, until};
use bytes::Bytes;
use http::{Request, Response};
use sluice_upstream::{Attempts, Body, Plan, SendError, SendErrorKind, Switched};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n";

async fn ask(rig: &Rig, mut request: Request<Body>) -> Result<Response<Body>, SendError> {
    let headers = request.headers_mut();
    headers.insert("upgrade", "x".parse().unwrap());
    headers.insert("connection", "upgrade".parse().unwrap());
    let mut attempts = Attempts {
        switch: true,
        ..Attempts::default()
    };
    rig.upstreams
        .send(&rig.spec, Plan::of(&rig.spec), &mut request, &mut attempts)
        .await
}

fn switched(response: Response<Body>) -> Box<Switched> {
    assert_eq!(response.status(), 101);
    match response.into_body() {
        Body::Switched(switched) => switched,
        body => panic!("{body:?}"),
    }
}

/// Says `answer` to each request, then what comes, twice.
async fn doubling(answer: &'static str) -> Backend {
    Backend::new(move |mut conn| async move {
        while conn.request().await.is_some() {
            conn.say(answer).await;
            let mut word = [0; 4];
            while conn.stream.read_exact(&mut word).await.is_ok() {
                conn.say([word, word].concat()).await;
            }
        }
    })
    .await
}

#[test]
fn a_switched_connection_is_the_callers_and_counts_until_it_is_dropped() {
    on_worker(async {
        let backend = doubling("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\nearly").await;
        let rig = Rig::to(&backend);
        let answer = ask(&rig, request("GET", "/", Body::Empty)).await.unwrap();
        for field in ["transfer-encoding", "content-length"] {
            assert!(!answer.headers().contains_key(field));
        }
        let mut switched = switched(answer);
        let mut early = switched.early.to_vec();
        let mut more = [0; 5];
        let rest = &mut more[early.len()..];
        switched.io.read_exact(rest).await.unwrap();
        early.extend_from_slice(rest);
        assert_eq!(early, b"early");
        switched.io.write_all(b"word").await.unwrap();
        let mut twice = [0; 8];
        switched.io.read_exact(&mut twice).await.unwrap();
        assert_eq!(&twice, b"wordword");
        assert_eq!(rig.connections(), (1, 0));
        drop(switched);
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn what_follows_the_101_in_one_segment_is_kept() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            conn.say(format!("{SWITCHED}\r\n{}", "a".repeat(9_000))).await;
            conn.rest().await;
        })
        .await;
        let rig = Rig::to(&backend);
        let mut switched = switched(ask(&rig, request("GET", "/", Body::Empty)).await.unwrap());
        let mut came = switched.early.to_vec();
        while came.len() < 9_000 {
            let mut more = [0; 4096];
            let n = switched.io.read(&mut more).await.unwrap();
            came.extend_from_slice(&more[..n]);
        }
        assert!(came == "a".repeat(9_000).as_bytes());
    });
}

#[test]
fn a_refused_switch_leaves_an_ordinary_connection() {
    on_worker(async {
        let backend = Backend::echo().await;
        let rig = Rig::to(&backend);
        for _ in 0..2 {
            let answer = ask(&rig, request("GET", "/", Body::Empty)).await.unwrap();
            assert_eq!(answer.status(), 200);
            drop(answer);
            let next = rig.get("/next").await;
            assert_eq!(next.status, 200);
        }
        until("it is kept", || rig.connections() == (0, 1)).await;
    });
}

#[test]
fn a_switch_before_the_request_is_sent_is_none() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say(format!("{SWITCHED}\r\n")).await;
            conn.rest().await;
        })
        .await;
        let rig = Rig::to(&backend);
        let body = Body::boxed(http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, _>,
        >()));
        let error = ask(&rig, request("POST", "/", body)).await.unwrap_err();
        assert!(matches!(error.kind, SendErrorKind::Protocol), "{error}");
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn a_request_with_a_body_switches_behind_it() {
    on_worker(async {
        let backend = doubling("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
        let rig = Rig::to(&backend);
        let answer = ask(&rig, request("POST", "/", Body::Full("body".into())))
            .await
            .unwrap();
        let mut switched = switched(answer);
        switched.io.write_all(b"word").await.unwrap();
        let mut twice = [0; 8];
        switched.io.read_exact(&mut twice).await.unwrap();
        assert_eq!(&twice, b"wordword");
    });
}

#[test]
fn a_101_of_http_1_0_and_one_that_nobody_asked_for_are_none() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                let version = if got.line().contains("/old") { "1.0" } else { "1.1" };
                conn.say(SWITCHED.replace("HTTP/1.1", &format!("HTTP/{version}"))).await;
                conn.say("\r\n").await;
            }
        })
        .await;
        let rig = Rig::to(&backend);
        let old = ask(&rig, request("GET", "/old", Body::Empty)).await.unwrap_err();
        assert!(matches!(old.kind, SendErrorKind::Protocol));
        let Err((unasked, _)) = rig.send(request("GET", "/", Body::Empty)).await else {
            panic!("passed on")
        };
        assert!(matches!(unasked.kind, SendErrorKind::Protocol));
        assert_eq!(rig.connections(), (0, 0));
    });
}
