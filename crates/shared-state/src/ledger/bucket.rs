//! The books of a token bucket.
//!
//! A bucket of rate r and depth β admits at most β + rℓ in any interval of length ℓ. Parts of a bucket add up: where the
//! rates of the parts sum to at most r and their depths to at most β, they admit together at most what the whole would.
//! So the store keeps the free part, with what is in it, and nodes have parts that fill by themselves: no token is ever
//! given out before its time. A part that becomes smaller counts as the greater one until the node says that it has the
//! smaller one, or the old lease has ended. Tokens for requests that wait take depth for as long as a request may wait:
//! until then they could still be used, and what refills the bucket must not come on top of them.
//!
//! Rates are in tokens a second and levels in tokens, both with a fraction; they are computed with the same operations in
//! the same order as in the script.

use super::epoch::{At, learn};
use super::look::{self, Looked};
use super::share::{Bounds, Plan, floor, instant, need, real, set_aside};
use super::{From, Reply as Answer};
use crate::rule::{Algorithm, Rule};
use crate::time::StoreTime;
use std::time::Duration;

/// For how long tokens for requests that wait may still be used: as long as a request waits, and what clocks differ in
/// that time. Microseconds.
const WAIT: u64 = 25_000;
/// What stays free of rate and depth, as a share, so that a node without a part is not left without tokens.
const RESERVE: f64 = 0.0625;
/// What computing with fractions may lose. Never added to what is there, so that it does not add up.
const DUST: f64 = 1e-6;
/// No part is given that holds fewer tokens, or brings fewer in a horizon.
const LEAST: f64 = 4.0;

/// What is said of a token bucket: all that the process knows, in every call.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Call {
    /// Counts the calls of this process for this key; at least 1.
    pub seq: u64,
    /// The call whose reply was received last.
    pub ack: u64,
    /// Tokens a second that requests ask for. 0: no part is wanted.
    pub demand: f64,
    /// Tokens that waiting requests want now.
    pub waiting: u64,
    /// What one waiting request wants: fewer at once are of no use.
    pub unit: u64,
    /// The part that the node has: its rate, its depth.
    pub part: (f64, u64),
    /// What is in it, less what will be used meanwhile.
    pub level: f64,
    /// Tokens that were taken out of the part and come back, since ever: how many of these were acknowledged, how many
    /// there are.
    pub back: (f64, f64),
    /// Tokens that were used beyond the part, in the same form.
    pub over: (f64, f64),
    /// What this node used in the time in which the bucket fills: what may be missing where the store has no memory.
    pub spent: f64,
}

/// What is answered. Durations in microseconds from the store's time of the call.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Reply {
    /// Tokens for requests that wait.
    pub instant: u64,
    /// The part that the node has from now on, in place of the one before: its rate, its depth.
    pub part: (f64, u64),
    /// What is added to what is in it.
    pub level: f64,
    /// How long the part is good.
    pub life: u64,
    /// When the next call should come.
    pub horizon: u64,
    /// Nodes that ask for the key.
    pub nodes: u64,
    /// What is left in the free part, and how it fills.
    pub free: (f64, f64),
    /// From when on it fills: in so many microseconds.
    pub stall: u64,
    /// What is out in parts: their depth.
    pub out: u64,
    /// How long nothing is granted, since the store learns; 0 where it does not.
    pub learning: u64,
}

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Count {
    /// The epoch that all of it belongs to.
    epoch: u64,
    /// The version of the limit by which it last granted; and its numbers then.
    version: u64,
    rate: f64,
    depth: u64,
    /// What is in the free part, and when that was so: microseconds since the Unix epoch, 0 for never.
    level: f64,
    at: u64,
    /// Tokens for requests that wait: until when they may be used, how many.
    instants: Vec<(u64, u64)>,
    nodes: Vec<Node>,
}

/// What is kept of one process.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    from: From,
    /// Of its last call.
    seq: u64,
    demand: f64,
    /// The part that it said to have.
    part: (f64, u64),
    /// The part that its last call was granted, and what was put in it.
    granted: (f64, u64),
    level: f64,
    /// When the parts end; microseconds since the Unix epoch.
    until: u64,
    /// What was heard of.
    back: f64,
    over: f64,
}

/// The numbers of the limit, as the script gets them.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Numbers {
    /// Tokens a second.
    pub rate: f64,
    /// Tokens at once.
    pub depth: u64,
    /// The version of the configuration that gave it its numbers.
    pub version: u64,
    /// How long leases may be: horizon and grace; microseconds.
    pub lease: (u64, u64),
    /// How long the store learns; microseconds.
    pub learn: u64,
    /// How long a count is kept after a call; milliseconds.
    pub keep: u64,
}

// === impl Call ===

impl Call {
    /// Whether it tells all that the node knows. Always.
    #[must_use]
    pub fn declares(&self) -> bool {
        true
    }
}

// === impl Numbers ===

impl Numbers {
    /// Of a limit.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        let (rate, depth) = parts(rule);
        let bounds = bounds(rule);
        Self {
            rate,
            depth,
            version: rule.version,
            lease: (bounds.horizon, bounds.grace),
            learn: micros(learn(bounds.window)),
            keep: micros(keep(rule)) / 1000,
        }
    }
}

