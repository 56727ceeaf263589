//! The store, whichever it is: what the engine of limits and that of breakers call.
//!
//! A call is one round trip at most, given up after [`CALL`]. It never waits for a store that is known to be away, and
//! it is made once: who calls makes what it says harmless when it is said twice, or heard late.
//!
//! ```text
//!   limits ──┐                    ┌─▶ Memory: the ledgers themselves, behind a lock of the process
//!            ├─▶ Backend ─────────┤
//!   breakers ┘   (one of two)     └─▶ Redis: partition ─▶ primary (guard, connection) ─▶ EVALSHA
//! ```

use crate::limits::{Stored, TokensOut};
use crate::memory::Memory;
use crate::redis::Redis;
use sluice_shared_state::breaker;
use sluice_shared_state::ledger::{From, Header, Request, Served};
use sluice_shared_state::{Algorithm, KeyId, Rule};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{broadcast, watch};

/// After which a call is given up.
pub(crate) const CALL: Duration = Duration::from_millis(20);

/// The most keys of one call.
pub(crate) const BATCH: usize = 32;

/// Messages of which a reader may be behind before it misses some and has to ask.
pub(crate) const NEWS: usize = 256;

/// The store of a node. Its tasks end when it is dropped.
#[derive(Debug)]
pub(crate) enum Backend {
    /// In this process.
    Memory(Memory),
    /// In Redis.
    Redis(Redis),
}

/// What one call may reach together: all keys of a partition are at one primary, and have one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Partition(pub(crate) u16);

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The store is known to be away: nothing was sent.
    #[error("the store is away")]
    Away,
    /// No reply in time, or the connection ended: it may have been done, or may still be.
    #[error("the store did not answer in time")]
    Lost,
    /// The store answered that it did not do it.
    #[error("the store refused: {0}")]
    Refused(String),
}

/// Whether a partition's primary is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is.
    Reached,
    /// It is not: all calls fail at once.
    Away {
        /// Since when.
        since: SystemTime,
        /// What is wrong, for people.
        why: Arc<str>,
    },
}

/// What is heard without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// A message on a partition's channel, as it was published.
    Message(Partition, Arc<[u8]>),
    /// From now on messages of this partition are heard; what was said before may have been missed.
    Heard(Partition),
    /// Messages of this partition are not heard any more.
    Unheard(Partition),
}

// === impl Partition ===

impl Partition {
    /// Where a key is kept, of so many partitions.
    pub(crate) fn of(key: KeyId, partitions: u16) -> Self {
        // A power of two, or one: the low bits of a keyed hash are as good as any.
        Self(u16::from_le_bytes([key.0[0], key.0[1]]) % partitions)
    }
}

// === impl Backend ===

impl Backend {
    /// How many partitions there are; at least 1.
    pub(crate) fn partitions(&self) -> u16 {
        match self {
            Self::Memory(_) => 1,
            Self::Redis(redis) => redis.partitions(),
        }
    }

    /// One round of limits: at most [`BATCH`] requests, all of this partition and all of limits that count alike. With
    /// none it is a heartbeat. Calls made at the same time travel together.
    ///
    /// # Errors
    ///
    /// [`CallError`]; the requests may or may not have been served.
    pub(crate) async fn limits(
        &self,
        partition: Partition,
        header: &Header,
        requests: &[Request],
    ) -> Result<Served, CallError> {
        debug_assert!(requests.len() <= BATCH, "a round is {BATCH} keys at most");
        match self {
            Self::Memory(memory) => Ok(memory.limits(header, requests)),
            Self::Redis(redis) => redis.limits(partition, header, requests).await,
        }
    }

    /// One count as the store has it; a whole one where it has none. Of nodes that hold tokens, `live` are named.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub(crate) async fn look(&self, key: KeyId, rule: &Rule, live: &[Arc<str>]) -> Result<Stored, CallError> {
        let looked = match self {
            Self::Memory(memory) => memory.look(key, rule),
            Self::Redis(redis) => redis.look(Partition::of(key, self.partitions()), key, rule).await?,
        };
        let out = looked.out.into_iter().map(|(node, tokens)| TokensOut {
            node: live.iter().find(|name| From::hash(name) == node).cloned(),
            tokens,
        });
        Ok(Stored {
            used: looked.used,
            left: looked.left,
            reset: looked.reset,
            out: out.collect(),
        })
    }

    /// Forgets what was spent of a count. Tells whether there was one.
    ///
    /// # Errors
    ///
    /// [`CallError`]; it may or may not have been done.
    pub(crate) async fn reset(&self, key: KeyId, rule: &Rule) -> Result<bool, CallError> {
        // What is under way is under way.
        if matches!(rule.algorithm, Algorithm::Concurrency { .. }) {
            return Ok(false);
        }
        match self {
            Self::Memory(memory) => Ok(memory.forget(key)),
            Self::Redis(redis) => redis.forget(Partition::of(key, self.partitions()), key).await,
        }
    }

    /// One call of breakers: all of them are in one partition.
    ///
    /// # Errors
    ///
    /// [`CallError`]; it may or may not have been done.
    pub(crate) async fn breakers(&self, home: Partition, call: &breaker::Call) -> Result<breaker::Reply, CallError> {
        match self {
            Self::Memory(memory) => Ok(memory.breakers(home, call)),
            Self::Redis(redis) => redis.breakers(home, call).await,
        }
    }

    /// What is published, from now on. Until [`News::Heard`] says otherwise, nothing is heard of a partition.
    pub(crate) fn news(&self) -> broadcast::Receiver<News> {
        match self {
            Self::Memory(memory) => memory.news(),
            Self::Redis(redis) => redis.news(),
        }
    }

    /// Whether a partition's primary is asked, now and later.
    pub(crate) fn reach(&self, partition: Partition) -> watch::Receiver<Reach> {
        match self {
            Self::Memory(memory) => memory.reach(),
            Self::Redis(redis) => redis.reach(partition),
        }
    }
}
