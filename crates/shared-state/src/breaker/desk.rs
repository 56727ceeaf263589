//! All breakers of one node, as the task that talks to the store sees them: when it calls, with what, and what it makes
//! of the answer.
//!
//! One call is under way at a time. It is made every [`TICK`], even with nothing to say: then it asks whether anything
//! changed, so that a message that was lost is made up for. At once where a worker woke the task: a threshold was passed,
//! a probe is wanted, or has ended.

use super::broken::{Broken, broken};
use super::cell::BreakerCell;
use super::node::{BreakerNode, Change, Seen, View, newer};
use super::rule::{BreakerKey, BreakerRule};
use super::wire::{Ask, Call, Caller, Hex, Opinion, Reply, Told};
use crate::time::Moment;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// All breakers of one node.
#[derive(Debug)]
pub struct Desk {
    from: Caller,
    nodes: BTreeMap<Hex, BreakerNode>,
    /// The last one that a full call had room for.
    cursor: Hex,
    live: u32,
    /// Whether the store is asked. Otherwise breakers are this node's own.
    reached: bool,
    era: u64,
    changes: u64,
    chance: u32,
    next: Moment,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    sent: Moment,
    asked: Vec<Hex>,
}

/// What came of a step.
#[derive(Debug, Default)]
pub struct Step {
    /// A call to make now. Until its reply or its loss is told there is no other.
    pub call: Option<Call>,
    /// What this node's breakers do differently.
    pub changes: Vec<Change>,
    /// Breakers of which this node should find out how the upstream is.
    pub checks: Vec<BreakerKey>,
}

/// How often the store is asked.
pub const TICK: Duration = Duration::from_millis(100);
/// How soon after a call that was lost the next is made.
const AGAIN: Duration = Duration::from_millis(20);
/// Breakers of one call: what a script does in about a millisecond.
const BATCH: usize = 32;

// === impl Desk ===

impl Desk {
    /// Without breakers; the store is not reached yet.
    #[must_use]
    pub fn new(from: Caller) -> Self {
        Self {
            from,
            nodes: BTreeMap::new(),
            cursor: Hex::default(),
            live: 1,
            reached: false,
            era: 0,
            changes: 0,
            chance: 0,
            next: Moment(0),
            under_way: None,
        }
    }

