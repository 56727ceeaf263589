//! What must hold, whatever happens; and what was measured.

use super::node::{Node, key_id};
use super::{Fault, GIVEN_UP, Scenario, True};
use crate::ledger::sliding::SLOTS;
use crate::ledger::{Call, Ledger, Request, epoch};
use crate::time::StoreTime;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What was seen of a run.
pub(super) struct Checks {
    limit: u64,
    window: True,
    cost: u64,
    /// What is promised.
    bound: u64,
    /// Overdrafts of a node.
    overdraft: u64,
    fast: bool,
    cut: bool,
    admitted: BTreeMap<u32, Vec<True>>,
    by_node: Vec<u64>,
    offered: Vec<(True, u32)>,
    waits: Vec<True>,
    overdrawn: BTreeMap<(usize, u32), VecDeque<True>>,
    /// Tokens of overdrafts in all: what books cannot know.
    over: u64,
    flights: BTreeMap<(usize, u32), (True, u64)>,
    calls: u64,
    beats: u64,
    epoch: u64,
    /// Until when, in the store's microseconds, books count what a node told that came back after the store had learnt.
    latecomer: u64,
    length: True,
    broken: BTreeMap<&'static str, (u64, String)>,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Most admitted within a window.
    pub(super) most: u64,
    pub(super) bound: u64,
    pub(super) limit: u64,
    /// Admitted, as a part of what one ideal limiter admits.
    pub(super) used: f64,
    /// Calls for each admitted request.
    pub(super) calls: f64,
    /// Nanoseconds.
    pub(super) p99: True,
    pub(super) longest: True,
    pub(super) waited: f64,
    pub(super) beats: f64,
    pub(super) by_node: Vec<u64>,
    /// What did not hold: how often, and the first time.
    pub(super) broken: BTreeMap<&'static str, (u64, String)>,
}

