//! Tunnels as they live and end.

use crate::backend::{Backend, Conn};
use crate::client::Client;
use crate::node::{Node, forwarding, run, settings, until};
use crate::upgrade::{SWITCH, echo, handshake, open};
use sluice_dataplane::Edge;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const TUNNELS: &str = "sluice_connections{listener=\"public\",state=\"tunnel\"}";
const TO_TARGET: &str = "sluice_upstream_connections{upstream=\"a\",state=\"active\"}";

fn ended(node: &Node, why: &str) -> f64 {
    node.metric(&format!(
        "sluice_tunnels_ended_total{{gateway=\"web\",http_route=\"/**\",why=\"{why}\"}}"
    ))
}

fn bytes(node: &Node, direction: &str) -> f64 {
    node.metric(&format!(
        "sluice_tunnel_bytes_total{{gateway=\"web\",http_route=\"/**\",direction=\"{direction}\"}}"
    ))
}

async fn nothing_is_left(node: &Node) {
    until("nothing is left", || {
        node.dataplane.connections() == 0 && node.metric(TUNNELS) == 0.0 && node.metric(TO_TARGET) == 0.0
    })
    .await;
}

/// What the service read after its 101, and how that ended.
type Seen = Arc<Mutex<Vec<(Vec<u8>, bool)>>>;

async fn listening(seen: &Seen) -> Backend {
    let seen = Arc::clone(seen);
    Backend::new(move |mut conn| {
        let seen = Arc::clone(&seen);
        async move {
            conn.head().await;
            conn.say(SWITCH).await;
            let (read, reset) = conn.rest_or_reset().await;
            seen.lock().unwrap().push((read, reset));
        }
    })
    .await
}

#[test]
fn a_tunnel_is_counted_as_what_it_is() {
    run(async {
        let backend = Backend::new(echo).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = open(&node, "/").await;
        until("it is one", || node.metric(TUNNELS) == 1.0).await;
        for state in ["active", "idle"] {
            let gauge = format!("sluice_connections{{listener=\"public\",state=\"{state}\"}}");
            assert_eq!(node.metric(&gauge), 0.0, "{state}");
        }
        assert_eq!(node.metric(TO_TARGET), 1.0);
        assert_eq!(node.dataplane.connections(), 1);
        // The request is over with its 101.
        assert_eq!(node.metric("http_server_request_duration_seconds_count{gateway=\"web\",http_route=\"/**\",http_request_method=\"GET\",http_response_status_code=\"101\"}"), 1.0);
        client.say("hello").await;
        assert_eq!(client.bytes(5).await.unwrap(), b"hello");
        until("its bytes are counted", || {
            (bytes(&node, "to_upstream"), bytes(&node, "to_client")) == (5.0, 5.0)
        })
        .await;
        drop(client);
        nothing_is_left(&node).await;
        assert_eq!(ended(&node, "closed"), 1.0);
        assert!(node.metric("sluice_tunnel_seconds_total{gateway=\"web\",http_route=\"/**\"}") > 0.0);
    });
}

#[test]
fn each_side_closes_by_itself() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let head = conn.head().await.unwrap();
            conn.say(SWITCH).await;
            if head.contains("/service") {
                // FIN first, then it reads on.
                conn.finish().await;
                let rest = conn.rest().await;
                assert_eq!(rest, b"still here");
            } else {
                let rest = conn.rest().await;
                conn.say([b"had ".to_vec(), rest].concat()).await;
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = open(&node, "/client").await;
        client.say("a word").await;
        client.finish().await;
        let end = client.end().await;
        assert_eq!((end.bytes.as_slice(), end.reset), (&b"had a word"[..], false));
        let mut client = open(&node, "/service").await;
        assert!(client.end().await.bytes.is_empty());
        client.say("still here").await;
        drop(client);
        nothing_is_left(&node).await;
        assert_eq!(ended(&node, "closed"), 2.0);
    });
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    run(async {
        let seen = Seen::default();
        let backend = listening(&seen).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        open(&node, "/").await.reset();
        until("the service is told", || seen.lock().unwrap().len() == 1).await;
        assert_eq!(*seen.lock().unwrap(), [(Vec::new(), true)]);
        nothing_is_left(&node).await;
        assert_eq!(ended(&node, "client_reset"), 1.0);
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say(SWITCH).await;
            conn.bytes(2).await;
            conn.reset();
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = open(&node, "/").await;
        client.say("go").await;
        assert!(client.end().await.reset);
        nothing_is_left(&node).await;
        assert_eq!(ended(&node, "upstream_reset"), 1.0);
    });
}

