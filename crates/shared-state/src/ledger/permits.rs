//! The books of a concurrency limit.
//!
//! A node has permits, of which it knows itself which are in use. It tells with each call how many it has; what it is
//! granted counts beside these until a later call tells how many it has by then. Where nothing is heard of it any more it
//! stops taking when its lease ends, and its permits are free again when the last request that it may have taken until
//! then is over too.

use super::epoch::{At, learn};
use super::look::{self, Looked};
use super::share::{Bounds, instant, set_aside};
use super::{From, Reply as Answer};
use crate::rule::{Algorithm, Rule};
use crate::time::StoreTime;
use std::time::Duration;

/// How long a lease is good, and when a node calls again though it needs nothing; microseconds.
const LEASE: (u64, u64) = (1_500_000, 1_000_000);
/// The same where all that the node has is in use and nothing else is wanted: requests that last. Longer than leases of
/// others, since of a store that lost all nodes hear by its other calls.
const CALM: (u64, u64) = (6_000_000, 5_000_000);
/// How long others are told that a node wanted more than there was; microseconds.
const SHORT: u64 = 1_000_000;

/// What is said of a concurrency limit: all that the process knows, in every call.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Call {
    /// Counts the calls of this process for this key; at least 1.
    pub seq: u64,
    /// Permits that it has, in use or not.
    pub has: u64,
    /// Of these, in use.
    pub used: u64,
    /// What waiting requests want beside.
    pub waiting: u64,
    /// What one waiting request wants: fewer at once are of no use.
    pub unit: u64,
    /// What it would like to have beside, so that requests need not wait.
    pub spare: u64,
}

/// What is answered. Durations in microseconds from the store's time of the call.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Reply {
    /// Of what is granted: for requests that wait.
    pub instant: u64,
    /// Permits beside those that it has.
    pub granted: u64,
    /// What nobody has.
    pub free: u64,
    /// What all have.
    pub out: u64,
    /// What is in use, as far as is known.
    pub used: u64,
    /// Somebody wanted more than there was, a short while ago: what is not needed should come back.
    pub wanted: bool,
    /// How long permits may be taken.
    pub life: u64,
    /// When the next call should come.
    pub horizon: u64,
    /// How long nothing is granted, since the store learns; 0 where it does not.
    pub learning: u64,
}

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// The version of the limit by which it last granted; and its number then.
    version: u64,
    limit: u64,
    /// Until when others are told that somebody wanted more; microseconds since the Unix epoch.
    short: u64,
    nodes: Vec<Node>,
}

/// What is kept of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    from: From,
    /// Of its last call.
    seq: u64,
    has: u64,
    used: u64,
    granted: u64,
    /// When nothing that it took is under way any more; microseconds since the Unix epoch.
    until: u64,
}

/// The numbers of the limit, as the script gets them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Numbers {
    /// Requests at once.
    pub limit: u64,
    /// The version of the configuration that gave it its limit.
    pub version: u64,
    /// How long a request lasts that nobody ends; microseconds.
    pub hold: u64,
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
        let (limit, hold) = parts(rule);
        Self {
            limit,
            version: rule.version,
            hold: micros(hold),
            learn: micros(learn(bounds().window)),
            keep: micros(keep(rule)) / 1000,
        }
    }
}

/// How long a count is kept after a call: until nothing of it is under way.
#[must_use]
pub fn keep(rule: &Rule) -> Duration {
    Duration::from_micros(CALM.0) + parts(rule).1 + Duration::from_secs(2)
}

/// The window by which the times of the protocol scale.
#[must_use]
pub(crate) fn bounds() -> Bounds {
    Bounds::of(Duration::from_secs(1))
}

/// One call.
pub fn serve(count: &mut Count, at: &At<'_>, rule: &Rule, call: &Call) -> Answer {
    if count.has_heard(at.header.from, call.seq) {
        return Answer::Stale;
    }
    let now = at.now.0;
    let (limit, hold) = parts(rule);
    if rule.version >= count.version {
        (count.version, count.limit) = (rule.version, limit);
    }
    count.nodes.retain(|node| node.until > now);
    let me = count.enter(at.header.from, call);
    let all = set_aside(count.limit, at.header.live, at.header.without);
    let calm = call.has == call.used && call.waiting == 0 && call.spare == 0;
    let (life, horizon) = if calm { CALM } else { LEASE };
    let mut reply = Reply {
        life,
        horizon,
        learning: micros(at.learning(learn(bounds().window))),
        ..Reply::default()
    };
    let (mut out, used) = count.sums();
    if reply.learning == 0 {
        let free = all.saturating_sub(out);
        reply.instant = instant(call.waiting, call.unit, free);
        if reply.instant < call.waiting {
            count.short = now + SHORT;
        }
        reply.wanted = count.short > now;
        reply.granted = reply.instant;
        if !reply.wanted {
            reply.granted += call.spare.min(free - reply.instant);
        }
        out += reply.granted;
    }
    let node = &mut count.nodes[me];
    node.granted = reply.granted;
    node.until = now + reply.life;
    if node.has + node.granted > 0 {
        node.until += micros(hold);
    }
    (reply.free, reply.out, reply.used) = (all.saturating_sub(out), out, used);
    Answer::Permits(reply)
}

fn parts(rule: &Rule) -> (u64, Duration) {
    match rule.algorithm {
        Algorithm::Concurrency { limit, hold } => (u64::from(limit), hold),
        // Not asked of other algorithms.
        _ => (0, Duration::ZERO),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

// === impl Count ===

impl Count {
    /// As people see it.
    pub(super) fn look(&self, now: StoreTime, rule: &Rule) -> Looked {
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| (node.from.node, node.until, node.has + node.granted, node.used));
        look::permits(now, look::limit_of(rule, self.version, self.limit), nodes)
    }

    /// What all have, and what is in use of it as far as is known.
    #[must_use]
    pub fn sums(&self) -> (u64, u64) {
        self.nodes.iter().fold((0, 0), |(out, used), node| {
            (out + node.has + node.granted, used + node.used)
        })
    }

    /// What each live process has: the node's hash, in use, permits.
    pub fn held(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.nodes
            .iter()
            .map(|node| (node.from.node, node.used, node.has + node.granted))
    }

    // Whether the call, or a later one of the same process, was here before.
    fn has_heard(&self, from: From, seq: u64) -> bool {
        self.nodes.iter().any(|node| node.from == from && seq <= node.seq)
    }

    // The entry of a process, made where there is none, with what it tells. What its last call was granted and it does
    // not say to have never reached it.
    fn enter(&mut self, from: From, call: &Call) -> usize {
        let place = self.nodes.iter().position(|node| node.from == from);
        let place = place.unwrap_or_else(|| {
            self.nodes.push(Node {
                from,
                seq: 0,
                has: 0,
                used: 0,
                granted: 0,
                until: 0,
            });
            self.nodes.len() - 1
        });
        let node = &mut self.nodes[place];
        (node.seq, node.has, node.used, node.granted) = (call.seq, call.has, call.used, 0);
        place
    }
}
