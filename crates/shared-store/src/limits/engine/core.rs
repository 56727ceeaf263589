//! The engine without I/O.

use super::budget::Budget;
use super::requests::{Requests, Waiter};
use super::rounds::{Done, Gathering, Round};
use super::table::Table;
use super::{AskedPart, Asking, Message, Settled};
use crate::backend::{CALL, Partition};
use crate::config::Config;
use crate::limits::charge::Charge;
use crate::limits::handle::Common;
use crate::limits::tally::Counts;
use crate::limits::{Here, Source, holds};
use crate::store::Members;
use sluice_shared_state::guard::HEARTBEAT;
use sluice_shared_state::ledger::{From, Header};
use sluice_shared_state::limit::{KeyNode, Refusal, Take, Token, View, Waiters};
use sluice_shared_state::{KeyId, Moment, OnFailure, Rule, limit};
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests that may be held back for one key.
const DELAYED: usize = 1024;

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

/// This node among the others.
#[derive(Debug)]
struct Node {
    from: From,
    name: Arc<str>,
    live: Vec<Arc<str>>,
    without: u32,
    chance: fastrand::Rng,
}

/// One partition of the store, as last heard.
#[derive(Debug, Clone, Copy)]
struct Side {
    epoch: u64,
    reached: bool,
    /// Since when it is not reached, where it is not.
    away: Moment,
    /// The node went on without it, and it has not heard so.
    local: bool,
    round_trip: Duration,
    /// When it was last called.
    called: Moment,
}

// === impl Core ===

impl Core {
    pub(super) fn new(config: &Config, common: Arc<Common>, partitions: u16) -> Self {
        let side = Side {
            epoch: 0,
            reached: true,
            away: Moment::default(),
            local: false,
            round_trip: Duration::from_millis(1),
            called: Moment::default(),
        };
        Self {
            counts: common.book.counts(),
            table: Table::new(config.keys),
            requests: Requests::default(),
            gathering: Gathering::default(),
            budget: Budget::new(config.new_keys_per_second),
            lives: 0,
            node: Node::new(&config.node),
            partitions: vec![side; usize::from(partitions)],
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
            Message::Nudge(key) => {
                if let Some(place) = self.table.find(key) {
                    self.mark(place);
                }
            }
            Message::Numbers(key, rule) => {
                match self.table.find(key) {
                    Some(place) => self.numbers(now, place, &rule),
                    // The worker has the cell of a key that was forgotten, with what it was told by the old ones.
                    None => self.common.forget(),
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
                // Workers may have the cell of a key that was forgotten before.
                self.common.forget();
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
                    entry.waiting.push_back(waiter);
                    self.serve(now, place, 0, false);
                    self.mark(place);
                }
                Err(settled) => self.requests.settle(id, waiter.part, settled),
            }
        }
    }

    /// Where the key of a part stands, new or not. Where too many are new, what is said instead.
    fn place(&mut self, now: Moment, part: &AskedPart) -> Result<u32, Settled> {
        if let Some(place) = self.table.find(part.key) {
            self.numbers(now, place, &part.rule);
            return Ok(place);
        }
        let overflow = self.common.overflow(&part.rule);
        if part.key == overflow {
            return Ok(self.meet(now, part.key, &part.rule));
        }
        let room = match self.budget.take(now) {
            Ok(()) => self.room(now),
            Err(until) => {
                self.common.shed_until(until);
                false
            }
        };
        if room {
            return Ok(self.meet(now, part.key, &part.rule));
        }
        self.common.book.shed.fetch_add(1, Ordering::Relaxed);
        match part.rule.on_failure {
            OnFailure::Local => Ok(match self.table.find(overflow) {
                Some(place) => place,
                None => self.meet(now, overflow, &part.rule),
            }),
            OnFailure::Open => Err(Settled::Open),
            OnFailure::Closed => Err(Settled::Refused(Refusal::NoStore, Source::Local)),
        }
    }

    /// Whether there is room for one more, if need be in place of another.
    fn room(&mut self, now: Moment) -> bool {
        if self.table.is_full()
            && let Some(place) = self.table.spare(now)
        {
            self.evict(now, place);
        }
        !self.table.is_full()
    }

    fn meet(&mut self, now: Moment, key: KeyId, rule: &Arc<Rule>) -> u32 {
        self.lives += 1;
        let node = KeyNode::new(key, Arc::clone(rule), now).of_life(self.lives);
        self.common.cells.insert(key, Arc::clone(node.cell()));
        // There is at least one partition.
        let partition = Partition::of(key, self.partitions.len() as u16);
        self.table.insert(node, partition)
    }

    fn numbers(&mut self, now: Moment, place: u32, rule: &Arc<Rule>) {
        if let Some(entry) = self.table.get(place)
            && rule.version > entry.node.rule().version
        {
            entry.node.set_rule(now, Arc::clone(rule));
            self.mark(place);
        }
    }

