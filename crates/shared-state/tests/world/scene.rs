//! What is tried, and what came of it.

use sluice_shared_state::Rule;
use std::sync::Arc;
use std::time::Duration;

/// What goes wrong. Times are nanoseconds of true time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Of a hundred messages so many are lost.
    Loss(u64),
    /// Nothing is served from then to then; what waits is served after it.
    Frozen(u64, u64),
    /// Each message takes so much longer, from then to then.
    Slow(u64, u64, u64),
    /// The store forgets all.
    Emptied(u64),
    /// A node ends without a word, and starts again after so long.
    Crash(usize, u64, u64),
    /// A node does not reach the store, from then to then.
    Cut(usize, u64, u64),
}

/// What is broken on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The store is not told what nodes hold.
    HeldUntold,
    /// What was used is told too low.
    UsedUntold,
    /// A lease is believed to be longer than it is.
    LongLease,
    /// Grants arrive twice.
    Doubled,
    /// A store that lost all grants at once.
    NoLearning,
}

/// What is tried.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) rule: Arc<Rule>,
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) until: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) broken: Option<Broken>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// When each was admitted, and for how much; true time.
    pub(crate) admitted: Vec<(u64, u32)>,
    /// When each that was admitted ended.
    pub(crate) ended: Vec<(u64, u32)>,
    pub(crate) refused: u64,
    pub(crate) calls: u64,
    pub(crate) worst_wait: u64,
    /// Some node went on by itself.
    pub(crate) alone: bool,
    pub(crate) waited: u64,
    /// The most that was out, as the store counts it: rate and depth of a bucket's parts.
    pub(crate) parts: (f64, u64),
    /// Answers to who was refused: when, and how long they were told to wait.
    pub(crate) told: Vec<(u64, Duration)>,
}

/// A request that comes: when, at which node, for how many tokens, and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival {
    pub(crate) at: u64,
    pub(crate) node: usize,
    pub(crate) cost: u32,
    pub(crate) lasts: u64,
}

/// Requests as they come, by chance, `rate` a second in all.
pub(crate) fn arrivals(
    seed: u64,
    rate: f64,
    until: u64,
    mut node: impl FnMut(u64, &mut fastrand::Rng) -> usize,
) -> Vec<Arrival> {
    let mut chance = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut at = 0.0;
    let mut all = Vec::new();
    loop {
        at += -(1.0 - chance.f64()).ln() / rate * 1e9;
        if at as u64 >= until {
            return all;
        }
        all.push(Arrival {
            at: at as u64,
            node: node(at as u64, &mut chance),
            cost: 1,
            lasts: 0,
        });
    }
}
