//! What the store's replies mean.

use super::report::{Of, longer, shorter};
use super::{Flight, Machine, Told, chance};
use crate::ledger::sliding::{GIVEN_UP, Grant};
use crate::limit::cell::tokens::TokenCell;
use crate::limit::node::View;
use crate::time::Moment;
use std::time::Duration;

/// The longest that calls of several nodes for the next token are spread over.
const SPREAD: Duration = Duration::from_millis(200);

impl Machine {
    /// The store learns: the node lives on what it declared.
    pub(super) fn lives_on(&mut self, flight: Flight, rest: Duration) {
        let level = flight.level.unwrap_or(0);
        self.account.live_on(flight.sent + shorter(rest), level);
        self.report.speak();
        self.owes = true;
    }

    /// More is held. Returns what is for requests that wait.
    pub(super) fn granted(
        &mut self,
        now: Moment,
        flight: Flight,
        grant: &Grant,
        view: &View<'_>,
        cell: &TokenCell,
    ) -> u64 {
        self.report.heard();
        // Before the lease is prolonged: what has ended stays dead.
        self.expire(now, cell);
        if grant.fresh {
            self.report.charged();
        }
        if flight.level.is_some() {
            self.report.begins_anew();
        }
        if self.lease.of() == Of::Own {
            self.lease.settle(cell, &mut self.report);
            self.lease.belongs(Of::Lease);
        }
        self.account.end();
        self.report.speak();
        (self.owes, self.ack) = (false, self.seq);
        self.lease.ends = flight.sent + shorter(Duration::from_micros(grant.life));
        self.lease.add(grant.pieces.iter().map(|&(wait, tokens)| {
            let from = if wait == 0 {
                now
            } else {
                now + longer(Duration::from_micros(wait))
            };
            (from, tokens)
        }));
        if grant.over == 0 {
            // There was room for what was overdrawn: it is charged like any other token.
            self.overdrawn.retain(|(_, _, number)| *number > flight.overdrafts);
        }
        self.unused = 0;
        cell.instants(self.seq);
        if grant.instant > 0 {
            self.instant_at = now;
        }
        self.report.instant(now, grant.instant);
        let told = self.told(now, flight, grant, view);
        self.last = Some(told);
        self.publish(now, Some(view), cell);
        grant.instant
    }

    fn told(&self, now: Moment, flight: Flight, grant: &Grant, view: &View<'_>) -> Told {
        let horizon = Duration::from_micros(grant.horizon);
        let way = now.since(flight.sent);
        let early = (self.slot.min(horizon / 10)).max(4 * way).min(horizon / 2);
        let next = now + longer(Duration::from_micros(grant.next));
        let given_up = Duration::from_micros(GIVEN_UP);
        let (mut call, mut valid) = (now + horizon - early, now);
        if !grant.any {
            // Not all nodes at once.
            let spread = if grant.nodes > 1 {
                horizon.min(SPREAD)
            } else {
                Duration::ZERO
            };
            call = next.min(now + horizon) + spread.mul_f64(chance(view.chance));
            valid = call + given_up;
        } else if grant.lean {
            valid = call.max(flight.sent + horizon) + given_up;
        } else if !grant.more {
            valid = next.min(call + given_up);
        }
        Told {
            sent: flight.sent,
            horizon,
            call,
            valid,
            next,
            more: grant.more,
            lean: grant.lean,
            unit: flight.unit,
            tight: grant.tight,
            elsewhere: grant.free / grant.nodes.max(1),
            demand: flight.demand,
            quiet: flight.leaves,
        }
    }
}
