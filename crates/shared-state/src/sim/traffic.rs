//! When and where requests come.

use super::{SECOND, True};
use fastrand::Rng;

/// Who asks where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// 0.7 of the limit, on all nodes.
    Calm,
    /// 1.05 of the limit.
    Near,
    /// The rate, on all nodes.
    Even,
    /// The rate, on one node.
    One,
    /// Four fifths on one node.
    Skew,
    /// On one node, another each second.
    Shift,
    /// 0.3 of the limit, and ten times the limit on one node for 0.1 s, every 2 s.
    Bursts,
    /// 10,000 keys, the most frequent first.
    Zipf,
}

/// The requests of a run.
pub(super) struct Traffic {
    pattern: Pattern,
    limit: f64,
    rate: f64,
    nodes: usize,
    rng: Rng,
    now: True,
    /// Of each key, its share and those before.
    keys: Vec<f64>,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) at: True,
    pub(super) node: usize,
    pub(super) key: u32,
}

impl Traffic {
    /// `limit`: tokens a second.
    pub(super) fn new(pattern: Pattern, limit: f64, rate: f64, nodes: usize, seed: u64) -> Self {
        let mut sum = 0.0;
        let keys = if pattern == Pattern::Zipf {
            (1..=10_000)
                .map(|rank| {
                    sum += f64::from(rank).powf(-1.1);
                    sum
                })
                .collect()
        } else {
            Vec::new()
        };
        Self {
            pattern,
            limit,
            rate,
            nodes,
            rng: Rng::with_seed(seed ^ 0xa11),
            now: 0,
            keys,
        }
    }

    pub(super) fn next(&mut self) -> Arrival {
        let burst = self.now % (2 * SECOND) < SECOND / 10;
        let rate = match self.pattern {
            Pattern::Calm => 0.7 * self.limit,
            Pattern::Near => 1.05 * self.limit,
            Pattern::Bursts if burst => 10.0 * self.limit,
            Pattern::Bursts => 0.3 * self.limit,
            _ => self.rate,
        };
        let gap = exponential(&mut self.rng) / rate;
        self.now += (gap * 1e9) as u64;
        let any = self.rng.usize(..self.nodes);
        let node = match self.pattern {
            Pattern::One => 0,
            Pattern::Shift => (self.now / SECOND) as usize % self.nodes,
            Pattern::Skew if self.rng.f64() < 0.8 => 0,
            Pattern::Bursts if self.now % (2 * SECOND) < SECOND / 10 => (self.now / (2 * SECOND)) as usize % self.nodes,
            _ => any,
        };
        let key = match self.keys.last() {
            None => 0,
            Some(sum) => {
                let at = self.rng.f64() * sum;
                self.keys.partition_point(|upto| *upto < at) as u32
            }
        };
        Arrival {
            at: self.now,
            node,
            key,
        }
    }
}

/// Of mean 1.
pub(super) fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}
