//! Counts of upstreams: each worker writes its own cells, a scrape sums them.

use crate::attempts::Replaced;
use crate::retry::{Retried, Skipped};
use sluice_telemetry::cells::{Count, Durations, DurationsSum, Level};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How many statuses of one upstream have a histogram of their own; further ones share the last,
/// so that a target that invents statuses cannot fill the memory.
const STATUSES: usize = 32;

/// The cells of all workers of a node. Clones share. Locked at a reconcile and a scrape, never for
/// a request.
#[derive(Clone, Debug, Default)]
pub struct Meters(Arc<Mutex<BTreeMap<Arc<str>, OfWorkers>>>);

/// One upstream's cells, one for each worker that knows it.
type OfWorkers = Vec<Arc<Cells>>;

/// What one upstream counted on all workers together.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The upstream.
    pub upstream: Arc<str>,
    /// Connections that wait for a request.
    pub idle: i64,
    /// Connections with a request on them.
    pub active: i64,
    /// Connections that are being made.
    pub connecting: i64,
    /// Requests that were sent once more over another connection, by the label `why`.
    pub replaced: [(&'static str, u64); Replaced::ALL.len()],
    /// Requests that were tried again, by the label `why`.
    pub retries: [(&'static str, u64); Retried::ALL.len()],
    /// Requests that were not, though they failed in a way for which they would be, by the label `why`.
    pub skipped: [(&'static str, u64); Skipped::ALL.len()],
    /// Answers of 1xx that were dropped.
    pub interim: u64,
    /// Time of each attempt to the head of its answer by status, ascending; status 0 stands for those without
    /// an answer, [`Reading::OTHER`] for statuses beyond the first ones.
    pub durations: Vec<(u16, DurationsSum)>,
}

/// One worker's cells of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    idle: Level,
    active: Level,
    connecting: Level,
    replaced: [Count; Replaced::ALL.len()],
    retries: [Count; Retried::ALL.len()],
    skipped: [Count; Skipped::ALL.len()],
    pub(crate) interim: Count,
    durations: [OnceLock<Box<(u16, Durations)>>; STATUSES],
}

/// One worker's cells of one upstream, entered into the [`Meters`] for as long as anybody counts.
#[derive(Debug)]
pub(crate) struct Entry {
    name: Arc<str>,
    meters: Meters,
    cells: Arc<Cells>,
}

/// A connection as it stands in the gauges.
#[derive(Debug)]
pub(crate) struct Gauged {
    entry: Rc<Entry>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Active,
    Idle,
}

// === impl Meters ===

impl Meters {
    /// Sums up, one [`Reading`] for each upstream that a worker knows, by name.
    #[must_use]
    pub fn read(&self) -> Vec<Reading> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, cells)| Reading::sum(name, cells)).collect()
    }

    pub(crate) fn enter(&self, name: &Arc<str>) -> Rc<Entry> {
        let cells = Arc::new(Cells::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(Arc::clone(name)).or_default().push(Arc::clone(&cells));
        drop(all);
        Rc::new(Entry {
            name: Arc::clone(name),
            meters: self.clone(),
            cells,
        })
    }
}

// === impl Reading ===

impl Reading {
    /// Stands for statuses that got no histogram of their own.
    pub const OTHER: u16 = u16::MAX;

    fn sum(name: &Arc<str>, cells: &[Arc<Cells>]) -> Self {
        let mut reading = Self {
            upstream: Arc::clone(name),
            ..Self::default()
        };
        let mut durations = BTreeMap::<u16, DurationsSum>::new();
        for (label, why) in reading.replaced.iter_mut().zip(Replaced::ALL) {
            label.0 = why.as_str();
        }
        for (label, why) in reading.retries.iter_mut().zip(Retried::ALL) {
            label.0 = why.as_str();
        }
        for (label, why) in reading.skipped.iter_mut().zip(Skipped::ALL) {
            label.0 = why.as_str();
        }
        for cells in cells {
            reading.idle += cells.idle.get();
            reading.active += cells.active.get();
            reading.connecting += cells.connecting.get();
            reading.interim += cells.interim.get();
            for (label, count) in reading.replaced.iter_mut().zip(&cells.replaced) {
                label.1 += count.get();
            }
            for (label, count) in reading.retries.iter_mut().zip(&cells.retries) {
                label.1 += count.get();
            }
            for (label, count) in reading.skipped.iter_mut().zip(&cells.skipped) {
                label.1 += count.get();
            }
            for slot in cells.durations.iter().map_while(OnceLock::get) {
                slot.1.add_to(durations.entry(slot.0).or_default());
            }
        }
        reading.durations = durations.into_iter().collect();
        reading
    }
}

// === impl Entry ===

impl std::ops::Deref for Entry {
    type Target = Cells;

    fn deref(&self) -> &Cells {
        &self.cells
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut all = self.meters.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_workers) = all.get_mut(&self.name) {
            of_workers.retain(|other| !Arc::ptr_eq(other, &self.cells));
            if of_workers.is_empty() {
                all.remove(&self.name);
            }
        }
    }
}

// === impl Gauged ===

impl Gauged {
    pub(crate) fn new(entry: Rc<Entry>, state: State) -> Self {
        entry.level(state).add(1);
        Self { entry, state }
    }

    pub(crate) fn turn(&mut self, state: State) {
        self.entry.level(self.state).add(-1);
        self.state = state;
        self.entry.level(self.state).add(1);
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.entry.level(self.state).add(-1);
    }
}

// === impl Cells ===

impl Cells {
    fn level(&self, state: State) -> &Level {
        match state {
            State::Connecting => &self.connecting,
            State::Active => &self.active,
            State::Idle => &self.idle,
        }
    }

    pub(crate) fn replaced(&self, why: Replaced) {
        self.replaced[why as usize].add(1);
    }

    pub(crate) fn retried(&self, why: Retried) {
        self.retries[why as usize].add(1);
    }

    pub(crate) fn skipped(&self, why: Skipped) {
        self.skipped[why as usize].add(1);
    }

    /// `status` 0: no answer.
    pub(crate) fn observe(&self, status: u16, duration: Duration) {
        for (i, slot) in self.durations.iter().enumerate() {
            let last = i + 1 == STATUSES;
            let slot =
                slot.get_or_init(|| Box::new((if last { Reading::OTHER } else { status }, Durations::default())));
            if slot.0 == status || last {
                slot.1.observe(duration);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_and_leave_without_a_trace() {
        let meters = Meters::default();
        let name: Arc<str> = "orders".into();
        let (one, two) = (meters.enter(&name), meters.enter(&name));
        let mut kept = Gauged::new(Rc::clone(&one), State::Connecting);
        kept.turn(State::Idle);
        let other = Gauged::new(Rc::clone(&two), State::Idle);
        two.replaced(Replaced::Reset);
        one.observe(200, Duration::from_millis(1));
        two.observe(200, Duration::from_millis(1));
        two.observe(503, Duration::from_millis(1));
        let read = meters.read();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].idle, read[0].active, read[0].connecting), (2, 0, 0));
        assert_eq!(
            read[0].replaced,
            [
                ("unsent", 0),
                ("closed", 0),
                ("reset", 1),
                ("gone_away", 0),
                ("refused", 0)
            ]
        );
        assert_eq!(
            read[0].durations.iter().map(|d| (d.0, d.1.count())).collect::<Vec<_>>(),
            [(200, 2), (503, 1)]
        );
        drop((one, two, kept));
        assert_eq!(meters.read()[0].idle, 1);
        drop(other);
        assert!(meters.read().is_empty());
    }

    #[test]
    fn invented_statuses_share_one_histogram() {
        let cells = Cells::default();
        for status in 200..300 {
            cells.observe(status, Duration::ZERO);
        }
        let reading = Reading::sum(&"a".into(), &[Arc::new(cells)]);
        assert_eq!(reading.durations.len(), STATUSES);
        let other = &reading.durations[STATUSES - 1];
        assert_eq!((other.0, other.1.count()), (Reading::OTHER, 69));
    }
}
