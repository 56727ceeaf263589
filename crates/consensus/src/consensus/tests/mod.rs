//! Several nodes in one process, over real links and on real disks.
#![allow(clippy::unwrap_used)]

mod agreement;
mod disks;
mod membership;
mod partitions;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sluice_peer::{Config, Identity, Link, NodeId, Secret, Serve, Service};
use sluice_telemetry::Metrics;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::raft::Request;
use crate::store::Faults;
use crate::{
    Activation, Applied, Author, Body, Boot, Compaction, Consensus, Envelope, Head, Node, OpenOptions, PartChange,
    ProposeError, RaftView, Store, Timings,
};

/// Longer than anything here takes on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Some nodes, and the net between them.
pub(super) struct Cluster {
    dir: TempDir,
    net: Arc<Net>,
    network: u8,
    timings: Timings,
    pub(super) nodes: BTreeMap<&'static str, TestNode>,
}

/// A running node.
pub(super) struct TestNode {
    pub(super) id: NodeId,
    pub(super) boot: Boot,
    pub(super) consensus: Consensus,
    pub(super) store: Store,
    pub(super) metrics: Metrics,
    pub(super) faults: Faults,
    link: Link,
    server: Arc<Server>,
}

/// Who does not hear whom.
#[derive(Default)]
struct Net {
    deaf: watch::Sender<BTreeSet<(String, String)>>,
    /// Where the pieces of Raft snapshots began, as they arrived; the fourth of all is lost.
    pieces: Mutex<Vec<u64>>,
}

/// Answers the link's calls, unless the net is cut: then nothing comes back.
struct Server {
    name: &'static str,
    net: Arc<Net>,
    consensus: Mutex<Option<Consensus>>,
}

impl Serve for Server {
    fn serve(&self, from: Arc<Identity>, service: Service, body: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let consensus = self.consensus.lock().unwrap().clone();
        let net = Arc::clone(&self.net);
        let mut deaf = self.net.deaf.subscribe();
        let pair = (from.name.clone(), self.name.to_owned());
        Box::pin(async move {
            assert_eq!(service, Service::RAFT);
            if deaf.borrow_and_update().contains(&pair) {
                return std::future::pending().await;
            }
            if let Ok(Request::SnapshotChunk { offset, .. }) = sluice_peer::codec::decode(&body) {
                let mut pieces = net.pieces.lock().unwrap();
                pieces.push(offset);
                if pieces.len() == 4 {
                    return Err("lost".to_owned());
                }
            }
            consensus.ok_or("stopped")?.handle_call(from, body).await
        })
    }
}

pub(super) fn timings() -> Timings {
    Timings {
        heartbeat: Duration::from_millis(60),
        election_min: Duration::from_millis(300),
        election_max: Duration::from_millis(500),
        write: Duration::from_secs(3),
        catch_up: LONG,
        handover: LONG,
        compaction: Compaction {
            entries: 16,
            keep: 4,
            ..Compaction::default()
        },
        ..Timings::default()
    }
}

/// Each cluster of the process has a network of its own: addresses stay the same over restarts.
static NETWORKS: AtomicU16 = AtomicU16::new(0);

impl Cluster {
    pub(super) fn new(timings: Timings) -> Self {
        let network = NETWORKS.fetch_add(1, Ordering::Relaxed);
        Self {
            dir: TempDir::new().unwrap(),
            net: Arc::default(),
            network: u8::try_from(network).unwrap(),
            timings,
            nodes: BTreeMap::new(),
        }
    }

