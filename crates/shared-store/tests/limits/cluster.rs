//! Nodes of one process that share limits.

use sluice_shared_state::{Algorithm, Calendar, Mode, OnFailure, Rule, RuleId, Scope};
use sluice_shared_store::{Ask, Config, Decision, Driver, Limiter, Members, SharedMemory, SharedStore, Verdict};
use sluice_telemetry::Metrics;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Some nodes, n1 and on.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
}

pub(crate) struct Node {
    pub(crate) store: SharedStore,
    pub(crate) metrics: Metrics,
}

impl Cluster {
    pub(crate) fn in_memory(nodes: usize) -> Self {
        let memory = SharedMemory::default();
        Self::of(nodes, |config| config.driver = Driver::Memory(memory.clone()))
    }

    pub(crate) fn of(nodes: usize, set: impl Fn(&mut Config)) -> Self {
        let live: Vec<String> = (1..=nodes).map(|n| format!("n{n}")).collect();
        let nodes = live.iter().map(|name| {
            let metrics = Metrics::new();
            let mut config = Config::alone(name, metrics.clone());
            set(&mut config);
            let store = SharedStore::start(config).unwrap();
            let live = live.clone();
            store.members(Members { live, without_store: 0 });
            Node { store, metrics }
        });
        Self { nodes: nodes.collect() }
    }

    pub(crate) fn limiters(&self) -> Vec<Limiter> {
        self.nodes.iter().map(|node| node.store.limiter()).collect()
    }
}

impl Node {
    /// Waits until the store is asked, or is not.
    pub(crate) async fn store_is(&self, reached: bool) {
        let patience = Instant::now() + Duration::from_secs(30);
        while (self.metric("sluice_store_up", &[]) == 1.0) != reached {
            assert!(Instant::now() < patience, "the store never became reached: {reached}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The sum of a metric's lines that contain all of these.
    pub(crate) fn metric(&self, name: &str, with: &[&str]) -> f64 {
        let text = self.metrics.encode(false);
        let lines = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        lines
            .filter(|line| with.iter().all(|with| line.contains(with)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

pub(crate) fn rule(name: &str, algorithm: Algorithm) -> Arc<Rule> {
    let rule = Rule {
        name: name.into(),
        scope: Scope::Gateway("web".into()),
        algorithm,
        mode: Mode::Exact,
        on_failure: OnFailure::Local,
        version: 1,
        id: RuleId(0),
    };
    Arc::new(rule.seal())
}

pub(crate) fn sliding(name: &str, limit: u32, window: Duration) -> Arc<Rule> {
    rule(name, Algorithm::SlidingWindow { limit, window })
}

/// A limit of five, of each kind that counts.
pub(crate) fn five() -> [Arc<Rule>; 3] {
    let hour = Duration::from_secs(3600);
    let calendar = Calendar::Every(hour);
    [
        sliding("sliding", 5, hour),
        rule("fixed", Algorithm::FixedWindow { limit: 5, calendar }),
        rule(
            "bucket",
            Algorithm::TokenBucket {
                limit: 5,
                per: hour,
                depth: 5,
            },
        ),
    ]
}

/// An ask of one token, by somebody without patience.
pub(crate) fn ask<'a>(rule: &'a Arc<Rule>, value: &'a str) -> Ask<'a> {
    Ask {
        rule,
        value,
        cost: 1,
        patience: Duration::ZERO,
        dry_run: false,
    }
}

/// Decides, waiting where it must.
pub(crate) async fn decide(limiter: &Limiter, asks: &[Ask<'_>]) -> Verdict {
    match limiter.decide(asks) {
        Decision::Ready(verdict) => verdict,
        Decision::Wait(waiting) => waiting.await,
    }
}

/// Whether a request passes these.
pub(crate) async fn passes(limiter: &Limiter, asks: &[Ask<'_>]) -> bool {
    decide(limiter, asks).await.refused(asks).is_none()
}
