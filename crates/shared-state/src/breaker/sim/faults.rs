//! What is done to the cluster.

use super::world::{MS, S, Time};
use crate::breaker::{BreakerRule, Failures};
use std::sync::Arc;
use std::time::Duration;

/// What happens at some time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// The service fails, or does not any more.
    Fails(bool),
    /// A node does not reach the service, or does again.
    Cut(usize, bool),
    /// The store does nothing; later it does all at once.
    Freeze,
    Thaw,
    /// The store is not there.
    Down,
    Up,
    /// The store is another one, without memory.
    Empty,
    /// The store is a copy of what it was so long ago.
    Failover(Time),
    /// A node dies, and starts again.
    Crash(usize),
    Start(usize),
    /// A node does nothing; later its first deed is a request.
    Pause(usize),
    Resume(usize),
    /// Somebody's word to all nodes.
    Force(Option<bool>),
}

/// A scenario.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    /// A request each so long, by node.
    pub(super) every: Vec<Time>,
    pub(super) rule: Arc<BreakerRule>,
    /// Share of calls that are lost, of replies, of messages.
    pub(super) loss: f64,
    pub(super) push: bool,
    pub(super) push_loss: f64,
    /// Share of clients that leave; of attempts that never tell how they ended; whether failures take the whole
    /// time-out.
    pub(super) gone: f64,
    pub(super) silent: f64,
    pub(super) hang: bool,
    pub(super) faults: Vec<(Time, Fault)>,
}

/// A breaker of short times.
pub(super) fn rule() -> BreakerRule {
    BreakerRule {
        failure_rate: Some(0.5),
        slow_rate: None,
        slow_after: None,
        consecutive: None,
        failures: Failures::default(),
        window: Duration::from_secs(5),
        min_requests: 20,
        open_for: Duration::from_secs(2),
        max_open_for: Duration::from_secs(20),
        probes: 1,
        observers: 2,
        probe_timeout: Duration::from_secs(1),
        version: 1,
    }
}

impl Plan {
    /// So many nodes with a request every 10 ms each; nothing goes wrong.
    pub(super) fn calm(nodes: usize) -> Self {
        Self {
            nodes,
            every: vec![10 * MS; nodes],
            rule: Arc::new(rule()),
            loss: 0.0,
            push: true,
            push_loss: 0.0,
            gone: 0.0,
            silent: 0.0,
            hang: false,
            faults: Vec::new(),
        }
    }

    pub(super) fn with(mut self, at: Time, fault: Fault) -> Self {
        self.faults.push((at, fault));
        self
    }

    pub(super) fn ruled(mut self, change: impl FnOnce(&mut BreakerRule)) -> Self {
        let mut rule = BreakerRule::clone(&self.rule);
        change(&mut rule);
        self.rule = Arc::new(rule);
        self
    }

    /// Anything at any time within the first ten seconds, and all is mended after them.
    pub(super) fn random(rng: &mut fastrand::Rng) -> Self {
        let nodes = rng.usize(2..=5);
        let mut plan = Self::calm(nodes).ruled(|rule| {
            rule.probes = rng.u32(1..=3);
            rule.observers = rng.u32(1..=3);
            rule.min_requests = rng.u32(1..=30);
            rule.consecutive = rng.bool().then(|| rng.u32(1..=8));
        });
        plan.every = (0..nodes).map(|_| rng.u64(2 * MS..200 * MS)).collect();
        plan.loss = if rng.bool() { 0.0 } else { rng.f64() * 0.1 };
        plan.push = rng.u8(0..4) > 0;
        plan.push_loss = if rng.bool() { 0.0 } else { rng.f64() };
        plan.gone = if rng.bool() { 0.0 } else { rng.f64() * 0.3 };
        plan.silent = if rng.bool() { 0.0 } else { rng.f64() * 0.1 };
        plan.hang = rng.bool();
        for _ in 0..rng.usize(1..=5) {
            let (at, node) = (rng.u64(0..9 * S), rng.usize(0..nodes));
            let length = rng.u64(10 * MS..3 * S);
            let (fault, mended) = match rng.u8(0..11) {
                0..3 => (Fault::Fails(true), Fault::Fails(false)),
                3 => (Fault::Cut(node, true), Fault::Cut(node, false)),
                4 => (Fault::Freeze, Fault::Thaw),
                5 => (Fault::Down, Fault::Up),
                6 => (Fault::Empty, Fault::Up),
                7 => (Fault::Failover(rng.u64(0..2 * S)), Fault::Up),
                8 => (Fault::Pause(node), Fault::Resume(node)),
                9 => (Fault::Force(Some(rng.bool())), Fault::Force(None)),
                _ => (Fault::Crash(node), Fault::Start(node)),
            };
            plan.faults.push((at, fault));
            plan.faults.push((at + length, mended));
        }
        for fault in [Fault::Fails(false), Fault::Thaw, Fault::Up, Fault::Force(None)] {
            plan.faults.push((12 * S, fault));
        }
        for node in 0..nodes {
            plan.faults.push((12 * S, Fault::Cut(node, false)));
            plan.faults.push((12 * S, Fault::Resume(node)));
        }
        plan
    }
}
