//! Services that fail: what is tried again, which targets are left out.

use crate::backend::Backend;
use crate::node::{Node, run, settings, until};
use sluice_dataplane::Edge;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// A service that can be told how to answer.
pub struct Service {
    pub backend: Backend,
    status: Arc<AtomicU16>,
}

impl Service {
    pub async fn new() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let answers = Arc::clone(&status);
        let backend = Backend::answering(move |got| {
            let (status, line) = (answers.load(Ordering::SeqCst), got.line());
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{line}", line.len())
        })
        .await;
        Self { backend, status }
    }

    /// From now on.
    pub fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Requests so far.
    pub fn served(&self) -> usize {
        self.backend.count()
    }
}

/// Upstreams with their other fields, and one route for each under its name, with more fields.
pub fn document(upstreams: &[(&str, &str, &str)], more: &str) -> String {
    let (mut all, mut routes) = (String::new(), String::new());
    for (name, targets, fields) in upstreams {
        all.push_str(&format!("  {name}: {{ targets: [{targets}]{fields} }}\n"));
        routes.push_str(&format!(
            "      - {{ id: {name}, path: /{name}/**, upstream: {name}{more} }}\n"
        ));
    }
    format!("upstreams:\n{all}gateways:\n  web:\n    hosts: ['*']\n    routes:\n{routes}")
}

/// As a target in a list.
pub fn url(service: &Service) -> String {
    format!("'{}'", service.backend.url())
}

#[test]
fn a_failing_target_costs_clients_nothing_and_is_left_out() {
    run(async {
        let (bad, good) = (Service::new().await, Service::new().await);
        bad.answers(503);
        let targets = format!("{}, {}", url(&bad), url(&good));
        let fields = ", balance: round_robin, retry: { attempts: 2, backoff: 1ms..1ms }";
        let node = Node::new(&document(&[("a", &targets, fields)], ""));
        let mut client = node.client().await;
        for _ in 0..30 {
            assert_eq!(client.get("/a/x").await.status, 200);
        }
        assert_eq!(bad.served(), 5, "five in a row, and then none");
        let retries = node.metric("sluice_upstream_retries_total{upstream=\"a\",why=\"status\"}");
        assert_eq!(retries, 5.0);
        assert_eq!(
            node.metric("sluice_upstream_targets{upstream=\"a\",state=\"ejected\"}"),
            1.0
        );
        assert_eq!(node.metric("sluice_upstream_ejections_total{upstream=\"a\"}"), 1.0);
        assert_eq!(node.metric("sluice_requests_rejected_total{code=\"no_target\"}"), 0.0);
    });
}

#[test]
fn a_route_has_retries_of_its_own_over_its_upstreams() {
    run(async {
        let bad = Service::new().await;
        bad.answers(503);
        let fields = ", retry: { attempts: 3, backoff: 1ms..1ms }";
        for (more, tries) in [
            ("", 3),
            (", retry: { attempts: 1 }", 1),
            (", retry: { attempts: 2, on: [503] }", 2),
        ] {
            let node = Node::new(&document(&[("a", &url(&bad), fields)], more));
            let before = bad.served();
            let answer = node.client().await.get("/a/x").await;
            assert_eq!((answer.status, bad.served() - before), (503, tries), "{more}");
        }
    });
}

#[test]
fn targets_are_checked_by_the_present_document() {
    run(async {
        let (one, two) = (Service::new().await, Service::new().await);
        let text = |targets: &str| {
            let active = ", health: { active: { path: /healthz, every: 100ms, unhealthy_after: 1, healthy_after: 1 } }";
            document(&[("a", targets, active)], "")
        };
        let both = format!("{}, {}", url(&one), url(&two));
        let mut node = Node::with(&text(&both), settings(2, Edge::default()));
        let state = |node: &Node, state: &str| {
            node.metric(&format!("sluice_upstream_targets{{upstream=\"a\",state=\"{state}\"}}"))
        };
        until("both are well", || {
            state(&node, "healthy") == 2.0 && one.served() > 0 && two.served() > 0
        })
        .await;
        two.answers(500);
        until("one is not", || state(&node, "unhealthy") == 1.0).await;
        let mut client = node.client().await;
        for _ in 0..10 {
            assert_eq!(client.get("/a/x").await.status, 200);
        }
        node.publish(&text(&url(&one)));
        until("it is forgotten", || {
            state(&node, "unhealthy") == 0.0 && state(&node, "healthy") == 1.0
        })
        .await;
    });
}
