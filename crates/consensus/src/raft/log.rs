//! openraft's log and vote, on the store.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};

use super::types::{LogEntry, LogId, Types, Vote};
use crate::error::DiskError;
use crate::store::{Mirror, Op, Writer, bytes};

/// The log: read from memory, written to disk in the order in which openraft asks.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    mirror: Arc<Mirror>,
    writer: Writer,
}

/// The most bytes of entries that one append carries, unless a single entry is larger: openraft
/// counts entries, and a follower on a slow link must not be sent megabytes at once.
const APPEND: u64 = 1024 * 1024;

// === impl LogStore ===

impl LogStore {
    pub(crate) fn new(mirror: Arc<Mirror>, writer: Writer) -> Self {
        Self { mirror, writer }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<LogEntry>> {
        Ok(self.mirror.read().entries(range).cloned().collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        let log = self.mirror.read();
        let mut left = APPEND;
        let mut entries = Vec::new();
        for entry in log.entries(start..end) {
            if !entries.is_empty() && bytes(entry) > left {
                break;
            }
            left = left.saturating_sub(bytes(entry));
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.mirror.read().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let log = self.mirror.read();
        Ok(LogState {
            last_purged_log_id: log.purged,
            last_log_id: log.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.writer.write(Op::Vote(*vote)).await.map_err(failed)?;
        self.mirror.write().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        if !self.mirror.write().append(&entries) {
            return Err(io::Error::other("entries that do not follow on the log"));
        }
        let done = Box::new(|written: Result<(), DiskError>| callback.io_completed(written.map_err(failed)));
        self.writer.submit(Op::Append(entries), done);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let last = {
            let mut log = self.mirror.write();
            log.truncate(last.map(|l| l.index));
            log.last().map(|l| l.index)
        };
        self.writer.write(Op::Truncate { last }).await.map_err(failed)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let (upto, last) = {
            let mut log = self.mirror.write();
            log.purge(upto);
            let last = log.last().map_or(upto.index, |l| l.index);
            (log.purged.unwrap_or(upto), last)
        };
        self.writer.write(Op::Purge { upto, last }).await.map_err(failed)
    }
}

/// A disk's failure as openraft takes it: it then ends.
pub(crate) fn failed(error: DiskError) -> io::Error {
    io::Error::other(error)
}
