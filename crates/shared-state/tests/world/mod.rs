//! A cluster in simulated time: nodes with clocks of their own, a network that loses and delays, a store that freezes,
//! forgets and comes back. What nodes and store do is the real thing; what surrounds them is here.
//!
//! A run is a function of its seed.

mod broken;
mod calls;
mod node;
mod scene;

pub(crate) use scene::{Arrival, Broken, Fault, Outcome, Scene, arrivals};

use node::{Node, Seen, mono_of};
use sluice_shared_state::ledger::{Header, Ledger, Request, Served};
use sluice_shared_state::limit::{Take, Token, Waiters};
use sluice_shared_state::{Algorithm, KeyId, Moment, StoreTime};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MS;
/// Where the store's clock stands when a run begins: so many microseconds.
pub(crate) const EPOCH: u64 = 1_800_000_000_000_000;
const KEY: KeyId = KeyId([7; 16]);
const TIMEOUT: u64 = 20 * MS;
const HEARTBEAT: u64 = 440 * MS;

pub(crate) struct World {
    scene: Scene,
    now: u64,
    chance: fastrand::Rng,
    ledger: Ledger,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    bodies: BTreeMap<u64, Body>,
    count: u64,
    nodes: Vec<Node>,
    names: Vec<Arc<str>>,
    out: Outcome,
    /// A client that comes back when it was told to.
    pub(crate) retries: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Served,
    Replied,
    GivenUp,
    Looked,
    Waited,
    Beats,
    Ends,
    Fails,
}

enum Body {
    Arrives(Arrival),
    Served(Message),
    Replied(Message, Served),
    GivenUp(Message),
    Looked(usize, u64),
    Waited(usize, u64),
    Beats(usize, u64),
    Ends(usize, u64, Token),
    Fails(Fault),
}

#[derive(Clone)]
struct Message {
    node: usize,
    boot: u64,
    call: u64,
    header: Header,
    request: Option<Request>,
}

impl World {
    pub(crate) fn new(scene: Scene) -> Self {
        let mut chance = fastrand::Rng::with_seed(scene.seed);
        let names: Vec<Arc<str>> = (0..scene.nodes).map(|node| format!("n{node}").into()).collect();
        let nodes = (0..scene.nodes)
            .map(|at| {
                let offset = chance.u64(0..SECOND * 1000);
                Node::new(at as u64, offset, chance.i64(-450..=450), &scene.rule)
            })
            .collect();
        let mut world = Self {
            now: 0,
            chance,
            ledger: Ledger::default(),
            events: BinaryHeap::new(),
            bodies: BTreeMap::new(),
            count: 0,
            nodes,
            names,
            out: Outcome::default(),
            retries: false,
            scene,
        };
        // The store exists already; its first learning is over before the run begins.
        let header = world.header(0);
        world.ledger.serve(StoreTime(EPOCH - 60_000_000), &header, &[]);
        for node in 0..world.nodes.len() {
            let at = world.chance.u64(0..HEARTBEAT);
            world.at(at, Event::Beats, Body::Beats(node, world.nodes[node].boot));
        }
        for fault in world.scene.faults.clone() {
            let at = match fault {
                Fault::Emptied(at) | Fault::Crash(_, at, _) => at,
                _ => continue,
            };
            world.at(at, Event::Fails, Body::Fails(fault));
        }
        world
    }

    /// Runs with these arrivals, which must be in order of time.
    pub(crate) fn run(mut self, arrivals: impl IntoIterator<Item = Arrival>) -> Outcome {
        let mut arrivals = arrivals.into_iter().peekable();
        loop {
            let next = self.events.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            match arrivals.peek() {
                Some(arrival) if arrival.at <= next => {
                    let arrival = arrivals.next().unwrap();
                    self.now = arrival.at;
                    self.arrives(arrival);
                }
                None if next > self.scene.until => break,
                _ if next == u64::MAX => break,
                _ => {
                    let Reverse((at, id, _)) = self.events.pop().unwrap();
                    self.now = at;
                    let body = self.bodies.remove(&id).unwrap();
                    self.happens(body);
                }
            }
        }
        self.out
    }

    fn happens(&mut self, body: Body) {
        match body {
            Body::Arrives(arrival) => self.arrives(arrival),
            Body::Served(message) => self.serves(message),
            Body::Replied(message, served) => self.replied(message, served),
            Body::GivenUp(message) => self.given_up(&message),
            Body::Looked(node, timer) => {
                if self.nodes[node].up && self.nodes[node].timer == timer {
                    self.poll(node);
                }
            }
            Body::Waited(node, boot) => {
                if self.nodes[node].up && self.nodes[node].boot == boot {
                    self.settle(node);
                }
            }
            Body::Beats(node, boot) => self.beats(node, boot),
            Body::Ends(node, boot, token) => {
                self.out.ended.push((self.now, token.cost));
                let places = matches!(self.scene.rule.algorithm, Algorithm::Concurrency { .. });
                if places && self.nodes[node].up && self.nodes[node].boot == boot {
                    let mono = self.mono(node);
                    self.nodes[node].key.cell().give_back(mono, token);
                }
            }
            Body::Fails(Fault::Emptied(_)) => {
                self.ledger.lose();
                if self.scene.broken == Some(Broken::NoLearning) {
                    let mut header = self.header(0);
                    header.epoch = self.nodes.iter().map(|node| node.epoch).max().unwrap();
                    let before = StoreTime(EPOCH - 60_000_000);
                    self.ledger.serve(before, &header, &[]);
                }
            }
            Body::Fails(Fault::Crash(node, at, pause)) => {
                if self.nodes[node].up {
                    self.nodes[node].up = false;
                    self.at(at + pause, Event::Fails, Body::Fails(Fault::Crash(node, at, pause)));
                } else {
                    let old = &self.nodes[node];
                    let boot = old.boot + 1000;
                    self.nodes[node] = Node::new(boot, old.offset, old.drift, &self.scene.rule);
                    self.nodes[node].called = self.now;
                    self.at(self.now, Event::Beats, Body::Beats(node, boot));
                }
            }
            Body::Fails(_) => {}
        }
    }

