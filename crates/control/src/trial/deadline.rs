//! When the time of a trial is over. Pure, but for the one note that is kept of it.
//!
//! The log says the deadline by the clock of the leader that made the version. Each node works out once, when it first
//! hears of the trial, how long that is from then on, and goes on by its steady clock: a wall clock that is set
//! meanwhile moves no deadline, and none is further away than was asked for.

use crate::core::lock;
use sluice_consensus::Trial;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The deadline of the open trial, as this node counts it.
#[derive(Debug, Default)]
pub(crate) struct Deadline(Mutex<Option<Noted>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    version: u64,
    confirm_by_ms: u64,
    at: Instant,
}

// === impl Deadline ===

impl Deadline {
    /// When the time of this trial, begun at `begun_ms`, is over; `None` where it has no deadline.
    pub(crate) fn of(&self, trial: &Trial, begun_ms: u64, now: Instant, now_ms: u64) -> Option<Instant> {
        let confirm_by_ms = trial.confirm_by_ms?;
        let mut noted = lock(&self.0);
        let same = |noted: &Noted| (noted.version, noted.confirm_by_ms) == (trial.version, confirm_by_ms);
        let known = noted.filter(same).unwrap_or_else(|| Noted {
            version: trial.version,
            confirm_by_ms,
            at: now + left(begun_ms, confirm_by_ms, now_ms),
        });
        *noted = Some(known);
        Some(known.at)
    }
}

/// How long from now on something lasts that the log says by the clock of a leader; never longer than was asked for.
pub(crate) fn left(begun_ms: u64, confirm_by_ms: u64, now_ms: u64) -> Duration {
    let whole = confirm_by_ms.saturating_sub(begun_ms);
    Duration::from_millis(confirm_by_ms.saturating_sub(now_ms).min(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(version: u64, confirm_by_ms: Option<u64>) -> Trial {
        Trial {
            version,
            on: None,
            confirm_by_ms,
        }
    }

    #[test]
    fn a_clock_that_is_set_meanwhile_moves_no_deadline() {
        let (noted, now) = (Deadline::default(), Instant::now());
        let at = noted.of(&trial(2, Some(6_000)), 1_000, now, 2_000);
        assert_eq!(at, Some(now + Duration::from_secs(4)));
        let later = now + Duration::from_secs(1);
        for set_to in [0, 3_000, 999_000] {
            assert_eq!(noted.of(&trial(2, Some(6_000)), 1_000, later, set_to), at);
        }
    }

    #[test]
    fn a_clock_that_is_behind_or_ahead_gives_no_more_than_was_asked_for_and_no_less_than_nothing() {
        let now = Instant::now();
        let behind = Deadline::default().of(&trial(2, Some(6_000)), 1_000, now, 0);
        assert_eq!(behind, Some(now + Duration::from_secs(5)));
        let ahead = Deadline::default().of(&trial(2, Some(6_000)), 1_000, now, 77_000);
        assert_eq!(ahead, Some(now));
    }

    #[test]
    fn each_trial_has_a_deadline_of_its_own_or_none() {
        let (noted, now) = (Deadline::default(), Instant::now());
        let first = noted.of(&trial(2, Some(6_000)), 1_000, now, 1_000);
        let next = noted.of(&trial(4, Some(6_000)), 1_000, now, 2_000);
        assert_ne!(first, next);
        assert_eq!(noted.of(&trial(4, None), 1_000, now, 2_000), None);
    }
}
