//! A bucket, as workers take from it.

use super::{Take, Token};
use crate::rule::Rule;
use crate::time::Moment;
use std::time::Duration;

/// A bucket, as workers take from it.
#[derive(Debug)]
pub struct BucketCell {}

// === impl BucketCell ===

impl BucketCell {
    /// Empty: nothing is known.
    #[must_use]
    pub fn new(rule: &Rule, now: Moment) -> Self {
        let _ = (rule, now);
        Self {}
    }

    /// See [`Cell::take`](super::Cell::take).
    pub fn take(&self, now: Moment, cost: u32) -> (Take, bool) {
        let _ = (now, cost);
        (Take::Unknown, false)
    }

    /// See [`Cell::peek`](super::Cell::peek).
    #[must_use]
    pub fn peek(&self, now: Moment, cost: u32) -> Take {
        let _ = (now, cost);
        Take::Unknown
    }

    /// See [`Cell::give_back`](super::Cell::give_back).
    pub fn give_back(&self, now: Moment, token: Token) {
        let _ = (now, token);
    }

    /// See [`Cell::standing`](super::Cell::standing).
    #[must_use]
    pub fn standing(&self, now: Moment) -> (u64, Duration) {
        let _ = now;
        (0, Duration::ZERO)
    }
}