    /// A cluster of these, that has a leader.
    pub(super) async fn of(names: &[&'static str], timings: Timings) -> Self {
        let mut cluster = Self::new(timings);
        for name in names {
            cluster.start(name).await;
        }
        let members = names.iter().map(|name| (cluster.nodes[name].id, cluster.node(name)));
        cluster.nodes[names[0]]
            .consensus
            .initialise(members.collect())
            .await
            .unwrap();
        cluster.leader().await;
        cluster
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn address(&self, name: &str) -> SocketAddr {
        let host: u8 = name[1..].parse().unwrap();
        let process = u8::try_from(std::process::id() % 200).unwrap() + 2;
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, process, self.network, host)), 7080)
    }

    pub(super) fn node(&self, name: &str) -> Node {
        Node {
            name: name.to_owned(),
            peer: self.address(name).to_string(),
            admin: "127.0.0.1:9080".to_owned(),
            ..Node::default()
        }
    }

    pub(super) fn open(&self, name: &str) -> (Store, Boot, Faults) {
        let options = OpenOptions {
            ballast: 0,
            ..OpenOptions::new(name, "shop")
        };
        let faults = Faults::default();
        let (store, boot) = Store::open_with(&self.path(name), options, faults.clone()).unwrap();
        (store, boot, faults)
    }

    pub(super) async fn start(&mut self, name: &'static str) -> NodeId {
        let opened = self.open(name);
        self.run(name, opened).await
    }

    pub(super) async fn run(&mut self, name: &'static str, (store, boot, faults): (Store, Boot, Faults)) -> NodeId {
        let id = store.incarnation();
        let identity = Identity {
            cluster: "shop".into(),
            cluster_id: None,
            name: name.into(),
            id,
            peer: String::new(),
            admin: "127.0.0.1:9080".into(),
            zone: None,
            labels: BTreeMap::new(),
            binary: "0.1.0".into(),
            level: 1,
        };
        let metrics = Metrics::new();
        let config = Config {
            listen: self.address(name),
            identity,
            token: Some(Secret::new(b"a token that only the members know").unwrap()),
            metrics: metrics.clone(),
            timings: sluice_peer::Timings::default(),
        };
        let link = Link::bind(config).await.unwrap();
        let consensus = Consensus::start(store.clone(), link.clone(), &metrics, self.timings.clone());
        let consensus = consensus.await.unwrap();
        let server = Arc::new(Server {
            name,
            net: Arc::clone(&self.net),
            consensus: Mutex::new(Some(consensus.clone())),
        });
        link.serve(server.clone());
        let node = TestNode {
            id,
            boot,
            consensus,
            store,
            metrics,
            faults,
            link,
            server,
        };
        assert!(self.nodes.insert(name, node).is_none());
        id
    }

    /// Ends a node without any farewell.
    pub(super) async fn kill(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        node.server.consensus.lock().unwrap().take();
        node.link.shutdown().await;
        node.consensus.inner.raft.shutdown().await.unwrap();
    }

    /// Ends a node in order.
    pub(super) async fn stop(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        node.consensus.shutdown(true).await;
        node.server.consensus.lock().unwrap().take();
        node.link.shutdown().await;
    }

    /// From now on nothing passes between these and the rest; what was on its way is lost.
    pub(super) fn cut(&self, away: &[&str]) {
        self.net.deaf.send_modify(|deaf| {
            let names = || self.nodes.keys().copied();
            for (from, to) in names().flat_map(|from| names().map(move |to| (from, to))) {
                if away.contains(&from) != away.contains(&to) {
                    deaf.insert((from.to_owned(), to.to_owned()));
                }
            }
        });
    }

    pub(super) fn heal(&self) {
        self.net.deaf.send_modify(BTreeSet::clear);
    }

    /// The name of the leader that a majority stands behind, awaited.
    pub(super) async fn leader(&self) -> &'static str {
        self.leader_but(&[]).await
    }

    /// A leader that is none of these, awaited.
    pub(super) async fn leader_but(&self, not: &[&str]) -> &'static str {
        let mut found = None;
        until("a leader", || {
            let mut leaders = self.nodes.iter().filter(|(name, node)| {
                let view = node.consensus.raft();
                !not.contains(name) && view.is_leader() && view.has_majority(std::time::Instant::now(), LONG)
            });
            found = leaders.next().map(|(name, _)| *name);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(super) fn on(&self, name: &str) -> &Consensus {
        &self.nodes[name].consensus
    }

    pub(super) fn id(&self, name: &str) -> NodeId {
        self.nodes[name].id
    }

    pub(super) fn view(&self, name: &str) -> RaftView {
        self.on(name).raft()
    }

    /// Waits until a node sees Raft so.
    pub(super) async fn sees(&self, name: &str, what: &str, holds: impl FnMut(&RaftView) -> bool) {
        let mut views = self.on(name).watch_raft();
        let seen = timeout(LONG, views.wait_for(holds)).await;
        assert!(matches!(seen, Ok(Ok(_))), "never came true on {name}: {what}");
    }

    /// A change that is repeated, at whoever leads, until it is known to be made.
    pub(super) async fn put(&self, key: &str, value: &str) -> Head {
        self.put_but(&[], key, value).await
    }

    /// The same, on a part of the cluster.
    pub(super) async fn put_but(&self, not: &[&str], key: &str, value: &str) -> Head {
        loop {
            let leader = self.on(self.leader_but(not).await);
            match leader.propose(change(leader.head().version, key, value)).await {
                Ok((Applied::Version(_) | Applied::Same(_), _)) => return leader.head(),
                Ok((Applied::WrongBase { .. }, _))
                | Err(ProposeError::NotLeader { .. } | ProposeError::NoMajority | ProposeError::OutcomeUnknown) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until all running nodes have come to this version.
    pub(super) async fn all_at(&self, version: u64) {
        for (name, node) in &self.nodes {
            let mut heads = node.consensus.watch();
            let came = timeout(LONG, heads.wait_for(|head| head.version >= version)).await;
            assert!(matches!(came, Ok(Ok(_))), "{name} never came to version {version}");
        }
    }

    pub(super) fn value(&self, name: &str, key: &str) -> Option<String> {
        self.on(name)
            .with_parts(|parts| parts.get(key).map(|e| e.value.to_string()))
    }

    pub(super) fn voters(&self, name: &str) -> Vec<String> {
        let members = self.view(name).members;
        let mut voters: Vec<String> = members.into_iter().filter(|m| m.voter).map(|m| m.node.name).collect();
        voters.sort();
        voters
    }
}

pub(super) fn change(base: u64, key: &str, value: &str) -> Envelope {
    Envelope {
        base,
        request_id: format!("{key}={value}"),
        author: Author::default(),
        at_ms: 1,
        trace: None,
        level: 1,
        idempotency: None,
        body: Body::Store {
            changes: vec![PartChange {
                key: key.into(),
                value: Some(value.into()),
            }],
            activate: Some(Activation::default()),
            original: None,
        },
    }
}

/// Waits until `holds`, however long the machine takes. For what nobody is told of, as when somebody was heard last.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(LONG, wait).await.is_ok(), "never came true: {what}");
}
