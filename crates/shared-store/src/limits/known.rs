//! Which keys are known: to the node, and to one worker without a lock.

use super::tally::Tally;
use foldhash::fast::RandomState;
use sluice_shared_state::KeyId;
use sluice_shared_state::limit::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Doors of the node's table, so that workers that miss at once seldom meet. A power of two.
const DOORS: usize = 32;

/// The cells of all keys that the engine holds. Workers look here when they do not know a key themselves.
#[derive(Debug)]
pub(super) struct Cells([Mutex<HashMap<KeyId, Arc<Cell>, RandomState>>; DOORS]);

/// The keys that one worker knows. Bounded: a key that was not used since the hand last came by makes room.
#[derive(Debug)]
pub(super) struct Known {
    places: HashMap<KeyId, u32, RandomState>,
    slots: Vec<Slot>,
    hand: usize,
    most: usize,
}

/// A key that a worker knows.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: KeyId,
    pub(super) cell: Arc<Cell>,
    pub(super) tally: Arc<Tally>,
    /// Of the limit's numbers, as the engine was last told by this worker.
    pub(super) version: u64,
    used: bool,
}

// === impl Cells ===

impl Cells {
    pub(super) fn get(&self, key: KeyId) -> Option<Arc<Cell>> {
        self.door(key).get(&key).cloned()
    }

    pub(super) fn insert(&self, key: KeyId, cell: Arc<Cell>) {
        self.door(key).insert(key, cell);
    }

    pub(super) fn remove(&self, key: KeyId) {
        self.door(key).remove(&key);
    }

    fn door(&self, key: KeyId) -> MutexGuard<'_, HashMap<KeyId, Arc<Cell>, RandomState>> {
        // Not the bytes by which partitions are chosen. What a panic leaves is still a map.
        self.0[usize::from(key.0[15]) % DOORS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Cells {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

// === impl Known ===

impl Known {
    /// For at most so many keys; at least 64.
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: HashMap::default(),
            slots: Vec::new(),
            hand: 0,
            most: most.clamp(64, u32::MAX as usize),
        }
    }

    /// Where a key stands, until the next [`insert`](Self::insert).
    pub(super) fn find(&mut self, key: KeyId) -> Option<u32> {
        let place = *self.places.get(&key)?;
        self.slots[place as usize].used = true;
        Some(place)
    }

    pub(super) fn at(&mut self, place: u32) -> &mut Slot {
        &mut self.slots[place as usize]
    }

    /// Remembers a key, in place of another one where there are too many.
    pub(super) fn insert(&mut self, key: KeyId, cell: Arc<Cell>, tally: Arc<Tally>, version: u64) {
        let slot = Slot {
            key,
            cell,
            tally,
            version,
            used: true,
        };
        if let Some(&place) = self.places.get(&key) {
            self.slots[place as usize] = slot;
            return;
        }
        let place = match self.slots.len() < self.most {
            true => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
            false => {
                let place = self.unused();
                self.places.remove(&self.slots[place].key);
                self.slots[place] = slot;
                place
            }
        };
        // `most` fits.
        self.places.insert(key, place as u32);
    }

    /// The next one that was not used for a round of the hand; after 64 that were, the one there.
    fn unused(&mut self) -> usize {
        for _ in 0..64 {
            self.hand = (self.hand + 1) % self.slots.len();
            if !std::mem::take(&mut self.slots[self.hand].used) {
                break;
            }
        }
        self.hand
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fixtures::sliding;
    use sluice_shared_state::Moment;

    fn key(n: u64) -> KeyId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        KeyId(bytes)
    }

    fn cell() -> Arc<Cell> {
        Arc::new(Cell::new(&sliding("orders", 1), Moment(0)))
    }

    #[test]
    fn a_key_in_use_outlives_a_flood_of_others() {
        let mut known = Known::new(100);
        let (cell, tally) = (cell(), Arc::<Tally>::default());
        let add = |known: &mut Known, n| known.insert(key(n), Arc::clone(&cell), Arc::clone(&tally), 1);
        add(&mut known, 0);
        for n in 1..10_000 {
            add(&mut known, n);
            assert!(known.find(key(0)).is_some(), "forgotten after {n} others");
        }
        assert_eq!(known.slots.len(), 100);
        assert_eq!(known.places.len(), 100);
        for (key, place) in &known.places {
            assert_eq!(known.slots[*place as usize].key, *key);
        }
    }

    #[test]
    fn a_key_that_comes_again_has_its_new_cell() {
        let mut known = Known::new(64);
        let (old, new) = (cell(), cell());
        known.insert(key(1), old, Arc::default(), 1);
        known.insert(key(1), Arc::clone(&new), Arc::default(), 2);
        let place = known.find(key(1)).expect("just inserted");
        assert!(Arc::ptr_eq(&known.at(place).cell, &new));
        assert_eq!(known.places.len(), 1);
    }
}
