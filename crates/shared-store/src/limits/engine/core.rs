//! The engine without I/O.

mod keys;
mod node;
mod serve;
#[cfg(test)]
mod tests;

use super::budget::Budget;
use super::requests::{Requests, Waiter};
use super::rounds::{Done, Gathering, Round};
use super::table::Table;
use super::{Asking, Message};
use crate::backend::Partition;
use crate::config::Config;
use crate::limits::handle::Common;
use crate::limits::tally::Counts;
use crate::limits::{Here, Source, holds};
use crate::store::Members;
use node::{Node, Side};
use sluice_shared_state::guard::HEARTBEAT;
use sluice_shared_state::ledger::Header;
use sluice_shared_state::limit::{Take, Waiters};
use sluice_shared_state::{KeyId, Moment};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Keys that are looked at in one turn because something concerns all of them.
const SWEEP: usize = 256;

/// All of the engine but the clock, the channel and the store.
#[derive(Debug)]
pub(super) struct Core {
    common: Arc<Common>,
    counts: Arc<Counts>,
    table: Table,
    requests: Requests,
    gathering: Gathering,
    budget: Budget,
    /// Keys that were met so far: one that was forgotten and comes again begins another life.
    lives: u64,
    node: Node,
    partitions: Vec<Side>,
    /// Keys to look at.
    dirty: Vec<u32>,
    /// From here on all keys are looked at.
    sweep: Option<usize>,
    leaving: Vec<oneshot::Sender<()>>,
}

// === impl Core ===

impl Core {
    pub(super) fn new(config: &Config, common: Arc<Common>, partitions: u16) -> Self {
        Self {
            counts: common.book.counts(),
            table: Table::new(config.keys),
            requests: Requests::default(),
            gathering: Gathering::default(),
            budget: Budget::new(config.new_keys_per_second),
            lives: 0,
            node: Node::new(&config.node),
            partitions: vec![Side::new(); usize::from(partitions)],
            dirty: Vec::new(),
            sweep: None,
            leaving: Vec::new(),
            common,
        }
    }

    /// Hears one message. Keys that it concerns are looked at in the next [`turn`](Self::turn).
    pub(super) fn hear(&mut self, now: Moment, message: Message) {
        match message {
            Message::Ask(asking) => self.ask(now, asking),
            // Of a key that was forgotten meanwhile the worker's own cell says that nothing is known.
            Message::Nudge(key) => {
                if let Some(place) = self.table.find(key) {
                    self.mark(place);
                }
            }
            Message::Numbers(key, rule) => {
                if let Some(place) = self.table.find(key) {
                    self.numbers(now, place, &rule);
                }
            }
            Message::Forget(key) => {
                // Places stay with the requests that have them.
                if let Some(place) = self.table.find(key)
                    && let Some(entry) = self.table.get(place)
                    && !holds(entry.node.rule())
                {
                    self.evict(now, place);
                }
            }
            Message::Leave(done) => self.leave(now, Some(done)),
            // Seen to by the loop, which asks the store.
            Message::Look(_) | Message::Reset(..) => {}
        }
    }

    /// What came of a round.
    pub(super) fn done(&mut self, now: Moment, done: Done) {
        let Some(side) = self.partitions.get_mut(usize::from(done.partition.0)) else {
            return;
        };
        let mut replies = match done.served {
            Ok(served) => {
                // What keys know has to be told to a store that lost it, or that may have.
                if side.epoch != 0 && side.epoch != served.epoch {
                    self.sweep = Some(0);
                }
                side.epoch = served.epoch;
                // What was said of going on alone has been heard, in time.
                side.local &= !done.local;
                let round_trip = now.since(done.sent);
                side.round_trip = (side.round_trip * 7 + round_trip) / 8;
                Some(served.replies.into_iter())
            }
            Err(_) => None,
        };
        for whose in done.keys {
            let reply = replies.as_mut().and_then(Iterator::next);
            let Some((place, stamp)) = whose else { continue };
            let Some(entry) = self.table.same((place, stamp)) else {
                continue;
            };
            let view = self.node.view(&self.partitions[usize::from(done.partition.0)]);
            entry.calls = false;
            let (instant, last) = match reply {
                Some(reply) => (entry.node.reply(now, reply, &view), false),
                None => {
                    entry.node.lost(now, &view);
                    (0, true)
                }
            };
            self.serve(now, place, instant, last);
            // A reply may call for another call.
            self.mark(place);
        }
    }

