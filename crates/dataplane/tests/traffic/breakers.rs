//! Breakers in front of services: when they open, what requests get meanwhile, how they find their way back.

use crate::backend::{Backend, ok};
use crate::client::{Answer, Client};
use crate::failing::{Service, document, url};
use crate::node::{Node, run};
use crate::upgrade::handshake;
use sluice_shared_state::BreakerKey;
use sluice_shared_store::{Forced, SharedMemory};
use std::time::{Duration, SystemTime};

/// Opens at the third failure in a row, seen from here alone.
const BREAKER: &str = ", breaker: { consecutive: 3, observers: 1, min_requests: 1000, open_for: 200ms";

/// The first refusal of a breaker.
async fn until_open(client: &mut Client, path: &str) -> Answer {
    loop {
        let answer = client.get(path).await;
        if answer.status == 503 && answer.text().contains("breaker_open") {
            return answer;
        }
    }
}

#[test]
fn what_the_gateway_refuses_by_itself_is_nobody_s_failure() {
    run(async {
        let (one, two) = (Service::new().await, Service::new().await);
        let targets = format!("{}, {}", url(&one), url(&two));
        let fields = ", breaker: { consecutive: 1, observers: 1 }, health: { passive: { errors: 1, eject_for: 1h } }";
        let mut text = document(&[("a", &targets, fields)], ", max_body: 10, methods: [GET, POST]");
        text.push_str("      - { path: /few, upstream: a, rate_limits: [{ name: few, limit: 1, per: 1h }] }\n");
        let node = Node::new(&text);
        let mut client = node.client().await;
        assert_eq!(client.get("/few").await.status, 200);
        for i in 0..50 {
            assert_eq!(client.get("/few").await.code(), "rate_limited");
            let refused = client
                .ask("POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world")
                .await;
            assert_eq!(refused.code(), "body_too_large");
            assert_eq!(client.get("/nowhere").await.code(), "no_route");
            let wrong = client
                .ask("PUT /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
                .await;
            assert_eq!(wrong.code(), "method_not_allowed");
            // A body that breaks off on its way.
            let mut leaves = node.client().await;
            leaves
                .say("POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
                .await;
            leaves.reset();
            let mut client = node.client().await;
            one.answers(if i % 2 == 0 { 404 } else { 200 });
            assert!(matches!(client.get("/a/x").await.status, 200 | 404));
        }
        assert_eq!(node.metric("sluice_upstream_ejections_total{upstream=\"a\"}"), 0.0);
        assert_eq!(
            node.metric("sluice_requests_rejected_total{code=\"breaker_open\"}"),
            0.0
        );
    });
}

#[test]
fn an_open_breaker_says_when_to_come_again_and_nothing_reaches_the_service() {
    run(async {
        let service = Service::new().await;
        let breaker = ", breaker: { consecutive: 3, observers: 1, open_for: 1h }";
        let node = Node::new(&document(&[("a", &url(&service), breaker)], ""));
        let mut client = node.client().await;
        service.answers(500);
        let refused = until_open(&mut client, "/a/x").await;
        let seconds: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        // An hour, a tenth more or less.
        assert!((3_200..=4_000).contains(&seconds), "{seconds}");
        assert!(refused.text().contains(&format!("\"retry_after\":{seconds}")));
        let before = service.served();
        for _ in 0..10 {
            assert_eq!(client.get("/a/x").await.code(), "breaker_open");
        }
        assert_eq!(service.served(), before);
        // As a plain request, so a handshake.
        let asked = client.ask(&handshake("/a/x")).await;
        assert_eq!((asked.status, asked.code().as_str()), (503, "breaker_open"));
        assert!(asked.field("retry-after").is_some());
    });
}

#[test]
fn an_open_breaker_finds_its_way_back_though_all_targets_were_thrown_out() {
    run(async {
        let service = Service::new().await;
        let health = ", health: { passive: { errors: 3, eject_for: 1h, max_ejected: 100%, panic: 0% } }";
        let fields = format!("{BREAKER} }}{health}");
        let node = Node::new(&document(&[("a", &url(&service), &fields)], ""));
        let mut client = node.client().await;
        service.answers(503);
        until_open(&mut client, "/a/x").await;
        assert_eq!(
            node.metric("sluice_upstream_targets{upstream=\"a\",state=\"ejected\"}"),
            1.0
        );
        service.answers(200);
        let before = service.served();
        // The probe reaches a target that is ejected: its answer is the first one.
        loop {
            let answer = client.get("/a/x").await;
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.code(), "breaker_open");
        }
        assert_eq!(service.served(), before + 1);
    });
}

#[test]
fn a_probe_is_made_once_whatever_retries_there_are() {
    run(async {
        let service = Service::new().await;
        let fields = format!("{BREAKER} }}, retry: {{ attempts: 5, on: [503], backoff: 1ms..1ms }}");
        let node = Node::new(&document(&[("a", &url(&service), &fields)], ""));
        let mut client = node.client().await;
        service.answers(503);
        until_open(&mut client, "/a/x").await;
        let before = service.served();
        // The first answer of the service's own is that of the probe.
        loop {
            let answer = client.get("/a/x").await;
            if !answer.text().contains("breaker_open") {
                break;
            }
        }
        assert_eq!(service.served(), before + 1);
        // It failed: open again.
        assert_eq!(client.get("/a/x").await.code(), "breaker_open");
    });
}

#[test]
fn while_a_breaker_is_open_requests_get_what_the_document_says() {
    run(async {
        let (one, old, good) = (Service::new().await, Service::new().await, Service::new().await);
        let open = |fallback: &str| {
            format!(", breaker: {{ consecutive: 2, observers: 1, open_for: 1h, fallback: {{ {fallback} }} }}")
        };
        let text = document(
            &[
                ("a", &url(&one), &open("upstream: b")),
                ("b", &url(&old), &open("upstream: c")),
                ("c", &url(&good), &open("status: 203, text: 'not now, ${request.path}'")),
            ],
            "",
        );
        let node = Node::new(&text);
        let mut client = node.client().await;
        one.answers(500);
        while client.get("/a/x").await.status == 500 {}
        let answer = client.get("/a/x?y=1").await;
        assert_eq!((answer.status, answer.text()), (200, "GET /a/x?y=1 HTTP/1.1"));
        assert!(old.served() > 0);
        // A body goes along.
        let post = "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(client.ask(post).await.status, 200);
        // To the next one, where that is open as well.
        old.answers(500);
        while client.get("/b/x").await.status == 500 {}
        let before = good.served();
        assert_eq!(client.get("/a/x").await.status, 200);
        assert_eq!(good.served(), before + 1);
        // And to an answer of the document's own.
        good.answers(500);
        while client.get("/c/x").await.status == 500 {}
        let answer = client.get("/a/x").await;
        assert_eq!((answer.status, answer.text()), (203, "not now, /a/x"));
        assert_eq!(
            node.metric("sluice_requests_rejected_total{code=\"breaker_open\"}"),
            0.0
        );
    });
}

#[test]
fn what_one_node_sees_alone_costs_it_its_target_and_nobody_the_service() {
    run(async {
        // The way of one node to it is bad, which its requests tell.
        let service = || {
            Backend::answering(|got| match got.field("x-bad") {
                Some(_) => "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n".to_owned(),
                None => ok("well"),
            })
        };
        let (one, two) = (service().await, service().await);
        let targets = format!("'{}', '{}'", one.url(), two.url());
        let fields = ", breaker: { consecutive: 3, observers: 2, open_for: 1h }, \
                      health: { active: { path: /healthz, every: 1h }, passive: { errors: 1000, eject_for: 1h } }";
        let text = document(&[("a", &targets, fields)], "");
        let (memory, live) = (SharedMemory::default(), ["n1", "n2"]);
        let nodes = live.map(|name| Node::sharing(&text, name, &memory, &live));
        let [mut bad, mut good] = [nodes[0].client().await, nodes[1].client().await];
        let ejected = || nodes[0].metric("sluice_upstream_ejections_total{upstream=\"a\"}");
        while ejected() == 0.0 {
            let answer = bad.ask("GET /a/x HTTP/1.1\r\nHost: a\r\nX-Bad: 1\r\n\r\n").await;
            assert_eq!((answer.status, answer.body.len()), (503, 0), "the breaker stays closed");
            assert_eq!(good.get("/a/x").await.status, 200);
        }
        for _ in 0..20 {
            assert_eq!(good.get("/a/x").await.status, 200);
        }
        assert_eq!(nodes[1].metric("sluice_upstream_ejections_total{upstream=\"a\"}"), 0.0);
    });
}

#[test]
fn somebody_s_word_goes_before_what_is_seen() {
    run(async {
        let service = Service::new().await;
        let node = Node::new(&document(&[("a", &url(&service), &format!("{BREAKER} }}"))], ""));
        let mut client = node.client().await;
        assert_eq!(client.get("/a/x").await.status, 200);
        let key = BreakerKey {
            upstream: "a".into(),
            route: None,
        };
        let say = |open| {
            let said = Forced {
                open,
                until: SystemTime::now() + Duration::from_secs(600),
                who: "somebody".to_owned(),
                why: "a test".to_owned(),
            };
            node.shared.breakers().force(&key, Some(said));
        };
        say(true);
        let before = service.served();
        for _ in 0..5 {
            assert_eq!(client.get("/a/x").await.code(), "breaker_open");
        }
        assert_eq!(service.served(), before);
        say(false);
        service.answers(500);
        for _ in 0..10 {
            assert_eq!(client.get("/a/x").await.status, 500);
        }
        node.shared.breakers().force(&key, None);
        until_open(&mut client, "/a/x").await;
    });
}

#[test]
fn what_several_nodes_see_opens_it_for_all() {
    run(async {
        let service = Service::new().await;
        service.answers(500);
        let fields = ", breaker: { consecutive: 3, observers: 2, open_for: 200ms }";
        let text = document(&[("a", &url(&service), fields)], "");
        let (memory, live) = (SharedMemory::default(), ["n1", "n2", "n3"]);
        let nodes = live.map(|name| Node::sharing(&text, name, &memory, &live));
        let [mut one, mut two, mut three] = [
            nodes[0].client().await,
            nodes[1].client().await,
            nodes[2].client().await,
        ];
        let is_open = |answer: &Answer| answer.text().contains("breaker_open");
        loop {
            let (first, second) = (one.get("/a/x").await, two.get("/a/x").await);
            if is_open(&first) && is_open(&second) {
                break;
            }
        }
        // Also on a node that has seen nothing of it.
        while !is_open(&three.get("/a/x").await) {}
        service.answers(200);
        for client in [&mut three, &mut two, &mut one] {
            while client.get("/a/x").await.status != 200 {}
        }
    });
}

#[test]
fn a_route_s_own_breaker_counts_that_route_alone() {
    run(async {
        let service = Service::new().await;
        let text = format!(
            "
upstreams:
  a: {{ targets: [{}], breaker: {{ consecutive: 1000, observers: 1, min_requests: 100000 }} }}
gateways:
  web:
    hosts: ['*']
    routes:
      - {{ id: own, path: '/own/{{id}}', upstream: a, breaker: {{ consecutive: 3, observers: 1, open_for: 1h, fallback: {{ status: 200, text: 'none for ${{params.id}}' }} }} }}
      - {{ id: other, path: /other, upstream: a }}
",
            url(&service)
        );
        let node = Node::new(&text);
        let mut client = node.client().await;
        service.answers(500);
        while client.get("/own/7").await.status == 500 {}
        assert_eq!(client.get("/own/7").await.text(), "none for 7");
        assert_eq!(client.get("/other").await.status, 500);
        service.answers(200);
        assert_eq!(client.get("/other").await.status, 200);
        assert_eq!(client.get("/own/8").await.text(), "none for 8");
    });
}

#[test]
fn an_answer_of_a_fallback_is_ready_for_a_head_request() {
    run(async {
        let service = Service::new().await;
        let breaker = ", breaker: { consecutive: 1, observers: 1, open_for: 1h, fallback: { status: 503, json: { degraded: true }, headers: { Retry-After: '10' } } }";
        let node = Node::new(&document(&[("a", &url(&service), breaker)], ""));
        let mut client = node.client().await;
        service.answers(500);
        while client.get("/a/x").await.status == 500 {}
        let answer = client.get("/a/x").await;
        assert_eq!(
            (answer.text(), answer.field("retry-after")),
            ("{\"degraded\":true}", Some("10"))
        );
        client.say("HEAD /a/x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = client.answer_to("HEAD").await.unwrap();
        assert_eq!((answer.status, answer.field("content-length")), (503, Some("17")));
        // In step.
        assert_eq!(client.get("/nowhere").await.status, 404);
    });
}
