//! A part of a bucket, as workers take from it.
//!
//! What is in it is kept as the moment at which it will be full again (GCRA): it fills by itself, and taking is one
//! addition. Time is counted from the plan's beginning, in ticks as short as the number has room for.

use super::word::{Change, Notes, Word, again};
use super::{Beyond, Refusal, Source, Take, Token};
use crate::limit::demand::Asked;
use crate::rule::{Algorithm, Mode, Rule};
use crate::time::Moment;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest time in which a part fills, in ticks, and as much for what a plan may last: both have room in a number.
const TICKS: u64 = 1 << 45;
/// A part fills by this much of its rate: the node's clock may be fast by a thousandth.
const SLOW: f64 = 0.999;
/// What computing with fractions may lose.
const DUST: f64 = 1e-6;

/// A part of a bucket.
#[derive(Debug)]
pub struct BucketCell {
    plan: ArcSwap<Plan>,
    /// When it is full, in ticks of the plan.
    full: Word,
    /// What may still be overdrawn.
    over: Word,
    /// What was taken since ever, by whatever leave.
    taken: AtomicU64,
    notes: Notes,
}

/// What holds until the next plan.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::limit) struct Plan {
    pub(in crate::limit) generation: u16,
    /// When it began.
    pub(in crate::limit) base: Moment,
    /// How many bits of nanoseconds a tick leaves out.
    pub(in crate::limit) shift: u32,
    /// Ticks in which a token comes; nothing comes where it is 0.
    pub(in crate::limit) each: f64,
    /// Ticks in which the part fills.
    pub(in crate::limit) depth: u64,
    /// Rate and depth of the part, in tokens a second and tokens.
    pub(in crate::limit) part: (f64, u64),
    /// Before when tokens may be taken.
    pub(in crate::limit) until: Moment,
    /// Whose leave it is.
    pub(in crate::limit) source: Source,
    /// What is answered where nothing is left.
    pub(in crate::limit) beyond: Beyond,
    /// Requests may wait for the store; else what is not known is refused.
    pub(in crate::limit) waits: bool,
    /// The free part, as last told: level, rate, from when on it fills; and the time that the way there and back took.
    pub(in crate::limit) free: (f64, f64, Moment, Duration),
    /// Rate and depth of the whole.
    pub(in crate::limit) whole: (f64, u64),
}

// === impl BucketCell ===

impl BucketCell {
    /// No part, and nothing is known. Where no request may wait, one token may be overdrawn.
    #[must_use]
    pub fn new(rule: &Rule) -> Self {
        let fast = rule.mode == Mode::Fast;
        Self {
            plan: ArcSwap::from_pointee(Plan {
                waits: !fast,
                ..Plan::new(Moment(0), (0.0, 0), whole_of(rule))
            }),
            full: Word::default(),
            over: Word::new(u64::from(fast)),
            taken: AtomicU64::new(0),
            notes: Notes::default(),
        }
    }

    /// See [`Cell::take`](super::Cell::take).
    pub fn take(&self, now: Moment, cost: u32) -> (Take, bool) {
        self.notes.take(cost, || self.try_take(now, cost))
    }

    /// See [`Cell::peek`](super::Cell::peek).
    #[must_use]
    pub fn peek(&self, now: Moment, cost: u32) -> Take {
        self.notes.peek(cost, || {
            let plan = self.plan.load();
            let full = self.full.read(plan.generation)?;
            if plan.taking(now, full, cost).is_some() {
                return Some(Take::Taken(token(now, plan.source, cost)));
            }
            let over = self.over.read(plan.generation)?;
            Some(match plan.beyond(now, full, cost) {
                Err(refusal) => Take::Refused(refusal),
                Ok(Source::Open) => Take::Taken(token(now, Source::Open, cost)),
                Ok(_) if over >= u64::from(cost) => Take::Taken(token(now, Source::Local, cost)),
                Ok(_) if plan.waits => Take::Unknown,
                Ok(_) => Take::Refused(Refusal::Spent(plan.wait(now, full, cost))),
            })
        })
    }

    /// See [`Cell::give_back`](super::Cell::give_back).
    pub fn give_back(&self, now: Moment, token: Token) {
        if token.source == Source::Open {
            return;
        }
        // What came in since it was taken might have run over, had it not been: that much stays taken.
        let elapsed = now.since(token.taken).as_secs_f64();
        let _ = again(|| {
            let plan = self.plan.load();
            let back = (f64::from(token.cost) - elapsed * plan.part.0).max(0.0);
            let ticks = round_down(plan.each * back);
            match self
                .full
                .change(plan.generation, |full| Some(full.saturating_sub(ticks)))
            {
                Change::Other => None,
                Change::Made(..) | Change::Refused(_) => Some(()),
            }
        });
    }

