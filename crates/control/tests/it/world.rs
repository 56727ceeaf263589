//! Nodes of one process over real links and real disks, without listeners for traffic.

use sluice_consensus::{OpenOptions, Store, Timings};
use sluice_control::{Actor, ChangeReply, ChangeRequest, Config, Control, Refusal, Target, TrialRequest, Wait};
use sluice_document::{Format, PartKey, encode_part, parse, parse_part, split};
use sluice_peer::{Identity, Link, Secret};
use sluice_shared_store::{Driver, SharedMemory, SharedStore};
use sluice_snapshot::{NodeContext, Published, Snapshot};
use sluice_telemetry::Metrics;
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Nothing takes longer, however busy the machine.
const BOUND: Duration = Duration::from_secs(60);

/// One node that runs.
pub(crate) struct Node {
    pub name: String,
    pub control: Control,
    pub published: Published,
    pub shared: SharedStore,
    worker: JoinHandle<()>,
}

/// How a node is to be started.
#[derive(Clone)]
pub(crate) struct Plan {
    pub name: String,
    pub address: String,
    pub data: PathBuf,
    pub initial: Vec<(String, String)>,
    pub join: Vec<String>,
    pub listeners: Vec<String>,
    pub ephemeral: bool,
    /// What the nodes of the set count in.
    pub shared: SharedMemory,
}

/// Names, addresses and folders of a set of nodes.
pub(crate) struct World {
    folder: TempDir,
    pub plans: Vec<Plan>,
}

// === impl World ===

impl World {
    /// A set of `n` nodes that name each other as the first voters.
    pub(crate) fn of(n: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let held: Vec<TcpListener> = (0..n).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let initial: Vec<(String, String)> = held
            .iter()
            .enumerate()
            .map(|(i, listener)| (format!("n{}", i + 1), listener.local_addr().unwrap().to_string()))
            .collect();
        let shared = SharedMemory::default();
        let plans = initial
            .iter()
            .map(|(name, address)| Plan {
                name: name.clone(),
                address: address.clone(),
                data: folder.path().join(name),
                initial: if n == 1 { Vec::new() } else { initial.clone() },
                join: Vec::new(),
                listeners: vec!["public".to_owned()],
                ephemeral: false,
                shared: shared.clone(),
            })
            .collect();
        Self { folder, plans }
    }

    /// One more node, which asks the first of the set to be let in.
    pub(crate) fn another(&self, name: &str) -> Plan {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        Plan {
            name: name.to_owned(),
            address: held.local_addr().unwrap().to_string(),
            data: self.folder.path().join(name),
            initial: Vec::new(),
            join: self.plans.iter().map(|plan| plan.address.clone()).collect(),
            listeners: vec!["public".to_owned()],
            ephemeral: false,
            shared: self.plans.first().map(|plan| plan.shared.clone()).unwrap_or_default(),
        }
    }

    /// All of them, formed.
    pub(crate) async fn start(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        for plan in &self.plans {
            nodes.push(start(plan).await);
        }
        for node in &nodes {
            node.is_ready().await;
        }
        nodes
    }
}

/// Starts a node on what its folder holds.
pub(crate) async fn start(plan: &Plan) -> Node {
    let (store, boot) = open(plan).await;
    let identity = Identity {
        cluster: "test".to_owned(),
        cluster_id: boot.cluster,
        name: plan.name.clone(),
        id: boot.incarnation,
        peer: plan.address.clone(),
        admin: String::new(),
        zone: None,
        labels: Default::default(),
        binary: "test".to_owned(),
        level: sluice_document::LEVEL,
    };
    let metrics = Metrics::new();
    let link = Link::bind(sluice_peer::Config {
        listen: plan.address.parse().unwrap(),
        identity,
        token: Some(Secret::new(b"a token of more than sixteen").unwrap()),
        metrics: metrics.clone(),
        timings: sluice_peer::Timings::default(),
    })
    .await
    .unwrap();
    let published = Published::new(1, Snapshot::empty()).unwrap();
    let worker = tokio::spawn(work(published.clone()));
    let shared = SharedStore::start(sluice_shared_store::Config {
        node: plan.name.clone(),
        cluster: "test".to_owned(),
        secret: Vec::new(),
        driver: Driver::Memory(plan.shared.clone()),
        metrics: metrics.clone(),
        new_keys_per_second: sluice_shared_store::Config::NEW_KEYS_PER_SECOND,
        keys: sluice_shared_store::Config::KEYS,
    })
    .unwrap();
    let control = Control::start(Config {
        store,
        boot,
        link,
        published: published.clone(),
        metrics,
        log: tracing::Dispatch::none(),
        timings: Timings {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            ..Timings::default()
        },
        context: NodeContext {
            listeners: plan.listeners.clone(),
        },
        initial: plan.initial.clone(),
        join: plan.join.clone(),
        ephemeral: plan.ephemeral,
        end: sluice_control::End::Otherwise,
        rehearsals: sluice_control::Rehearsals::default(),
        shared: shared.clone(),
    })
    .await
    .unwrap();
    control.follow();
    Node {
        name: plan.name.clone(),
        control,
        published,
        shared,
        worker,
    }
}

