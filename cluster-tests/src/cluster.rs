//! Several nodes that form one cluster.

use crate::admin::{Admin, Written, member};
use crate::node::{Node, Settings};
use crate::relay::Relays;
use crate::world::World;
use serde_json::Value;
use std::net::SocketAddr;

/// A cluster of node processes, `n1` first.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    relays: Option<Relays>,
}

/// How a cluster is to be made.
#[derive(Debug, Default)]
pub struct Plan {
    size: u8,
    relayed: bool,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
    unread_log: bool,
}

impl Cluster {
    /// A plan of `size` first voters; a size of 1 is a cluster of one.
    pub fn of(size: u8) -> Plan {
        Plan {
            size,
            ..Plan::default()
        }
    }

    /// Three nodes, formed and ready.
    pub async fn three(world: &World) -> Self {
        Self::of(3).start(world).await
    }

    /// One node, formed and ready.
    pub async fn one(world: &World) -> Self {
        Self::of(1).start(world).await
    }

    /// Three nodes that share limits and breakers in the Redis at this address, formed and ready.
    pub async fn sharing(world: &World, store: SocketAddr) -> Self {
        let url = format!("redis://{store}");
        Self::of(3).flags(&["--redis", &url]).start(world).await
    }

    /// Node `n`: 1, 2, …
    pub fn node(&self, n: usize) -> &Node {
        &self.nodes[n - 1]
    }

    /// Node `n`, to be stopped and started.
    pub fn node_mut(&mut self, n: usize) -> &mut Node {
        &mut self.nodes[n - 1]
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All nodes, to be stopped and started.
    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// The links between them, where the plan asked for [`Plan::relayed`].
    pub fn links(&self) -> &Relays {
        self.relays.as_ref().expect("the plan said relayed")
    }

    /// The operator's client of node `n`.
    pub fn admin(&self, n: usize) -> Admin {
        self.node(n).admin()
    }

    /// Starts those that do not run, and waits until all are ready.
    pub async fn start_all(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| !node.runs()) {
            node.start();
        }
        self.introduce();
        for node in &self.nodes {
            node.ready().await;
        }
    }

    /// Starts node `n` and waits until it is ready.
    pub async fn restart(&mut self, n: usize) {
        self.node_mut(n).start();
        self.introduce();
        self.node(n).ready().await;
    }

    /// Tells the relays which process is which node; needed after each start.
    pub fn introduce(&self) {
        if let Some(relays) = &self.relays {
            for (place, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.runs()) {
                relays.introduce(place + 1, node.id());
            }
        }
    }

    /// Waits for a leader that all running nodes agree on, and gives its number.
    pub async fn leader(&self) -> usize {
        let among: Vec<usize> = (1..=self.nodes.len()).filter(|n| self.node(*n).runs()).collect();
        self.leader_among(&among).await
    }

    /// Waits for a leader among these nodes that all of these agree on.
    pub async fn leader_among(&self, among: &[usize]) -> usize {
        crate::eventually(&format!("a leader among {among:?}"), || async {
            let mut told = Vec::new();
            for n in among {
                told.push(self.admin(*n).leader().await);
            }
            let first = told.first().cloned().flatten().ok_or("none is known")?;
            let number = self.number(&first).ok_or("a stranger")?;
            let agreed = told.iter().all(|name| name.as_ref() == Some(&first)) && among.contains(&number);
            if agreed {
                Ok(number)
            } else {
                Err(format!("they tell {told:?}"))
            }
        })
        .await
    }

    /// The number of the node of this name.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.name() == name)
            .map(|place| place + 1)
    }

    /// Applies a document through node 1 and waits until all serve by it.
    pub async fn apply(&self, document: &str) -> Written {
        self.admin(1).apply(document).await
    }

    /// Waits until every running node serves by this version or a later one.
    pub async fn live(&self, version: u64) {
        for node in self.nodes.iter().filter(|node| node.runs()) {
            node_live(node, version).await;
        }
    }

    /// Waits until node 1's view of the cluster fulfils a condition, and gives that view.
    pub async fn seen_by(&self, n: usize, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let admin = self.admin(n);
        crate::eventually(what, || async {
            let cluster = admin.cluster().await?;
            if holds(&cluster) {
                Ok(cluster)
            } else {
                Err(cluster.to_string())
            }
        })
        .await
    }

    /// Waits until these nodes, and no others, are voters as node `n` sees it.
    pub async fn voters(&self, n: usize, names: &[&str]) {
        let mut wanted: Vec<&str> = names.to_vec();
        wanted.sort_unstable();
        self.seen_by(n, &format!("{wanted:?} to be the voters"), |cluster| {
            voters_of(cluster) == wanted
        })
        .await;
    }
}

/// Waits until a node says that it serves by this version or a later one.
pub async fn node_live(node: &Node, version: u64) {
    let admin = node.admin();
    crate::eventually(&format!("{} to serve by version {version}", node.name()), || async {
        let cluster = admin.cluster().await?;
        let own = member(&cluster, node.name()).ok_or_else(|| format!("not in {cluster}"))?;
        if own["live"].as_u64() >= Some(version) {
            Ok(())
        } else {
            Err(own.to_string())
        }
    })
    .await;
}

/// The names of the voters in an answer of `/v1/cluster`, sorted.
pub fn voters_of(cluster: &Value) -> Vec<&str> {
    let nodes = cluster["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut names: Vec<&str> = nodes
        .iter()
        .filter(|node| node["role"] == "voter")
        .filter_map(|node| node["name"].as_str())
        .collect();
    names.sort_unstable();
    names
}

impl Plan {
    /// Puts a relay in front of each node's peer port, so that links can be cut.
    pub fn relayed(mut self) -> Self {
        self.relayed = true;
        self
    }

    /// More flags for every node.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// More environment for every node.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Every node may have so many files and sockets open.
    pub fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    /// The log of every node is a pipe that nobody reads.
    pub fn unread_logs(mut self) -> Self {
        self.unread_log = true;
        self
    }

    /// The nodes, none of them started.
    pub async fn make(self, world: &World) -> Cluster {
        let mut settings: Vec<Settings> = (1..=self.size).map(|n| Settings::of(world, n)).collect();
        let mut relays = None;
        if self.relayed {
            let behind: Vec<_> = settings.iter().map(|node| node.peer).collect();
            let made = Relays::start(world, &behind).await;
            for (place, node) in settings.iter_mut().enumerate() {
                node.advertised = made.address(place + 1);
            }
            relays = Some(made);
        }
        let initial: Vec<String> = settings.iter().map(Settings::entry).collect();
        for node in &mut settings {
            if self.size > 1 {
                node.initial = initial.clone();
            }
            node.flags.extend(self.flags.iter().cloned());
            node.environment.extend(self.environment.iter().cloned());
            node.open_files = self.open_files;
            node.unread_log = self.unread_log;
        }
        Cluster {
            nodes: settings.into_iter().map(|node| Node::new(world, node)).collect(),
            relays,
        }
    }

    /// Starts all of it and waits until every node is ready.
    pub async fn start(self, world: &World) -> Cluster {
        let mut cluster = self.make(world).await;
        cluster.start_all().await;
        cluster
    }
}
