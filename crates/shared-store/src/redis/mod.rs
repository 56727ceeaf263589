//! The store in Redis.
//!
//! **How a script is called.** `KEYS[1]` is the partition's epoch, `KEYS[2]` and on the keys that it is about, all with
//! the partition's hash tag. `ARGV[1]` is the run id that the server told when this node connected to it, `ARGV[2]` what
//! is said, in MessagePack; `ARGV[3]` is there in tests only: the time in microseconds, in place of the server's. The
//! reply is one string of MessagePack.
//!
//! ```text
//!   Redis ─▶ Parts: partition ─▶ Primary (guard, one connection, its keeper)
//!               ▲
//!               └─ set once (one Redis, or what Sentinels say), or by Cluster as it learns who has which slots
//! ```

mod cluster;
mod live;
mod names;
mod parts;
mod primary;
mod script;
mod scripts;
mod sentinel;
mod slot;
mod stream;
mod trouble;

pub(crate) use names::Names;
pub(crate) use script::Script;
#[cfg(test)]
pub(crate) use scripts::BREAKER;

use crate::backend::{CALL, CallError, News, Partition, Reach};
use crate::clock::Clock;
use crate::config::RedisSettings;
use crate::store::StoreState;
use crate::store_metrics::StoreMetrics;
use cluster::{Cluster, Primaries};
use live::{Call, Door};
use parts::Parts;
use primary::{Called, Primary, Whereabouts};
use scripts::script;
use sentinel::Sentinels;
use sluice_shared_state::breaker;
use sluice_shared_state::ledger::look::{self, Looked};
use sluice_shared_state::ledger::{self, Header, Request, Served, wire};
use sluice_shared_state::{KeyId, Rule};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// People wait longer for an answer than requests do.
const PEOPLE: Duration = Duration::from_millis(500);
/// Partitions in a Redis Cluster. Elsewhere there is one.
const CLUSTER_PARTITIONS: u16 = 64;

/// The store in Redis. Its tasks and connections end when it is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    cluster: bool,
    parts: Arc<Parts>,
    primaries: Arc<Primaries>,
    metrics: Arc<StoreMetrics>,
    /// What tells how it is, and what follows Sentinels or a Cluster.
    tasks: Vec<AbortHandle>,
}

// === impl Redis ===

impl Redis {
    /// Starts to connect. Needs a tokio runtime. There must be a url. How the store is, `state` is told.
    pub(crate) fn start(
        settings: &RedisSettings,
        cluster: &str,
        clock: Clock,
        metrics: Arc<StoreMetrics>,
        state: watch::Sender<StoreState>,
    ) -> Self {
        let count = if settings.cluster { CLUSTER_PARTITIONS } else { 1 };
        let parts = Arc::new(Parts::new(Names::new(cluster), count));
        let primaries = Arc::new(Primaries::default());
        let door = Door::new(settings, clock);
        let (urls, first) = (settings.urls.clone(), settings.urls[0].clone());
        let single = |at: Whereabouts| {
            let (parts, metrics) = (Arc::clone(&parts), Arc::clone(&metrics));
            let primary = Primary::start(door.clone(), at, Arc::clone(&parts), metrics, Arc::new(Notify::new()));
            primary.set_mine(vec![Partition(0)]);
            parts.give(Partition(0), Some(Arc::clone(&primary)));
            primaries.add(first.clone(), Arc::clone(&primary));
            primary
        };
        let follower = match &settings.sentinel {
            _ if settings.cluster => {
                let (parts, primaries) = (Arc::clone(&parts), Arc::clone(&primaries));
                let cluster = Cluster::new(urls, door.clone(), parts, Arc::clone(&metrics), primaries);
                Some(tokio::spawn(cluster.follow()).abort_handle())
            }
            Some(name) => {
                let primary = single(Whereabouts::Sentinel(Sentinels::new(urls.clone(), name.clone())));
                let follow = Sentinels::follow(urls, name.clone(), door.clone(), primary);
                Some(tokio::spawn(follow).abort_handle())
            }
            None => {
                single(Whereabouts::Fixed(first.clone()));
                None
            }
        };
        let teller = tokio::spawn(tell(Arc::clone(&parts), Arc::clone(&primaries), state)).abort_handle();
        Self {
            cluster: settings.cluster,
            parts,
            primaries,
            metrics,
            tasks: follower.into_iter().chain([teller]).collect(),
        }
    }

    pub(crate) fn partitions(&self) -> u16 {
        self.parts.count()
    }

    /// Names of keys and channels.
    pub(crate) fn names(&self) -> &Names {
        self.parts.names()
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
        self.call_as(script.name, CALL, partition, script, keys, said).await
    }

