//! How much every window from now on is charged with, and when there is room again.

use super::{Count, Measures, Node, SLOTS, signed, sum};
use crate::ledger::sliding::Numbers;
use std::time::Duration;

/// The load of the windows that end now and in the slots after.
pub(super) struct Load {
    /// The present slot.
    present: u64,
    /// U(z) for z = present, present + 1, …
    of: Vec<i64>,
    /// L − max of U(z') for z' ≥ z.
    pub(super) free: Vec<i64>,
}

// === impl Count ===

impl Count {
    /// The load from the present slot to that one, or to the last from which something that is out may be spent.
    pub(super) fn load(&self, present: u64, to: u64, limit: u64) -> Load {
        let last = self
            .nodes
            .iter()
            .flat_map(Node::pieces)
            .fold(to, |last, &(slot, _)| last.max(slot));
        let mut of = vec![0i64; usize::try_from(last - present + 1).expect("leases reach half a window ahead")];
        for &(slot, tokens) in self.nodes.iter().flat_map(Node::pieces) {
            of[(slot.max(present) - present) as usize] += signed(tokens);
        }
        let reserved: u64 = self.nodes.iter().filter_map(|node| node.reserve).sum();
        let mut load = signed(sum(&self.spent)) + signed(reserved);
        let mut fading = self.spent.iter().peekable();
        for (slot, at) in (present..).zip(&mut of) {
            while let Some(&&(_, tokens)) = fading.peek().filter(|(spent, _)| spent + SLOTS < slot) {
                load -= signed(tokens);
                fading.next();
            }
            load += *at;
            *at = load;
        }
        let mut free = of.clone();
        let mut greatest = i64::MIN;
        for free in free.iter_mut().rev() {
            greatest = greatest.max(*free);
            *free = signed(limit) - greatest;
        }
        Load { present, of, free }
    }

    /// In how long the next tokens are free, beyond what was granted; in microseconds.
    pub(super) fn next(&self, load: &Load, granted: i64, unit: u64, now: u64, measures: &Measures) -> Option<u64> {
        let unit = signed(unit);
        let start = |slot: u64| (slot * measures.slot).saturating_sub(now);
        if let Some(slots) = load.free.iter().position(|free| free - granted >= unit) {
            return Some(if slots == 0 {
                0
            } else {
                start(load.present + slots as u64)
            });
        }
        // Beyond the horizon spends only fall out of the window.
        let last = load.present + load.of.len() as u64 - 1;
        let mut free = load.free[load.free.len() - 1];
        for &(slot, tokens) in self.spent.iter().filter(|(slot, _)| slot + SLOTS >= last) {
            free += signed(tokens);
            if free - granted >= unit {
                return Some(start(slot + SLOTS + 1));
            }
        }
        None
    }

    /// What is spent and out of the window that ends now, and set aside.
    #[must_use]
    pub fn load_now(&self, window: Duration, now: u64) -> u64 {
        let present = now / Measures::of(Numbers::micros(window)).slot;
        let spent: u64 = self
            .spent
            .iter()
            .filter(|(slot, _)| slot + SLOTS >= present)
            .map(|(_, tokens)| tokens)
            .sum();
        spent
            + self
                .nodes
                .iter()
                .map(|node| node.out() + node.reserve.unwrap_or(0))
                .sum::<u64>()
    }

    /// The greatest load of any window that ends now or later.
    #[must_use]
    pub fn greatest_load(&self, window: Duration, now: u64) -> i64 {
        let present = now / Measures::of(Numbers::micros(window)).slot;
        let load = self.load(present, present, 0);
        load.of.iter().copied().max().unwrap_or(0)
    }
}

// === impl Load ===

impl Load {
    /// So many more in every window.
    pub(super) fn charge(&mut self, tokens: u64) {
        let tokens = signed(tokens);
        self.of.iter_mut().for_each(|load| *load += tokens);
        self.free.iter_mut().for_each(|free| *free -= tokens);
    }

    /// Moves what waits out of politeness to the earliest slot where it costs nobody anything: up to the greatest load
    /// of any later window.
    pub(super) fn pull_forward(&self, cumulative: &mut [i64]) {
        let Some(&total) = cumulative.last() else {
            return;
        };
        let (mut greatest, mut low) = (0, total);
        for (slot, load) in self.of.iter().enumerate().rev() {
            greatest = greatest.max(load + cumulative.get(slot).copied().unwrap_or(total));
            low = low.min(greatest - load);
            if let Some(sum) = cumulative.get_mut(slot) {
                *sum = low.max(*sum);
            }
        }
    }
}
