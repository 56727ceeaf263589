//! Three nodes that share a store.

use crate::redis::tests::server::Server;
use crate::{BreakerView, Config, Driver, Forced, Members, RedisSettings, SharedMemory, SharedStore};
use sluice_shared_state::breaker::{Admission, BreakerCell, Criterion, Evidence, Failures, Kind, Verdict};
use sluice_shared_state::{BreakerKey, BreakerRule};
use sluice_telemetry::Metrics;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What never comes would hang a test.
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    store: SharedStore,
    cell: Arc<BreakerCell>,
    metrics: Metrics,
}

fn key() -> BreakerKey {
    BreakerKey {
        upstream: "orders".into(),
        route: None,
    }
}

fn rule() -> BreakerRule {
    BreakerRule {
        failure_rate: Some(0.5),
        slow_rate: None,
        slow_after: None,
        consecutive: None,
        failures: Failures::default(),
        window: Duration::from_secs(10),
        min_requests: 20,
        open_for: Duration::from_millis(300),
        max_open_for: Duration::from_secs(3),
        probes: 2,
        observers: 2,
        probe_timeout: Duration::from_secs(1),
        version: 1,
    }
}

impl Node {
    fn start(at: usize, driver: Driver, rule: BreakerRule) -> Self {
        let metrics = Metrics::new();
        let store = SharedStore::start(Config {
            node: format!("n{at}"),
            cluster: "shop".to_owned(),
            secret: Vec::new(),
            driver,
            metrics: metrics.clone(),
            new_keys_per_second: Config::NEW_KEYS_PER_SECOND,
            keys: Config::KEYS,
        })
        .unwrap();
        store.members(Members {
            live: (0..3).map(|at| format!("n{at}")).collect(),
            without_store: 0,
        });
        let cell = store.breakers().cell(&key(), &Arc::new(rule));
        Self { store, cell, metrics }
    }

    /// Asks and, where it may, makes an attempt that ends so.
    fn attempt(&self, verdict: Verdict) -> Admission {
        let admitted = self.store.now();
        let admission = self.cell.admit(admitted);
        let probe = match admission {
            Admission::Refuse(_) => return admission,
            Admission::Pass => None,
            Admission::Probe(number) => Some(number),
        };
        let evidence = Evidence {
            verdict,
            slow: false,
            admitted,
            probe,
            request_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        };
        self.cell.record(self.store.now(), evidence);
        admission
    }

    fn view(&self) -> BreakerView {
        self.store.breakers().views().remove(0)
    }

    async fn until(&self, what: impl Fn(&BreakerView) -> bool) -> BreakerView {
        let mut changes = self.store.breakers().transitions();
        let wait = async {
            loop {
                let view = self.view();
                if what(&view) {
                    return view;
                }
                // A change, or what is told without one.
                let _ = tokio::time::timeout(Duration::from_millis(10), changes.recv()).await;
            }
        };
        let view = tokio::time::timeout(PATIENCE, wait).await;
        view.unwrap_or_else(|_| panic!("it never came to that: {:?}", self.view()))
    }

    async fn does(&self, kind: Kind) -> BreakerView {
        self.until(|view| view.state == kind).await
    }
}

fn three(driver: &Driver, rule: &BreakerRule) -> Vec<Node> {
    (0..3).map(|at| Node::start(at, driver.clone(), rule.clone())).collect()
}

fn redis(server: &Server) -> Driver {
    Driver::Redis(RedisSettings {
        urls: vec![server.url().parse().unwrap()],
        ..RedisSettings::default()
    })
}

/// When a node began to refuse.
fn opened_at(mut changes: tokio::sync::broadcast::Receiver<crate::Transition>) -> SystemTime {
    loop {
        let change = changes.try_recv().expect("it opened");
        if change.to == Kind::Open {
            return change.at;
        }
    }
}

