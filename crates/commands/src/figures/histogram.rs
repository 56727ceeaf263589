//! Durations in buckets, and what can be estimated from them.

/// More bounds than any histogram of a node has.
const BUCKETS: usize = 64;

/// How many observations were at most a bound, for ascending bounds (seconds).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Histogram(Vec<Bucket>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    bound: f64,
    /// Those of all lower buckets are in it.
    count: f64,
}

// === impl Histogram ===

impl Histogram {
    /// Adds a bucket; one of the same bound is added up.
    pub(crate) fn put(&mut self, bound: f64, count: f64) {
        if bound.is_nan() {
            return;
        }
        match self.0.binary_search_by(|bucket| bucket.bound.total_cmp(&bound)) {
            Ok(at) => self.0[at].count += count,
            Err(at) if self.0.len() < BUCKETS => self.0.insert(at, Bucket { bound, count }),
            Err(_) => {}
        }
    }

    /// Adds another's observations. Two with other bounds (nodes of two binaries) give a coarser estimate, no wrong sum.
    pub(crate) fn add(&mut self, other: &Self) {
        for bucket in &other.0 {
            self.put(bucket.bound, bucket.count);
        }
    }

    /// The observations that came after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let was = |bound: f64| {
            let found = before.0.binary_search_by(|bucket| bucket.bound.total_cmp(&bound));
            found.map_or(0.0, |at| before.0[at].count)
        };
        let buckets = self.0.iter().map(|bucket| Bucket {
            bound: bucket.bound,
            count: (bucket.count - was(bucket.bound)).max(0.0),
        });
        Self(buckets.collect())
    }

    /// Estimates the duration (seconds) that the share `q` of all observations did not exceed; nothing without one.
    ///
    /// An observation may be anywhere in its bucket: within it the durations are taken as evenly spread, as Prometheus'
    /// `histogram_quantile` does, so the error is at most the bucket's width. Beyond the greatest bound nothing is known,
    /// and that bound is the answer.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.0.iter().fold(0.0, |most, bucket| bucket.count.max(most));
        if total <= 0.0 {
            return None;
        }
        let rank = q * total;
        let (mut lower, mut below) = (0.0, 0.0);
        for bucket in &self.0 {
            // Sums over other bounds need not rise.
            let count = bucket.count.max(below);
            if count >= rank && count > below {
                if bucket.bound.is_infinite() {
                    break;
                }
                return Some(lower + (bucket.bound - lower) * (rank - below) / (count - below));
            }
            if bucket.bound.is_finite() {
                lower = bucket.bound;
            }
            below = count;
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn of(buckets: &[(f64, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (bound, count) in buckets {
            histogram.put(*bound, *count);
        }
        histogram
    }

    #[test]
    fn a_quantile_lies_in_its_bucket_in_proportion() {
        let histogram = of(&[(0.1, 50.0), (0.2, 100.0), (f64::INFINITY, 100.0)]);
        assert_eq!(histogram.quantile(0.5), Some(0.1));
        assert!((histogram.quantile(0.75).unwrap() - 0.15).abs() < 1e-9);
        assert_eq!(histogram.quantile(1.0), Some(0.2));
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(of(&[(0.1, 0.0), (f64::INFINITY, 0.0)]).quantile(0.5), None);
    }

    #[test]
    fn beyond_the_greatest_bound_that_bound_is_the_answer() {
        let histogram = of(&[(1.0, 1.0), (f64::INFINITY, 10.0)]);
        assert_eq!(histogram.quantile(0.99), Some(1.0));
    }

    #[test]
    fn what_came_since_is_the_difference_and_never_below_zero() {
        let before = of(&[(0.1, 5.0), (0.2, 9.0)]);
        let after = of(&[(0.1, 5.0), (0.2, 19.0), (0.5, 20.0)]);
        assert_eq!(after.since(&before), of(&[(0.1, 0.0), (0.2, 10.0), (0.5, 20.0)]));
        assert_eq!(before.since(&after), of(&[(0.1, 0.0), (0.2, 0.0)]));
    }

    proptest! {
        #[test]
        fn an_estimate_is_off_by_no_more_than_its_bucket(mut times in proptest::collection::vec(0.0..12.0f64, 1..200), q in 0.01..1.0f64) {
            let bounds = [0.001, 0.01, 0.1, 1.0, 5.0, 10.0, f64::INFINITY];
            let mut histogram = Histogram::default();
            for bound in bounds {
                histogram.put(bound, times.iter().filter(|time| **time <= bound).count() as f64);
            }
            times.sort_by(f64::total_cmp);
            let rank = ((q * times.len() as f64).ceil() as usize).clamp(1, times.len());
            let exact = times[rank - 1];
            let upper = bounds.into_iter().find(|bound| exact <= *bound).unwrap();
            let lower = bounds.into_iter().rev().find(|bound| *bound < exact && *bound < upper).unwrap_or(0.0);
            let estimate = histogram.quantile(q).unwrap();
            prop_assert!(estimate >= lower - 1e-9 && estimate <= upper + 1e-9, "{exact} is in {lower}..{upper}, not {estimate}");
        }
    }
}
