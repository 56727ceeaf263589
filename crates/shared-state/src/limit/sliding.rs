//! What a node does with a sliding window.

use super::cell::tokens::TokenCell;
use super::node::{Heard, Look, View, Waiters};
use crate::ledger::sliding::Reply;
use crate::rule::Rule;
use crate::time::Moment;

/// A sliding window on one node.
#[derive(Debug)]
pub(super) struct Machine {}

// === impl Machine ===

impl Machine {
    /// Nothing is known yet.
    #[must_use]
    pub(super) fn new(rule: &Rule, now: Moment) -> Self {
        let _ = (rule, now);
        Self {}
    }

    /// The same limit with other numbers.
    pub(super) fn set_rule(&mut self, now: Moment, rule: &Rule, cell: &TokenCell) {
        let _ = (now, rule, cell);
    }

    /// See [`KeyNode::poll`](super::KeyNode::poll).
    pub(super) fn poll(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, cell: &TokenCell) -> Look {
        let _ = (now, waiters, view, cell);
        Look::default()
    }

    /// See [`KeyNode::reply`](super::KeyNode::reply).
    pub(super) fn reply(&mut self, now: Moment, heard: Heard<Reply>, view: &View<'_>, cell: &TokenCell) -> u64 {
        let _ = (now, view, cell);
        match heard {
            Heard::Epoch | Heard::Stale | Heard::Own(_) => 0,
        }
    }

    /// See [`KeyNode::lost`](super::KeyNode::lost).
    pub(super) fn lost(&mut self, now: Moment, view: &View<'_>, cell: &TokenCell) {
        let _ = (now, view, cell);
    }

    /// See [`KeyNode::leave`](super::KeyNode::leave).
    pub(super) fn leave(&mut self, now: Moment, view: &View<'_>, cell: &TokenCell) -> Look {
        let _ = (now, view, cell);
        Look::default()
    }
}
