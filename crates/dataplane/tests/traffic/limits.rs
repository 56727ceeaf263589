//! Limits: what passes, what is refused and how it is told.
//!
//! Most have a `delay` far below their window: it delays nobody, as nothing comes free so soon, and where the machine is busy
//! the node waits longer than 20 ms for what it keeps in its own memory.

use crate::backend::{Backend, ok};
use crate::client::{Answer, Client};
use crate::node::{Node, forwarding, run};
use serde_json::Value;
use sluice_shared_store::{Driver, RedisSettings, SharedMemory};

/// A window that ends in no test, kept by the node alone where its store is busy.
const HOURLY: &str = "per: 1h, delay: 10s, on_failure: local";

/// A node with limits in front of a service that answers all, and a client of it.
struct Limited {
    backend: Backend,
    node: Node,
    client: Client,
}

impl Limited {
    /// With one route, which has these.
    async fn by(limits: &str) -> Self {
        Self::of(|url| forwarding(url, &format!(", rate_limits: [{limits}]"))).await
    }

    /// With a document made for the address of the service.
    async fn of(document: impl FnOnce(&str) -> String) -> Self {
        let backend = Backend::answering(|_| ok("ok")).await;
        let node = Node::new(&document(&backend.url()));
        let client = node.client().await;
        Self { backend, node, client }
    }
}

pub fn body(answer: &Answer) -> Value {
    serde_json::from_str(answer.text()).unwrap()
}

/// Asks `times` times, and gives the statuses.
pub async fn ask(client: &mut Client, path: &str, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(client.get(path).await.status);
    }
    statuses
}

