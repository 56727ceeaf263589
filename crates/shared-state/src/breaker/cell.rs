//! A breaker as a node's workers see it: asked before each attempt, told after it, without a lock.

use super::rule::BreakerRule;
use crate::time::Moment;
use std::sync::Arc;
use std::time::Duration;

/// One breaker on one node.
#[derive(Debug)]
pub struct BreakerCell {
    rule: Arc<BreakerRule>,
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Pass,
    /// It may, as a probe: once, without a retry. Its end must be told with this number.
    Probe(u64),
    /// It may not, for about so long.
    Refuse(Duration),
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It had an answer that is no failure.
    Success,
    /// It failed, in a way that counts.
    Failure,
    /// It says nothing of the service: the client left, its body broke off, it was never sent.
    Nothing,
}

/// What an attempt tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// How it ended.
    pub verdict: Verdict,
    /// Whether its head came later than `slow_after`, or had not come by then when the client left.
    pub slow: bool,
    /// Of a probe, its number.
    pub probe: Option<u64>,
    /// Trace and span of the attempt, where it has any; zeros otherwise.
    pub trace: ([u8; 16], [u8; 8]),
}

// === impl BreakerCell ===

impl BreakerCell {
    /// A closed breaker without evidence.
    #[must_use]
    pub fn new(rule: Arc<BreakerRule>) -> Self {
        Self { rule }
    }

    /// What it is.
    #[must_use]
    pub fn rule(&self) -> &Arc<BreakerRule> {
        &self.rule
    }

    /// Whether an attempt may be made now. One atomic load where it is closed.
    #[must_use]
    pub fn admit(&self, now: Moment) -> Admission {
        let _ = now;
        Admission::Pass
    }

    /// An attempt has ended.
    pub fn record(&self, now: Moment, evidence: Evidence) {
        let _ = (now, evidence);
    }
}
