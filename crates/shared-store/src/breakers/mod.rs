//! All breakers of a node: what workers, people and the configuration ask of them, and the task that talks to the store.
//!
//! ```text
//!   snapshot ─cell─▶ Table: Desk, words of people ◀─poll, reply, news── task ◀──▶ Backend
//!   workers ──wake──────────────────────────────────────────────────────▶│
//!                                     transitions, checks ◀──────────────┘
//! ```

mod collect;
mod task;
mod views;

#[cfg(test)]
mod tests;

pub use views::{BreakerView, Forced, Transition};

use crate::backend::Backend;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::Members;
use sluice_shared_state::breaker::{BreakerCell, Caller, Change, Desk, Kind};
use sluice_shared_state::{BreakerKey, BreakerRule};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::SystemTime;
use tokio::sync::{Notify, broadcast};

/// Changes of which a reader may be behind before it misses some.
const CHANGES: usize = 1024;

/// All breakers of a node, by whose they are. Clones are the same, and the task that decides ends with the last of them.
/// Asked when a snapshot is taken, and by people; not on a request.
#[derive(Debug, Clone)]
pub struct Breakers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    table: Mutex<Table>,
    wake: Arc<Woken>,
    transitions: broadcast::Sender<Transition>,
    checks: broadcast::Sender<BreakerKey>,
}

#[derive(Debug)]
struct Table {
    desk: Desk,
    /// Also of breakers that are not there yet.
    forced: HashMap<BreakerKey, Forced>,
    /// How often what became what.
    counts: HashMap<(Kind, Kind), u64>,
}

/// What wakes the task.
#[derive(Debug, Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

// === impl Breakers ===

impl Breakers {
    /// Without a task: nobody decides, all stay closed.
    fn new(node: &str, clock: Clock) -> Self {
        let desk = Desk::new(Caller {
            name: node.to_owned(),
            boot: fastrand::u32(..),
        });
        Self(Arc::new(Inner {
            clock,
            table: Mutex::new(Table {
                desk,
                forced: HashMap::new(),
                counts: HashMap::new(),
            }),
            wake: Arc::default(),
            transitions: broadcast::Sender::new(CHANGES),
            checks: broadcast::Sender::new(CHANGES),
        }))
    }

    /// Starts the task on the runtime that is entered.
    pub(crate) fn start(config: &Config, clock: Clock, backend: Arc<Backend>) -> Self {
        let breakers = Self::new(&config.node, clock);
        collect::register(&config.metrics, &breakers.0);
        let wake = Arc::clone(&breakers.0.wake);
        tokio::spawn(task::run(Arc::downgrade(&breakers.0), wake, clock, backend));
        breakers
    }

    /// The cell of a breaker: the same for all workers of the node. One whose rule changed keeps its state and goes on
    /// by the new numbers; of two callers the one with the later version is right. A breaker is forgotten when nobody
    /// holds its cell any more.
    #[must_use]
    pub fn cell(&self, key: &BreakerKey, rule: &Arc<BreakerRule>) -> Arc<BreakerCell> {
        let now = self.0.clock.now();
        let waker = Waker::from(Arc::clone(&self.0.wake));
        let mut table = self.0.table();
        let cell = table.desk.cell(now, key, rule, &waker);
        if let Some(open) = table.forced.get(key).map(|forced| forced.open) {
            let change = table.desk.force(now, key, Some(open));
            self.0.tell(&mut table, change);
        }
        cell
    }

    /// Opens or closes a breaker by hand, on this node, at once and until then; None: the evidence decides again. A
    /// breaker that is not there yet is forced when it comes.
    pub fn force(&self, key: &BreakerKey, forced: Option<Forced>) {
        let forced = forced.filter(|forced| forced.until > SystemTime::now());
        let mut table = self.0.table();
        let change = table
            .desk
            .force(self.0.clock.now(), key, forced.as_ref().map(|forced| forced.open));
        match forced {
            Some(forced) => table.forced.insert(key.clone(), forced),
            None => table.forced.remove(key),
        };
        self.0.tell(&mut table, change);
    }

    /// All of this node's breakers as people see them, sorted by whose they are. Costs a lock and a copy.
    #[must_use]
    pub fn views(&self) -> Vec<BreakerView> {
        let now = self.0.clock.now();
        let table = self.0.table();
        let seen = table.desk.seen().into_iter();
        seen.map(|seen| BreakerView {
            state: seen.kind,
            since: self.0.clock.wall(seen.since),
            epoch: seen.epoch,
            shared: seen.shared,
            cause: seen.cause,
            next_probe: seen.next_probe.map(|at| at.since(now)),
            by: seen.by,
            forced: table.forced.get(&seen.key).cloned(),
            own: seen.own,
            all: seen.all,
            refused: seen.refused,
            key: seen.key,
        })
        .collect()
    }

    /// Changes of this node's breakers from now on, in the order in which it acts on them.
    #[must_use]
    pub fn transitions(&self) -> broadcast::Receiver<Transition> {
        self.0.transitions.subscribe()
    }

    /// Breakers of which this node, which has no evidence of its own, should find out how the upstream is: by a check of
    /// its targets, told by [`Self::opinion`] within a second.
    #[must_use]
    pub fn checks(&self) -> broadcast::Receiver<BreakerKey> {
        self.0.checks.subscribe()
    }

    /// What a check that was asked for has found.
    pub fn opinion(&self, key: &BreakerKey, well: bool) {
        self.0.table().desk.opinion(key, well);
        self.0.wake.0.notify_one();
    }

    /// Who is there.
    pub(crate) fn members(&self, members: &Members) {
        // Who does not reach the store gives no evidence: it is not waited for.
        let live = members.live.len().saturating_sub(members.without_store);
        self.0.table().desk.set_live(u32::try_from(live).unwrap_or(u32::MAX));
    }
}

impl Default for Breakers {
    /// Without any, and with nobody who decides.
    fn default() -> Self {
        Self::new("", Clock::start())
    }
}

// === impl Inner ===

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Whoever panicked left a whole table: nothing that can fail stands between its changes.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what changed and tells those who listen.
    fn tell(&self, table: &mut Table, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            *table.counts.entry((change.from, change.to)).or_default() += 1;
            let (from, to) = (change.from.name(), change.to.name());
            let upstream = &*change.key.upstream;
            let route = views::route(&change.key);
            match (&change.cause, change.to) {
                (Some(cause), _) => tracing::warn!(
                    upstream, %route, from, to, by = cause.by.name(), node = %cause.node, shared = change.shared,
                    request_id = cause.request_id.as_deref().unwrap_or_default(), "a breaker opened"
                ),
                (None, Kind::Suspect) => {
                    tracing::warn!(upstream, %route, from, to, "too few nodes see an upstream fail to open its breaker");
                }
                (None, _) => tracing::info!(upstream, %route, from, to, shared = change.shared, "a breaker changed"),
            }
            // Nobody listens: nobody misses it.
            let _ = self.transitions.send(Transition {
                key: change.key,
                from: change.from,
                to: change.to,
                epoch: change.epoch,
                at: SystemTime::now(),
                shared: change.shared,
                cause: change.cause,
            });
        }
    }
}
