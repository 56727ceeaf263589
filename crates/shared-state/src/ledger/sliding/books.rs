//! What is kept of a sliding window, and what one call does with it.
//!
//! A window of W is cut into [`SLOTS`] slots. Kept are the tokens that were *spent* in each slot, and for each node the
//! tokens that are *out* there, each with the slot from which it may be spent. A node spends what is out without asking,
//! and tells when with its next call; where it was spent matters only a window later. And because it is known when which
//! token falls out of the window, tokens are handed out ahead of that time, with a not-before.
//!
//! The rule that keeps it exact: with U(z) the load of the window that ends in slot z — all spends of that window, and
//! all that is out and may be spent by z — a token may be given out for slot z only if U(z') stays within the limit for
//! *every* z' ≥ z. Recording a spend only moves a charge to an earlier end.

mod load;
mod shares;
mod told;

pub use shares::WORTH_A_LEASE;

use super::{Call, Grant, Numbers, Reply};
use crate::ledger::epoch::{At, learn};
use crate::ledger::look::{self, Looked};
use crate::ledger::{From, Reply as Answer};
use crate::rule::Rule;
use crate::time::StoreTime;
use shares::Curve;
use std::time::Duration;

/// Slots of a window. A true window touches one more at most, and so many are kept.
pub const SLOTS: u64 = 100;
/// After which a node gives up a call; tokens for requests that wait are spent by then or never. Microseconds.
pub const GIVEN_UP: u64 = 20_000;
/// The longest horizon, as hundredths of the window and in microseconds.
const HORIZON_PERCENT: u64 = 41;
const HORIZON_MOST: u64 = 800_000;
/// The shortest, in microseconds; of short windows a twentieth.
const HORIZON_LEAST: u64 = 50_000;
/// How long past its horizon a lease may be spent, in microseconds at most; of short windows ten slots. A store that falls
/// silent has failed three calls by then, so that a node goes on with what it held.
const GRACE_MOST: u64 = 100_000;

/// What is kept of one key.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Count {
    epoch: u64,
    version: u64,
    limit: u64,
    /// Spends of each slot, by slot.
    spent: Vec<(u64, u64)>,
    /// In the order in which they came.
    nodes: Vec<Node>,
}

/// What is known of one process. All slots are absolute, counted from the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Whose.
    pub from: From,
    /// When what is out at it ends, in the store's microseconds. Never falls.
    end: u64,
    /// Granted, and the node said that it got it: from which slot on, how many; by slot.
    sure: Vec<(u64, u64)>,
    /// Granted by the call `seq`.
    pending: Vec<(u64, u64)>,
    /// Tokens of its stream that were heard of.
    heard: u64,
    seq: u64,
    /// The call by which it became known, if not by a declaration. Who has not had the reply to it may still tell of a
    /// lease that was charged when it ended.
    since: u64,
    demand: f64,
    /// Set aside for it while the store learns.
    reserve: Option<u64>,
    /// Instant tokens of the call `seq`: in which slot they are charged, how many.
    instant: (u64, u64),
}

/// The window's measures, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Measures {
    slot: u64,
    horizon: (u64, u64),
    grace: u64,
}

/// One call. See [`Ledger::serve`](crate::ledger::Ledger::serve).
pub(super) fn serve(count: &mut Count, at: &At<'_>, numbers: &Numbers, call: &Call) -> Answer {
    count.bring_to(at, numbers);
    let measures = Measures::of(numbers.window);
    let (now, present) = (at.now.0, at.now.0 / measures.slot);
    let me = count.nodes.iter().position(|node| node.from == at.header.from);
    let fresh = me.is_none();
    let me = me.unwrap_or_else(|| {
        count.nodes.push(Node::new(at.header.from));
        count.nodes.len() - 1
    });
    let Count { spent, nodes, .. } = count;
    let node = &mut nodes[me];
    if call.seq <= node.seq {
        return Answer::Stale;
    }
    if let Some(declared) = &call.declare {
        if let Some(rest) = node.declare(spent, declared, call.seq, at, &measures, numbers) {
            return Answer::Sliding(Reply::Own(rest));
        }
    } else if node.reserve.is_some() || !at.learning(learn(Duration::from_micros(numbers.window))).is_zero() {
        // It owes a declaration: nothing is granted before.
        return Answer::Epoch(at.epoch);
    } else if fresh {
        (node.heard, node.since) = (call.first, call.seq);
    }
    let fresh = call.ack < node.since;
    node.acknowledge(spent, call);
    node.hear(spent, call, fresh, now, &measures);
    grant(count, me, at, numbers, call, (fresh, present))
}

