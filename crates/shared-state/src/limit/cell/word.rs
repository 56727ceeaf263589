//! The atomic numbers that workers take from, and how they hear of a new plan.
//!
//! A number carries the generation of the plan by which it may be read. Who publishes puts the plan in its place first,
//! then turns the number to it; in between a worker finds the two unlike and looks again. So nothing is ever taken by a
//! plan that holds no more, and what was left at the moment of the change is known exactly.

use super::Take;
use crate::limit::demand::Asked;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often a worker looks again before it says that it does not know.
pub(super) const PATIENCE: usize = 200;

/// The bits of the number itself.
const BITS: u32 = 48;
/// The greatest number that has a place.
pub(super) const MOST: u64 = (1 << BITS) - 1;

/// A number of one plan.
#[derive(Debug, Default)]
pub(super) struct Word(AtomicU64);

/// What came of changing a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It was this, and is now that.
    Made(u64, u64),
    /// It must not be.
    Refused(u64),
    /// It is of another plan.
    Other,
}

/// What workers tell beside what they take: how much is asked for, and that somebody should look.
#[derive(Debug, Default)]
pub(super) struct Notes {
    asked: AtomicU64,
    nudged: AtomicBool,
}

// === impl Word ===

impl Word {
    /// Of the first plan.
    pub(super) fn new(number: u64) -> Self {
        Self(AtomicU64::new(number & MOST))
    }

    /// The number, where it is of this plan.
    pub(super) fn read(&self, generation: u16) -> Option<u64> {
        let word = self.0.load(Ordering::Acquire);
        (word >> BITS == u64::from(generation)).then_some(word & MOST)
    }

    /// Changes it, where it is of this plan and `to` agrees.
    pub(super) fn change(&self, generation: u16, to: impl Fn(u64) -> Option<u64>) -> Change {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if word >> BITS != u64::from(generation) {
                return Change::Other;
            }
            let was = word & MOST;
            let Some(new) = to(was) else {
                return Change::Refused(was);
            };
            let next = (word & !MOST) | new.min(MOST);
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Change::Made(was, new),
                Err(now) => word = now,
            }
        }
    }

    /// Turns it to another plan, by what it is at that moment. Tells what it was.
    pub(super) fn turn(&self, generation: u16, to: impl Fn(u64) -> u64) -> u64 {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let next = (u64::from(generation) << BITS) | to(word & MOST).min(MOST);
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return word & MOST,
                Err(now) => word = now,
            }
        }
    }
}

// === impl Notes ===

impl Notes {
    /// So many tokens are asked for.
    pub(super) fn ask(&self, cost: u32) {
        self.asked.fetch_add(u64::from(cost), Ordering::Relaxed);
    }

    /// Whether nobody said yet that somebody should look.
    pub(super) fn nudge(&self) -> bool {
        !self.nudged.load(Ordering::Relaxed) && !self.nudged.swap(true, Ordering::Relaxed)
    }

    /// Takes, and counts what was asked for. The flag says that somebody should look.
    pub(super) fn take(&self, cost: u32, attempt: impl FnMut() -> Option<(Take, bool)>) -> (Take, bool) {
        let (take, nudge) = again(attempt).unwrap_or_else(|| (Take::Unknown, self.nudge()));
        // Who waits for the store is counted when it has answered.
        if take != Take::Unknown {
            self.ask(cost);
        }
        (take, nudge)
    }

    /// Looks what a [`take`](Self::take) would give.
    pub(super) fn peek(&self, cost: u32, attempt: impl FnMut() -> Option<Take>) -> Take {
        let found = again(attempt).unwrap_or(Take::Unknown);
        if let Take::Refused(_) = found {
            // Nobody will take it, and it was asked for all the same.
            self.ask(cost);
        }
        found
    }

    /// Somebody looks. Tells what was asked for since ever.
    pub(super) fn looked(&self) -> Asked {
        self.nudged.store(false, Ordering::Relaxed);
        Asked(self.asked.load(Ordering::Relaxed))
    }
}

/// Tries again as long as the plan and its number are unlike; None: they stayed so.
pub(super) fn again<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..PATIENCE {
        if let Some(done) = attempt() {
            return Some(done);
        }
        spin_loop();
    }
    None
}
