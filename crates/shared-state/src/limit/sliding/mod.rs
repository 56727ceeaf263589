//! What a node does with a sliding window.
//!
//! It is leased (it spends what the store granted, and calls for more before that is used up), or on its own: alone,
//! because the store is away, or because the store learns. On its own it lives on its *level*, which is what it could
//! have spent by its leases: the levels of all nodes sum to the limit at most.

mod account;
mod alone;
mod calls;
mod lease;
mod publish;
mod report;
mod told;

use super::cell::tokens::TokenCell;
use super::node::{Heard, Look, View, Waiters};
use crate::broken::{Broken, broken};
use crate::key::KeyId;
use crate::ledger::sliding::{Numbers, Reply, SLOTS};
use crate::rule::{Mode, OnFailure, Rule};
use crate::time::Moment;
use account::Account;
#[cfg(test)]
pub(crate) use account::UNTOLD;
use lease::Lease;
use report::{Of, Report, longer};
use std::collections::VecDeque;
use std::time::Duration;

/// A sliding window on one node.
#[derive(Debug)]
pub(super) struct Machine {
    key: KeyId,
    limit: u64,
    window: Duration,
    slot: Duration,
    mode: Mode,
    on_failure: OnFailure,

    lease: Lease,
    report: Report,
    account: Account,
    /// What was overdrawn of late and that there may have been no room for: when, how many, the how manieth it was; and
    /// all that ever was.
    overdrawn: VecDeque<(Moment, u64, u64)>,
    overdrafts: u64,
    beyond: u64,
    /// Instant tokens of the last grant that nobody used; and when the last ones came.
    unused: u64,
    instant_at: Moment,

    /// The epoch that what it knows belongs to; 0: none.
    epoch: u64,
    /// It owes the store all it knows.
    owes: bool,
    seq: u64,
    ack: u64,
    flight: Option<Flight>,
    /// None: a call that was given up is forgotten.
    late: Option<Flight>,
    last: Option<Told>,
}

/// A call under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    sent: Moment,
    /// It declares: the level that the node lives on if the store learns.
    level: Option<u64>,
    leaves: bool,
    demand: f64,
    /// What one waiting request wanted.
    unit: u64,
    /// Overdrafts up to this one are told by it.
    overdrafts: u64,
    /// The node went on by itself meanwhile: whatever is answered, it does not hold.
    void: bool,
}

/// What the last reply said, as moments of this node.
#[derive(Debug, Clone, Copy)]
struct Told {
    sent: Moment,
    horizon: Duration,
    /// When to call for more.
    call: Moment,
    /// Until when what is spent is known to be spent.
    valid: Moment,
    /// When the next token is free elsewhere.
    next: Moment,
    more: bool,
    /// The demand is worth a lease.
    lean: bool,
    /// Requests that want less were not asked for.
    unit: u64,
    tight: bool,
    /// Tokens that others leave.
    elsewhere: u64,
    /// The demand that was told with the call.
    demand: f64,
    /// It gave all back, and asks for nothing.
    quiet: bool,
}

/// A lease is low when less is left than is asked for in so many seconds.
const LOW: f64 = 0.003;

// === impl Told ===

impl Told {
    /// From which demand on, and when at the soonest, the store is told that more is asked for than it heard of.
    fn rising(&self) -> (f64, Moment) {
        let soonest = (self.horizon / 4).min(Duration::from_millis(20));
        (1.5 * self.demand, self.sent + soonest)
    }
}

// === impl Machine ===

impl Machine {
    /// Nothing is known yet.
    pub(super) fn new(key: KeyId, rule: &Rule, _: Moment) -> Self {
        let numbers = Numbers::of(rule);
        let window = Duration::from_micros(numbers.window);
        let slot = Duration::from_micros(numbers.window.div_ceil(SLOTS));
        Self {
            key,
            limit: numbers.limit,
            window,
            slot,
            mode: rule.mode,
            on_failure: rule.on_failure,
            lease: Lease::new(),
            report: Report::new(window, slot),
            account: Account::new(window),
            overdrawn: VecDeque::new(),
            overdrafts: 0,
            beyond: 0,
            unused: 0,
            instant_at: Moment(0),
            epoch: 0,
            owes: false,
            seq: 0,
            ack: 0,
            flight: None,
            late: None,
            last: None,
        }
    }

    /// The same limit with other numbers. The store hears of them with the next call, which is due.
    pub(super) fn set_rule(&mut self, now: Moment, rule: &Rule, cell: &TokenCell) {
        (self.limit, self.mode, self.on_failure) = (Numbers::of(rule).limit, rule.mode, rule.on_failure);
        if let Some(last) = &mut self.last {
            (last.call, last.valid) = (now, now);
        }
        // A lesser own account takes something away.
        self.gather(now, cell);
        if self.lease.of() == Of::Own {
            self.lease.settle(cell, &mut self.report);
            self.account.end_plan();
        }
        if !self.account.is_own(now) || self.lease.held() > 0 {
            self.publish(now, None, cell);
        }
    }

