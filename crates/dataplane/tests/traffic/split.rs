//! One route, several upstreams.

use crate::backend::{Backend, ok};
use crate::client::Answer;
use crate::node::{Node, run, until};

/// Three services that say their names, and a node with one route to them.
struct Stage {
    node: Node,
    _services: [Backend; 3],
    urls: [String; 3],
}

const NAMES: [&str; 3] = ["stable", "next", "test"];

impl Stage {
    async fn new(split: &str) -> Self {
        let services = [
            Backend::answering(|_| ok("stable")).await,
            Backend::answering(|_| ok("next")).await,
            Backend::answering(|_| ok("test")).await,
        ];
        let urls = [services[0].url(), services[1].url(), services[2].url()];
        Self {
            node: Node::new(&document(&urls, split)),
            _services: services,
            urls,
        }
    }

    fn publish(&mut self, split: &str) {
        self.node.publish(&document(&self.urls, split));
    }

    /// Asks with these fields on a connection of its own.
    async fn ask(&self, fields: &str) -> Answer {
        let request = format!("GET /checkout HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        self.node.client().await.ask(&request).await
    }

    fn counted(&self, upstream: &str) -> f64 {
        self.node.metric(&format!(
            "sluice_split_requests_total{{gateway=\"web\",http_route=\"/**\",upstream=\"{upstream}\"}}"
        ))
    }
}

fn document(urls: &[String], split: &str) -> String {
    let upstreams: String = NAMES
        .iter()
        .zip(urls)
        .map(|(name, url)| format!("  {name}: {{ targets: [\"{url}\"] }}\n"))
        .collect();
    format!(
        "upstreams:\n{upstreams}gateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ id: all, path: /**, split: {split} }}\n"
    )
}

/// The pair that a client sends back.
fn cookie(answer: &Answer) -> Option<String> {
    let (pair, _) = answer.field("set-cookie")?.split_once(';')?;
    Some(pair.to_owned())
}

#[test]
fn a_header_chooses_the_canary_and_all_else_the_weights() {
    run(async {
        let stage = Stage::new(
            "{ to: [{ upstream: stable }, { upstream: next, when: \"request.headers['x-canary'] == '1'\" }, { upstream: test, weight: 0 }] }",
        )
        .await;
        for _ in 0..5 {
            let canary = stage.ask("X-Canary: 1\r\n").await;
            assert_eq!((canary.text(), canary.field("set-cookie")), ("next", None));
            assert_eq!(stage.ask("X-Canary: 2\r\n").await.text(), "stable");
            assert_eq!(stage.ask("").await.text(), "stable");
        }
        until("all are counted", || stage.counted("stable") == 10.0).await;
        assert_eq!((stage.counted("next"), stage.counted("test")), (5.0, 0.0));
    });
}

#[test]
fn weights_share_the_requests() {
    run(async {
        let stage = Stage::new(
            "{ to: [{ upstream: stable, weight: 3 }, { upstream: next, weight: 1 }, { upstream: test, weight: 0 }] }",
        )
        .await;
        let mut client = stage.node.client().await;
        for _ in 0..400 {
            client.get("/").await;
        }
        // Of a fair draw, once in 10^9 runs not.
        let next = stage.counted("next");
        assert!((50.0..155.0).contains(&next), "{next}");
        assert_eq!((stage.counted("stable") + next, stage.counted("test")), (400.0, 0.0));
    });
}

#[test]
fn a_client_stays_with_its_arm_over_changes_of_the_weights() {
    run(async {
        let split = |stable: u16, next: u16| {
            format!(
                "{{ to: [{{ upstream: stable, weight: {stable} }}, {{ upstream: next, weight: {next} }}, {{ upstream: test, when: \"request.method == 'PUT'\" }}], sticky: {{ cookie: arm }} }}"
            )
        };
        let mut stage = Stage::new(&split(0, 1)).await;
        let first = stage.ask("").await;
        let set = first.field("set-cookie").unwrap();
        assert!(
            set.starts_with("arm=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
            "{set}"
        );
        let pair = cookie(&first).unwrap();
        stage.publish(&split(1000, 1));
        for _ in 0..20 {
            let again = stage.ask(&format!("Cookie: a=b\r\nCookie: c=d; {pair}\r\n")).await;
            assert_eq!((again.text(), again.field("set-cookie")), ("next", None));
        }
        stage.publish(&split(1, 0));
        let moved = stage.ask(&format!("Cookie: {pair}\r\n")).await;
        assert_eq!(moved.text(), "stable");
        assert_ne!(cookie(&moved).unwrap(), pair);
        let abused = stage.ask("Cookie: arm=0123456789abcdef; arm=x\r\n").await;
        assert_eq!(abused.text(), "stable");
        assert!(cookie(&abused).is_some());
    });
}

#[test]
fn an_arm_whose_service_is_gone_gives_its_refusal_and_no_cookie() {
    run(async {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let node = Node::new(&document(
            &[
                format!("http://{address}"),
                "http://127.0.0.1:1".into(),
                "http://127.0.0.1:1".into(),
            ],
            "{ to: [{ upstream: stable }, { upstream: next, weight: 0 }], sticky: { cookie: arm } }",
        ));
        let answer = node.client().await.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_connect"));
        assert_eq!(answer.field("set-cookie"), None);
    });
}

#[test]
fn an_arm_has_the_time_outs_of_its_upstream_and_the_changes_of_its_route() {
    run(async {
        let mirror = Backend::mirror().await;
        let silent = Backend::new(|mut conn| async move {
            conn.rest().await;
        })
        .await;
        let node = Node::new(&format!(
            "upstreams:\n  mirror: {{ targets: [\"{}\"] }}\n  silent: {{ targets: [\"{}\"], timeout: {{ first_byte: 50ms }} }}\n\
             gateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - path: /api/**\n        split: {{ to: [{{ upstream: mirror }}, {{ upstream: silent, when: \"'x-silent' in request.headers\" }}] }}\n        \
             rewrite: {{ strip_prefix: /api }}\n        request: {{ headers: {{ set: {{ x-rest: \"${{params.rest}}\" }} }} }}\n        \
             response: {{ headers: {{ set: {{ x-by: split }} }} }}\n",
            mirror.url(),
            silent.url()
        ));
        let mut client = node.client().await;
        let answer = client.get("/api/orders").await;
        assert!(
            answer.text().starts_with("GET /orders HTTP/1.1\r\n"),
            "{}",
            answer.text()
        );
        assert!(answer.text().contains("x-rest: orders\r\n"));
        assert_eq!(answer.field("x-by"), Some("split"));
        let late = client
            .ask("GET /api/orders HTTP/1.1\r\nHost: a\r\nX-Silent: 1\r\n\r\n")
            .await;
        assert_eq!((late.status, late.code().as_str()), (504, "upstream_timeout"));
    });
}

#[test]
fn a_condition_on_a_field_that_only_proxies_may_send_sees_nothing_of_a_stranger() {
    run(async {
        let stage = Stage::new(
            "{ to: [{ upstream: stable }, { upstream: next, when: \"'x-forwarded-for' in request.headers\" }] }",
        )
        .await;
        assert_eq!(stage.ask("X-Forwarded-For: 10.0.0.1\r\n").await.text(), "stable");
    });
}
