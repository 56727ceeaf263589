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

use super::{Call, Declared, Grant, Numbers, Reply, Told};
use crate::broken::{Broken, broken};
use crate::ledger::epoch::{At, learn};
use crate::ledger::look::{self, Looked};
use crate::ledger::{From, Reply as Answer};
use crate::rule::Rule;
use crate::time::StoreTime;
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
/// Calls for each admitted request that are aimed at.
const CALLS_EXACT: f64 = 0.0055;
const CALLS_FAST: f64 = 0.0040;
/// The part of what nobody needs that nodes hold beyond their own need: what they go on with should the store go away.
const STANDBY: f64 = 0.3;
/// Of so few tokens none is kept back: a small limit would be held by those who do not need it.
const LITTLE: f64 = 2.0;
/// So many tokens within a horizon are worth a lease. Of fewer, what would be held here is missed elsewhere: a call for
/// each request uses a small limit whole.
pub const WORTH_A_LEASE: f64 = 5.0;
/// So many, where margins are small beside what is spare: a lease saves calls then, and costs nobody anything.
const WORTH_KEEPING: f64 = 2.0;
/// The part of what is spare that margins against chance may take.
const MARGIN: f64 = 1.0 / 3.0;
/// The part of the limit that nobody's margin may touch.
const SPARE: f64 = 0.05;

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

/// The load of the windows that end now and in the slots after.
struct Load {
    /// The present slot.
    present: u64,
    /// U(z) for z = present, present + 1, …
    of: Vec<i64>,
    /// L − max of U(z') for z' ≥ z.
    free: Vec<i64>,
}

/// How long a lease should suffice, and whose share is how great.
struct Shares {
    nodes: u64,
    /// Seconds, and in microseconds.
    horizon: (f64, u64),
    /// Tokens a second that come back.
    rate: f64,
    /// No node needs more: the sum of all demands cut to it is `rate`.
    level: f64,
    /// The sum of all demands, cut to `level`.
    cut: f64,
    /// The caller's part of it.
    part: f64,
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

/// What a node may get until each slot from the present one to the horizon.
struct Curve {
    cumulative: Vec<i64>,
    /// Fairness held it back.
    fair: bool,
    /// What is free beyond everybody's demand: the caller's part of it.
    spare: f64,
    /// Its demand is worth a lease.
    lean: bool,
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

    fn shares(&self, me: usize, limit: u64, measures: &Measures, numbers: &Numbers) -> Shares {
        let rate = float(limit) / seconds(numbers.window);
        let calls = if numbers.fast { CALLS_FAST } else { CALLS_EXACT };
        let mut demands: Vec<f64> = self.nodes.iter().map(|node| node.demand).filter(|d| *d > 0.0).collect();
        let nodes = demands.len().max(1) as u64;
        let total = demands.iter().fold(0.0, |sum, demand| sum + demand);
        let horizon = float(nodes) / (calls * total.min(rate).max(1e-9)) * 1e6;
        let (least, most) = measures.horizon;
        // Cut to a number that fits before it becomes one.
        let micros = horizon.max(float(least)).min(float(most)).floor() as u64;
        let horizon = (seconds(micros), micros);

        demands.sort_by(f64::total_cmp);
        let (mut level, mut left, mut others) = (rate, rate, demands.len());
        for &demand in &demands {
            if demand * others as f64 >= left {
                level = left / others as f64;
                break;
            }
            left -= demand;
            others -= 1;
        }
        let cut = demands.iter().fold(0.0, |sum, demand| sum + demand.min(level));
        let part = if cut > 0.0 {
            self.nodes[me].demand.min(level) / cut
        } else {
            1.0
        };
        Shares {
            nodes,
            horizon,
            rate,
            level,
            cut,
            part,
        }
    }

    /// U and A from the present slot to that one, or to the last from which something that is out may be spent.
    fn load(&self, present: u64, to: u64, limit: u64) -> Load {
        let last = self
            .nodes
            .iter()
            .flat_map(Node::pieces)
            .fold(to, |last, &(slot, _)| last.max(slot));
        let mut of = vec![0i64; usize::try_from(last - present + 1).expect("leases reach half a window ahead")];
        for &(slot, tokens) in self.nodes.iter().flat_map(Node::pieces) {
            of[(slot.max(present) - present) as usize] += signed(tokens);
        }
        let reserved: u64 = self.nodes.iter().filter_map(|node| node.reserve).sum();
        let mut load = signed(sum(&self.spent)) + signed(reserved);
        let mut fading = self.spent.iter().peekable();
        for (slot, at) in (present..).zip(&mut of) {
            while let Some(&&(_, tokens)) = fading.peek().filter(|(spent, _)| spent + SLOTS < slot) {
                load -= signed(tokens);
                fading.next();
            }
            load += *at;
            *at = load;
        }
        let mut free = of.clone();
        let mut greatest = i64::MIN;
        for free in free.iter_mut().rev() {
            greatest = greatest.max(*free);
            *free = signed(limit) - greatest;
        }
        Load { present, of, free }
    }