impl Checks {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let (limit, nodes) = (u64::from(scenario.limit), scenario.nodes as u64);
        let overdraft = (limit / 20 / nodes).max(1);
        let mut bound = limit;
        if scenario.fast {
            // A process that starts again does not know what its dead self overdrew.
            let crashes = scenario.faults.iter().filter(|fault| **fault == Fault::Crash).count() as u64;
            bound += (nodes + crashes) * overdraft;
        }
        let cut = scenario.faults.contains(&Fault::Cut);
        if cut {
            // The node that is cut off goes on with its share.
            bound += limit.div_ceil(nodes);
        }
        Self {
            limit,
            window: scenario.window.as_nanos() as True,
            cost: u64::from(scenario.cost),
            bound,
            overdraft,
            fast: scenario.fast,
            cut,
            admitted: BTreeMap::new(),
            by_node: vec![0; scenario.nodes],
            offered: Vec::new(),
            waits: Vec::new(),
            overdrawn: BTreeMap::new(),
            over: 0,
            flights: BTreeMap::new(),
            calls: 0,
            beats: 0,
            epoch: 0,
            latecomer: 0,
            length: scenario.length,
            broken: BTreeMap::new(),
        }
    }

    fn fails(&mut self, what: &'static str, how: impl FnOnce() -> String) {
        let entry = self.broken.entry(what).or_insert_with(|| (0, how()));
        entry.0 += 1;
    }

    /// A node goes on alone while others have the store, and its checks are lost, too: its share comes on top, as that of one
    /// that is cut off does.
    pub(super) fn apart(&mut self) {
        if !self.cut {
            self.cut = true;
            self.bound += self.limit.div_ceil(self.by_node.len() as u64);
        }
    }

    pub(super) fn offered(&mut self, at: True, key: u32) {
        self.offered.push((at, key));
    }

    pub(super) fn admitted(&mut self, at: True, node: &Node, key: u32, waited: True, beyond: bool) {
        self.admitted.entry(key).or_default().push(at);
        self.by_node[node.index] += 1;
        self.waited(waited);
        if beyond {
            self.over += self.cost;
            let window = self.window + self.window / SLOTS;
            let all = self.overdrawn.entry((node.index, key)).or_default();
            while all.front().is_some_and(|first| first + window <= at) {
                all.pop_front();
            }
            all.push_back(at);
            let overdrawn = all.len() as u64 * self.cost;
            if overdrawn > self.overdraft {
                self.fails("F1 overdraft", || format!("{overdrawn} overdrawn at {at}"));
            }
        }
    }

    pub(super) fn refused(&mut self, waited: True) {
        self.waited(waited);
    }

    fn waited(&mut self, waited: True) {
        self.waits.push(waited);
        // The time limit, and for who asked a second time the first half of it.
        if waited > GIVEN_UP + GIVEN_UP / 2 || (self.fast && waited > 0) {
            self.fails("L12 no wait", || format!("{waited} ns"));
        }
    }

    pub(super) fn called(&mut self, node: usize, key: Option<u32>, at: True, call: u64) {
        let Some(key) = key else {
            self.beats += 1;
            return;
        };
        self.calls += 1;
        if let Some((since, other)) = self.flights.insert((node, key), (at, call)) {
            self.fails("L13 single flight", || {
                format!("call {call} at {at} while {other} is under way since {since}")
            });
        }
    }

    /// A call has ended. Tells since when it was under way, if it was not given up before.
    pub(super) fn landed(&mut self, node: usize, key: Option<u32>, call: u64) -> Option<True> {
        let flight = (node, key?);
        let (since, _) = self.flights.get(&flight).filter(|(_, other)| *other == call)?;
        let since = *since;
        self.flights.remove(&flight);
        Some(since)
    }

    /// The store told a node that there was room for all that it had told by then.
    pub(super) fn covered(&mut self, node: usize, key: u32, told: True) {
        if let Some(overdrawn) = self.overdrawn.get_mut(&(node, key)) {
            overdrawn.retain(|at| *at > told);
        }
    }

    pub(super) fn crashed(&mut self, node: usize) {
        self.overdrawn.retain(|(of, _), _| *of != node);
    }

    pub(super) fn lost_state(&mut self, epoch: u64) {
        self.epoch = epoch + 1;
    }

    /// After the store served a call of node `from`.
    pub(super) fn served(
        &mut self,
        (at, now): (True, StoreTime),
        store: &Ledger,
        requests: &[Request],
        nodes: &[Node],
    ) {
        let number = store.epoch();
        if number < self.epoch {
            let before = self.epoch;
            self.fails("E1 epoch", || format!("{number} after {before}"));
        }
        self.epoch = number;
        for request in requests {
            if let Call::Sliding(call) = &request.call
                && let Some(declared) = &call.declare
            {
                // What it did meanwhile is charged whatever there is.
                let window = Duration::from_nanos(self.window);
                let late = store.born().is_none_or(|born| now >= born + epoch::learn(window));
                if late {
                    self.latecomer = (now + epoch::life(window) + window + window / 50).0;
                }
                let spent: u64 = declared.spent.iter().map(|(_, tokens)| tokens).sum();
                if declared.reserve < spent + declared.held {
                    self.fails("L9 reserve", || format!("{declared:?}"));
                }
            }
            let key = u32::from_le_bytes([request.key.0[0], request.key.0[1], request.key.0[2], request.key.0[3]]);
            self.books((at, now), key, store, nodes);
        }
    }

    /// What the store's books say, held against the truth.
    fn books(&mut self, (at, now): (True, StoreTime), key: u32, store: &Ledger, nodes: &[Node]) {
        let epoch = store.epoch();
        let window = Duration::from_nanos(self.window);
        let Some(count) = store.sliding(key_id(key)) else {
            return;
        };
        for node in nodes.iter().filter(|node| node.up) {
            let Some(known) = node.keys.get(&key) else { continue };
            let state = known.machine.sliding(node.moment(at));
            if !state.leased || state.epoch != epoch || state.held == 0 {
                continue;
            }
            let entry = count.nodes().iter().find(|entry| entry.from == node.from());
            let (out, heard) = entry.map_or((0, 0), |entry| (entry.out(), entry.heard()));
            let owed = state.held + known.machine.unheard(heard);
            if owed > out {
                let index = node.index;
                self.fails("L7b holdings", || {
                    format!("node {index} has {owed} of {out} that are out, at {at}")
                });
            }
        }
        // Beyond here a window must have passed since the store learnt: reserves count spends and what is held twice.
        let settled = store
            .born()
            .is_none_or(|born| now.0 > (born + epoch::learn(window) + window + window / 50).0);
        if !settled || now.0 <= self.latecomer {
            return;
        }
        let greatest = count.greatest_load(window, now.0);
        let (limit, over) = (self.limit as i64, self.over as i64);
        // What was overdrawn is charged whatever there is.
        if greatest > limit + if self.fast { over } else { 0 } && !self.cut {
            self.fails("L2 books", || format!("{greatest} at {at}, {over} overdrawn"));
        }
        // What a node does by itself is not told before it comes back.
        let alone = nodes
            .iter()
            .filter(|node| node.up)
            .filter_map(|node| Some(node.keys.get(&key)?.machine.sliding(node.moment(at))))
            .any(|state| !state.leased);
        if self.fast || self.cut || alone {
            return;
        }
        // Charged late: of what was spent since any moment, all is recorded since then or still out.
        let slot = (self.window / 1000).div_ceil(SLOTS);
        let out: u64 = count.nodes().iter().map(super::super::ledger::sliding::Node::out).sum();
        for back in [1, 10, 50, 90] {
            let from = (now.0 / slot).saturating_sub(back);
            let recorded: u64 = count.spent().iter().filter(|(s, _)| *s >= from).map(|(_, t)| t).sum();
            let since = at.saturating_sub((now.0 - from * slot) * 1000);
            let truly = self
                .admitted
                .get(&key)
                .map_or(0, |all| all.len() - all.partition_point(|when| *when < since));
            let truly = truly as u64 * self.cost;
            if truly > recorded + out {
                self.fails("L3 charge late", || {
                    format!("{truly} spent in the last {back} slots, {recorded} recorded, {out} out, at {at}")
                });
            }
        }
    }

    /// What nodes live on while the store learns.
    pub(super) fn levels(&mut self, at: True, key: u32, nodes: &[Node]) {
        let levels: Option<Vec<u64>> = nodes
            .iter()
            .filter(|node| node.up)
            .map(|node| node.keys.get(&key)?.machine.sliding(node.moment(at)).level)
            .collect();
        if let Some(levels) = levels {
            let (sum, limit) = (levels.iter().sum::<u64>(), self.limit);
            if sum > limit + self.over && !self.cut {
                self.fails("L8 level", || format!("{levels:?} of {limit} at {at}"));
            }
        }
    }

    /// What a node keeps of a key.
    pub(super) fn bounded(&mut self, node: &Node, key: u32, at: True) {
        let Some(known) = node.keys.get(&key) else { return };
        let kept = known.machine.sliding(node.moment(at)).kept;
        if kept > 2500 {
            self.fails("L14 bounded", || format!("{kept} entries at {at}"));
        }
    }

    pub(super) fn measure(mut self) -> Measured {
        let mut most = 0;
        for times in self.admitted.values_mut() {
            times.sort_unstable();
            let mut first = 0;
            for (index, time) in times.iter().enumerate() {
                while times[first] + self.window <= *time {
                    first += 1;
                }
                most = most.max((index - first + 1) as u64 * self.cost);
            }
        }
        if most > self.bound {
            let bound = self.bound;
            self.fails("L1 window", || format!("{most} of {bound}"));
        }
        let mut ideal = 0u64;
        let mut logs: BTreeMap<u32, VecDeque<True>> = BTreeMap::new();
        for (at, key) in &self.offered {
            let log = logs.entry(*key).or_default();
            while log.front().is_some_and(|first| first + self.window <= *at) {
                log.pop_front();
            }
            if (log.len() as u64 + 1) * self.cost <= self.limit {
                log.push_back(*at);
                ideal += 1;
            }
        }
        let admitted = self.admitted.values().map(Vec::len).sum::<usize>() as f64;
        self.waits.sort_unstable();
        let count = self.waits.len();
        Measured {
            most,
            bound: self.bound,
            limit: self.limit,
            used: admitted / ideal.max(1) as f64,
            calls: self.calls as f64 / admitted.max(1.0),
            p99: self.waits.get(count * 99 / 100).copied().unwrap_or(0),
            longest: self.waits.last().copied().unwrap_or(0),
            waited: self.waits.iter().filter(|wait| **wait > 0).count() as f64 / count.max(1) as f64,
            beats: self.beats as f64 / (self.length as f64 / 1e9),
            by_node: self.by_node,
            broken: self.broken,
        }
    }
}
