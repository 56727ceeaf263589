//! What a node does with a sliding window.
//!
//! It is leased (it spends what the store granted, and calls for more before that is used up), or on its own: alone,
//! because the store is away, or because the store learns. On its own it lives on its *level*, which is what it could
//! have spent by its leases: the levels of all nodes sum to the limit at most.

mod account;
mod lease;
mod report;

use super::cell::demand::Demand;
use super::cell::tokens::{Otherwise, Plan, TokenCell};
use super::node::{Heard, Look, Said, View, Waiters};
use crate::broken::{Broken, broken};
use crate::key::KeyId;
use crate::ledger::sliding::{Call, Declared, GIVEN_UP, Grant, Numbers, Reply, SLOTS, WORTH_A_LEASE};
use crate::rule::{Mode, OnFailure, Rule};
use crate::time::Moment;
use account::Account;
#[cfg(test)]
pub(crate) use account::UNTOLD;
use lease::Lease;
use report::{Of, Report, longer, shorter};
use std::collections::VecDeque;
use std::time::Duration;

/// All nodes' overdrafts together, as a part of the limit: 1/20.
const OVERDRAFT: u64 = 20;
/// The longest that calls of several nodes for the next token are spread over.
const SPREAD: Duration = Duration::from_millis(200);

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
        self.publish(now, None, cell);
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
            idle: self.is_idle(now),
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

    /// The store is away, and somebody asked: the node goes on by itself.
    fn go_alone(&mut self, now: Moment, view: &View<'_>, cell: &TokenCell) {
        // Who lived on a level stays on it.
        let level = self.account.learning_level(now);
        let level = level.unwrap_or_else(|| self.level(now, false));
        self.account.go_alone(view.away.min(now), level);
        if let Some(flight) = &mut self.flight {
            flight.void = true;
        }
        self.report.silence();
        self.publish(now, Some(view), cell);
    }

    /// What stays this node's own when every lease of the cluster has ended: these sum to the limit at most. `told`: the
    /// store knows already that the node goes by it.
    fn level(&mut self, now: Moment, told: bool) -> u64 {
        let since = self.account.count(now, told);
        if broken(Broken::LevelCountsAll) {
            return self.report.own(now) + self.lease.held();
        }
        // What is held, and what lapsed, is charged when its lease ends.
        let held = if self.lease.ends >= since { self.lease.held() } else { 0 };
        let rest = held + self.report.lapsed_since(since);
        self.account.keep(rest, self.report.ever());
        self.report.own_since(since) + rest
    }

    /// The store learns: the node lives on what it declared.
    fn lives_on(&mut self, flight: Flight, rest: Duration) {
        let level = flight.level.unwrap_or(0);
        self.account.live_on(flight.sent + shorter(rest), level);
        self.report.speak();
        self.owes = true;
    }

    /// More is held. Returns what is for requests that wait.
    fn granted(&mut self, now: Moment, flight: Flight, grant: &Grant, view: &View<'_>, cell: &TokenCell) -> u64 {
        self.report.heard();
        // Before the lease is prolonged: what has ended stays dead.
        self.expire(now, cell);
        if grant.fresh {
            self.report.charged();
        }
        if flight.level.is_some() {
            self.report.begins_anew();
        }
        if self.lease.of() == Of::Own {
            self.lease.settle(cell, &mut self.report);
            self.lease.belongs(Of::Lease);
        }
        self.account.end();
        self.report.speak();
        (self.owes, self.ack) = (false, self.seq);
        self.lease.ends = flight.sent + shorter(Duration::from_micros(grant.life));
        self.lease.add(grant.pieces.iter().map(|&(wait, tokens)| {
            let from = if wait == 0 {
                now
            } else {
                now + longer(Duration::from_micros(wait))
            };
            (from, tokens)
        }));
        if grant.over == 0 {
            // There was room for what was overdrawn: it is charged like any other token.
            self.overdrawn.retain(|(_, _, number)| *number > flight.overdrafts);
        }
        self.unused = 0;
        cell.instants(self.seq);
        if grant.instant > 0 {
            self.instant_at = now;
        }
        self.report.instant(now, grant.instant);
        let told = self.told(now, flight, grant, view);
        self.last = Some(told);
        self.publish(now, Some(view), cell);
        grant.instant
    }

    fn told(&self, now: Moment, flight: Flight, grant: &Grant, view: &View<'_>) -> Told {
        let horizon = Duration::from_micros(grant.horizon);
        let way = now.since(flight.sent);
        let early = (self.slot.min(horizon / 10)).max(4 * way).min(horizon / 2);
        let next = now + longer(Duration::from_micros(grant.next));
        let given_up = Duration::from_micros(GIVEN_UP);
        let (mut call, mut valid) = (now + horizon - early, now);
        if !grant.any {
            // Not all nodes at once.
            let spread = if grant.nodes > 1 {
                horizon.min(SPREAD)
            } else {
                Duration::ZERO
            };
            call = next.min(now + horizon) + spread.mul_f64(chance(view.chance));
            valid = call + given_up;
        } else if grant.lean {
            valid = call.max(flight.sent + horizon) + given_up;
        } else if !grant.more {
            valid = next.min(call + given_up);
        }
        Told {
            sent: flight.sent,
            horizon,
            call,
            valid,
            next,
            more: grant.more,
            lean: grant.lean,
            unit: flight.unit,
            tight: grant.tight,
            elsewhere: grant.free / grant.nodes.max(1),
            demand: flight.demand,
            quiet: flight.leaves,
        }
    }

    /// Which call to make now, if any.
    fn call_due(
        &mut self,
        now: Moment,
        asked: bool,
        waiters: Waiters,
        view: &View<'_>,
        cell: &TokenCell,
    ) -> Option<Said> {
        if !view.reached {
            return None;
        }
        if self.owes && !self.account.is_learning(now) {
            return Some(self.declare(now, waiters, view, cell));
        }
        if self.account.is_alone() {
            return Some(self.say(now, waiters, false, cell));
        }
        if self.account.is_learning(now) {
            return None;
        }
        if self.unused > 0 {
            // Others may have them.
            return Some(self.say(now, waiters, false, cell));
        }
        let known = self
            .last
            .is_some_and(|last| now < last.valid && !last.more && last.unit <= 1);
        if waiters.requests > 0 || (asked && !known) {
            return Some(self.say(now, waiters, false, cell));
        }
        let last = self.last.filter(|last| !last.quiet)?;
        let (demand, since) = (cell.demand(), now.since(last.sent));
        if now.since(demand.last()) >= self.idle(demand) {
            if now < self.lease.ends && (self.lease.held() > 0 || !self.report.is_empty()) {
                self.lease.give_back(now, cell, &mut self.report);
                let said = self.say(now, waiters, true, cell);
                self.publish(now, Some(view), cell);
                return Some(said);
            }
            return None;
        }
        let rate = demand.rate(now);
        let worth_it = self.lease.held() > 0 || last.lean || rate * last.horizon.as_secs_f64() >= WORTH_A_LEASE;
        let more = last.more
            && since > Duration::from_millis(2)
            && !self.lease.has_future(now)
            && self.lease.held() as f64 <= demand.quick(now) * 0.003;
        let rising = rate > 1.5 * last.demand && since > (last.horizon / 4).min(Duration::from_millis(20));
        if worth_it && (now >= last.call || more || rising) {
            return Some(self.say(now, waiters, false, cell));
        }
        let excess = self.excess(now, &last, rate);
        if excess >= 1 {
            self.lease.give_back_far(now, excess, cell, &mut self.report);
            let said = self.say(now, waiters, false, cell);
            self.publish(now, Some(view), cell);
            return Some(said);
        }
        None
    }

    /// Far more than this traffic will use, where others may need it.
    fn excess(&self, now: Moment, last: &Told, rate: f64) -> u64 {
        if !last.tight || !self.lease.has_future(now) {
            return 0;
        }
        let rest = last
            .call
            .since(now)
            .as_secs_f64()
            .max(0.05 * self.window.as_secs_f64().min(1.0));
        let excess = self.lease.held() as f64 - 1.5 * rate * rest;
        if excess > 0.03 * self.limit as f64 {
            excess as u64
        } else {
            0
        }
    }

    /// After which silence a key is taken to be idle: twelve times what is usual between two requests.
    fn idle(&self, demand: &Demand) -> Duration {
        let usual = demand.rate(demand.last());
        let longest = self.window.mul_f64(0.43).min(Duration::from_millis(800));
        let usual = Duration::try_from_secs_f64(12.0 / usual.max(1e-3)).unwrap_or(longest);
        usual.max((3 * self.slot).min(longest)).min(longest)
    }

    /// A call, as it stands.
    fn say(&mut self, now: Moment, waiters: Waiters, leaves: bool, cell: &TokenCell) -> Said {
        if waiters.requests >= 4 {
            let waited = now.since(waiters.since).as_secs_f64().max(2e-4);
            cell.demand().at_least(0.5 * waiters.cost as f64 / waited);
        }
        let demand = if leaves { 0.0 } else { cell.demand().rate(now) };
        let (first, stream) = self.report.tell(now);
        self.send(
            now,
            None,
            leaves,
            Call {
                seq: 0,
                ack: self.ack,
                first,
                stream,
                demand,
                waiting: waiters.cost,
                unit: u64::from(waiters.unit.max(1)),
                declare: None,
                unused: self.unused,
            },
        )
    }

    /// A call that tells all.
    fn declare(&mut self, now: Moment, waiters: Waiters, view: &View<'_>, cell: &TokenCell) -> Said {
        // What is told is exact.
        self.expire(now, cell);
        self.lease.settle(cell, &mut self.report);
        let level = if self.account.is_own(now) {
            let share = self.share(view);
            self.account.cap(now, share)
        } else {
            self.level(now, true)
        };
        self.report.begins_anew();
        let (held, own) = (self.lease.held(), self.report.own(now));
        let spent = self.report.declare(now);
        self.account.end_plan();
        self.publish(now, Some(view), cell);
        self.epoch = view.epoch;
        let declare = Declared {
            spent,
            held,
            reserve: level.max(own + held),
        };
        let demand = cell.demand().rate(now);
        self.send(
            now,
            Some(level),
            false,
            Call {
                seq: 0,
                ack: self.ack,
                first: 0,
                stream: Vec::new(),
                demand,
                waiting: waiters.cost,
                unit: u64::from(waiters.unit.max(1)),
                declare: Some(declare),
                unused: 0,
            },
        )
    }

    fn send(&mut self, now: Moment, level: Option<u64>, leaves: bool, mut call: Call) -> Said {
        self.seq += 1;
        call.seq = self.seq;
        self.flight = Some(Flight {
            sent: now,
            level,
            leaves,
            demand: call.demand,
            unit: call.unit,
            overdrafts: self.overdrafts,
            void: false,
        });
        Said {
            epoch: self.epoch,
            local: self.account.is_alone(),
            call: crate::ledger::Call::Sliding(call),
        }
    }

    fn share(&self, view: &View<'_>) -> u64 {
        super::alone::share(self.limit, self.key, view)
    }

    fn overdraft_comes_back(&self, now: Moment) -> bool {
        self.overdrawn
            .front()
            .is_some_and(|(when, ..)| *when + self.overdraft_window() <= now)
    }

    fn overdraft_window(&self) -> Duration {
        longer(self.window + self.slot)
    }

    /// How far requests may go beyond tokens, as a count of all that ever did.
    fn overdraft(&self, view: Option<&View<'_>>) -> u64 {
        if self.mode != Mode::Fast {
            return 0;
        }
        let nodes = view.map_or(u64::MAX, |view| view.live.len().max(1) as u64);
        let allowed = (self.limit / OVERDRAFT / nodes).max(1);
        let recent: u64 = self.overdrawn.iter().map(|(_, tokens, _)| tokens).sum();
        (self.beyond + allowed).saturating_sub(recent)
    }

    /// Tells workers what they may take.
    fn publish(&mut self, now: Moment, view: Option<&View<'_>>, cell: &TokenCell) {
        let leased = self.lease.held() > 0;
        if self.account.is_own(now) && !leased {
            self.publish_own(now, view, cell);
            return;
        }
        if self.lease.of() == Of::Own {
            self.lease.settle(cell, &mut self.report);
            self.lease.belongs(Of::Lease);
        }
        if !self.account.is_own(now) {
            self.account.end_plan();
        }
        let curve = self.lease.curve(now, cell, &mut self.report);
        let overdraft = self.overdraft(view);
        let mut plan = Plan::unknown(self.limit, self.window);
        (plan.pieces, plan.ends) = (curve, self.lease.ends);
        plan.comes_back = self.overdraft_window() + Duration::from_micros(GIVEN_UP);
        let waits = self.mode == Mode::Exact;
        plan.otherwise = match self.last {
            _ if self.account.is_alone() => self.alone(now, self.lease.ends),
            // It lives on its level once the lease has ended.
            _ if self.account.is_own(now) => Otherwise::Ask {
                spent_until: self.lease.ends,
                overdraft: self.beyond,
                waits,
            },
            Some(last) => Otherwise::Ask {
                spent_until: if last.more { now } else { last.valid },
                overdraft,
                waits,
            },
            None => Otherwise::Ask {
                spent_until: now,
                overdraft,
                waits,
            },
        };
        if let Some(last) = self.last {
            plan.next = last.next;
            if !self.account.is_own(now) {
                plan.unit = u32::try_from(last.unit).unwrap_or(u32::MAX);
            }
            plan.elsewhere = last.elsewhere;
            plan.rising = 1.5 * last.demand;
            plan.rising_from = last.sent + (last.horizon / 4).min(Duration::from_millis(20));
            // Rounded down: it is a matter of three milliseconds' demand.
            plan.low = last.more.then_some((cell.demand().quick(now) * 0.003) as u64);
        }
        cell.publish(plan);
    }

    fn alone(&self, now: Moment, until: Moment) -> Otherwise {
        match self.on_failure {
            OnFailure::Open => Otherwise::Open,
            OnFailure::Closed => Otherwise::Closed,
            OnFailure::Local => Otherwise::Ask {
                spent_until: until.max(now),
                overdraft: self.beyond,
                waits: self.mode == Mode::Exact,
            },
        }
    }

    /// The own account: what was spent comes back a window later.
    fn publish_own(&mut self, now: Moment, view: Option<&View<'_>>, cell: &TokenCell) {
        self.lease.settle(cell, &mut self.report);
        self.lease.belongs(Of::Own);
        let share = view.map_or(0, |view| self.share(view));
        let cap = self.account.cap(now, share);
        let mut plan = Plan::unknown(self.limit, self.window);
        let own = self.report.own(now);
        let (pieces, ends, next) = self
            .account
            .plan(now, (cap, own), self.report.ever(), self.report.comes_back());
        let alone = self.account.is_alone();
        if !(alone && self.on_failure != OnFailure::Local) {
            plan.pieces = pieces;
        }
        plan.source = super::cell::Source::Local;
        plan.ends = ends;
        plan.next = next;
        plan.comes_back = self.overdraft_window();
        plan.otherwise = if alone {
            self.alone(now, ends)
        } else {
            Otherwise::Ask {
                spent_until: ends,
                overdraft: self.beyond,
                waits: self.mode == Mode::Exact,
            }
        };
        cell.publish(plan);
    }

    /// When to look again.
    fn next(&self, now: Moment, view: &View<'_>, cell: &TokenCell) -> Option<Moment> {
        let mut next: Option<Moment> = None;
        let mut at = |when: Moment| next = Some(next.map_or(when, |next| next.min(when)));
        let held = self.lease.held();
        if held > 0 && now < self.lease.ends {
            at(self.lease.ends);
        }
        if held > 0 || !self.report.is_empty() {
            at(now + cell.reach());
        }
        if let Some(when) = self.account.due(now) {
            at(when);
        }
        // Who was given one has decided by then whether to use it.
        let decided = self.instant_at + Duration::from_micros(GIVEN_UP);
        if decided > now {
            at(decided);
        }
        if let Some((when, ..)) = self.overdrawn.front() {
            at(*when + self.overdraft_window());
        }
        if self.flight.is_some() {
            return next.map(|next| next.max(now));
        }
        if self.owes || self.account.is_alone() {
            if view.reached && !self.account.is_learning(now) {
                at(now);
            } else if let Some(until) = self.account.learning_until(now) {
                // Not all nodes at once.
                at(until + Duration::from_millis(20).mul_f64(chance(view.chance)));
            }
            return next.map(|next| next.max(now));
        }
        if let Some(last) = self
            .last
            .filter(|last| !last.quiet && self.account.learning_until(now).is_none())
        {
            let demand = cell.demand();
            let idle = demand.last() + self.idle(demand);
            if idle <= now {
                // All went back, or nothing was held.
                return next.map(|next| next.max(now));
            }
            if held > 0 || last.lean {
                at(last.call);
            }
            if held > 0 || !self.report.is_empty() {
                at(idle);
            }
            if last.tight && self.lease.has_future(now) {
                at(now + Duration::from_millis(30).min(self.window / 33));
            }
        }
        next.map(|next| next.max(now))
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

    /// It holds nothing, has nothing to tell, and nothing that it would have to declare.
    fn is_idle(&mut self, now: Moment) -> bool {
        self.report.forget(now);
        self.lease.held() == 0
            && self.report.is_empty()
            && self.report.is_forgotten()
            && self.flight.is_none()
            && !self.account.is_alone()
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
