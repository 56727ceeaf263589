//! How long a lease is, and whose it is: by what each node is asked for. Of fixed windows and token buckets.
//!
//! Numbers with a fraction are computed with the same operations in the same order as in the scripts.

use std::time::Duration;

/// Calls to the store for each token: what is aimed at where the bounds of the horizon allow it. Of the same size as for
/// sliding windows.
const CALLS: f64 = 0.0055;
/// The shortest horizon.
const SHORT: u64 = 50_000;
/// Of a longer window, leases are as of one of this length: what a store that lost all has to wait for is short.
const LONGEST: Duration = Duration::from_secs(2);

/// How long leases of a limit may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The window by which the times of the protocol scale.
    pub(crate) window: Duration,
    /// The longest time between two calls; microseconds.
    pub(crate) horizon: u64,
    /// For how much longer a lease is good; microseconds.
    pub(crate) grace: u64,
}

/// What a node may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    /// Nodes that ask.
    pub(crate) nodes: u64,
    /// The node's share, of all that is asked for.
    pub(crate) share: f64,
    /// When it should call again; microseconds.
    pub(crate) horizon: u64,
    /// How long what it has is good; microseconds.
    pub(crate) lease: u64,
}

// === impl Bounds ===

impl Bounds {
    /// Of a window of this length.
    #[must_use]
    pub(crate) fn of(window: Duration) -> Self {
        let window = window.min(LONGEST);
        let hundredth = u64::try_from(window.as_micros() / 100).unwrap_or(u64::MAX);
        Self {
            window,
            horizon: 43 * hundredth,
            grace: 3 * hundredth,
        }
    }
}

// === impl Plan ===

impl Plan {
    /// For a node that is asked for `mine`, one of `demands`, all in tokens a second; together they get at most `rate`.
    #[must_use]
    pub(crate) fn new(demands: impl Iterator<Item = f64>, mine: f64, rate: f64, bounds: &Bounds) -> Self {
        let (mut nodes, mut all) = (0u64, 0.0);
        for demand in demands {
            nodes += 1;
            all += demand;
        }
        #[expect(clippy::cast_precision_loss, reason = "there are not 2^53 nodes")]
        let each = nodes.max(1) as f64;
        let horizon = each / (CALLS * all.min(rate).max(1e-9)) * 1e6;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and bounded just after"
        )]
        let horizon = (horizon.min(1e12).floor() as u64).max(SHORT).min(bounds.horizon);
        Self {
            nodes: nodes.max(1),
            share: if all > 0.0 { mine / all } else { 1.0 },
            horizon,
            lease: horizon + bounds.grace,
        }
    }

    /// Its share of so many.
    #[must_use]
    pub(crate) fn part(&self, of: u64) -> u64 {
        floor(real(of) * self.share)
    }
}

/// What is needed for so many microseconds, with what chance adds to it. Tokens.
#[must_use]
pub(crate) fn need(demand: f64, micros: u64) -> u64 {
    let mean = demand * real(micros) / 1e6;
    floor(mean + 2.5 * mean.sqrt() + 1.0)
}

/// What requests that wait get of what is free.
#[must_use]
pub(crate) fn instant(waiting: u64, unit: u64, free: u64) -> u64 {
    let given = waiting.min(free);
    if given < unit { 0 } else { given }
}

/// Whether a lease is worth its call: what is held by one node is missing at others.
#[must_use]
pub(crate) fn worth(demand: f64, plan: &Plan) -> bool {
    demand * real(plan.horizon) / 1e6 >= 4.0
}

/// The limit, less the shares of nodes that do not reach the store.
#[must_use]
pub(crate) fn set_aside(limit: u64, live: u32, without: u32) -> u64 {
    if live == 0 || without == 0 {
        return limit;
    }
    let (live, without) = (u64::from(live), u64::from(without.min(live)));
    // In two steps, each below 2^53 where the limit is: a share of whole parts, and one of the rest.
    let (parts, rest) = (limit / live, limit % live);
    (parts * (live - without)) + rest * (live - without) / live
}

#[expect(clippy::cast_precision_loss, reason = "limits are below 2^53")]
pub(crate) fn real(whole: u64) -> f64 {
    whole as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` bounds what is beyond, and limits are below 2^53"
)]
pub(crate) fn floor(real: f64) -> u64 {
    real.floor().clamp(0.0, 9_007_199_254_740_992.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(demands: &[f64], rate: f64, window: u64) -> Plan {
        let bounds = Bounds::of(Duration::from_millis(window));
        Plan::new(demands.iter().copied(), demands[0], rate, &bounds)
    }

    #[test]
    fn shares_are_proportional_to_what_is_asked_for() {
        assert_eq!(plan(&[300.0, 100.0], 1000.0, 1000).part(1000), 750);
        assert_eq!(plan(&[100.0, 300.0], 1000.0, 1000).part(1000), 250);
    }

    #[test]
    fn a_lease_is_as_long_as_makes_calls_few_and_within_its_bounds() {
        assert_eq!(plan(&[10.0], 1e9, 1000).horizon, 430_000);
        assert_eq!(plan(&[10.0], 1e9, 10).horizon, 4300, "of a short window a share");
        assert_eq!(plan(&[10.0], 1e9, 3_600_000).horizon, 860_000, "of a long one no more");
        assert_eq!(plan(&[1e7], 1e9, 1000).horizon, 50_000);
        assert_eq!(plan(&[909.09; 2], 1e9, 1000).horizon, 200_000);
    }

    #[test]
    fn what_nodes_without_the_store_may_have_is_set_aside() {
        assert_eq!(set_aside(1000, 3, 1), 666);
        assert_eq!(set_aside(10, 3, 0), 10);
        assert_eq!(set_aside(10, 3, 3), 0);
        assert_eq!(set_aside((1 << 53) - 1, 4, 1), ((1u64 << 53) - 1) / 4 * 3 + 2);
    }
}
