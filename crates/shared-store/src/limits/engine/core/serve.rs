//! What requests that wait at a key are told.

use super::{Core, Waiter};
use crate::backend::{CALL, Partition};
use crate::limits::Source;
use crate::limits::charge::Charge;
use crate::limits::engine::Settled;
use sluice_shared_state::limit::{Cell, Refusal, Take, Token};
use sluice_shared_state::{Moment, OnFailure};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Requests that may be held back for one key.
const DELAYED: usize = 1024;

impl Core {
    /// Tells those who wait at a key what is known now; `instant` tokens are the store's own gift to them. With `last`
    /// nobody waits on.
    pub(super) fn serve(&mut self, now: Moment, place: u32, mut instant: u64, last: bool) {
        let Some(entry) = self.table.get(place) else { return };
        if entry.waiting.is_empty() && instant == 0 {
            return;
        }
        let (cell, rule) = (Arc::clone(entry.node.cell()), Arc::clone(entry.node.rule()));
        let mut waiting = std::mem::take(&mut entry.waiting);
        let mut nudged = false;
        waiting.retain(|waiter| {
            if !self.requests.waits(waiter.request) {
                return false;
            }
            let cost = u64::from(waiter.cost);
            let settled = if instant >= cost {
                instant -= cost;
                let charge = Charge::new(self.common.clock, &cell, cell.instant(now, waiter.cost));
                Settled::Granted(charge, Source::Store)
            } else {
                let (take, nudge) = cell.take_again(now, waiter.cost);
                nudged |= nudge;
                match take {
                    Take::Taken(token) => self.granted(&cell, token),
                    Take::Refused(Refusal::Spent(next)) if now + next <= waiter.patient_until && !next.is_zero() => {
                        return !self.delay(now, place, *waiter, next);
                    }
                    Take::Refused(why) => Settled::Refused(why, self.by(place)),
                    Take::Unknown if !last => return true,
                    Take::Unknown => match rule.on_failure {
                        OnFailure::Open => Settled::Open,
                        OnFailure::Closed => Settled::Refused(Refusal::NoStore, Source::Local),
                        OnFailure::Local => Settled::Refused(Refusal::Spent(CALL), Source::Local),
                    },
                }
            };
            self.requests.settle(waiter.request, waiter.part, settled);
            false
        });
        if let Some(entry) = self.table.get(place) {
            // Most keys are cold, and keep no room for those who waited once.
            entry.waiting = if waiting.is_empty() { VecDeque::new() } else { waiting };
        }
        if instant > 0 {
            // Who wanted them is gone.
            let left = instant.try_into().unwrap_or(u32::MAX);
            if let Some(token) = cell.instant(now, left) {
                cell.give_back(now, token);
            }
        }
        if nudged {
            self.mark(place);
        }
    }

    /// Those who wait for tokens that were on their way.
    pub(super) fn serve_delayed(&mut self, now: Moment, place: u32) {
        while let Some(entry) = self.table.get(place)
            && let Some(&waiter) = entry.delayed.front()
        {
            let cell = Arc::clone(entry.node.cell());
            let settled = if !self.requests.waits(waiter.request) {
                None
            } else {
                match cell.take_again(now, waiter.cost).0 {
                    Take::Taken(token) => Some(self.granted(&cell, token)),
                    Take::Refused(Refusal::Spent(next)) if now + next <= waiter.patient_until && !next.is_zero() => {
                        return self.table.schedule(place, now + next);
                    }
                    Take::Refused(why) => Some(Settled::Refused(why, self.by(place))),
                    Take::Unknown => {
                        // The store has to be asked again.
                        let entry = self.table.get(place).map(|entry| &mut entry.waiting);
                        entry.into_iter().for_each(|waiting| waiting.push_back(waiter));
                        None
                    }
                }
            };
            if let Some(entry) = self.table.get(place) {
                entry.delayed.pop_front();
            }
            if let Some(settled) = settled {
                self.requests.settle(waiter.request, waiter.part, settled);
            }
        }
    }

    /// Holds a request back until its tokens come. Not where too many are held back: then it is refused.
    fn delay(&mut self, now: Moment, place: u32, waiter: Waiter, next: Duration) -> bool {
        let source = self.by(place);
        let Some(entry) = self.table.get(place) else {
            return false;
        };
        if entry.delayed.len() >= DELAYED {
            let settled = Settled::Refused(Refusal::Spent(next), source);
            self.requests.settle(waiter.request, waiter.part, settled);
            return true;
        }
        entry.delayed.push_back(waiter);
        self.table.schedule(place, now + next);
        true
    }

    fn granted(&self, cell: &Arc<Cell>, token: Token) -> Settled {
        let charge = Charge::new(self.common.clock, cell, Some(token));
        Settled::Granted(charge, token.source.into())
    }

    /// Who knows that a key is spent, when a request had to ask.
    pub(super) fn by(&mut self, place: u32) -> Source {
        let partition = self
            .table
            .get(place)
            .map_or(Partition::default(), |entry| entry.partition);
        match self.partitions[usize::from(partition.0)].reached {
            true => Source::Store,
            false => Source::Local,
        }
    }
}
