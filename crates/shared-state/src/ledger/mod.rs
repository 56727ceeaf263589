//! What the store does: pure functions of state, time and call. The store in memory runs them; the scripts of Redis do
//! the same, and tests hold the two against each other.

use crate::key::KeyId;
use crate::rule::Rule;
use crate::time::StoreTime;
use std::sync::Arc;
use std::time::Duration;

/// Which process calls. A process that starts again is another one: what the dead one held is not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct From {
    /// The node, as a hash of its name.
    pub node: u64,
    /// Random for each process.
    pub boot: u64,
}

/// What is common to the calls of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who calls.
    pub from: From,
    /// The epoch that the caller knows.
    pub epoch: u64,
    /// The caller went on by itself since its last reply: a new epoch begins.
    pub local: bool,
    /// Live nodes, and how many of these do not reach the store.
    pub live: u32,
    /// See there.
    pub without: u32,
}

/// One call, for one key.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose.
    pub key: KeyId,
    /// By which limit.
    pub rule: Arc<Rule>,
    /// What is said.
    pub call: Call,
}

/// What is said, by the limit's algorithm.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {}

/// What the store answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The epoch is another one: tell what you know.
    Epoch(u64),
    /// A later call of the same process was here before.
    Stale,
}

/// The answer to a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The present epoch.
    pub epoch: u64,
    /// How long it still learns what nodes did without it; nothing is granted until then.
    pub learning: Duration,
    /// One for each request, in their order.
    pub replies: Vec<Reply>,
}

/// All counts of a store.
#[derive(Debug, Default)]
pub struct Ledger {}

// === impl Ledger ===

impl Ledger {
    /// Serves one round. With no requests it is a heartbeat.
    pub fn serve(&mut self, now: StoreTime, header: &Header, requests: &[Request]) -> Served {
        let _ = (now, header, requests);
        Served {
            epoch: 0,
            learning: Duration::ZERO,
            replies: Vec::new(),
        }
    }

    /// Forgets what has run out.
    pub fn sweep(&mut self, now: StoreTime) {
        let _ = now;
    }
}
