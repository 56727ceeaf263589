//! What workers may take from now on.

use super::report::{Of, longer};
use super::{LOW, Machine};
use crate::ledger::sliding::GIVEN_UP;
use crate::limit::cell::Source;
use crate::limit::cell::tokens::{Otherwise, Plan, TokenCell};
use crate::limit::node::View;
use crate::rule::{Mode, OnFailure};
use crate::time::Moment;
use std::time::Duration;

/// All nodes' overdrafts together, as a part of the limit: 1/20.
const OVERDRAFT: u64 = 20;

impl Machine {
    /// Tells workers what they may take.
    pub(super) fn publish(&mut self, now: Moment, view: Option<&View<'_>>, cell: &TokenCell) {
        let leased = self.lease.held() > 0;
        if self.account.is_own(now) && !leased {
            self.publish_own(now, view, cell);
            return;
        }
        if self.lease.of() == Of::Own {
            self.lease.settle(cell, &mut self.report);
            self.lease.belongs(Of::Lease);
        }
        if !self.account.is_own(now) {
            self.account.end_plan();
        }
        let curve = self.lease.curve(now, cell, &mut self.report);
        let overdraft = self.overdraft(view);
        let mut plan = Plan::unknown(self.limit, self.window);
        (plan.pieces, plan.ends) = (curve, self.lease.ends);
        plan.comes_back = self.overdraft_window() + Duration::from_micros(GIVEN_UP);
        let waits = self.mode == Mode::Exact;
        plan.otherwise = match self.last {
            // It lives on its level once the lease has ended.
            _ if self.account.is_own(now) => self.without(now, self.lease.ends),
            Some(last) => Otherwise::Ask {
                spent_until: if last.more { now } else { last.valid },
                overdraft,
                waits,
            },
            None => Otherwise::Ask {
                spent_until: now,
                overdraft,
                waits,
            },
        };
        if let Some(last) = self.last {
            plan.next = last.next;
            if !self.account.is_own(now) {
                plan.unit = u32::try_from(last.unit).unwrap_or(u32::MAX);
            }
            plan.elsewhere = last.elsewhere;
            (plan.rising, plan.rising_from) = last.rising();
            // Rounded down: it is a matter of milliseconds.
            plan.low = last.more.then_some((cell.demand().quick(now) * LOW) as u64);
        }
        cell.publish(plan);
    }

    /// What holds beyond the node's own account while the store is away, and while it learns.
    fn without(&self, now: Moment, until: Moment) -> Otherwise {
        match self.on_failure {
            OnFailure::Open => Otherwise::Open,
            OnFailure::Closed => Otherwise::Closed,
            OnFailure::Local => Otherwise::Ask {
                spent_until: until.max(now),
                overdraft: self.beyond,
                waits: self.mode == Mode::Exact,
            },
        }
    }

    /// The own account: what was spent comes back a window later.
    fn publish_own(&mut self, now: Moment, view: Option<&View<'_>>, cell: &TokenCell) {
        self.lease.settle(cell, &mut self.report);
        self.lease.belongs(Of::Own);
        let share = view.map_or(0, |view| self.share(view));
        let cap = self.account.cap(now, share);
        let mut plan = Plan::unknown(self.limit, self.window);
        let own = self.report.own(now);
        let (pieces, ends, next) = self
            .account
            .plan(now, (cap, own), self.report.ever(), self.report.comes_back());
        if !self.account.is_alone() || self.on_failure == OnFailure::Local {
            plan.pieces = pieces;
        }
        plan.source = Source::Local;
        plan.ends = ends;
        plan.next = next;
        plan.comes_back = self.overdraft_window();
        plan.otherwise = self.without(now, ends);
        cell.publish(plan);
    }

    pub(super) fn overdraft_comes_back(&self, now: Moment) -> bool {
        self.overdrawn
            .front()
            .is_some_and(|(when, ..)| *when + self.overdraft_window() <= now)
    }

    pub(super) fn overdraft_window(&self) -> Duration {
        longer(self.window + self.slot)
    }

    /// How far requests may go beyond tokens, as a count of all that ever did.
    fn overdraft(&self, view: Option<&View<'_>>) -> u64 {
        if self.mode != Mode::Fast {
            return 0;
        }
        let nodes = view.map_or(u64::MAX, |view| view.live.len().max(1) as u64);
        let allowed = (self.limit / OVERDRAFT / nodes).max(1);
        let recent: u64 = self.overdrawn.iter().map(|(_, tokens, _)| tokens).sum();
        (self.beyond + allowed).saturating_sub(recent)
    }
}
