//! How one target stands on this node: read by all workers, changed by whoever learns something.
//!
//! A worker that is answered well reads one word and writes none. Moments are nanoseconds since the table was made.

use super::rule::{Active, Passive};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A moment, in nanoseconds since the table was made.
pub(crate) type At = u64;

/// One target of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Failures in a row.
    errors: AtomicU32,
    /// Until when it is ejected; in the past where it is not.
    until: AtomicU64,
    /// A [`Verdict`].
    verdict: AtomicU8,
    history: Mutex<History>,
}

/// What decides, and is looked at only then.
#[derive(Debug, Default)]
struct History {
    /// Ejections one soon after the other.
    times: u32,
    /// How long the last one was.
    lasted: u64,
    /// Checks in a row that were good, that were not.
    good: u32,
    bad: u32,
    /// When the last check began.
    asked: Option<At>,
}

/// What checks have found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// None came to an end yet, or there are none.
    Unknown,
    Healthy,
    Unhealthy,
}

/// An ejection is at most so many times as long as the first.
const LONGEST: u32 = 10;

// === impl Standing ===

impl Standing {
    /// A request was answered well.
    pub(crate) fn succeeded(&self) {
        // A load alone where all is well, so that the line stays shared between the workers.
        if self.errors.load(Ordering::Relaxed) != 0 {
            self.errors.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed. Says whether the target is to be ejected, if that may be.
    pub(crate) fn failed(&self, now: At, most: u32) -> bool {
        // What it fails while all are used, or in what was under way, is not held against it again.
        !self.is_ejected(now) && self.errors.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= most
    }

    pub(crate) fn is_ejected(&self, now: At) -> bool {
        self.until.load(Ordering::Relaxed) > now
    }

    /// Until when it is ejected, if it is.
    pub(crate) fn ejected_until(&self, now: At) -> Option<At> {
        Some(self.until.load(Ordering::Relaxed)).filter(|until| *until > now)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Relaxed) {
            1 => Verdict::Healthy,
            2 => Verdict::Unhealthy,
            _ => Verdict::Unknown,
        }
    }

    /// Ejects it, each time twice as long as the last while it is not well for as long between. Gives back how long.
    pub(crate) fn eject(&self, now: At, passive: &Passive) -> std::time::Duration {
        let mut history = self.history();
        let ended = self.until.load(Ordering::Relaxed);
        if now.saturating_sub(ended) > history.lasted {
            history.times = 0;
        }
        let times = 2u32.saturating_pow(history.times).min(LONGEST);
        let length = passive.eject_for.saturating_mul(times);
        history.times = history.times.saturating_add(1);
        history.lasted = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX / 2);
        self.errors.store(0, Ordering::Relaxed);
        self.until.store(now.saturating_add(history.lasted), Ordering::Relaxed);
        length
    }

    /// A check ended. Gives the verdict back if it is another one now. The first check decides by itself; who is well
    /// again is ejected no more.
    pub(crate) fn checked(&self, well: bool, active: &Active) -> Option<Verdict> {
        let mut history = self.history();
        let before = self.verdict();
        let (run, enough) = match well {
            true => {
                history.bad = 0;
                history.good = history.good.saturating_add(1);
                (history.good, active.healthy_after)
            }
            false => {
                history.good = 0;
                history.bad = history.bad.saturating_add(1);
                (history.bad, active.unhealthy_after)
            }
        };
        let found = if well { Verdict::Healthy } else { Verdict::Unhealthy };
        if before == found || (before != Verdict::Unknown && run < enough) {
            return None;
        }
        if before == Verdict::Unhealthy {
            history.times = 0;
            self.until.store(0, Ordering::Relaxed);
            self.errors.store(0, Ordering::Relaxed);
        }
        self.verdict.store(found as u8, Ordering::Relaxed);
        Some(found)
    }

    /// Nobody checks it any more. Says whether that changes anything.
    pub(crate) fn unchecked(&self) -> bool {
        let mut history = self.history();
        *history = History {
            times: history.times,
            lasted: history.lasted,
            ..History::default()
        };
        self.verdict.swap(Verdict::Unknown as u8, Ordering::Relaxed) != Verdict::Unknown as u8
    }

    /// When the last check began.
    pub(crate) fn asked(&self) -> Option<At> {
        self.history().asked
    }

    /// A check begins.
    pub(crate) fn asks(&self, now: At) {
        self.history().asked = Some(now);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // Whoever panicked left whole numbers.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const S: At = 1_000_000_000;

    fn active() -> Active {
        Active {
            path: http::uri::PathAndQuery::from_static("/healthz"),
            every: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }

    #[test]
    fn failures_in_a_row_eject_and_a_good_answer_begins_anew() {
        let standing = Standing::default();
        assert!(!standing.failed(0, 3) && !standing.failed(0, 3));
        standing.succeeded();
        assert!(!standing.failed(0, 3) && !standing.failed(0, 3));
        assert!(standing.failed(0, 3));
    }

    #[test]
    fn an_ejection_is_twice_as_long_as_the_one_shortly_before_and_at_most_ten_times() {
        let (standing, passive) = (Standing::default(), Passive::default());
        let mut now = S;
        let mut lengths = Vec::new();
        for _ in 0..6 {
            let length = standing.eject(now, &passive);
            lengths.push(length.as_secs());
            assert!(standing.is_ejected(now) && !standing.failed(now, 1));
            now += length.as_secs() * S + S;
            assert!(!standing.is_ejected(now));
        }
        assert_eq!(lengths, [10, 20, 40, 80, 100, 100]);
        // Well for as long as it was out.
        now += 101 * S;
        assert_eq!(standing.eject(now, &passive), Duration::from_secs(10));
    }

    #[test]
    fn the_first_check_decides_and_then_a_run_of_them() {
        let (standing, active) = (Standing::default(), active());
        assert_eq!(standing.checked(true, &active), Some(Verdict::Healthy));
        assert_eq!(
            [false, false, true].map(|well| standing.checked(well, &active)),
            [None; 3]
        );
        assert_eq!([false, false].map(|well| standing.checked(well, &active)), [None; 2]);
        assert_eq!(standing.checked(false, &active), Some(Verdict::Unhealthy));
        assert_eq!(standing.checked(true, &active), None);
        assert_eq!(standing.checked(true, &active), Some(Verdict::Healthy));
    }

    #[test]
    fn who_is_well_again_is_ejected_no_more() {
        let (standing, active) = (Standing::default(), active());
        standing.checked(false, &active);
        standing.eject(0, &Passive::default());
        standing.checked(true, &active);
        assert!(standing.is_ejected(S));
        standing.checked(true, &active);
        assert!(!standing.is_ejected(S));
        // One that checks find well all the time stays out for its time: its requests fail.
        standing.eject(S, &Passive::default());
        standing.checked(true, &active);
        assert!(standing.is_ejected(2 * S));
    }
}
