//! A node: the engine of limits, as small as the machines allow.

use super::{GIVEN_UP, MS, True};
use crate::key::KeyId;
use crate::ledger::{From, Header, Reply, Request, sliding};
use crate::limit::{KeyNode, Source, Step, Take, UNTOLD, View, Waiters};
use crate::rule::Rule;
use crate::time::Moment;
use fastrand::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The longest pause between two probes.
const PAUSE_MOST: u64 = 400 * MS;
const PAUSE_LEAST: u64 = 100 * MS;
/// A node that called nothing for so long sends a heartbeat.
pub(super) const HEARTBEAT: u64 = 440 * MS;

/// One node.
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) name: Arc<str>,
    pub(super) up: bool,
    /// Raised with each life.
    pub(super) life: u64,
    boot: u64,
    /// Its clock: what it shows at the beginning, and how much it gains, in parts of 10⁹.
    offset: u64,
    gain: i64,
    pub(super) keys: BTreeMap<u32, Key>,
    epoch: u64,
    /// It went on alone since its last reply.
    local: bool,
    /// The store has heard of that, if only by a call whose reply was lost.
    pub(super) told: bool,
    fails: u32,
    open_until: True,
    /// Since when the store is not asked.
    away: True,
    pause: u64,
    pub(super) called: True,
    beat: Option<u64>,
    calls: u64,
}

/// One key of it.
pub(super) struct Key {
    pub(super) machine: KeyNode,
    waiters: VecDeque<True>,
    pub(super) flight: Option<u64>,
    pub(super) tick: Option<True>,
}

/// What a node does.
#[derive(Debug)]
pub(super) enum Effect {
    /// A request passes, after so long; overdrawn.
    Admit(u32, True, bool),
    /// It does not.
    Refuse(True),
    /// A call: its number, the key it is for, or a heartbeat.
    Call(u64, Option<u32>, Header, Vec<Request>),
    /// Look at a key then.
    Tick(u32, True),
}

/// What a node acts with at a moment.
pub(super) struct Turn<'t> {
    pub(super) at: True,
    /// Of each request.
    pub(super) cost: u32,
    pub(super) live: &'t [Arc<str>],
    pub(super) rng: &'t mut Rng,
    pub(super) out: Vec<Effect>,
}

/// A reply on its way.
pub(super) struct Letter {
    pub(super) key: Option<u32>,
    pub(super) call: u64,
    pub(super) epoch: u64,
    pub(super) reply: Option<Reply>,
}

impl Node {
    pub(super) fn new(index: usize, rng: &mut Rng) -> Self {
        Self {
            index,
            name: format!("n{index}").into(),
            up: true,
            life: 0,
            boot: rng.u64(..),
            offset: rng.u64(..1_000_000_000_000_000),
            gain: rng.i64(-450_000..=450_000),
            keys: BTreeMap::new(),
            epoch: 0,
            local: false,
            told: false,
            fails: 0,
            open_until: 0,
            away: 0,
            pause: PAUSE_LEAST,
            called: 0,
            beat: None,
            calls: 0,
        }
    }

    /// It starts again, as another process.
    pub(super) fn restart(&mut self, rng: &mut Rng) {
        let life = self.life + 1;
        let (offset, gain) = (self.offset, self.gain);
        *self = Self::new(self.index, rng);
        (self.life, self.offset, self.gain) = (life, offset, gain);
    }

    pub(super) fn moment(&self, at: True) -> Moment {
        let gained = i128::from(at) * i128::from(self.gain) / 1_000_000_000;
        Moment((i128::from(self.offset) + i128::from(at) + gained) as u64)
    }

    /// The first true moment at which its clock shows this.
    fn truth(&self, moment: Moment) -> True {
        let passed = i128::from(moment.0) - i128::from(self.offset);
        let at = passed * 1_000_000_000 / (1_000_000_000 + i128::from(self.gain));
        u64::try_from(at + 1).unwrap_or(0)
    }

