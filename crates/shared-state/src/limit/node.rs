//! One key on one node, as the task that talks to the store sees it.

use super::cell::Cell;
use crate::key::KeyId;
use crate::ledger::{From, Reply, Request};
use crate::rule::Rule;
use crate::time::Moment;
use std::sync::Arc;
use std::time::Duration;

/// One key on one node. Pure: what it is told are times and events, what it answers are calls to make.
#[derive(Debug)]
pub struct KeyNode {
    key: KeyId,
    rule: Arc<Rule>,
    cell: Arc<Cell>,
}

/// What a node knows that concerns all of its keys.
#[derive(Debug, Clone, Copy)]
pub struct View<'v> {
    /// Who this node is.
    pub from: From,
    /// The store's epoch as last told.
    pub epoch: u64,
    /// Whether the store is asked at all. Not: the node goes on by itself.
    pub reached: bool,
    /// This node's name, and those of all live ones (this one among them), sorted: shares are dealt by them.
    pub name: &'v str,
    /// See there.
    pub live: &'v [Arc<str>],
    /// A call's usual way there and back.
    pub round_trip: Duration,
    /// 64 bits of chance, for jitter.
    pub chance: u64,
}

/// Requests that wait for a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waiters {
    /// How many.
    pub requests: u32,
    /// What they want in all.
    pub cost: u64,
    /// Since when the first waits.
    pub since: Moment,
}

/// What a key wants.
#[derive(Debug, Default)]
pub struct Step {
    /// A call to make now. Until its reply or its loss is told there is no other.
    pub call: Option<Request>,
    /// When to look at it again, if nothing happens before.
    pub next: Option<Moment>,
    /// It holds nothing and nobody misses it: it may be forgotten.
    pub idle: bool,
}

// === impl KeyNode ===

impl KeyNode {
    /// A key that this node did not know.
    #[must_use]
    pub fn new(key: KeyId, rule: Arc<Rule>, now: Moment) -> Self {
        let _ = now;
        Self {
            key,
            rule,
            cell: Arc::default(),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The limit, as it is now.
    #[must_use]
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// The same limit with other numbers.
    pub fn set_rule(&mut self, now: Moment, rule: Arc<Rule>) {
        let _ = now;
        self.rule = rule;
    }

    /// What its workers take from.
    #[must_use]
    pub fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Looks at it: a request waits, a worker asked for it, or its time has come.
    pub fn poll(&mut self, now: Moment, waiters: Waiters, view: &View<'_>) -> Step {
        let _ = (now, waiters, view);
        Step::default()
    }

    /// The reply to its call. Tells how many tokens are for requests that wait, at once and past the cell; all others
    /// try the cell again.
    pub fn reply(&mut self, now: Moment, reply: Reply, view: &View<'_>) -> u64 {
        let _ = (now, reply, view);
        0
    }

    /// Its call was given up: no reply within 20 ms, or the connection ended. A reply that comes later is not told.
    pub fn lost(&mut self, now: Moment, view: &View<'_>) {
        let _ = (now, view);
    }

    /// Gives all back: the node is leaving, or forgets the key. The call tells the store, if there is anything to tell.
    pub fn leave(&mut self, now: Moment, view: &View<'_>) -> Option<Request> {
        let _ = (now, view);
        None
    }
}
