//! One key on one node, as the task that talks to the store sees it.

use super::cell::{Cell, Form};
use super::{bucket, permits, sliding, window};
use crate::key::KeyId;
use crate::ledger::{Call, From, Reply, Request};
use crate::rule::{Algorithm, Rule};
use crate::time::Moment;
use std::sync::Arc;
use std::time::Duration;

/// One key on one node. Pure: what it is told are times and events, what it answers are calls to make.
#[derive(Debug)]
pub struct KeyNode {
    key: KeyId,
    life: u64,
    rule: Arc<Rule>,
    cell: Arc<Cell>,
    machine: Machine,
}

/// What is done with it, by its algorithm. Each has its form of the cell.
#[derive(Debug)]
enum Machine {
    Sliding(Box<sliding::Machine>),
    Bucket(Box<bucket::Machine>),
    Window(Box<window::Machine>),
    Permits(Box<permits::Machine>),
}

/// What a node knows that concerns all of its keys.
#[derive(Debug, Clone, Copy)]
pub struct View<'v> {
    /// Who this node is.
    pub from: From,
    /// The epoch of the key's store as last told, by any reply; 0 for none.
    pub epoch: u64,
    /// Whether the store is asked at all. Not: the node goes on by itself.
    pub reached: bool,
    /// Since when it is not asked. Of no meaning where it is.
    pub away: Moment,
    /// This node's name, and those of all live ones (this one among them), sorted: shares are dealt by them.
    pub name: &'v str,
    /// See there.
    pub live: &'v [Arc<str>],
    /// A call's usual way there and back.
    pub round_trip: Duration,
    /// 64 bits of chance, for jitter.
    pub chance: u64,
}

/// Requests that wait for a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waiters {
    /// How many.
    pub requests: u32,
    /// What they want in all.
    pub cost: u64,
    /// What the first wants; fewer tokens at once are of no use to it. 0 is taken for 1.
    pub unit: u32,
    /// Since when the first waits.
    pub since: Moment,
}

/// What an algorithm's machine wants: as [`Step`], with the call as it says it.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// A call to make now.
    pub call: Option<Said>,
    /// When to look again.
    pub next: Option<Moment>,
    /// It may be forgotten.
    pub idle: bool,
}

/// A reply, as an algorithm's machine hears it.
#[derive(Debug)]
pub(super) enum Heard<R> {
    /// The store is in another epoch, by now told in the view: tell what you know.
    Epoch,
    /// A later call of the same process was there before: nothing of the call holds.
    Stale,
    /// The algorithm's own.
    Own(R),
}

/// A call, without whose and by which limit.
#[derive(Debug)]
pub(super) struct Said {
    /// The epoch that what is said belongs to.
    pub epoch: u64,
    /// The node went on by itself with this key since its last reply.
    pub local: bool,
    /// What is said.
    pub call: Call,
}

/// What a key wants.
#[derive(Debug, Default)]
pub struct Step {
    /// A call to make now. Until its reply or its loss is told there is no other.
    pub call: Option<Request>,
    /// When to look at it again, if nothing happens before.
    pub next: Option<Moment>,
    /// It holds nothing and nobody misses it: it may be forgotten.
    pub idle: bool,
}

// === impl KeyNode ===

impl KeyNode {
    /// A key that this node did not know.
    #[must_use]
    pub fn new(key: KeyId, rule: Arc<Rule>, now: Moment) -> Self {
        Self {
            key,
            life: 0,
            cell: Arc::new(Cell::new(&rule, now)),
            machine: Machine::new(key, &rule, now),
            rule,
        }
    }

    /// Which of the times that this process knows the key, where it forgets keys: a number that it never gave before.
    #[must_use]
    pub fn of_life(mut self, life: u64) -> Self {
        self.life = life;
        self
    }

    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The limit, as it is now.
    #[must_use]
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// The same limit with other numbers. One of another algorithm is another key.
    pub fn set_rule(&mut self, now: Moment, rule: Arc<Rule>) {
        match (&mut self.machine, self.cell.form()) {
            (Machine::Sliding(machine), Form::Tokens(cell)) => machine.set_rule(now, &rule, cell),
            (Machine::Bucket(machine), Form::Bucket(cell)) => machine.set_rule(now, &rule, cell),
            (Machine::Window(machine), Form::Spans(cell)) => machine.set_rule(now, &rule, cell),
            (Machine::Permits(machine), Form::Permits(cell)) => machine.set_rule(now, &rule, cell),
            _ => {}
        }
        self.rule = rule;
    }

    /// What its workers take from.
    #[must_use]
    pub fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Looks at it: a request waits, a worker asked for it, or its time has come.
    pub fn poll(&mut self, now: Moment, waiters: Waiters, view: &View<'_>) -> Step {
        let look = match (&mut self.machine, self.cell.form()) {
            (Machine::Sliding(machine), Form::Tokens(cell)) => machine.poll(now, waiters, view, cell),
            (Machine::Bucket(machine), Form::Bucket(cell)) => machine.poll(now, waiters, view, cell),
            (Machine::Window(machine), Form::Spans(cell)) => machine.poll(now, waiters, view, cell),
            (Machine::Permits(machine), Form::Permits(cell)) => machine.poll(now, waiters, view, cell),
            _ => Look::default(),
        };
        self.step(look)
    }

