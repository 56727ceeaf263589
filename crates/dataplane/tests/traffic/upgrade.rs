//! Asking to switch protocols: what goes on, what is refused, what a 101 must be.

use crate::backend::{Backend, Conn, ok};
use crate::client::{Answer, Client};
use crate::node::{Node, forwarding, run, until};
use sluice_dataplane::Edge;
use std::time::Duration;

pub const ASK: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
pub const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

pub fn handshake(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{ASK}\r\n")
}

/// Says what it gets, once it has switched.
pub async fn echo(mut conn: Conn) {
    if conn.head().await.is_some() {
        conn.say(SWITCH).await;
        conn.echo().await;
    }
}

/// A client on the other side of a 101.
pub async fn open(node: &Node, path: &str) -> Client {
    let mut client = node.client().await;
    client.say(handshake(path)).await;
    assert_eq!(client.head().await.unwrap().0, 101);
    client
}

#[test]
fn a_handshake_reaches_the_service_and_its_101_the_client() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say("HTTP/1.1 101 Whatever\r\nUpgrade: WebSocket\r\nConnection: Upgrade, x-hop\r\nX-Hop: 1\r\nX-More: 1\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n").await;
            conn.echo().await;
        })
        .await;
        let document = forwarding(
            &backend.url(),
            ", response: { headers: { set: { X-Ours: '1' }, remove: [X-More] } }, request: { headers: { set: { X-Asked: '1' } } }",
        );
        let node = Node::new(&document);
        let mut client = node.client().await;
        client
            .say(format!(
                "GET /chat HTTP/1.1\r\nHost: a\r\n{ASK}TE: trailers\r\nKeep-Alive: 1\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
            ))
            .await;
        let (status, head) = client.head().await.unwrap();
        assert_eq!(status, 101);
        let field = |name| crate::backend::field(&head, name);
        assert_eq!(field("upgrade"), Some("WebSocket"));
        assert_eq!(field("connection"), Some("upgrade"));
        assert_eq!(field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(field("sec-websocket-protocol"), Some("chat"));
        assert_eq!(field("x-ours"), Some("1"));
        assert!(field("x-request-id").is_some());
        for gone in ["x-hop", "x-more", "content-length", "transfer-encoding"] {
            assert_eq!(field(gone), None, "{gone}");
        }
        let heads = backend.heads();
        let asked = |name| crate::backend::field(&heads[0], name);
        assert_eq!(
            (asked("connection"), asked("upgrade")),
            (Some("upgrade"), Some("websocket"))
        );
        assert_eq!(asked("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(asked("sec-websocket-version"), Some("13"));
        assert_eq!(asked("x-asked"), Some("1"));
        assert!(asked("x-forwarded-for").is_some());
        for gone in ["te", "keep-alive"] {
            assert_eq!(asked(gone), None, "{gone}");
        }
        client.say("both ways").await;
        assert_eq!(client.bytes(9).await.unwrap(), b"both ways");
    });
}

#[test]
fn nothing_behind_the_request_reaches_the_service_before_its_101() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                // All that came by now would stand in the buffer.
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert_eq!(conn.waiting(), b"", "{}", got.line());
                conn.say(ok(got.target())).await;
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ", upgrade: [websocket, x]"));
        for protocol in ["websocket", "x"] {
            let mut client = node.client().await;
            client
                .say(format!(
                    "GET /first HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n"
                ))
                .await;
            assert_eq!(client.answer().await.unwrap().text(), "/first");
            assert_eq!(client.answer().await.unwrap().text(), "/second");
        }
        assert!(
            backend.heads()[1].contains("via: 1.1 sluice"),
            "the second is a request of its own"
        );
        assert_eq!(backend.count(), 4);
    });
}

#[test]
fn what_is_pipelined_behind_a_handshake_is_kept_in_order() {
    run(async {
        let backend = Backend::new(echo).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        let early = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        client.say(format!("{}{early}", handshake("/"))).await;
        assert_eq!(client.head().await.unwrap().0, 101);
        client.say("later").await;
        let echoed = client.bytes(early.len() + 5).await.unwrap();
        assert_eq!(String::from_utf8(echoed).unwrap(), format!("{early}later"));
        assert_eq!(backend.count(), 1);
    });
}

#[test]
fn what_follows_a_fast_101_is_kept_in_order() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            let burst: String = (0..4_000).map(|i| format!("{i:05}")).collect();
            conn.say(format!("{SWITCH}{burst}")).await;
            conn.echo().await;
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = open(&node, "/").await;
        let burst = client.bytes(20_000).await.unwrap();
        for (i, word) in burst.chunks(5).enumerate() {
            assert_eq!(word, format!("{i:05}").as_bytes());
        }
        client.say("still").await;
        assert_eq!(client.bytes(5).await.unwrap(), b"still");
    });
}

