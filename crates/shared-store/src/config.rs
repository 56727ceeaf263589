//! What shared state is started with.

use crate::memory::SharedMemory;
use sluice_telemetry::Metrics;
use std::path::PathBuf;

/// What shared state is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// The cluster's name: keys of different clusters in one Redis do not meet.
    pub cluster: String,
    /// What the nodes of the cluster alone know, or nothing: salts the keys.
    pub secret: Vec<u8>,
    /// Where the state is.
    pub driver: Driver,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Keys that this node may ask the store about for the first time in one second.
    pub new_keys_per_second: u32,
    /// Keys that this node keeps at once.
    pub keys: usize,
}

/// Where the shared state is.
#[derive(Debug, Clone)]
pub enum Driver {
    /// In this process, shared by the nodes that hold clones of it.
    Memory(SharedMemory),
    /// In Redis.
    Redis(RedisSettings),
}

/// Where Redis is, and as whom.
#[derive(Debug, Clone, Default)]
pub struct RedisSettings {
    /// `redis://host:port` or `rediss://host:port`; of a Sentinel or a Cluster, several.
    pub urls: Vec<String>,
    /// Read at each connecting, so that it may change.
    pub password_file: Option<PathBuf>,
    /// An ACL user.
    pub user: Option<String>,
    /// The certificates that `rediss` trusts in place of the system's.
    pub ca: Option<PathBuf>,
    /// The name of the primary that the urls, which are Sentinels, know.
    pub sentinel: Option<String>,
    /// The urls are nodes of a Redis Cluster.
    pub cluster: bool,
}

// === impl Default of Config's numbers ===

impl Config {
    /// New keys a second, where no setting says otherwise.
    pub const NEW_KEYS_PER_SECOND: u32 = 20_000;
    /// Keys at once, where no setting says otherwise.
    pub const KEYS: usize = 100_000;

    /// A node that counts for itself alone, in memory.
    #[must_use]
    pub fn alone(node: &str, metrics: Metrics) -> Self {
        Self {
            node: node.to_owned(),
            cluster: String::new(),
            secret: Vec::new(),
            driver: Driver::Memory(SharedMemory::default()),
            metrics,
            new_keys_per_second: Self::NEW_KEYS_PER_SECOND,
            keys: Self::KEYS,
        }
    }
}
