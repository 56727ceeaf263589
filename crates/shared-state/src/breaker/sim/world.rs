//! The cluster: its clocks, its wires, and what happens on them.

#![allow(clippy::unwrap_used)]

use super::faults::{Fault, Plan};
use crate::breaker::desk::{Desk, Step};
use crate::breaker::ledger::BreakerLedger;
use crate::breaker::wire::{Call, Caller, Hex, Phase, Reply, Told};
use crate::breaker::{Admission, BreakerCell, BreakerKey, Evidence, Kind, Verdict};
use crate::time::{Moment, StoreTime};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

/// Microseconds.
pub(super) type Time = u64;
pub(super) const MS: Time = 1_000;
pub(super) const S: Time = 1_000_000;
/// After which a call is given up.
const GIVEN_UP: Time = 20 * MS;

pub(super) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) struct Node {
    pub(super) name: String,
    pub(super) boot: u32,
    pub(super) offset: u64,
    pub(super) ppm: i64,
    pub(super) desk: Desk,
    pub(super) cell: Arc<BreakerCell>,
    pub(super) woken: Arc<Flag>,
    pub(super) alive: bool,
    /// What it would do if it were not paused.
    pub(super) paused: Option<Vec<Event>>,
    /// The number of its last call, and how many were lost in a row.
    pub(super) call: u64,
    /// The poll that is awaited; those before it are not.
    pub(super) poll: u64,
    pub(super) lost: u32,
    pub(super) reached: bool,
    /// Its attempts fail whatever the service does.
    pub(super) cut: bool,
    pub(super) epoch: u64,
    /// When its attempts ended that counted, in true time.
    pub(super) ended: Vec<Time>,
}

pub(super) enum Event {
    Poll(usize, u64),
    Request(usize),
    Ended(usize, u32, Evidence<'static>),
    AtStore(usize, u32, u64, Box<Call>),
    AtNode(usize, u32, u64, Box<Reply>),
    GivenUp(usize, u32, u64),
    News(usize, u32, Box<Told>),
    Knock(usize, u32),
    Fault(Fault),
}

impl Event {
    /// The node that does it.
    fn node(&self) -> Option<usize> {
        match self {
            Self::Poll(at, _)
            | Self::Request(at)
            | Self::Ended(at, ..)
            | Self::AtNode(at, ..)
            | Self::GivenUp(at, ..)
            | Self::News(at, ..)
            | Self::Knock(at, _) => Some(*at),
            Self::AtStore(..) | Self::Fault(_) => None,
        }
    }
}

/// What is seen of a run.
#[derive(Debug, Default, Clone)]
pub(super) struct Report {
    pub(super) violations: Vec<String>,
    /// Decisions of the store: when, and what.
    pub(super) decisions: Vec<(Time, u64, Phase)>,
    /// From each decision to open until all refused.
    pub(super) spread: Vec<Time>,
    pub(super) attempts: u64,
    pub(super) probes: u64,
    pub(super) refused: u64,
    pub(super) calls: u64,
    /// By node: when it began to do what.
    pub(super) kinds: Vec<(Time, String, Kind, bool)>,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) rng: fastrand::Rng,
    pub(super) now: Time,
    pub(super) serial: u64,
    pub(super) queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    pub(super) events: HashMap<usize, Event>,
    pub(super) nodes: Vec<Node>,
    pub(super) store: BreakerLedger,
    pub(super) copies: Vec<(Time, BreakerLedger)>,
    pub(super) run: u32,
    /// What its clock is ahead of true time.
    pub(super) ahead: Time,
    pub(super) frozen: bool,
    pub(super) down: bool,
    pub(super) backlog: Vec<Event>,
    pub(super) push: bool,
    pub(super) failing: bool,
    /// What was decided by each epoch; probes that began in it.
    pub(super) decided: HashMap<u64, (Phase, String)>,
    pub(super) probes: HashMap<u64, u32>,
    /// When leases end, by their epoch.
    pub(super) leases: HashMap<u64, Time>,
    pub(super) opened: Option<Time>,
    /// The store lost something, or nodes were by themselves: evidence may be told again then.
    pub(super) lossy: bool,
    pub(super) report: Report,
}

