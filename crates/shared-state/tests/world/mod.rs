//! A cluster in simulated time: nodes with clocks of their own, a network that loses and delays, a store that freezes,
//! forgets and comes back. What nodes and store do is the real thing; what surrounds them is here.
//!
//! A run is a function of its seed.

mod broken;

use sluice_shared_state::ledger::{From, Header, Ledger, Reply, Request, Served};
use sluice_shared_state::limit::{KeyNode, Take, Token, View, Waiters};
use sluice_shared_state::{Algorithm, KeyId, Moment, Rule, StoreTime};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MS;
/// Where the store's clock stands when a run begins: so many microseconds.
pub(crate) const EPOCH: u64 = 1_800_000_000_000_000;
const KEY: KeyId = KeyId([7; 16]);
const TIMEOUT: u64 = 20 * MS;
const HEARTBEAT: u64 = 440 * MS;

/// What goes wrong. Times are nanoseconds of true time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Of a hundred messages so many are lost.
    Loss(u64),
    /// Nothing is served from then to then; what waits is served after it.
    Frozen(u64, u64),
    /// Each message takes so much longer, from then to then.
    Slow(u64, u64, u64),
    /// The store forgets all.
    Emptied(u64),
    /// A node ends without a word, and starts again after so long.
    Crash(usize, u64, u64),
    /// A node does not reach the store, from then to then.
    Cut(usize, u64, u64),
}

/// What is broken on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The store is not told what nodes hold.
    HeldUntold,
    /// What was used is told too low.
    UsedUntold,
    /// A lease is believed to be longer than it is.
    LongLease,
    /// Grants arrive twice.
    Doubled,
    /// A store that lost all grants at once.
    NoLearning,
}

/// What is tried.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) rule: Arc<Rule>,
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) until: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) broken: Option<Broken>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// When each was admitted, and for how much; true time.
    pub(crate) admitted: Vec<(u64, u32)>,
    /// When each that was admitted ended.
    pub(crate) ended: Vec<(u64, u32)>,
    pub(crate) refused: u64,
    pub(crate) calls: u64,
    pub(crate) worst_wait: u64,
    /// Some node went on by itself.
    pub(crate) alone: bool,
    pub(crate) waited: u64,
    /// The most that was out, as the store counts it: rate and depth of a bucket's parts.
    pub(crate) parts: (f64, u64),
    /// Answers to who was refused: when, and how long they were told to wait.
    pub(crate) told: Vec<(u64, Duration)>,
}

/// A request that comes: when, at which node, for how many tokens, and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival {
    pub(crate) at: u64,
    pub(crate) node: usize,
    pub(crate) cost: u32,
    pub(crate) lasts: u64,
}

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

struct Node {
    boot: u64,
    up: bool,
    offset: u64,
    /// Parts in a million that its clock is fast, or slow.
    drift: i64,
    key: KeyNode,
    waiters: VecDeque<(u64, u32, u64)>,
    call: Option<u64>,
    timer: u64,
    epoch: u64,
    reached: bool,
    away: Moment,
    local: bool,
    fails: u32,
    open_until: u64,
    pause: u64,
    beat: Option<u64>,
    called: u64,
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

    fn sends(&mut self, node: usize, request: Request) {
        self.out.calls += 1;
        let call = self.count + 1;
        let mut header = self.header(node);
        header.local = self.nodes[node].local;
        self.nodes[node].call = Some(call);
        self.nodes[node].called = self.now;
        self.send(node, call, header, Some(request));
    }

    fn send(&mut self, node: usize, call: u64, header: Header, request: Option<Request>) {
        let message = Message {
            node,
            boot: self.nodes[node].boot,
            call,
            header,
            request,
        };
        self.at(self.now + TIMEOUT, Event::GivenUp, Body::GivenUp(message.clone()));
        if !self.is_lost(node) {
            let mut at = self.now + self.way();
            for fault in &self.scene.faults {
                if let Fault::Frozen(from, until) = *fault
                    && (from..until).contains(&at)
                {
                    at = until + self.chance.u64(0..MS);
                }
            }
            self.at(at, Event::Served, Body::Served(message));
        }
    }

    fn serves(&mut self, mut message: Message) {
        let store = StoreTime(EPOCH + self.now / 1000);
        if let Some(request) = &mut message.request {
            broken::call(self.scene.broken, request);
        }
        let requests: Vec<Request> = message.request.iter().cloned().collect();
        let mut served = self.ledger.serve(store, &message.header, &requests);
        for reply in &mut served.replies {
            broken::reply(self.scene.broken, reply);
        }
        if let Some(count) = self.ledger.bucket(KEY) {
            let (rate, depth) = count.out();
            self.out.parts = (self.out.parts.0.max(rate), self.out.parts.1.max(depth));
        }
        if !self.is_lost(message.node) {
            let at = self.now + self.way();
            self.at(at, Event::Replied, Body::Replied(message, served));
        }
    }

    fn replied(&mut self, message: Message, served: Served) {
        let node = message.node;
        if !self.nodes[node].up || self.nodes[node].boot != message.boot {
            return;
        }
        let expected = if message.request.is_some() {
            self.nodes[node].call
        } else {
            self.nodes[node].beat
        };
        if expected != Some(message.call) {
            return;
        }
        let epoch = served.epoch;
        let at = &mut self.nodes[node];
        (at.fails, at.pause) = (0, 100 * MS);
        let turned = !at.reached || at.epoch != epoch;
        (at.reached, at.epoch) = (true, at.epoch.max(epoch));
        let Some(reply) = served.replies.into_iter().next() else {
            (at.beat, at.local) = (None, false);
            if turned && at.call.is_none() {
                self.poll(node);
            }
            return;
        };
        at.call = None;
        at.local = false;
        let (mono, view) = (self.mono(node), self.view(node));
        let names = self.names.clone();
        let mut instant = self.nodes[node].key.reply(mono, reply, &view.of(&names));
        while let Some((since, cost, lasts)) = self.nodes[node].waiters.front().copied() {
            if instant < u64::from(cost) {
                break;
            }
            instant -= u64::from(cost);
            self.nodes[node].waiters.pop_front();
            let token = Token {
                cost,
                source: sluice_shared_state::limit::Source::Lease,
                generation: u32::MAX,
            };
            self.admits(node, since, lasts, token);
        }
        self.settle(node);
        self.poll(node);
        self.settle(node);
    }