    /// Forgets a key; what it holds goes back, and whoever waits at it is judged by what is known.
    fn evict(&mut self, now: Moment, place: u32) {
        let Some(entry) = self.table.get(place) else { return };
        let view = self.node.view(&self.partitions[usize::from(entry.partition.0)]);
        let (request, partition) = (entry.node.leave(now, &view), entry.partition);
        entry.waiting.append(&mut entry.delayed);
        if let Some(request) = request {
            self.gathering.add(partition, None, request);
        }
        self.serve(now, place, 0, true);
        if let Some(entry) = self.table.remove(place) {
            self.common.cells.remove(entry.node.key());
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

    /// Tells those who wait at a key what is known now; `instant` tokens are the store's own gift to them. With `last`
    /// nobody waits on.
    fn serve(&mut self, now: Moment, place: u32, mut instant: u64, last: bool) {
        let Some(entry) = self.table.get(place) else { return };
        if entry.waiting.is_empty() && instant == 0 {
            return;
        }
        let (cell, rule) = (Arc::clone(entry.node.cell()), Arc::clone(entry.node.rule()));
        let mut waiting = std::mem::take(&mut entry.waiting);
        let (places, mut nudged) = (holds(&rule), false);
        waiting.retain(|waiter| {
            if !self.requests.waits(waiter.request) {
                return false;
            }
            let cost = u64::from(waiter.cost);
            let settled = if instant >= cost {
                instant -= cost;
                let token = places.then(|| place_of(waiter.cost));
                Settled::Granted(Charge::new(self.common.clock, &cell, token), Source::Store)
            } else {
                let (take, nudge) = cell.take(now, waiter.cost);
                nudged |= nudge;
                match take {
                    Take::Taken(token) => self.granted(&cell, token),
                    Take::Refused(Refusal::Spent(next)) if now + next <= waiter.patient_until && !next.is_zero() => {
                        return !self.delay(now, place, *waiter, next);
                    }
                    Take::Refused(why) => Settled::Refused(why, self.by(place)),
                    Take::Unknown if !last => return true,
                    Take::Unknown => match rule.on_failure {
                        OnFailure::Open => Settled::Open,
                        OnFailure::Closed => Settled::Refused(Refusal::NoStore, Source::Local),
                        OnFailure::Local => Settled::Refused(Refusal::Spent(CALL), Source::Local),
                    },
                }
            };
            self.requests.settle(waiter.request, waiter.part, settled);
            false
        });
        if let Some(entry) = self.table.get(place) {
            // Most keys are cold, and keep no room for those who waited once.
            entry.waiting = if waiting.is_empty() { VecDeque::new() } else { waiting };
        }
        if places && instant > 0 {
            // Who wanted them is gone. Other tokens for those who wait are spent already, by the store's books.
            cell.give_back(now, place_of(instant.try_into().unwrap_or(u32::MAX)));
        }
        if nudged {
            self.mark(place);
        }
    }

    /// Those who wait for tokens that were on their way.
    fn serve_delayed(&mut self, now: Moment, place: u32) {
        while let Some(entry) = self.table.get(place)
            && let Some(&waiter) = entry.delayed.front()
        {
            let cell = Arc::clone(entry.node.cell());
            let settled = if !self.requests.waits(waiter.request) {
                None
            } else {
                match cell.take(now, waiter.cost).0 {
                    Take::Taken(token) => Some(self.granted(&cell, token)),
                    Take::Refused(Refusal::Spent(next)) if now + next <= waiter.patient_until && !next.is_zero() => {
                        return self.table.schedule(place, now + next);
                    }
                    Take::Refused(why) => Some(Settled::Refused(why, self.by(place))),
                    Take::Unknown => {
                        // The store has to be asked again.
                        let entry = self.table.get(place).map(|entry| &mut entry.waiting);
                        entry.into_iter().for_each(|waiting| waiting.push_back(waiter));
                        None
                    }
                }
            };
            if let Some(entry) = self.table.get(place) {
                entry.delayed.pop_front();
            }
            if let Some(settled) = settled {
                self.requests.settle(waiter.request, waiter.part, settled);
            }
        }
    }

    /// Holds a request back until its tokens come. Not where too many are held back: then it is refused.
    fn delay(&mut self, now: Moment, place: u32, waiter: Waiter, next: Duration) -> bool {
        let source = self.by(place);
        let Some(entry) = self.table.get(place) else {
            return false;
        };
        if entry.delayed.len() >= DELAYED {
            let settled = Settled::Refused(Refusal::Spent(next), source);
            self.requests.settle(waiter.request, waiter.part, settled);
            return true;
        }
        entry.delayed.push_back(waiter);
        self.table.schedule(place, now + next);
        true
    }

    fn granted(&self, cell: &Arc<sluice_shared_state::limit::Cell>, token: Token) -> Settled {
        let charge = Charge::new(self.common.clock, cell, Some(token));
        Settled::Granted(charge, token.source.into())
    }

    /// Who knows that a key is spent, when a request had to ask.
    fn by(&mut self, place: u32) -> Source {
        let partition = self
            .table
            .get(place)
            .map_or(Partition::default(), |entry| entry.partition);
        match self.partitions[usize::from(partition.0)].reached {
            true => Source::Store,
            false => Source::Local,
        }
    }
}

/// Places that the store gave to requests that wait: they are in use as if they had been taken.
fn place_of(cost: u32) -> Token {
    Token {
        cost,
        source: limit::Source::Lease,
        generation: 0,
    }
}

// === impl Node ===

impl Node {
    fn new(name: &str) -> Self {
        let name: Arc<str> = name.into();
        Self {
            // A process that starts again must be another one: the system's randomness, not a clock.
            from: From::new(&name, RandomState::new().hash_one("boot")),
            live: vec![Arc::clone(&name)],
            name,
            without: 0,
            chance: fastrand::Rng::new(),
        }
    }

    fn view(&mut self, side: &Side) -> View<'_> {
        View {
            from: self.from,
            epoch: side.epoch,
            reached: side.reached,
            away: side.away,
            name: &self.name,
            live: &self.live,
            round_trip: side.round_trip,
            chance: self.chance.u64(..),
        }
    }
}
