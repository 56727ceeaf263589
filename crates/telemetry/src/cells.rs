//! Cells that one thread writes and any thread reads.
//!
//! A worker counts without an atomic read-modify-write: it is the only writer, so a load and a
//! store suffice, and a reader sees each value whole. Cells of several workers are summed at the
//! scrape, off the workers. Reads of several cells are not one moment's picture; that is what a
//! scrape can bear.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A count that one thread raises.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`. Only one thread may call this at a time; a second writer loses counts.
    pub fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level that one thread raises and lowers.
#[derive(Debug, Default)]
pub struct Level(AtomicI64);

impl Level {
    /// Adds `n`, which may be negative. Only one thread may call this at a time.
    pub fn add(&self, n: i64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The level now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The bucket bounds of all durations, in seconds: those of the HTTP semantic conventions, with
/// two more below, since a gateway's own share is under a millisecond.
pub const BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

const BOUNDS_MICROS: [u64; 16] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
];

/// Durations in buckets, written by one thread: two stores an observation, 144 bytes.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Count; BOUNDS.len() + 1],
    nanos: Count,
}

impl Durations {
    /// Counts one observation. Only one thread may call this at a time.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos.div_ceil(1_000);
        // Nearly every request falls into the first few buckets: a scan beats a search.
        let bucket = BOUNDS_MICROS
            .iter()
            .position(|bound| micros <= *bound)
            .unwrap_or(BOUNDS.len());
        self.buckets[bucket].add(1);
        self.nanos.add(nanos);
    }

    /// Adds what was observed so far to `sum`.
    pub fn add_to(&self, sum: &mut DurationsSum) {
        for (to, from) in sum.buckets.iter_mut().zip(&self.buckets) {
            *to += from.get();
        }
        sum.nanos += u128::from(self.nanos.get());
    }
}

/// The sum of the [`Durations`] of several workers, ready to be encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurationsSum {
    buckets: [u64; BOUNDS.len() + 1],
    nanos: u128,
}

impl DurationsSum {
    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All observations together, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.nanos as f64 / 1e9
    }

    /// Upper bounds, the last infinite, each with its own count (not the running one), as the
    /// encoder wants them.
    #[must_use]
    pub fn buckets(&self) -> [(f64, u64); BOUNDS.len() + 1] {
        std::array::from_fn(|i| {
            let bound = BOUNDS.get(i).copied().unwrap_or(f64::INFINITY);
            (bound, self.buckets[i])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_agree() {
        for (seconds, micros) in BOUNDS.iter().zip(BOUNDS_MICROS) {
            assert!((seconds * 1e6 - micros as f64).abs() < 1e-6);
        }
    }

    #[test]
    fn an_observation_falls_into_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        durations.observe(Duration::from_micros(1_000));
        durations.observe(Duration::from_nanos(1_000_001));
        durations.observe(Duration::from_secs(3600));
        let mut sum = DurationsSum::default();
        durations.add_to(&mut sum);
        durations.add_to(&mut sum);
        let buckets = sum.buckets();
        assert_eq!(buckets[0], (0.001, 2));
        assert_eq!(buckets[1], (0.0025, 2));
        assert_eq!(buckets[16], (f64::INFINITY, 2));
        assert_eq!(sum.count(), 6);
        assert!((sum.seconds() - 7200.004).abs() < 0.001);
    }

    #[test]
    fn levels_rise_and_fall() {
        let level = Level::default();
        level.add(3);
        level.add(-2);
        assert_eq!(level.get(), 1);
    }
}
