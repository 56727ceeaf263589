//! What a configuration is, as one number: equal on two nodes when their parts are.

use sha2::{Digest as _, Sha256};
use sluice_consensus::PartChange;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The digest of a set of parts, kept while they change: the sum of a hash of each, so that a
/// change costs no more than what it changes.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    sum: u128,
    parts: HashMap<Arc<str>, u128>,
}

// === impl Digest ===

impl Digest {
    /// What `changes`, made one after the other, come to: each part once, and only where it differs
    /// from what is there. So a part that a node could not serve, and that is gone again, is nothing
    /// that it has to look at.
    pub(crate) fn net(&self, changes: impl Iterator<Item = PartChange>) -> Vec<PartChange> {
        let last: BTreeMap<Arc<str>, Option<Arc<str>>> = changes.map(|change| (change.key, change.value)).collect();
        let differs = |(key, value): &(Arc<str>, Option<Arc<str>>)| {
            self.parts.get(key).copied() != value.as_ref().map(|value| part(key, value))
        };
        last.into_iter()
            .filter(differs)
            .map(|(key, value)| PartChange { key, value })
            .collect()
    }

    /// The digest after `changes`, of each part one, without making them.
    pub(crate) fn after(&self, changes: &[PartChange]) -> [u8; 16] {
        let mut sum = self.sum;
        for change in changes {
            if let Some(old) = self.parts.get(&change.key) {
                sum = sum.wrapping_sub(*old);
            }
            if let Some(value) = &change.value {
                sum = sum.wrapping_add(part(&change.key, value));
            }
        }
        sum.to_be_bytes()
    }

    /// Makes `changes`.
    pub(crate) fn advance(&mut self, changes: &[PartChange]) {
        for change in changes {
            self.put(&change.key, change.value.as_ref());
        }
    }

    fn put(&mut self, key: &Arc<str>, value: Option<&Arc<str>>) {
        let old = match value {
            Some(value) => {
                let new = part(key, value);
                self.sum = self.sum.wrapping_add(new);
                self.parts.insert(Arc::clone(key), new)
            }
            None => self.parts.remove(key),
        };
        self.sum = self.sum.wrapping_sub(old.unwrap_or(0));
    }
}

fn part(key: &str, value: &str) -> u128 {
    let mut hash = Sha256::new();
    hash.update((key.len() as u64).to_be_bytes());
    hash.update(key);
    hash.update(value);
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>) -> PartChange {
        PartChange {
            key: key.into(),
            value: value.map(Arc::from),
        }
    }

    #[test]
    fn whatever_way_led_to_the_parts_the_digest_is_the_same() {
        let mut one = Digest::default();
        one.advance(&[change("a", Some("1")), change("b", Some("2"))]);
        let mut other = Digest::default();
        other.advance(&[change("b", Some("9")), change("c", Some("3"))]);
        let last = [change("b", Some("2")), change("c", None), change("a", Some("1"))];
        assert_eq!(other.after(&last), one.after(&[]));
        other.advance(&last);
        assert_eq!(other.after(&[]), one.after(&[]));
    }

    #[test]
    fn what_comes_and_goes_on_the_way_is_no_change() {
        let mut here = Digest::default();
        here.advance(&[change("a", Some("1")), change("b", Some("2"))]);
        let way = [
            change("poison", Some("x")),
            change("a", Some("9")),
            change("b", None),
            change("a", Some("1")),
            change("poison", None),
            change("c", Some("3")),
        ];
        let net = here.net(way.into_iter());
        assert_eq!(net, [change("b", None), change("c", Some("3"))]);
    }

    #[test]
    fn values_that_change_places_change_the_digest() {
        let mut one = Digest::default();
        one.advance(&[change("a", Some("1")), change("b", Some("2"))]);
        let mut other = Digest::default();
        other.advance(&[change("a", Some("2")), change("b", Some("1"))]);
        assert_ne!(one.after(&[]), other.after(&[]));
    }
}
