//! What a node does with a fixed window.
//!
//! It knows the windows as the store told them, each by its name, and of each what it used and what it holds. A window is
//! the node's own from when it has begun at the latest to when it ends at the earliest, as far as the node's clock can
//! tell; in the moment between two windows the store is asked.
//!
//! Without the store it grants itself: of a window that had begun before all nodes can have noticed, no more than what it
//! had, and no more than its share; of later ones its share. What it holds so it tells like what it was granted.

mod alone;
mod calls;
mod publish;
mod told;

use super::cell::spans::{PLACES, Plan, SpanCell};
use super::demand::Demand;
use super::node::{Heard, Look, View, Waiters};
use super::talk::{Talk, micros};
use crate::key::KeyId;
use crate::ledger::epoch;
use crate::ledger::window::{self, Reply};
use crate::rule::{Algorithm, Calendar, Mode, OnFailure, Rule};
use crate::time::Moment;
use std::time::Duration;

/// How long what was used of a long window is kept where nobody asks any more, so that a store that loses all can be told.
const REMEMBER: Duration = Duration::from_secs(3600);
/// Calls that are only about more tokens are no closer than this.
const PAUSE: Duration = Duration::from_millis(2);
/// After which nobody gives back any more what the store gave to requests that waited.
const SETTLED: Duration = Duration::from_millis(30);
/// What all nodes may overdraw together, as a share of the limit: one in so many.
const OVERDRAFT: u64 = 20;

/// A fixed window on one node.
#[derive(Debug)]
pub(super) struct Machine {
    key: KeyId,
    limit: u64,
    fast: bool,
    on_failure: OnFailure,
    /// The length of a window, about.
    length: Duration,
    /// How long until no lease holds that was granted before this node was left alone, and all nodes have noticed.
    notice: Duration,
    talk: Talk,
    /// What requests that wait wanted when the store was last asked.
    waited: u64,
    /// Something was asked for since the last look.
    asked: bool,
    /// What it held has run out, and the store has to hear so: nobody else may have it until then.
    returns: bool,
    /// The latest window that the store was told of, and that it has heard of.
    told: u64,
    heard: u64,
    demand: Demand,
    places: [Option<Window>; PLACES],
    present: usize,
    /// Windows that each place had.
    turns: [u16; PLACES],
    /// What is in the cell, as far as it was told: tokens of each place, and the overdraft.
    shown: ([u64; PLACES], u64),
    over: u64,
    plan: Plan,
    /// When what it holds may no longer be used.
    lease: Moment,
    next: Moment,
    horizon: Duration,
    /// Until when nothing is to be had.
    spent: Moment,
    nodes: u64,
    free: u64,
    /// When what was given to requests that waited is used, or came back.
    settled: Moment,
    alone: Option<Alone>,
}

/// A window, as far as it is known.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// As the store calls it; 0 where it never told.
    name: u64,
    /// When it has begun, at the latest.
    from: Moment,
    /// When it ends, at the earliest.
    until: Moment,
    /// When it ends, about.
    closes: Moment,
    used: u64,
    held: u64,
    /// What the node had of it when it was left alone.
    level: u64,
}

/// The node grants itself.
#[derive(Debug, Clone, Copy)]
struct Alone {
    /// Since when.
    since: Moment,
    /// The store is back, and learns until then.
    learns: Option<Moment>,
}

// === impl Machine ===

impl Machine {
    /// Nothing is known yet.
    #[must_use]
    pub(super) fn new(key: KeyId, rule: &Rule, now: Moment) -> Self {
        let mut machine = Self {
            key,
            limit: 0,
            fast: false,
            on_failure: OnFailure::Local,
            length: Duration::ZERO,
            notice: Duration::ZERO,
            talk: Talk::default(),
            waited: 0,
            asked: false,
            returns: false,
            told: 0,
            heard: 0,
            demand: Demand::new(now),
            places: [None; PLACES],
            present: 0,
            turns: [0; PLACES],
            shown: ([0; PLACES], 0),
            over: 0,
            plan: Plan::default(),
            lease: Moment(0),
            next: now,
            horizon: Duration::ZERO,
            spent: Moment(0),
            nodes: 1,
            free: 0,
            settled: Moment(0),
            alone: None,
        };
        machine.adopt(rule);
        // As the cell begins.
        (machine.over, machine.shown.1) = (u64::from(machine.fast), u64::from(machine.fast));
        machine
    }

    /// The same limit with other numbers.
    pub(super) fn set_rule(&mut self, now: Moment, rule: &Rule, cell: &SpanCell) {
        self.look(now, cell);
        self.adopt(rule);
        (self.spent, self.next) = (Moment(0), now);
        self.publish(now, cell);
    }

    /// See [`KeyNode::poll`](super::KeyNode::poll).
    pub(super) fn poll(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, cell: &SpanCell) -> Look {
        self.look(now, cell);
        self.turn(now);
        match self.alone {
            _ if !view.reached => self.go_alone(view),
            Some(Alone {
                learns: Some(until), ..
            }) if now >= until => self.end_alone(now),
            // It did nothing that anybody would have to know of.
            Some(Alone { learns: None, .. }) if !self.talk.was_alone() => {
                self.alone = None;
                self.drop_held();
            }
            _ => {}
        }
        self.expire(now);
        self.account(now, view);
        let returning = self.returning(now);
        let due = view.reached && !self.talk.busy() && (returning || self.due(now, waiters, view));
        if returning {
            self.drop_held();
        } else if due && self.alone.is_none() {
            self.trim();
        }
        self.publish(now, cell);
        let call = due.then(|| self.say(now, waiters, view, returning));
        Look {
            call,
            next: self.next_look(now),
            idle: self.is_idle(now),
        }
    }

