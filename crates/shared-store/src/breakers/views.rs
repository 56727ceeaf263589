//! Breakers as people see them.

use sluice_shared_state::BreakerKey;
use sluice_shared_state::breaker::{Cause, Counts, Kind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Somebody's word on a breaker, which goes before all evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// No attempt passes; otherwise all do.
    pub open: bool,
    /// Until when.
    pub until: SystemTime,
    /// Who said so.
    pub who: String,
    /// And why.
    pub why: String,
}

/// A breaker as people see it, on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerView {
    /// Whose it is.
    pub key: BreakerKey,
    /// What it does.
    pub state: Kind,
    /// Since when this node knows.
    pub since: SystemTime,
    /// The number of the decision: the same on all nodes.
    pub epoch: u64,
    /// Whether the cluster decides. Otherwise this node by itself, because it does not reach the store.
    pub shared: bool,
    /// Why it opened last, until it is closed: which node, on what evidence.
    pub cause: Option<Arc<Cause>>,
    /// Of an open one: when it may be probed.
    pub next_probe: Option<Duration>,
    /// The nodes that suspect, or the one that probes.
    pub by: Vec<String>,
    /// Somebody's word, and whose.
    pub forced: Option<Forced>,
    /// What this node counted within the window.
    pub own: Counts,
    /// What all nodes counted within the window, as last told; of its own, where it is alone.
    pub all: Counts,
    /// Attempts that this node refused since it started.
    pub refused: u64,
}

/// A breaker did something else from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// Whose.
    pub key: BreakerKey,
    /// What it did.
    pub from: Kind,
    /// What it does.
    pub to: Kind,
    /// The number of the decision.
    pub epoch: u64,
    /// When this node began to act on it.
    pub at: SystemTime,
    /// Whether the cluster decided.
    pub shared: bool,
    /// Of one that opened: why.
    pub cause: Option<Arc<Cause>>,
}

/// A breaker's route as logs and metrics write it; empty where it is of the whole upstream.
pub(super) fn route(key: &BreakerKey) -> String {
    match &key.route {
        Some((gateway, route)) => format!("{gateway}/{route}"),
        None => String::new(),
    }
}
