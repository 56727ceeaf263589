//! What a breaker is doing, and why: as nodes are told it and as people see it.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a breaker does now, as this node acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All attempts pass.
    Closed,
    /// All attempts pass; too few nodes see what would open it. `mine`: this node sees it, and does without the targets
    /// that fail it. Otherwise others see it.
    Suspect {
        /// See there.
        mine: bool,
    },
    /// No attempt passes.
    Open {
        /// Until it may be probed. Nothing left: it waits for a request.
        left: Duration,
    },
    /// One node probes. `mine`: this one does, and its next attempts are the probes.
    HalfOpen {
        /// See there.
        mine: bool,
    },
    /// Somebody said so, whatever the evidence is.
    Forced {
        /// No attempt passes; otherwise all do.
        open: bool,
    },
}

/// A state's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`State::Closed`].
    Closed,
    /// [`State::Suspect`].
    Suspect,
    /// [`State::Open`].
    Open,
    /// [`State::HalfOpen`].
    HalfOpen,
    /// [`State::Forced`], open.
    ForcedOpen,
    /// [`State::Forced`], closed.
    ForcedClosed,
}

/// Attempts that ended, and how. Of a window, or of what is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// All that say something of the service.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were slow, failed or not.
    pub slow: u32,
    /// The longest run of failures.
    pub run: u32,
}

/// By what it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The share of attempts that failed.
    FailureRate,
    /// The share of attempts that were slow.
    SlowRate,
    /// Failures in a row.
    Consecutive,
    /// A probe's end.
    Probe,
    /// A probe that did not end in time, or said nothing.
    NoResult,
}

/// Why a breaker opened: who tipped it, on what evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The node whose evidence tipped it.
    pub node: String,
    /// By what.
    pub by: Criterion,
    /// The id of the request that was the last failure of that evidence; of one that was slow, where none failed.
    pub request_id: Option<String>,
    /// What each node had counted within the window, by name.
    pub counts: Vec<(String, Counts)>,
}

// === impl State ===

impl State {
    /// Its name.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Closed => Kind::Closed,
            Self::Suspect { .. } => Kind::Suspect,
            Self::Open { .. } => Kind::Open,
            Self::HalfOpen { .. } => Kind::HalfOpen,
            Self::Forced { open: true } => Kind::ForcedOpen,
            Self::Forced { open: false } => Kind::ForcedClosed,
        }
    }
}

impl Kind {
    /// As metrics, events and the API write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Suspect => "suspect",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
        }
    }
}

impl Criterion {
    /// As the API writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FailureRate => "failure_rate",
            Self::SlowRate => "slow_rate",
            Self::Consecutive => "consecutive",
            Self::Probe => "probe",
            Self::NoResult => "no_result",
        }
    }
}

// === impl Counts ===

impl Counts {
    /// Both together; of runs the longer.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(more.calls),
            failed: self.failed.saturating_add(more.failed),
            slow: self.slow.saturating_add(more.slow),
            run: self.run.max(more.run),
        }
    }

    /// Whether they say nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