    /// See [`Cell::standing`](super::Cell::standing).
    #[must_use]
    pub fn standing(&self, now: Moment) -> (u64, Duration) {
        let plan = self.plan.load();
        let full = self.full.read(plan.generation).unwrap_or(u64::MAX);
        let level = plan.level(now, full) + plan.freed(now);
        let left = level + DUST;
        if left < 1.0 {
            return (0, plan.wait(now, full, 1));
        }
        let missing = (depth_of(plan.whole) - level).max(0.0);
        (whole(left), seconds(missing / plan.whole.0))
    }

    /// Somebody looks at it. Tells what was asked for since ever, and what was taken.
    pub(in crate::limit) fn looked(&self) -> (Asked, u64) {
        (self.notes.looked(), self.taken.load(Ordering::Relaxed))
    }

    /// What is in the part now, and what may still be overdrawn.
    pub(in crate::limit) fn level(&self, now: Moment) -> (f64, u64) {
        let plan = self.plan.load();
        // Only who publishes turns them, and that is the caller.
        let full = self.full.read(plan.generation).unwrap_or(u64::MAX);
        (plan.level(now, full), self.over.read(plan.generation).unwrap_or(0))
    }

    /// Another plan; `to` tells what is in it by what is in it at that moment. Tells that, and what could still be
    /// overdrawn.
    pub(in crate::limit) fn publish(
        &self,
        now: Moment,
        mut plan: Plan,
        to: impl Fn(f64) -> f64,
        over: impl Fn(u64) -> u64,
    ) -> (f64, u64) {
        let last = self.plan.load_full();
        plan.generation = last.generation.wrapping_add(1);
        let next = Arc::new(plan);
        self.plan.store(Arc::clone(&next));
        let full = self
            .full
            .turn(next.generation, |full| next.full_at(now, to(last.level(now, full))));
        (last.level(now, full), self.over.turn(next.generation, over))
    }

    /// See [`Cell::forget`](super::Cell::forget).
    pub(super) fn forget(&self) {
        let whole = self.plan.load().whole;
        self.publish(Moment(0), Plan::new(Moment(0), (0.0, 0), whole), |_| 0.0, |_| 0);
    }

    fn try_take(&self, now: Moment, cost: u32) -> Option<(Take, bool)> {
        let plan = self.plan.load();
        let full = match self.full.change(plan.generation, |full| plan.taking(now, full, cost)) {
            Change::Made(..) => {
                self.count(cost);
                return Some((Take::Taken(token(now, plan.source, cost)), false));
            }
            Change::Refused(full) => full,
            Change::Other => return None,
        };
        Some(match plan.beyond(now, full, cost) {
            Err(refusal) => (Take::Refused(refusal), false),
            Ok(Source::Open) => {
                self.count(cost);
                (Take::Taken(token(now, Source::Open, cost)), false)
            }
            Ok(_) => match self
                .over
                .change(plan.generation, |left| left.checked_sub(u64::from(cost)))
            {
                Change::Made(..) => {
                    self.count(cost);
                    (Take::Taken(token(now, Source::Local, cost)), self.notes.nudge())
                }
                Change::Refused(_) if plan.waits => (Take::Unknown, self.notes.nudge()),
                Change::Refused(_) => (
                    Take::Refused(Refusal::Spent(plan.wait(now, full, cost))),
                    self.notes.nudge(),
                ),
                Change::Other => return None,
            },
        })
    }

    fn count(&self, cost: u32) {
        self.taken.fetch_add(u64::from(cost), Ordering::Relaxed);
    }
}

// === impl Plan ===

impl Plan {
    /// Of a part of the whole, both rate and depth, that begins now and may not be taken from yet.
    pub(in crate::limit) fn new(base: Moment, part: (f64, u64), whole: (f64, u64)) -> Self {
        let nanos = if part.0 > 0.0 { 1e9 / (part.0 * SLOW) } else { 0.0 };
        let mut shift = 0;
        while nanos * depth_of(part) > ticks_of(TICKS << shift.min(18)) && shift < 18 {
            shift += 1;
        }
        let each = nanos / ticks_of(1 << shift);
        Self {
            generation: 0,
            base,
            shift,
            each,
            // What is slower than a token in a hundred years is as good as never.
            depth: round_down(each * depth_of(part)).min(TICKS),
            part,
            until: Moment(0),
            source: Source::Lease,
            beyond: Beyond::Ask,
            waits: true,
            free: (0.0, 0.0, base, Duration::ZERO),
            whole,
        }
    }

