//! Limits: what passes, what is refused and how it is told, what is held until a request ends.

use crate::backend::{Backend, ok};
use crate::client::{Answer, Client};
use crate::node::{Node, forwarding, run, until};
use crate::upgrade::{echo, handshake, open};
use serde_json::Value;

fn body(answer: &Answer) -> Value {
    serde_json::from_str(answer.text()).unwrap()
}

/// Asks `times` times, and gives the statuses.
async fn ask(client: &mut Client, path: &str, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(client.get(path).await.status);
    }
    statuses
}

#[test]
fn what_is_over_the_limit_is_refused_and_never_reaches_the_service() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let limits = ", rate_limits: [{ name: orders, limit: 3, per: 1h, on_failure: local }]";
        let node = Node::new(&forwarding(&backend.url(), limits));
        let mut client = node.client().await;
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
        assert!(
            (1..=3600).contains(&reset) && (reset..=3600).contains(&retry),
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
fn a_refused_request_costs_the_other_limits_nothing() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = format!(
            "upstreams: {{ a: {{ targets: [\"{}\"] }} }}
gateways:
  web:
    hosts: [\"*\"]
    rate_limits: [{{ name: all, limit: 5, per: 1m, key: \"'all'\" }}]
    concurrency: [{{ name: at-once, limit: 50, key: \"'all'\" }}]
    routes:
      - {{ id: narrow, path: /narrow, upstream: a, rate_limits: [{{ name: narrow, limit: 2, per: 1m }}] }}
      - {{ id: wide, path: /wide, upstream: a }}
",
            backend.url()
        );
        let node = Node::new(&document);
        let mut client = node.client().await;
        assert_eq!(ask(&mut client, "/narrow", 6).await, [200, 200, 429, 429, 429, 429]);
        let refused = client.get("/narrow").await;
        assert_eq!(body(&refused)["policy"], "narrow");
        let told = refused.field("ratelimit").unwrap();
        assert!(told.starts_with(r#""narrow";r=0;t="#), "the refusing one first: {told}");
        assert!(told.contains(r#""all";r=3;"#), "{told}");
        assert_eq!(ask(&mut client, "/wide", 4).await, [200, 200, 200, 429]);
        let refused = client.get("/wide").await;
        assert_eq!(body(&refused)["scope"], "gateways/web");
        // Of the places, of which this node may know one less than there are, none is kept by those that were refused.
        let told = refused.field("ratelimit").unwrap();
        let places = told.split(r#""at-once";r="#).nth(1).unwrap();
        assert!(places.parse::<u64>().unwrap() >= 48, "{told}");
    });
}

#[test]
fn keys_are_counted_apart_and_requests_without_the_value_together() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let limits = ", rate_limits: [{ name: tenants, limit: 1, per: 1h, on_failure: local, key: \"request.headers['x-tenant']\" }]";
        let node = Node::new(&forwarding(&backend.url(), limits));
        let mut client = node.client().await;
        for (field, status) in [
            ("X-Tenant: a\r\n", 200),
            ("X-Tenant: b\r\n", 200),
            ("x-tenant: a\r\n", 429),
            ("", 200),
            ("", 429),
            ("X-Tenant: \r\n", 429),
        ] {
            let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n")).await;
            assert_eq!(answer.status, status, "{field:?}");
        }
        let long = "x".repeat(5_000);
        for (last, status) in [("a", 200), ("b", 200), ("a", 429)] {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: {long}{last}\r\n\r\n");
            assert_eq!(
                client.ask(&request).await.status,
                status,
                "a long value counts to its end"
            );
        }
    });
}

#[test]
fn a_client_behind_trusted_proxies_is_counted_by_its_address_however_it_is_written() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let document = forwarding(
            &backend.url(),
            ", rate_limits: [{ name: clients, limit: 2, per: 1h, on_failure: local }]",
        )
        .replace(
            "    routes:",
            "    trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n    routes:",
        );
        let node = Node::new(&document);
        let mut client = node.client().await;
        let mut status = async |from: &str| {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\n\r\n");
            client.ask(&request).await.status
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

#[test]
fn answers_of_the_document_are_limited_too_and_what_is_on_trial_refuses_nobody() {
    run(async {
        let document = "gateways:
  web:
    hosts: [\"*\"]
    routes:
      - { path: /text, respond: { text: hello }, rate_limits: [{ name: texts, limit: 1, per: 1h, on_failure: local }] }
      - { path: /away, redirect: { to: /text }, rate_limits: [{ name: aways, limit: 1, per: 1h, on_failure: local }] }
      - { path: /trial, respond: { text: hello }, rate_limits: [{ name: trial, limit: 1, per: 1h, on_failure: local, dry_run: true }] }
      - { path: /free, respond: { text: hello } }
";
        let node = Node::new(document);
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
fn a_refused_handshake_has_the_status_of_a_plain_request() {
    run(async {
        let backend = Backend::new(echo).await;
        let node = Node::new(&forwarding(
            &backend.url(),
            ", concurrency: [{ name: at-once, limit: 1, key: \"'all'\" }]",
        ));
        let tunnel = open(&node, "/chat").await;
        for request in [handshake("/chat"), "GET /chat HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()] {
            let refused = node.client().await.ask(&request).await;
            assert_eq!((refused.status, refused.code()), (429, "too_many_in_flight".to_owned()));
            assert_eq!(refused.field("ratelimit"), Some(r#""at-once";r=0"#));
            assert_eq!(
                refused.field("ratelimit-policy"),
                Some(r#""at-once";q=1;qu="concurrent-requests""#)
            );
            assert!(refused.field("retry-after").is_some());
        }
        // The tunnel holds its place as long as it lives.
        drop(tunnel);
        until("the tunnel is over", || {
            node.metric("sluice_connections{listener=\"public\",state=\"tunnel\"}") == 0.0
        })
        .await;
        let again = open(&node, "/chat").await;
        drop(again);
    });
}

/// A document with one place, in whose ways requests end in many manners.
fn one_place(url: &str, dead: &str) -> String {
    format!(
        "upstreams:
  a: {{ targets: [\"{url}\"] }}
  dead: {{ targets: [\"{dead}\"] }}
gateways:
  web:
    hosts: [\"*\"]
    concurrency: [{{ name: at-once, limit: 1, key: \"'all'\" }}]
    routes:
      - {{ path: /**, upstream: a, max_body: 10B, timeout: {{ first_byte: 50ms }} }}
      - {{ path: /dead, upstream: dead }}
      - {{ path: /text, respond: {{ text: hello }} }}
      - {{ path: /limited, upstream: a, rate_limits: [{{ name: none, limit: 1, per: 1h, on_failure: local }}] }}
      - {{ path: /no-upgrade, upstream: a, upgrade: [] }}
"
    )
}

#[test]
fn a_place_is_given_back_whoever_ends_the_request() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                match got.target() {
                    "/404" => conn.say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await,
                    "/500" => conn.say("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await,
                    "/malformed" => conn.say("HTTP/1.1 banana\r\n\r\n").await,
                    "/reset" => return conn.reset(),
                    "/silent" => conn.never().await,
                    "/half" => {
                        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
                        conn.never().await;
                    }
                    "/cut" => {
                        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
                        return conn.reset();
                    }
                    _ => conn.say(ok("ok")).await,
                }
            }
        })
        .await;
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere = format!("http://{}", dead.local_addr().unwrap());
        drop(dead);
        let node = Node::new(&one_place(&backend.url(), &nowhere));
        let over = || async {
            until("it is over", || {
                node.metric("sluice_connections{listener=\"public\",state=\"active\"}") == 0.0
            })
            .await;
            // The one place is there again.
            let mut client = node.client().await;
            let answer = client.get("/text").await;
            assert_eq!(
                (answer.status, answer.field("ratelimit")),
                (200, Some(r#""at-once";r=0"#))
            );
            drop(client);
            until("and that is over", || {
                node.metric("sluice_connections{listener=\"public\",state=\"active\"}") == 0.0
            })
            .await;
        };
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        for (request, status) in [
            (get("/"), 200),
            (get("/404"), 404),
            (get("/500"), 500),
            (get("/malformed"), 502),
            (get("/reset"), 502),
            (get("/silent"), 504),
            (get("/dead"), 502),
            (get("/text"), 200),
            (get("/limited"), 200),
            (get("/limited"), 429),
            (handshake("/no-upgrade"), 501),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world".to_owned(),
                413,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n".to_owned(),
                400,
            ),
            (
                "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n".to_owned(),
                204,
            ),
            ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 200),
        ] {
            let mut client = node.client().await;
            client.say(&request).await;
            let method = request.split(' ').next().unwrap().to_owned();
            let answer = client.answer_to(&method).await.unwrap();
            assert_eq!(answer.status, status, "{request}: {}", answer.text());
            drop(client);
            over().await;
        }
        // The client is gone before the answer, and in the middle of it; the service in the middle of it.
        let mut client = node.client().await;
        client.say(get("/silent")).await;
        let silent = || {
            backend
                .heads()
                .iter()
                .filter(|head| head.starts_with("GET /silent"))
                .count()
        };
        until("the service has it", || silent() == 2).await;
        client.reset();
        over().await;
        let mut client = node.client().await;
        client.say(get("/half")).await;
        client.head().await.unwrap();
        client.reset();
        over().await;
        let mut client = node.client().await;
        client.say(get("/cut")).await;
        client.head().await.unwrap();
        client.end().await;
        drop(client);
        over().await;
        assert_eq!(node.metric("sluice_panics_total"), 0.0);
    });
}

#[test]
fn a_place_is_held_to_the_last_byte_of_the_answer() {
    run(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                if got.target() == "/stream" {
                    conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                        .await;
                    let go_on = conn.request().await;
                    drop(go_on);
                    conn.say("0\r\n\r\n").await;
                } else {
                    conn.say(ok("ok")).await;
                }
            }
        })
        .await;
        let node = Node::new(&forwarding(
            &backend.url(),
            ", concurrency: [{ name: at-once, limit: 2, key: \"'all'\" }]",
        ));
        let mut streams = [node.client().await, node.client().await];
        for stream in &mut streams {
            stream.say("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(stream.head().await.unwrap().0, 200);
        }
        let mut client = node.client().await;
        assert_eq!(
            client.get("/").await.status,
            429,
            "two answers have begun and not ended"
        );
        let [one, two] = streams;
        one.reset();
        until("one is over", || {
            node.metric("sluice_connections{listener=\"public\",state=\"active\"}") == 1.0
        })
        .await;
        assert_eq!(client.get("/").await.status, 200);
        drop(two);
    });
}

#[test]
fn a_request_waits_for_a_token_that_is_on_its_way() {
    run(async {
        let backend = Backend::answering(|_| ok("ok")).await;
        let limits = ", rate_limits: [{ name: slow, limit: 1, per: 100ms, delay: 10s }]";
        let node = Node::new(&forwarding(&backend.url(), limits));
        let mut client = node.client().await;
        assert_eq!(ask(&mut client, "/", 4).await, [200; 4]);
    });
}

#[test]
fn the_access_log_names_the_limit_that_refused() {
    run(async {
        let document = "gateways:
  web:
    hosts: [\"*\"]
    routes:
      - { path: /text, respond: { text: hello }, rate_limits: [{ name: texts, limit: 1, per: 1h, on_failure: local }] }
      - { path: /trial, respond: { text: hello }, rate_limits: [{ name: trial, limit: 1, per: 1h, on_failure: local, dry_run: true }] }
";
        let logged = crate::access_log::Logged::new(document, "all");
        let mut client = logged.node.client().await;
        for path in ["/text", "/text", "/trial", "/trial"] {
            client.get(path).await;
        }
        drop(client);
        let lines = logged.lines().await;
        let told: Vec<_> = lines
            .iter()
            .map(|line| (&line["outcome"], &line["limit"], &line["limit.dry_run"]))
            .collect();
        let (ok, none) = (Value::from("ok"), Value::Null);
        let (refused, texts, trial) = (Value::from("rate_limited"), Value::from("texts"), Value::from("trial"));
        assert_eq!(
            told,
            [
                (&ok, &none, &none),
                (&refused, &texts, &none),
                (&ok, &none, &none),
                (&ok, &none, &trial)
            ]
        );
    });
}