    fn arrives(&mut self, arrival: Arrival) {
        let mut node = arrival.node;
        while !self.nodes[node].up {
            node = (node + 1) % self.nodes.len();
        }
        let mono = self.mono(node);
        let (take, nudge) = self.nodes[node].key.cell().take(mono, arrival.cost);
        match take {
            Take::Taken(token) => self.admits(node, arrival.at, arrival.lasts, token),
            Take::Refused(_) => self.refuses(node, arrival),
            Take::Unknown => {
                self.nodes[node]
                    .waiters
                    .push_back((arrival.at, arrival.cost, arrival.lasts));
                let boot = self.nodes[node].boot;
                self.at(self.now + TIMEOUT, Event::Waited, Body::Waited(node, boot));
                self.poll(node);
                self.settle(node);
                return;
            }
        }
        if nudge {
            self.poll(node);
        }
    }

    fn admits(&mut self, node: usize, since: u64, lasts: u64, token: Token) {
        self.out.admitted.push((self.now, token.cost));
        self.out.worst_wait = self.out.worst_wait.max(self.now - since);
        self.out.waited += u64::from(self.now > since);
        let boot = self.nodes[node].boot;
        self.at(self.now + lasts, Event::Ends, Body::Ends(node, boot, token));
    }

    fn refuses(&mut self, node: usize, arrival: Arrival) {
        self.out.refused += 1;
        self.out.worst_wait = self.out.worst_wait.max(self.now - arrival.at);
        let mono = self.mono(node);
        let (_, wait) = self.nodes[node].key.cell().standing(mono);
        self.out.told.push((self.now, wait));
        if self.retries {
            // Whole seconds, rounded up: what an answer says.
            let seconds = wait.as_nanos().div_ceil(u128::from(SECOND)).max(1) as u64;
            let at = self.now + seconds * SECOND;
            self.at(at, Event::Arrives, Body::Arrives(Arrival { at, ..arrival }));
        }
    }

    // Those that wait look again; nobody waits longer than the time-out.
    fn settle(&mut self, node: usize) {
        for _ in 0..self.nodes[node].waiters.len() {
            let (since, cost, lasts) = self.nodes[node].waiters.pop_front().unwrap();
            let mono = self.mono(node);
            match self.nodes[node].key.cell().take(mono, cost).0 {
                Take::Taken(token) => self.admits(node, since, lasts, token),
                Take::Unknown if self.now < since + TIMEOUT && self.nodes[node].reached => {
                    self.nodes[node].waiters.push_back((since, cost, lasts));
                }
                _ => self.refuses(
                    node,
                    Arrival {
                        at: since,
                        node,
                        cost,
                        lasts,
                    },
                ),
            }
        }
    }

    fn poll(&mut self, node: usize) {
        let (mono, view) = (self.mono(node), self.view(node));
        let names = self.names.clone();
        let at = &mut self.nodes[node];
        let waiters = Waiters {
            requests: at.waiters.len() as u32,
            cost: at.waiters.iter().map(|(_, cost, _)| u64::from(*cost)).sum(),
            unit: at.waiters.front().map_or(0, |(_, cost, _)| *cost),
            since: mono,
        };
        let step = at.key.poll(mono, waiters, &view.of(&names));
        if let Some(request) = step.call {
            assert!(at.call.is_none(), "two calls at once for one key");
            assert!(at.reached, "a call to a store that is not asked");
            self.sends(node, request);
        }
        if let Some(next) = step.next {
            let timer = self.count + 1;
            self.nodes[node].timer = timer;
            let delay = next.0.saturating_sub(mono.0).max(1000);
            self.at(
                self.now + delay + delay / 1000 + 1,
                Event::Looked,
                Body::Looked(node, timer),
            );
        }
    }

    fn at(&mut self, at: u64, event: Event, body: Body) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
        self.bodies.insert(self.count, body);
    }

    fn mono(&self, node: usize) -> Moment {
        mono_of(&self.nodes[node], self.now)
    }

    fn view(&mut self, node: usize) -> Seen {
        let (from, chance) = (self.from(node), self.chance.u64(..));
        let at = &self.nodes[node];
        Seen {
            from,
            epoch: at.epoch,
            reached: at.reached,
            away: at.away,
            node,
            chance,
        }
    }
}
