//! What the store does with breakers: all evidence comes together here, and here alone it is decided. The script of
//! Redis does the same; a test holds the two against each other.
//!
//! One decision has one number, its epoch. Evidence and results of probes belong to an epoch and count in no other, so
//! that what is said twice, late, or in another order changes nothing.

use super::broken::{Broken, broken};
use super::decide::{Verdict, judge};
use super::evidence::{Window, part};
use super::state::{Counts, Criterion};
use super::wire::{Answer, Ask, Call, Caller, Hex, Numbers, Opinion, Phase, Reason, Reply, Told};
use crate::time::StoreTime;
use std::collections::HashMap;

/// All breakers of a store in memory.
#[derive(Debug, Clone, Default)]
pub struct BreakerLedger {
    pub(super) breakers: HashMap<Hex, Breaker>,
    era: Era,
}

/// What the store remembers of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Era {
    /// Goes up whenever the store may have lost something: it is another process, or does not know what callers know.
    number: u64,
    /// Which life of the store.
    run: String,
    changes: u64,
}

/// One breaker, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Breaker {
    pub(super) epoch: u64,
    pub(super) revision: u32,
    pub(super) phase: Phase,
    /// Suspect: until when without fresh evidence. Open: from when on it may be probed. Half-open: by when the probe is
    /// over.
    pub(super) until: u64,
    /// How long it was open, or is.
    pub(super) rest: u64,
    pub(super) trips: u32,
    /// Since when trips are lived down.
    pub(super) quiet_since: u64,
    pub(super) holder: Caller,
    /// Probes of the lease; asks of others since it was given.
    pub(super) probes: u32,
    pub(super) asks: u32,
    pub(super) seen_by: Vec<String>,
    /// Who checks as a second opinion, and since when.
    pub(super) checker: (String, u64),
    pub(super) nodes: Vec<Node>,
    pub(super) cause: Reason,
    pub(super) rule: Numbers,
    /// What nodes told of a state that was lost: the highest epoch among it, and since when it is asked for.
    pub(super) base: u64,
    pub(super) born: u64,
    /// When it is forgotten unless it is called again.
    pub(super) expires: u64,
}

/// What one life of one node has told within the window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Node {
    pub(super) from: Caller,
    pub(super) seq: u64,
    pub(super) heard: u64,
    pub(super) window: Window,
    /// What its check has found, and when.
    pub(super) opinion: Opinion,
    pub(super) opined: u64,
}

/// Bits of an epoch below the store's own. That goes by milliseconds, so that there is room for two thousand decisions in
/// each; and a double, which is all that Lua has, keeps the whole until the year 2109.
pub(super) const DECISIONS: u32 = 11;
/// Lives of nodes whose evidence is kept; beyond, who was heard longest ago is forgotten.
pub(super) const NODES: usize = 64;
/// How long a suspicion lasts without fresh evidence, and an opinion counts.
pub(super) const SUSPECT: u64 = 2_000_000;
/// How long an opinion is waited for before another node is asked.
pub(super) const CHECK: u64 = 1_000_000;
/// How long nodes may tell of a state that the store has lost.
pub(super) const LEARN: u64 = 2_000_000;
/// How long it stays open after probes that said nothing.
pub(super) const AGAIN: u64 = 250_000;
/// Within which a probe of a lease has to begin.
pub(super) const BEGIN: u64 = 1_000_000;
/// Trips beyond which it does not stay open longer.
const DOUBLINGS: u32 = 5;

/// Whether one store, in one of its lives, has numbered both decisions: others are in no order.
#[must_use]
pub fn numbered_together(one: u64, other: u64) -> bool {
    one >> DECISIONS == other >> DECISIONS
}

// === impl BreakerLedger ===

impl BreakerLedger {
    /// Serves one call. `run` is another one for each life of the store. What is to be published comes back beside the
    /// reply.
    pub fn serve(&mut self, now: StoreTime, run: &str, call: &Call) -> (Reply, Vec<Told>) {
        if self.era.number == 0 || self.era.run != run || call.era > self.era.number {
            // By the clock, so that two stores that know nothing of each other do not begin the same.
            self.era.number = (self.era.number.max(call.era) + 1).max(now.0 / 1000);
            self.era.run = run.to_owned();
        }
        let era = self.era.number;
        let mut told = Vec::new();
        let mut answers = Vec::with_capacity(call.asks.len());
        for ask in &call.asks {
            let breaker = self.breakers.entry(ask.key.clone()).or_default();
            let before = (breaker.epoch, breaker.revision);
            let answer = breaker.serve(now.0, era, call, ask);
            if before != (breaker.epoch, breaker.revision) {
                self.era.changes += 1;
                told.push(answer.told.clone());
            }
            answers.push(answer);
        }
        let reply = Reply {
            era,
            changes: self.era.changes,
            answers,
        };
        (reply, told)
    }

    /// Forgets breakers that nobody has called for long.
    pub fn sweep(&mut self, now: StoreTime) {
        self.breakers.retain(|_, breaker| breaker.expires > now.0);
    }
}

// === impl Breaker ===