    /// The cell of a breaker, made where there is none: `waker` is woken when [`Self::poll`] should be called at once.
    pub fn cell(&mut self, now: Moment, key: &BreakerKey, rule: &Arc<BreakerRule>, waker: &Waker) -> Arc<BreakerCell> {
        let node = self.nodes.entry(Hex::key(key.id())).or_insert_with(|| {
            let cell = BreakerCell::with_waker(Arc::clone(rule), waker.clone());
            waker.wake_by_ref();
            BreakerNode::new(key.clone(), Arc::new(cell), now)
        });
        newer(node.cell(), rule);
        Arc::clone(node.cell())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Opens or closes one by hand; None: by evidence again. What changed by it.
    pub fn force(&mut self, now: Moment, key: &BreakerKey, open: Option<bool>) -> Option<Change> {
        self.nodes.get_mut(&Hex::key(key.id()))?.force(now, open)
    }

    /// What a check that was asked for has found.
    pub fn opinion(&mut self, key: &BreakerKey, well: bool) {
        if let Some(node) = self.nodes.get_mut(&Hex::key(key.id())) {
            node.opine(if well { Opinion::Well } else { Opinion::Failing });
        }
    }

    /// How many nodes are live, this one among them.
    pub fn set_live(&mut self, live: u32) {
        self.live = live.max(1);
    }

    /// Whether the store is asked from now on.
    pub fn set_reached(&mut self, reached: bool) {
        if reached != self.reached {
            self.reached = reached;
            self.miss();
        }
    }

    /// Messages may have been missed: all is asked for.
    pub fn miss(&mut self) {
        self.nodes.values_mut().for_each(BreakerNode::must_ask);
        self.next = Moment(0);
    }

    /// When [`Self::poll`] should be called, if nothing happens before.
    #[must_use]
    pub fn next(&self) -> Moment {
        self.next
    }

    /// Collects evidence and says what to tell the store. `chance` is random.
    pub fn poll(&mut self, now: Moment, chance: u32) -> Step {
        let mut step = Step::default();
        if self.under_way.is_some() || self.nodes.is_empty() {
            self.next = now + TICK;
            return step;
        }
        self.chance = chance;
        self.next = now + TICK;
        let view = View {
            from: &self.from,
            chance,
        };
        for node in self.nodes.values_mut() {
            node.collect(now, self.live);
            if !self.reached {
                step.changes.extend(node.alone(now, &view));
            }
        }
        if !self.reached {
            return step;
        }
        let asks = self.asks(now);
        if asks.is_empty() && broken(Broken::NeverPolls) {
            return step;
        }
        self.under_way = Some(UnderWay {
            sent: now,
            asked: asks.iter().map(|ask| ask.key.clone()).collect(),
        });
        step.call = Some(Call {
            from: self.from.clone(),
            live: self.live,
            era: self.era,
            chance,
            asks,
        });
        step
    }

    /// What there is to say, as far as a call has room for it. The rest goes with the next, right after it.
    fn asks(&mut self, now: Moment) -> Vec<Ask> {
        let mut asks = Vec::new();
        let cursor = self.cursor.clone();
        let ranges = [
            (Bound::Excluded(&cursor), Bound::Unbounded),
            (Bound::Unbounded, Bound::Included(&cursor)),
        ];
        for range in ranges {
            for (id, node) in self.nodes.range_mut::<Hex, _>(range) {
                if asks.len() == BATCH {
                    self.next = now;
                    return asks;
                }
                if let Some(ask) = node.ask(now) {
                    asks.push(ask);
                    self.cursor.clone_from(id);
                }
            }
        }
        asks
    }

    /// The reply to its call, in time.
    pub fn reply(&mut self, now: Moment, reply: &Reply) -> Step {
        let mut step = Step::default();
        let Some(under_way) = self.under_way.take() else {
            return step;
        };
        let view = View {
            from: &self.from,
            chance: self.chance,
        };
        for answer in &reply.answers {
            let Some(node) = self.nodes.get_mut(&answer.told.key) else {
                continue;
            };
            let heard = node.reply(now, under_way.sent, answer, &view);
            step.changes.extend(heard.change);
            if heard.check {
                step.checks.push(node.seen().key);
            }
        }
        if (reply.era, reply.changes) != (self.era, self.changes) {
            let all = reply.era != self.era;
            (self.era, self.changes) = (reply.era, reply.changes);
            for (id, node) in &mut self.nodes {
                if all || !under_way.asked.contains(id) {
                    node.must_ask();
                    self.next = now;
                }
            }
        }
        step
    }

    /// Its call was given up. A reply that comes later is not told.
    pub fn lost(&mut self, now: Moment) {
        let Some(under_way) = self.under_way.take() else { return };
        for id in &under_way.asked {
            if let Some(node) = self.nodes.get_mut(id) {
                node.lost();
            }
        }
        self.next = now + AGAIN;
    }

    /// The store has published this.
    pub fn news(&mut self, now: Moment, told: &Told) -> Step {
        let mut step = Step::default();
        let view = View {
            from: &self.from,
            chance: self.chance,
        };
        if let Some(node) = self.nodes.get_mut(&told.key) {
            step.changes.extend(node.news(now, told, &view));
            if node.wants_to_ask() {
                self.next = now;
            }
        }
        step
    }

    /// As people see them, sorted by whose they are.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self.nodes.values().map(BreakerNode::seen).collect();
        seen.sort_by(|a, b| a.key.cmp(&b.key));
        seen
    }

    /// What the first one does, by which decision, and whether by the cluster's.
    #[cfg(test)]
    pub(super) fn glance(&self) -> (super::state::Kind, u64, bool) {
        let (_, node) = self.nodes.first_key_value().expect("the world has a breaker");
        node.glance()
    }

    /// Forgets those whose cell nobody else holds. Their keys.
    pub fn forget_left(&mut self) -> Vec<BreakerKey> {
        let left: Vec<(Hex, BreakerKey)> = self
            .nodes
            .values()
            .filter(|node| node.is_left())
            .map(|node| (node.id().clone(), node.seen().key))
            .collect();
        left.into_iter()
            .map(|(id, key)| {
                self.nodes.remove(&id);
                key
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
