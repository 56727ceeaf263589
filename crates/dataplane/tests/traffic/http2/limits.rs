//! What a client may have us do.

use super::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, REFUSED_STREAM, RST_STREAM, Raw, SETTINGS,
    frame, request,
};
use super::requests::h2c;
use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run, until};

async fn hanging() -> Backend {
    Backend::new(|mut conn| async move {
        conn.request().await;
        std::future::pending::<()>().await;
    })
    .await
}

#[test]
fn the_hundred_and_first_stream_is_refused_and_the_others_are_not() {
    run(async {
        let backend = hanging().await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::open(node.address()).await;
        for stream in 0..100 {
            raw.head(2 * stream + 1, &super::frames::get("/")).await;
        }
        until("all are at the service", || backend.count() == 100).await;
        raw.head(201, &super::frames::get("/")).await;
        assert_eq!(raw.status(201).await, Err(REFUSED_STREAM));
        assert_eq!(
            node.metric("sluice_connections{listener=\"public\",state=\"active\"}"),
            1.0
        );
        assert_eq!(node.metric("sluice_http2_streams{listener=\"public\"}"), 100.0);
        // One that goes makes room for one.
        raw.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).await;
        raw.head(203, &super::frames::get("/")).await;
        until("one more is at the service", || backend.count() == 101).await;
        until("the refusal is counted", || {
            node.metric("sluice_http2_ended_total{why=\"refused\"}") == 1.0
        })
        .await;
        drop(raw);
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_client_may_give_up_at_once_all_that_it_has_just_asked_for() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::open(node.address()).await;
        let mut all = Vec::new();
        for n in 0..80 {
            let stream = 2 * n + 1;
            all.extend(frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &super::frames::get("/"),
            ));
            all.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        }
        raw.write(&all).await;
        raw.head(201, &super::frames::get("/")).await;
        assert_eq!(raw.status(201).await, Ok(200));
    });
}

#[test]
fn requests_that_are_cancelled_again_and_again_end_the_connection() {
    run(async {
        let backend = hanging().await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::open(node.address()).await;
        for n in 0..300 {
            let stream = 2 * n + 1;
            raw.head(stream, &super::frames::get("/")).await;
            let seen = node.metric("sluice_connections{listener=\"public\",state=\"active\"}");
            if seen == 0.0 {
                tokio::task::yield_now().await;
            }
            raw.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.end().await, Some(ENHANCE_YOUR_CALM));
        drop(raw);
        until("nothing is left", || node.dataplane.connections() == 0).await;
        assert!(backend.count() < 300);
    });
}

#[test]
fn frames_that_ask_for_nothing_end_the_connection() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let floods = [
            frame(PING, 0, 0, &[0; 8]),
            frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
            frame(super::frames::PRIORITY, 0, 1, &[0, 0, 0, 0, 0]),
            frame(super::frames::WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()),
            frame(0x63, 0, 0, b"unknown"),
        ];
        for (n, flood) in floods.iter().enumerate() {
            let mut raw = Raw::open(node.address()).await;
            raw.send(HEADERS, END_HEADERS, 1, &request("POST", "/", &[])).await;
            let reading = async {
                // Answers are taken, so that the writing never has to wait.
                raw.stream.readable().await.unwrap();
            };
            reading.await;
            let (mut read, mut write) = raw.stream.into_split();
            let bytes = flood.repeat(200);
            let writing = async {
                for _ in 0..50 {
                    if tokio::io::AsyncWriteExt::write_all(&mut write, &bytes).await.is_err() {
                        break;
                    }
                }
            };
            let mut came = Vec::new();
            let reading = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut came);
            let (_, _) = tokio::join!(writing, reading);
            let goaway = came.windows(4).any(|window| window == ENHANCE_YOUR_CALM.to_be_bytes());
            assert!(goaway, "{n}");
            until("it is counted", || {
                node.metric("sluice_http2_ended_total{why=\"flood\"}") == (n + 1) as f64
            })
            .await;
        }
        // Empty pieces of a body.
        let mut raw = Raw::open(node.address()).await;
        raw.send(HEADERS, END_HEADERS, 1, &request("POST", "/", &[])).await;
        raw.write(&frame(DATA, 0, 1, b"").repeat(200)).await;
        assert_eq!(raw.end().await, Some(ENHANCE_YOUR_CALM));
        drop(raw);
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

/// Answers with far more than any window, and tells when nobody wants it any more.
async fn endless(gone: std::sync::Arc<std::sync::atomic::AtomicUsize>) -> Backend {
    Backend::new(move |mut conn| {
        let gone = std::sync::Arc::clone(&gone);
        async move {
            let Some(got) = conn.request().await else { return };
            if got.target() == "/short" {
                return conn.say(ok("ok")).await;
            }
            conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while tokio::io::AsyncWriteExt::write_all(&mut conn.stream, b"3e8\r\n")
                .await
                .is_ok()
            {
                conn.say(vec![b'x'; 1000]).await;
                conn.say("\r\n").await;
            }
            gone.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    })
    .await
}

#[test]
fn a_stream_whose_window_stays_shut_is_reset_and_the_others_go_on() {
    run(async {
        let gone = std::sync::Arc::default();
        let backend = endless(std::sync::Arc::clone(&gone)).await;
        let edge = sluice_dataplane::Edge {
            write_stall: std::time::Duration::from_secs(1),
            ..h2c()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut raw = Raw::open_with(node.address(), &[(4, 0)]).await;
        for n in 0..10 {
            raw.head(2 * n + 1, &super::frames::get("/")).await;
        }
        let mut reset = 0;
        while reset < 10 {
            let frame = raw.answer().await.unwrap();
            match frame.kind {
                RST_STREAM => {
                    assert_eq!(frame.code(), CANCEL);
                    reset += 1;
                }
                // One window is opened byte by byte, which is no better; faster, it would be a flood.
                HEADERS | DATA if frame.stream == 1 => {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    raw.send(super::frames::WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes()).await;
                }
                _ => {}
            }
        }
        until("the service hears of it", || {
            gone.load(std::sync::atomic::Ordering::SeqCst) == 10
        })
        .await;
        assert_eq!(node.metric("sluice_http2_ended_total{why=\"stalled\"}"), 10.0);
        assert_eq!(
            node.metric("sluice_connections{listener=\"public\",state=\"active\"}"),
            0.0
        );
        raw.head(21, &super::frames::get("/short")).await;
        raw.send(super::frames::WINDOW_UPDATE, 0, 21, &100u32.to_be_bytes())
            .await;
        assert_eq!(raw.status(21).await, Ok(200));
    });
}

#[test]
fn a_connection_that_takes_nothing_is_closed() {
    run(async {
        let gone = std::sync::Arc::default();
        let backend = endless(std::sync::Arc::clone(&gone)).await;
        let edge = sluice_dataplane::Edge {
            write_stall: std::time::Duration::from_millis(200),
            ..h2c()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        // Windows as wide as they get, and a socket that is never read.
        let mut raw = Raw::open_with(node.address(), &[(4, (1 << 31) - 1)]).await;
        raw.send(super::frames::WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes())
            .await;
        for n in 0..10 {
            raw.head(2 * n + 1, &super::frames::get("/")).await;
        }
        until("all are at the service", || backend.count() == 10).await;
        until("it is closed", || node.dataplane.connections() == 0).await;
        until("the service hears of it", || {
            gone.load(std::sync::atomic::Ordering::SeqCst) == 10
        })
        .await;
    });
}
