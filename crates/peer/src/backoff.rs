//! When an address that did not answer may be dialled again. Pure.

use std::time::{Duration, Instant};

use crate::timings::Timings;

/// The failures of one address in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

/// A connection that lived for less counts as a failure: else a peer that drops every connection
/// after the greeting is dialled without pause.
const STABLE: Duration = Duration::from_secs(1);

// === impl Backoff ===

impl Backoff {
    /// A dial failed. `random` is 0 to 1.
    pub(crate) fn failed(&mut self, mismatch: bool, now: Instant, timings: &Timings, random: f64) {
        let wait = if mismatch {
            timings.backoff_mismatch
        } else {
            timings
                .backoff
                .saturating_mul(1 << self.failures.min(16))
                .min(timings.backoff_limit)
        };
        self.failures = self.failures.saturating_add(1);
        // Spread by a quarter: nodes that lost one peer together do not dial it together.
        self.until = Some(now + wait.mul_f64(0.75 + random.clamp(0.0, 1.0) / 2.0));
    }

    /// A connection that lived for `lived` has ended.
    pub(crate) fn ended(&mut self, lived: Duration, now: Instant, timings: &Timings, random: f64) {
        if lived >= STABLE {
            *self = Self::default();
        } else {
            self.failed(false, now, timings, random);
        }
    }

    /// How many dials have failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long it is still too early to dial.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|d| !d.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_their_limit_and_vary_by_a_quarter() {
        let (t0, timings) = (Instant::now(), Timings::default());
        let mut backoff = Backoff::default();
        assert_eq!(backoff.remaining(t0), None);
        for millis in [50, 100, 200, 400, 800, 1000, 1000] {
            backoff.failed(false, t0, &timings, 0.5);
            assert_eq!(backoff.remaining(t0), Some(Duration::from_millis(millis)));
        }
        backoff.failed(false, t0, &timings, 0.0);
        assert_eq!(backoff.remaining(t0), Some(Duration::from_millis(750)));
        backoff.failed(false, t0, &timings, 1.0);
        assert_eq!(backoff.remaining(t0), Some(Duration::from_millis(1250)));
        assert_eq!(backoff.remaining(t0 + Duration::from_millis(1250)), None);
    }

    #[test]
    fn a_mismatch_waits_longer_at_once() {
        let (t0, timings) = (Instant::now(), Timings::default());
        let mut backoff = Backoff::default();
        backoff.failed(true, t0, &timings, 0.5);
        assert_eq!(backoff.remaining(t0), Some(timings.backoff_mismatch));
    }

    #[test]
    fn only_a_connection_that_lived_wipes_the_slate() {
        let (t0, timings) = (Instant::now(), Timings::default());
        let mut backoff = Backoff::default();
        backoff.failed(false, t0, &timings, 0.5);
        backoff.ended(Duration::from_millis(10), t0, &timings, 0.5);
        assert_eq!(backoff.remaining(t0), Some(Duration::from_millis(100)));
        backoff.ended(STABLE, t0, &timings, 0.5);
        assert_eq!(backoff, Backoff::default());
    }
}
