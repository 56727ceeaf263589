//! Kept connections of one worker to one target.

use crate::connection::http1::Live;
use crate::meters::State;
use crate::spec::PoolSpec;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::time::Instant;

/// A connection that rested at least this long is looked at by a system call before it is used:
/// that costs nothing where requests are rare, and busy connections rest for less.
const PROBE_AFTER: Duration = Duration::from_millis(5);

/// Last in, first out: the fewest connections carry the load, and the others age at the bottom.
#[derive(Default)]
pub(crate) struct Pool {
    #[allow(
        clippy::vec_box,
        reason = "a connection is large and moves for every request; its pointer is not"
    )]
    idle: RefCell<Vec<Box<Live>>>,
    /// The fewest that were idle at once since the last sweep: so many were of no use meanwhile.
    low: Cell<usize>,
    spec: Cell<PoolSpec>,
    closed: Cell<bool>,
}

// === impl Pool ===

impl Pool {
    /// `closed` keeps nothing.
    pub(crate) fn new(spec: PoolSpec, closed: bool) -> Self {
        Self {
            spec: Cell::new(spec),
            closed: Cell::new(closed),
            ..Self::default()
        }
    }

    /// New bounds, at once also for those that are kept.
    pub(crate) fn set(&self, spec: PoolSpec, now: Instant) {
        let before = self.spec.replace(spec);
        if before == spec {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let surplus = idle.len().saturating_sub(spec.max_idle);
        idle.drain(..surplus);
        for live in idle.iter_mut() {
            live.until = until(&spec, live, live.rested, 0.0);
        }
        idle.retain(|live| live.until > now);
        self.low.set(self.low.get().min(idle.len()));
    }

    /// Closes what is kept and keeps nothing more.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.idle.borrow_mut().clear();
        self.low.set(0);
    }

    /// A connection that is alive as far as can be told. `probe` asks the kernel in any case.
    pub(crate) fn take(&self, now: Instant, probe: bool) -> Option<Box<Live>> {
        loop {
            let mut live = {
                let mut idle = self.idle.borrow_mut();
                let live = idle.pop()?;
                self.low.set(self.low.get().min(idle.len()));
                live
            };
            if live.until <= now {
                continue;
            }
            let rested = now.saturating_duration_since(live.rested);
            if live.revive(probe || rested >= PROBE_AFTER) {
                live.gauge.turn(State::Active);
                return Some(live);
            }
        }
    }

    /// Keeps a connection that is free, if it is to be kept; says whether. `chance` is below 1.
    pub(crate) fn put(&self, mut live: Box<Live>, now: Instant, chance: f32) -> bool {
        let spec = self.spec.get();
        if self.closed.get() || spec.max_idle == 0 {
            return false;
        }
        live.rested = now;
        live.until = until(&spec, &live, now, chance);
        if live.until <= now {
            return false;
        }
        live.rest();
        live.gauge.turn(State::Idle);
        self.idle.borrow_mut().push(live);
        true
    }

    /// Closes what is too old, what died, and what a burst left behind. Says whether any is kept.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            return false;
        }
        let surplus = idle.len().saturating_sub(self.spec.get().max_idle).min(self.low.get());
        idle.drain(..surplus);
        idle.retain_mut(|live| live.until > now && (!live.stirred() || live.revive(false)));
        self.low.set(idle.len());
        !idle.is_empty()
    }
}

/// When a connection that rests from `now` on is used no more. Both bounds are shortened by up to
/// a tenth by `chance`, so that connections of one moment do not all end at another.
fn until(spec: &PoolSpec, live: &Live, now: Instant, chance: f32) -> Instant {
    let by_chance = |bound: Duration| bound.saturating_sub(bound.min(AGES).mul_f32(chance / 10.0));
    let mut idle = by_chance(spec.idle);
    if let Some(told) = live.keep_alive {
        // The target counts from when it sent its answer, so ours must end before.
        idle = idle.min(told.saturating_sub((told / 2).min(Duration::from_secs(1))));
    }
    let far = now + AGES;
    let old = live.made.checked_add(by_chance(spec.max_age)).unwrap_or(far);
    now.checked_add(idle).unwrap_or(far).min(old)
}

/// As good as never, and safe to add to any moment.
const AGES: Duration = Duration::from_secs(365 * 24 * 3600);
