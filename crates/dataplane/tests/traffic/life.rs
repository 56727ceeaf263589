//! Connections as they come and go: limits, idleness, workers, the end.

use crate::backend::{Backend, ok};
use crate::client::Client;
use crate::node::{Node, forwarding, listener, run, settings, until};
use sluice_dataplane::{BindError, Dataplane, Edge};
use std::net::TcpListener;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(100);

fn edge() -> Edge {
    Edge {
        drain_delay: SOON,
        drain_timeout: 2 * SOON,
        ..Edge::default()
    }
}

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(2, Edge::default());
    settings.listeners[0].address = taken.local_addr().unwrap();
    let error = Dataplane::bind(settings.clone()).unwrap_err();
    assert!(matches!(error, BindError::Listen { .. }));
    assert!(error.to_string().contains("in use"), "{error}");
    settings.listeners.clear();
    assert!(matches!(Dataplane::bind(settings).unwrap_err(), BindError::NoListener));
    // Two of ours cannot share one either.
    let first = Dataplane::bind(crate::node::settings(2, Edge::default())).unwrap();
    let mut second = crate::node::settings(2, Edge::default());
    second.listeners[0].address = first.addresses().next().unwrap().1;
    assert!(Dataplane::bind(second).is_err());
}

#[test]
fn an_idle_connection_is_closed_and_a_slow_one_is_not() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while conn.request().await.is_some() {
                tokio::time::sleep(3 * SOON).await;
                conn.say(ok("slow")).await;
            }
        })
        .await;
        let edge = Edge {
            idle: SOON,
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut silent = node.client().await;
        let mut busy = node.client().await;
        assert_eq!(busy.get("/").await.text(), "slow");
        let end = silent.end().await;
        assert!(end.bytes.is_empty() && !end.reset);
        assert!(busy.end().await.bytes.is_empty());
        drop((silent, busy));
        until("nothing is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_listener_takes_no_more_than_it_may() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            max_connections: 3,
            // Never holds for loopback.
            per_address: Some(1),
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = node.client().await;
            assert_eq!(client.get("/").await.status, 200);
            clients.push(client);
        }
        assert!(node.client().await.end().await.bytes.is_empty());
        assert_eq!(node.metric("sluice_connections_refused_total{why=\"limit\"}"), 1.0);
        assert_eq!(node.metric("sluice_connections_refused_total{why=\"address\"}"), 0.0);
        clients.pop();
        until("one has left", || node.dataplane.connections() == 2).await;
        assert_eq!(node.client().await.get("/").await.status, 200);
    });
}

#[test]
fn connections_are_spread_over_the_workers() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::with(&forwarding(&backend.url(), ""), settings(4, Edge::default()));
        let mut clients = Vec::new();
        for _ in 0..64 {
            let mut client = node.client().await;
            assert_eq!(client.get("/").await.status, 200);
            clients.push(client);
        }
        assert_eq!(node.dataplane.connections(), 64);
        // By hash alone, none would be handed; that all went well by chance is one in millions.
        assert!(node.metric("sluice_connections_handed_total") > 0.0);
        assert_eq!(
            node.metric("sluice_connections{listener=\"public\",state=\"idle\"}"),
            64.0
        );
        for client in &mut clients {
            assert_eq!(client.get("/").await.text(), "ok");
        }
        assert!(node.dataplane.load() <= 1.0);
        drop(clients);
        until("all have left", || node.dataplane.connections() == 0).await;
        assert_eq!(
            node.metric("sluice_connections{listener=\"public\",state=\"idle\"}"),
            0.0
        );
    });
}

#[test]
fn gateways_have_the_listeners_that_they_name() {
    run(async {
        let document = "gateways:\n  web: { hosts: [\"*\"], routes: [{ path: /, respond: { text: web } }] }\n  api: { hosts: [\"*\"], listen: [partner], routes: [{ path: /, respond: { text: api } }] }\n";
        let mut settings = settings(1, Edge::default());
        settings.listeners = vec![listener("public"), listener("partner"), listener("public")];
        let node = Node::with(document, settings);
        for (address, text) in node.addresses.iter().zip(["web", "api", "web"]) {
            assert_eq!(Client::to(*address).await.get("/").await.text(), text);
        }
    });
}

#[test]
fn every_request_is_served_by_one_version_while_versions_change() {
    run(async {
        let document = |version: u64| {
            format!(
                "gateways:\n  web:\n    hosts: [\"*\"]\n    expose: [version]\n    routes: [{{ path: /, respond: {{ text: 'v{version}', headers: {{ X-V: 'v{version}' }} }} }}]\n"
            )
        };
        let mut node = Node::with(&document(1), settings(2, Edge::default()));
        let address = node.address();
        let asking = tokio::spawn(async move {
            let mut client = Client::to(address).await;
            let mut last = 0;
            let mut seen = 0;
            while last < 200 {
                let answer = client.get("/").await;
                let version: u64 = answer.field("sluice-version").unwrap().parse().unwrap();
                assert_eq!(answer.text(), format!("v{version}"));
                assert_eq!(answer.field("x-v"), Some(answer.text()));
                assert!(version >= last);
                seen += u64::from(version != last);
                last = version;
            }
            seen
        });
        for version in 2..=200 {
            node.publish(&document(version));
            until("all workers have it", || node.published.live().version == version).await;
            assert!(
                node.published.snapshots_live() <= 4,
                "{}",
                node.published.snapshots_live()
            );
        }
        assert!(asking.await.unwrap() > 1);
    });
}