/// One breaker's life, whatever the store is.
async fn a_life(nodes: Vec<Node>) {
    for node in &nodes {
        node.until(|view| view.shared && view.epoch > 0).await;
    }
    let changes: Vec<_> = nodes.iter().map(|node| node.store.breakers().transitions()).collect();
    for _ in 0..12 {
        assert_eq!(nodes[0].attempt(Verdict::Failure), Admission::Pass);
        assert_eq!(nodes[1].attempt(Verdict::Failure), Admission::Pass);
    }
    let opened = nodes[2].does(Kind::Open).await;
    let cause = opened.cause.clone().unwrap();
    assert_eq!(cause.by, Criterion::FailureRate);
    assert_eq!(cause.request_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    let counted: u32 = cause.counts.iter().map(|(_, counts)| counts.failed).sum();
    assert!(counted >= 20, "on evidence of both: {cause:?}");
    for node in &nodes {
        let view = node.does(Kind::Open).await;
        assert_eq!(view.epoch, opened.epoch, "it is one decision");
        assert!(matches!(node.attempt(Verdict::Success), Admission::Refuse(_)));
        assert!(
            node.metrics
                .encode(false)
                .contains("sluice_breaker_state{upstream=\"orders\",route=\"\"} 3")
        );
    }
    let opened: Vec<SystemTime> = changes.into_iter().map(opened_at).collect();
    let spread = opened
        .iter()
        .max()
        .unwrap()
        .duration_since(*opened.iter().min().unwrap());
    eprintln!("from the first node that refused to the last: {:?}", spread.unwrap());
    // It is well again. All ask; one has the probes, which are two.
    let mut probes = 0;
    let closed = async {
        loop {
            for node in &nodes {
                match node.attempt(Verdict::Success) {
                    Admission::Probe(_) => probes += 1,
                    Admission::Pass => return,
                    Admission::Refuse(_) => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("it closes");
    assert_eq!(probes, 2);
    for node in &nodes {
        let view = node.does(Kind::Closed).await;
        assert_eq!(view.cause, None);
        assert!(
            node.metrics
                .encode(false)
                .contains("sluice_breaker_transitions_total{from=\"closed\",to=\"open\"} 1")
        );
    }
}

#[tokio::test]
async fn nodes_that_share_memory_open_probe_and_close_together() {
    a_life(three(&Driver::Memory(SharedMemory::default()), &rule())).await;
}

/// A life over this server, undisturbed.
async fn a_life_over(server: &Server, driver: &Driver) {
    for tries in 1.. {
        let nodes = three(driver, &rule());
        let metrics: Vec<Metrics> = nodes.iter().map(|node| node.metrics.clone()).collect();
        let lived = tokio::spawn(a_life(nodes)).await;
        let Err(failed) = lived else { break };
        // A machine that is too busy for calls of 20 ms makes nodes decide for themselves: that is another story.
        let disturbed = metrics.iter().any(|metrics| {
            let text = metrics.encode(false);
            let mut late = text.lines().filter(|line| line.contains("kind=\"breaker\""));
            late.any(|line| line.contains("result=\"late\"") || line.contains("result=\"lost\""))
        });
        if !disturbed || tries == 10 {
            std::panic::resume_unwind(failed.into_panic());
        }
        server.cli(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn nodes_that_share_a_redis_open_probe_and_close_together() {
    let server = Server::start();
    a_life_over(&server, &redis(&server)).await;
    let keys = server.cli(&["KEYS", "*"]);
    for key in keys.lines() {
        assert!(
            server.cli(&["PTTL", key]).parse::<i64>().unwrap() > 0,
            "{key} never ends"
        );
    }
}

#[tokio::test]
async fn nodes_whose_redis_lets_nobody_publish_ask_often_enough() {
    let server = Server::start();
    assert_eq!(server.cli(&["ACL", "SETUSER", "default", "resetchannels"]), "OK");
    a_life_over(&server, &redis(&server)).await;
}

#[tokio::test]
async fn nodes_that_share_a_redis_cluster_do_so_too_and_hear_it_on_a_channel_of_its_shard() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    assert_eq!(server.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    let Driver::Redis(mut settings) = redis(&server) else {
        unreachable!()
    };
    settings.cluster = true;
    a_life_over(&server, &Driver::Redis(settings)).await;
    let published = server.cli(&["INFO", "commandstats"]);
    assert!(published.contains("cmdstat_spublish:"), "{published}");
    assert!(!published.contains("cmdstat_publish:"), "{published}");
}

#[tokio::test]
async fn a_node_that_dies_with_the_probe_is_followed_by_another() {
    let mut nodes = three(&Driver::Memory(SharedMemory::default()), &rule());
    for node in &nodes {
        node.until(|view| view.shared && view.epoch > 0).await;
    }
    for _ in 0..12 {
        nodes[0].attempt(Verdict::Failure);
        nodes[1].attempt(Verdict::Failure);
    }
    nodes[2].does(Kind::Open).await;
    let prober = async {
        loop {
            for (at, node) in nodes.iter().enumerate() {
                // Its probe never ends.
                if let Admission::Probe(_) = node.cell.admit(node.store.now()) {
                    return at;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let prober = tokio::time::timeout(PATIENCE, prober).await.expect("somebody probes");
    drop(nodes.remove(prober));
    let closed = async {
        loop {
            if nodes
                .iter()
                .any(|node| node.attempt(Verdict::Success) == Admission::Pass)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed)
        .await
        .expect("another one probes");
    for node in &nodes {
        node.does(Kind::Closed).await;
    }
}

#[tokio::test]
async fn what_one_node_sees_alone_is_its_own_affair() {
    let nodes = three(&Driver::Memory(SharedMemory::default()), &rule());
    let mut checks: Vec<_> = nodes.iter().map(|node| node.store.breakers().checks()).collect();
    for _ in 0..30 {
        nodes[0].attempt(Verdict::Failure);
    }
    let view = nodes[0].does(Kind::Suspect).await;
    assert_eq!(view.by, ["n0"]);
    assert_eq!(
        nodes[0].cell.state(nodes[0].store.now()),
        sluice_shared_state::breaker::State::Suspect { mine: true }
    );
    // One of the others is asked for its opinion, and finds the upstream well: nothing opens.
    let (one, two) = checks.split_at_mut(2);
    let asked = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            key = one[1].recv() => (1, key.unwrap()),
            key = two[0].recv() => (2, key.unwrap()),
        }
    });
    let (who, key) = asked.await.expect("somebody is asked");
    nodes[who].store.breakers().opinion(&key, true);
    for node in &nodes {
        node.does(Kind::Closed).await;
        assert_eq!(node.attempt(Verdict::Success), Admission::Pass);
    }
}

#[tokio::test]
async fn a_second_opinion_that_agrees_opens_it() {
    let nodes = three(&Driver::Memory(SharedMemory::default()), &rule());
    let (mut one, mut two) = (nodes[1].store.breakers().checks(), nodes[2].store.breakers().checks());
    for _ in 0..30 {
        nodes[0].attempt(Verdict::Failure);
    }
    let who = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            _ = one.recv() => 1,
            _ = two.recv() => 2,
        }
    });
    let who = who.await.expect("somebody is asked");
    nodes[who].store.breakers().opinion(&key(), false);
    for node in &nodes {
        node.does(Kind::Open).await;
    }
}

#[tokio::test]
async fn somebodys_word_goes_before_the_evidence_until_it_is_over() {
    let node = Node::start(0, Driver::Memory(SharedMemory::default()), rule());
    let mut changes = node.store.breakers().transitions();
    let word = |open, length| Forced {
        open,
        until: SystemTime::now() + length,
        who: "ops".to_owned(),
        why: "migration".to_owned(),
    };
    node.store
        .breakers()
        .force(&key(), Some(word(true, Duration::from_secs(600))));
    assert!(
        matches!(node.attempt(Verdict::Success), Admission::Refuse(_)),
        "at once"
    );
    let view = node.view();
    assert_eq!(
        (view.state, view.forced.unwrap().why),
        (Kind::ForcedOpen, "migration".to_owned())
    );
    node.store
        .breakers()
        .force(&key(), Some(word(false, Duration::from_millis(200))));
    for _ in 0..100 {
        assert_eq!(node.attempt(Verdict::Failure), Admission::Pass);
    }
    let view = node.does(Kind::Closed).await;
    assert_eq!(view.forced, None);
    assert_eq!(view.own.failed, 0, "what happened under it counts for nothing");
    let mut kinds = Vec::new();
    while let Ok(change) = changes.try_recv() {
        kinds.push(change.to);
    }
    assert_eq!(kinds, [Kind::ForcedOpen, Kind::ForcedClosed, Kind::Closed]);
}

#[tokio::test]
async fn a_breaker_that_comes_later_is_forced_when_it_comes() {
    let node = Node::start(0, Driver::Memory(SharedMemory::default()), rule());
    let later = BreakerKey {
        upstream: "later".into(),
        route: Some(("web".into(), "get".into())),
    };
    let forced = Forced {
        open: true,
        until: SystemTime::now() + Duration::from_secs(600),
        who: "ops".to_owned(),
        why: "not yet".to_owned(),
    };
    node.store.breakers().force(&later, Some(forced));
    let cell = node.store.breakers().cell(&later, &Arc::new(rule()));
    assert!(matches!(cell.admit(node.store.now()), Admission::Refuse(_)));
    node.store.breakers().force(&later, None);
    assert_eq!(cell.admit(node.store.now()), Admission::Pass);
}

#[tokio::test]
async fn without_its_redis_each_node_has_its_own_breaker_and_with_it_the_clusters() {
    let mut server = Server::start();
    let nodes = three(&redis(&server), &rule());
    for node in &nodes {
        node.until(|view| view.shared && view.epoch > 0).await;
    }
    server.kill();
    for node in &nodes {
        node.until(|view| !view.shared).await;
    }
    for _ in 0..30 {
        nodes[0].attempt(Verdict::Failure);
        nodes[1].attempt(Verdict::Success);
    }
    nodes[0].does(Kind::Open).await;
    assert_eq!(
        nodes[1].attempt(Verdict::Success),
        Admission::Pass,
        "the others see nothing of it"
    );
    let before = nodes[0].view().epoch;
    server.restart();
    for node in &nodes {
        let view = node
            .until(|view| view.shared && matches!(view.state, Kind::Closed | Kind::Suspect))
            .await;
        assert!(view.epoch > before, "the store that came back is another one");
    }
}

#[tokio::test]
async fn an_open_breaker_stays_open_when_its_redis_loses_all() {
    let mut server = Server::start();
    let rule = BreakerRule {
        open_for: Duration::from_secs(60),
        max_open_for: Duration::from_secs(60),
        ..rule()
    };
    let nodes = three(&redis(&server), &rule);
    for node in &nodes {
        node.until(|view| view.shared && view.epoch > 0).await;
    }
    for _ in 0..12 {
        nodes[0].attempt(Verdict::Failure);
        nodes[1].attempt(Verdict::Failure);
    }
    for node in &nodes {
        node.does(Kind::Open).await;
    }
    let before = nodes[0].view().epoch;
    server.kill();
    server.restart();
    for node in &nodes {
        node.until(|view| view.shared && view.epoch > before).await;
        assert_eq!(node.view().state, Kind::Open);
    }
}
