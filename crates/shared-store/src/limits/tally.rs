//! What was decided: counted by those who decide, each in cells of its own, and read by scrapes and people.

use super::sketch::Sketch;
use super::{Outcome, Source};
use sluice_shared_state::{Rule, RuleId};
use sluice_telemetry::cells::{Count, Durations};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// After so many minutes without a decision a limit that the configuration no longer has is forgotten.
const QUIET: u32 = 60;

/// Decisions by one limit, counted by one thread.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: [[Count; Source::ALL.len()]; Outcome::ALL.len()],
    /// The limit was forgotten: what is counted here is not read any more.
    gone: AtomicBool,
}

/// What one thread counts: a worker, or the engine.
#[derive(Debug, Default)]
pub(super) struct Counts {
    tallies: Mutex<HashMap<RuleId, Arc<Tally>>>,
    /// How long requests waited for a decision that was not known at once.
    pub(super) waits: Durations,
    /// Keys that were refused. The lock is this thread's own, but for people who look.
    refused: Mutex<Sketch>,
}

/// The limits of a node, and all that was decided by them.
#[derive(Debug, Default)]
pub(super) struct Book {
    rules: Mutex<HashMap<RuleId, Entry>>,
    counters: Mutex<Vec<Arc<Counts>>>,
    /// Keys whose first call was not made, for there were too many new ones.
    pub(super) shed: AtomicU64,
}

/// A limit in the book.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) rule: Arc<Rule>,
    pub(super) declared: bool,
    /// Decisions when last looked, and for how many minutes they have been as many.
    decided: u64,
    quiet: u32,
}

// === impl Tally ===

impl Tally {
    pub(super) fn add(&self, outcome: Outcome, source: Source) {
        self.counts[outcome as usize][source as usize].add(1);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn add_to(&self, sums: &mut Sums) {
        for (to, from) in sums.iter_mut().flatten().zip(self.counts.iter().flatten()) {
            *to += from.get();
        }
    }
}

/// Decisions by outcome and source.
pub(super) type Sums = [[u64; Source::ALL.len()]; Outcome::ALL.len()];

// === impl Counts ===

impl Counts {
    pub(super) fn refused(&self) -> MutexGuard<'_, Sketch> {
        lock(&self.refused)
    }

    /// Where decisions by this limit are counted.
    pub(super) fn tally(&self, id: RuleId) -> Arc<Tally> {
        Arc::clone(lock(&self.tallies).entry(id).or_default())
    }
}

// === impl Book ===

impl Book {
    /// Cells for one more thread that counts. Those of a thread that ended are taken over, with what stands in them.
    pub(super) fn counts(&self) -> Arc<Counts> {
        let mut counters = lock(&self.counters);
        // The book's own is the only one.
        if let Some(free) = counters.iter().find(|counts| Arc::strong_count(counts) == 1) {
            return Arc::clone(free);
        }
        let counts = Arc::<Counts>::default();
        counters.push(Arc::clone(&counts));
        counts
    }

    pub(super) fn all(&self) -> Vec<Arc<Counts>> {
        lock(&self.counters).clone()
    }

    /// A limit is used. The newest numbers are kept.
    pub(super) fn meet(&self, rule: &Arc<Rule>) {
        let mut rules = lock(&self.rules);
        let entry = rules.entry(rule.id).or_insert_with(|| Entry::new(rule, false));
        if rule.version > entry.rule.version {
            entry.rule = Arc::clone(rule);
        }
        entry.quiet = 0;
    }

    /// These are the limits of the configuration in force.
    pub(super) fn declare(&self, declared: &[Arc<Rule>]) {
        let mut rules = lock(&self.rules);
        rules.values_mut().for_each(|entry| entry.declared = false);
        for rule in declared {
            let entry = rules.entry(rule.id).or_insert_with(|| Entry::new(rule, true));
            (entry.declared, entry.rule) = (true, Arc::clone(rule));
        }
    }

