//! One node: its clock, its key, and what it knows of the store.

use super::{KEY, MS};
use sluice_shared_state::ledger::From;
use sluice_shared_state::limit::{KeyNode, View};
use sluice_shared_state::{Moment, Rule};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Node {
    pub(super) boot: u64,
    pub(super) up: bool,
    pub(super) offset: u64,
    /// Parts in a million that its clock is fast, or slow.
    pub(super) drift: i64,
    pub(super) key: KeyNode,
    pub(super) waiters: VecDeque<(u64, u32, u64)>,
    pub(super) call: Option<u64>,
    pub(super) timer: u64,
    pub(super) epoch: u64,
    pub(super) reached: bool,
    pub(super) away: Moment,
    pub(super) local: bool,
    pub(super) fails: u32,
    pub(super) open_until: u64,
    pub(super) pause: u64,
    pub(super) beat: Option<u64>,
    pub(super) called: u64,
}

/// A view, without what it borrows.
pub(super) struct Seen {
    pub(super) from: From,
    pub(super) epoch: u64,
    pub(super) reached: bool,
    pub(super) away: Moment,
    pub(super) node: usize,
    pub(super) chance: u64,
}

impl Seen {
    pub(super) fn of<'v>(&self, names: &'v [Arc<str>]) -> View<'v> {
        View {
            from: self.from,
            epoch: self.epoch,
            reached: self.reached,
            away: self.away,
            name: &names[self.node],
            live: names,
            round_trip: Duration::from_micros(500),
            chance: self.chance,
        }
    }
}

impl Node {
    pub(super) fn new(boot: u64, offset: u64, drift: i64, rule: &Arc<Rule>) -> Self {
        Self {
            boot,
            up: true,
            offset,
            drift,
            key: KeyNode::new(KEY, Arc::clone(rule), Moment(offset)),
            waiters: VecDeque::new(),
            call: None,
            timer: 0,
            epoch: 0,
            reached: true,
            away: Moment(0),
            local: false,
            fails: 0,
            open_until: 0,
            pause: 100 * MS,
            beat: None,
            called: 0,
        }
    }
}

pub(super) fn mono_of(node: &Node, now: u64) -> Moment {
    let drifted = i128::from(now) * i128::from(1_000_000 + node.drift) / 1_000_000;
    Moment(node.offset + u64::try_from(drifted).unwrap())
}
