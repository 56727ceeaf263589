//! How much requests ask for, as a rate.

use crate::time::Moment;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Tokens a second that requests ask for: a slow average held near a quick one, so that neither noise nor what a burst
/// left makes a node hold what others lack. Nothing of safety hangs on it: races between workers cost a few requests of
/// precision.
///
/// Requests are counted in steps of a quarter of the quick average's time; the averages move once a step, so that a
/// request costs one atomic addition.
#[derive(Debug)]
pub struct Demand {
    /// The step (24 bits of its number) and what was asked for in it (40 bits).
    step: AtomicU64,
    /// Averages in tokens a second, as bits, at the end of the step before; NaN before the first.
    slow: AtomicU64,
    quick: AtomicU64,
    /// When a request came last, in nanoseconds.
    last: AtomicU64,
    /// Nanoseconds of a step.
    length: u64,
}

/// The averages' times for a window of a second and more; shorter windows have shorter ones.
const SLOW: f64 = 0.25;
const QUICK: f64 = 0.025;
const STEPS: f64 = 4.0;
/// How long the slow average is taken to hold after a request.
const HOLDS: f64 = 0.02;

const COUNT_BITS: u32 = 40;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const STEP: u64 = (1 << (64 - COUNT_BITS)) - 1;

/// The averages at a moment.
#[derive(Debug, Clone, Copy)]
struct Averages {
    slow: f64,
    quick: f64,
}

// === impl Demand ===

impl Demand {
    /// Of a window of this length.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        let scale = window.as_secs_f64().min(1.0);
        Self {
            step: AtomicU64::new(0),
            slow: AtomicU64::new(f64::NAN.to_bits()),
            quick: AtomicU64::new(f64::NAN.to_bits()),
            last: AtomicU64::new(0),
            // 6.25 ms for a second, 62.5 µs for 10 ms.
            length: ((QUICK / STEPS * scale * 1e9) as u64).max(1000),
        }
    }

    /// A request asks for so many. Tells the rate where a step has ended by it.
    pub fn asked(&self, now: Moment, cost: u32) -> Option<f64> {
        let number = now.0 / self.length;
        let step = self.step.load(Relaxed);
        if self.last.load(Relaxed) < now.0 {
            self.last.store(now.0, Relaxed);
        }
        if step >> COUNT_BITS == number & STEP && step & COUNT != 0 {
            self.step.fetch_add(u64::from(cost), Relaxed);
            return None;
        }
        let next = (number & STEP) << COUNT_BITS | u64::from(cost);
        if self.step.compare_exchange(step, next, Relaxed, Relaxed).is_err() {
            // Another worker ended the step just now.
            self.step.fetch_add(u64::from(cost), Relaxed);
            return None;
        }
        if step & COUNT == 0 {
            return None;
        }
        let averages = self.after(step, number);
        self.slow.store(averages.slow.to_bits(), Relaxed);
        self.quick.store(averages.quick.to_bits(), Relaxed);
        Some(self.held(averages, 0.0))
    }

    /// Tokens a second.
    #[must_use]
    pub fn rate(&self, now: Moment) -> f64 {
        let step = self.step.load(Relaxed);
        if step & COUNT == 0 {
            return 0.0;
        }
        let idle = now.since(Moment(self.last.load(Relaxed))).as_secs_f64();
        self.held(self.after(step, now.0 / self.length), idle)
    }

    /// Tokens a second of late, for what is a matter of milliseconds.
    #[must_use]
    pub fn quick(&self, now: Moment) -> f64 {
        let step = self.step.load(Relaxed);
        if step & COUNT == 0 {
            return 0.0;
        }
        self.after(step, now.0 / self.length).quick
    }

    /// When a request came last.
    #[must_use]
    pub fn last(&self) -> Moment {
        Moment(self.last.load(Relaxed))
    }

    /// Requests that wait are seen to come at this rate.
    pub fn at_least(&self, rate: f64) {
        for average in [&self.slow, &self.quick] {
            let known = f64::from_bits(average.load(Relaxed));
            // Not a number counts as nothing.
            average.store(known.max(rate).to_bits(), Relaxed);
        }
    }

    /// The averages at the beginning of step `number`, with what was counted in the step that is under way.
    fn after(&self, step: u64, number: u64) -> Averages {
        let asked = (step & COUNT) as f64;
        let passed = (number.wrapping_sub(step >> COUNT_BITS) & STEP) as f64 * self.length as f64 / 1e9;
        let scale = self.scale();
        let (slow, quick) = (
            f64::from_bits(self.slow.load(Relaxed)),
            f64::from_bits(self.quick.load(Relaxed)),
        );
        if slow.is_nan() {
            // The first requests say little of what follows: as if they came once in a window of a second.
            let alone = asked / scale;
            let fades = |time: f64| alone * (-passed / (time * scale)).exp();
            return Averages {
                slow: fades(SLOW),
                quick: fades(QUICK),
            };
        }
        let moved = |average: f64, time: f64| (average + asked / (time * scale)) * (-passed / (time * scale)).exp();
        Averages {
            slow: moved(slow, SLOW),
            quick: moved(quick, QUICK),
        }
    }

    /// The slow average within 2.5 deviations of the quick one.
    fn held(&self, averages: Averages, idle: f64) -> f64 {
        let scale = self.scale();
        let deviation = 2.5 * (averages.quick / (2.0 * QUICK * scale)).sqrt();
        // While requests come the slow one is not taken to fade between two of them.
        let slow = averages.slow * (idle.min(HOLDS * scale) / (SLOW * scale)).exp();
        slow.max(averages.quick - deviation)
            .min(averages.quick + deviation + 1.0 / (SLOW * scale))
    }

    /// Shares of a second that the averages' times are scaled by.
    fn scale(&self) -> f64 {
        self.length as f64 / 1e9 * STEPS / QUICK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn steady(demand: &Demand, from: u64, rate: u64, seconds: u64) -> u64 {
        let gap = SECOND / rate;
        let mut now = from;
        while now < from + seconds * SECOND {
            demand.asked(Moment(now), 1);
            now += gap;
        }
        now
    }

    #[test]
    fn a_steady_rate_is_told_as_it_is() {
        for rate in [20, 300, 5000] {
            let demand = Demand::new(Duration::from_secs(1));
            let now = steady(&demand, SECOND, rate, 2);
            let told = demand.rate(Moment(now));
            assert!((told / rate as f64 - 1.0).abs() < 0.25, "{rate}: {told}");
        }
    }

    #[test]
    fn what_a_burst_left_is_soon_forgotten() {
        let demand = Demand::new(Duration::from_secs(1));
        let now = steady(&demand, SECOND, 10_000, 1);
        let now = steady(&demand, now, 100, 1);
        let told = demand.rate(Moment(now));
        assert!(told < 300.0, "{told}");
    }

    #[test]
    fn a_short_window_has_short_averages() {
        let demand = Demand::new(Duration::from_millis(10));
        let mut now = SECOND;
        for _ in 0..1000 {
            demand.asked(Moment(now), 1);
            now += 10_000;
        }
        let told = demand.rate(Moment(now));
        assert!((told / 1e5 - 1.0).abs() < 0.25, "{told}");
        assert!(demand.rate(Moment(now + SECOND)) < 1.0);
    }

    #[test]
    fn a_first_request_is_no_rate() {
        let demand = Demand::new(Duration::from_secs(1));
        demand.asked(Moment(SECOND), 1);
        assert!(demand.rate(Moment(SECOND)) <= 1.0);
        assert!(
            demand.rate(Moment(0)).is_finite(),
            "a clock that other workers are ahead of"
        );
    }
}