    /// See [`KeyNode::poll`](super::KeyNode::poll).
    pub(super) fn poll(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, cell: &TokenCell) -> Look {
        cell.looked();
        let asked = cell.asked() || waiters.requests > 0;
        self.gather(now, cell);
        if self.expire(now, cell) {
            self.publish(now, Some(view), cell);
        }
        if now > self.lease.ends + longer(self.window + self.slot) && self.flight.is_none() {
            self.report.outlived();
        }
        self.know(view.epoch);
        if !view.reached && asked && !self.account.is_alone() {
            self.go_alone(now, view, cell);
        }
        let mut relieved = false;
        while self.overdraft_comes_back(now) {
            self.overdrawn.pop_front();
            relieved = true;
        }
        if self.account.is_due(now) || relieved {
            self.publish(now, Some(view), cell);
        }
        let call = (self.flight.is_none() || broken(Broken::TwoInFlight))
            .then(|| self.call_due(now, asked, waiters, view, cell))
            .flatten();
        Look {
            call,
            next: self.next(now, view, cell),
            idle: self.is_idle(now, cell),
        }
    }

    /// See [`KeyNode::reply`](super::KeyNode::reply).
    pub(super) fn reply(&mut self, now: Moment, heard: Heard<Reply>, view: &View<'_>, cell: &TokenCell) -> u64 {
        let late = self.late.take();
        let Some(flight) = self.flight.take().or(late).filter(|flight| !flight.void) else {
            // The call was given up: its grant is void, and the next call says so.
            return 0;
        };
        self.gather(now, cell);
        match heard {
            // Whatever was overtaken is answered by the later call.
            Heard::Stale => 0,
            Heard::Epoch => {
                self.owes = true;
                0
            }
            Heard::Own(Reply::Own(rest)) => {
                self.report.heard();
                self.lives_on(flight, Duration::from_micros(rest));
                self.expire(now, cell);
                self.publish(now, Some(view), cell);
                0
            }
            Heard::Own(Reply::Granted(grant)) => self.granted(now, flight, &grant, view, cell),
        }
    }

    /// See [`KeyNode::lost`](super::KeyNode::lost).
    pub(super) fn lost(&mut self, now: Moment, view: &View<'_>, cell: &TokenCell) {
        let flight = self.flight.take();
        if broken(Broken::LateReplyAccepted) {
            self.late = flight;
        }
        self.gather(now, cell);
        if !view.reached && !self.account.is_alone() {
            self.go_alone(now, view, cell);
        }
    }

    /// See [`KeyNode::leave`](super::KeyNode::leave).
    pub(super) fn leave(&mut self, now: Moment, view: &View<'_>, cell: &TokenCell) -> Look {
        self.gather(now, cell);
        self.know(view.epoch);
        let silent = self.owes || self.account.is_alone() || !view.reached;
        if self.lease.held() > 0 {
            self.lease.give_back(now, cell, &mut self.report);
        }
        self.publish(now, Some(view), cell);
        let call = (!silent && !self.report.is_empty()).then(|| self.say(now, Waiters::default(), true, cell));
        Look {
            call,
            next: None,
            idle: true,
        }
    }

    fn gather(&mut self, now: Moment, cell: &TokenCell) {
        self.lease.gather(now, cell, &mut self.report);
        let unused = cell.unused();
        self.unused += unused;
        self.report.unspent(self.instant_at, unused);
        let beyond = cell.beyond();
        let new = beyond.saturating_sub(self.beyond);
        self.report.beyond(now, new);
        self.beyond = beyond;
        if new > 0 && self.mode == Mode::Fast && !broken(Broken::OverdraftForgotten) {
            self.overdrafts += 1;
            self.overdrawn.push_back((now, new, self.overdrafts));
        }
    }

    /// What is held ends with its lease. It was charged then, unless the store no longer knows of it.
    fn expire(&mut self, now: Moment, cell: &TokenCell) -> bool {
        let charged = !self.owes && !self.account.is_own(now);
        self.lease.expire(now, charged, cell, &mut self.report)
    }

    /// The store's epoch, as this node knows it.
    fn know(&mut self, epoch: u64) {
        if epoch == self.epoch || epoch == 0 {
            return;
        }
        let nothing = self.lease.held() == 0 && self.report.is_forgotten() && self.report.is_empty();
        if nothing && !self.owes && !self.account.is_alone() && self.flight.is_none() {
            self.epoch = epoch;
        } else {
            self.owes = true;
        }
    }

    /// For whoever checks it.
    #[cfg(test)]
    pub(crate) fn state(&self, now: Moment, cell: &TokenCell) -> State {
        let unread = cell.taken() - self.lease.taken_read();
        State {
            leased: !self.owes && !self.account.is_own(now),
            own: self.account.is_own(now),
            epoch: self.epoch,
            held: if now < self.lease.ends {
                self.lease.held().saturating_sub(unread)
            } else {
                0
            },
            level: self.account.learning_level(now),
            kept: self.report.len() + self.lease.len() + self.overdrawn.len(),
        }
    }

    /// For whoever checks it.
    #[cfg(test)]
    pub(crate) fn unheard(&self, heard: u64, cell: &TokenCell) -> u64 {
        self.report.unheard(heard) + cell.taken() - self.lease.taken_read()
    }
}

/// How it stands.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct State {
    /// It lives on leases, as far as it knows.
    pub(crate) leased: bool,
    /// It lives on its own account.
    pub(crate) own: bool,
    pub(crate) epoch: u64,
    pub(crate) held: u64,
    /// While the store learns, what it lives on.
    pub(crate) level: Option<u64>,
    /// Entries that it keeps.
    pub(crate) kept: usize,
}

/// From 0 to 1.
fn chance(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
