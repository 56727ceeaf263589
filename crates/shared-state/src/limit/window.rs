//! What a node does with a fixed window.
//!
//! It knows the windows as the store told them, each by its name, and of each what it used and what it holds. A window is
//! the node's own from when it has begun at the latest to when it ends at the earliest, as far as the node's clock can
//! tell; in the moment between two windows the store is asked.
//!
//! Without the store it grants itself: of a window that had begun before all nodes can have noticed, no more than what it
//! had, and no more than its share; of later ones its share. What it holds so it tells like what it was granted.

use super::alone::share;
use super::cell::Beyond;
use super::cell::Source;
use super::cell::spans::{PLACES, Plan, SpanCell};
use super::demand::Demand;
use super::node::{Heard, Look, View, Waiters};
use super::talk::{Talk, at_least, at_most, micros, next_call, some_of};
use crate::key::KeyId;
use crate::ledger::share::{floor, real};
use crate::ledger::window::{self, Call, Reply, Span, Told};
use crate::ledger::{self, epoch};
use crate::rule::{Algorithm, Calendar, Mode, OnFailure, Rule};
use crate::time::Moment;
use std::time::Duration;

/// How long what was used of a long window is kept where nobody asks any more, so that a store that loses all can be told.
const REMEMBER: Duration = Duration::from_secs(3600);
/// Calls that are only about more tokens are no closer than this.
const PAUSE: Duration = Duration::from_millis(2);
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

    fn go_alone(&mut self, view: &View<'_>) {
        match &mut self.alone {
            Some(alone) => alone.learns = None,
            None => self.be_alone(view.away, None),
        }
    }

    fn be_alone(&mut self, since: Moment, learns: Option<Moment>) {
        for window in self.places.iter_mut().flatten() {
            window.level = window.used + window.held;
        }
        self.alone = Some(Alone { since, learns });
    }

    // The store has learnt. What it never heard of is nobody's.
    fn end_alone(&mut self, now: Moment) {
        (self.alone, self.next) = (None, now);
        for window in self.places.iter_mut().flatten() {
            if window.name > self.heard {
                window.held = 0;
            }
        }
    }

    // What the node grants itself.
    fn account(&mut self, now: Moment, view: &View<'_>) {
        let Some(alone) = self.alone else {
            return;
        };
        if self.on_failure != OnFailure::Local {
            return;
        }
        let safe = alone.since + at_most(self.notice);
        if self.places[self.present].is_none() {
            self.new_window(now.max(safe));
        }
        self.foresee(now);
        self.turn(now);
        self.foresee(now);
        let share = share(self.limit, self.key, view);
        let told = match (self.talk.busy(), alone.learns) {
            (true, _) => self.told,
            (false, Some(_)) => self.heard,
            (false, None) => 0,
        };
        for window in self.places.iter_mut().flatten() {
            let mut cap = if window.from < safe {
                window.level.min(share)
            } else {
                share
            };
            // What the store was told, or is being told, must not become more behind its back.
            if window.name <= told {
                cap = cap.min(window.used + window.held);
            }
            window.held = cap.saturating_sub(window.used);
        }
    }

    // A window of which the store never told: as long as one is, from now on.
    fn new_window(&mut self, from: Moment) {
        self.places[self.present] = Some(Window {
            name: 0,
            from,
            until: from + self.length,
            closes: from + self.length,
            used: 0,
            held: 0,
            level: 0,
        });
        self.turns[self.present] = self.turns[self.present].wrapping_add(1);
    }

    // The window after the present one, by its length; the clocks' difference since the store was last heard makes its
    // beginning uncertain.
    fn foresee(&mut self, now: Moment) {
        let other = 1 - self.present;
        let Some(present) = self.places[self.present] else {
            return;
        };
        if self.places[other].is_some() || now >= present.closes + self.length {
            return;
        }
        let doubt = present.closes.since(present.until) + self.length / 1000;
        self.places[other] = Some(Window {
            name: if present.name == 0 {
                0
            } else {
                present.name + u64::try_from(self.length.as_micros()).unwrap_or(u64::MAX)
            },
            from: present.closes + present.closes.since(present.until),
            until: present.closes + self.length.saturating_sub(doubt),
            closes: present.closes + self.length,
            used: 0,
            held: 0,
            level: 0,
        });
        self.turns[other] = self.turns[other].wrapping_add(1);
    }

    fn granted(&mut self, sent: Moment, now: Moment, reply: &Reply, view: &View<'_>) -> u64 {
        self.talk.held(view);
        self.heard = self.told;
        // The window may have ended while the reply was on its way: nobody uses at once what it granted there.
        let past = now >= sent + at_least(micros(reply.present.closes));
        let present = self.places[self.present].filter(|present| past && present.name > reply.present.start);
        let mut instant = 0;
        let (span, next) = match present {
            // It has, as this node knows.
            Some(present) if present.name == reply.next.start => (Some(&reply.next), None),
            Some(present) if present.name < reply.next.start => (None, Some(&reply.next)),
            Some(_) => (None, None),
            None => (Some(&reply.present), Some(&reply.next)),
        };
        if let Some(span) = span {
            self.meet(span);
            self.know(self.present, span, sent, now);
            self.free = span.free;
        }
        if let Some(next) = next {
            self.know(1 - self.present, next, sent, now);
        }
        if !past && let Some(present) = &mut self.places[self.present] {
            instant = reply.instant.min(self.waited);
            self.demand.add(now, instant);
            present.used += instant;
            present.held = present.held.saturating_sub(instant);
        }
        self.nodes = reply.nodes;
        self.horizon = micros(reply.horizon);
        self.lease = sent + at_least(micros(reply.life));
        self.next = next_call(sent, now, self.horizon, view);
        if reply.learning > 0 {
            let until = sent + at_least(micros(reply.learning));
            match &mut self.alone {
                Some(alone) => alone.learns = Some(until),
                None => self.be_alone(now, Some(until)),
            }
            self.next = until + some_of(Duration::from_millis(20), view);
            return instant;
        }
        self.alone = None;
        self.spent = Moment(0);
        if let Some(span) = span.filter(|span| span.free == 0) {
            let ends = sent + at_least(micros(span.closes));
            self.spent = if span.used >= self.limit {
                // Nothing is out that could come back.
                ends
            } else {
                ends.min(now + self.horizon + some_of(self.horizon, view))
            };
        }
        self.over = self.over.min(self.overdraft());
        instant
    }

    // The store's present window has the present place: where it is another one than was thought, that one is over.
    fn meet(&mut self, span: &Span) {
        let named = |window: &Option<Window>| window.is_some_and(|window| window.name == span.start);
        let place = self.places.iter().position(named);
        let unnamed = self.places[self.present].is_some_and(|present| present.name == 0);
        if place != Some(self.present) && !unnamed {
            self.places[self.present] = None;
            self.present = place.unwrap_or(self.present);
            self.over = self.overdraft();
        }
    }

    fn know(&mut self, place: usize, span: &Span, sent: Moment, now: Moment) {
        let (opens, closes) = (micros(span.opens), micros(span.closes));
        let known =
            self.places[place].filter(|window| window.name == span.start || (window.name == 0 && span.opens == 0));
        let from = if span.opens == 0 {
            sent.min(now)
        } else {
            now + at_most(opens)
        };
        let (used, held, level) = known.map_or((0, 0, 0), |known| (known.used, known.held, known.level));
        let until = sent + at_least(closes);
        if known.is_none() {
            self.turns[place] = self.turns[place].wrapping_add(1);
        }
        // When one without a name begins and ends was a guess.
        let bounds = known.filter(|known| known.name != 0);
        self.places[place] = Some(Window {
            name: span.start,
            from: bounds.map_or(from, |known| known.from.min(from)),
            until: bounds.map_or(until, |known| known.until.max(until)),
            closes: now + closes,
            used,
            held: held + span.granted,
            level,
        });
    }

    fn due(&self, now: Moment, waiters: Waiters, view: &View<'_>) -> bool {
        if waiters.requests > 0 {
            return true;
        }
        if self.talk.last() + PAUSE > now {
            return false;
        }
        if self.returns || (self.talk.owes(view) && self.used() > 0) {
            return true;
        }
        if let Some(alone) = self.alone {
            // A store that is back has to hear of it, though nobody asks: until it does, it gives to others what this node
            // grants itself. One that learns has to know of each window before it begins.
            return alone.learns.is_none() || self.untold();
        }
        let busy = self.demand.rate() * self.horizon.as_secs_f64() >= 4.0;
        let wants = busy && now >= self.spent;
        if now >= self.next && (self.holds() || wants) {
            return true;
        }
        // The first pieces of the next window are fetched before it opens.
        if busy
            && self
                .ahead()
                .is_some_and(|ahead| ahead <= now && self.talk.last() < ahead)
        {
            return true;
        }
        let held = self.places[self.present].map_or(0, |present| present.held);
        // Where nobody may wait, what comes next must be there before it is asked for.
        if self.fast && self.asked && held == 0 && now >= self.spent {
            return true;
        }
        wants && self.free > 0 && held < self.low(view.round_trip)
    }

    // The store learns, and has not heard of a window that the node will live on.
    fn untold(&self) -> bool {
        let learns = self.alone.is_some_and(|alone| alone.learns.is_some());
        learns
            && self
                .places
                .iter()
                .flatten()
                .any(|window| window.held > 0 && window.name > self.heard)
    }

    // When the next window has to be asked for.
    fn ahead(&self) -> Option<Moment> {
        self.places[self.present].map(|present| present.closes - self.horizon / 2)
    }

    fn used(&self) -> u64 {
        self.places.iter().flatten().map(|window| window.used).sum()
    }

    // A burst is over, or nobody asks any more: what is held goes back.
    fn returning(&self, now: Moment) -> bool {
        let idle = self.demand.idle(self.horizon / 14, self.horizon);
        self.alone.is_none() && self.holds() && !self.talk.busy() && self.demand.quiet(now) >= idle
    }

    // What is far more than will be used goes back with the next call.
    fn trim(&mut self) {
        let needs = 1.5 * self.demand.rate() * self.horizon.as_secs_f64() + real(self.limit) / 32.0 + 1.0;
        for window in self.places.iter_mut().flatten() {
            window.held = window.held.min(floor(needs));
        }
    }

    fn holds(&self) -> bool {
        self.places.iter().flatten().any(|window| window.held > 0)
    }

    fn low(&self, round_trip: Duration) -> u64 {
        floor(self.demand.rate() * (4 * round_trip + Duration::from_millis(1)).as_secs_f64())
    }

    fn say(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, leaving: bool) -> super::node::Said {
        let (seq, _) = self.talk.begin(now);
        let order = [self.present, 1 - self.present];
        // What comes after a window without a name has none either.
        let known = order.iter().filter_map(|place| self.places[*place]);
        let known = known.enumerate().filter(|(at, window)| *at == 0 || window.name != 0);
        let told = known
            .map(|(_, window)| window)
            .filter(|window| window.used + window.held > 0)
            .map(|window| Told(window.name, window.used, window.held))
            .collect::<Vec<_>>();
        self.told = told.iter().map(|told| told.0).max().unwrap_or(0);
        (self.waited, self.returns) = (waiters.cost, false);
        let waiting = if self.fast && !leaving {
            waiters.cost.max(2)
        } else {
            waiters.cost
        };
        let call = Call {
            seq,
            demand: if leaving { 0.0 } else { self.demand.rate() },
            waiting,
            unit: u64::from(waiters.unit.max(1)).min(waiters.cost),
            told,
        };
        self.talk.say(view, ledger::Call::Window(call))
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

    fn next_look(&self, now: Moment) -> Option<Moment> {
        if self.talk.busy() {
            return None;
        }
        let present = self.places[self.present];
        let mut next = present.map(|present| present.closes);
        if self.returns {
            return Some(now + PAUSE);
        }
        let mut sooner = |moment: Moment| next = Some(next.map_or(moment, |next| next.min(moment)));
        if let Some(alone) = self.alone {
            alone.learns.into_iter().for_each(&mut sooner);
            sooner(alone.since + at_most(self.notice));
            if self.untold() {
                sooner(now + PAUSE);
            }
        } else if self.holds() {
            sooner(self.next.min(self.lease));
            sooner(now + self.demand.idle(self.horizon / 14, self.horizon));
        }
        if let Some(other) = self.places[1 - self.present] {
            sooner(other.from);
        }
        if self.alone.is_none() && self.demand.rate() * self.horizon.as_secs_f64() >= 4.0 {
            self.ahead()
                .filter(|ahead| *ahead > now)
                .into_iter()
                .for_each(&mut sooner);
        }
        next.map(|next| next.max(now + Duration::from_millis(1)))
    }

    fn is_idle(&self, now: Moment) -> bool {
        let remembered = self
            .places
            .iter()
            .flatten()
            .any(|window| window.used > 0 && now < window.closes);
        !self.talk.busy()
            && (self.alone.is_some() || !self.holds())
            && (!remembered || self.demand.quiet(now) > REMEMBER)
            && self.demand.quiet(now) > self.horizon
    }

    fn publish(&mut self, now: Moment, cell: &SpanCell) {
        let lease = if self.alone.is_some() {
            Moment(u64::MAX)
        } else {
            self.lease
        };
        let learns = self.alone.is_some_and(|alone| alone.learns.is_some());
        let mut plan = Plan {
            source: if self.alone.is_some() {
                Source::Local
            } else {
                Source::Lease
            },
            windows: self.turns,
            low: if self.free > 0 {
                self.low(Duration::from_millis(1))
            } else {
                0
            },
            beyond: self.beyond(now),
            waits: !self.fast,
            closes: self.places[self.present].map_or(now, |present| present.closes),
            free: if self.alone.is_some() { 0 } else { self.free },
            ..Plan::default()
        };
        for (span, window) in plan.spans.iter_mut().zip(&self.places) {
            // A store that learns must know what the node will live on before it does.
            if let Some(window) = window
                && (!learns || window.name <= self.heard)
            {
                *span = (window.from, window.until.min(lease));
            }
        }
        let held = [0, 1].map(|place: usize| self.places[place].map_or(0, |window| window.held));
        if self.alone.is_some() {
            self.over = 0;
        }
        if plan == self.plan && (held, self.over) == self.shown {
            return;
        }
        let shown = self.shown;
        let more = |place: usize, left: u64| (left + held[place]).saturating_sub(shown.0[place]);
        let over = self.over;
        let (left, overleft) = cell.publish(plan.clone(), more, |left| (left + over).saturating_sub(shown.1));
        self.plan = plan;
        self.see(now, left, overleft);
        // What is there now: what was taken between the look and this moment is seen above.
        self.shown = (
            [more(0, left[0]), more(1, left[1])],
            (overleft + over).saturating_sub(shown.1),
        );
        for (place, window) in self.places.iter_mut().enumerate() {
            if let Some(window) = window {
                window.held = self.shown.0[place];
            }
        }
        self.over = self.shown.1;
    }

    fn beyond(&self, now: Moment) -> Beyond {
        match (self.alone, self.on_failure) {
            (Some(_), OnFailure::Open) => Beyond::Open,
            (Some(_), OnFailure::Closed) => Beyond::Closed,
            (Some(alone), OnFailure::Local) => Beyond::Spent {
                until: alone.learns.unwrap_or(Moment(u64::MAX)),
            },
            (None, _) if now < self.spent => Beyond::Spent { until: self.spent },
            (None, _) => Beyond::Ask,
        }
    }
}
