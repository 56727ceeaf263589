//! When the store is to be called, and what it is told.

use super::{Flight, LOW, Machine, Told, chance};
use crate::ledger;
use crate::ledger::sliding::{Call, Declared, GIVEN_UP, WORTH_A_LEASE};
use crate::limit::cell::demand::Demand;
use crate::limit::cell::tokens::TokenCell;
use crate::limit::node::{Said, View, Waiters};
use crate::time::Moment;
use std::time::Duration;

impl Machine {
    /// Which call to make now, if any.
    pub(super) fn call_due(
        &mut self,
        now: Moment,
        asked: bool,
        waiters: Waiters,
        view: &View<'_>,
        cell: &TokenCell,
    ) -> Option<Said> {
        if !view.reached {
            return None;
        }
        if self.owes && !self.account.is_learning(now) {
            return Some(self.declare(now, waiters, view, cell));
        }
        if self.account.is_alone() {
            return Some(self.say(now, waiters, false, cell));
        }
        if self.account.is_learning(now) {
            return None;
        }
        if self.unused > 0 {
            // Others may have them.
            return Some(self.say(now, waiters, false, cell));
        }
        let known = self
            .last
            .is_some_and(|last| now < last.valid && !last.more && last.unit <= 1);
        if waiters.requests > 0 || (asked && !known) {
            return Some(self.say(now, waiters, false, cell));
        }
        let last = self.last.filter(|last| !last.quiet)?;
        let (demand, since) = (cell.demand(), now.since(last.sent));
        if now.since(demand.last()) >= self.idle(demand) {
            if now < self.lease.ends && (self.lease.held() > 0 || !self.report.is_empty()) {
                self.lease.give_back(now, cell, &mut self.report);
                let said = self.say(now, waiters, true, cell);
                self.publish(now, Some(view), cell);
                return Some(said);
            }
            return None;
        }
        let rate = demand.rate(now);
        let worth_it = self.lease.held() > 0 || last.lean || rate * last.horizon.as_secs_f64() >= WORTH_A_LEASE;
        let more = last.more
            && since > Duration::from_millis(2)
            && !self.lease.has_future(now)
            && self.lease.held() as f64 <= demand.quick(now) * LOW;
        let (much, soonest) = last.rising();
        let rising = rate > much && now > soonest;
        if worth_it && (now >= last.call || more || rising) {
            return Some(self.say(now, waiters, false, cell));
        }
        let excess = self.excess(now, &last, rate);
        if excess >= 1 {
            self.lease.give_back_far(now, excess, cell, &mut self.report);
            let said = self.say(now, waiters, false, cell);
            self.publish(now, Some(view), cell);
            return Some(said);
        }
        None
    }

    /// Far more than this traffic will use, where others may need it.
    fn excess(&self, now: Moment, last: &Told, rate: f64) -> u64 {
        if !last.tight || !self.lease.has_future(now) {
            return 0;
        }
        let rest = last
            .call
            .since(now)
            .as_secs_f64()
            .max(0.05 * self.window.as_secs_f64().min(1.0));
        let excess = self.lease.held() as f64 - 1.5 * rate * rest;
        if excess > 0.03 * self.limit as f64 {
            excess as u64
        } else {
            0
        }
    }

    /// After which silence a key is taken to be idle: twelve times what is usual between two requests.
    fn idle(&self, demand: &Demand) -> Duration {
        let usual = demand.rate(demand.last());
        let longest = self.window.mul_f64(0.43).min(Duration::from_millis(800));
        let usual = Duration::try_from_secs_f64(12.0 / usual.max(1e-3)).unwrap_or(longest);
        usual.max((3 * self.slot).min(longest)).min(longest)
    }

    /// A call, as it stands.
    pub(super) fn say(&mut self, now: Moment, waiters: Waiters, leaves: bool, cell: &TokenCell) -> Said {
        if waiters.requests >= 4 {
            let waited = now.since(waiters.since).as_secs_f64().max(2e-4);
            cell.demand().at_least(0.5 * waiters.cost as f64 / waited);
        }
        let demand = if leaves { 0.0 } else { cell.demand().rate(now) };
        let (first, stream) = self.report.tell(now);
        self.send(
            now,
            None,
            leaves,
            Call {
                seq: 0,
                ack: self.ack,
                first,
                stream,
                demand,
                waiting: waiters.cost,
                unit: u64::from(waiters.unit.max(1)),
                declare: None,
                unused: self.unused,
            },
        )
    }

