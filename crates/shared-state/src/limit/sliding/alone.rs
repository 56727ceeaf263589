//! What the node lives on without the store.

use super::Machine;
use crate::broken::{Broken, broken};
use crate::limit::alone::share;
use crate::limit::cell::tokens::TokenCell;
use crate::limit::node::View;
use crate::time::Moment;

impl Machine {
    /// The store is away, and somebody asked: the node goes on by itself.
    pub(super) fn go_alone(&mut self, now: Moment, view: &View<'_>, cell: &TokenCell) {
        // Who lived on a level stays on it.
        let level = self.account.learning_level(now);
        let level = level.unwrap_or_else(|| self.level(now, false));
        self.account.go_alone(view.away.min(now), level);
        if let Some(flight) = &mut self.flight {
            flight.void = true;
        }
        self.report.silence();
        self.publish(now, Some(view), cell);
    }

    /// What stays this node's own when every lease of the cluster has ended: these sum to the limit at most. `told`: the
    /// store knows already that the node goes by it.
    pub(super) fn level(&mut self, now: Moment, told: bool) -> u64 {
        let since = self.account.count(now, told);
        if broken(Broken::LevelCountsAll) {
            return self.report.own(now) + self.lease.held();
        }
        // What is held, and what lapsed, is charged when its lease ends.
        let held = if self.lease.ends >= since { self.lease.held() } else { 0 };
        let rest = held + self.report.lapsed_since(since);
        self.account.keep(rest, self.report.ever());
        self.report.own_since(since) + rest
    }

    pub(super) fn share(&self, view: &View<'_>) -> u64 {
        share(self.limit, self.key, view)
    }
}
