//! What holds at every moment.

use super::world::{MS, Node, S, Time, World, key};
use crate::breaker::Kind;
use crate::breaker::evidence::part;
use crate::breaker::wire::{Hex, Phase, Told};

/// A decision reaches every node within this.
const SPREAD: Time = 250 * MS;

impl World {
    /// B1: one decision has one number.
    pub(super) fn decided(&mut self, told: &Told) {
        let phase = match told.phase {
            Phase::Suspect => Phase::Closed,
            phase => phase,
        };
        let what = (phase, format!("{}{}", told.holder.name, told.holder.boot));
        match self.decided.get(&told.epoch) {
            // Closed and suspect are one decision, which is told again; each other one is told once.
            Some(known) if *known != what || phase != Phase::Closed => {
                self.violate(format!("B1 {:x} is {known:?} and {what:?}", told.epoch));
            }
            Some(_) => {}
            None => {
                self.decided.insert(told.epoch, what);
                self.report.decisions.push((self.now, told.epoch, phase));
                self.opened = (phase == Phase::Open).then_some(self.now);
            }
        }
    }

    /// B2: no more probes than configured in one half-open epoch, and none outside it.
    pub(super) fn probe(&mut self, at: usize) {
        self.report.probes += 1;
        let (_, epoch, shared) = self.nodes[at].desk.glance();
        if !shared {
            return;
        }
        let count = self.probes.entry(epoch).or_default();
        *count += 1;
        if *count > self.plan.rule.probes {
            let count = *count;
            self.violate(format!("B2 probe {count} in {:x}", epoch));
        }
        // The lease's end by the store's clock: whoever has the next one meets no probe of this.
        if self.leases.get(&epoch).is_some_and(|end| self.now >= *end) {
            self.violate(format!("B2 {} probes after its lease", self.nodes[at].name));
        }
    }

    pub(super) fn check(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            if !node.alive {
                continue;
            }
            let (before, (_, epoch, _)) = (node.epoch, node.desk.glance());
            self.nodes[at].epoch = epoch;
            if epoch < before {
                let name = self.nodes[at].name.clone();
                self.violate(format!("B1 {name} went from {before:x} back to {:x}", epoch));
            }
        }
        if let Some(opened) = self.opened {
            let passing: Vec<&Node> = self
                .nodes
                .iter()
                .filter(|node| {
                    node.alive && node.reached && matches!(node.desk.glance().0, Kind::Closed | Kind::Suspect)
                })
                .collect();
            if passing.is_empty() {
                self.report.spread.push(self.now - opened);
                self.opened = None;
            } else if self.now - opened > SPREAD && self.plan.loss == 0.0 && !self.lossy {
                let names: Vec<&str> = passing.iter().map(|node| node.name.as_str()).collect();
                self.violate(format!("B4 {names:?} still pass after {} ms", (self.now - opened) / MS));
                self.opened = None;
            }
        }
    }

    /// What the store counts of a node happened, once, and within the present epoch.
    pub(super) fn check_evidence(&mut self) {
        let Some(kept) = self.store.breakers.get(&Hex::key(key().id())) else {
            return;
        };
        let window_length = self.plan.rule.window.as_micros() as u64;
        let since = self
            .report
            .decisions
            .iter()
            .rev()
            .find(|(_, epoch, _)| *epoch == kept.epoch);
        let since = since
            .map_or(0, |(time, ..)| *time)
            .max(self.now.saturating_sub(window_length + 2 * S));
        let first = self.report.decisions.first().map(|(_, epoch, _)| *epoch);
        let since = if first == Some(kept.epoch) { 0 } else { since };
        for at in 0..self.nodes.len() {
            let name = &self.nodes[at].name;
            let counted: u32 = kept
                .nodes
                .iter()
                .filter(|node| node.from.name == *name)
                .map(|node| {
                    // What ran out is forgotten with the next call.
                    let mut window = node.window.clone();
                    window.forget(part(self.store_time(), window_length));
                    window.sum().calls
                })
                .sum();
            let happened = self.nodes[at]
                .ended
                .iter()
                .rev()
                .take_while(|time| **time >= since)
                .count();
            if counted as usize > happened {
                self.violate(format!("evidence of {name}: {counted} counted, {happened} happened"));
                return;
            }
        }
    }

    fn violate(&mut self, what: String) {
        if self.report.violations.len() < 10 {
            self.report.violations.push(format!("{} ms: {what}", self.now / MS));
        }
    }
}