/// What the node may spend now, after its report was heard.
fn grant(
    count: &mut Count,
    me: usize,
    at: &At<'_>,
    numbers: &Numbers,
    call: &Call,
    (fresh, present): (bool, u64),
) -> Answer {
    let measures = Measures::of(numbers.window);
    let (now, unit) = (at.now.0, call.unit.max(1));
    let limit = count.usable_limit(at);
    let shares = count.shares(me, limit, &measures, numbers);
    let horizon_slots = shares.horizon.1 / measures.slot;
    let mut load = count.load(present, present + horizon_slots, limit);

    let over = positive(-load.free[0]);

    // For requests that wait: spent at once, as late as they may be.
    let mut instant = call.waiting.min(u64::try_from(load.free[0]).unwrap_or(0));
    instant -= instant % unit;
    if instant > 0 {
        let slot = (now + GIVEN_UP) / measures.slot;
        add(&mut count.spent, slot, instant);
        count.nodes[me].instant = (slot, instant);
        load.charge(instant);
    }

    let curve = count.curve(me, call, &shares, &load, &measures, limit);
    let Curve {
        mut cumulative,
        fair,
        spare,
        lean,
    } = curve;
    load.pull_forward(&mut cumulative);
    let total = cumulative.last().copied().unwrap_or(0);
    let mut pieces = Vec::new();
    let mut before = 0;
    for (slot, &sum) in (present..).zip(&cumulative) {
        if sum > before {
            pieces.push((slot, positive(sum - before)));
            before = sum;
        }
    }

    let held: u64 = sum(&count.nodes[me].sure);
    let at_once = pieces
        .first()
        .map_or(0, |&(slot, tokens)| if slot == present { tokens } else { 0 });
    let next = count
        .next(&load, total, unit, now, &measures)
        .unwrap_or(numbers.window + measures.slot);
    let free = load.free[0] - total;
    // Never sooner than was said before: the node may not get this reply, and goes by the one before then.
    let node = &mut count.nodes[me];
    node.end = node.end.max(now + shares.horizon.1 + measures.grace);
    let reply = Grant {
        pieces: pieces
            .iter()
            .map(|&(slot, tokens)| ((slot * measures.slot).saturating_sub(now), tokens))
            .collect(),
        life: node.end - now,
        horizon: shares.horizon.1,
        nodes: shares.nodes,
        instant,
        more: load.free[0] - signed(at_once) >= signed(unit) && !fair,
        tight: spare <= 0.0,
        next,
        any: positive(total) + held > 0 || !lean,
        fresh,
        free: positive(free),
        lean,
        over,
    };
    node.pending = pieces;
    if node.demand <= 0.0 && node.sure.is_empty() && node.pending.is_empty() {
        count.nodes.remove(me);
    }
    Answer::Sliding(Reply::Granted(Box::new(reply)))
}

// === impl Count ===

