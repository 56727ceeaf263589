//! Ids of requests.

use bytes::{Bytes, BytesMut};
use sluice_http_semantics::request_id::RequestId;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};

/// Ids are written into blocks of this many: one allocation for all of a block.
const BLOCK: usize = 64;

/// An id is 128 bits in hexadecimal.
const LENGTH: usize = 32;

/// Makes ids that no other worker, node or time makes again: 64 random bits of this worker's life,
/// then 64 bits that walk through all their values in an order of chance.
#[derive(Debug)]
pub(crate) struct Ids {
    life: [u8; LENGTH / 2],
    next: Cell<u64>,
    block: RefCell<BytesMut>,
}

// === impl Ids ===

impl Ids {
    pub(crate) fn new() -> Self {
        // The standard library's only door to the system's randomness.
        let random = |about: u64| RandomState::new().hash_one(about);
        Self {
            life: hex(random(0)),
            next: Cell::new(random(1)),
            block: RefCell::default(),
        }
    }

    /// The next id. Clones are cheap.
    pub(crate) fn next(&self) -> RequestId {
        // An odd step passes through every value before one comes again.
        let next = self.next.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.next.set(next);
        let mut block = self.block.borrow_mut();
        if block.capacity() - block.len() < LENGTH {
            *block = BytesMut::with_capacity(BLOCK * LENGTH);
        }
        block.extend_from_slice(&self.life);
        block.extend_from_slice(&hex(next));
        let id: Bytes = block.split().freeze();
        // Of digits alone: the other way is never taken.
        RequestId::from_digits(id).unwrap_or_else(|| RequestId::from_random(next.into()))
    }
}

fn hex(number: u64) -> [u8; LENGTH / 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; LENGTH / 2];
    for (two, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        two[0] = DIGITS[usize::from(byte >> 4)];
        two[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_hexadecimal_and_never_the_same() {
        let (one, two) = (Ids::new(), Ids::new());
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            for id in [one.next(), two.next()] {
                assert_eq!(id.as_str().len(), LENGTH);
                assert!(id.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
                assert!(seen.insert(id));
            }
        }
    }

    #[test]
    fn numbers_are_written_most_significant_first() {
        assert_eq!(&hex(0x0123_4567_89AB_CDEF), b"0123456789abcdef");
    }
}
