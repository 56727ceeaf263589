//! A line for an exchange, by the document.

use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run, settings, until};
use crate::upgrade::SWITCH;
use serde_json::Value;
use sluice_dataplane::{Dataplane, Edge, Settings};
use sluice_telemetry::log::{Log, Settings as LogSettings};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// What was written to a log.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub struct Logged {
    pub node: Node,
    log: Log,
    sink: Sink,
}

impl Logged {
    pub fn new(document: &str, on: &str) -> Self {
        Self::with(document, on, settings(1, Edge::default()))
    }

    fn with(document: &str, on: &str, settings: Settings) -> Self {
        let sink = Sink::default();
        let quiet = LogSettings {
            filter: "off".to_owned(),
            ..LogSettings::default()
        };
        let log = Log::to(&quiet, sink.clone()).unwrap();
        let workers = settings.workers;
        let bound = Dataplane::bind(settings).unwrap();
        let node = Node::logging(&telling(document, on), bound, workers, &log);
        Self { node, log, sink }
    }

    /// All lines so far, once every exchange is over.
    pub async fn lines(&self) -> Vec<Value> {
        let active = || {
            self.node
                .metric("sluice_connections{listener=\"public\",state=\"active\"}")
        };
        until("all are over", || active() == 0.0).await;
        self.log.flush(Duration::from_secs(30));
        let text = String::from_utf8(self.sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The line of this path, once it is there.
    async fn line_of(&self, path: &str) -> Value {
        loop {
            if let Some(line) = self.lines().await.into_iter().find(|line| line["url.path"] == path) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn line(&self) -> Value {
        let lines = self.lines().await;
        lines.last().cloned().unwrap_or_else(|| panic!("no line"))
    }
}

fn telling(document: &str, on: &str) -> String {
    format!("telemetry: {{ access_log: {{ on: {on} }} }}\n{document}")
}

#[test]
fn a_line_tells_of_the_whole_exchange() {
    run(async {
        let backend = Backend::answering(|_| ok("hello")).await;
        let logged = Logged::new(&forwarding(&backend.url(), ""), "all");
        let mut client = logged.node.client().await;
        let answer = client
            .ask(
                "POST /a/./b%2D?token=hunter2 HTTP/1.1\r\nHost: Shop.example:80\r\nUser-Agent: tester/1\r\nX-Request-Id: mine\r\n\
                 Authorization: Bearer hunter3\r\nCookie: session=hunter4\r\nContent-Length: 3\r\n\r\nabc",
            )
            .await;
        let line = logged.line().await;
        let told: Vec<(&str, Value)> = vec![
            ("node", "n1".into()),
            ("level", "INFO".into()),
            ("target", "access".into()),
            ("request_id", answer.field("x-request-id").into()),
            ("client.request_id", "mine".into()),
            ("network.peer.address", "127.0.0.1".into()),
            ("client.address", "127.0.0.1".into()),
            ("gateway", "web".into()),
            ("route", "all".into()),
            ("http.route", "/**".into()),
            ("http.request.method", "POST".into()),
            ("url.scheme", "http".into()),
            ("server.address", "shop.example".into()),
            ("url.path", "/a/b-".into()),
            ("network.protocol.version", "1.1".into()),
            ("user_agent.original", "tester/1".into()),
            ("http.request.body.size", 3.into()),
            ("http.response.status_code", 200.into()),
            ("http.response.body.size", 5.into()),
            ("outcome", "ok".into()),
            ("answered_by", "upstream".into()),
            ("upstream", "a".into()),
            ("upstream.target", backend.url().into()),
            ("upstream.tries", 1.into()),
            ("version", 1.into()),
        ];
        for (member, value) in told {
            assert_eq!(line[member], value, "{member} of {line}");
        }
        let times = ["duration_ms", "first_byte_ms", "upstream_ms"].map(|name| line[name].as_f64().unwrap());
        assert!(times[0] >= times[1] && times[1] >= times[2], "{times:?}");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(!line.to_string().contains("hunter"), "{line}");
    });
}

#[test]
fn each_way_to_end_has_its_outcome_and_only_what_went_wrong_has_a_line_where_errors_are_asked_for() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                match got.target() {
                    "/404" => conn.say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await,
                    "/500" => conn.say("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await,
                    "/cut" => {
                        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
                        return;
                    }
                    "/reset" => return conn.reset(),
                    "/never" => conn.rest().await.truncate(0),
                    _ => conn.say(ok("ok")).await,
                }
            }
        })
        .await;
        let document = format!(
            "{}      - {{ id: own, path: /own, respond: {{ text: own }} }}\n",
            forwarding(&backend.url(), ", methods: [GET]")
        );
        for (on, errors) in [("all", false), ("errors", true)] {
            let logged = Logged::new(&document, on);
            for (target, status, outcome, by, wrong) in [
                ("/ok", 200, "ok", "upstream", false),
                ("/own", 200, "ok", "gateway", false),
                ("/404", 404, "upstream_status", "upstream", false),
                ("/500", 500, "upstream_status", "upstream", true),
                ("/cut", 200, "partial", "upstream", true),
                ("/reset", 502, "upstream_reset", "gateway", true),
                ("/a%zz", 400, "bad_request", "gateway", true),
            ] {
                let before = logged.lines().await.len();
                let mut client = logged.node.client().await;
                client.say(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
                let _ = client.answer().await;
                let lines = logged.lines().await;
                assert_eq!(
                    lines.len() - before,
                    usize::from(wrong || !errors),
                    "{target}: {lines:?}"
                );
                if let Some(line) = lines.get(before) {
                    let told = (
                        &line["http.response.status_code"],
                        &line["outcome"],
                        &line["answered_by"],
                    );
                    assert_eq!(told, (&status.into(), &outcome.into(), &by.into()), "{line}");
                }
            }
            // The client leaves.
            let mut client = logged.node.client().await;
            client.say("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
            until("it is there", || {
                backend.heads().last().is_some_and(|head| head.contains("/never"))
            })
            .await;
            client.stream.set_zero_linger().unwrap();
            drop(client);
            let line = logged.line().await;
            assert_eq!(
                (&line["outcome"], &line["http.response.status_code"]),
                (&"client_closed".into(), &Value::Null)
            );
            assert_eq!(line["answered_by"], Value::Null);
        }
    });
}

#[test]
fn it_changes_with_the_document_and_off_writes_nothing() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = forwarding(&backend.url(), "");
        let mut logged = Logged::new(&document, "off");
        let mut client = logged.node.client().await;
        let mut expected = 0;
        for (on, lines) in [("off", 0), ("all", 2), ("off", 0), ("errors", 1), ("all", 2)] {
            logged.node.publish(&telling(&document, on));
            let version = logged.node.published.current().version();
            client.get("/").await;
            let mut other = logged.node.client().await;
            other.ask("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n").await;
            expected += lines;
            let all = logged.lines().await;
            assert_eq!(all.len(), expected, "{on}");
            assert!(all.iter().rev().take(lines).all(|line| line["version"] == version));
        }
    });
}

