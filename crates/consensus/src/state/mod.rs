//! What the cluster agrees on, and what a command does to it. Pure: no clock, no disk, no Raft.
//!
//! [`State::apply`] decides what a command changes (its [`Effect`]s), and [`State::absorb`] carries
//! that out. The disk keeps effects as records, and the state that readers see absorbs the same
//! effects once they are on disk: one decision, three places, no difference.
//!
//! The history keeps, of each version, what every changed part was before and after. So any version
//! in reach is the head walked back, and no full copy need be kept or written: of ten thousand
//! parts one is a stall of the disk, where the walk costs only what was changed since.

mod apply;
mod effect;
mod history;
mod image;
#[cfg(test)]
mod tests;
mod trial;
#[cfg(test)]
mod trial_tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(crate) use effect::Effect;
pub(crate) use history::{Delta, Revision};
pub use history::{HistoryEntry, HistoryLimits};
use serde::{Deserialize, Serialize};
pub use trial::{TrialAct, TrialRecord, TrialStep};

/// A part as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its text.
    pub value: Arc<str>,
    /// The version that changed it last: its ETag.
    pub version: u64,
}

/// Where the state stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The newest version; 0 in a new cluster.
    pub version: u64,
    /// The version that is to be live on all nodes.
    pub active: u64,
    /// A version that is live on trial, over `active`: always the newest one.
    pub trial: Option<Trial>,
    /// The feature level that the cluster was raised to; 1 in a new cluster.
    pub level: u32,
    /// The last entry of the log that was applied.
    pub applied: u64,
    /// When the newest version was proposed, by its leader's clock, in ms since the Unix epoch.
    pub at_ms: u64,
}

/// A version that is live on some nodes, or until a deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which one.
    pub version: u64,
    /// On these nodes alone, by name; `None`: on all.
    pub on: Option<Vec<String>>,
    /// When what [`Head::active`] has is to be live everywhere again, as a new version, unless
    /// confirmed: milliseconds since the Unix epoch by the leader's clock. The leader proposes it.
    pub confirm_by_ms: Option<u64>,
}

/// All that is agreed on. Clones share what they can.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) head: Head,
    pub(crate) parts: Arc<BTreeMap<Arc<str>, Entry>>,
    pub(crate) history: Arc<VecDeque<Arc<Revision>>>,
    pub(crate) history_bytes: u64,
    pub(crate) original: Option<Arc<str>>,
    pub(crate) records: Arc<BTreeMap<String, BTreeMap<String, Vec<u8>>>>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) limits: HistoryLimits,
}

/// The results of the last requests that bore an idempotency key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answers {
    /// By a number that rises with each, so that the oldest goes first.
    pub(crate) by_age: BTreeMap<u64, Answer>,
    pub(crate) by_key: BTreeMap<String, u64>,
}

/// The result of one such request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) key: String,
    pub(crate) digest: [u8; 32],
    pub(crate) version: u64,
    pub(crate) changed: Vec<Arc<str>>,
}

/// How many of them are kept.
pub(crate) const ANSWERS: usize = 1024;

// === impl Head ===

impl Default for Head {
    fn default() -> Self {
        Self {
            version: 0,
            active: 0,
            trial: None,
            level: 1,
            applied: 0,
            at_ms: 0,
        }
    }
}

impl Head {
    /// The version that the node of this name is to serve.
    #[must_use]
    pub fn live_on(&self, name: &str) -> u64 {
        match &self.trial {
            Some(trial) if trial.on.as_ref().is_none_or(|on| on.iter().any(|n| n == name)) => trial.version,
            _ => self.active,
        }
    }
}