    fn curve(&self, me: usize, call: &Call, shares: &Shares, load: &Load, measures: &Measures, limit: u64) -> Curve {
        let demand = self.nodes[me].demand;
        let (horizon, _) = shares.horizon;
        let slots = shares.horizon.1 / measures.slot;
        let held: f64 = float(self.nodes[me].out());
        let out: u64 = self.nodes.iter().map(Node::out).sum();
        let wanted = self.nodes.iter().fold(0.0, |sum, node| {
            let expected = node.demand * horizon;
            sum + (1.2 * expected + 3.0 * expected.sqrt() - float(node.out()))
        });
        let plenty = load.free[0] as f64 >= wanted;
        let expected = self
            .nodes
            .iter()
            .fold(0.0, |sum, node| sum + node.demand.min(shares.rate));
        let at_end = load.free[slots as usize] as f64;
        let spare = shares.part * (at_end + float(out) - horizon * expected - SPARE * float(limit));
        let worth = if MARGIN * spare >= WORTH_A_LEASE {
            WORTH_KEEPING
        } else {
            WORTH_A_LEASE
        };
        let lean = demand * horizon >= worth;
        let (mut cumulative, mut sum, mut fair) = (Vec::new(), 0i64, false);
        if lean {
            cumulative.reserve(slots as usize + 1);
            for (slot, &free) in load.free.iter().enumerate().take(slots as usize + 1) {
                let there = (free as f64 + float(out)).max(0.0);
                let mut others = 0.0;
                for (_, node) in self.nodes.iter().enumerate().filter(|(index, _)| *index != me) {
                    let due = node.demand.min(shares.level) / shares.cut * there;
                    let needs: f64 = (node.demand * horizon).min(due) - float(node.out());
                    others += needs.max(0.0);
                }
                let most = (shares.part * there - held).max(free as f64 - others);
                let span = if plenty {
                    horizon
                } else {
                    (slot + 2) as f64 * seconds(measures.slot)
                };
                let uses = demand * span;
                let standby = if plenty { STANDBY * spare - LITTLE } else { 0.0 };
                let margin = (2.5 * uses.sqrt() + 0.05 * uses + 1.0)
                    .min(MARGIN * spare.max(0.0))
                    .max(standby);
                let for_those_that_wait = if spare > 0.0 { 4.0 * float(call.waiting) } else { 0.0 };
                let want = uses + margin + for_those_that_wait + 1.0 - held;
                if slot == 0 && most < want - 1.0 {
                    fair = true;
                }
                let mut tokens = (free as f64).min(most).min(want).floor() as i64;
                let unit = signed(call.unit.max(1));
                if slot == 0 && held == 0.0 && tokens < unit && free >= unit {
                    tokens = unit;
                }
                sum = sum.max(tokens);
                cumulative.push(sum);
            }
        }
        Curve {
            cumulative,
            fair,
            spare,
            lean,
        }
    }

    /// In how long the next tokens are free, beyond what was granted; in microseconds.
    fn next(&self, load: &Load, granted: i64, unit: u64, now: u64, measures: &Measures) -> Option<u64> {
        let unit = signed(unit);
        let start = |slot: u64| (slot * measures.slot).saturating_sub(now);
        if let Some(slots) = load.free.iter().position(|free| free - granted >= unit) {
            return Some(if slots == 0 {
                0
            } else {
                start(load.present + slots as u64)
            });
        }
        // Beyond the horizon spends only fall out of the window.
        let last = load.present + load.of.len() as u64 - 1;
        let mut free = load.free[load.free.len() - 1];
        for &(slot, tokens) in self.spent.iter().filter(|(slot, _)| slot + SLOTS >= last) {
            free += signed(tokens);
            if free - granted >= unit {
                return Some(start(slot + SLOTS + 1));
            }
        }
        None
    }

    /// What is spent and out of the window that ends now, and set aside.
    #[must_use]
    pub fn load_now(&self, window: Duration, now: u64) -> u64 {
        let present = now / Measures::of(Numbers::micros(window)).slot;
        let spent: u64 = self
            .spent
            .iter()
            .filter(|(slot, _)| slot + SLOTS >= present)
            .map(|(_, tokens)| tokens)
            .sum();
        spent
            + self
                .nodes
                .iter()
                .map(|node| node.out() + node.reserve.unwrap_or(0))
                .sum::<u64>()
    }

