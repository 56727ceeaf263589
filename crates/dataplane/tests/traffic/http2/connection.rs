//! Connections as they come and go.

use super::decent::{decent, get, read};
use super::frames::{
    ACK, FRAME_SIZE_ERROR, GOAWAY, NO_ERROR, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, RST_STREAM, Raw,
};
use super::frames::{SETTINGS, WINDOW_UPDATE, frame};
use super::requests::h2c;
use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run, until};
use sluice_dataplane::Edge;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(100);

async fn slow() -> Backend {
    Backend::new(|mut conn| async move {
        while let Some(got) = conn.request().await {
            if got.target() == "/slow" {
                tokio::time::sleep(3 * SOON).await;
            }
            conn.say(ok(got.target())).await;
        }
    })
    .await
}

#[test]
fn a_frame_of_a_wrong_length_ends_the_connection_by_that_name() {
    run(async {
        let backend = slow().await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        for (kind, flags, stream, length) in [
            (PRIORITY, 0, 1, 4),
            (RST_STREAM, 0, 1, 3),
            (WINDOW_UPDATE, 0, 0, 3),
            (PING, 0, 0, 6),
            (SETTINGS, 0, 0, 3),
            (SETTINGS, ACK, 0, 6),
        ] {
            let mut raw = Raw::open(node.address()).await;
            raw.head(1, &super::frames::get("/")).await;
            assert_eq!(raw.status(1).await, Ok(200));
            raw.send(kind, flags, stream, &vec![0; length]).await;
            assert_eq!(raw.end().await, Some(FRAME_SIZE_ERROR), "{kind}");
        }
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_preface_without_settings_ends_the_connection() {
    run(async {
        let backend = slow().await;
        let node = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let mut raw = Raw::connect(node.address()).await;
        raw.write(&[PREFACE, &frame(PING, 0, 0, &[0; 8])].concat()).await;
        assert_eq!(raw.end().await, Some(PROTOCOL_ERROR));
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn an_idle_connection_is_told_goodbye_and_a_busy_one_is_not() {
    run(async {
        let backend = slow().await;
        let edge = Edge { idle: SOON, ..h2c() };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut silent = Raw::open(node.address()).await;
        let busy = decent(node.address()).await;
        assert_eq!(busy.ask(get("/slow")).await.unwrap().text(), "/slow");
        assert_eq!(silent.end().await, Some(NO_ERROR));
        drop(silent);
        busy.connection.await.unwrap().unwrap();
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_silent_client_is_asked_whether_it_is_there() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            std::future::pending::<()>().await;
        })
        .await;
        let edge = Edge { idle: SOON, ..h2c() };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut there = Raw::open(node.address()).await;
        let mut gone = Raw::open(node.address()).await;
        there.head(1, &super::frames::get("/")).await;
        gone.head(1, &super::frames::get("/")).await;
        for _ in 0..10 {
            let mut frame = there.next().await.unwrap();
            while frame.kind != PING {
                frame = there.next().await.unwrap();
            }
            there.send(PING, ACK, 0, &frame.payload).await;
        }
        // The other one is asked as well, and says nothing.
        while gone.next().await.is_some() {}
        until("one is left", || node.dataplane.connections() == 1).await;
    });
}

#[test]
fn a_drain_says_goodbye_and_lets_what_is_under_way_end() {
    run(async {
        let backend = slow().await;
        let edge = Edge {
            drain_delay: SOON,
            drain_timeout: 50 * SOON,
            ..h2c()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let client = decent(node.address()).await;
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (answer, _) = sender.send_request(get("/slow"), true).unwrap();
        until("it is at the service", || backend.count() == 1).await;
        let mut raw = Raw::open(node.address()).await;
        raw.head(1, &super::frames::get("/slow")).await;
        until("both are at the service", || backend.count() == 2).await;
        node.dataplane.turn_away(true);
        // First the highest number there is, and then, once the client has heard, that of its last request.
        let goaway = loop {
            let frame = raw.answer().await.unwrap();
            if frame.kind == GOAWAY {
                break frame;
            }
        };
        assert_eq!(goaway.payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        // Sent before the client could know.
        raw.head(3, &super::frames::get("/late")).await;
        let mut served = Vec::new();
        let mut last = None;
        while let Some(frame) = raw.answer().await {
            match frame.kind {
                GOAWAY => last = Some(frame.payload[..4].to_vec()),
                super::frames::DATA => served.extend(frame.payload),
                _ => {}
            }
        }
        assert_eq!(last, Some(vec![0, 0, 0, 3]));
        assert_eq!(String::from_utf8(served).unwrap(), "/late/slow");
        drop(raw);
        assert_eq!(read(answer.await.unwrap()).await.unwrap().text(), "/slow");
        client.connection.await.unwrap().unwrap();
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn what_outlives_a_drain_is_cut() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            std::future::pending::<()>().await;
        })
        .await;
        let edge = Edge {
            drain_delay: SOON,
            drain_timeout: 2 * SOON,
            ..h2c()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let client = decent(node.address()).await;
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        until("it is at the service", || backend.count() == 1).await;
        node.dataplane.drain().await;
        answer.await.unwrap_err();
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_connection_ends_after_ten_thousand_requests() {
    run(async {
        let node = Node::edge(
            "gateways: { web: { hosts: [\"*\"], routes: [{ path: /**, respond: { status: 204 } }] } }",
            h2c(),
        );
        let client = decent(node.address()).await;
        let mut served = 0;
        while !client.connection.is_finished() {
            let all = (0..50).map(|_| client.ask(get("/")));
            served += futures_util::future::join_all(all).await.iter().flatten().count();
        }
        // Those that were on their way when it was said are served too.
        assert!((10_000..10_100).contains(&served), "{served}");
        client.connection.await.unwrap().unwrap();
        assert_eq!(decent(node.address()).await.ask(get("/")).await.unwrap().status(), 204);
    });
}

#[test]
fn each_stream_is_served_wholly_by_one_version_and_none_is_lost() {
    run(async {
        let document = |version: u32| {
            format!(
                "gateways: {{ web: {{ hosts: [\"*\"], expose: [version], routes: [{{ path: /**, respond: {{ text: v{version} }} }}] }} }}"
            )
        };
        let mut node = Node::edge(&document(1), h2c());
        let client = decent(node.address()).await;
        let asking = async |client: &super::decent::Decent| {
            let all = (0..40).map(|_| client.ask(get("/")));
            futures_util::future::join_all(all).await
        };
        let mut newest = 0;
        for version in 2..40 {
            let (answers, ()) = tokio::join!(asking(&client), async {
                tokio::task::yield_now().await;
                node.publish(&document(version));
            });
            for answer in answers {
                let answer = answer.unwrap();
                let shown: u32 = answer.field("sluice-version").unwrap().parse().unwrap();
                assert_eq!(answer.text(), format!("v{shown}"));
                newest = newest.max(shown);
            }
        }
        assert!(newest > 30, "{newest}");
        assert!(!client.connection.is_finished());
    });
}

#[test]
fn a_connection_whose_worker_has_many_is_handed_on_before_a_byte_is_read() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::with(&forwarding(&backend.url(), ""), crate::node::settings(4, h2c()));
        let mut clients = Vec::new();
        for _ in 0..32 {
            let client = decent(node.address()).await;
            assert_eq!(client.ask(get("/")).await.unwrap().text(), "ok");
            clients.push(client);
        }
        assert!(node.metric("sluice_connections_handed_total") > 0.0);
        assert_eq!(
            node.metric("sluice_connections{listener=\"public\",state=\"idle\"}"),
            32.0
        );
        assert_eq!(node.metric("sluice_http2_connections{listener=\"public\"}"), 32.0);
    });
}

#[test]
fn the_preface_may_stand_behind_a_header_of_the_proxy_protocol() {
    run(async {
        let backend = Backend::mirror().await;
        let mut settings = crate::node::settings(1, h2c());
        settings.proxy_protocol = ["127.0.0.0/8".parse().unwrap()].into();
        let node = Node::with(&forwarding(&backend.url(), ""), settings);
        // In one with the preface, and cut within both.
        for cut in [0, 10, 50, 60] {
            let mut bytes = b"PROXY TCP4 192.0.2.7 192.0.2.8 40000 80\r\n".to_vec();
            bytes.extend(super::frames::PREFACE);
            bytes.extend(super::frames::frame(super::frames::SETTINGS, 0, 0, &[]));
            let (first, rest) = bytes.split_at(cut);
            let mut raw = Raw::connect(node.address()).await;
            raw.write(first).await;
            tokio::task::yield_now().await;
            raw.write(rest).await;
            raw.head(1, &super::frames::get("/")).await;
            let body = loop {
                let frame = raw.answer().await.unwrap();
                if frame.kind == super::frames::DATA {
                    break String::from_utf8(frame.payload).unwrap();
                }
            };
            assert!(body.contains("x-forwarded-for: 192.0.2.7\r\n"), "{cut}: {body}");
        }
    });
}

#[test]
fn two_gateways_speak_it_with_each_other() {
    run(async {
        let backend = Backend::answering(|got| {
            let told = format!("{}{}", got.head, String::from_utf8_lossy(&got.body));
            format!(
                "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{told}\r\n0\r\nx-sum: 7\r\n\r\n",
                told.len()
            )
        })
        .await;
        let second = Node::edge(&forwarding(&backend.url(), ""), h2c());
        let url = format!("http://{}", second.address());
        let document = forwarding(&url, "").replace("targets:", "protocol: h2c, targets:");
        let first = Node::edge(&document, h2c());
        let client = decent(first.address()).await;
        let asking = (0..40).map(|_| client.send(super::decent::post("/a?b"), &[b"some", b"", b"more"]));
        for answer in futures_util::future::join_all(asking).await {
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.trailers.as_ref().unwrap()["x-sum"], "7");
            let text = answer.text();
            assert!(text.starts_with("POST /a?b HTTP/1.1\r\n"), "{text}");
            assert!(
                text.contains("via: 2.0 sluice") && text.contains("some") && text.contains("more"),
                "{text}"
            );
        }
        let open = "sluice_http2_connections{listener=\"public\"}";
        assert_eq!((first.metric(open), second.metric(open)), (1.0, 1.0));
        // That the second sends its clients away costs no request.
        second.dataplane.turn_away(true);
        for _ in 0..20 {
            assert_eq!(client.ask(get("/")).await.unwrap().status(), 200);
        }
    });
}
