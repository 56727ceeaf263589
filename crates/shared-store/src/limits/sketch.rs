//! The keys that were refused most, in bounded memory.

use foldhash::fast::RandomState;
use sluice_shared_state::{KeyId, Moment, Rule};
use std::collections::HashMap;
use std::sync::Arc;

/// Keys in one sketch: some 60 KiB at the most.
const MOST: usize = 256;

/// Of a key's value this much is kept.
const TEXT: usize = 128;

/// Counts how often keys were refused, for the [`MOST`] of them (Space-Saving: Metwally, Agrawal, El Abbadi 2005). A key
/// that is new takes the place of the one refused least, with its count: any key refused more often than one in
/// [`MOST`] times is here.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    places: HashMap<KeyId, usize, RandomState>,
    /// Apart from the rest, so that the least is found in some 100 ns.
    counts: Vec<u64>,
    keys: Vec<Refusals>,
}

/// Refusals of one key.
#[derive(Debug, Clone)]
pub(super) struct Refusals {
    pub(super) key: KeyId,
    pub(super) rule: Arc<Rule>,
    pub(super) value: Arc<str>,
    /// How many of its count may be another's.
    pub(super) excess: u64,
    pub(super) last: Moment,
}

// === impl Sketch ===

impl Sketch {
    /// A request was refused. Some 10 ns where the key is here.
    pub(super) fn count(&mut self, now: Moment, key: KeyId, rule: &Arc<Rule>, value: &str) {
        if let Some(&place) = self.places.get(&key) {
            self.counts[place] += 1;
            self.keys[place].last = now;
            return;
        }
        let mut refusals = Refusals {
            key,
            rule: Arc::clone(rule),
            value: cut(value).into(),
            excess: 0,
            last: now,
        };
        if self.counts.len() < MOST {
            self.places.insert(key, self.counts.len());
            self.counts.push(1);
            self.keys.push(refusals);
            return;
        }
        let least = self.counts.iter().enumerate().min_by_key(|(_, count)| **count);
        let (place, &count) = least.expect("a full sketch is not empty");
        refusals.excess = count;
        self.places.remove(&self.keys[place].key);
        self.places.insert(key, place);
        self.counts[place] = count + 1;
        self.keys[place] = refusals;
    }

    /// What was refused long ago counts half.
    pub(super) fn fade(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.keys.iter_mut().for_each(|key| key.excess /= 2);
        let mut place = 0;
        while place < self.counts.len() {
            if self.counts[place] > 0 {
                place += 1;
                continue;
            }
            self.counts.swap_remove(place);
            self.places.remove(&self.keys.swap_remove(place).key);
            if let Some(moved) = self.keys.get(place) {
                self.places.insert(moved.key, place);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Refusals)> {
        self.counts.iter().copied().zip(&self.keys)
    }
}

/// At most [`TEXT`] bytes of it, whole characters.
fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fixtures::sliding;
    use sluice_shared_state::Salt;

    #[test]
    fn who_is_refused_most_is_found_in_a_flood_of_others() {
        let (mut sketch, rule, salt) = (Sketch::default(), Arc::new(sliding("orders", 1)), Salt([7; 16]));
        let count = |sketch: &mut Sketch, value: &str| {
            sketch.count(Moment(1), salt.key(rule.id, value.as_bytes()), &rule, value);
        };
        for n in 0..50_000 {
            count(&mut sketch, &format!("one of many {n}"));
            if n % 50 == 0 {
                count(&mut sketch, "the loud one");
            }
        }
        assert_eq!(sketch.counts.len(), MOST);
        let (count, most) = sketch.iter().max_by_key(|(count, _)| *count).expect("full");
        assert_eq!(&*most.value, "the loud one");
        assert!(
            count >= 1000 && count - most.excess <= 1000,
            "{count} less {}",
            most.excess
        );
        assert_eq!(
            sketch.counts.iter().sum::<u64>(),
            51_000,
            "each refusal is counted once"
        );
    }

    #[test]
    fn what_was_refused_long_ago_is_forgotten() {
        let (mut sketch, rule, salt) = (Sketch::default(), Arc::new(sliding("orders", 1)), Salt([7; 16]));
        for (value, times) in [("a", 1), ("b", 9), ("c", 1), ("d", 2)] {
            for _ in 0..times {
                sketch.count(Moment(1), salt.key(rule.id, value.as_bytes()), &rule, value);
            }
        }
        sketch.fade();
        let left: Vec<_> = sketch.iter().map(|(count, key)| (count, &*key.value)).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        for (value, count) in [("b", 4), ("d", 1)] {
            assert!(left.contains(&(count, value)), "{left:?}");
            let place = sketch.places[&salt.key(rule.id, value.as_bytes())];
            assert_eq!(&*sketch.keys[place].value, value);
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ä".repeat(100);
        assert_eq!(cut(&long).len(), 128);
        let odd = format!("x{long}");
        assert_eq!(cut(&odd).len(), 127);
        assert_eq!(cut("short"), "short");
    }
}
