//! Places, as workers take them and give them back.

use super::word::Notes;
use super::{Beyond, Refusal, Source, Take, Token};
use crate::limit::demand::Asked;
use crate::rule::{Mode, Rule};
use crate::time::Moment;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// When a place may have come free of which nobody knows better.
const SOON: Duration = Duration::from_secs(1);

/// Places that the node has, and how many are taken: both in one number, so that neither changes behind the other's
/// back.
#[derive(Debug)]
pub struct PermitCell {
    plan: ArcSwap<Plan>,
    /// Places in the upper half, taken ones in the lower. More may be taken than there are: while the store is away and
    /// the limit open, where some were overdrawn, and after places were given up that the limit no longer has.
    word: AtomicU64,
    /// The most that were taken at once since somebody looked.
    peak: AtomicU32,
    notes: Notes,
}

/// What holds until the next plan.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::limit) struct Plan {
    /// Before when places may be taken.
    pub(in crate::limit) until: Moment,
    /// Whose leave it is.
    pub(in crate::limit) source: Source,
    /// How many may be taken beyond those that the node has.
    pub(in crate::limit) over: u32,
    /// What is answered where no place is free.
    pub(in crate::limit) beyond: Beyond,
    /// Requests may wait for the store; else what is not known is refused.
    pub(in crate::limit) waits: bool,
    /// What others have left for this node.
    pub(in crate::limit) free: u64,
}

/// What a node has of a concurrency limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) struct Places {
    /// Places.
    pub(in crate::limit) has: u32,
    /// Taken.
    pub(in crate::limit) used: u32,
}

// === impl PermitCell ===

impl PermitCell {
    /// No place, and nothing is known. Where no request may wait, one may be overdrawn.
    #[must_use]
    pub fn new(rule: &Rule) -> Self {
        let fast = rule.mode == Mode::Fast;
        Self {
            plan: ArcSwap::from_pointee(Plan {
                waits: !fast,
                over: u32::from(fast),
                ..Plan::default()
            }),
            word: AtomicU64::new(0),
            peak: AtomicU32::new(0),
            notes: Notes::default(),
        }
    }

    /// See [`Cell::take`](super::Cell::take).
    pub fn take(&self, now: Moment, cost: u32) -> (Take, bool) {
        let plan = self.plan.load();
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let places = Places::of(word);
            let (take, nudge) = plan.judge(now, places, cost);
            let Take::Taken(_) = take else {
                // Who waits for the store is counted when it has answered.
                if take != Take::Unknown {
                    self.notes.ask(cost);
                }
                return (take, nudge && self.notes.nudge());
            };
            // An overflow would need 2³² requests under way.
            let used = places.used.saturating_add(cost);
            let next = Places { used, ..places }.word();
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    self.notes.ask(cost);
                    self.peak.fetch_max(used, Ordering::Relaxed);
                    return (take, nudge && self.notes.nudge());
                }
                Err(now) => word = now,
            }
        }
    }

    /// See [`Cell::peek`](super::Cell::peek).
    #[must_use]
    pub fn peek(&self, now: Moment, cost: u32) -> Take {
        let places = Places::of(self.word.load(Ordering::Acquire));
        let found = self.plan.load().judge(now, places, cost).0;
        if let Take::Refused(_) = found {
            // Nobody will take it, and it was asked for all the same.
            self.notes.ask(cost);
        }
        found
    }

    /// See [`Cell::give_back`](super::Cell::give_back).
    pub fn give_back(&self, _: Moment, token: Token) {
        self.change(|places| Places {
            used: places.used.saturating_sub(token.cost),
            ..places
        });
    }

    /// See [`Cell::instant`](super::Cell::instant).
    #[must_use]
    pub fn instant(&self, now: Moment, cost: u32) -> Token {
        Token {
            cost,
            source: Source::Store,
            generation: 0,
            taken: now,
        }
    }

    /// See [`Cell::standing`](super::Cell::standing).
    #[must_use]
    pub fn standing(&self, _: Moment) -> (u64, Duration) {
        let places = self.places();
        (
            u64::from(places.has.saturating_sub(places.used)) + self.plan.load().free,
            SOON,
        )
    }

    /// Somebody looks at it. Tells what was asked for since ever, and the most that were taken at once since the last
    /// time.
    pub(in crate::limit) fn looked(&self) -> (Asked, u32) {
        let used = self.places().used;
        (self.notes.looked(), self.peak.swap(used, Ordering::Relaxed).max(used))
    }

    /// What there is now.
    pub(in crate::limit) fn places(&self) -> Places {
        Places::of(self.word.load(Ordering::Acquire))
    }

    /// Another plan.
    pub(in crate::limit) fn publish(&self, plan: Plan) {
        self.plan.store(Arc::new(plan));
    }

    /// See [`Cell::forget`](super::Cell::forget). Places that are in use stay so.
    pub(super) fn forget(&self) {
        self.publish(Plan::default());
    }

    /// Changes what there is, by what there is at that moment. Tells what there is then.
    pub(in crate::limit) fn change(&self, to: impl Fn(Places) -> Places) -> Places {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let next = to(Places::of(word));
            match self
                .word
                .compare_exchange_weak(word, next.word(), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return next,
                Err(now) => word = now,
            }
        }
    }
}

// === impl Places ===

impl Places {
    fn of(word: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of a number")]
        Self {
            has: (word >> 32) as u32,
            used: word as u32,
        }
    }

    fn word(self) -> u64 {
        u64::from(self.has) << 32 | u64::from(self.used)
    }
}

// === impl Plan ===

impl Plan {
    // What comes of taking so many, and whether somebody should look.
    fn judge(&self, now: Moment, places: Places, cost: u32) -> (Take, bool) {
        let token = |source| {
            Take::Taken(Token {
                cost,
                source,
                generation: 0,
                taken: now,
            })
        };
        let within = |over: u32| u64::from(places.used) + u64::from(cost) <= u64::from(places.has) + u64::from(over);
        if now < self.until && within(0) {
            return (token(self.source), false);
        }
        match self.beyond {
            Beyond::Open => (token(Source::Open), false),
            Beyond::Closed => (Take::Refused(Refusal::NoStore), false),
            Beyond::Spent { until } if now < until => (Take::Refused(Refusal::Spent(SOON)), false),
            _ if self.over > 0 && within(self.over) => (token(Source::Local), true),
            _ if self.waits => (Take::Unknown, true),
            _ => (Take::Refused(Refusal::Spent(SOON)), true),
        }
    }
}

impl Default for Plan {
    /// No place may be taken, and the store is to be asked.
    fn default() -> Self {
        Self {
            until: Moment(0),
            source: Source::Lease,
            over: 0,
            beyond: Beyond::Ask,
            waits: true,
            free: 0,
        }
    }
}
