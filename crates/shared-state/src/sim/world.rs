//! The world around nodes: time, messages, the store, faults.

use super::checks::{Checks, Measured};
use super::node::{Effect, HEARTBEAT, Letter, Node, Turn};
use super::traffic::{Arrival, Traffic, exponential};
use super::{Fault, GIVEN_UP, MS, SECOND, Scenario, True};
use crate::broken::{Broken, broken};
use crate::key::RuleId;
use crate::ledger::sliding::Reply as Sliding;
use crate::ledger::{Header, Ledger, Reply, Request};
use crate::rule::{Algorithm, Mode, OnFailure, Rule, Scope};
use crate::time::StoreTime;
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// A run.
pub(super) struct World {
    scenario: Scenario,
    rule: Arc<Rule>,
    now: True,
    queue: BinaryHeap<Reverse<(True, u64)>>,
    events: BTreeMap<u64, Event>,
    number: u64,
    rng: Rng,
    nodes: Vec<Node>,
    live: Vec<Arc<str>>,
    store: Ledger,
    /// The store's clock at the beginning, in microseconds.
    offset: i64,
    frozen: (True, True),
    slow: (True, True),
    cut: (True, True),
    checks: Checks,
}

enum Event {
    Serve(Envelope, Header, Vec<Request>),
    Reply(Envelope, u64, Option<Reply>),
    Lost(Envelope),
    Tick(usize, u64, u32, True),
    Beat(usize, u64),
    Crash,
    Boot,
    Empty(i64),
}

