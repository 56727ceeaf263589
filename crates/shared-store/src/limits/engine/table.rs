//! The keys that the engine holds: bounded, with the time at which each is to be looked at.

use super::requests::Waiter;
use crate::backend::Partition;
use foldhash::fast::RandomState;
use sluice_shared_state::limit::{KeyNode, Take};
use sluice_shared_state::{KeyId, Moment};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// Keys among which one is sought that can make room.
const SEARCH: usize = 64;

/// All keys.
#[derive(Debug)]
pub(super) struct Table {
    places: HashMap<KeyId, u32, RandomState>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    timers: BinaryHeap<Reverse<(Moment, u32, u32)>>,
    most: usize,
    hand: usize,
    stamp: u32,
}

/// One key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) node: KeyNode,
    pub(super) partition: Partition,
    /// Which of those that stood at this place.
    pub(super) stamp: u32,
    /// A call is under way, or about to be.
    pub(super) calls: bool,
    /// It stands in the list of those to look at.
    pub(super) dirty: bool,
    /// Requests that cannot be decided before the store was asked.
    pub(super) waiting: VecDeque<Waiter>,
    /// Requests that wait for tokens that are on their way.
    pub(super) delayed: VecDeque<Waiter>,
    used: bool,
    due: Option<Moment>,
}

// === impl Table ===

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            most: most.clamp(64, u32::MAX as usize),
            hand: 0,
            stamp: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Places, of which some may be empty.
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.places.len() >= self.most
    }

    /// Where a key stands. It counts as used.
    pub(super) fn find(&mut self, key: KeyId) -> Option<u32> {
        let place = *self.places.get(&key)?;
        if let Some(entry) = &mut self.entries[place as usize] {
            entry.used = true;
        }
        Some(place)
    }

    pub(super) fn get(&mut self, place: u32) -> Option<&mut Entry> {
        self.entries.get_mut(place as usize)?.as_mut()
    }

    /// The same, if it is still the one that was meant.
    pub(super) fn same(&mut self, (place, stamp): (u32, u32)) -> Option<&mut Entry> {
        self.get(place).filter(|entry| entry.stamp == stamp)
    }

    pub(super) fn insert(&mut self, node: KeyNode, partition: Partition) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        let key = node.key();
        let entry = Some(Entry {
            node,
            partition,
            stamp: self.stamp,
            calls: false,
            dirty: false,
            waiting: VecDeque::new(),
            delayed: VecDeque::new(),
            used: true,
            due: None,
        });
        let place = match self.free.pop() {
            Some(place) => {
                self.entries[place as usize] = entry;
                place
            }
            None => {
                self.entries.push(entry);
                // `most` fits.
                (self.entries.len() - 1) as u32
            }
        };
        self.places.insert(key, place);
        place
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Entry> {
        let entry = self.entries.get_mut(place as usize)?.take()?;
        self.places.remove(&entry.node.key());
        self.free.push(place);
        Some(entry)
    }

    /// One that can make room: it was not used lately, nobody waits at it, and rather one without tokens. Nothing where
    /// all that were looked at are busy.
    pub(super) fn spare(&mut self, now: Moment) -> Option<u32> {
        let mut spare = None;
        for _ in 0..SEARCH.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let Some(entry) = &mut self.entries[self.hand] else {
                continue;
            };
            if std::mem::take(&mut entry.used) || entry.is_busy() {
                continue;
            }
            // `most` fits.
            let place = self.hand as u32;
            match entry.node.cell().peek(now, 1) {
                Take::Taken(_) => spare = spare.or(Some(place)),
                _ => return Some(place),
            }
        }
        spare
    }

    /// Looks at it then, if not before.
    pub(super) fn schedule(&mut self, place: u32, at: Moment) {
        let Some(entry) = self.get(place) else { return };
        if entry.due.is_none_or(|due| at < due) {
            entry.due = Some(at);
            let stamp = entry.stamp;
            self.timers.push(Reverse((at, place, stamp)));
            self.thin();
        }
    }

    /// Drops timers of keys that are gone or were looked at before, where these are most of them: the time of a key of a
    /// long window may be hours away.
    fn thin(&mut self) {
        if self.timers.len() > 4 * self.places.len() + 1024 {
            let entries = &self.entries;
            self.timers.retain(|Reverse((at, place, stamp))| {
                let entry = entries[*place as usize].as_ref();
                entry.is_some_and(|entry| entry.stamp == *stamp && entry.due == Some(*at))
            });
        }
    }

    /// When the next one is to be looked at.
    pub(super) fn next(&self) -> Option<Moment> {
        self.timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// One whose time has come.
    pub(super) fn due(&mut self, now: Moment) -> Option<u32> {
        while let Some(&Reverse((at, place, stamp))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(entry) = self.same((place, stamp))
                && entry.due == Some(at)
            {
                entry.due = None;
                return Some(place);
            }
        }
        None
    }
}

// === impl Entry ===

impl Entry {
    /// Whether somebody counts on it.
    pub(super) fn is_busy(&self) -> bool {
        self.calls || !self.waiting.is_empty() || !self.delayed.is_empty() || super::super::holds(self.node.rule())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fixtures::sliding;
    use std::sync::Arc;

    fn node(n: u64) -> KeyNode {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        KeyNode::new(KeyId(bytes), Arc::new(sliding("orders", 1)), Moment(0))
    }

    #[test]
    fn timers_of_keys_that_are_gone_do_not_pile_up() {
        let mut table = Table::new(100);
        let kept = table.insert(node(0), Partition(0));
        table.schedule(kept, Moment(500));
        for n in 1..50_000 {
            let place = table.insert(node(n), Partition(0));
            table.schedule(place, Moment(u64::MAX));
            table.remove(place);
        }
        assert!(table.timers.len() <= 2048, "{} timers of one key", table.timers.len());
        assert_eq!(table.due(Moment(499)), None);
        assert_eq!(table.due(Moment(500)), Some(kept));
        assert_eq!(table.due(Moment(501)), None, "looked at once");
    }

    #[test]
    fn only_the_earliest_time_of_a_key_counts() {
        let mut table = Table::new(100);
        let place = table.insert(node(0), Partition(0));
        table.schedule(place, Moment(20));
        table.schedule(place, Moment(10));
        table.schedule(place, Moment(30));
        assert_eq!((table.due(Moment(15)), table.due(Moment(40))), (Some(place), None));
    }

    #[test]
    fn a_busy_key_never_makes_room_and_a_used_one_is_spared_once() {
        let mut table = Table::new(64);
        let (busy, used) = (table.insert(node(0), Partition(0)), table.insert(node(1), Partition(0)));
        table.get(busy).expect("inserted").calls = true;
        // New keys count as used.
        assert_eq!((table.spare(Moment(0)), table.spare(Moment(0))), (None, Some(used)));
        assert_eq!(table.find(node(1).key()), Some(used));
        assert_eq!((table.spare(Moment(0)), table.spare(Moment(0))), (None, Some(used)));
        table.get(used).expect("inserted").calls = true;
        assert_eq!(table.spare(Moment(0)), None);
    }
}
