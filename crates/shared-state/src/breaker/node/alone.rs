//! A node without the store: it asks a ledger of its own, with the same numbers, which is forgotten when the store is back.

use super::super::ledger::Breaker;
use super::super::wire::{Ask, Call, Numbers, micros};
use super::shown::Change;
use super::{BreakerNode, Known, View, empty, part_of};
use crate::time::Moment;

/// A node by itself.
#[derive(Debug)]
pub(super) struct Local {
    breaker: Breaker,
    pub(super) known: Known,
    seq: u64,
}

// === impl BreakerNode ===

impl BreakerNode {
    /// A round without the store: the node's own ledger is asked.
    pub(in super::super) fn alone(&mut self, now: Moment, view: &View<'_>) -> Option<Change> {
        let numbers = Numbers::of(&self.cell.rule()).alone();
        let call = Call {
            from: view.from.clone(),
            live: 1,
            era: 1,
            chance: view.chance,
            asks: Vec::new(),
        };
        let time = now.0 / 1000;
        if self.local.is_none() {
            self.end_lease();
            let mut breaker = Breaker::default();
            let declare = Ask {
                epoch: 1,
                phase: self.shared.phase,
                left: micros(self.shared.until.since(now)),
                trips: self.shared.trips,
                ..empty(self.id.clone(), numbers)
            };
            let answer = breaker.serve(time, 1, &call, &declare);
            let mut known = Known::of(now, &answer.told, view.from);
            known.cause.clone_from(&self.shared.cause);
            self.local = Some(Box::new(Local { breaker, known, seq: 0 }));
            // Its own ledger knows nothing yet of what was told to the other.
            self.untold.add(part_of(now, &self.cell.rule()), self.carried);
            self.carried = self.own.sum();
        } else {
            self.untold.add(part_of(now, &self.cell.rule()), self.carried);
        }
        if self.forced.is_some() {
            return self.publish(now);
        }
        let report = self.report(now).unwrap_or_default();
        let mut local = self.local.take()?;
        local.seq += 1;
        let ask = Ask {
            epoch: local.known.epoch,
            seq: local.seq,
            counts: std::mem::take(&mut self.carried),
            request_id: self.request_id.clone().unwrap_or_default(),
            wish: std::mem::take(&mut self.wish),
            lease: report,
            ..empty(self.id.clone(), numbers)
        };
        let answer = local.breaker.serve(time, 1, &call, &ask);
        self.all = answer.all;
        let decided = answer.told.epoch != local.known.epoch;
        if decided || answer.told.revision != local.known.revision {
            local.known = Known::of(now, &answer.told, view.from);
        }
        self.local = Some(local);
        if decided {
            let pending = self.pending.take();
            self.begin_anew(now);
            self.pending = pending;
            self.end_lease();
        }
        self.use_lease(now, &answer, view);
        self.publish(now)
    }

    /// What this node saw while it was by itself becomes evidence of the present epoch.
    pub(super) fn bring_back(&mut self, now: Moment, local: &Local) {
        let mut untold = std::mem::take(&mut self.untold).sum().and(self.carried);
        if !self.shared.phase.passes() {
            self.begin_anew(now);
            return;
        }
        let mut request_id = self.request_id.take();
        if !local.known.phase.passes() {
            self.begin_anew(now);
            if let (Some(cause), true) = (&local.known.cause, untold.is_empty()) {
                untold = cause.counts.iter().fold(untold, |sum, (_, counts)| sum.and(*counts));
            }
            let cause = local.known.cause.as_ref();
            request_id = cause.and_then(|cause| cause.request_id.clone()).or(request_id);
        }
        self.carried = untold;
        self.request_id = request_id;
    }
}
