//! What a node shows of a breaker: to its workers, and to people.

use super::super::cell::{Gate, Suspicion};
use super::super::rule::BreakerKey;
use super::super::state::{Cause, Counts, Kind};
use super::super::wire::Phase;
use super::BreakerNode;
use crate::time::Moment;
use std::sync::Arc;

/// A breaker on this node as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Whose it is.
    pub key: BreakerKey,
    /// What it does.
    pub kind: Kind,
    /// Since when.
    pub since: Moment,
    /// The number of the decision.
    pub epoch: u64,
    /// Whether the cluster decides.
    pub shared: bool,
    /// Why it opened last.
    pub cause: Option<Arc<Cause>>,
    /// Of an open one: when it may be probed.
    pub next_probe: Option<Moment>,
    /// The nodes that suspect, or the one that probes.
    pub by: Vec<String>,
    /// What this node counted within the window.
    pub own: Counts,
    /// What all did.
    pub all: Counts,
    /// Attempts that this node refused.
    pub refused: u64,
}

/// A breaker does something else from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Whose.
    pub key: BreakerKey,
    /// What it did.
    pub from: Kind,
    /// What it does.
    pub to: Kind,
    /// The number of the decision.
    pub epoch: u64,
    /// Whether the cluster decided.
    pub shared: bool,
    /// Of one that opened: why.
    pub cause: Option<Arc<Cause>>,
}

// === impl BreakerNode ===

impl BreakerNode {
    /// Tells the workers. What changed by it.
    pub(super) fn publish(&mut self, now: Moment) -> Option<Change> {
        let known = self.current();
        let never = Moment(u64::MAX);
        let (gate, suspicion, counted_from) = match (self.forced, known.phase) {
            (Some(true), _) => (Gate::Forced, Suspicion::None, never),
            (Some(false), _) => (Gate::Pass, Suspicion::None, never),
            (None, Phase::Closed) => (Gate::Pass, Suspicion::None, self.counted_from),
            (None, Phase::Suspect) if known.suspect => (Gate::Pass, Suspicion::Mine, self.counted_from),
            (None, Phase::Suspect) => (Gate::Pass, Suspicion::Others, self.counted_from),
            (None, Phase::Open) => (Gate::Open(known.until), Suspicion::None, never),
            (None, Phase::HalfOpen) if self.lease.epoch == known.epoch => {
                (Gate::Mine(self.lease.begin_by), Suspicion::None, never)
            }
            (None, Phase::HalfOpen) => (Gate::Others(known.until), Suspicion::None, never),
        };
        self.cell.explain(known.cause.clone());
        self.cell.publish(gate, suspicion, counted_from);
        let kind = match self.forced {
            Some(true) => Kind::ForcedOpen,
            Some(false) => Kind::ForcedClosed,
            None => known.phase.kind(),
        };
        if kind == self.kind {
            return None;
        }
        let from = std::mem::replace(&mut self.kind, kind);
        self.since = now;
        Some(Change {
            key: self.key.clone(),
            from,
            to: kind,
            epoch: self.shared.epoch,
            shared: self.local.is_none(),
            cause: self.current().cause.clone().filter(|_| kind == Kind::Open),
        })
    }

    #[cfg(test)]
    pub(in super::super) fn glance(&self) -> (Kind, u64, bool) {
        (self.kind, self.shared.epoch, self.local.is_none())
    }

    /// As people see it.
    pub(in super::super) fn seen(&self) -> Seen {
        let known = self.current();
        Seen {
            key: self.key.clone(),
            kind: self.kind,
            since: self.since,
            epoch: self.shared.epoch,
            shared: self.local.is_none(),
            cause: known.cause.clone(),
            next_probe: (known.phase == Phase::Open).then_some(known.until),
            by: known.by.clone(),
            own: self.own.sum(),
            all: self.all,
            refused: self.cell.refused(),
        }
    }
}