    fn given_up(&mut self, message: &Message) {
        let node = message.node;
        if !self.nodes[node].up || self.nodes[node].boot != message.boot {
            return;
        }
        let of_key = message.request.is_some();
        let at = &mut self.nodes[node];
        if of_key && at.call == Some(message.call) {
            at.call = None;
        } else if !of_key && at.beat == Some(message.call) {
            at.beat = None;
        } else {
            return;
        }
        at.fails += 1;
        if at.fails >= 3 {
            at.open_until = self.now + at.pause / 2 + self.chance.u64(0..at.pause / 2);
            at.pause = (at.pause * 2).min(400 * MS);
            at.local = true;
            if at.reached {
                self.out.alone = true;
                at.reached = false;
                at.away = Moment(mono_of(at, self.now).0);
            }
        }
        if of_key {
            let (mono, view) = (self.mono(node), self.view(node));
            let names = self.names.clone();
            self.nodes[node].key.lost(mono, &view.of(&names));
        }
        self.settle(node);
        if self.nodes[node].call.is_none() {
            self.poll(node);
        }
        self.settle(node);
    }

    fn beats(&mut self, node: usize, boot: u64) {
        if !self.nodes[node].up || self.nodes[node].boot != boot {
            return;
        }
        let due = self.nodes[node].called + HEARTBEAT <= self.now || !self.nodes[node].reached;
        if due && self.nodes[node].beat.is_none() && self.now >= self.nodes[node].open_until {
            let call = self.count + 1;
            let mut header = self.header(node);
            header.local = self.nodes[node].local;
            self.nodes[node].beat = Some(call);
            self.nodes[node].called = self.now;
            self.send(node, call, header, None);
        }
        self.at(self.now + 20 * MS, Event::Beats, Body::Beats(node, boot));
    }

    fn at(&mut self, at: u64, event: Event, body: Body) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
        self.bodies.insert(self.count, body);
    }

    fn way(&mut self) -> u64 {
        let mut way = MS / 10 + self.chance.u64(0..MS / 5);
        if self.chance.u64(0..100) == 0 {
            way += self.chance.u64(MS..6 * MS);
        }
        for fault in &self.scene.faults {
            if let Fault::Slow(from, until, more) = *fault
                && (from..until).contains(&self.now)
            {
                way += more / 2;
            }
        }
        way
    }

    fn is_lost(&mut self, node: usize) -> bool {
        self.scene.faults.iter().any(|fault| match *fault {
            Fault::Loss(percent) => self.chance.u64(0..100) < percent,
            Fault::Cut(of, from, until) => of == node && (from..until).contains(&self.now),
            _ => false,
        })
    }

    fn mono(&self, node: usize) -> Moment {
        mono_of(&self.nodes[node], self.now)
    }

    fn header(&self, node: usize) -> Header {
        Header {
            from: self.from(node),
            epoch: self.nodes[node].epoch,
            local: false,
            live: self.nodes.len() as u32,
            without: 0,
        }
    }

    fn from(&self, node: usize) -> From {
        From {
            node: node as u64,
            boot: self.nodes[node].boot,
        }
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

/// A view, without what it borrows.
struct Seen {
    from: From,
    epoch: u64,
    reached: bool,
    away: Moment,
    node: usize,
    chance: u64,
}

impl Seen {
    fn of<'v>(&self, names: &'v [Arc<str>]) -> View<'v> {
        View {
            from: self.from,
            epoch: self.epoch,
            reached: self.reached,
            away: self.away,
            name: &names[self.node],
            live: names,
            round_trip: Duration::from_micros(500),
            chance: self.chance,
        }
    }
}

impl Node {
    fn new(boot: u64, offset: u64, drift: i64, rule: &Arc<Rule>) -> Self {
        Self {
            boot,
            up: true,
            offset,
            drift,
            key: KeyNode::new(KEY, Arc::clone(rule), Moment(offset)),
            waiters: VecDeque::new(),
            call: None,
            timer: 0,
            epoch: 0,
            reached: true,
            away: Moment(0),
            local: false,
            fails: 0,
            open_until: 0,
            pause: 100 * MS,
            beat: None,
            called: 0,
        }
    }
}

fn mono_of(node: &Node, now: u64) -> Moment {
    let drifted = i128::from(now) * i128::from(1_000_000 + node.drift) / 1_000_000;
    Moment(node.offset + u64::try_from(drifted).unwrap())
}

/// Requests as they come, by chance, `rate` a second in all.
pub(crate) fn arrivals(
    seed: u64,
    rate: f64,
    until: u64,
    mut node: impl FnMut(u64, &mut fastrand::Rng) -> usize,
) -> Vec<Arrival> {
    let mut chance = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut at = 0.0;
    let mut all = Vec::new();
    loop {
        at += -(1.0 - chance.f64()).ln() / rate * 1e9;
        if at as u64 >= until {
            return all;
        }
        all.push(Arrival {
            at: at as u64,
            node: node(at as u64, &mut chance),
            cost: 1,
            lasts: 0,
        });
    }
}