    pub(super) fn rules(&self) -> Vec<Entry> {
        lock(&self.rules).values().cloned().collect()
    }

    pub(super) fn sums(&self, id: RuleId) -> Sums {
        let mut sums = Sums::default();
        for counts in self.all() {
            if let Some(tally) = lock(&counts.tallies).get(&id) {
                tally.add_to(&mut sums);
            }
        }
        sums
    }

    /// Once a minute: what was refused fades, and limits that are neither declared nor used for an hour are forgotten.
    pub(super) fn minute(&self) {
        let all = self.all();
        all.iter().for_each(|counts| counts.refused().fade());
        let mut gone = Vec::new();
        for entry in self.rules() {
            let id = entry.rule.id;
            let decided = self.sums(id).iter().flatten().sum();
            let mut rules = lock(&self.rules);
            let Some(entry) = rules.get_mut(&id) else { continue };
            match entry.declared || entry.decided != decided {
                true => (entry.quiet, entry.decided) = (0, decided),
                false => entry.quiet += 1,
            }
            if entry.quiet >= QUIET {
                rules.remove(&id);
                gone.push(id);
            }
        }
        for counts in &all {
            let mut tallies = lock(&counts.tallies);
            for tally in gone.iter().filter_map(|id| tallies.remove(id)) {
                tally.gone.store(true, Ordering::Relaxed);
            }
        }
    }
}

// === impl Entry ===

impl Entry {
    fn new(rule: &Arc<Rule>, declared: bool) -> Self {
        Self {
            rule: Arc::clone(rule),
            declared,
            decided: 0,
            quiet: 0,
        }
    }
}

/// What a panic leaves in these tables is still a table.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fixtures::sliding;

    #[test]
    fn decisions_of_all_threads_are_summed_and_outlive_them() {
        let book = Book::default();
        let rule = Arc::new(sliding("orders", 10));
        book.meet(&rule);
        for _ in 0..3 {
            book.counts().tally(rule.id).add(Outcome::Admitted, Source::Lease);
        }
        assert_eq!(book.all().len(), 1, "cells of an ended thread are taken over");
        let (one, two) = (book.counts(), book.counts());
        one.tally(rule.id).add(Outcome::Spent, Source::Lease);
        two.tally(rule.id).add(Outcome::Spent, Source::Lease);
        let sums = book.sums(rule.id);
        assert_eq!(sums[Outcome::Admitted as usize][Source::Lease as usize], 3);
        assert_eq!(sums[Outcome::Spent as usize][Source::Lease as usize], 2);
    }

    #[test]
    fn a_limit_that_vanished_is_forgotten_when_nobody_uses_it() {
        let book = Book::default();
        let (kept, used, gone) = (sliding("kept", 1), sliding("used", 1), sliding("gone", 1));
        let [kept, used, gone] = [kept, used, gone].map(Arc::new);
        book.declare(&[Arc::clone(&kept), Arc::clone(&gone)]);
        book.declare(&[Arc::clone(&kept)]);
        book.meet(&used);
        let counts = book.counts();
        let (users, goner) = (counts.tally(used.id), counts.tally(gone.id));
        for _ in 0..=QUIET {
            users.add(Outcome::Admitted, Source::Lease);
            book.minute();
        }
        let mut left: Vec<_> = book.rules().iter().map(|entry| entry.rule.name.to_string()).collect();
        left.sort();
        assert_eq!(left, ["kept", "used"]);
        assert!(goner.is_gone() && !users.is_gone());
        assert!(!counts.tally(gone.id).is_gone(), "one that comes again is counted anew");
    }

    #[test]
    fn the_newest_numbers_are_kept() {
        let book = Book::default();
        let new = Arc::new(Rule {
            version: 7,
            ..sliding("orders", 20)
        });
        book.meet(&new);
        book.meet(&Arc::new(sliding("orders", 10)));
        assert_eq!(book.rules()[0].rule.version, 7);
    }
}
