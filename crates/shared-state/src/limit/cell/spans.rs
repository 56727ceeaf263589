//! Tokens of a fixed window and of the next one, as workers take them.

use super::word::{Change, Notes, Word, again};
use super::{Beyond, Refusal, Source, Take, Token};
use crate::limit::demand::Asked;
use crate::rule::{Mode, Rule};
use crate::time::Moment;
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Two windows have places, turn by turn.
pub(in crate::limit) const PLACES: usize = 2;

/// Tokens of two windows.
#[derive(Debug)]
pub struct SpanCell {
    plan: ArcSwap<Plan>,
    /// What is left of each window.
    left: [Word; PLACES],
    /// What may still be overdrawn.
    over: Word,
    /// What was admitted because the limit is open while the store is away; not yet fetched.
    open: AtomicU64,
    notes: Notes,
}

/// What holds until the next plan.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::limit) struct Plan {
    pub(in crate::limit) generation: u16,
    /// From when to before when the tokens of each place may be taken.
    pub(in crate::limit) spans: [(Moment, Moment); PLACES],
    /// Counts the windows that each place had: a token goes back to its window alone.
    pub(in crate::limit) windows: [u16; PLACES],
    /// Whose leave it is.
    pub(in crate::limit) source: Source,
    /// Somebody should look when less than this is left.
    pub(in crate::limit) low: u64,
    /// What is answered where nothing is left.
    pub(in crate::limit) beyond: Beyond,
    /// Requests may wait for the store; else what is not known is refused.
    pub(in crate::limit) waits: bool,
    /// The end of the present window, or when this node will have turned to the next one.
    pub(in crate::limit) closes: Moment,
    /// What others have left for this node.
    pub(in crate::limit) free: u64,
}

// === impl SpanCell ===

impl SpanCell {
    /// Empty: nothing is known. Where no request may wait, one token may be overdrawn.
    #[must_use]
    pub fn new(rule: &Rule) -> Self {
        let fast = rule.mode == Mode::Fast;
        Self {
            plan: ArcSwap::from_pointee(Plan {
                waits: !fast,
                ..Plan::default()
            }),
            left: [Word::default(), Word::default()],
            over: Word::new(u64::from(fast)),
            open: AtomicU64::new(0),
            notes: Notes::default(),
        }
    }

    /// See [`Cell::take`](super::Cell::take).
    pub fn take(&self, now: Moment, cost: u32) -> (Take, bool) {
        self.notes.take(cost, || self.try_take(now, cost))
    }

    /// See [`Cell::peek`](super::Cell::peek).
    #[must_use]
    pub fn peek(&self, now: Moment, cost: u32) -> Take {
        self.notes.peek(cost, || {
            let plan = self.plan.load();
            let place = plan.place(now);
            if let Some(place) = place
                && self.left[place].read(plan.generation)? >= u64::from(cost)
            {
                return Some(Take::Taken(plan.token(now, cost, place)));
            }
            Some(match plan.beyond(now) {
                Err(refusal) => Take::Refused(refusal),
                Ok(Source::Open) => Take::Taken(plan.token_of(now, Source::Open, cost)),
                Ok(_) if self.over.read(plan.generation)? >= u64::from(cost) => {
                    Take::Taken(plan.token_of(now, Source::Local, cost))
                }
                Ok(_) if plan.waits => Take::Unknown,
                Ok(_) => Take::Refused(Refusal::Spent(plan.wait(now))),
            })
        })
    }