/// Whose call: node, its life, number, key.
#[derive(Debug, Clone, Copy)]
struct Envelope {
    node: usize,
    life: u64,
    call: u64,
    key: Option<u32>,
}

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        let mut rng = Rng::with_seed(scenario.seed);
        let rule = Arc::new(
            Rule {
                name: "simulated".into(),
                scope: Scope::Gateway("g".into()),
                algorithm: Algorithm::SlidingWindow {
                    limit: scenario.limit,
                    window: scenario.window,
                },
                mode: if scenario.fast { Mode::Fast } else { Mode::Exact },
                on_failure: OnFailure::Local,
                version: 1,
                id: RuleId(0),
            }
            .seal(),
        );
        let nodes: Vec<_> = (0..scenario.nodes).map(|index| Node::new(index, &mut rng)).collect();
        let live = nodes.iter().map(|node| Arc::clone(&node.name)).collect();
        let never = (True::MAX, True::MAX);
        let mut world = Self {
            checks: Checks::new(&scenario),
            rule,
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            number: 0,
            nodes,
            live,
            store: Ledger::default(),
            offset: rng.i64(1_000_000_000..100_000_000_000_000),
            frozen: never,
            slow: never,
            cut: never,
            rng,
            scenario,
        };
        for node in 0..world.nodes.len() {
            let at = world.rng.u64(..HEARTBEAT);
            world.at(at, Event::Beat(node, 0));
        }
        world.plan_faults();
        world
    }

    fn plan_faults(&mut self) {
        let faults = self.scenario.faults.clone();
        let one = faults.len() <= 1;
        for fault in faults {
            let at = if one {
                3 * SECOND
            } else {
                self.rng.u64(2200 * MS..4500 * MS)
            };
            match fault {
                Fault::Loss => {}
                Fault::Freeze => self.frozen = (at, at + 2 * SECOND),
                Fault::Slow => self.slow = (at, at + 2 * SECOND),
                Fault::Cut => self.cut = (at, at + 2 * SECOND),
                Fault::Empty => self.at(at, Event::Empty(0)),
                Fault::EmptyThrice => {
                    for time in 0..3 {
                        self.at(at - SECOND / 2 + time * 1900 * MS, Event::Empty(0));
                    }
                }
                Fault::Failover => {
                    self.frozen = (at, at + 600 * MS);
                    let jump = self.rng.i64(-500_000..500_000);
                    self.at(at + 600 * MS, Event::Empty(jump));
                }
                Fault::Crash => {
                    self.at(at, Event::Crash);
                    let away = self.rng.u64(10 * MS..SECOND);
                    self.at(at + away, Event::Boot);
                }
            }
        }
    }

    fn at(&mut self, at: True, event: Event) {
        self.number += 1;
        self.events.insert(self.number, event);
        self.queue.push(Reverse((at, self.number)));
    }

    fn store_time(&self, at: True) -> StoreTime {
        StoreTime((self.offset + (at / 1000) as i64) as u64)
    }

    /// A message's way.
    fn way(&mut self, at: True) -> True {
        let mut way = 0.1 + 0.1 * exponential(&mut self.rng);
        if self.rng.f64() < 0.01 {
            way += 1.0 + 5.0 * self.rng.f64();
        }
        if at >= self.slow.0 && at < self.slow.1 {
            way += 100.0;
        }
        (way * 1e6) as u64
    }

    fn is_cut(&mut self, node: usize, at: True) -> bool {
        let cut = node == 0 && at >= self.cut.0 && at < self.cut.1;
        cut || (self.scenario.faults.contains(&Fault::Loss) && self.rng.f64() < 0.05)
    }

    /// Runs it all, and tells what came of it.
    pub(super) fn run(mut self) -> Measured {
        let per_second = f64::from(self.scenario.limit) / self.scenario.window.as_secs_f64();
        let mut traffic = Traffic::new(
            self.scenario.pattern,
            per_second,
            self.scenario.rate,
            self.scenario.nodes,
            self.scenario.seed,
        );
        let mut next = traffic.next();
        while next.at < self.scenario.length {
            match self.queue.peek() {
                Some(Reverse((at, _))) if *at <= next.at => self.step(),
                _ => {
                    self.now = next.at;
                    self.arrive(next);
                    next = traffic.next();
                }
            }
        }
        self.checks.measure()
    }

    fn arrive(&mut self, arrival: Arrival) {
        let mut node = arrival.node;
        if !self.nodes[node].up {
            // The balancer takes another.
            node = (node + 1) % self.nodes.len();
        }
        self.checks.offered(arrival.at, arrival.key);
        let mut turn = Turn {
            at: self.now,
            cost: self.scenario.cost,
            live: &self.live,
            rng: &mut self.rng,
            out: Vec::new(),
        };
        self.nodes[node].arrive(&mut turn, arrival.key, &self.rule);
        let out = turn.out;
        self.effects(node, out);
    }

    fn step(&mut self) {
        let Some(Reverse((at, number))) = self.queue.pop() else {
            return;
        };
        self.now = at;
        let Some(event) = self.events.remove(&number) else {
            return;
        };
        let mut turn = Turn {
            at,
            cost: self.scenario.cost,
            live: &self.live,
            rng: &mut self.rng,
            out: Vec::new(),
        };
        let mut key = None;
        let node = match event {
            Event::Serve(envelope, header, requests) => return self.serve(envelope, &header, &requests),
            Event::Crash => {
                self.nodes[0].up = false;
                self.checks.crashed(0);
                self.nodes[0].life += 1;
                return;
            }
            Event::Boot => {
                self.nodes[0].restart(turn.rng);
                let life = self.nodes[0].life;
                return self.at(at + MS, Event::Beat(0, life));
            }
            Event::Empty(jump) => {
                self.offset += jump;
                self.checks.lost_state(self.store.epoch());
                return self.store.lose();
            }
            Event::Reply(envelope, epoch, reply) => {
                key = envelope.key;
                let node = &mut self.nodes[envelope.node];
                if node.up && node.life == envelope.life {
                    let since = self.checks.landed(envelope.node, envelope.key, envelope.call);
                    if let (Some(Reply::Sliding(Sliding::Granted(grant))), Some(since), Some(key)) =
                        (&reply, since, key)
                        && grant.over == 0
                    {
                        self.checks.covered(envelope.node, key, since);
                    }
                    let late = broken(Broken::LateReplyAccepted);
                    let Envelope { key, call, .. } = envelope;
                    let letter = Letter {
                        key,
                        call,
                        epoch,
                        reply,
                    };
                    node.reply(&mut turn, letter, late);
                }
                envelope.node
            }
            Event::Lost(envelope) => {
                let node = &mut self.nodes[envelope.node];
                self.checks.landed(envelope.node, envelope.key, envelope.call);
                if node.up && node.life == envelope.life {
                    node.lost(&mut turn, envelope.key, envelope.call);
                }
                envelope.node
            }
            Event::Tick(index, life, key, due) => {
                let node = &mut self.nodes[index];
                let is_due = node.keys.get(&key).is_some_and(|known| known.tick == Some(due));
                if node.up && node.life == life && is_due {
                    node.look(&mut turn, key);
                }
                index
            }
            Event::Beat(index, life) => {
                let node = &mut self.nodes[index];
                if node.up && node.life == life {
                    node.beat(&mut turn);
                    let next = (node.called + HEARTBEAT).max(at + 50 * MS);
                    let out = turn.out;
                    self.at(next, Event::Beat(index, life));
                    return self.effects(index, out);
                }
                index
            }
        };
        let out = turn.out;
        self.effects(node, out);
        if let Some(key) = key {
            self.checks.bounded(&self.nodes[node], key, at);
            self.checks.levels(at, key, &self.nodes);
        }
    }

    fn serve(&mut self, envelope: Envelope, header: &Header, requests: &[Request]) {
        let now = self.store_time(self.now);
        if header.local {
            self.nodes[envelope.node].told = true;
        } else if self.nodes.iter().any(|node| node.is_apart(self.now)) {
            self.checks.apart();
        }
        let served = self.store.serve(now, header, requests);
        self.checks.served((self.now, now), &self.store, requests, &self.nodes);
        if !self.is_cut(envelope.node, self.now) {
            let at = self.now + self.way(self.now);
            self.at(
                at,
                Event::Reply(envelope, served.epoch, served.replies.into_iter().next()),
            );
        }
    }

    fn effects(&mut self, node: usize, out: Vec<Effect>) {
        let life = self.nodes[node].life;
        for effect in out {
            match effect {
                Effect::Admit(key, waited, beyond) => {
                    self.checks.admitted(self.now, &self.nodes[node], key, waited, beyond);
                }
                Effect::Refuse(waited) => self.checks.refused(waited),
                Effect::Tick(key, at) => self.at(at, Event::Tick(node, life, key, at)),
                Effect::Call(call, key, header, requests) => {
                    let envelope = Envelope { node, life, call, key };
                    self.checks.called(envelope.node, key, self.now, call);
                    self.at(self.now + GIVEN_UP, Event::Lost(envelope));
                    if self.is_cut(node, self.now) {
                        continue;
                    }
                    let mut at = self.now + self.way(self.now);
                    if at >= self.frozen.0 && at < self.frozen.1 {
                        // All at once, in any order.
                        at = self.frozen.1 + self.rng.u64(..MS);
                    }
                    self.at(at, Event::Serve(envelope, header, requests));
                }
            }
        }
    }
}