    /// A call that tells all.
    fn declare(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, cell: &TokenCell) -> Said {
        // What is told is exact.
        self.expire(now, cell);
        self.lease.settle(cell, &mut self.report);
        let level = if self.account.is_own(now) {
            let share = self.share(view);
            self.account.cap(now, share)
        } else {
            // Who lived on a level stays on it.
            let reserved = self.account.reserved_level(now);
            reserved.unwrap_or_else(|| self.level(now, true))
        };
        self.report.begins_anew();
        let (held, own) = (self.lease.held(), self.report.own(now));
        let spent = self.report.declare(now);
        self.account.end_plan();
        self.publish(now, Some(view), cell);
        self.epoch = view.epoch;
        let declare = Declared {
            spent,
            held,
            reserve: level.max(own + held),
        };
        let demand = cell.demand().rate(now);
        self.send(
            now,
            Some(level),
            false,
            Call {
                seq: 0,
                ack: self.ack,
                first: 0,
                stream: Vec::new(),
                demand,
                waiting: waiters.cost,
                unit: u64::from(waiters.unit.max(1)),
                declare: Some(declare),
                unused: 0,
            },
        )
    }

    fn send(&mut self, now: Moment, level: Option<u64>, leaves: bool, mut call: Call) -> Said {
        self.seq += 1;
        call.seq = self.seq;
        self.flight = Some(Flight {
            sent: now,
            level,
            leaves,
            demand: call.demand,
            unit: call.unit,
            overdrafts: self.overdrafts,
            void: false,
        });
        Said {
            epoch: self.epoch,
            local: self.account.is_alone(),
            call: ledger::Call::Sliding(call),
        }
    }

    /// When to look again.
    pub(super) fn next(&self, now: Moment, view: &View<'_>, cell: &TokenCell) -> Option<Moment> {
        let mut next: Option<Moment> = None;
        let mut at = |when: Moment| next = Some(next.map_or(when, |next| next.min(when)));
        let held = self.lease.held();
        if held > 0 && now < self.lease.ends {
            at(self.lease.ends);
        }
        if held > 0 || !self.report.is_empty() {
            at(now + cell.reach());
        }
        if let Some(when) = self.account.due(now) {
            at(when);
        }
        // Who was given one has decided by then whether to use it.
        let decided = self.instant_at + Duration::from_micros(GIVEN_UP);
        if decided > now {
            at(decided);
        }
        if let Some((when, ..)) = self.overdrawn.front() {
            at(*when + self.overdraft_window());
        }
        if self.flight.is_some() {
            return next.map(|next| next.max(now));
        }
        if self.owes || self.account.is_alone() {
            if view.reached && !self.account.is_learning(now) {
                at(now);
            } else if let Some(until) = self.account.learning_until(now) {
                // Not all nodes at once.
                at(until + Duration::from_millis(20).mul_f64(chance(view.chance)));
            }
            return next.map(|next| next.max(now));
        }
        if let Some(last) = self
            .last
            .filter(|last| !last.quiet && self.account.learning_until(now).is_none())
        {
            let demand = cell.demand();
            let idle = demand.last() + self.idle(demand);
            if idle <= now {
                // All went back, or nothing was held.
                return next.map(|next| next.max(now));
            }
            if held > 0 || last.lean {
                at(last.call);
            }
            if held > 0 || !self.report.is_empty() {
                at(idle);
            }
            if last.tight && self.lease.has_future(now) {
                at(now + Duration::from_millis(30).min(self.window / 33));
            }
        }
        next.map(|next| next.max(now))
    }

    /// It holds nothing, has nothing to tell, and nothing that it would have to declare.
    pub(super) fn is_idle(&mut self, now: Moment, cell: &TokenCell) -> bool {
        self.report.forget(now);
        let demand = cell.demand();
        // What is known, if only that it is spent, is of use while requests come.
        let quiet = now.since(demand.last()) >= self.idle(demand) && self.last.is_none_or(|last| now >= last.valid);
        quiet
            && self.lease.held() == 0
            && self.report.is_empty()
            && self.report.is_forgotten()
            && self.flight.is_none()
            // What the store has set aside for this node nobody gets before it has declared what became of it.
            && !self.owes
            && !self.account.is_own(now)
    }
}