impl Count {
    /// As people see it. What another epoch left is not believed.
    pub(in crate::ledger) fn look(&self, now: StoreTime, epoch: u64, rule: &Rule) -> Looked {
        if self.epoch != epoch {
            return look::whole(rule);
        }
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| (node.from.node, node.end, node.out(), node.reserve));
        look::sliding(
            now,
            rule,
            look::limit_of(rule, self.version, self.limit),
            &self.spent,
            nodes,
        )
    }

    /// Brings it into the present: epoch, limit, what is older than the window, leases that have ended.
    fn bring_to(&mut self, at: &At<'_>, numbers: &Numbers) {
        if self.epoch != at.epoch {
            // What another epoch left is not believed.
            *self = Self {
                epoch: at.epoch,
                ..Self::default()
            };
        }
        if numbers.version >= self.version {
            (self.version, self.limit) = (numbers.version, numbers.limit);
        }
        let measures = Measures::of(numbers.window);
        let (now, present) = (at.now.0, at.now.0 / measures.slot);
        let Self { spent, nodes, .. } = self;
        spent.retain(|&(slot, _)| slot + SLOTS >= present);
        let window = Duration::from_micros(numbers.window);
        let reserved_until = at
            .born
            .map_or(0, |born| (born + learn(window)).0 + numbers.window + measures.slot);
        nodes.retain(|node| match node.reserve {
            // What it did not tell of counts as spent at the end.
            None if node.end < now => {
                let left = node.out();
                if left > 0 {
                    add(spent, node.end / measures.slot, left);
                }
                false
            }
            None => true,
            Some(_) => now <= reserved_until,
        });
        // A lease may have ended so long ago that its window is over too.
        spent.retain(|&(slot, _)| slot + SLOTS >= present);
    }

    /// The limit without what nodes that do not reach the store may do by themselves.
    fn usable_limit(&self, at: &At<'_>) -> u64 {
        let (live, without) = (u64::from(at.header.live), u64::from(at.header.without));
        if live == 0 || without == 0 {
            return self.limit;
        }
        self.limit.saturating_sub(without * self.limit.div_ceil(live))
    }

    /// What is known of each node.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Spends of each slot.
    #[must_use]
    pub fn spent(&self) -> &[(u64, u64)] {
        &self.spent
    }
}

// === impl Node ===

impl Node {
    fn new(from: From) -> Self {
        Self {
            from,
            end: 0,
            sure: Vec::new(),
            pending: Vec::new(),
            heard: 0,
            seq: 0,
            since: 0,
            demand: 0.0,
            reserve: None,
            instant: (0, 0),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &(u64, u64)> {
        self.sure.iter().chain(&self.pending)
    }

    /// Tokens that are out at it.
    #[must_use]
    pub fn out(&self) -> u64 {
        self.pieces().map(|(_, tokens)| tokens).sum()
    }

    /// Tokens of its stream that were heard of.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// What is set aside for it.
    #[must_use]
    pub fn reserve(&self) -> Option<u64> {
        self.reserve
    }
}

// === impl Measures ===

/// How far ahead of a call its grant may reach, at most.
#[must_use]
pub fn farthest(window: Duration) -> Duration {
    let measures = Measures::of(Numbers::micros(window));
    Duration::from_micros(measures.horizon.1 + measures.slot)
}

impl Measures {
    fn of(window: u64) -> Self {
        let slot = window.div_ceil(SLOTS);
        Self {
            slot,
            horizon: (
                HORIZON_LEAST.min(window / 20),
                HORIZON_MOST.min(window / 100 * HORIZON_PERCENT),
            ),
            grace: GRACE_MOST.min(10 * slot),
        }
    }
}

fn add(slots: &mut Vec<(u64, u64)>, slot: u64, tokens: u64) {
    // Most spends are recent.
    let after = slots.iter().rposition(|&(other, _)| other <= slot);
    match after {
        Some(at) if slots[at].0 == slot => slots[at].1 += tokens,
        Some(at) => slots.insert(at + 1, (slot, tokens)),
        None => slots.insert(0, (slot, tokens)),
    }
}

fn sum(slots: &[(u64, u64)]) -> u64 {
    slots.iter().map(|(_, tokens)| tokens).sum()
}

/// Counts of tokens and microseconds stay below 2⁵³.
fn float(number: u64) -> f64 {
    number as f64
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

fn positive(tokens: i64) -> u64 {
    u64::try_from(tokens).unwrap_or(0)
}

fn seconds(micros: u64) -> f64 {
    float(micros) / 1e6
}
