//! The books of a fixed window: a count that begins anew with each.
//!
//! Each process tells, for each window, how much it has *used* in all and how much it still *holds*. What it holds it may
//! use until the window ends, and nobody else may, whether it is heard of again or not: so the sum of what is used and
//! what is out is never below the truth, whatever is lost, repeated, late, or restored from an older copy. What a call is
//! granted counts as out until a later call of the same process says what it holds by then: a process discards the reply
//! to a call that it gave up, and so the next call says that too.
//!
//! The pieces of the next window go out before it opens: a lease that straddles its beginning is two pieces.
//!
//! Counts are kept across epochs. While the store learns it grants nothing, and adds up what it is told.

use super::calendar::Window;
use super::epoch::{At, learn};
use super::look::{self, Looked};
use super::share::{Bounds, Plan, instant, need, real, set_aside, worth};
use super::{From, Reply as Answer};
use crate::rule::{Algorithm, Calendar, Offsets, Rule};
use crate::time::StoreTime;
use std::time::Duration;

/// What is said of a fixed window: all that the process knows, in every call.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Call {
    /// Counts the calls of this process for this key; at least 1.
    pub seq: u64,
    /// Tokens a second that requests ask for. 0: no lease is wanted.
    pub demand: f64,
    /// Tokens that waiting requests want now.
    pub waiting: u64,
    /// What one waiting request wants: fewer at once are of no use.
    pub unit: u64,
    /// What it knows of the windows; at most three.
    pub told: Vec<Told>,
}

/// What a process knows of one window: its name, all that it used in it, and what it may still use. What it used never
/// falls. The name is as the store gave it, or any microsecond in the window; 0 is the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Told(pub u64, pub u64, pub u64);

/// What is answered. Durations in microseconds from the store's time of the call.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Reply {
    /// Of what the present window grants: for requests that wait.
    pub instant: u64,
    /// The present window.
    pub present: Span,
    /// The next one.
    pub next: Span,
    /// How long what the node holds is good, in its window.
    pub life: u64,
    /// When the next call should come.
    pub horizon: u64,
    /// Nodes that ask for the key.
    pub nodes: u64,
    /// How long nothing is granted, since the store learns; 0 where it does not.
    pub learning: u64,
}

/// A window, as a node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// Its name: its first microsecond.
    pub start: u64,
    /// In what time it begins; 0 where it has.
    pub opens: u64,
    /// In what time it ends.
    pub closes: u64,
    /// What may be used in it, beside what is held.
    pub granted: u64,
    /// What nobody has.
    pub free: u64,
    /// What is used, as far as is known.
    pub used: u64,
}

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Count {
    /// The version of the limit by which it last granted.
    version: u64,
    /// Its number then.
    limit: u64,
    /// What processes used that are no more, by window.
    gone: Vec<(u64, u64)>,
    /// Those that are, as far as is known.
    nodes: Vec<Node>,
}

/// What is kept of one process.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    from: From,
    /// Of its last call.
    seq: u64,
    demand: f64,
    /// When its demand is no longer believed; microseconds since the Unix epoch.
    until: u64,
    accounts: Vec<Account>,
}

/// One window of one process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Account {
    start: u64,
    used: u64,
    /// What it said to hold, and what its last call was granted.
    out: u64,
}

/// The numbers of the limit, as the script gets them.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Numbers {
    /// Tokens in each window.
    pub limit: u64,
    /// The version of the configuration that gave it its limit.
    pub version: u64,
    /// The length of windows in microseconds; of months, 0.
    pub length: u64,
    /// The zone: seconds from UTC, and the microsecond from which there are others, or 0; these.
    pub zone: (i64, u64, i64),
    /// Tokens a second, where they are used evenly.
    pub pace: f64,
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
        let (limit, calendar) = parts(rule);
        let (length, offsets) = match calendar {
            Calendar::Every(length) => (micros(*length), Offsets::default()),
            Calendar::Minute => (60_000_000, Offsets::default()),
            Calendar::Hour(offsets) => (3_600_000_000, *offsets),
            Calendar::Day(offsets) => (86_400_000_000, *offsets),
            Calendar::Month(offsets) => (0, *offsets),
        };
        let bounds = bounds(rule);
        let (from, then) = offsets.then.unwrap_or_default();
        Self {
            limit,
            version: rule.version,
            length,
            zone: (i64::from(offsets.now), from.saturating_mul(1_000_000), i64::from(then)),
            pace: pace(rule),
            lease: (bounds.horizon, bounds.grace),
            learn: micros(learn(bounds.window)),
            keep: micros(keep(rule)) / 1000,
        }
    }
}