impl Breaker {
    /// What one node says of it, and hears.
    pub(super) fn serve(&mut self, now: u64, era: u64, call: &Call, ask: &Ask) -> Answer {
        if ask.rule.version >= self.rule.version {
            if ask.rule.window != self.rule.window {
                // Parts of another length: what was counted in them says nothing any more.
                self.nodes.iter_mut().for_each(|node| node.window.clear());
            }
            self.rule = ask.rule;
        }
        self.adopt(now, era, ask);
        self.settle(now);
        self.probed(now, call, ask);
        let heard = self.hear(now, call, ask);
        self.wish(now, call, ask);
        // The longest that anything of it may matter: trips that are lived down.
        self.expires = now + self.rule.window + self.rule.probe_timeout + 11 * self.rule.max_open_for + 60_000_000;
        Answer {
            heard,
            check: self.wants_check(now, &call.from),
            missed: self.phase == Phase::HalfOpen
                && self.holder == call.from
                && self.asks > 2 * call.live.clamp(1, 1_000_000),
            all: self
                .nodes
                .iter()
                .fold(Counts::default(), |sum, node| sum.and(node.window.sum())),
            told: self.told(now, ask.key.clone()),
        }
    }

    fn told(&self, now: u64, key: Hex) -> Told {
        Told {
            key,
            epoch: self.epoch,
            revision: self.revision,
            phase: self.phase,
            left: match self.phase {
                Phase::Closed => 0,
                _ => self.until.saturating_sub(now),
            },
            trips: self.trips,
            holder: self.holder.clone(),
            probes: self.probes,
            seen_by: self.seen_by.clone(),
            cause: self.cause.clone(),
        }
    }

    /// What the store does not know, or has lost, it takes from those who do: the highest epoch among them.
    fn adopt(&mut self, now: u64, era: u64, ask: &Ask) {
        let first = era << DECISIONS;
        if broken(Broken::OldCopy) && self.epoch != 0 {
            return;
        }
        if self.epoch < first {
            // New, or an old copy of what was lost.
            let rule = self.rule;
            *self = Self {
                rule,
                quiet_since: now,
                born: now,
                ..Self::default()
            };
        }
        let late = ask.epoch < first && ask.epoch > self.base && now < self.born + LEARN;
        if self.epoch != 0 && ask.epoch <= self.epoch && !late {
            return;
        }
        self.base = self.base.max(ask.epoch);
        let epoch = self.epoch.max(ask.epoch).max(first) + 1;
        self.trips = self.trips.max(ask.trips.min(30));
        match ask.phase {
            Phase::Closed | Phase::Suspect => self.turn(epoch, Phase::Closed, 0),
            Phase::Open | Phase::HalfOpen => {
                let left = ask.left.min(self.rule.max_open_for + self.rule.probe_timeout);
                self.rest = self.rule.open_for;
                self.turn(epoch, Phase::Open, now + left);
            }
        }
        self.quiet_since = now;
    }

    /// What time alone does.
    fn settle(&mut self, now: u64) {
        match self.phase {
            Phase::HalfOpen if now >= self.until && !broken(Broken::ProbeForEver) => {
                self.cause.by = Criterion::NoResult.number();
                self.turn(self.epoch + 1, Phase::Open, self.until + self.rest);
            }
            Phase::Suspect if now >= self.until => self.clear_suspicion(),
            _ => {}
        }
    }

    fn clear_suspicion(&mut self) {
        self.phase = Phase::Closed;
        self.revision += 1;
        self.seen_by.clear();
    }

    /// How the probes of the lease went.
    fn probed(&mut self, now: u64, call: &Call, ask: &Ask) {
        let lease = &ask.lease;
        if self.phase != Phase::HalfOpen || lease.epoch != self.epoch || self.holder != call.from {
            return;
        }
        let ended = lease.succeeded + lease.failed + lease.nothing;
        if lease.failed > 0 {
            let counts = Counts {
                calls: ended,
                failed: lease.failed,
                slow: 0,
                run: lease.failed,
            };
            self.cause = Reason {
                node: call.from.name.clone(),
                by: Criterion::Probe.number(),
                request_id: ask.request_id.clone(),
                counts: vec![(call.from.name.clone(), counts)],
            };
            self.trip(now, call.chance);
        } else if lease.succeeded >= self.probes {
            self.quiet_since = now;
            self.cause = Reason::default();
            self.turn(self.epoch + 1, Phase::Closed, 0);
        } else if lease.returned {
            self.turn(self.epoch + 1, Phase::Open, now);
        } else if lease.left == 0 && ended >= self.probes {
            self.cause.by = Criterion::NoResult.number();
            self.turn(self.epoch + 1, Phase::Open, now + AGAIN);
        } else if lease.left + ended >= self.probes && lease.left > 0 {
            // None is under way: who has no request to probe with may keep the lease until it has one.
            self.until = now + self.rule.probe_timeout + BEGIN;
        }
    }