#[test]
fn what_is_over_the_limit_is_refused_and_never_reaches_the_service() {
    run(async {
        let limits = format!("{{ name: orders, limit: 3, {HOURLY} }}");
        let Limited {
            backend,
            node,
            mut client,
        } = Limited::by(&limits).await;
        for left in [2, 1, 0] {
            let answer = client.get("/").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.field("ratelimit-policy"), Some(r#""orders";q=3;w=3600"#));
            let told = answer.field("ratelimit").unwrap().to_owned();
            assert!(told.starts_with(&format!(r#""orders";r={left};t="#)), "{told}");
            assert_eq!(answer.field("retry-after"), None);
        }
        let refused = client.get("/").await;
        assert_eq!((refused.status, refused.code()), (429, "rate_limited".to_owned()));
        let problem = body(&refused);
        assert_eq!(
            problem["type"],
            "https://iana.org/assignments/http-problem-types#quota-exceeded"
        );
        assert_eq!(problem["violated-policies"], serde_json::json!(["orders"]));
        assert_eq!((&problem["policy"], &problem["limit"]), (&"orders".into(), &3.into()));
        assert_eq!(problem["scope"], "gateways/web/routes/all");
        let retry: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert_eq!(problem["retry_after"], retry);
        let told = refused.field("ratelimit").unwrap();
        let reset: u64 = told.strip_prefix(r#""orders";r=0;t="#).unwrap().parse().unwrap();
        // The books of a window are kept in slots of a hundredth.
        assert!(
            (1..=3660).contains(&reset) && (reset..=3660).contains(&retry),
            "{told}, {retry}"
        );
        // The connection goes on, and the service heard of three.
        assert_eq!(client.get("/").await.status, 429);
        assert_eq!(backend.count(), 3);
        assert_eq!(
            node.metric("sluice_requests_rejected_total{code=\"rate_limited\"}"),
            2.0
        );
    });
}

#[test]
fn keys_are_counted_apart_and_requests_without_the_value_together() {
    run(async {
        let limits = format!("{{ name: tenants, limit: 1, {HOURLY}, key: \"request.headers['x-tenant']\" }}");
        let mut limited = Limited::by(&limits).await;
        for (field, status) in [
            ("X-Tenant: a\r\n", 200),
            ("X-Tenant: b\r\n", 200),
            ("x-tenant: a\r\n", 429),
            ("", 200),
            ("", 429),
            ("X-Tenant: \r\n", 429),
        ] {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n");
            let answer = limited.client.ask(&request).await;
            assert_eq!(answer.status, status, "{field:?}");
        }
        let long = "x".repeat(5_000);
        for (last, status) in [("a", 200), ("b", 200), ("a", 429)] {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: {long}{last}\r\n\r\n");
            assert_eq!(
                limited.client.ask(&request).await.status,
                status,
                "a long value counts to its end"
            );
        }
    });
}

#[test]
fn a_client_behind_trusted_proxies_is_counted_by_its_address_however_it_is_written() {
    run(async {
        let mut limited = Limited::of(|url| {
            let limits = format!(", rate_limits: [{{ name: clients, limit: 2, {HOURLY} }}]");
            let proxies = "    trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n    routes:";
            forwarding(url, &limits).replace("    routes:", proxies)
        })
        .await;
        let mut status = async |from: &str| {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\n\r\n");
            limited.client.ask(&request).await.status
        };
        for (from, expected) in [
            ("192.0.2.1", 200),
            ("192.0.2.1:51234", 200),
            ("198.51.100.9, 192.0.2.1, 10.1.2.3", 429),
            ("::ffff:192.0.2.1", 429),
            ("192.0.2.2", 200),
            ("2001:db8:1:2::1", 200),
            ("\"[2001:DB8:1:2:ffff::2]:443\"", 200),
            ("2001:db8:1:2:3:4:5:6", 429),
            ("2001:db8:1:3::1", 200),
        ] {
            assert_eq!(status(from).await, expected, "{from}");
        }
    });
}

/// A document that answers by itself: limited, with a limit on trial, and freely.
fn own_answers() -> String {
    format!(
        "gateways:
  web:
    hosts: [\"*\"]
    routes:
      - {{ path: /text, respond: {{ text: hello }}, rate_limits: [{{ name: texts, limit: 1, {HOURLY} }}] }}
      - {{ path: /away, redirect: {{ to: /text }}, rate_limits: [{{ name: aways, limit: 1, {HOURLY} }}] }}
      - {{ path: /trial, respond: {{ text: hello }}, rate_limits: [{{ name: trial, limit: 1, {HOURLY}, dry_run: true }}] }}
      - {{ path: /free, respond: {{ text: hello }} }}
"
    )
}

#[test]
fn answers_of_the_document_are_limited_too_and_what_is_on_trial_refuses_nobody() {
    run(async {
        let node = Node::new(&own_answers());
        let mut client = node.client().await;
        let mut get = async |path| {
            let answer = client.get(path).await;
            (
                answer.status,
                answer.field("ratelimit").is_some(),
                answer.field("ratelimit-policy").is_some(),
            )
        };
        assert_eq!(get("/text").await, (200, true, true));
        assert_eq!(get("/text").await, (429, true, true));
        assert_eq!(get("/away").await, (308, true, true));
        assert_eq!(get("/away").await, (429, true, true));
        for _ in 0..3 {
            assert_eq!(get("/trial").await, (200, false, false));
        }
        assert_eq!(get("/free").await, (200, false, false));
        assert_eq!(get("/nothing").await, (404, false, false));
    });
}

#[test]
fn the_services_own_fields_are_replaced_on_limited_routes_alone() {
    run(async {
        let backend = Backend::answering(|_| {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRateLimit: \"theirs\";r=1\r\nRateLimit: \"more\";r=1\r\nRateLimit-Policy: \"theirs\";q=1\r\n\r\n".to_owned()
        })
        .await;
        let limited = ", rate_limits: [{ name: ours, limit: 9, per: 1m }]";
        let mut node = Node::new(&forwarding(&backend.url(), limited));
        let answer = node.client().await.get("/").await;
        let fields: Vec<&str> = answer
            .head
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("ratelimit"))
            .collect();
        assert_eq!(fields.len(), 2, "{fields:?}");
        assert!(fields.iter().all(|field| field.contains("\"ours\"")), "{fields:?}");
        node.publish(&forwarding(&backend.url(), ""));
        let answer = node.client().await.get("/").await;
        assert_eq!(answer.field("ratelimit-policy"), Some("\"theirs\";q=1"));
    });
}

#[test]
fn a_request_waits_for_a_token_that_is_on_its_way() {
    run(async {
        let mut limited = Limited::by("{ name: slow, limit: 1, per: 100ms, delay: 10s }").await;
        assert_eq!(ask(&mut limited.client, "/", 4).await, [200; 4]);
    });
}

#[test]
fn the_access_log_names_the_limit_that_refused() {
    run(async {
        let logged = crate::access_log::Logged::new(&own_answers(), "all");
        let mut client = logged.node.client().await;
        assert_eq!(ask(&mut client, "/text", 2).await, [200, 429]);
        let lines = logged.lines().await;
        let told: Vec<_> = lines.iter().map(|line| (&line["outcome"], &line["limit"])).collect();
        let (ok, refused, texts) = (Value::from("ok"), Value::from("rate_limited"), Value::from("texts"));
        assert_eq!(told, [(&ok, &Value::Null), (&refused, &texts)]);
        // Nobody waits for what a limit on trial says, so that the first may not have heard of it.
        loop {
            assert_eq!(client.get("/trial").await.status, 200);
            let lines = logged.lines().await;
            if lines
                .iter()
                .any(|line| line["limit.dry_run"] == "trial" && line["outcome"] == "ok")
            {
                break;
            }
        }
    });
}

/// A document with a limit for each thing that may hold while what they are kept in is away.
const WITHOUT_STORE: &str = "gateways:
  web:
    hosts: [\"*\"]
    routes:
      - { path: /closed, respond: { text: hello }, rate_limits: [{ name: closed, limit: 100, per: 1h, on_failure: closed }] }
      - { path: /open, respond: { text: hello }, rate_limits: [{ name: open, limit: 1, per: 1h }] }
      - { path: /local, respond: { text: hello }, rate_limits: [{ name: local, limit: 3, per: 50ms, on_failure: local }] }
      - { path: /at-once, respond: { text: hello }, concurrency: [{ name: at-once, limit: 3 }] }
";

#[test]
fn a_store_that_was_never_there_lets_nothing_through_that_is_closed() {
    run(async {
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", nowhere.local_addr().unwrap());
        drop(nowhere);
        let redis = RedisSettings {
            urls: vec![url.parse().unwrap()],
            ..RedisSettings::default()
        };
        let node = Node::keeping(WITHOUT_STORE, Driver::Redis(redis));
        let mut client = node.client().await;
        for _ in 0..5 {
            let refused = client.get("/closed").await;
            assert_eq!((refused.status, refused.code()), (503, "limit_store".to_owned()));
            let problem = body(&refused);
            assert_eq!(
                (&problem["policy"], &problem["violated-policies"]),
                (&"closed".into(), &Value::Null)
            );
            assert!(refused.field("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        }
        for _ in 0..5 {
            let answer = client.get("/open").await;
            assert_eq!(answer.status, 200);
            let told = answer.field("ratelimit").unwrap();
            assert!(
                told.starts_with(r#""open";r=1;t="#) && told.ends_with(";sluice-uncounted"),
                "{told}"
            );
        }
        // What others may have spent before is not known: the node's share comes when that is over.
        for path in ["/local", "/at-once"] {
            loop {
                match node.client().await.get(path).await.status {
                    200 => break,
                    refused => assert_eq!(refused, 429, "{path}"),
                }
            }
        }
    });
}

#[test]
fn three_nodes_admit_together_what_one_would() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let limits = ", rate_limits: [{ name: orders, limit: 7, per: 1h, delay: 10s, key: \"'all'\" }]";
        let document = forwarding(&backend.url(), limits);
        let memory = SharedMemory::default();
        let names = ["n1", "n2", "n3"];
        let nodes = names.map(|name| Node::sharing(&document, name, &memory, &names));
        let mut statuses = Vec::new();
        for round in 0..21 {
            let mut client = nodes[round % 3].client().await;
            statuses.push(client.get("/").await.status);
        }
        assert_eq!(
            statuses.iter().filter(|status| **status == 200).count(),
            7,
            "{statuses:?}"
        );
        assert_eq!(
            statuses.iter().filter(|status| **status == 429).count(),
            14,
            "{statuses:?}"
        );
        assert_eq!(backend.count(), 7);
    });
}
