//! What a node does with a token bucket.
//!
//! Where much is asked for it has a part of the bucket, which fills by itself; else each request's tokens come from the
//! store, and while the store has none, this node knows when it will have one. Without the store it goes on with no more
//! than the part it had, and no more than its share; when all nodes must have noticed, with its share, empty at first.

use super::alone::share;
use super::cell::bucket::{BucketCell, Plan, whole_of};
use super::cell::{Beyond, Source};
use super::demand::Demand;
use super::node::{Heard, Look, Said, View, Waiters};
use super::talk::{Talk, at_least, at_most, micros, next_call, some_of};
use crate::key::KeyId;
use crate::ledger::bucket::{self, Call, Reply};
use crate::ledger::share::{floor, real};
use crate::ledger::{self, epoch};
use crate::rule::{Mode, OnFailure, Rule};
use crate::time::Moment;
use std::time::Duration;

/// How long what was used of a slow bucket is kept where nobody asks any more, so that a store that loses all can be told.
const REMEMBER: Duration = Duration::from_secs(3600);
/// Calls that no request waits for are no closer than this.
const PAUSE: Duration = Duration::from_millis(2);
/// What all nodes may overdraw together, as a share of the depth: one in so many.
const OVERDRAFT: u64 = 20;
/// In how many pieces of time what was used is kept.
const PIECES: usize = 8;

/// A token bucket on one node.
#[derive(Debug)]
pub(super) struct Machine {
    key: KeyId,
    whole: (f64, u64),
    fast: bool,
    on_failure: OnFailure,
    /// How long until no lease holds that was granted before this node was left alone, and all nodes have noticed.
    notice: Duration,
    talk: Talk,
    demand: Demand,
    asked: bool,
    waited: u64,
    /// The demand that the store was told.
    told: f64,
    used: Used,
    /// Tokens taken out of the part that come back: acknowledged, with the call under way, in all.
    back: (f64, f64, f64),
    /// Tokens overdrawn, in the same way.
    over: (f64, f64, f64),
    /// What may still be overdrawn, as the cell was told.
    allowed: u64,
    part: (f64, u64),
    lease: Moment,
    next: Moment,
    horizon: Duration,
    /// Until when nothing is to be had but what the free part brings.
    spent: Moment,
    free: (f64, f64, Moment, Duration),
    nodes: u64,
    alone: Option<Alone>,
    plan: Option<Plan>,
}

/// The node goes on by itself.
#[derive(Debug, Clone, Copy)]
struct Alone {
    /// Since when.
    since: Moment,
    /// The part that it had then.
    had: (f64, u64),
    /// The store is back, and learns until then.
    learns: Option<Moment>,
}

/// What was used in the time in which the bucket fills: never less than that, and up to an eighth of the time more.
#[derive(Debug)]
struct Used {
    piece: Duration,
    pieces: [u64; PIECES + 1],
    began: Moment,
    /// What the cell has counted since ever.
    counted: u64,
}

// === impl Machine ===

impl Machine {
    /// Nothing is known yet.
    #[must_use]
    pub(super) fn new(key: KeyId, rule: &Rule, now: Moment) -> Self {
        let fast = rule.mode == Mode::Fast;
        let bounds = bucket::bounds(rule);
        Self {
            key,
            whole: whole_of(rule),
            fast,
            on_failure: rule.on_failure,
            notice: epoch::learn(bounds.window),
            talk: Talk::default(),
            demand: Demand::new(now),
            asked: false,
            waited: 0,
            told: 0.0,
            used: Used::new(bucket::fill(rule), now),
            back: (0.0, 0.0, 0.0),
            over: (0.0, 0.0, 0.0),
            // As the cell begins.
            allowed: u64::from(fast),
            part: (0.0, 0),
            lease: Moment(0),
            next: now,
            horizon: micros(bounds.horizon),
            spent: Moment(0),
            free: (0.0, 0.0, now, Duration::ZERO),
            nodes: 1,
            alone: None,
            plan: None,
        }
    }