    pub(super) fn from(&self) -> From {
        From {
            node: self.index as u64,
            boot: self.boot,
        }
    }

    /// It has been going on alone for longer than the store is promised not to hear of it.
    pub(super) fn is_apart(&self, at: True) -> bool {
        self.up && self.local && !self.told && at > self.away + (UNTOLD.as_nanos() as True)
    }

    fn reached(&self, at: True) -> bool {
        at >= self.open_until
    }

    fn view<'v>(&'v self, turn: &'v mut Turn<'_>) -> View<'v> {
        View {
            from: self.from(),
            epoch: self.epoch,
            reached: self.reached(turn.at),
            away: self.moment(self.away),
            name: &self.name,
            live: turn.live,
            round_trip: std::time::Duration::from_micros(400),
            chance: turn.rng.u64(..),
        }
    }

    /// A request comes.
    pub(super) fn arrive(&mut self, turn: &mut Turn<'_>, key: u32, rule: &Arc<Rule>) {
        let (at, cost) = (turn.at, turn.cost);
        let now = self.moment(at);
        let known = self.keys.entry(key).or_insert_with(|| Key {
            machine: KeyNode::new(key_id(key), Arc::clone(rule), now),
            waiters: VecDeque::new(),
            flight: None,
            tick: None,
        });
        let (take, nudge) = known.machine.cell().take(now, cost);
        match take {
            Take::Taken(token) => {
                let beyond = token.source == Source::Local && !known.machine.sliding(now).own;
                turn.out.push(Effect::Admit(key, 0, beyond));
            }
            Take::Refused(_) => turn.out.push(Effect::Refuse(0)),
            Take::Unknown => {
                known.waiters.push_back(at);
                return self.look(turn, key);
            }
        }
        if nudge {
            self.look(turn, key);
        }
    }

    /// Looks at a key: a nudge, or its time has come.
    pub(super) fn look(&mut self, turn: &mut Turn<'_>, key: u32) {
        let (at, cost) = (turn.at, turn.cost);
        let now = self.moment(at);
        let Some(mut known) = self.keys.remove(&key) else {
            return;
        };
        known.tick = None;
        let waiters = Waiters {
            requests: known.waiters.len() as u32,
            cost: known.waiters.len() as u64 * u64::from(cost),
            unit: cost,
            since: known.waiters.front().map_or(now, |since| self.moment(*since)),
        };
        let view = self.view(turn);
        let Step { call, next, .. } = known.machine.poll(now, waiters, &view);
        if let Some(request) = call {
            known.flight = Some(self.calls + 1);
            self.call(turn, Some(key), vec![request]);
        }
        if let Some(next) = next {
            // Not the same moment again: time goes on.
            let tick = self.truth(next).max(at + 1000);
            known.tick = Some(tick);
            turn.out.push(Effect::Tick(key, tick));
        } else if !self.reached(at) {
            // The engine looks at all keys when the store is back.
            let tick = self.open_until + 1;
            known.tick = Some(tick);
            turn.out.push(Effect::Tick(key, tick));
        }
        let calls = known.flight.is_some();
        self.keys.insert(key, known);
        if !calls {
            // As the engine does: nobody else will tell those who wait.
            self.settle(turn, key, 0, false);
        }
    }

    fn call(&mut self, turn: &mut Turn<'_>, key: Option<u32>, requests: Vec<Request>) {
        self.calls += 1;
        self.called = turn.at;
        let header = Header {
            from: self.from(),
            epoch: self.epoch,
            local: self.local,
            live: turn.live.len() as u32,
            without: 0,
        };
        turn.out.push(Effect::Call(self.calls, key, header, requests));
    }

    /// A heartbeat, if it is time for one.
    pub(super) fn beat(&mut self, turn: &mut Turn<'_>) {
        let at = turn.at;
        if at >= self.called + HEARTBEAT && self.beat.is_none() && self.reached(at) {
            self.beat = Some(self.calls + 1);
            self.call(turn, None, Vec::new());
        }
    }

    fn failed(&mut self, at: True, rng: &mut Rng) {
        self.fails += 1;
        if self.fails >= 3 {
            if self.fails == 3 {
                self.away = at;
            }
            if !self.local {
                self.told = false;
            }
            self.local = true;
            self.open_until = at + (self.pause as f64 * (0.5 + 0.5 * rng.f64())) as u64;
            self.pause = PAUSE_MOST.min(2 * self.pause);
        }
    }

    /// A call is given up.
    pub(super) fn lost(&mut self, turn: &mut Turn<'_>, key: Option<u32>, call: u64) {
        let at = turn.at;
        let Some(key) = key else {
            if self.beat == Some(call) {
                self.beat = None;
                self.failed(at, turn.rng);
            }
            return;
        };
        let now = self.moment(at);
        if self.keys.get(&key).is_none_or(|known| known.flight != Some(call)) {
            return;
        }
        self.failed(at, turn.rng);
        let Some(mut known) = self.keys.remove(&key) else {
            return;
        };
        known.flight = None;
        known.machine.lost(now, &self.view(turn));
        self.keys.insert(key, known);
        self.settle(turn, key, 0, false);
        turn.out.push(Effect::Tick(key, at.max(self.open_until) + MS));
        if let Some(known) = self.keys.get_mut(&key) {
            known.tick = Some(at.max(self.open_until) + MS);
        }
    }

    /// A reply comes.
    pub(super) fn reply(&mut self, turn: &mut Turn<'_>, letter: Letter, late: bool) {
        let (
            at,
            Letter {
                key,
                call,
                epoch,
                reply,
            },
        ) = (turn.at, letter);
        let Some(key) = key else {
            if self.beat == Some(call) {
                self.beat = None;
                let turned = self.epoch != epoch;
                self.heard(epoch);
                // As the engine does: all keys hear of it, though nobody asks for them.
                let keys: Vec<u32> = self.keys.keys().copied().filter(|_| turned).collect();
                for key in keys {
                    self.look(turn, key);
                }
            }
            return;
        };
        let now = self.moment(at);
        if !late && self.keys.get(&key).is_none_or(|known| known.flight != Some(call)) {
            return;
        }
        let (Some(mut known), Some(reply)) = (self.keys.remove(&key), reply) else {
            return;
        };
        known.flight = None;
        self.heard(epoch);
        if matches!(reply, Reply::Sliding(sliding::Reply::Own(_))) {
            self.local = false;
        }
        let tokens = known.machine.reply(now, reply, &self.view(turn));
        self.keys.insert(key, known);
        self.settle(turn, key, tokens, true);
        self.look(turn, key);
    }

    fn heard(&mut self, epoch: u64) {
        (self.fails, self.pause, self.epoch) = (0, PAUSE_LEAST, epoch);
    }

    /// Requests that wait try again. `may_wait`: those whose time is not over.
    fn settle(&mut self, turn: &mut Turn<'_>, key: u32, mut tokens: u64, may_wait: bool) {
        let (at, cost) = (turn.at, turn.cost);
        let now = self.moment(at);
        let Some(known) = self.keys.get_mut(&key) else {
            return;
        };
        for _ in 0..known.waiters.len() {
            let Some(since) = known.waiters.pop_front() else {
                return;
            };
            let waited = at - since;
            if tokens >= u64::from(cost) {
                tokens -= u64::from(cost);
                turn.out.push(Effect::Admit(key, waited, false));
                continue;
            }
            match known.machine.cell().take_again(now, cost).0 {
                Take::Taken(_) => turn.out.push(Effect::Admit(key, waited, false)),
                Take::Unknown if may_wait && waited < GIVEN_UP / 2 => known.waiters.push_back(since),
                _ => turn.out.push(Effect::Refuse(waited)),
            }
        }
    }
}

pub(super) fn key_id(key: u32) -> KeyId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&key.to_le_bytes());
    KeyId(id)
}
