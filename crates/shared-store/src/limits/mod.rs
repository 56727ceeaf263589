//! Limits as workers ask for them.
//!
//! ```text
//!   worker ─ Limiter ─▶ the worker's own table ─▶ Cell: taken, or known to be spent; no lock, no wait
//!                │          └─ miss ─▶ the node's table of cells
//!                └─ nobody knows ─▶ Waiting ◀── answer ── Engine (one task): KeyNodes, queues, timers
//!                                                            └── rounds of up to 32 keys ──▶ Backend
//! ```

mod charge;
mod collect;
mod engine;
mod handle;
mod known;
mod limiter;
mod sketch;
mod tally;
mod views;
mod waiting;

#[cfg(test)]
pub(crate) mod fixtures;

pub use charge::Held;
pub use handle::Limits;
pub use limiter::Limiter;
pub use views::{Here, KeyView, LimitSeen, RefusedKey, Stored, TokensOut, ViewError};
pub use waiting::Waiting;

use sluice_shared_state::{Algorithm, Rule, limit};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// One limit that a request has to pass.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Which.
    pub rule: &'a Arc<Rule>,
    /// The value of its key.
    pub value: &'a str,
    /// Tokens; at least 1, at most [`Rule::most`].
    pub cost: u32,
    /// How long the request may be held back instead of refused.
    pub patience: Duration,
    /// Counted, and never refused.
    pub dry_run: bool,
}

/// What became of a request at its limits.
#[derive(Debug)]
pub enum Decision {
    /// Known at once.
    Ready(Verdict),
    /// Known soon: 20 ms at most where the store is asked, the patience where a token is on its way.
    Wait(Waiting),
}

/// All limits of a request have had their say. Where one refuses, none was charged.
#[derive(Debug, Default)]
pub struct Verdict {
    /// One for each [`Ask`], in their order.
    pub standings: SmallVec<[Standing; 2]>,
    /// Places of concurrency limits, given back when dropped. Empty where the request was refused.
    pub held: Held,
}

/// How one limit stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the request may pass.
    pub outcome: Outcome,
    /// What this node can still say is left; never above the limit.
    pub remaining: u64,
    /// Whole seconds: to the next token where nothing is left, else to the end of the window (a bucket: until it is
    /// full). At least 1.
    pub reset: u64,
    /// Who knew.
    pub source: Source,
}

/// What a limit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Passed, and charged.
    Admitted,
    /// It would have passed; another limit refused, and it was not charged.
    Spared,
    /// Spent: come again after `reset`.
    Spent,
    /// The store is away, and the limit is `closed` then.
    NoStore,
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A lease of this node.
    Lease,
    /// The store, for this request.
    Store,
    /// This node by itself, while the store is away or learns.
    Local,
    /// Nobody: the store is away, and the limit is `open` then.
    Open,
}

// === impl Verdict ===

impl Verdict {
    /// The first limit that refuses, by its place among the asks. A dry run refuses nothing.
    #[must_use]
    pub fn refused(&self, asks: &[Ask<'_>]) -> Option<usize> {
        self.standings
            .iter()
            .zip(asks)
            .position(|(standing, ask)| !ask.dry_run && standing.outcome.refuses())
    }
}

// === impl Standing ===

impl Standing {
    /// Of a limit of which this node knows nothing.
    fn unknown(outcome: Outcome, source: Source) -> Self {
        Self {
            outcome,
            remaining: 0,
            reset: 1,
            source,
        }
    }
}

/// Whole seconds, rounded up, at least 1.
fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

// === impl Outcome ===

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admitted, Self::Spared, Self::Spent, Self::NoStore];

    /// Whether it keeps a request from passing.
    #[must_use]
    pub fn refuses(self) -> bool {
        matches!(self, Self::Spent | Self::NoStore)
    }

    /// As metrics and views name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Spared => "spared",
            Self::Spent => "spent",
            Self::NoStore => "no_store",
        }
    }
}

// === impl Source ===

impl Source {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lease, Self::Store, Self::Local, Self::Open];

    /// As metrics and views name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Store => "store",
            Self::Local => "local",
            Self::Open => "open",
        }
    }
}

impl From<limit::Source> for Source {
    fn from(source: limit::Source) -> Self {
        match source {
            limit::Source::Lease => Self::Lease,
            limit::Source::Local => Self::Local,
            limit::Source::Open => Self::Open,
            limit::Source::Store => Self::Store,
        }
    }
}

/// Whether its tokens are places, which come back when the request ends.
fn holds(rule: &Rule) -> bool {
    matches!(rule.algorithm, Algorithm::Concurrency { .. })
}
