//! A hash map whose copies share what is equal between them.
//!
//! Cloning costs one count. A change copies the way from the root to the entry, or nothing at all where no other map
//! shares that way: so the first build of a large map costs about what a plain hash map does, and a later change of one
//! entry among ten thousand touches three small nodes.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// Entries of a leaf before it is split; a map of no more is one linear scan.
const LEAF: usize = 8;
const BITS: u32 = 5;
/// Below this depth the hash has no bits left: what collides there stays in one leaf.
const DEEPEST: u32 = 64 / BITS;

#[derive(Debug)]
pub(crate) struct Map<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node<K, V> {
    Leaf(Vec<Entry<K, V>>),
    Branch {
        present: u32,
        children: Vec<Arc<Node<K, V>>>,
    },
}

#[derive(Debug, Clone)]
struct Entry<K, V> {
    hash: u64,
    key: K,
    value: V,
}

pub(crate) struct Iter<'m, K, V> {
    leaf: std::slice::Iter<'m, Entry<K, V>>,
    ahead: Vec<&'m Node<K, V>>,
}

// === impl Map ===

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self {
            root: Arc::new(Node::Leaf(Vec::new())),
            len: 0,
        }
    }
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
            len: self.len,
        }
    }
}

impl<K, V> Map<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In an order that only the keys decide.
    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        Iter {
            leaf: [].iter(),
            ahead: vec![&self.root],
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Hash + Eq, V> Map<K, V> {
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = hash(key);
        let (mut node, mut depth) = (&*self.root, 0);
        loop {
            match node {
                Node::Leaf(entries) => return entries.iter().find(|entry| entry.is(hash, key)).map(|e| &e.value),
                Node::Branch { present, children } => {
                    node = children.get(slot(*present, hash, depth)?)?;
                    depth += 1;
                }
            }
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Map<K, V> {
    /// The value of `key`, ready to be changed: its way from the root is this map's own afterwards.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = hash(key);
        let (mut node, mut depth) = (Arc::make_mut(&mut self.root), 0);
        loop {
            match node {
                Node::Leaf(entries) => {
                    return entries
                        .iter_mut()
                        .find(|entry| entry.is(hash, key))
                        .map(|e| &mut e.value);
                }
                Node::Branch { present, children } => {
                    let child = children.get_mut(slot(*present, hash, depth)?)?;
                    node = Arc::make_mut(child);
                    depth += 1;
                }
            }
        }
    }

    /// Gives back what stood there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = hash(&key);
        let old = insert(Arc::make_mut(&mut self.root), Entry { hash, key, value }, 0);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // Nothing is copied for a key that is not there.
        self.get(key)?;
        let old = remove(Arc::make_mut(&mut self.root), hash(key), key, 0);
        self.len -= usize::from(old.is_some());
        old
    }
}

fn insert<K: Hash + Eq + Clone, V: Clone>(node: &mut Node<K, V>, new: Entry<K, V>, depth: u32) -> Option<V> {
    match node {
        Node::Leaf(entries) => {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.is(new.hash, &new.key)) {
                return Some(std::mem::replace(&mut entry.value, new.value));
            }
            if entries.len() < LEAF || depth >= DEEPEST {
                entries.push(new);
                return None;
            }
            let entries = std::mem::take(entries);
            *node = Node::Branch {
                present: 0,
                children: Vec::new(),
            };
            for entry in entries {
                insert(node, entry, depth);
            }
            insert(node, new, depth)
        }
        Node::Branch { present, children } => match slot(*present, new.hash, depth) {
            Some(at) => insert(Arc::make_mut(&mut children[at]), new, depth + 1),
            None => {
                let bit = bit(new.hash, depth);
                *present |= bit;
                let at = (*present & (bit - 1)).count_ones() as usize;
                children.insert(at, Arc::new(Node::Leaf(vec![new])));
                None
            }
        },
    }
}