/// A WebSocket backend that answers chunked headers can be closed.
#[test]
fn a_101_with_a_framing_of_its_own_is_a_tunnel_as_any_other() {
    run(async {
        for framing in ["Transfer-Encoding: chunked", "Content-Length: 0"] {
            let backend = Backend::new(move |mut conn| async move {
                let head = conn.head().await.unwrap();
                conn.say(SWITCH.replace("Connection", &format!("{framing}\r\nConnection")))
                    .await;
                match head.contains("/reset") {
                    true => {
                        let mut left = 50;
                        while left > 0 {
                            left -= 5;
                            let message = conn.bytes(5).await.unwrap();
                            conn.say(message).await;
                        }
                        conn.reset();
                    }
                    false => conn.echo().await,
                }
            })
            .await;
            let node = Node::new(&forwarding(&backend.url(), ""));
            for end in ["/frames", "/fin", "/reset"] {
                let mut client = node.client().await;
                client.say(handshake(end)).await;
                let (status, head) = client.head().await.unwrap();
                assert_eq!(status, 101);
                let head = head.to_lowercase();
                assert!(
                    !head.contains("transfer-encoding") && !head.contains("content-length"),
                    "{head}"
                );
                for i in 0..10 {
                    let message = format!("{i:05}");
                    client.say(&message).await;
                    assert_eq!(client.bytes(5).await.unwrap(), message.as_bytes());
                }
                match end {
                    "/frames" => {
                        // A close frame, and its echo; then the client closes.
                        let close = [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2];
                        client.say(close).await;
                        assert_eq!(client.bytes(8).await.unwrap(), close);
                    }
                    "/fin" => {
                        client.finish().await;
                        assert!(!client.end().await.reset);
                    }
                    _ => assert!(client.end().await.reset),
                }
                drop(client);
                nothing_is_left(&node).await;
            }
        }
    });
}

/// A request time-out does not end an open WebSocket.
#[test]
fn the_time_outs_of_a_request_end_with_its_handshake() {
    run(async {
        let backend = Backend::new(echo).await;
        let short = "timeout: { connect: 200ms, try: 200ms, first_byte: 200ms, idle: 200ms, total: 200ms }";
        let mut node = Node::edge(
            &forwarding(&backend.url(), &format!(", {short}")),
            Edge {
                idle: Duration::from_millis(200),
                header_timeout: Duration::from_millis(200),
                body_idle: Duration::from_millis(200),
                ..Edge::default()
            },
        );
        let mut client = open(&node, "/").await;
        for round in 0..3 {
            tokio::time::sleep(Duration::from_millis(350)).await;
            client.say("ping").await;
            assert_eq!(client.bytes(4).await.unwrap(), b"ping");
            node.publish(&forwarding(&backend.url(), &format!(", {short}, priority: {round}")));
        }
    });
}

#[test]
fn a_tunnel_in_which_nothing_moves_ends_and_pings_are_life() {
    run(async {
        let backend = Backend::new(echo).await;
        let node = Node::new(&forwarding(&backend.url(), ", timeout: { tunnel: 400ms }"));
        let mut silent = open(&node, "/").await;
        let mut pinging = open(&node, "/").await;
        let ping = [0x89, 0x80, 1, 2, 3, 4];
        let pings = async {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                pinging.say(ping).await;
                assert_eq!(pinging.bytes(6).await.unwrap(), ping);
            }
        };
        let (end, ()) = tokio::join!(silent.end(), pings);
        // Without a word: whoever is silent that long may not even be there.
        assert!(end.bytes.is_empty() && !end.reset);
        drop((silent, pinging));
        nothing_is_left(&node).await;
        assert_eq!((ended(&node, "idle"), ended(&node, "closed")), (1.0, 1.0));
    });
}

#[test]
fn half_a_tunnel_does_not_wait_as_long_as_a_whole_one() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say(SWITCH).await;
            conn.rest().await;
            // It has the client's FIN, and keeps its own to itself.
            conn.never().await;
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ", timeout: { idle: 200ms }"));
        let mut client = open(&node, "/").await;
        client.finish().await;
        assert!(!client.end().await.reset);
        until("it is over", || ended(&node, "idle") == 1.0).await;
        drop(client);
        nothing_is_left(&node).await;
    });
}

#[test]
fn a_slow_side_slows_the_other_and_loses_nothing() {
    run(async {
        const SIZE: usize = 8 << 20;
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say(SWITCH).await;
            let block: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
            conn.say(block).await;
            conn.rest().await;
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = open(&node, "/").await;
        // What the sockets on the way take, and no more.
        let mut before = 0.0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = bytes(&node, "to_client");
            if now == before && now > 0.0 {
                break;
            }
            before = now;
        }
        assert!(before < SIZE as f64, "{before}");
        let mut at = 0;
        while at < SIZE {
            let more = client.some().await.unwrap();
            assert!(more.iter().enumerate().all(|(i, byte)| *byte == ((at + i) % 251) as u8));
            at += more.len();
        }
        drop(client);
        nothing_is_left(&node).await;
    });
}

