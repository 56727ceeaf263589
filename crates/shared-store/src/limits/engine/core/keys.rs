//! Which keys there are: new ones, those with other numbers, and those that are forgotten.

use super::Core;
use crate::backend::{CALL, Partition};
use crate::limits::Source;
use crate::limits::engine::{AskedPart, Settled};
use sluice_shared_state::limit::{KeyNode, Refusal};
use sluice_shared_state::{KeyId, Moment, OnFailure, Rule};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Core {
    /// Where the key of a part stands, new or not. Where too many are new, what is said instead.
    pub(super) fn place(&mut self, now: Moment, part: &AskedPart) -> Result<u32, Settled> {
        if let Some(place) = self.table.find(part.key) {
            self.numbers(now, place, &part.rule);
            return Ok(place);
        }
        let overflow = self.common.overflow(&part.rule);
        if part.key == overflow {
            return Ok(self.meet(now, part.key, &part.rule));
        }
        let room = match self.budget.take(now) {
            Ok(()) => self.room(now),
            Err(until) => {
                self.common.shed_until(until);
                false
            }
        };
        if room {
            return Ok(self.meet(now, part.key, &part.rule));
        }
        self.common.book.shed.fetch_add(1, Ordering::Relaxed);
        match part.rule.on_failure {
            OnFailure::Local => Ok(match self.table.find(overflow) {
                Some(place) => place,
                None => self.meet(now, overflow, &part.rule),
            }),
            OnFailure::Open => Err(Settled::Open),
            OnFailure::Closed => Err(Settled::Refused(Refusal::NoStore, Source::Local)),
        }
    }

    /// Whether there is room for one more, if need be in place of another.
    fn room(&mut self, now: Moment) -> bool {
        if self.table.is_full()
            && let Some(place) = self.table.spare(now)
        {
            self.evict(now, place);
        }
        !self.table.is_full()
    }

    fn meet(&mut self, now: Moment, key: KeyId, rule: &Arc<Rule>) -> u32 {
        self.lives += 1;
        let node = KeyNode::new(key, Arc::clone(rule), now).of_life(self.lives);
        self.common.cells.insert(key, Arc::clone(node.cell()));
        // There is at least one partition.
        let partition = Partition::of(key, self.partitions.len() as u16);
        self.table.insert(node, partition)
    }

    pub(super) fn numbers(&mut self, now: Moment, place: u32, rule: &Arc<Rule>) {
        if let Some(entry) = self.table.get(place)
            && rule.version > entry.node.rule().version
        {
            entry.node.set_rule(now, Arc::clone(rule));
            self.mark(place);
        }
    }

    /// Forgets a key; what it holds goes back, and whoever waits at it is judged by what is known.
    pub(super) fn evict(&mut self, now: Moment, place: u32) {
        let Some(entry) = self.table.get(place) else { return };
        let view = self.node.view(&self.partitions[usize::from(entry.partition.0)]);
        let (request, partition) = (entry.node.leave(now, &view), entry.partition);
        entry.waiting.append(&mut entry.delayed);
        if let Some(request) = request {
            self.gathering.add(partition, None, request);
        }
        self.serve(now, place, 0, true);
        // Nobody will see to those any more who would rather have waited on.
        let by = self.by(place);
        let delayed = self.table.get(place).map(|entry| std::mem::take(&mut entry.delayed));
        for waiter in delayed.into_iter().flatten() {
            let settled = Settled::Refused(Refusal::Spent(CALL), by);
            self.requests.settle(waiter.request, waiter.part, settled);
        }
        if let Some(entry) = self.table.remove(place) {
            self.common.cells.remove(entry.node.key());
            // Workers may have it still.
            entry.node.cell().forget();
        }
    }
}
