//! What a node must know before it has heard of any document.
//!
//! ```text
//!   flags ─┐
//!   SLUICE_… ─┼─▶ Sources ──gather──▶ given, with origins ──parse──▶ Settings, rows for people, warnings
//!   file ──┘
//! ```
//!
//! Everything that is wrong is told at once, and every message says what to do. Nothing here opens a socket or makes a
//! file; the only files read are the ones that settings name.

mod fault;
mod help;
mod parse;
mod registry;
mod sources;
mod tokens;
mod units;

#[cfg(test)]
mod tests;

pub use fault::{Fault, Faults, Name, Origin};
pub use help::{command, markdown, process_sources};
pub use registry::{Built, GROUPS, Group, Kind, Said, Setting};
pub use sources::{File, Sources, read_file};
pub use tokens::Token;
pub use units::HostPort;

use ipnet::IpNet;
use serde::Serialize;
use sluice_dataplane::MaxMemory;
use sluice_shared_store::RedisSettings;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of one node, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this node.
    pub name: String,
    /// Its folder.
    pub data: PathBuf,
    /// Where it stands.
    pub zone: Option<String>,
    /// Its free labels.
    pub labels: BTreeMap<String, String>,
    /// It will not come back: it never votes.
    pub ephemeral: bool,
    /// Threads that serve traffic.
    pub workers: NonZeroUsize,
    /// The first members by name, this node among them; empty unless it is to form a cluster of several.
    pub initial: BTreeMap<String, HostPort>,
    /// Members to enter by; empty unless it is to join.
    pub join: Vec<HostPort>,
    /// The secret of the members; there whenever `initial` or `join` name another node.
    pub cluster_token: Option<Token>,
    /// A token that the admin API takes.
    pub admin_token: Option<Token>,
    /// Where it listens.
    pub listen: Listen,
    /// Where others reach it.
    pub advertise: Advertise,
    /// What holds on every connection.
    pub edge: Edge,
    /// The Redis that the nodes count in.
    pub redis: Option<RedisSettings>,
    /// Keys that it may be asked about for the first time in one second.
    pub new_keys: u32,
}

/// `listen`. Port 0 lets the system choose.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Listeners for traffic: those called `public` first, then the named ones. No address is there twice.
    pub traffic: Vec<Listener>,
    /// The admin API.
    pub admin: SocketAddr,
    /// The link between nodes.
    pub peer: SocketAddr,
}

/// A listener for traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// As gateways name it in `listen`.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// `advertise`: what was said; `None` only where the listen address will do (see [`Settings::reached_by_peers_at`]).
#[derive(Debug, Clone, Default)]
pub struct Advertise {
    /// For the link.
    pub peer: Option<HostPort>,
    /// For the admin API.
    pub admin: Option<HostPort>,
}

/// `edge`.
#[derive(Debug, Clone)]
pub struct Edge {
    /// HTTP/2 with prior knowledge.
    pub h2c: bool,
    /// Accepting goes on this long after /readyz turned.
    pub drain_delay: Duration,
    /// Then requests have this long to end.
    pub drain_timeout: Duration,
    /// Bytes of a request target.
    pub max_uri: usize,
    /// Bytes of a request head.
    pub max_header_bytes: usize,
    /// Fields of a request head.
    pub max_headers: usize,
    /// For a request's head.
    pub header_timeout: Duration,
    /// Between bytes of a request's body.
    pub body_idle: Duration,
    /// Bytes a second of a request's body; 0 for any.
    pub min_rate: u64,
    /// For a client that takes nothing of its answer.
    pub write_stall: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Connections of one listener.
    pub max_connections: usize,
    /// Connections of one client address.
    pub per_address: Option<u32>,
    /// Peers that speak the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
    /// Resident memory.
    pub max_memory: MaxMemory,
}

/// One line of `sluice status --settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The key.
    pub name: &'static str,
    /// The value in the form of a flag; `(not shown)` for a secret.
    pub value: String,
    /// `flag`, `environment`, `file` or `default`.
    pub origin: &'static str,
    /// The flag, the variable, or the file with its line.
    pub from: Option<String>,
}

/// Settings that were read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Them.
    pub settings: Settings,
    /// All of them for people, with their origins, without secrets.
    pub rows: Vec<Row>,
    /// What works but deserves a word: to be logged at the start.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Settings out of these sources.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
        parse::load(sources)
    }

    /// What the other members are told, once the link listens on `bound`.
    #[must_use]
    pub fn reached_by_peers_at(&self, bound: SocketAddr) -> HostPort {
        self.advertise.peer.clone().unwrap_or_else(|| bound.into())
    }

    /// What people and members are told, once the admin API listens on `bound`.
    #[must_use]
    pub fn admin_reached_at(&self, bound: SocketAddr) -> HostPort {
        self.advertise.admin.clone().unwrap_or_else(|| bound.into())
    }
}