/// What a client still says to a service that has said all and is gone costs it none of that.
#[test]
fn the_last_words_of_a_service_reach_a_client_that_still_talks() {
    run(async {
        const SIZE: usize = 64 << 10;
        let gone = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&gone);
        let backend = Backend::new(move |mut conn| {
            let gone = Arc::clone(&told);
            async move {
                conn.head().await;
                conn.say(SWITCH).await;
                conn.say(vec![b'x'; SIZE]).await;
                conn.finish().await;
                conn.bytes(1).await;
                drop(conn);
                gone.store(true, Ordering::SeqCst);
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = open(&node, "/").await;
        client.say("y").await;
        until("the service is gone", || gone.load(Ordering::SeqCst)).await;
        // The first is answered by a reset, the next one meets it.
        for words in [2.0, 3.0] {
            client.say("y").await;
            until("it is passed on", || bytes(&node, "to_upstream") == words).await;
        }
        let end = client.end().await;
        assert_eq!((end.bytes.len(), end.reset), (SIZE, false));
        drop(client);
        nothing_is_left(&node).await;
        assert_eq!(ended(&node, "closed"), 1.0);
    });
}

#[test]
fn a_side_that_takes_nothing_is_reset_and_so_is_the_other() {
    run(async {
        let seen = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&seen);
        let backend = Backend::new(move |mut conn| {
            let seen = Arc::clone(&told);
            async move {
                conn.head().await;
                conn.say(SWITCH).await;
                let block = [b'x'; 65_536];
                while conn.stream.write_all(&block).await.is_ok() {}
                seen.store(true, Ordering::SeqCst);
            }
        })
        .await;
        let edge = Edge {
            write_stall: Duration::from_millis(300),
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let mut client = open(&node, "/").await;
        // It reads nothing.
        until("the service is told", || seen.load(Ordering::SeqCst)).await;
        nothing_is_left(&node).await;
        assert_eq!(ended(&node, "stalled"), 1.0);
        assert!(client.end().await.reset);
    });
}

/// The upstream, the route and the gateway may go: a tunnel stays, and keeps nothing of them alive.
#[test]
fn changes_leave_tunnels_alone_and_no_configuration_behind() {
    run(async {
        let backend = Backend::new(echo).await;
        let mut node = Node::with(&forwarding(&backend.url(), ""), settings(2, Edge::default()));
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(open(&node, "/").await);
        }
        for i in 0..20 {
            node.publish(&forwarding(
                &backend.url(),
                &format!(", priority: {i}, max_body: {i}KiB"),
            ));
        }
        node.publish("gateways: {}");
        until("old configurations are freed", || node.published.snapshots_live() == 1).await;
        for (i, client) in clients.iter_mut().enumerate() {
            let word = format!("word {i}");
            client.say(&word).await;
            assert_eq!(client.bytes(6).await.unwrap(), word.as_bytes());
        }
        assert_eq!(node.metric(TUNNELS), 8.0);
        drop(clients);
        until("none is left", || node.dataplane.connections() == 0).await;
    });
}

#[test]
fn a_tunnel_counts_as_load_of_its_target() {
    run(async {
        let backends = [Backend::new(echo).await, Backend::new(echo).await];
        let urls: Vec<_> = backends.iter().map(Backend::url).collect();
        let node = Node::new(&forwarding(&urls.join("\", \""), ""));
        let mut clients = Vec::new();
        for _ in 0..40 {
            clients.push(open(&node, "/").await);
        }
        let counts = backends.each_ref().map(Backend::accepted);
        assert!(counts.iter().all(|count| (19..=21).contains(count)), "{counts:?}");
    });
}

#[test]
fn a_tunnel_holds_its_place_among_the_connections_of_a_listener() {
    run(async {
        let backend = Backend::new(echo).await;
        let edge = Edge {
            max_connections: 2,
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ""), edge);
        let first = open(&node, "/").await;
        let _second = open(&node, "/").await;
        assert!(node.client().await.end().await.bytes.is_empty());
        drop(first);
        until("it has left", || node.dataplane.connections() == 1).await;
        open(&node, "/").await;
    });
}

fn draining() -> Edge {
    Edge {
        drain_delay: Duration::from_millis(50),
        drain_timeout: Duration::from_millis(1_000),
        ..Edge::default()
    }
}