    /// The same limit with other numbers.
    pub(super) fn set_rule(&mut self, now: Moment, rule: &Rule, cell: &BucketCell) {
        self.look(now, cell);
        self.whole = whole_of(rule);
        self.notice = epoch::learn(bucket::bounds(rule).window);
        (self.fast, self.on_failure) = (rule.mode == Mode::Fast, rule.on_failure);
        self.used.piece = bucket::fill(rule) / (PIECES as u32);
        (self.spent, self.next) = (Moment(0), now);
    }

    /// See [`KeyNode::poll`](super::KeyNode::poll).
    pub(super) fn poll(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, cell: &BucketCell) -> Look {
        self.look(now, cell);
        match &mut self.alone {
            Some(alone) if !view.reached => alone.learns = None,
            None if !view.reached => self.be_alone(view.away, None),
            Some(Alone {
                learns: Some(until), ..
            }) if now >= *until => (self.alone, self.next) = (None, now),
            // It did nothing that anybody would have to know of.
            Some(Alone { learns: None, .. }) if !self.talk.was_alone() => (self.alone, self.part) = (None, (0.0, 0)),
            _ => {}
        }
        self.settle(now, view);
        let returning = self.returning(now);
        if returning {
            self.part = (0.0, 0);
        }
        let level = self.publish(now, 0.0, cell, view);
        if returning {
            self.back.2 += level;
        }
        let due = view.reached && !self.talk.busy() && (returning || self.due(now, waiters, view));
        let call = due.then(|| self.say(now, waiters, view, returning, cell));
        Look {
            call,
            next: self.next_look(now),
            idle: self.is_idle(now),
        }
    }

    /// See [`KeyNode::reply`](super::KeyNode::reply).
    pub(super) fn reply(&mut self, now: Moment, heard: Heard<Reply>, view: &View<'_>, cell: &BucketCell) -> u64 {
        let Some(sent) = self.talk.end() else {
            return 0;
        };
        self.look(now, cell);
        // Before the lease moves: nothing dead may come back to life.
        self.settle(now, view);
        let Heard::Own(reply) = heard else {
            self.next = now;
            self.publish(now, 0.0, cell, view);
            return 0;
        };
        if self.part.1 == 0 {
            // What was in a part that has ended is gone with it.
            self.publish(now, 0.0, cell, view);
        }
        self.talk.held(view);
        (self.back.0, self.over.0) = (self.back.1, self.over.1);
        self.granted(sent, now, &reply, view);
        let level = self.publish(now, reply.level, cell, view) + reply.level;
        // What has no room in a part that became smaller goes back.
        self.back.2 += (level - real(self.part.1)).max(0.0);
        let instant = reply.instant.min(self.waited);
        self.used.add(now, instant);
        self.demand.add(now, instant);
        instant
    }

    /// See [`KeyNode::lost`](super::KeyNode::lost).
    pub(super) fn lost(&mut self, now: Moment, view: &View<'_>, _: &BucketCell) {
        let _ = self.talk.end();
        self.next = now + (2 * view.round_trip).max(PAUSE);
    }

    /// See [`KeyNode::leave`](super::KeyNode::leave).
    pub(super) fn leave(&mut self, now: Moment, view: &View<'_>, cell: &BucketCell) -> Look {
        self.look(now, cell);
        self.settle(now, view);
        let had = self.part.1 > 0 || self.back.2 > self.back.0 || self.over.2 > self.over.0;
        let leased = self.part.1 > 0 && self.alone.is_none();
        self.part = (0.0, 0);
        let level = self.publish(now, 0.0, cell, view);
        if leased {
            self.back.2 += level;
        }
        let _ = self.talk.end();
        Look {
            call: (view.reached && had && self.talk.begun())
                .then(|| self.say(now, Waiters::default(), view, true, cell)),
            next: None,
            idle: true,
        }
    }

    fn look(&mut self, now: Moment, cell: &BucketCell) {
        let (asked, taken) = cell.looked();
        self.asked = self.demand.look(now, asked);
        let before = self.used.counted;
        self.used.count(now, taken);
        if taken > before && self.alone.is_some_and(|alone| alone.learns.is_none()) {
            self.talk.alone();
        }
        let (_, over) = cell.level(now);
        self.over.2 += real(self.allowed.saturating_sub(over));
        self.allowed = over;
    }

    fn be_alone(&mut self, since: Moment, learns: Option<Moment>) {
        self.alone = Some(Alone {
            since,
            had: self.part,
            learns,
        });
    }