    async fn call_as(
        &self,
        kind: &'static str,
        patience: Duration,
        partition: Partition,
        script: &'static Script,
        keys: &[String],
        said: &[u8],
    ) -> Result<Vec<u8>, CallError> {
        let Some(primary) = self.parts.primary(partition) else {
            return Err(CallError::Away);
        };
        let deadline = Instant::now() + patience;
        let call = Call {
            script,
            epoch: &self.names().epoch(partition),
            keys,
            said,
            asking: false,
        };
        let to = match primary.call(kind, &call, deadline).await? {
            Called::Answered(reply) => return Ok(reply),
            Called::Ask(to) => to,
        };
        let next = self.primaries.named(to, &primary);
        match next.call(kind, &Call { asking: true, ..call }, deadline).await? {
            Called::Answered(reply) => Ok(reply),
            Called::Ask(to) => Err(CallError::Refused(format!(
                "sent on to {to}, from one that it was sent to"
            ))),
        }
    }

    pub(crate) async fn limits(
        &self,
        partition: Partition,
        header: &Header,
        requests: &[Request],
    ) -> Result<Served, CallError> {
        // A heartbeat is a round of no calls: any script serves it.
        let of = requests.first().map_or(ledger::Script::Sliding, |request| {
            ledger::Script::of(&request.rule.algorithm)
        });
        let kind = if requests.is_empty() { "heartbeat" } else { of.name() };
        let keys: Vec<_> = requests
            .iter()
            .map(|request| self.names().limit(partition, request.key))
            .collect();
        let said = wire::said(header, requests);
        let answer = self.call_as(kind, CALL, partition, script(of), &keys, &said).await?;
        let served =
            wire::served(of, requests.len(), &answer).map_err(|garbled| CallError::Refused(garbled.to_string()))?;
        self.metrics.epoch(served.epoch);
        Ok(served)
    }

    /// One count, for people.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub(crate) async fn look(&self, partition: Partition, key: KeyId, rule: &Rule) -> Result<Looked, CallError> {
        let keys = [self.names().limit(partition, key)];
        let answer = self
            .call_as(scripts::LOOK.name, PEOPLE, partition, &scripts::LOOK, &keys, &[])
            .await?;
        look::read(rule, &answer).map_err(|garbled| CallError::Refused(garbled.to_string()))
    }

    /// Forgets a count. Tells whether there was one.
    ///
    /// # Errors
    ///
    /// [`CallError`]; it may or may not have been done.
    pub(crate) async fn forget(&self, partition: Partition, key: KeyId) -> Result<bool, CallError> {
        let keys = [self.names().limit(partition, key)];
        let answer = self
            .call_as(scripts::FORGET.name, PEOPLE, partition, &scripts::FORGET, &keys, &[])
            .await?;
        let forgotten: u64 =
            rmp_serde::from_slice(&answer).map_err(|garbled| CallError::Refused(garbled.to_string()))?;
        Ok(forgotten > 0)
    }

    /// One call of breakers.
    ///
    /// # Errors
    ///
    /// [`CallError`]; it may or may not have been done.
    pub(crate) async fn breakers(&self, home: Partition, call: &breaker::Call) -> Result<breaker::Reply, CallError> {
        let names = self.names();
        let mut keys = vec![names.breakers(home)];
        keys.extend(call.asks.iter().map(|ask| names.breaker(home, ask.key.as_str())));
        let said = call.encode(&names.channel(home), self.sharded());
        let reply = self.call(home, &scripts::BREAKER, &keys, &said).await?;
        breaker::Reply::decode(&reply).map_err(|unreadable| CallError::Refused(unreadable.to_string()))
    }

    pub(crate) fn news(&self) -> broadcast::Receiver<News> {
        self.parts.news()
    }

    pub(crate) fn reach(&self, partition: Partition) -> watch::Receiver<Reach> {
        self.parts.reach(partition)
    }
}

/// Tells how the store is whenever that changes.
async fn tell(parts: Arc<Parts>, primaries: Arc<Primaries>, to: watch::Sender<StoreState>) {
    let mut changes = parts.changes();
    loop {
        let doubt = primaries.all().iter().find_map(|primary| primary.doubt());
        to.send_if_modified(|now| {
            let next = state(&parts, doubt, now);
            let differs = next != *now;
            *now = next;
            differs
        });
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// The state of the whole, after it was `before`.
fn state(parts: &Parts, doubt: Option<Arc<str>>, before: &StoreState) -> StoreState {
    if let Some((since, why)) = parts.away() {
        let why = why.to_string();
        return StoreState::Away { since, why };
    }
    match (doubt, before) {
        (None, _) => StoreState::Reached,
        (Some(doubt), StoreState::Doubted { since, why }) if **why == *doubt => StoreState::Doubted {
            since: *since,
            why: why.clone(),
        },
        (Some(doubt), _) => StoreState::Doubted {
            since: SystemTime::now(),
            why: doubt.to_string(),
        },
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for primary in self.primaries.all() {
            primary.end();
        }
        // Primaries hold the partitions, and these the primaries.
        for partition in self.parts.all() {
            self.parts.give(partition, None);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
