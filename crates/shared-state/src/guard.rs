//! The breaker around the store itself: when a node stops asking it, and when it asks again.
//!
//! One for each node and primary. The decision is the node's, once for all its requests: while the guard says no,
//! nobody waits for a store that does not answer.
//!
//! ```text
//!             three failures, one after the other            a check answered in time
//!   asked ──────────────────────────────────────────▶ away ────────────────────────────▶ asked
//!     │  a check after 440 ms without a reply,         │  a check after 0.1 s, then 0.2, 0.4, 0.4 …
//!     └──and at once after a failure                   └──after 30 s, where the last three times in use were short
//! ```
//!
//! Failures count one after the other: calls that travel together fail together, and are one failure. A store that
//! says no, as one that is full does, may still answer what asks for less: after a refusal only a check ends the row, since
//! it asks for all that calls need. A store that keeps coming and going would keep all counts of the cluster learning;
//! therefore a node that got it back three times within a minute, each time for less than [`SHORT`], leaves it alone for a
//! while.

use crate::time::Moment;
use std::time::Duration;

/// Failures in a row after which the store is not asked any more.
pub const FAILURES: u32 = 3;
/// Without a reply for so long the store is checked.
pub const HEARTBEAT: Duration = Duration::from_millis(440);
/// From the second failure on, until the next check.
pub const RETRY: Duration = Duration::from_millis(20);
/// From when it is away until the first check; each later one takes twice as long as the one before.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest time between two checks, before chance moves it.
pub const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// A time in use that is shorter is none to build on: the store was hardly done learning.
pub const SHORT: Duration = Duration::from_millis(1200);
/// Within which [`SHORTS`] short times in use are looked for.
pub const SHORTS_WITHIN: Duration = Duration::from_secs(60);
/// Short times in use after which the store is left alone.
pub const SHORTS: usize = 3;
/// For how long it is left alone.
pub const REST: Duration = Duration::from_secs(30);

/// Whether a store is asked. Pure: times and events come in, the answer is a state.
#[derive(Debug, Clone)]
pub struct Guard {
    asked: bool,
    /// Failures since the last reply in time.
    run: u32,
    /// One of them was a refusal.
    refused: bool,
    /// When the last failure that counted was noted.
    failed: Moment,
    /// When a reply last came in time; at first, when this began.
    heard: Moment,
    /// When it was taken into use again; nothing where it is the first time.
    back: Option<Moment>,
    /// Whether it was ever given up.
    gone: bool,
    /// The pause before the next check, while it is away.
    pause: Duration,
    /// When the next check is due, while it is away.
    next: Moment,
    /// When short times in use ended, the oldest first.
    shorts: [Option<Moment>; SHORTS],
}

/// What an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// From now on it is not asked.
    Away,
    /// From now on it is asked.
    Back,
}

// === impl Guard ===

impl Guard {
    /// Of a store that nobody has reached yet: it is checked at once, and asked once it answered.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            asked: false,
            run: 0,
            refused: false,
            failed: now,
            heard: now,
            back: None,
            gone: false,
            pause: FIRST_PAUSE,
            next: now,
            shorts: [None; SHORTS],
        }
    }

    /// Whether calls may be made.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked
    }

    /// A call was answered in time. While the store is away this changes nothing: a check has to succeed. Nor does it
    /// take back that another one was refused.
    pub fn answered(&mut self, now: Moment) {
        if self.asked {
            if !self.refused {
                self.run = 0;
            }
            self.heard = self.heard.max(now);
        }
    }

    /// A check was answered in time.
    pub fn checked(&mut self, now: Moment) -> Option<Turn> {
        self.refused = false;
        if self.asked {
            self.answered(now);
            return None;
        }
        self.asked = true;
        self.run = 0;
        self.heard = now;
        self.back = self.gone.then_some(now);
        self.pause = FIRST_PAUSE;
        Some(Turn::Back)
    }

    /// A call or a check was answered in time: it is not done. See [`failed`](Self::failed).
    pub fn refused(&mut self, sent: Moment, now: Moment, chance: u64) -> Option<Turn> {
        self.refused = true;
        self.failed(sent, now, chance)
    }

    /// A call or a check that was begun at `sent` was given up, or its connection ended. One that was begun before the
    /// last failure was noted is that same failure. `chance` are 64 random bits.
    pub fn failed(&mut self, sent: Moment, now: Moment, chance: u64) -> Option<Turn> {
        if self.asked {
            if self.run > 0 && sent < self.failed {
                return None;
            }
            self.run += 1;
            self.failed = now;
            if self.run < FAILURES {
                return None;
            }
            self.asked = false;
            self.gone = true;
            if self.back.is_some_and(|back| now.since(back) < SHORT) {
                self.shorts.rotate_left(1);
                self.shorts[SHORTS - 1] = Some(now);
            }
            self.put_off(now, chance);
            if self
                .shorts
                .iter()
                .all(|at| at.is_some_and(|at| now.since(at) < SHORTS_WITHIN))
            {
                self.shorts = [None; SHORTS];
                self.next = now + REST;
            }
            return Some(Turn::Away);
        }
        // A call that was still under way when the store was given up says nothing new.
        if sent >= self.next {
            self.put_off(now, chance);
        }
        None
    }

    /// When the store is to be checked, if nothing happens before. A check tells how it ended by
    /// [`checked`](Self::checked) or [`failed`](Self::failed).
    #[must_use]
    pub fn due(&self) -> Moment {
        match (self.asked, self.run) {
            (false, _) => self.next,
            (true, 0) => self.heard + HEARTBEAT,
            (true, 1) => self.failed,
            (true, _) => self.failed + RETRY,
        }
    }

    fn put_off(&mut self, now: Moment, chance: u64) {
        // Between a half and the whole of the pause, so that nodes do not come together.
        let half = self.pause / 2;
        let part = u32::try_from(chance >> 32).unwrap_or(u32::MAX);
        self.next = now + half + half.mul_f64(f64::from(part) / f64::from(u32::MAX));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests;