    // The part that it may have now.
    fn settle(&mut self, now: Moment, view: &View<'_>) {
        let Some(alone) = self.alone else {
            if now >= self.lease {
                self.part = (0.0, 0);
            }
            return;
        };
        // What the store was told, or is being told, must not become more behind its back.
        if self.on_failure != OnFailure::Local || alone.learns.is_some() || self.talk.busy() {
            return;
        }
        let depth = share(self.whole.1, self.key, view);
        let share = (self.whole.0 * real(depth) / real(self.whole.1), depth);
        self.part = if now >= alone.since + at_most(self.notice) {
            share
        } else {
            (alone.had.0.min(share.0), alone.had.1.min(share.1))
        };
        if self.part.0 <= 0.0 || self.part.1 == 0 {
            self.part = (0.0, 0);
        }
    }

    fn granted(&mut self, sent: Moment, now: Moment, reply: &Reply, view: &View<'_>) {
        self.part = reply.part;
        (self.nodes, self.horizon) = (reply.nodes, micros(reply.horizon));
        self.lease = sent + at_least(micros(reply.life));
        self.next = next_call(sent, now, self.horizon, view);
        self.free = (reply.free.0, reply.free.1, now + micros(reply.stall), now.since(sent));
        if reply.learning > 0 {
            let until = sent + at_least(micros(reply.learning));
            match &mut self.alone {
                Some(alone) => alone.learns = Some(until),
                None => self.be_alone(now, Some(until)),
            }
            self.next = until + some_of(Duration::from_millis(20), view);
            return;
        }
        self.alone = None;
        let soon = (self.demand.rate() * 0.005).max(1.0);
        self.spent = if self.part.1 > 0 {
            // There may be enough for a burst beside the part.
            if reply.free.0 >= soon { Moment(0) } else { self.next }
        } else if reply.out == 0 {
            // Nothing is out that could come back.
            Moment(u64::MAX)
        } else {
            now + self.horizon + some_of(self.horizon, view)
        };
    }

    fn due(&self, now: Moment, waiters: Waiters, view: &View<'_>) -> bool {
        if waiters.requests > 0 {
            return true;
        }
        if self.talk.last() + PAUSE > now {
            return false;
        }
        let tells = self.part.1 > 0 || self.used.sum(now) > 0;
        let grown = self.demand.rate() > 1.5 * self.told && self.talk.last() + self.horizon / 8 <= now;
        (self.talk.owes(view) && tells)
            || (grown && self.part.1 > 0 && self.alone.is_none())
            || (now >= self.next && self.part.1 > 0 && self.alone.is_none())
            || (self.fast && self.alone.is_none() && (self.over.2 > self.over.0 || (self.asked && now >= self.spent)))
    }

    // Nobody asks any more: what is left goes back.
    fn returning(&self, now: Moment) -> bool {
        let idle = self.demand.idle(self.horizon / 14, self.horizon);
        self.alone.is_none() && self.part.1 > 0 && !self.talk.busy() && self.demand.quiet(now) >= idle
    }

    fn say(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, leaving: bool, cell: &BucketCell) -> Said {
        let (seq, ack) = self.talk.begin(now);
        self.told = if leaving { 0.0 } else { self.demand.rate() };
        self.waited = waiters.cost;
        (self.back.1, self.over.1) = (self.back.2, self.over.2);
        let call = Call {
            seq,
            ack,
            demand: self.told,
            waiting: waiters.cost,
            unit: u64::from(waiters.unit.max(1)).min(waiters.cost),
            part: self.part,
            level: cell.level(now).0,
            back: (self.back.0, self.back.1),
            over: (self.over.0, self.over.1),
            spent: real(self.used.sum(now)),
        };
        self.talk.say(view, ledger::Call::Bucket(call))
    }

    fn next_look(&self, now: Moment) -> Option<Moment> {
        if self.talk.busy() {
            return None;
        }
        let next = match self.alone {
            Some(Alone {
                learns: Some(until), ..
            }) => until,
            Some(alone) if now < alone.since + at_most(self.notice) => alone.since + at_most(self.notice),
            None if self.part.1 > 0 => {
                let idle = now + self.demand.idle(self.horizon / 14, self.horizon);
                self.next.min(self.lease).min(idle).min(now + self.horizon / 8)
            }
            _ if self.used.sum(now) > 0 => now + self.used.piece,
            _ => return None,
        };
        Some(next.max(now + PAUSE / 2))
    }