    /// See [`KeyNode::reply`](super::KeyNode::reply).
    pub(super) fn reply(&mut self, now: Moment, heard: Heard<Reply>, view: &View<'_>, cell: &SpanCell) -> u64 {
        self.look(now, cell);
        self.turn(now);
        let Some(sent) = self.talk.end() else {
            return 0;
        };
        // Before the lease moves: nothing dead may come back to life.
        self.expire(now);
        let instant = match heard {
            Heard::Epoch | Heard::Stale => {
                self.next = now;
                0
            }
            Heard::Own(reply) => self.granted(sent, now, &reply, view),
        };
        self.account(now, view);
        self.publish(now, cell);
        instant
    }

    /// See [`KeyNode::lost`](super::KeyNode::lost).
    pub(super) fn lost(&mut self, now: Moment, view: &View<'_>, cell: &SpanCell) {
        let _ = self.talk.end();
        self.look(now, cell);
        self.next = now + (view.round_trip * 2).max(PAUSE);
    }

    /// See [`KeyNode::leave`](super::KeyNode::leave).
    pub(super) fn leave(&mut self, now: Moment, view: &View<'_>, cell: &SpanCell) -> Look {
        self.look(now, cell);
        self.turn(now);
        let had = self.talk.begun() && self.places.iter().flatten().any(|window| window.held + window.used > 0);
        self.drop_held();
        self.publish(now, cell);
        let _ = self.talk.end();
        Look {
            call: (view.reached && had).then(|| self.say(now, Waiters::default(), view, true)),
            next: None,
            idle: true,
        }
    }

    fn adopt(&mut self, rule: &Rule) {
        if let Algorithm::FixedWindow { limit, calendar } = &rule.algorithm {
            self.limit = *limit;
            self.length = match calendar {
                Calendar::Every(length) => *length,
                Calendar::Minute => Duration::from_secs(60),
                Calendar::Hour(_) => Duration::from_secs(3600),
                Calendar::Day(_) => Duration::from_secs(86_400),
                Calendar::Month(_) => Duration::from_secs(31 * 86_400),
            };
        }
        let bounds = window::bounds(rule);
        self.notice = epoch::learn(bounds.window);
        self.horizon = micros(bounds.horizon);
        (self.fast, self.on_failure) = (rule.mode == Mode::Fast, rule.on_failure);
    }

    // What workers did since the last look.
    fn look(&mut self, now: Moment, cell: &SpanCell) {
        self.asked = self.demand.look(now, cell.looked());
        let (left, over) = cell.left();
        let opened = cell.opened();
        let used = self.used();
        self.see(now, left, over);
        if opened > 0 {
            self.present_or_new(now).used += opened;
        }
        if self.used() > used && self.alone.is_some_and(|alone| alone.learns.is_none()) {
            self.talk.alone();
        }
    }

    fn see(&mut self, now: Moment, left: [u64; PLACES], over: u64) {
        for (place, left) in left.into_iter().enumerate() {
            let shown = self.shown.0[place];
            if let Some(window) = &mut self.places[place] {
                // Tokens given back make it less than before; the store keeps what it was told.
                window.used = (window.used + shown).saturating_sub(left);
                window.held = (window.held + left).saturating_sub(shown);
            }
            self.shown.0[place] = left;
        }
        let overdrawn = self.shown.1.saturating_sub(over);
        if overdrawn > 0 {
            self.present_or_new(now).used += overdrawn;
            self.over = self.over.saturating_sub(overdrawn);
        }
        self.shown.1 = over;
    }

    // Past windows go, the next one becomes the present one.
    fn turn(&mut self, now: Moment) {
        let other = 1 - self.present;
        let begun = self.places[other].is_some_and(|next| next.from <= now);
        let over = self.places[self.present].is_none_or(|present| present.until <= now);
        if begun && over {
            self.places[self.present] = None;
            self.present = other;
            (self.over, self.spent) = (self.overdraft(), Moment(0));
            // Nobody has told yet; there may be as much as there can be.
            self.free = 0;
        } else if self.places[self.present].is_some_and(|present| present.closes + self.length < now) {
            // Long over, and what comes after it is not known.
            self.places[self.present] = None;
        }
    }

    fn expire(&mut self, now: Moment) {
        if self.alone.is_none() && now >= self.lease && self.holds() {
            // The store has it back, and may give it again.
            (self.spent, self.returns) = (Moment(0), true);
            self.drop_held();
        }
    }

    fn drop_held(&mut self) {
        for window in self.places.iter_mut().flatten() {
            window.held = 0;
        }
    }

    fn holds(&self) -> bool {
        self.places.iter().flatten().any(|window| window.held > 0)
    }

    fn used(&self) -> u64 {
        self.places.iter().flatten().map(|window| window.used).sum()
    }

    fn overdraft(&self) -> u64 {
        if self.fast {
            (self.limit / OVERDRAFT / self.nodes.max(1)).max(1)
        } else {
            0
        }
    }

    fn present_or_new(&mut self, now: Moment) -> &mut Window {
        if self.places[self.present].is_none() {
            self.new_window(now);
        }
        self.places[self.present].as_mut().expect("it was made just above")
    }
}
