//! Small numbers for routes, so that metrics of a route are an array's cell and not a look-up by name.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of a route: stable by its gateway and id over all snapshots that have the route, small, and given to
/// another route only when no snapshot and no request knows the first any more.
#[derive(Debug, Clone)]
pub struct Label(Arc<Given>);

#[derive(Debug)]
struct Given {
    index: u32,
    serial: u64,
    of: Labels,
}

/// Where the labels of one lineage of snapshots come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels(Arc<Mutex<Pool>>);

#[derive(Debug, Default)]
struct Pool {
    free: BTreeSet<u32>,
    /// All from here on were never given.
    next: u32,
    serial: u64,
}

// === impl Label ===

impl Label {
    /// The index of the cell: below the greatest number of routes that were ever known at one time.
    #[must_use]
    pub fn index(&self) -> usize {
        self.0.index as usize
    }

    /// Never the same for two routes, also where they have one index after each other: whoever keeps something by
    /// index starts afresh when this changes.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.0.serial
    }
}

// === impl Labels ===

impl Labels {
    pub(crate) fn give(&self) -> Label {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = pool.free.pop_first().unwrap_or_else(|| {
            pool.next += 1;
            pool.next - 1
        });
        pool.serial += 1;
        Label(Arc::new(Given {
            index,
            serial: pool.serial,
            of: self.clone(),
        }))
    }
}

// === impl Given ===

impl Drop for Given {
    fn drop(&mut self) {
        let mut pool = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.free.insert(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_used_again_only_when_nobody_holds_it() {
        let labels = Labels::default();
        let (a, b) = (labels.give(), labels.give());
        assert_eq!((a.index(), b.index()), (0, 1));
        let again = a.clone();
        drop(a);
        assert_eq!(labels.give().index(), 2);
        let serial = again.serial();
        drop(again);
        let c = labels.give();
        assert_eq!(c.index(), 0);
        assert_ne!(c.serial(), serial);
    }
}