    fn is_idle(&self, now: Moment) -> bool {
        let remembered = self.used.sum(now) > 0 && self.demand.quiet(now) < REMEMBER;
        !self.talk.busy()
            && !remembered
            && match self.alone {
                // What the store has set aside for this node nobody gets before it has said what became of it.
                Some(alone) => alone.learns.is_none(),
                None => self.part.1 == 0,
            }
            && self.demand.quiet(now) > self.horizon
    }

    // Tells what was in the part at that moment.
    fn publish(&mut self, now: Moment, more: f64, cell: &BucketCell, view: &View<'_>) -> f64 {
        let alone = self.alone.is_some();
        let holds = self.part.1 > 0;
        if self.fast && !alone {
            // What was overdrawn and is not acknowledged counts.
            let most = (self.whole.1 / OVERDRAFT / self.nodes.max(1)).max(1);
            self.allowed = most.saturating_sub(floor(self.over.2 - self.over.0));
        } else {
            self.allowed = 0;
        }
        let plan = Plan {
            until: if alone { Moment(u64::MAX) } else { self.lease },
            source: if alone { Source::Local } else { Source::Lease },
            beyond: match (self.alone, self.on_failure) {
                (Some(_), OnFailure::Open) => Beyond::Open,
                (Some(_), OnFailure::Closed) => Beyond::Closed,
                (Some(alone), OnFailure::Local) => Beyond::Spent {
                    until: alone.learns.unwrap_or(Moment(u64::MAX)),
                },
                (None, _) if now < self.spent => Beyond::Spent { until: self.spent },
                (None, _) => Beyond::Ask,
            },
            waits: !self.fast,
            free: if alone || holds {
                (0.0, 0.0, now, Duration::ZERO)
            } else {
                self.free
            },
            ..Plan::new(now, self.part, self.whole)
        };
        let same = self.plan.as_ref().is_some_and(|last| last.is_like(&plan, now));
        let (level, over) = cell.level(now);
        if same && more == 0.0 && over == self.allowed {
            return level;
        }
        // A share that nobody knew to be this node's was empty when all nodes had noticed.
        let safe = self.alone.map_or(now, |alone| alone.since + at_most(self.notice));
        let came = if alone && self.plan.as_ref().is_none_or(|last| last.part.1 == 0) {
            self.part.0 * now.since(safe).as_secs_f64()
        } else {
            0.0
        };
        let allowed = self.allowed;
        let depth = real(self.part.1);
        let (was, left) = cell.publish(
            now,
            plan.clone(),
            |level| (level + more + came).min(depth),
            |left| (left + allowed).saturating_sub(over),
        );
        self.over.2 += real(over.saturating_sub(left));
        self.allowed = (left + allowed).saturating_sub(over);
        self.plan = Some(plan);
        let _ = view;
        was
    }
}

// === impl Used ===

impl Used {
    fn new(fill: Duration, now: Moment) -> Self {
        Self {
            piece: (fill / (PIECES as u32)).max(Duration::from_millis(1)),
            pieces: [0; PIECES + 1],
            began: now,
            counted: 0,
        }
    }

    fn count(&mut self, now: Moment, counted: u64) {
        let more = counted.saturating_sub(self.counted);
        self.counted = counted;
        self.add(now, more);
    }

    fn add(&mut self, now: Moment, tokens: u64) {
        while now.since(self.began) >= self.piece {
            if now.since(self.began) > self.piece * (PIECES as u32 + 2) {
                (self.pieces, self.began) = ([0; PIECES + 1], now);
                break;
            }
            self.pieces.rotate_right(1);
            self.pieces[0] = 0;
            self.began = self.began + self.piece;
        }
        self.pieces[0] += tokens;
    }

    fn sum(&self, now: Moment) -> u64 {
        let past = now.since(self.began).as_nanos() / self.piece.as_nanos().max(1);
        let past = usize::try_from(past).unwrap_or(usize::MAX);
        self.pieces.iter().take((PIECES + 1).saturating_sub(past)).sum()
    }
}