    /// The greatest load of any window that ends now or later.
    #[must_use]
    pub fn greatest_load(&self, window: Duration, now: u64) -> i64 {
        let present = now / Measures::of(Numbers::micros(window)).slot;
        let load = self.load(present, present, 0);
        load.of.iter().copied().max().unwrap_or(0)
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

    /// All that the node knows replaces what is known. While the store learns, what the node may do is set aside, and
    /// the rest of that time is returned.
    fn declare(
        &mut self,
        spent: &mut Vec<(u64, u64)>,
        declared: &Declared,
        seq: u64,
        at: &At<'_>,
        measures: &Measures,
        numbers: &Numbers,
    ) -> Option<u64> {
        let rest = at.learning(learn(Duration::from_micros(numbers.window)));
        self.sure.clear();
        self.pending.clear();
        self.instant = (0, 0);
        (self.heard, self.since) = (0, 0);
        if !rest.is_zero() {
            self.reserve = Some(declared.reserve);
            self.seq = seq;
            return Some(u64::try_from(rest.as_micros()).unwrap_or(u64::MAX));
        }
        for &(age, tokens) in &declared.spent {
            add(spent, at.now.0.saturating_sub(age) / measures.slot, tokens);
        }
        self.reserve = None;
        if declared.held > 0 {
            self.sure.push((at.now.0 / measures.slot, declared.held));
        }
        None
    }

    /// The last grant was seen, or is void.
    fn acknowledge(&mut self, spent: &mut [(u64, u64)], call: &Call) {
        if call.ack == self.seq {
            self.sure.append(&mut self.pending);
            self.sure.sort_unstable();
            let (slot, given) = self.instant;
            if let Some((_, tokens)) = spent.iter_mut().rev().find(|(other, _)| *other == slot) {
                *tokens = tokens.saturating_sub(given.min(call.unused));
            }
        }
        self.pending.clear();
        self.instant = (0, 0);
    }

    /// What became of tokens. Heard like a stream: what was heard before is skipped.
    fn hear(&mut self, spent: &mut Vec<(u64, u64)>, call: &Call, fresh: bool, now: u64, measures: &Measures) {
        let mut index = call.first;
        for &Told(age, tokens, kind) in &call.stream {
            let from = if broken(Broken::HeardTwice) {
                index
            } else {
                index.max(self.heard)
            };
            index += tokens;
            let new = index.saturating_sub(from);
            // Of a lease that has ended all was charged.
            if new == 0 || (fresh && kind != Told::OWN) {
                continue;
            }
            match kind {
                Told::SPENT | Told::BACK => take_near(&mut self.sure, new),
                Told::FAR => take_far(&mut self.sure, new),
                _ => {}
            }
            if matches!(kind, Told::SPENT | Told::OWN) {
                add(spent, now.saturating_sub(age) / measures.slot, new);
            }
        }
        self.heard = self.heard.max(index);
        self.seq = call.seq;
        self.demand = call.demand;
    }
}

// === impl Load ===

impl Load {
    /// So many more in every window.
    fn charge(&mut self, tokens: u64) {
        let tokens = signed(tokens);
        self.of.iter_mut().for_each(|load| *load += tokens);
        self.free.iter_mut().for_each(|free| *free -= tokens);
    }

    /// Moves what waits out of politeness to the earliest slot where it costs nobody anything: up to the greatest load
    /// of any later window.
    fn pull_forward(&self, cumulative: &mut [i64]) {
        let Some(&total) = cumulative.last() else {
            return;
        };
        let (mut greatest, mut low) = (0, total);
        for (slot, load) in self.of.iter().enumerate().rev() {
            greatest = greatest.max(load + cumulative.get(slot).copied().unwrap_or(total));
            low = low.min(greatest - load);
            if let Some(sum) = cumulative.get_mut(slot) {
                *sum = low.max(*sum);
            }
        }
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

fn take_near(pieces: &mut Vec<(u64, u64)>, mut tokens: u64) {
    let mut gone = 0;
    for piece in pieces.iter_mut() {
        let part = piece.1.min(tokens);
        piece.1 -= part;
        tokens -= part;
        if piece.1 > 0 {
            break;
        }
        gone += 1;
    }
    pieces.drain(..gone);
}

fn take_far(pieces: &mut Vec<(u64, u64)>, mut tokens: u64) {
    while tokens > 0 {
        let Some(piece) = pieces.last_mut() else { return };
        let part = piece.1.min(tokens);
        piece.1 -= part;
        tokens -= part;
        if piece.1 == 0 {
            pieces.pop();
        }
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