fn remove<K, V, Q>(node: &mut Node<K, V>, hash: u64, key: &Q, depth: u32) -> Option<V>
where
    K: Borrow<Q> + Clone,
    V: Clone,
    Q: Eq + ?Sized,
{
    match node {
        Node::Leaf(entries) => {
            let at = entries.iter().position(|entry| entry.is(hash, key))?;
            Some(entries.remove(at).value)
        }
        Node::Branch { present, children } => {
            let at = slot(*present, hash, depth)?;
            let old = remove(Arc::make_mut(&mut children[at]), hash, key, depth + 1);
            if children[at].is_bare() {
                children.remove(at);
                *present &= !bit(hash, depth);
                if children.is_empty() {
                    *node = Node::Leaf(Vec::new());
                }
            }
            old
        }
    }
}

fn hash<Q: Hash + ?Sized>(key: &Q) -> u64 {
    // Fixed: equal maps have equal shapes. Only operators choose the keys that are kept.
    foldhash::fast::FixedState::with_seed(0x51_u64).hash_one(key)
}

fn bit(hash: u64, depth: u32) -> u32 {
    1 << ((hash >> (depth * BITS)) & ((1 << BITS) - 1))
}

fn slot(present: u32, hash: u64, depth: u32) -> Option<usize> {
    let bit = bit(hash, depth);
    (present & bit != 0).then(|| (present & (bit - 1)).count_ones() as usize)
}

// === impl Node ===

impl<K, V> Node<K, V> {
    fn is_bare(&self) -> bool {
        matches!(self, Self::Leaf(entries) if entries.is_empty())
    }
}

// === impl Entry ===

impl<K, V> Entry<K, V> {
    fn is<Q>(&self, hash: u64, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.hash == hash && self.key.borrow() == key
    }
}

// === impl Iter ===

impl<'m, K, V> Iterator for Iter<'m, K, V> {
    type Item = (&'m K, &'m V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some((&entry.key, &entry.value));
            }
            match self.ahead.pop()? {
                Node::Leaf(entries) => self.leaf = entries.iter(),
                Node::Branch { children, .. } => self.ahead.extend(children.iter().rev().map(|child| &**child)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// All with one hash, so that the deepest leaf is reached.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Colliding(u32);

    impl Hash for Colliding {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            0u8.hash(state);
        }
    }

    #[test]
    fn keys_of_one_hash_are_kept_apart() {
        let mut map = Map::default();
        for i in 0..40 {
            assert_eq!(map.insert(Colliding(i), i), None);
        }
        assert!((0..40).all(|i| map.get(&Colliding(i)) == Some(&i)));
        for i in 0..40 {
            assert_eq!(map.remove(&Colliding(i)), Some(i));
        }
        assert!(map.is_empty());
    }

    #[test]
    fn a_changed_copy_leaves_the_first_as_it_was() {
        let mut first = Map::default();
        for i in 0..10_000u32 {
            first.insert(i, i);
        }
        let mut second = first.clone();
        *second.get_mut(&77).unwrap() = 0;
        second.remove(&78);
        second.insert(10_000, 1);
        assert_eq!(
            (first.get(&77), first.get(&78), first.len()),
            (Some(&77), Some(&78), 10_000)
        );
        assert_eq!(
            (second.get(&77), second.get(&78), second.len()),
            (Some(&0), None, 10_000)
        );
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0u16..600, any::<u8>()), 0..2000)) {
            let (mut map, mut model, mut copies) = (Map::default(), BTreeMap::new(), Vec::new());
            for (i, (put, key, value)) in steps.into_iter().enumerate() {
                if put {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                if i % 500 == 0 {
                    copies.push((map.clone(), model.clone()));
                }
            }
            copies.push((map, model));
            for (map, model) in copies {
                prop_assert_eq!(map.len(), model.len());
                let all: BTreeMap<_, _> = map.iter().map(|(k, v)| (*k, *v)).collect();
                prop_assert!(model.iter().all(|(k, v)| map.get(k) == Some(v)));
                prop_assert_eq!(all, model);
            }
        }
    }
}