#[test]
fn what_was_never_a_request_has_a_line_too() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let edge = Edge {
            header_timeout: Duration::from_millis(100),
            ..Edge::default()
        };
        let logged = Logged::with(&forwarding(&backend.url(), ""), "errors", settings(1, edge));
        for (sent, status, outcome) in [("GET / HT", 408, "client_timeout"), ("{}\r\n\r\n", 400, "bad_request")] {
            let mut client = logged.node.client().await;
            client.say(sent).await;
            let answer = client.answer().await.unwrap();
            let line = logged.line().await;
            assert_eq!(
                (&line["outcome"], &line["http.response.status_code"]),
                (&outcome.into(), &status.into())
            );
            assert_eq!(line["request_id"].as_str(), answer.field("x-request-id"));
        }
    });
}

#[test]
fn hostile_texts_stay_inside_of_their_line() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let logged = Logged::new(&forwarding(&backend.url(), ""), "all");
        let mut client = logged.node.client().await;
        let agent: Vec<u8> = (0x20..=0xffu8)
            .filter(|byte| *byte != 0x7f)
            .chain(*b"\"},{\"x\":\"")
            .collect();
        let path = format!("/{}", "\"%22'{x}".repeat(300));
        client
            .say(
                [
                    format!("GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: ").as_bytes(),
                    &agent,
                    b"\r\n\r\n",
                ]
                .concat(),
            )
            .await;
        client.answer().await.unwrap();
        let lines = logged.lines().await;
        assert_eq!(lines.len(), 1);
        assert!(lines[0]["user_agent.original"].as_str().unwrap().starts_with("!\"#$"));
        assert!(lines[0]["url.path"].as_str().unwrap().ends_with('…'));
        assert!(lines[0].get("x").is_none());
        let bytes = logged.sink.0.lock().unwrap().clone();
        assert!(bytes.len() <= 4096, "{}", bytes.len());
    });
}

#[test]
fn a_tunnel_has_its_line_when_it_ends_with_the_bytes_of_both_ways() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say([SWITCH.as_bytes(), b"hello"].concat()).await;
            conn.rest().await;
        })
        .await;
        let logged = Logged::new(&forwarding(&backend.url(), ""), "all");
        let mut client = logged.node.client().await;
        client
            .say("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
            .await;
        assert_eq!(client.head().await.unwrap().0, 101);
        assert_eq!(logged.lines().await.len(), 0);
        client.say("a message").await;
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.end().await.bytes, b"hello");
        let line = logged.line_of("/chat").await;
        let told: Vec<(&str, Value)> = vec![
            ("http.response.status_code", 101.into()),
            ("outcome", "ok".into()),
            ("tunnel.end", "closed".into()),
            ("http.request.body.size", 9.into()),
            ("http.response.body.size", 5.into()),
            ("upstream", "a".into()),
        ];
        for (member, value) in told {
            assert_eq!(line[member], value, "{member} of {line}");
        }
    });
}