/// How long a count is kept after a call: until the bucket is full, whatever of it was out.
#[must_use]
pub fn keep(rule: &Rule) -> Duration {
    let bounds = bounds(rule);
    fill(rule).mul_f64(1.25) + 2 * bounds.window + Duration::from_secs(1)
}

/// The time in which an empty bucket is full.
#[must_use]
pub(crate) fn fill(rule: &Rule) -> Duration {
    let (rate, depth) = parts(rule);
    Duration::from_secs_f64((real(depth) / rate).min(1e9))
}

/// How long leases may be. A bucket has no window; what its rate is declared for takes its place.
#[must_use]
pub(crate) fn bounds(rule: &Rule) -> Bounds {
    Bounds::of(match rule.algorithm {
        Algorithm::TokenBucket { per, .. } => per,
        _ => Duration::from_secs(1),
    })
}

/// One call.
pub fn serve(count: &mut Count, at: &At<'_>, rule: &Rule, call: &Call) -> Answer {
    let (now, bounds) = (at.now.0, bounds(rule));
    let learning = micros(at.learning(learn(bounds.window)));
    if count.epoch != at.epoch {
        // What nodes did by themselves since then is not in it; they tell.
        *count = Count {
            epoch: at.epoch,
            ..Count::default()
        };
    }
    if count.has_heard(at.header.from, call.seq) {
        return Answer::Stale;
    }
    let new = count.at == 0;
    if rule.version >= count.version {
        count.version = rule.version;
        (count.rate, count.depth) = parts(rule);
    }
    if new {
        (count.level, count.at) = (real(count.depth), now);
    }
    let depth = set_aside(count.depth, at.header.live, at.header.without);
    let rate = if depth == count.depth {
        count.rate
    } else {
        count.rate * real(u64::from(at.header.live - at.header.without.min(at.header.live)))
            / real(u64::from(at.header.live))
    };
    count.advance(now, rate, depth);
    let (me, known) = count.enter(at.header.from, call);
    count.hear(me, call, known, learning > 0, now);
    if !known && (new || learning > 0) {
        count.level = (count.level - call.spent - real(count.nodes[me].part.1)).max(0.0);
    }

    let demands = count.nodes.iter().filter(|node| node.demand > 0.0);
    let plan = Plan::new(demands.map(|node| node.demand), call.demand, count.rate, &bounds);
    let mut reply = Reply {
        life: plan.lease,
        horizon: plan.horizon,
        nodes: plan.nodes,
        learning,
        ..Reply::default()
    };
    if learning > 0 {
        reply.life += learning;
        reply.part = count.nodes[me].part;
        count.nodes[me].granted = reply.part;
    } else {
        reply.instant = instant(call.waiting, call.unit, floor(count.level + DUST));
        if reply.instant > 0 {
            count.level -= real(reply.instant);
            count.instants.push((now + WAIT, reply.instant));
        }
        count.grant(me, &plan, call, rate, depth, &mut reply);
    }
    let node = &mut count.nodes[me];
    node.until = node.until.max(now + reply.life);
    let (free_rate, free_depth) = count.free(rate, depth);
    count.level = count.level.min(free_depth.max(0.0));
    let free_rate = free_rate.max(0.0);
    // What comes while there is no room for it is lost: a node that tells when a token comes has to know that.
    let crowded = count.instants.last().map_or(0, |(until, _)| until - now);
    let comes = free_rate * real(crowded) / 1e6;
    let lost = (count.level + comes - free_depth.max(0.0)).max(0.0).min(comes);
    reply.stall = if lost > 0.0 {
        floor(lost / free_rate * 1e6) + 1
    } else {
        0
    };
    reply.free = (count.level, free_rate);
    reply.out = count.nodes.iter().map(|node| node.greater().1).sum();
    Answer::Bucket(reply)
}

