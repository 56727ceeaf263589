//! What all upstreams of one worker share.

use crate::connection::http1::Live;
use crate::group::Group;
use crate::health::Health;
use crate::meters::Meters;
use crate::resolve::Resolver;
use crate::target::Target;
use sluice_shared_store::SharedStore;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often kept connections are looked through, while there are any.
const SWEEP: Duration = Duration::from_secs(1);

/// What a worker hands down.
#[derive(Debug, Clone)]
pub struct WorkerContext {
    /// Where this worker's cells are entered; one for all workers of a node.
    pub meters: Meters,
    /// One for all workers of a node.
    pub resolver: Resolver,
    /// What all workers of a node know of the targets.
    pub health: Health,
    /// Where the node's breakers are, and its clock.
    pub shared: SharedStore,
    /// What holds for every connection to a target.
    pub limits: sluice_transport::Limits,
    /// Seed of this worker's chance: different on each worker, fixed in tests.
    pub seed: u64,
}

pub(crate) struct Worker {
    pub(crate) context: WorkerContext,
    pub(crate) groups: RefCell<HashMap<Arc<str>, Rc<Group>, foldhash::fast::FixedState>>,
    chance: RefCell<fastrand::Rng>,
    sweeping: Cell<bool>,
}

/// One request's place at a target: counts as load until dropped.
pub(crate) struct Lease {
    pub(crate) worker: Rc<Worker>,
    pub(crate) target: Rc<Target>,
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(context: WorkerContext) -> Rc<Self> {
        let chance = RefCell::new(fastrand::Rng::with_seed(context.seed));
        Rc::new(Self {
            context,
            groups: RefCell::default(),
            chance,
            sweeping: Cell::new(false),
        })
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn chance(&self, bound: u32) -> u32 {
        self.chance.borrow_mut().u32(..bound)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn chance_wide(&self, bound: u64) -> u64 {
        self.chance.borrow_mut().u64(..bound)
    }

    /// Below 1.
    pub(crate) fn chance_share(&self) -> f32 {
        self.chance.borrow_mut().f32()
    }

    /// Sees to it that kept connections are looked through from now on.
    pub(crate) fn sweep_soon(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }
}

/// One task for all pools of a worker, which ends when nothing is kept.
async fn sweep(worker: Weak<Worker>) {
    loop {
        sleep(SWEEP).await;
        let Some(worker) = worker.upgrade() else { return };
        let now = Instant::now();
        let mut kept = false;
        // Connections that are closed here drop what may look at the groups: never while borrowed.
        let groups: Vec<_> = worker.groups.borrow().values().cloned().collect();
        for group in groups {
            for target in &group.targets {
                kept |= target.sweep(now);
            }
        }
        if !kept {
            worker.sweeping.set(false);
            return;
        }
    }
}

// === impl Lease ===

impl Lease {
    pub(crate) fn new(worker: &Rc<Worker>, target: &Rc<Target>) -> Self {
        target.busy.set(target.busy.get() + 1);
        Self {
            worker: Rc::clone(worker),
            target: Rc::clone(target),
        }
    }

    /// Ends it; the connection is kept where the pool wants it.
    pub(crate) fn give_back(self, live: Box<Live>, now: Instant) {
        let chance = self.worker.chance_share();
        if self.target.pool.put(live, now, chance) {
            self.worker.sweep_soon();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.target.busy.set(self.target.busy.get() - 1);
    }
}