/// The last process may still hold the folder for a moment.
async fn open(plan: &Plan) -> (Store, sluice_consensus::Boot) {
    let options = OpenOptions {
        ballast: 0,
        ..OpenOptions::new(&plan.name, "test")
    };
    let deadline = Instant::now() + BOUND;
    loop {
        match Store::open(&plan.data, options.clone()) {
            Ok(opened) => return opened,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A worker without traffic: takes what is published.
async fn work(published: Published) {
    let mut front = published.front(0);
    let mut changed = published.changed();
    loop {
        front.get();
        if changed.changed().await.is_err() {
            return;
        }
    }
}

// === impl Node ===

impl Node {
    pub(crate) async fn is_ready(&self) {
        eventually(&format!("{} is ready", self.name), || async {
            self.control.ready().ready
        })
        .await;
    }

    pub(crate) async fn serves(&self, version: u64) {
        let mut live = self.published.live_changed();
        let served = timeout(BOUND, live.wait_for(|live| live.version == version)).await;
        assert!(served.is_ok(), "{} does not serve version {version}", self.name);
    }

    /// A stop in order.
    pub(crate) async fn stop(self) {
        self.control.shutdown().await;
        self.worker.abort();
    }

    /// The whole document.
    pub(crate) async fn put(&self, document: &str) -> Result<ChangeReply, Refusal> {
        self.control.change(request(whole(document))).await
    }

    /// One part.
    pub(crate) async fn put_part(&self, key: &str, text: &str) -> Result<ChangeReply, Refusal> {
        self.control.change(request(part(key, text))).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<ChangeReply, Refusal> {
        self.control
            .change(request(Target::Delete {
                key: key.to_owned(),
                if_part_version: None,
            }))
            .await
    }
}

pub(crate) fn whole(document: &str) -> Target {
    let parsed = parse(document, Format::Yaml, None).unwrap_or_else(|errors| panic!("{errors:?}"));
    let parts = split(&parsed.document)
        .into_iter()
        .map(|(key, text)| (key.to_string(), text))
        .collect();
    Target::Whole {
        parts,
        scope: None,
        original: Some(document.to_owned()),
    }
}

pub(crate) fn part(key: &str, text: &str) -> Target {
    let name: PartKey = key.parse().unwrap();
    let parts = parse_part(&name, text, Format::Yaml).unwrap_or_else(|errors| panic!("{errors:?}"));
    let parts = parts
        .iter()
        .map(|(key, part)| (key.to_string(), encode_part(part)))
        .collect();
    Target::Part {
        key: key.to_owned(),
        parts,
        if_part_version: None,
    }
}

pub(crate) fn request(target: Target) -> ChangeRequest {
    ChangeRequest {
        target,
        if_version: None,
        dry_run: false,
        force: false,
        wait: Wait::All,
        timeout: Duration::from_secs(30),
        idempotency_key: None,
        actor: Actor {
            who: "test".to_owned(),
            from: "here".to_owned(),
            why: Some("because".to_owned()),
            request_id: "r".to_owned(),
        },
        trial: TrialRequest::default(),
    }
}

/// Waits until it holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = timeout(BOUND, async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "still not so after {BOUND:?}: {what}");
}

/// A document with one route that answers `text`.
pub(crate) fn answering(text: &str) -> String {
    let text = text.replace(' ', "-");
    format!(
        "upstreams: {{ u: {{ targets: ['http://127.0.0.1:9/{text}'] }} }}\ngateways:\n  web:\n    hosts: ['*']\n    routes:\n      - {{ path: /, upstream: u }}\n"
    )
}

/// Takes a node's folder away.
pub(crate) fn wipe(plan: &Plan) {
    let path: &Path = &plan.data;
    std::fs::remove_dir_all(path).unwrap();
}