impl World {
    pub(super) fn new(plan: Plan, seed: u64) -> Self {
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            now: S,
            serial: 0,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            nodes: Vec::new(),
            store: BreakerLedger::default(),
            copies: Vec::new(),
            run: 1,
            ahead: 1_700_000_000 * S,
            frozen: false,
            down: false,
            backlog: Vec::new(),
            push: plan.push,
            failing: false,
            decided: HashMap::new(),
            probes: HashMap::new(),
            leases: HashMap::new(),
            opened: None,
            lossy: false,
            report: Report::default(),
            plan,
        };
        for at in 0..world.plan.nodes {
            let node = world.node(at);
            world.nodes.push(node);
            world.schedule(at);
            let first = world.now + world.rng.u64(0..=world.plan.every[at]);
            world.at(first, Event::Request(at));
        }
        for (time, fault) in world.plan.faults.clone() {
            world.at(S + time, Event::Fault(fault));
        }
        world
    }

    fn node(&mut self, at: usize) -> Node {
        let (name, boot) = (format!("n{at}"), self.rng.u32(..));
        let mut desk = Desk::new(Caller {
            name: name.clone(),
            boot,
        });
        let woken = Arc::new(Flag(AtomicBool::new(false)));
        let offset = self.rng.u64(0..1_000_000) * 1_000_000;
        let cell = desk.cell(
            Moment(offset),
            &key(),
            &self.plan.rule,
            &Waker::from(Arc::clone(&woken)),
        );
        desk.set_live(u32::try_from(self.plan.nodes).unwrap());
        desk.set_reached(true);
        Node {
            name,
            boot,
            offset,
            ppm: self.rng.i64(-450..=450),
            desk,
            cell,
            woken,
            alive: true,
            paused: None,
            call: 0,
            poll: 0,
            lost: 0,
            reached: true,
            cut: false,
            epoch: 0,
            ended: Vec::new(),
        }
    }

    fn moment(&self, at: usize) -> Moment {
        let node = &self.nodes[at];
        let nanos = i128::from(self.now) * 1000 * (1_000_000 + i128::from(node.ppm)) / 1_000_000;
        Moment(node.offset + u64::try_from(nanos).unwrap())
    }

    /// The store's clock, which has nothing to do with true time but its pace.
    pub(super) fn store_time(&self) -> Time {
        self.ahead + self.now
    }

    fn at(&mut self, time: Time, event: Event) {
        self.serial += 1;
        let id = usize::try_from(self.serial).unwrap();
        self.queue.push(Reverse((time, self.serial, id)));
        self.events.insert(id, event);
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, length: Time) {
        let end = self.now + length;
        while let Some(Reverse((time, _, id))) = self.queue.peek().copied() {
            if time > end {
                break;
            }
            self.queue.pop();
            self.now = time;
            if let Some(event) = self.events.remove(&id) {
                self.happen(event);
            }
            self.wake();
            self.check();
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        if let Some(at) = event.node()
            && let Some(waiting) = &mut self.nodes[at].paused
        {
            waiting.push(event);
            return;
        }
        match event {
            Event::Poll(at, number) if self.nodes[at].alive && self.nodes[at].poll == number => self.poll(at),
            Event::Request(at) => self.request(at),
            Event::Ended(at, boot, evidence) if self.lives(at, boot) => {
                if evidence.probe.is_none() && evidence.verdict != Verdict::Nothing {
                    self.nodes[at].ended.push(self.now);
                }
                self.nodes[at].cell.record(self.moment(at), evidence);
            }
            Event::AtStore(..) if self.frozen => self.backlog.push(event),
            Event::AtStore(at, boot, number, call) if !self.down => self.serve(at, boot, number, &call),
            Event::AtNode(at, boot, number, reply) if self.lives(at, boot) && self.nodes[at].call == number => {
                let moment = self.moment(at);
                let node = &mut self.nodes[at];
                node.call += 1;
                node.lost = 0;
                let step = node.desk.reply(moment, &reply);
                self.did(at, step);
            }
            Event::GivenUp(at, boot, number) if self.lives(at, boot) && self.nodes[at].call == number => {
                let moment = self.moment(at);
                let node = &mut self.nodes[at];
                node.call += 1;
                node.lost += 1;
                node.desk.lost(moment);
                if node.lost == 3 {
                    node.reached = false;
                    node.desk.set_reached(false);
                    self.lossy = true;
                    self.at(self.now + 100 * MS, Event::Knock(at, boot));
                }
                self.schedule(at);
            }
            Event::News(at, boot, told) if self.lives(at, boot) && self.push => {
                let moment = self.moment(at);
                let step = self.nodes[at].desk.news(moment, &told);
                self.did(at, step);
            }
            Event::Knock(at, boot) if self.lives(at, boot) => {
                if self.down || self.frozen {
                    self.at(self.now + 200 * MS, Event::Knock(at, boot));
                } else {
                    self.nodes[at].lost = 0;
                    self.nodes[at].reached = true;
                    self.nodes[at].desk.set_reached(true);
                    self.schedule(at);
                }
            }
            Event::Fault(fault) => self.fault(fault),
            _ => {}
        }
    }

    fn lives(&self, at: usize, boot: u32) -> bool {
        self.nodes[at].alive && self.nodes[at].boot == boot
    }

    /// Whoever was woken polls at once.
    fn wake(&mut self) {
        for at in 0..self.nodes.len() {
            let awake = self.nodes[at].alive && self.nodes[at].paused.is_none();
            if awake && self.nodes[at].woken.0.swap(false, Ordering::Relaxed) {
                self.poll(at);
            }
        }
    }

    fn poll(&mut self, at: usize) {
        let (moment, chance) = (self.moment(at), self.rng.u32(..));
        let step = self.nodes[at].desk.poll(moment, chance);
        self.did(at, step);
    }

    /// Effects of a step of a node.
    fn did(&mut self, at: usize, step: Step) {
        let boot = self.nodes[at].boot;
        if let Some(call) = step.call {
            self.report.calls += 1;
            let number = self.nodes[at].call;
            self.at(self.now + GIVEN_UP, Event::GivenUp(at, boot, number));
            if self.rng.f64() >= self.plan.loss {
                let way = self.way();
                self.at(self.now + way, Event::AtStore(at, boot, number, Box::new(call)));
            }
        }
        for change in step.changes {
            self.report
                .kinds
                .push((self.now, self.nodes[at].name.clone(), change.to, change.shared));
        }
        for key in step.checks {
            let well = !(self.failing || self.nodes[at].cut);
            self.nodes[at].desk.opinion(&key, well);
        }
        self.schedule(at);
    }

    fn schedule(&mut self, at: usize) {
        let ahead = self.nodes[at].desk.next().since(self.moment(at));
        self.serial += 1;
        self.nodes[at].poll = self.serial;
        let number = self.serial;
        self.at(
            self.now + u64::try_from(ahead.as_micros()).unwrap().min(100 * MS) + 1,
            Event::Poll(at, number),
        );
    }

    fn way(&mut self) -> Time {
        match self.rng.u8(0..100) {
            0 => self.rng.u64(MS..6 * MS),
            _ => self.rng.u64(100..300),
        }
    }

    fn serve(&mut self, at: usize, boot: u32, number: u64, call: &Call) {
        let time = StoreTime(self.store_time());
        let (reply, published) = self.store.serve(time, &self.run.to_string(), call);
        if let Some(kept) = self.store.breakers.get(&Hex::key(key().id()))
            && kept.phase == Phase::HalfOpen
        {
            self.leases
                .insert(kept.epoch, kept.until - (self.store_time() - self.now));
        }
        if !self.lossy {
            self.check_evidence();
        }
        // What went over the wire is what is heard.
        let reply = Reply::decode(&rmp_serde::to_vec(&reply).unwrap()).unwrap();
        for told in published {
            self.decided(&told);
            for to in 0..self.nodes.len() {
                if self.rng.f64() >= self.plan.push_loss {
                    let (way, boot) = (self.way(), self.nodes[to].boot);
                    self.at(self.now + way, Event::News(to, boot, Box::new(told.clone())));
                }
            }
        }
        if self.rng.f64() >= self.plan.loss {
            let way = self.way();
            self.at(self.now + way, Event::AtNode(at, boot, number, Box::new(reply)));
        }
        if self.now.is_multiple_of(7) {
            self.copies.push((self.now, self.store.clone()));
            if self.copies.len() > 64 {
                self.copies.remove(0);
            }
        }
    }

    fn request(&mut self, at: usize) {
        let every = self.plan.every[at];
        let next = self.now + self.rng.u64(every / 2..=every * 3 / 2).max(1);
        self.at(next, Event::Request(at));
        if !self.nodes[at].alive {
            return;
        }
        let moment = self.moment(at);
        let probe = match self.nodes[at].cell.admit(moment) {
            Admission::Refuse(_) => {
                self.report.refused += 1;
                return;
            }
            Admission::Pass => None,
            Admission::Probe(number) => {
                self.probe(at);
                Some(number)
            }
        };
        self.report.attempts += 1;
        let failed = self.failing || self.nodes[at].cut;
        let gone = self.rng.f64() < self.plan.gone;
        let takes = if failed && self.plan.hang {
            self.plan.rule.probe_timeout.as_micros() as u64
        } else {
            self.rng.u64(MS..20 * MS)
        };
        let evidence = Evidence {
            verdict: match (gone, failed) {
                (true, _) => Verdict::Nothing,
                (false, true) => Verdict::Failure,
                (false, false) => Verdict::Success,
            },
            slow: false,
            admitted: moment,
            probe,
            request_id: "",
        };
        // Some never tell how they ended.
        if self.rng.f64() >= self.plan.silent {
            let boot = self.nodes[at].boot;
            self.at(self.now + takes, Event::Ended(at, boot, evidence));
        }
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Fails(failing) => self.failing = failing,
            Fault::Cut(at, cut) => self.nodes[at].cut = cut,
            Fault::Freeze => {
                self.frozen = true;
                self.lossy = true;
            }
            Fault::Thaw => {
                self.frozen = false;
                // Redis executes what is in its buffers, in an order that is nobody's.
                let mut backlog = std::mem::take(&mut self.backlog);
                self.rng.shuffle(&mut backlog);
                for event in backlog {
                    self.happen(event);
                }
            }
            Fault::Down => self.down = true,
            Fault::Up => self.down = false,
            Fault::Empty => {
                self.lossy = true;
                self.run += 1;
                self.store = BreakerLedger::default();
            }
            Fault::Failover(lag) => {
                self.lossy = true;
                self.run += 1;
                self.ahead = self.ahead + self.rng.u64(0..400 * MS) - 200 * MS;
                let before = self.now.saturating_sub(lag);
                let copy = self.copies.iter().rev().find(|(time, _)| *time <= before);
                self.store = copy.map(|(_, copy)| copy.clone()).unwrap_or_default();
            }
            Fault::Pause(at) => {
                self.lossy = true;
                self.nodes[at].paused.get_or_insert_default();
            }
            Fault::Resume(at) => {
                if let Some(mut waiting) = self.nodes[at].paused.take() {
                    // Requests first: whatever the node knows is as old as its pause.
                    waiting.sort_by_key(|event| !matches!(event, Event::Request(_)));
                    for event in waiting {
                        self.happen(event);
                    }
                }
            }
            Fault::Crash(at) => self.nodes[at].alive = false,
            Fault::Start(at) => {
                let (ended, cut) = (std::mem::take(&mut self.nodes[at].ended), self.nodes[at].cut);
                self.nodes[at] = self.node(at);
                self.nodes[at].ended = ended;
                self.nodes[at].cut = cut;
                self.schedule(at);
            }
            Fault::Force(open) => {
                for at in 0..self.nodes.len() {
                    let moment = self.moment(at);
                    let change = self.nodes[at].desk.force(moment, &key(), open);
                    self.report
                        .kinds
                        .extend(change.map(|change| (self.now, self.nodes[at].name.clone(), change.to, change.shared)));
                    self.schedule(at);
                }
            }
        }
    }

    /// A node dies, for good.
    pub(super) fn kill(&mut self, at: usize) {
        self.fault(Fault::Crash(at));
    }

    pub(super) fn fail(&mut self, failing: bool) {
        self.fault(Fault::Fails(failing));
    }

    /// From now on each node has a request each so long.
    pub(super) fn slow_down(&mut self, every: Time) {
        self.plan.every.fill(every);
    }

    /// Trips that were not lived down.
    pub(super) fn trips(&self) -> u32 {
        self.store.breakers[&Hex::key(key().id())].trips
    }

    /// What all live nodes do.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        self.live().map(|node| node.desk.glance().0).collect()
    }

    /// Whether all live nodes do what the cluster decided.
    pub(super) fn all_shared(&self) -> bool {
        self.live().all(|node| node.desk.glance().2)
    }

    fn live(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.alive)
    }
}

/// The one breaker of the world.
pub(super) fn key() -> BreakerKey {
    BreakerKey {
        upstream: "orders".into(),
        route: None,
    }
}
