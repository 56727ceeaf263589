//! When the store is to be called, and what it is told.

use super::{Machine, PAUSE, REMEMBER};
use crate::ledger;
use crate::ledger::share::{floor, real};
use crate::ledger::window::{Call, Told};
use crate::limit::node::{Said, View, Waiters};
use crate::limit::talk::at_most;
use crate::time::Moment;
use std::time::Duration;

impl Machine {
    pub(super) fn due(&self, now: Moment, waiters: Waiters, view: &View<'_>) -> bool {
        if waiters.requests > 0 {
            return true;
        }
        if self.talk.last() + PAUSE > now {
            return false;
        }
        if self.returns || (self.talk.owes(view) && self.used() > 0) {
            return true;
        }
        if let Some(alone) = self.alone {
            // A store that is back has to hear of it, though nobody asks: until it does, it gives to others what this node
            // grants itself. One that learns has to know of each window before it begins.
            return alone.learns.is_none() || self.untold();
        }
        let busy = self.demand.rate() * self.horizon.as_secs_f64() >= 4.0;
        let wants = busy && now >= self.spent;
        if now >= self.next && (self.holds() || wants) {
            return true;
        }
        // The first pieces of the next window are fetched before it opens.
        if busy
            && self
                .ahead()
                .is_some_and(|ahead| ahead <= now && self.talk.last() < ahead)
        {
            return true;
        }
        let held = self.places[self.present].map_or(0, |present| present.held);
        // Where nobody may wait, what comes next must be there before it is asked for.
        if self.fast && self.asked && held == 0 && now >= self.spent {
            return true;
        }
        wants && self.free > 0 && held < self.low(view.round_trip)
    }

    // The store learns, and has not heard of a window that the node will live on.
    fn untold(&self) -> bool {
        let learns = self.alone.is_some_and(|alone| alone.learns.is_some());
        learns
            && self
                .places
                .iter()
                .flatten()
                .any(|window| window.held > 0 && window.name > self.heard)
    }

    // When the next window has to be asked for.
    fn ahead(&self) -> Option<Moment> {
        self.places[self.present].map(|present| present.closes - self.horizon / 2)
    }

    // A burst is over, or nobody asks any more: what is held goes back.
    pub(super) fn returning(&self, now: Moment) -> bool {
        let idle = self.demand.idle(self.horizon / 14, self.horizon);
        self.alone.is_none() && self.holds() && !self.talk.busy() && self.demand.quiet(now) >= idle
    }

    // What is far more than will be used goes back with the next call.
    pub(super) fn trim(&mut self) {
        let needs = 1.5 * self.demand.rate() * self.horizon.as_secs_f64() + real(self.limit) / 32.0 + 1.0;
        for window in self.places.iter_mut().flatten() {
            window.held = window.held.min(floor(needs));
        }
    }

    pub(super) fn low(&self, round_trip: Duration) -> u64 {
        floor(self.demand.rate() * (4 * round_trip + Duration::from_millis(1)).as_secs_f64())
    }

    pub(super) fn say(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, leaving: bool) -> Said {
        let (seq, _) = self.talk.begin(now);
        let order = [self.present, 1 - self.present];
        // What comes after a window without a name has none either.
        let known = order.iter().filter_map(|place| self.places[*place]);
        let known = known.enumerate().filter(|(at, window)| *at == 0 || window.name != 0);
        let told = known
            .map(|(_, window)| window)
            .filter(|window| window.used + window.held > 0)
            .map(|window| Told(window.name, window.used, window.held))
            .collect::<Vec<_>>();
        self.told = told.iter().map(|told| told.0).max().unwrap_or(0);
        (self.waited, self.returns) = (waiters.cost, false);
        let waiting = if self.fast && !leaving {
            waiters.cost.max(2)
        } else {
            waiters.cost
        };
        let call = Call {
            seq,
            demand: if leaving { 0.0 } else { self.demand.rate() },
            waiting,
            unit: u64::from(waiters.unit.max(1)).min(waiters.cost),
            told,
        };
        self.talk.say(view, ledger::Call::Window(call))
    }

    pub(super) fn next_look(&self, now: Moment) -> Option<Moment> {
        if self.talk.busy() {
            return None;
        }
        let present = self.places[self.present];
        let mut next = present.map(|present| present.closes);
        if self.returns {
            return Some(now + PAUSE);
        }
        let mut sooner = |moment: Moment| next = Some(next.map_or(moment, |next| next.min(moment)));
        if now < self.settled {
            sooner(self.settled);
        }
        if let Some(alone) = self.alone {
            alone.learns.into_iter().for_each(&mut sooner);
            sooner(alone.since + at_most(self.notice));
            if self.untold() {
                sooner(now + PAUSE);
            }
        } else if self.holds() {
            sooner(self.next.min(self.lease));
            sooner(now + self.demand.idle(self.horizon / 14, self.horizon));
        }
        if let Some(other) = self.places[1 - self.present] {
            sooner(other.from);
        }
        if self.alone.is_none() && self.demand.rate() * self.horizon.as_secs_f64() >= 4.0 {
            self.ahead()
                .filter(|ahead| *ahead > now)
                .into_iter()
                .for_each(&mut sooner);
        }
        next.map(|next| next.max(now + Duration::from_millis(1)))
    }

    pub(super) fn is_idle(&self, now: Moment) -> bool {
        let remembered = self
            .places
            .iter()
            .flatten()
            .any(|window| window.used > 0 && now < window.closes);
        !self.talk.busy()
            && match self.alone {
                // What the store has set aside for this node nobody gets before it has said what became of it.
                Some(alone) => alone.learns.is_none(),
                None => !self.holds(),
            }
            && (!remembered || self.demand.quiet(now) > REMEMBER)
            && self.demand.quiet(now) > self.horizon
    }
}