#[test]
fn a_stream_keeps_no_old_configuration() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            conn.say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npart").await;
            conn.rest().await;
        })
        .await;
        let mut node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.head().await.unwrap();
        for i in 0..5 {
            node.publish(&forwarding(&backend.url(), &format!(", priority: {i}")));
        }
        until("old snapshots are freed", || node.published.snapshots_live() == 1).await;
    });
}

#[test]
fn a_node_that_is_not_ready_serves_and_sends_away() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        node.dataplane.turn_away(true);
        let mut client = node.client().await;
        let mut closed = false;
        for _ in 0..1_000 {
            let answer = client.get("/").await;
            assert_eq!(answer.text(), "ok");
            closed = answer.field("connection") == Some("close");
            if closed {
                break;
            }
        }
        assert!(closed);
        assert!(client.end().await.bytes.is_empty());
        node.dataplane.turn_away(false);
        until("it is taken back", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_drain_serves_on_then_closes_what_waits_and_ends_what_does_not_end() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                match got.target() {
                    "/never" => drop(conn.rest().await),
                    "/later" => tokio::time::sleep(2 * SOON).await,
                    _ => {}
                }
                conn.say(ok("ok")).await;
            }
        })
        .await;
        let node = Node::edge(
            &forwarding(&backend.url(), ""),
            Edge {
                drain_timeout: 5 * SOON,
                ..edge()
            },
        );
        let mut idle = node.client().await;
        assert_eq!(idle.get("/").await.field("connection"), None);
        let (mut later, mut never) = (node.client().await, node.client().await);
        let dataplane = node.dataplane.clone();
        let draining = tokio::spawn(async move { dataplane.drain().await });
        // Within the delay all is as ever.
        let mut fresh = node.client().await;
        assert_eq!(fresh.get("/").await.field("connection"), None);
        assert_eq!(idle.get("/").await.field("connection"), None);
        later.say("GET /later HTTP/1.1\r\nHost: a\r\n\r\n").await;
        never.say("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // After it, what waits is closed in order, and answers are the last.
        for mut client in [idle, fresh] {
            let end = client.end().await;
            assert!(end.bytes.is_empty() && !end.reset);
        }
        let answer = later.answer().await.unwrap();
        assert_eq!((answer.text(), answer.field("connection")), ("ok", Some("close")));
        assert!(never.answer().await.is_err());
        draining.await.unwrap();
        assert_eq!(node.dataplane.connections(), 0);
        assert!(tokio::net::TcpStream::connect(node.address()).await.is_err());
    });
}

#[test]
fn a_drain_without_connections_ends_after_its_delay() {
    run(async {
        let node = Node::edge(
            "gateways: {}",
            Edge {
                drain_delay: Duration::ZERO,
                drain_timeout: Duration::from_secs(3600),
                ..Edge::default()
            },
        );
        node.dataplane.drain().await;
        assert!(tokio::net::TcpStream::connect(node.address()).await.is_err());
    });
}

#[test]
fn no_request_fails_while_a_node_drains_under_load() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = forwarding(&backend.url(), "");
        let node = Node::with(&document, settings(2, edge()));
        let address = node.address();
        let client = move || async move {
            // As a balancer does: a connection is used until it is closed, and none is opened any
            // more once the node refuses.
            let mut answered = 0;
            'connections: while let Ok(stream) = tokio::net::TcpStream::connect(address).await {
                let mut client = Client::on(stream);
                for _ in 0..50 {
                    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                    match client.answer().await {
                        Ok(answer) => {
                            assert_eq!(answer.text(), "ok");
                            answered += 1;
                            if answer.field("connection") == Some("close") {
                                continue 'connections;
                            }
                        }
                        Err(cut) => {
                            assert!(cut.bytes.is_empty(), "an answer was cut");
                            break 'connections;
                        }
                    }
                }
            }
            answered
        };
        let clients: Vec<_> = (0..16).map(|_| tokio::spawn(client())).collect();
        node.dataplane.drain().await;
        for client in clients {
            assert!(client.await.unwrap() > 0);
        }
    });
}

#[test]
fn a_drain_ends_however_many_keep_coming() {
    run(async {
        let node = Node::with("gateways: {}", settings(2, edge()));
        let address = node.address();
        let knock = move || async move {
            let mut knocked = 0;
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                knocked += 1;
            }
            knocked
        };
        let clients: Vec<_> = (0..16).map(|_| tokio::spawn(knock())).collect();
        node.dataplane.drain().await;
        for client in clients {
            assert!(client.await.unwrap() > 0);
        }
    });
}
