//! The log in memory: readers never touch the disk.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use openraft::EntryPayload;

use crate::raft::types::{LogEntry, LogId, Vote};

/// All entries that are not dropped yet, and the vote.
#[derive(Debug, Default)]
pub(crate) struct Mirror(RwLock<Log>);

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Without holes, the first after `purged`.
    entries: VecDeque<LogEntry>,
    bytes: u64,
    pub(crate) purged: Option<LogId>,
    pub(crate) vote: Option<Vote>,
}

// === impl Mirror ===

impl Mirror {
    pub(crate) fn new(log: Log) -> Self {
        Self(RwLock::new(log))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Log> {
        // Nothing under the lock is left half done by a panic.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Log ===

impl Log {
    /// `None` if the entries are not those after `purged`, one after the other.
    pub(crate) fn load(purged: Option<LogId>, vote: Option<Vote>, entries: Vec<LogEntry>) -> Option<Self> {
        let mut log = Self {
            purged,
            vote,
            ..Self::default()
        };
        let begins_at = purged.map_or(0, |p| p.index + 1);
        let begins = entries.first().is_none_or(|e| e.log_id.index == begins_at);
        (begins && log.append(&entries)).then_some(log)
    }

    /// Adds entries at the end; `false`, and nothing, if they do not follow on what there is. An
    /// empty log begins wherever it is told to.
    pub(crate) fn append(&mut self, entries: &[LogEntry]) -> bool {
        let begin = entries.first().map_or(0, |e| e.log_id.index);
        let next = self.last().map_or(begin, |last| last.index + 1);
        let in_order = entries.iter().zip(next..).all(|(e, index)| e.log_id.index == index);
        if in_order {
            self.bytes += entries.iter().map(bytes).sum::<u64>();
            self.entries.extend(entries.iter().cloned());
        }
        in_order
    }

    pub(crate) fn truncate(&mut self, last: Option<u64>) {
        while let Some(gone) = self
            .entries
            .pop_back_if(|e| last.is_none_or(|last| e.log_id.index > last))
        {
            self.bytes -= bytes(&gone);
        }
    }

    pub(crate) fn purge(&mut self, upto: LogId) {
        while let Some(gone) = self.entries.pop_front_if(|e| e.log_id.index <= upto.index) {
            self.bytes -= bytes(&gone);
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// The last entry's id, or of the last dropped.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.back().map(|e| e.log_id).or(self.purged)
    }

    pub(crate) fn entries(&self, range: impl RangeBounds<u64>) -> impl Iterator<Item = &LogEntry> {
        let first = self.entries.front().map_or(0, |e| e.log_id.index);
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let entries = self.entries.iter().skip(skip);
        entries.take_while(move |e| match range.end_bound() {
            Bound::Included(last) => e.log_id.index <= *last,
            Bound::Excluded(end) => e.log_id.index < *end,
            Bound::Unbounded => true,
        })
    }

    /// What the entries take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What an entry takes, near enough.
pub(crate) fn bytes(entry: &LogEntry) -> u64 {
    let payload = match &entry.payload {
        EntryPayload::Normal(record) => record.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    (payload + 64) as u64
}
