//! All breakers of a node.

use sluice_shared_state::breaker::BreakerCell;
use sluice_shared_state::{BreakerKey, BreakerRule};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// All breakers of a node, by whose they are. Clones are the same. Asked when a snapshot is taken, not on a request.
#[derive(Debug, Clone, Default)]
pub struct Breakers(Arc<Mutex<HashMap<BreakerKey, Arc<BreakerCell>>>>);

// === impl Breakers ===

impl Breakers {
    /// The cell of a breaker: the same for all workers of the node. One whose rule changed keeps its state.
    #[must_use]
    pub fn cell(&self, key: &BreakerKey, rule: &Arc<BreakerRule>) -> Arc<BreakerCell> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            cells
                .entry(key.clone())
                .or_insert_with(|| Arc::new(BreakerCell::new(Arc::clone(rule)))),
        )
    }
}
