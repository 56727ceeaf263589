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