    /// The reply to its call. Tells how many tokens are for requests that wait, at once and past the cell; all others
    /// try the cell again. Poll it after: a reply may call for another call.
    pub fn reply(&mut self, now: Moment, reply: Reply, view: &View<'_>) -> u64 {
        match (&mut self.machine, self.cell.form()) {
            (Machine::Sliding(machine), Form::Tokens(cell)) => {
                let own = |reply| {
                    if let Reply::Sliding(own) = reply {
                        Some(own)
                    } else {
                        None
                    }
                };
                machine.reply(now, Heard::of(reply, own), view, cell)
            }
            (Machine::Bucket(machine), Form::Bucket(cell)) => {
                let own = |reply| {
                    if let Reply::Bucket(own) = reply {
                        Some(own)
                    } else {
                        None
                    }
                };
                machine.reply(now, Heard::of(reply, own), view, cell)
            }
            (Machine::Window(machine), Form::Spans(cell)) => {
                let own = |reply| {
                    if let Reply::Window(own) = reply {
                        Some(own)
                    } else {
                        None
                    }
                };
                machine.reply(now, Heard::of(reply, own), view, cell)
            }
            (Machine::Permits(machine), Form::Permits(cell)) => {
                let own = |reply| {
                    if let Reply::Permits(own) = reply {
                        Some(own)
                    } else {
                        None
                    }
                };
                machine.reply(now, Heard::of(reply, own), view, cell)
            }
            _ => 0,
        }
    }

    /// Its call was given up: no reply within 20 ms, or the connection ended. A reply that comes later is not told.
    pub fn lost(&mut self, now: Moment, view: &View<'_>) {
        match (&mut self.machine, self.cell.form()) {
            (Machine::Sliding(machine), Form::Tokens(cell)) => machine.lost(now, view, cell),
            (Machine::Bucket(machine), Form::Bucket(cell)) => machine.lost(now, view, cell),
            (Machine::Window(machine), Form::Spans(cell)) => machine.lost(now, view, cell),
            (Machine::Permits(machine), Form::Permits(cell)) => machine.lost(now, view, cell),
            _ => {}
        }
    }

    /// Gives all back: the node is leaving, or forgets the key. The call tells the store, if there is anything to tell.
    pub fn leave(&mut self, now: Moment, view: &View<'_>) -> Option<Request> {
        let look = match (&mut self.machine, self.cell.form()) {
            (Machine::Sliding(machine), Form::Tokens(cell)) => machine.leave(now, view, cell),
            (Machine::Bucket(machine), Form::Bucket(cell)) => machine.leave(now, view, cell),
            (Machine::Window(machine), Form::Spans(cell)) => machine.leave(now, view, cell),
            (Machine::Permits(machine), Form::Permits(cell)) => machine.leave(now, view, cell),
            _ => Look::default(),
        };
        self.step(look).call
    }

    /// How a sliding window stands, for whoever checks it.
    #[cfg(test)]
    pub(crate) fn sliding(&self, now: Moment) -> sliding::State {
        match (&self.machine, self.cell.form()) {
            (Machine::Sliding(machine), Form::Tokens(cell)) => machine.state(now, cell),
            _ => sliding::State::default(),
        }
    }

    /// Tokens of its lease that were spent or went back, and that the store has not heard of: it heard of so many.
    #[cfg(test)]
    pub(crate) fn unheard(&self, heard: u64) -> u64 {
        match (&self.machine, self.cell.form()) {
            (Machine::Sliding(machine), Form::Tokens(cell)) => machine.unheard(heard, cell),
            _ => 0,
        }
    }

    fn step(&self, look: Look) -> Step {
        Step {
            call: look.call.map(|said| Request {
                key: self.key,
                rule: Arc::clone(&self.rule),
                epoch: said.epoch,
                local: said.local,
                life: self.life,
                call: said.call,
            }),
            next: look.next,
            idle: look.idle,
        }
    }
}

// === impl Heard ===

impl<R> Heard<R> {
    fn of(reply: Reply, own: impl FnOnce(Reply) -> Option<R>) -> Self {
        match reply {
            Reply::Epoch(_) => Self::Epoch,
            other => own(other).map_or(Self::Stale, Self::Own),
        }
    }
}

// === impl Machine ===

impl Machine {
    fn new(key: KeyId, rule: &Rule, now: Moment) -> Self {
        match rule.algorithm {
            Algorithm::SlidingWindow { .. } => Self::Sliding(Box::new(sliding::Machine::new(key, rule, now))),
            Algorithm::TokenBucket { .. } => Self::Bucket(Box::new(bucket::Machine::new(key, rule, now))),
            Algorithm::FixedWindow { .. } => Self::Window(Box::new(window::Machine::new(key, rule, now))),
            Algorithm::Concurrency { .. } => Self::Permits(Box::new(permits::Machine::new(key, rule, now))),
        }
    }
}