/// How long a count is kept after a call: to the end of the next window, whichever is the present one.
#[must_use]
pub fn keep(rule: &Rule) -> Duration {
    let longest = match parts(rule).1 {
        Calendar::Every(length) => *length,
        Calendar::Minute => Duration::from_secs(60),
        // The hour that comes twice.
        Calendar::Hour(_) => Duration::from_secs(2 * 3600),
        Calendar::Day(_) => Duration::from_secs(26 * 3600),
        Calendar::Month(_) => Duration::from_secs((31 * 24 + 2) * 3600),
    };
    longest * 2 + Duration::from_secs(1)
}

/// The window by which the times of the protocol scale, and how long leases may be.
#[must_use]
pub(crate) fn bounds(rule: &Rule) -> Bounds {
    Bounds::of(match parts(rule).1 {
        Calendar::Every(length) => *length,
        Calendar::Minute | Calendar::Hour(_) | Calendar::Day(_) | Calendar::Month(_) => Duration::from_secs(60),
    })
}

/// One call.
pub fn serve(count: &mut Count, at: &At<'_>, rule: &Rule, call: &Call) -> Answer {
    if count.has_heard(at.header.from, call.seq) {
        return Answer::Stale;
    }
    let (limit, calendar) = parts(rule);
    let (now, bounds) = (at.now.0, bounds(rule));
    let present = Window::at(calendar, at.now);
    let next = present.next(calendar);
    if rule.version >= count.version {
        (count.version, count.limit) = (rule.version, limit);
    }
    count.forget(present.start);
    let me = count.enter(at.header.from, call.seq);
    count.hear(me, calendar, call, &present, &next);
    count.nodes[me].demand = call.demand;
    count.nodes[me].until = now;
    let demands = count.nodes.iter().filter(|node| node.demand > 0.0 && node.until >= now);
    let plan = Plan::new(demands.map(|node| node.demand), call.demand, pace(rule), &bounds);
    count.nodes[me].until = now + 2 * plan.lease;

    let all = set_aside(count.limit, at.header.live, at.header.without);
    let mut reply = Reply {
        instant: 0,
        present: Span::of(&present, now),
        next: Span::of(&next, now),
        life: plan.lease,
        horizon: plan.horizon,
        nodes: plan.nodes,
        learning: micros(at.learning(learn(bounds.window))),
    };
    let (mut used, mut out) = count.sums(present.start);
    let mut free = all.saturating_sub(used + out);
    if reply.learning > 0 {
        reply.life += reply.learning;
    } else {
        let account = count.nodes[me].account(present.start);
        reply.instant = instant(call.waiting, call.unit, free);
        free -= reply.instant;
        let mut lease = 0;
        if worth(call.demand, &plan) {
            let wanted = need(call.demand, plan.lease).min(plan.part(free + out));
            lease = wanted.saturating_sub(account.out).min(free);
        }
        free -= lease;
        account.out += reply.instant + lease;
        reply.present.granted = reply.instant + lease;
    }
    (reply.present.free, reply.present.used) = (free, used);
    (used, out) = count.sums(next.start);
    free = all.saturating_sub(used + out);
    if reply.learning == 0 && reply.present.closes < plan.lease && worth(call.demand, &plan) {
        let account = count.nodes[me].account(next.start);
        let wanted = need(call.demand, plan.lease - reply.present.closes).min(plan.part(free + out));
        reply.next.granted = wanted.saturating_sub(account.out).min(free);
        account.out += reply.next.granted;
        free -= reply.next.granted;
    }
    (reply.next.free, reply.next.used) = (free, used);
    Answer::Window(reply)
}

/// Tokens a second, where they are used evenly.
fn pace(rule: &Rule) -> f64 {
    let (limit, calendar) = parts(rule);
    let length = match calendar {
        Calendar::Every(length) => micros(*length),
        Calendar::Minute => 60_000_000,
        Calendar::Hour(_) => 3_600_000_000,
        Calendar::Day(_) => 86_400_000_000,
        Calendar::Month(_) => 31 * 86_400_000_000,
    };
    real(limit) * 1e6 / real(length)
}

