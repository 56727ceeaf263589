//! A data plane in front of scripted backends.

use crate::client::Client;
use sluice_dataplane::{Bound, Dataplane, Edge, Listener, Settings};
use sluice_document::{Format, PartKey, decode_part, parse, split};
use sluice_shared_store::{Config, Driver, Members, SharedMemory, SharedStore};
use sluice_snapshot::{Change, CompileBudget, NodeContext, Published, Snapshot, compile_changes};
use sluice_telemetry::Metrics;
use sluice_telemetry::log::{Log, Settings as LogSettings};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub struct Node {
    pub dataplane: Dataplane,
    pub published: Published,
    pub metrics: Metrics,
    pub addresses: Vec<SocketAddr>,
    pub shared: SharedStore,
    parts: BTreeMap<PartKey, String>,
}

/// One worker, unless a test is about several.
pub fn settings(workers: usize, edge: Edge) -> Settings {
    Settings {
        listeners: vec![listener("public")],
        workers,
        node: "n1".into(),
        edge,
        proxy_protocol: Arc::default(),
    }
}

pub fn listener(name: &str) -> Listener {
    Listener {
        name: name.into(),
        address: ([127, 0, 0, 1], 0).into(),
    }
}

fn compile(
    old: &BTreeMap<PartKey, String>,
    new: &BTreeMap<PartKey, String>,
    prev: &Snapshot,
    version: u64,
) -> Snapshot {
    let gone = old
        .keys()
        .filter(|key| !new.contains_key(key))
        .cloned()
        .map(Change::Delete);
    let put = new
        .iter()
        .filter(|(key, text)| old.get(key) != Some(text))
        .map(|(key, text)| Change::Put(key.clone(), decode_part(key, text).unwrap()));
    let context = NodeContext {
        listeners: vec!["public".to_owned(), "partner".to_owned()],
    };
    let changes = gone.chain(put).collect();
    compile_changes(changes, prev, version, [0; 16], &context, &CompileBudget::default()).unwrap()
}

fn parts(document: &str) -> BTreeMap<PartKey, String> {
    match parse(document, Format::Yaml, None) {
        Ok(parsed) => split(&parsed.document),
        Err(errors) => panic!("{errors:#?}"),
    }
}

impl Node {
    pub fn new(document: &str) -> Self {
        Self::with(document, settings(1, Edge::default()))
    }

    pub fn edge(document: &str, edge: Edge) -> Self {
        Self::with(document, settings(1, edge))
    }

    pub fn with(document: &str, settings: Settings) -> Self {
        let workers = settings.workers;
        let bound = Dataplane::bind(settings).unwrap();
        Self::bound(document, bound, workers)
    }

    pub fn bound(document: &str, bound: Bound, workers: usize) -> Self {
        let unheard = Log::to(&LogSettings::default(), std::io::sink()).unwrap();
        Self::logging(document, bound, workers, &unheard)
    }

    /// One of several that share what they keep; these are there.
    pub fn sharing(document: &str, name: &str, memory: &SharedMemory, live: &[&str]) -> Self {
        let bound = Dataplane::bind(settings(1, Edge::default())).unwrap();
        let unheard = Log::to(&LogSettings::default(), std::io::sink()).unwrap();
        let metrics = Metrics::new();
        let shared = SharedStore::start(Config {
            driver: Driver::Memory(memory.clone()),
            ..Config::alone(name, metrics.clone())
        });
        let shared = shared.unwrap();
        shared.members(Members {
            live: live.iter().map(|name| (*name).to_owned()).collect(),
            without_store: 0,
        });
        Self::made(document, bound, 1, &unheard, metrics, shared)
    }

    /// One whose limits and breakers are kept there.
    pub fn keeping(document: &str, driver: Driver) -> Self {
        let bound = Dataplane::bind(settings(1, Edge::default())).unwrap();
        let unheard = Log::to(&LogSettings::default(), std::io::sink()).unwrap();
        let metrics = Metrics::new();
        let shared = SharedStore::start(Config {
            driver,
            ..Config::alone("n1", metrics.clone())
        });
        Self::made(document, bound, 1, &unheard, metrics, shared.unwrap())
    }

    pub fn logging(document: &str, bound: Bound, workers: usize, log: &Log) -> Self {
        let metrics = Metrics::new();
        let shared = SharedStore::start(Config::alone("n1", metrics.clone())).unwrap();
        Self::made(document, bound, workers, log, metrics, shared)
    }

    fn made(document: &str, bound: Bound, workers: usize, log: &Log, metrics: Metrics, shared: SharedStore) -> Self {
        let addresses = bound.addresses().map(|(_, address)| address).collect();
        let parts = parts(document);
        let first = compile(&BTreeMap::new(), &parts, &Snapshot::empty(), 1);
        let published = Published::new(workers, first).unwrap();
        let dataplane = bound
            .start(&published, &shared, &metrics, log, tokio::runtime::Handle::current())
            .unwrap();
        Self {
            dataplane,
            published,
            metrics,
            addresses,
            shared,
            parts,
        }
    }

    /// Makes another document live.
    pub fn publish(&mut self, document: &str) {
        let parts = parts(document);
        let current = self.published.current();
        let next = compile(&self.parts, &parts, &current, current.version() + 1);
        self.published.publish(next);
        self.parts = parts;
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub async fn client(&self) -> Client {
        Client::to(self.address()).await
    }

    /// The value of a metric with these labels, as the page writes it; 0 where it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.metrics.encode(false);
        let line = page
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.map_or(0.0, |line| line[name.len()..].trim().parse().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.dataplane.stop();
    }
}

/// One gateway for every host, with one route for everything to `url`, with `more` of the route.
pub fn forwarding(url: &str, more: &str) -> String {
    format!(
        "upstreams: {{ a: {{ targets: [\"{url}\"] }} }}\ngateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ id: all, path: /**, upstream: a {more} }}\n"
    )
}

/// Runs a test; one that hangs fails.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test)
            .await
            .expect("the test hangs");
    });
    runtime.shutdown_background();
}

/// Runs the test of this name with fault points. They are read from the environment: it runs in a process of its own.
#[cfg(feature = "fault-points")]
pub fn run_with(points: &str, name: &str, test: impl Future<Output = ()>) {
    const POINTS: &str = "SLUICE_FAULT_POINTS";
    if std::env::var_os(POINTS).is_some() {
        return run(test);
    }
    let this = std::env::current_exe().unwrap();
    let again = std::process::Command::new(this)
        .args(["--exact", name])
        .env(POINTS, points)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&again.stdout);
    // A name that is none runs nothing, and that well.
    assert!(again.status.success() && told.contains("1 passed"), "{name}: {told}");
}

/// Waits for a condition, not for a time.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}