    /// Takes evidence in. The number up to which it was heard.
    fn hear(&mut self, now: u64, call: &Call, ask: &Ask) -> u64 {
        let ours = ask.epoch == self.epoch || broken(Broken::AnyEpoch);
        let counts_now = matches!(self.phase, Phase::Closed | Phase::Suspect);
        if !ours || !counts_now || (ask.seq == 0 && ask.opinion == Opinion::None) {
            self.run_out(now);
            return ask.seq;
        }
        let at = self.node(now, &call.from);
        let node = &mut self.nodes[at];
        node.heard = now;
        if ask.seq > node.seq || broken(Broken::TwiceHeard) {
            node.seq = node.seq.max(ask.seq);
            node.window.add(part(now, self.rule.window), ask.counts);
        }
        if ask.opinion != Opinion::None {
            node.opinion = ask.opinion;
            node.opined = now;
        }
        let heard = node.seq;
        self.run_out(now);
        self.decide(now, call, ask);
        heard
    }

    /// The place of a node's evidence.
    fn node(&mut self, now: u64, from: &Caller) -> usize {
        if let Some(at) = self.nodes.iter().position(|node| node.from == *from) {
            return at;
        }
        if self.nodes.len() >= NODES {
            // Of those that are as old the first: the script does the same.
            let oldest = (0..self.nodes.len()).fold(0, |oldest, at| {
                if self.nodes[at].heard < self.nodes[oldest].heard {
                    at
                } else {
                    oldest
                }
            });
            self.nodes.remove(oldest);
        }
        self.nodes.push(Node {
            from: from.clone(),
            heard: now,
            ..Node::default()
        });
        self.nodes.len() - 1
    }

    /// Forgets evidence that is older than the window.
    fn run_out(&mut self, now: u64) {
        let part = part(now, self.rule.window);
        let kept = self.rule.window.max(SUSPECT);
        self.nodes.iter_mut().for_each(|node| node.window.forget(part));
        self.nodes.retain(|node| node.heard + kept > now);
    }

    fn decide(&mut self, now: u64, call: &Call, ask: &Ask) {
        match judge(&self.nodes, &self.rule, call.live, now) {
            Verdict::Nothing => {
                if self.phase == Phase::Suspect {
                    self.clear_suspicion();
                }
            }
            Verdict::Suspect(seen_by) => {
                self.until = now + SUSPECT;
                if self.phase != Phase::Suspect || self.seen_by != seen_by {
                    self.phase = Phase::Suspect;
                    self.revision += 1;
                    self.seen_by = seen_by;
                }
            }
            Verdict::Open(by, counts) => {
                self.cause = Reason {
                    node: call.from.name.clone(),
                    by: by.number(),
                    request_id: ask.request_id.clone(),
                    counts,
                };
                let quiet = now.saturating_sub(self.quiet_since);
                let lived_down = quiet / (10 * self.rule.open_for).max(1);
                self.trips = self.trips.saturating_sub(u32::try_from(lived_down).unwrap_or(u32::MAX));
                self.trip(now, call.chance);
            }
        }
    }

    fn trip(&mut self, now: u64, chance: u32) {
        let doubled = self.rule.open_for << self.trips.min(DOUBLINGS);
        let jittered = doubled.min(self.rule.max_open_for) * (900 + u64::from(chance % 201)) / 1000;
        self.rest = jittered.min(self.rule.max_open_for);
        self.trips = (self.trips + 1).min(30);
        self.turn(self.epoch + 1, Phase::Open, now + self.rest);
    }

    /// A request of the caller waits to be a probe.
    fn wish(&mut self, now: u64, call: &Call, ask: &Ask) {
        if !ask.wish {
            return;
        }
        match self.phase {
            Phase::Open if now >= self.until => {
                self.turn(self.epoch + 1, Phase::HalfOpen, now + self.rule.probe_timeout + BEGIN);
                self.holder = call.from.clone();
                self.probes = self.rule.probes.max(1);
            }
            Phase::HalfOpen if self.holder != call.from => self.asks = self.asks.saturating_add(1),
            _ => {}
        }
    }

    /// Whether the caller, which sees nothing by itself, should check the upstream.
    fn wants_check(&mut self, now: u64, from: &Caller) -> bool {
        let (checker, since) = &self.checker;
        if self.phase != Phase::Suspect || (!checker.is_empty() && now < since + CHECK) {
            return false;
        }
        // Somebody's opinion is fresh, or the caller has evidence of its own.
        let known = self.nodes.iter().any(|node| {
            (node.opinion != Opinion::None && now < node.opined + CHECK)
                || (node.from.name == from.name && node.window.sum().calls > 0)
        });
        if !known {
            self.checker = (from.name.clone(), now);
        }
        !known
    }

    /// A decision: all that belongs to the one before is over.
    fn turn(&mut self, epoch: u64, phase: Phase, until: u64) {
        self.epoch = epoch;
        self.revision = 0;
        self.phase = phase;
        self.until = until;
        self.holder = Caller::default();
        self.probes = 0;
        self.asks = 0;
        self.seen_by.clear();
        self.checker = Default::default();
        self.nodes.clear();
    }
}

#[cfg(test)]
mod tests;