    /// Whether the same may be taken by it as by another that begins now, and it has lasted for less than half of what it
    /// has room for.
    pub(in crate::limit) fn is_like(&self, other: &Self, now: Moment) -> bool {
        let same = Self {
            generation: other.generation,
            base: other.base,
            ..self.clone()
        };
        self.since(now) < TICKS / 2 && same == *other
    }

    fn since(&self, now: Moment) -> u64 {
        (now.0.saturating_sub(self.base.0)) >> self.shift
    }

    fn ticks(&self, cost: u32) -> u64 {
        round_down((self.each * f64::from(cost)).ceil())
    }

    // When it is full after so many were taken; None where these are not in it.
    fn taking(&self, now: Moment, full: u64, cost: u32) -> Option<u64> {
        if now >= self.until || self.each <= 0.0 {
            return None;
        }
        let since = self.since(now);
        let then = full.max(since) + self.ticks(cost);
        // A plan that is older than the number has room for must be made anew first.
        (since < TICKS && then - since <= self.depth).then_some(then)
    }

    fn level(&self, now: Moment, full: u64) -> f64 {
        if self.each <= 0.0 {
            return 0.0;
        }
        let missing = full.saturating_sub(self.since(now)).min(self.depth);
        ticks_of(self.depth - missing) / self.each
    }

    fn full_at(&self, now: Moment, level: f64) -> u64 {
        let missing = (depth_of(self.part) - level).max(0.0) * self.each;
        self.since(now) + round_down(missing.ceil()).min(self.depth)
    }

    // What the free part has by now at least.
    fn freed(&self, now: Moment) -> f64 {
        let (level, rate, then, _) = self.free;
        (level + rate * now.since(then).as_secs_f64()).min(depth_of(self.whole))
    }

    // The same at most: the store's clock may be ahead by the way of the reply, and ours may be slow.
    fn freed_at_most(&self, now: Moment) -> f64 {
        let (level, rate, then, way) = self.free;
        level + rate * (now.since(then).as_secs_f64() * 1.002 + way.as_secs_f64()) + DUST
    }

    // How long until so many are there: in the part, or in the free one.
    fn wait(&self, now: Moment, full: u64, cost: u32) -> Duration {
        let cost = f64::from(cost);
        let mut wait = f64::INFINITY;
        if self.each > 0.0 && now < self.until && cost <= depth_of(self.part) {
            wait = ((cost - self.level(now, full)) / (self.part.0 * SLOW)).max(0.0);
        }
        if self.free.1 > 0.0 {
            let stalls = self.free.2.since(now).as_secs_f64();
            wait = wait.min(((cost - self.freed(now)) / self.free.1).max(0.0) + stalls);
        }
        if wait.is_infinite() {
            wait = cost / self.whole.0;
        }
        seconds(wait)
    }

    // Where nothing is left: why not, or by whose leave all the same. `Local`: what may be overdrawn, or the store is
    // to be asked.
    fn beyond(&self, now: Moment, full: u64, cost: u32) -> Result<Source, Refusal> {
        match self.beyond {
            Beyond::Open => Ok(Source::Open),
            Beyond::Closed => Err(Refusal::NoStore),
            Beyond::Spent { until } if now < until && self.freed_at_most(now) < f64::from(cost) => {
                Err(Refusal::Spent(self.wait(now, full, cost)))
            }
            Beyond::Spent { .. } | Beyond::Ask => Ok(Source::Local),
        }
    }
}

/// Rate and depth of a limit: tokens a second, tokens.
pub(in crate::limit) fn whole_of(rule: &Rule) -> (f64, u64) {
    match rule.algorithm {
        Algorithm::TokenBucket { limit, per, depth } => (f64::from(limit) / per.as_secs_f64(), u64::from(depth)),
        // Not asked of other algorithms.
        _ => (1.0, 1),
    }
}

fn token(now: Moment, source: Source, cost: u32) -> Token {
    Token {
        cost,
        source,
        generation: 0,
        taken: now,
    }
}

fn depth_of(part: (f64, u64)) -> f64 {
    ticks_of(part.1)
}

#[expect(clippy::cast_precision_loss, reason = "depths are below 2^32, ticks below 2^46")]
fn ticks_of(ticks: u64) -> f64 {
    ticks as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and `as` bounds what is beyond"
)]
fn round_down(ticks: f64) -> u64 {
    ticks as u64
}

fn whole(level: f64) -> u64 {
    round_down(level.max(0.0))
}

fn seconds(seconds: f64) -> Duration {
    // A hundred years.
    Duration::from_secs_f64(seconds.clamp(0.0, 3.2e9))
}
