//! One key's conversation with the store: one call at a time, each numbered, and what clocks differ in.

use super::node::{Said, View};
use crate::ledger::Call;
use crate::time::Moment;
use std::time::Duration;

/// What the state of a conversation is.
#[derive(Debug, Clone, Default)]
pub(super) struct Talk {
    /// Of the last call.
    seq: u64,
    /// Of the last call whose reply held.
    ack: u64,
    /// When the call was sent that has neither a reply nor was given up.
    flight: Option<Moment>,
    /// When the last call was sent.
    last: Moment,
    /// The epoch of the last reply that held.
    epoch: u64,
    /// The node went on by itself since then.
    local: bool,
}

// === impl Talk ===

impl Talk {
    /// Whether a call is under way.
    pub(super) fn busy(&self) -> bool {
        self.flight.is_some()
    }

    /// Whether the store has ever been told of the key.
    pub(super) fn begun(&self) -> bool {
        self.seq > 0
    }

    /// When the last call was sent.
    pub(super) fn last(&self) -> Moment {
        self.last
    }

    /// The node goes on by itself.
    pub(super) fn alone(&mut self) {
        self.local = true;
    }

    /// Whether it did, and the store has not heard so.
    pub(super) fn was_alone(&self) -> bool {
        self.local
    }

    /// Whether the store has to be told what the node knows: it is in another epoch, or the node went on by itself.
    pub(super) fn owes(&self, view: &View<'_>) -> bool {
        self.local || (self.ack > 0 && self.epoch != view.epoch)
    }

    /// The numbers of the next call: its own, and that of the one whose reply held last.
    pub(super) fn begin(&mut self, now: Moment) -> (u64, u64) {
        self.seq += 1;
        (self.flight, self.last) = (Some(now), now);
        (self.seq, self.ack)
    }

    /// The call that was begun.
    pub(super) fn say(&self, view: &View<'_>, call: Call) -> Said {
        Said {
            epoch: view.epoch,
            local: self.local,
            call,
        }
    }

    /// The call under way is over. Tells when it was sent.
    pub(super) fn end(&mut self) -> Option<Moment> {
        self.flight.take()
    }

    /// Its reply holds.
    pub(super) fn held(&mut self, view: &View<'_>) {
        (self.ack, self.epoch, self.local) = (self.seq, view.epoch, false);
    }
}

/// A duration by whichever clock, at its longest by this one: clocks' rates differ by a thousandth at most.
pub(super) fn at_most(duration: Duration) -> Duration {
    duration.saturating_add(duration / 1000)
}

/// The same, at its shortest.
pub(super) fn at_least(duration: Duration) -> Duration {
    duration - duration / 1000
}

/// Microseconds, as the store tells them.
pub(super) fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// Some part of a duration, by chance.
pub(super) fn some_of(duration: Duration, view: &View<'_>) -> Duration {
    let chance = (view.chance >> 32) as u32;
    duration.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// When the next call should come, where the store said `horizon` in a reply to a call that was sent so.
pub(super) fn next_call(sent: Moment, now: Moment, horizon: Duration, view: &View<'_>) -> Moment {
    let early = (4 * view.round_trip).min(horizon / 2);
    (sent + (horizon - early)).max(now + Duration::from_millis(1))
}