    /// See [`Cell::give_back`](super::Cell::give_back). While a new plan is on its way for long it counts as used.
    pub fn give_back(&self, _: Moment, token: Token) {
        let (place, window) = (token.generation as usize % PLACES, token.generation >> 1);
        if token.source == Source::Open {
            let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                Some(open.saturating_sub(u64::from(token.cost)))
            });
            return;
        }
        let _ = again(|| {
            let plan = self.plan.load();
            if u32::from(plan.windows[place]) != window {
                return Some(());
            }
            match self.left[place].change(plan.generation, |left| Some(left + u64::from(token.cost))) {
                Change::Other => None,
                Change::Made(..) | Change::Refused(_) => Some(()),
            }
        });
    }

    /// See [`Cell::instant`](super::Cell::instant). None between two windows.
    #[must_use]
    pub fn instant(&self, now: Moment, cost: u32) -> Option<Token> {
        let plan = self.plan.load();
        let place = plan.place(now)?;
        Some(Token {
            source: Source::Store,
            ..plan.token(now, cost, place)
        })
    }

    /// See [`Cell::standing`](super::Cell::standing).
    #[must_use]
    pub fn standing(&self, now: Moment) -> (u64, Duration) {
        let plan = self.plan.load();
        let place = plan.place(now);
        let held = place
            .and_then(|place| self.left[place].read(plan.generation))
            .unwrap_or(0);
        (held + plan.free, plan.wait(now))
    }

    /// Somebody looks at it. Tells what was asked for since ever.
    pub(in crate::limit) fn looked(&self) -> Asked {
        self.notes.looked()
    }

    /// What was admitted openly since the last time.
    pub(in crate::limit) fn opened(&self) -> u64 {
        self.open.swap(0, Ordering::Relaxed)
    }

    /// What is left now of each window, and of what may be overdrawn.
    pub(in crate::limit) fn left(&self) -> ([u64; PLACES], u64) {
        let generation = self.plan.load().generation;
        // Only who publishes turns them, and that is the caller.
        let read = |word: &Word| word.read(generation).unwrap_or(0);
        ([read(&self.left[0]), read(&self.left[1])], read(&self.over))
    }

    /// Another plan, with so many tokens more or fewer (but never less than none) than are left at this moment. Tells
    /// what was left before.
    pub(in crate::limit) fn publish(
        &self,
        mut plan: Plan,
        left: impl Fn(usize, u64) -> u64,
        over: impl Fn(u64) -> u64,
    ) -> ([u64; PLACES], u64) {
        plan.generation = self.plan.load().generation.wrapping_add(1);
        let generation = plan.generation;
        self.plan.store(std::sync::Arc::new(plan));
        (
            [0, 1].map(|place| self.left[place].turn(generation, |was| left(place, was))),
            self.over.turn(generation, over),
        )
    }

    /// See [`Cell::forget`](super::Cell::forget).
    pub(super) fn forget(&self) {
        self.publish(Plan::default(), |_, _| 0, |_| 0);
    }

    fn try_take(&self, now: Moment, cost: u32) -> Option<(Take, bool)> {
        let plan = self.plan.load();
        let wanted = u64::from(cost);
        if let Some(place) = plan.place(now) {
            match self.left[place].change(plan.generation, |left| left.checked_sub(wanted)) {
                Change::Made(_, left) => {
                    let nudge = left < plan.low && self.notes.nudge();
                    return Some((Take::Taken(plan.token(now, cost, place)), nudge));
                }
                Change::Refused(_) => {}
                Change::Other => return None,
            }
        }
        Some(match plan.beyond(now) {
            Err(refusal) => (Take::Refused(refusal), false),
            Ok(Source::Open) => {
                self.open.fetch_add(wanted, Ordering::Relaxed);
                (Take::Taken(plan.token_of(now, Source::Open, cost)), false)
            }
            Ok(_) => match self.over.change(plan.generation, |left| left.checked_sub(wanted)) {
                Change::Made(..) => (Take::Taken(plan.token_of(now, Source::Local, cost)), self.notes.nudge()),
                Change::Refused(_) if plan.waits => (Take::Unknown, self.notes.nudge()),
                Change::Refused(_) => (Take::Refused(Refusal::Spent(plan.wait(now))), self.notes.nudge()),
                Change::Other => return None,
            },
        })
    }
}

// === impl Plan ===

impl Plan {
    fn place(&self, now: Moment) -> Option<usize> {
        self.spans.iter().position(|(from, until)| *from <= now && now < *until)
    }

    fn wait(&self, now: Moment) -> Duration {
        self.closes.since(now)
    }

    // Where nothing is left: why not, or by whose leave all the same. `Local`: what may be overdrawn, or the store is
    // to be asked.
    fn beyond(&self, now: Moment) -> Result<Source, Refusal> {
        match self.beyond {
            Beyond::Open => Ok(Source::Open),
            Beyond::Closed => Err(Refusal::NoStore),
            Beyond::Spent { until } if now < until => Err(Refusal::Spent(self.wait(now))),
            Beyond::Spent { .. } | Beyond::Ask => Ok(Source::Local),
        }
    }

    fn token(&self, taken: Moment, cost: u32, place: usize) -> Token {
        Token {
            cost,
            source: self.source,
            generation: u32::from(self.windows[place]) << 1 | u32::from(place == 1),
            taken,
        }
    }

    // Of no window: it goes back to none.
    fn token_of(&self, taken: Moment, source: Source, cost: u32) -> Token {
        Token {
            cost,
            source,
            generation: u32::MAX,
            taken,
        }
    }
}

impl Default for Plan {
    /// Nothing may be taken, and the store is to be asked.
    fn default() -> Self {
        Self {
            generation: 0,
            spans: [(Moment(0), Moment(0)); PLACES],
            windows: [0; PLACES],
            source: Source::Lease,
            low: 0,
            beyond: Beyond::Ask,
            waits: true,
            closes: Moment(0),
            free: 0,
        }
    }
}