#[test]
fn a_route_without_upgrades_refuses_websockets_and_ignores_the_rest() {
    run(async {
        let backend = Backend::answering(|got| ok(&format!("{:?}", got.field("upgrade")))).await;
        let node = Node::new(&forwarding(&backend.url(), ", upgrade: []"));
        let mut client = node.client().await;
        let refused = client.ask(&handshake("/")).await;
        assert_eq!((refused.status, refused.code().as_str()), (501, "upgrade_not_allowed"));
        // In step, on the same connection.
        let ignored = client
            .ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n")
            .await;
        assert_eq!((ignored.status, ignored.text()), (200, "None"));
        assert_eq!(client.get("/").await.text(), "None");
        assert_eq!(backend.count(), 2);
        assert_eq!(
            node.metric("sluice_requests_rejected_total{code=\"upgrade_not_allowed\"}"),
            1.0
        );
    });
}

#[test]
fn a_service_of_http_2_is_asked_for_no_switch() {
    run(async {
        let document = forwarding("http://127.0.0.1:1", "").replace("a: {", "a: { protocol: h2c,");
        let node = Node::new(&document);
        let mut client = node.client().await;
        let refused = client.ask(&handshake("/")).await;
        assert_eq!((refused.status, refused.code().as_str()), (501, "upgrade_not_allowed"));
        assert_eq!(client.get("/").await.status, 502);
    });
}

#[test]
fn a_route_names_what_its_requests_may_switch_to() {
    run(async {
        let backend = Backend::answering(|got| ok(&format!("{:?}", got.field("upgrade")))).await;
        let node = Node::new(&forwarding(&backend.url(), ", upgrade: [SPDY/3.1, tcp]"));
        let mut client = node.client().await;
        for (offered, told) in [
            ("spdy/3.1", "Some(\"spdy/3.1\")"),
            ("SPDY/3", "None"),
            ("foo, TCP, h2c", "Some(\"TCP\")"),
            ("websocket, tcp", "Some(\"tcp\")"),
        ] {
            let ask = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {offered}\r\n\r\n");
            assert_eq!(client.ask(&ask).await.text(), told, "{offered}");
        }
        assert_eq!(client.ask(&handshake("/")).await.status, 501);
    });
}

#[test]
fn http_1_0_cannot_switch() {
    run(async {
        let backend = Backend::answering(|got| ok(&format!("{:?}", got.field("upgrade")))).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let answer = node
            .client()
            .await
            .ask(&handshake("/").replace("HTTP/1.1", "HTTP/1.0"))
            .await;
        assert_eq!((answer.status, answer.text()), (200, "None"));
    });
}

#[test]
fn a_101_that_was_not_offered_is_a_502() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                let upgrade = got.target().strip_prefix('/').unwrap_or_default().replace('+', ", ");
                let field = match upgrade.as_str() {
                    "none" => String::new(),
                    upgrade => format!("Upgrade: {upgrade}\r\n"),
                };
                conn.say(format!(
                    "HTTP/1.1 101 Switching Protocols\r\n{field}Connection: upgrade\r\n\r\n"
                ))
                .await;
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ", upgrade: [websocket, tcp]"));
        for wrong in ["none", "h2c", "tcp", "websocket+h2c"] {
            let mut client = node.client().await;
            let answer = client.ask(&handshake(&format!("/{wrong}"))).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (502, "upstream_protocol"),
                "{wrong}"
            );
            // The client's connection is in step; the service's is not used again.
            let answer = client.get("/websocket").await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (502, "upstream_protocol"),
                "unasked"
            );
        }
        assert_eq!(backend.accepted(), 8);
        until("none is left", || {
            node.metric("sluice_upstream_connections{upstream=\"a\",state=\"active\"}") == 0.0
        })
        .await;
    });
}

#[test]
fn a_truncated_or_broken_101_is_a_502() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let Some(got) = conn.request().await else { return };
            let answer = match got.target() {
                "/cut" => "HTTP/1.1 101 Switching Prot",
                "/half" => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
                "/garbage" => "HTTP/1.1 101 Switching Protocols\r\nUpgra\0de: websocket\r\n\r\n",
                "/old" => "HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
                _ => "\x16\x03\x01\x02\x00",
            };
            conn.say(answer).await;
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for path in ["/cut", "/half", "/garbage", "/old", "/binary"] {
            let answer = client.ask(&handshake(path)).await;
            assert_eq!(answer.status, 502, "{path}");
        }
        assert_eq!(
            node.metric("sluice_connections{listener=\"public\",state=\"tunnel\"}"),
            0.0
        );
    });
}

