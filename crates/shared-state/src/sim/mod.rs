//! Limits in simulated time: nodes with their clocks, a network, a store, faults, traffic; and what must hold of all of
//! it. A run is a function of its seed.
//!
//! What runs are the real machines, cells and books. Simulated are the engine around them (one call under way for each
//! key, calls given up after 20 ms, the guard around the store, heartbeats) and the world.

mod checks;
mod desk;
mod node;
mod random;
mod sabotage;
mod scenarios;
mod traffic;
mod world;

use std::time::Duration;

/// A moment of true time, in nanoseconds.
type True = u64;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// After which a call is given up.
const GIVEN_UP: u64 = 20 * MS;

/// What is simulated.
#[derive(Debug, Clone)]
struct Scenario {
    seed: u64,
    pattern: traffic::Pattern,
    fast: bool,
    limit: u32,
    window: Duration,
    nodes: usize,
    /// Requests a second of the whole cluster, where the pattern does not say.
    rate: f64,
    /// How long, in true time.
    length: True,
    faults: Vec<Fault>,
    /// Each request's cost.
    cost: u32,
}

/// What goes wrong, once in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// One of twenty messages is lost.
    Loss,
    /// The store answers nothing for 2 s, then all that waits for it.
    Freeze,
    /// The way to the store takes 100 ms longer, for 2 s.
    Slow,
    /// The store starts again empty.
    Empty,
    /// It does so three times, with 1.9 s between.
    EmptyThrice,
    /// It is away for 0.6 s; what comes after is empty and has another clock.
    Failover,
    /// A node dies, and starts again soon after.
    Crash,
    /// A node does not reach the store for 2 s.
    Cut,
}
