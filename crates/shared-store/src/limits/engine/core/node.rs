//! This node, and what it knows of the partitions of the store.

use sluice_shared_state::Moment;
use sluice_shared_state::ledger::From;
use sluice_shared_state::limit::View;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

/// This node among the others.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) from: From,
    pub(super) name: Arc<str>,
    pub(super) live: Vec<Arc<str>>,
    pub(super) without: u32,
    chance: fastrand::Rng,
}

/// One partition of the store, as last heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    pub(super) epoch: u64,
    pub(super) reached: bool,
    /// Since when it is not reached, where it is not.
    pub(super) away: Moment,
    /// The node went on without it, and it has not heard so.
    pub(super) local: bool,
    pub(super) round_trip: Duration,
    /// When it was last called.
    pub(super) called: Moment,
}

// === impl Node ===

impl Node {
    pub(super) fn new(name: &str) -> Self {
        let name: Arc<str> = name.into();
        Self {
            // A process that starts again must be another one: the system's randomness, not a clock.
            from: From::new(&name, RandomState::new().hash_one("boot")),
            live: vec![Arc::clone(&name)],
            name,
            without: 0,
            chance: fastrand::Rng::new(),
        }
    }

    pub(super) fn view(&mut self, side: &Side) -> View<'_> {
        View {
            from: self.from,
            epoch: side.epoch,
            reached: side.reached,
            away: side.away,
            name: &self.name,
            live: &self.live,
            round_trip: side.round_trip,
            chance: self.chance.u64(..),
        }
    }
}

// === impl Side ===

impl Side {
    /// Nothing was heard of it yet.
    pub(super) fn new() -> Self {
        Self {
            epoch: 0,
            reached: true,
            away: Moment::default(),
            local: false,
            round_trip: Duration::from_millis(1),
            called: Moment::default(),
        }
    }
}