#[test]
fn a_request_with_a_body_switches_behind_it_and_not_within() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            let Some(head) = conn.head().await else { return };
            if head.contains("/early") {
                conn.say(SWITCH).await;
                conn.rest().await;
            } else {
                let body = conn.body(&head).await.unwrap();
                conn.say(SWITCH).await;
                conn.say(body).await;
                conn.echo().await;
            }
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let ask = |path: &str, body: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\n{ASK}{body}");
        let mut client = node.client().await;
        client.say(ask("/late", "Content-Length: 4\r\n\r\nbodytunnel")).await;
        assert_eq!(client.head().await.unwrap().0, 101);
        assert_eq!(client.bytes(10).await.unwrap(), b"bodytunnel");
        let mut client = node.client().await;
        client.say(ask("/early", "Content-Length: 9\r\n\r\nbody")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_protocol"));
    });
}

/// The answer to a handshake and to a plain request for the same.
async fn both(node: &Node, path: &str) -> [Answer; 2] {
    let mut client = node.client().await;
    let handshake = client.ask(&handshake(path)).await;
    // In step: the same connection takes the next.
    let plain = client.get(path).await;
    [handshake, plain]
}

/// A refused upgrade says why with the usual status.
#[test]
fn a_refused_handshake_says_why_with_the_status_of_a_plain_request() {
    run(async {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = silent.local_addr().unwrap();
        let backend = Backend::new(|mut conn| async move { drop(conn.rest().await) }).await;
        let document = format!(
            "
upstreams:
  none: {{ targets: [{{ url: 'http://127.0.0.1:1', weight: 0 }}] }}
  away: {{ targets: ['http://127.0.0.1:1'] }}
  mute: {{ targets: ['{}'], timeout: {{ first_byte: 50ms }} }}
  late: {{ targets: ['http://{nobody}'], timeout: {{ total: 50ms }} }}
gateways:
  web:
    hosts: ['*']
    routes:
      - {{ path: /none, upstream: none }}
      - {{ path: /away, upstream: away }}
      - {{ path: /mute, upstream: mute }}
      - {{ path: /late, upstream: late }}
      - {{ path: /post, upstream: away, methods: [POST] }}
      - {{ path: /moved, redirect: {{ to: /new }} }}
      - {{ path: '/slash/{{x}}', upstream: away, encoded_slash: refuse }}
      - {{ path: /off, upstream: away, upgrade: [] }}
",
            backend.url()
        );
        let node = Node::new(&document);
        for (path, status, code) in [
            ("/none", 503, "no_target"),
            ("/away", 502, "upstream_connect"),
            ("/mute", 504, "upstream_timeout"),
            ("/late", 504, "deadline"),
            ("/post", 405, "method_not_allowed"),
            ("/nowhere", 404, "no_route"),
            ("/slash/a%2Fb", 400, "encoded_slash"),
        ] {
            for answer in both(&node, path).await {
                assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
            }
        }
        for answer in both(&node, "/moved").await {
            assert_eq!(answer.status, 308);
        }
        let [off, plain] = both(&node, "/off").await;
        assert_eq!((off.status, off.code().as_str()), (501, "upgrade_not_allowed"));
        assert_eq!(plain.status, 502);
    });
}

#[test]
fn connect_opens_no_tunnel_whatever_follows() {
    run(async {
        let backend = Backend::new(echo).await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        client
            .say(format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n{ASK}\r\nearly data"))
            .await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (501, "connect_not_supported"));
        assert!(client.end().await.bytes.is_empty());
        assert_eq!(backend.accepted(), 0);
    });
}

/// hyper leaves a connection on which a request had asked to switch for others to close.
#[test]
fn an_early_refusal_reaches_a_client_that_had_asked_to_switch_and_still_sends() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            idle: Duration::from_millis(200),
            ..Edge::default()
        };
        let node = Node::edge(&forwarding(&backend.url(), ", max_body: 10"), edge);
        let mut client = node.client().await;
        client
            .say(format!(
                "POST / HTTP/1.1\r\nHost: a\r\n{ASK}Content-Length: 10000000\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
        for _ in 0..50 {
            client.say(vec![b'x'; 65_536]).await;
        }
        assert!(!client.end().await.reset);
    });
}
