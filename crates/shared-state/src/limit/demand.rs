//! How much is asked for, as who talks to the store finds it: a quick average, and a slow one that it holds.

use crate::time::Moment;
use std::time::Duration;

/// The time constant of the slow average.
const SLOW: f64 = 0.25;
/// Of the quick one.
const QUICK: f64 = 0.025;

/// Tokens that were asked for since ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Asked(pub(super) u64);

/// What is asked for, in tokens a second.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    slow: f64,
    quick: f64,
    asked: Asked,
    /// When it was looked at.
    seen: Moment,
    /// When something was last found to have been asked for.
    last: Moment,
}

// === impl Demand ===

impl Demand {
    /// Nothing was asked for yet.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            slow: 0.0,
            quick: 0.0,
            asked: Asked(0),
            seen: now,
            last: now,
        }
    }

    /// What was asked for by now. Tells whether that is more than before.
    pub(super) fn look(&mut self, now: Moment, asked: Asked) -> bool {
        let tokens = asked.0.saturating_sub(self.asked.0);
        let elapsed = now.since(self.seen).as_secs_f64();
        if tokens > 0 {
            self.last = now;
        }
        if elapsed <= 0.0 && tokens == 0 {
            return false;
        }
        for (average, constant) in [(&mut self.slow, SLOW), (&mut self.quick, QUICK)] {
            *average = blend(*average, tokens, elapsed, constant);
        }
        (self.asked, self.seen) = (asked, now.max(self.seen));
        tokens > 0
    }

    /// So many were asked for that no worker has counted: the store was asked for them at once.
    pub(super) fn add(&mut self, now: Moment, tokens: u64) {
        if tokens > 0 {
            let asked = self.asked;
            self.look(now, Asked(asked.0 + tokens));
            self.asked = asked;
        }
    }

    /// Tokens a second: the slow average, held within what chance allows of the quick one. With one average alone, what
    /// was asked for in a burst would be held long after it.
    pub(super) fn rate(&self) -> f64 {
        let chance = 2.5 * (self.quick / (2.0 * QUICK)).sqrt();
        self.slow.max(self.quick - chance).min(self.quick + chance + 1.0 / SLOW)
    }

    /// How long nothing was asked for.
    pub(super) fn quiet(&self, now: Moment) -> Duration {
        now.since(self.last)
    }

    /// After how long without a request there will be none for a while.
    pub(super) fn idle(&self, least: Duration, most: Duration) -> Duration {
        Duration::from_secs_f64((12.0 / self.slow.max(1e-3)).min(1e6)).clamp(least, most.max(least))
    }
}

fn blend(average: f64, tokens: u64, elapsed: f64, constant: f64) -> f64 {
    let keep = (-elapsed / constant).exp();
    #[expect(clippy::cast_precision_loss, reason = "of a short time")]
    let tokens = tokens as f64;
    // What came evenly within the time; of no time at all, at once.
    let came = if elapsed > constant * 1e-3 {
        tokens / elapsed * (1.0 - keep)
    } else {
        tokens / constant
    };
    average * keep + came
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(demand: &mut Demand, now: &mut Moment, asked: &mut u64, micros: u64, tokens: u64, times: u32) {
        for _ in 0..times {
            *now = *now + Duration::from_micros(micros);
            *asked += tokens;
            demand.look(*now, Asked(*asked));
        }
    }

    #[test]
    fn what_is_asked_for_steadily_is_found_however_often_one_looks() {
        for (micros, tokens, times) in [(1000, 1, 3000), (50_000, 50, 60), (400_000, 400, 8)] {
            let (mut now, mut asked) = (Moment(0), 0);
            let mut demand = Demand::new(now);
            after(&mut demand, &mut now, &mut asked, micros, tokens, times);
            assert!((900.0..1100.0).contains(&demand.rate()), "{}", demand.rate());
        }
    }

    #[test]
    fn a_burst_is_soon_forgotten() {
        let (mut now, mut asked) = (Moment(0), 0);
        let mut demand = Demand::new(now);
        after(&mut demand, &mut now, &mut asked, 1000, 10, 200);
        assert!(demand.rate() > 4000.0);
        after(&mut demand, &mut now, &mut asked, 10_000, 0, 20);
        assert!(demand.rate() < 100.0, "{}", demand.rate());
    }
}