#[test]
fn a_drain_leaves_tunnels_their_grace_and_then_says_that_it_goes() {
    run(async {
        let seen = Seen::default();
        let backend = listening(&seen).await;
        let node = Node::edge(&forwarding(&backend.url(), ", upgrade: [websocket, x]"), draining());
        let mut between = open(&node, "/").await;
        let mut within = open(&node, "/").await;
        let mut ends = open(&node, "/").await;
        // Half of a frame.
        within.say([0x81, 0x85, 1, 2, 3, 4, b'h']).await;
        let dataplane = node.dataplane.clone();
        let drain = tokio::spawn(async move { dataplane.drain().await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Within the grace all is as ever.
        let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        between.say(frame).await;
        ends.finish().await;
        assert!(!ends.end().await.reset);
        for client in [&mut between, &mut within] {
            let end = client.end().await;
            assert_eq!((end.bytes.as_slice(), end.reset), (&[0x88, 2, 0x03, 0xe9][..], false));
        }
        drop((between, within, ends));
        drain.await.unwrap();
        let mut seen = std::mem::take(&mut *seen.lock().unwrap());
        seen.sort();
        assert!(seen.iter().all(|(_, reset)| !reset), "{seen:?}");
        assert_eq!(seen[0].0, b"");
        let (spoke, close) = seen[1].0.split_at(8);
        assert_eq!(spoke, frame);
        let [0x88, 0x82, key @ .., high, low] = close else {
            panic!("{close:?}")
        };
        assert_eq!([high ^ key[0], low ^ key[1]], [0x03, 0xe9]);
        assert_eq!(seen[2].0, [0x81, 0x85, 1, 2, 3, 4, b'h'], "a frame is not interrupted");
    });
}

#[test]
fn a_drain_closes_what_it_does_not_know_the_frames_of() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say(SWITCH.replace("websocket", "x")).await;
            conn.echo().await;
        })
        .await;
        let node = Node::edge(&forwarding(&backend.url(), ", upgrade: [x]"), draining());
        let mut client = node.client().await;
        client.say(handshake("/").replace("websocket", "x")).await;
        assert_eq!(client.head().await.unwrap().0, 101);
        node.dataplane.drain().await;
        let end = client.end().await;
        assert!(end.bytes.is_empty() && !end.reset);
        assert_eq!(ended(&node, "drained"), 1.0);
    });
}

#[test]
fn a_stop_says_that_it_goes() {
    run(async {
        let backend = Backend::new(echo).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = open(&node, "/").await;
        until("it is one", || node.metric(TUNNELS) == 1.0).await;
        node.dataplane.stop();
        let end = client.end().await;
        assert_eq!((end.bytes.as_slice(), end.reset), (&[0x88, 2, 0x03, 0xe9][..], false));
    });
}

/// At any moment, by any end, by either side: all comes back to nothing.
#[test]
fn however_tunnels_end_nothing_is_left() {
    run(async {
        let backend = Backend::new(|mut conn: Conn| async move {
            let chance = fastrand::u64(..);
            if conn.head().await.is_none() {
                return;
            }
            conn.say(&SWITCH[..(chance % 3) as usize * SWITCH.len() / 2]).await;
            tokio::time::sleep(Duration::from_micros(chance % 3_000)).await;
            conn.say(vec![0x82; (chance >> 32) as usize % 100_000]).await;
            match chance % 5 {
                0 => conn.reset(),
                1 => drop(conn),
                2 => conn.finish().await,
                _ => drop(conn.rest().await),
            }
        })
        .await;
        let edge = Edge {
            header_timeout: Duration::from_millis(300),
            ..Edge::default()
        };
        let node = Node::with(
            &forwarding(
                &backend.url(),
                ", timeout: { idle: 200ms, first_byte: 200ms, tunnel: 300ms }",
            ),
            settings(2, edge),
        );
        let address = node.address();
        let clients: Vec<_> = (0..200)
            .map(|_| {
                tokio::spawn(async move {
                    let chance = fastrand::u64(..);
                    let mut client = Client::to(address).await;
                    let handshake = handshake("/");
                    let cut = if chance.is_multiple_of(7) {
                        handshake.len() / 2
                    } else {
                        handshake.len()
                    };
                    client.try_say(&handshake.as_bytes()[..cut]).await;
                    tokio::time::sleep(Duration::from_micros(chance % 3_000)).await;
                    client.try_say(&vec![0x81; (chance >> 32) as usize % 100_000]).await;
                    match chance % 5 {
                        0 => client.reset(),
                        1 => drop(client),
                        _ => drop(client.end().await),
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        nothing_is_left(&node).await;
        let active = "sluice_connections{listener=\"public\",state=\"active\"}";
        assert_eq!(node.metric(active), 0.0);
        assert_eq!(node.metric("sluice_panics_total{where=\"request\"}"), 0.0);
    });
}