fn parts(rule: &Rule) -> (f64, u64) {
    match rule.algorithm {
        Algorithm::TokenBucket { limit, per, depth } => (f64::from(limit) / per.as_secs_f64(), u64::from(depth)),
        // Not asked of other algorithms.
        _ => (1.0, 1),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

// === impl Count ===

impl Count {
    /// As people see it. What another epoch left is not believed.
    pub(super) fn look(&self, now: StoreTime, epoch: u64, rule: &Rule) -> Looked {
        if self.epoch != epoch || self.at == 0 {
            return look::whole(rule);
        }
        let nodes = self.nodes.iter().map(|node| {
            let (told, granted) = (node.part, node.granted);
            (
                node.from.node,
                node.until,
                told.0.max(granted.0),
                real(told.1.max(granted.1)),
            )
        });
        let numbers = look::bucket_numbers(rule, self.version, (self.rate, real(self.depth)));
        look::bucket(now, numbers, (self.level, self.at), &self.instants, nodes)
    }

    /// What is in the free part.
    #[must_use]
    pub fn level(&self) -> f64 {
        self.level
    }

    /// What is out: the sum of rates and of depths, each part as the greater of what its node may have.
    #[must_use]
    pub fn out(&self) -> (f64, u64) {
        self.nodes
            .iter()
            .map(Node::greater)
            .fold((0.0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    /// The part of each live process: the node's hash, rate, depth.
    pub fn held(&self) -> impl Iterator<Item = (u64, f64, u64)> {
        self.nodes.iter().map(|node| {
            let (rate, depth) = node.greater();
            (node.from.node, rate, depth)
        })
    }

    // What is free: rate, depth.
    fn free(&self, rate: f64, depth: u64) -> (f64, f64) {
        let (mut rate, mut depth) = (rate, real(depth));
        for node in &self.nodes {
            let part = node.greater();
            rate -= part.0;
            depth -= real(part.1);
        }
        for (_, tokens) in &self.instants {
            depth -= real(*tokens);
        }
        (rate, depth)
    }

    // Fills the free part until `now`. What ends meanwhile gives its rate and depth back at its time.
    fn advance(&mut self, now: u64, rate: f64, depth: u64) {
        loop {
            let mut first = now;
            for node in &self.nodes {
                first = first.min(node.until);
            }
            for (until, _) in &self.instants {
                first = first.min(*until);
            }
            let first = first.max(self.at);
            let (free_rate, free_depth) = self.free(rate, depth);
            let filled = self.level + free_rate.max(0.0) * real(first - self.at) / 1e6;
            self.level = filled.min(free_depth.max(0.0));
            self.at = first;
            if first >= now {
                break;
            }
            self.nodes.retain(|node| node.until > first);
            self.instants.retain(|(until, _)| *until > first);
        }
    }

    // Whether the call, or a later one of the same process, was here before.
    fn has_heard(&self, from: From, seq: u64) -> bool {
        self.nodes.iter().any(|node| node.from == from && seq <= node.seq)
    }

    // The entry of a process, and whether there was one.
    fn enter(&mut self, from: From, call: &Call) -> (usize, bool) {
        if let Some(place) = self.nodes.iter().position(|node| node.from == from) {
            return (place, true);
        }
        self.nodes.push(Node {
            from,
            seq: 0,
            demand: 0.0,
            part: (0.0, 0),
            granted: (0.0, 0),
            level: 0.0,
            until: 0,
            back: call.back.0,
            over: call.over.0,
        });
        (self.nodes.len() - 1, false)
    }

    fn hear(&mut self, me: usize, call: &Call, known: bool, learning: bool, now: u64) {
        let node = &mut self.nodes[me];
        // A grant that was never seen is taken back.
        let void = if call.ack == node.seq { 0.0 } else { node.level };
        // A part whose lease has ended is nobody's any more, whatever a call says that was long under way.
        let part = if known || learning { call.part } else { (0.0, 0) };
        let back = (call.back.1 - node.back).max(0.0);
        let over = (call.over.1 - node.over).max(0.0);
        (node.seq, node.demand, node.part) = (call.seq, call.demand, part);
        (node.granted, node.level) = ((0.0, 0), 0.0);
        (node.back, node.over) = (node.back + back, node.over + over);
        node.until = node.until.max(now);
        self.level += void;
        // Of who is new it is not known that they were taken out.
        if known {
            self.level += back;
        }
        self.level -= over;
    }

    fn grant(&mut self, me: usize, plan: &Plan, call: &Call, rate: f64, depth: u64, reply: &mut Reply) {
        let (free_rate, free_depth) = self.free(rate, depth);
        let had = self.nodes[me].part;
        let horizon = real(plan.horizon) / 1e6;
        // No more than half of what the free part has room for until the next call.
        let kept = (rate * RESERVE).min(real(depth) * RESERVE / 2.0 / horizon);
        // Twice of what is asked for is room enough; more would be missing elsewhere.
        let wanted = (
            ((rate - kept) * plan.share).min(2.0 * call.demand),
            (real(depth) * plan.share * (1.0 - RESERVE)).min(real(2 * need(call.demand, plan.lease))),
        );
        let brings = wanted.0.min(call.demand) * horizon;
        if brings >= LEAST && wanted.1 >= LEAST {
            let part = (
                wanted.0.min(had.0 + free_rate),
                floor(wanted.1.min(real(had.1) + free_depth)),
            );
            if part.0 > 0.0 && part.1 > 0 {
                reply.part = part;
                let room = real(part.1) - call.level;
                let fair = self.level * plan.share;
                let needs = real(need(call.demand, plan.lease)) - call.level;
                // What the free part has no more room for goes with the depth that it lost.
                let over = self.level - (free_depth - real(part.1.saturating_sub(had.1)));
                reply.level = fair.min(needs).max(over).min(room).min(self.level).max(0.0);
            }
        }
        self.level -= reply.level;
        self.nodes[me].granted = reply.part;
        self.nodes[me].level = reply.level;
    }
}

// === impl Node ===

impl Node {
    fn greater(&self) -> (f64, u64) {
        (self.part.0.max(self.granted.0), self.part.1.max(self.granted.1))
    }
}