    /// Looks at the keys that something happened to, or whose time has come. Calls are only made with the `tick`; what
    /// the node decides alone does not wait for it.
    pub(super) fn turn(&mut self, now: Moment, tick: bool) {
        while let Some(place) = self.table.due(now) {
            self.mark(place);
        }
        if let Some(from) = self.sweep {
            let to = (from + SWEEP).min(self.table.places());
            // Places fit.
            (from..to).for_each(|place| self.mark(place as u32));
            self.sweep = (to < self.table.places()).then_some(to);
        }
        for place in std::mem::take(&mut self.dirty) {
            let Some(entry) = self.table.get(place) else { continue };
            if tick || !self.partitions[usize::from(entry.partition.0)].reached {
                entry.dirty = false;
                self.look(now, place);
            } else {
                self.dirty.push(place);
            }
        }
        self.common.keys.store(self.table.len() as u64, Ordering::Relaxed);
    }

    /// What is to be sent now.
    pub(super) fn rounds(&mut self, now: Moment) -> Vec<Round> {
        let (node, partitions) = (&self.node, &self.partitions);
        let header = |Partition(partition)| {
            let side = &partitions[usize::from(partition)];
            Header {
                from: node.from,
                epoch: side.epoch,
                local: side.local,
                live: node.live.len().try_into().unwrap_or(u32::MAX),
                without: node.without,
            }
        };
        let mut rounds = self.gathering.rounds(header);
        // Keys that have all they need call seldom, and must hear all the same that the store lost what it knew.
        if self.table.len() > 0 {
            rounds.extend(
                (0..)
                    .zip(partitions)
                    .filter_map(|(partition, side)| {
                        let partition = Partition(partition);
                        let quiet = side.reached && side.epoch != 0 && now.since(side.called) >= HEARTBEAT;
                        let called = rounds.iter().any(|round| round.partition == partition);
                        (quiet && !called).then(|| Round {
                            partition,
                            header: header(partition),
                            keys: Vec::new(),
                            requests: Vec::new(),
                        })
                    })
                    .collect::<Vec<_>>(),
            );
        }
        for round in &rounds {
            self.partitions[usize::from(round.partition.0)].called = now;
        }
        rounds
    }

    /// Whether something waits for the next tick.
    pub(super) fn wants_tick(&self) -> bool {
        !self.dirty.is_empty() || !self.gathering.is_empty() || self.sweep.is_some()
    }

    /// When a key is to be looked at.
    pub(super) fn next(&self) -> Option<Moment> {
        self.table.next()
    }

    /// Whether a partition is asked, from now on.
    pub(super) fn reach(&mut self, now: Moment, partition: usize, reached: bool) {
        let Some(side) = self.partitions.get_mut(partition) else {
            return;
        };
        if side.reached == reached {
            return;
        }
        side.reached = reached;
        // One that was never heard of was not left: what keys do meanwhile they tell themselves.
        side.local |= !reached && side.epoch != 0;
        side.away = now;
        let all = self.partitions.iter().all(|side| side.reached);
        self.common.reached.store(all, Ordering::Relaxed);
        self.sweep = Some(0);
    }

    /// Gives all back. Told when the store has heard, or was not to be reached.
    pub(super) fn leave(&mut self, now: Moment, done: Option<oneshot::Sender<()>>) {
        for place in 0..self.table.places() {
            // Places fit.
            self.evict(now, place as u32);
        }
        self.leaving.extend(done);
    }

