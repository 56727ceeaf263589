//! The store in Redis.
//!
//! **How a script is called.** `KEYS[1]` is the partition's epoch, `KEYS[2]` and on the keys that it is about, all with
//! the partition's hash tag. `ARGV[1]` is the run id that the server told when this node connected to it, `ARGV[2]` what
//! is said, in MessagePack; `ARGV[3]` is there in tests only: the time in microseconds, in place of the server's. The
//! reply is one string of MessagePack.

mod names;
mod script;
mod scripts;

pub(crate) use names::Names;
pub(crate) use script::Script;

use scripts::script;

use crate::backend::{CallError, NEWS, News, Partition, Reach};
use crate::config::RedisSettings;
use sluice_shared_state::ledger::{self, Header, Request, Served, wire};
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// Partitions in a Redis Cluster. Elsewhere there is one.
const CLUSTER_PARTITIONS: u16 = 64;

/// The store in Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    names: Names,
    cluster: bool,
    news: broadcast::Sender<News>,
    reach: watch::Sender<Reach>,
}

// === impl Redis ===

impl Redis {
    pub(crate) fn new(settings: &RedisSettings, cluster: &str) -> Self {
        Self {
            names: Names::new(cluster),
            cluster: settings.cluster,
            news: broadcast::Sender::new(NEWS),
            reach: watch::Sender::new(Reach::Away {
                since: std::time::SystemTime::now(),
                why: Arc::from("not connected yet"),
            }),
        }
    }

    pub(crate) fn partitions(&self) -> u16 {
        if self.cluster { CLUSTER_PARTITIONS } else { 1 }
    }

    /// Names of keys and channels.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Whether channels are those of a shard: a script publishes by `SPUBLISH` then.
    pub(crate) fn sharded(&self) -> bool {
        self.cluster
    }

    /// Runs a script on keys of one partition: see the head of this module. `keys` are those after the epoch's.
    ///
    /// # Errors
    ///
    /// [`CallError`]; it may or may not have run, except where it says.
    pub(crate) async fn call(
        &self,
        partition: Partition,
        script: &'static Script,
        keys: &[String],
        said: &[u8],
    ) -> Result<Vec<u8>, CallError> {
        let _ = (partition, script, keys, said);
        Err(CallError::Away)
    }

    pub(crate) async fn limits(
        &self,
        partition: Partition,
        header: &Header,
        requests: &[Request],
    ) -> Result<Served, CallError> {
        // A heartbeat is a round of no calls: any script serves it.
        let kind = requests.first().map_or(ledger::Script::Sliding, |request| {
            ledger::Script::of(&request.rule.algorithm)
        });
        let keys: Vec<_> = requests
            .iter()
            .map(|request| self.names.limit(partition, request.key))
            .collect();
        let said = wire::said(header, requests);
        let answer = self.call(partition, script(kind), &keys, &said).await?;
        wire::served(kind, requests.len(), &answer).map_err(|garbled| CallError::Refused(garbled.to_string()))
    }

    pub(crate) fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    pub(crate) fn heard(&self, partition: Partition) -> bool {
        let _ = partition;
        false
    }

    pub(crate) fn reach(&self, partition: Partition) -> watch::Receiver<Reach> {
        let _ = partition;
        self.reach.subscribe()
    }
}