fn parts(rule: &Rule) -> (u64, &Calendar) {
    match &rule.algorithm {
        Algorithm::FixedWindow { limit, calendar } => (*limit, calendar),
        // Not asked of other algorithms.
        _ => (0, &Calendar::Minute),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

// === impl Count ===

impl Count {
    /// As people see it.
    pub(super) fn look(&self, now: StoreTime, rule: &Rule) -> Looked {
        let accounts = self.nodes.iter().flat_map(|node| {
            let accounts = node.accounts.iter();
            accounts.map(|account| (node.from.node, account.start, account.used, account.out))
        });
        look::window(
            now,
            rule,
            look::limit_of(rule, self.version, self.limit),
            &self.gone,
            accounts,
        )
    }

    /// What is used in a window, and what is out: what may be used in it in all.
    #[must_use]
    pub fn sums(&self, start: u64) -> (u64, u64) {
        let mut sums = (0, 0);
        for (of, used) in &self.gone {
            if *of == start {
                sums.0 += used;
            }
        }
        for account in self.nodes.iter().flat_map(|node| &node.accounts) {
            if account.start == start {
                sums.0 += account.used;
                sums.1 += account.out;
            }
        }
        sums
    }

    /// What each live process of a node holds of a window: the node's hash, used, out.
    pub fn held(&self, start: u64) -> impl Iterator<Item = (u64, u64, u64)> {
        self.nodes.iter().flat_map(move |node| {
            let of = node.accounts.iter().filter(move |account| account.start == start);
            of.map(|account| (node.from.node, account.used, account.out))
        })
    }

    fn forget(&mut self, present: u64) {
        self.gone.retain(|(start, _)| *start >= present);
        for node in &mut self.nodes {
            node.accounts.retain(|account| account.start >= present);
        }
    }

    // Whether the call, or a later one of the same process, was here before.
    fn has_heard(&self, from: From, seq: u64) -> bool {
        self.nodes.iter().any(|node| node.from == from && seq <= node.seq)
    }

    // The entry of a process, made where there is none. An earlier process of the same node is no more, and what it
    // held counts as used: it may have been.
    fn enter(&mut self, from: From, seq: u64) -> usize {
        if let Some(place) = self.nodes.iter().position(|node| node.from == from) {
            self.nodes[place].seq = seq;
            return place;
        }
        if let Some(place) = self.nodes.iter().position(|node| node.from.node == from.node) {
            let dead = self.nodes.remove(place);
            for account in dead.accounts {
                let charged = account.used + account.out;
                match self.gone.iter_mut().find(|(start, _)| *start == account.start) {
                    Some((_, used)) => *used += charged,
                    None => self.gone.push((account.start, charged)),
                }
            }
        }
        self.nodes.push(Node {
            from,
            seq,
            demand: 0.0,
            until: 0,
            accounts: Vec::new(),
        });
        self.nodes.len() - 1
    }

    fn hear(&mut self, me: usize, calendar: &Calendar, call: &Call, present: &Window, next: &Window) {
        let node = &mut self.nodes[me];
        // What its last call was granted and it does not say to hold has never reached it.
        for account in &mut node.accounts {
            account.out = 0;
        }
        for Told(name, used, held) in &call.told {
            let name = if *name == 0 { present.start } else { *name };
            let start = Window::at(calendar, StoreTime(name)).start;
            if start == present.start || start == next.start {
                let account = node.account(start);
                account.used = account.used.max(*used);
                account.out = *held;
            }
        }
    }
}

// === impl Node ===

impl Node {
    fn account(&mut self, start: u64) -> &mut Account {
        let place = self.accounts.iter().position(|account| account.start == start);
        let place = place.unwrap_or_else(|| {
            self.accounts.push(Account { start, used: 0, out: 0 });
            self.accounts.len() - 1
        });
        &mut self.accounts[place]
    }
}

// === impl Span ===

impl Span {
    fn of(window: &Window, now: u64) -> Self {
        Self {
            start: window.start,
            opens: window.start.saturating_sub(now),
            closes: window.end - now,
            ..Self::default()
        }
    }
}