    /// Nothing is under way any more: who waits for that is told.
    pub(super) fn left(&mut self, quiet: bool) {
        if quiet && self.gathering.is_empty() {
            for done in self.leaving.drain(..) {
                // They may have given up.
                let _ = done.send(());
            }
        }
    }

    /// Who is there.
    pub(super) fn members(&mut self, members: &Members) {
        let mut live: Vec<Arc<str>> = members.live.iter().map(|name| name.as_str().into()).collect();
        if !live.contains(&self.node.name) {
            live.push(Arc::clone(&self.node.name));
        }
        live.sort();
        live.dedup();
        if self.node.live != live {
            self.node.live = live;
            self.sweep = Some(0);
        }
        self.node.without = members.without_store.try_into().unwrap_or(u32::MAX);
    }

    /// How a key stands on this node.
    pub(super) fn here(&self, now: Moment, key: KeyId) -> Option<Here> {
        let cell = self.common.cells.get(key)?;
        let source = match cell.peek(now, 1) {
            Take::Taken(token) => token.source.into(),
            Take::Refused(_) => self.common.judge(),
            Take::Unknown => Source::Store,
        };
        let (remaining, reset) = cell.standing(now);
        Some(Here {
            remaining,
            reset,
            source,
        })
    }

    /// The names of live members.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.node.live.clone()
    }

    fn ask(&mut self, now: Moment, mut asking: Asking) {
        let counts = &self.counts;
        let id = self.requests.open(&mut asking, |asking| match asking.parts.first() {
            Some(part) => counts.tally(part.rule.id),
            None => Arc::default(),
        });
        for (i, part) in asking.parts.iter().enumerate() {
            // The request may have been refused by an earlier part.
            if !self.requests.waits(id) {
                return;
            }
            let waiter = Waiter {
                request: id,
                part: i.try_into().unwrap_or(u8::MAX),
                cost: part.cost,
                since: asking.since,
                patient_until: part.patient_until,
            };
            match self.place(now, part) {
                Ok(place) => {
                    let Some(entry) = self.table.get(place) else { continue };
                    if !part.counted {
                        entry.node.cell().asked(now, part.cost);
                    }
                    entry.waiting.push_back(waiter);
                    self.serve(now, place, 0, false);
                    self.mark(place);
                }
                Err(settled) => self.requests.settle(id, waiter.part, settled),
            }
        }
    }

    fn mark(&mut self, place: u32) {
        if let Some(entry) = self.table.get(place)
            && !std::mem::replace(&mut entry.dirty, true)
        {
            self.dirty.push(place);
        }
    }

    /// Looks at a key: whether it wants a call, and when to look again.
    fn look(&mut self, now: Moment, place: u32) {
        self.serve_delayed(now, place);
        let Some(entry) = self.table.get(place) else { return };
        let (requests, waiting) = (&mut self.requests, &mut entry.waiting);
        waiting.retain(|waiter| requests.waits(waiter.request));
        let first = waiting.front();
        let waiters = Waiters {
            requests: waiting.len().try_into().unwrap_or(u32::MAX),
            cost: waiting.iter().map(|waiter| u64::from(waiter.cost)).sum(),
            unit: first.map_or(0, |waiter| waiter.cost),
            since: first.map_or(now, |waiter| waiter.since),
        };
        let view = self.node.view(&self.partitions[usize::from(entry.partition.0)]);
        let step = entry.node.poll(now, waiters, &view);
        if let Some(request) = step.call {
            entry.calls = true;
            self.gathering.add(entry.partition, Some((place, entry.stamp)), request);
        }
        let calls = entry.calls;
        if let Some(next) = step.next {
            self.table.schedule(place, next);
        }
        // Where no call is under way nobody else will tell them.
        self.serve(now, place, 0, !calls);
        if step.idle
            && self
                .table
                .get(place)
                .is_some_and(|entry| !entry.calls && entry.delayed.is_empty())
        {
            self.evict(now, place);
        }
    }
}
