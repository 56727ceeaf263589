//! Raft as the rest of a node sees it.

mod calls;
mod follow;
mod members;
mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::error::{ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::{LinearizerOption, Raft, ReadPolicy};
use sluice_peer::NodeId;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::command::{Applied, Envelope, PartChange};
use crate::error::{DiskError, ProposeError, Pruned, ReadError, TooLate};
use crate::member::{Leader, RaftView, Role};
use crate::raft::types::Types;
use crate::raft::{Incoming, Machine, Network, ReadRefusal, Request, Response};
use crate::record::Record;
use crate::state::{Entry, Head, HistoryEntry, HistoryLimits, TrialRecord};
use crate::store::{Mirror, Published, Store, Writer};
use crate::timings::Timings;

/// A node's part in the agreement. Clones are the same.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    id: NodeId,
    limits: HistoryLimits,
    store: Store,
    writer: Writer,
    raft: Raft<Types, Machine>,
    network: Network,
    timings: Arc<Timings>,
    published: Arc<Published>,
    mirror: Arc<Mirror>,
    /// The Raft snapshot that is arriving.
    incoming: Mutex<Incoming>,
    leader_heard: Mutex<Option<std::time::Instant>>,
    /// Whether this node was told that it is no member any more.
    removed: AtomicBool,
    /// Held by whoever changes the membership here.
    changing: tokio::sync::Mutex<()>,
    view: watch::Sender<RaftView>,
    /// Follows what Raft does.
    follower: Mutex<Option<AbortHandle>>,
}

/// The most bytes of one entry of the log.
const MAX_ENTRY: usize = 64 * 1024 * 1024;

/// How long a read waits before it asks again.
const READ_AGAIN: Duration = Duration::from_millis(20);

// === impl Consensus ===

impl Consensus {
    /// Puts a command into the log; gives its answer, once it is applied (and on disk) here, and
    /// the index of its entry. On the leader alone.
    ///
    /// # Errors
    /// [`ProposeError::OutcomeUnknown`] is the only one after which it may have been carried out.
    pub async fn propose(&self, envelope: Envelope) -> Result<(Applied, u64), ProposeError> {
        let inner = &self.inner;
        if let Some(fault) = inner.writer.fault() {
            return Err(fault.into());
        }
        if inner.store.is_disk_full() {
            let why = "it is full: the reserve for this case was used".to_owned();
            return Err(DiskError { why }.into());
        }
        let state = inner.published.state();
        let record = Record::of(&envelope, &state).map_err(|_| ProposeError::TooLarge {
            bytes: usize::MAX,
            limit: MAX_ENTRY,
        })?;
        drop(state);
        if record.len() > MAX_ENTRY {
            return Err(ProposeError::TooLarge {
                bytes: record.len(),
                limit: MAX_ENTRY,
            });
        }
        if inner.look().role == Role::Stopped {
            return Err(ProposeError::Shutdown);
        }
        let Ok(written) = timeout(inner.timings.write, inner.raft.client_write(record)).await else {
            return Err(ProposeError::OutcomeUnknown);
        };
        match written {
            Ok(done) => match done.data {
                Some(applied) => Ok((applied, done.log_id.index)),
                None => Err(ProposeError::OutcomeUnknown),
            },
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => Err(match to.reason {
                ForwardReason::LeaseExpired => ProposeError::NoMajority,
                ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                    ProposeError::NotLeader { leader: leader_of(to) }
                }
            }),
            // It was in the log here; whether another leader keeps it is open.
            Err(RaftError::APIError(_) | RaftError::Fatal(_)) => Err(ProposeError::OutcomeUnknown),
        }
    }

    /// An index of the log such that whoever has applied it sees all that was acknowledged before
    /// this call: asked of the leader, who asks a majority. On any node. At most
    /// [`Timings::read`].
    ///
    /// # Errors
    /// Without a leader or a majority.
    pub async fn read_index(&self) -> Result<u64, ReadError> {
        let inner = &self.inner;
        let deadline = Instant::now() + inner.timings.read;
        let mut views = inner.view.subscribe();
        let mut last = ReadError::NoLeader;
        loop {
            let view = inner.look();
            views.mark_unchanged();
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = match view.leader() {
                _ if view.role == Role::Stopped => return Err(ReadError::Shutdown),
                _ if left.is_zero() => return Err(last),
                _ if view.is_leader() => timeout_at(deadline, inner.read_index_here(left)).await,
                Some(leader) => timeout_at(deadline, inner.read_index_of(leader, left)).await,
                None => Ok(Err(ReadRefusal::NotLeader)),
            };
            match answer {
                Ok(Ok(index)) => return Ok(index),
                Ok(Err(ReadRefusal::NoMajority)) | Err(_) => last = ReadError::NoMajority,
                Ok(Err(ReadRefusal::NotLeader)) => {}
            }
            // Whichever comes first: news of a leader, or another try.
            tokio::select! {
                _ = views.changed() => {}
                () = sleep(READ_AGAIN) => {}
            }
        }
    }

    /// Waits until this node has applied that entry.
    ///
    /// # Errors
    /// After `timeout`.
    pub async fn wait_applied(&self, index: u64, timeout: Duration) -> Result<(), TooLate> {
        let mut heads = self.watch();
        let applied = heads.wait_for(|head| head.applied >= index);
        match tokio::time::timeout(timeout, applied).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(TooLate { index }),
        }
    }

    /// Where the state stands here.
    #[must_use]
    pub fn head(&self) -> Head {
        self.inner.published.head()
    }

    /// Follows [`head`](Self::head): told after every batch of entries applied here.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Head> {
        self.inner.published.watch()
    }

    /// Looks at all parts of the newest version. Holds up nothing.
    pub fn with_parts<T>(&self, look: impl FnOnce(&BTreeMap<Arc<str>, Entry>) -> T) -> T {
        look(&self.inner.published.parts().1)
    }

    /// All parts of the newest version together with the head they belong to.
    #[must_use]
    pub fn parts(&self) -> (Head, Arc<BTreeMap<Arc<str>, Entry>>) {
        self.inner.published.parts()
    }

    /// All parts of an earlier version. Costs what was changed since, and a copy of the map.
    ///
    /// # Errors
    /// [`Pruned`] where the history does not reach so far, or not yet.
    pub fn parts_at(&self, version: u64) -> Result<BTreeMap<Arc<str>, Arc<str>>, Pruned> {
        self.inner.published.state().parts_at(version)
    }

    /// What turns version `from` into version `to`, either way round: each part once, in its order,
    /// unchanged ones left out. `None` where the history does not reach.
    #[must_use]
    pub fn delta(&self, from: u64, to: u64) -> Option<Vec<PartChange>> {
        self.inner.published.state().delta(from, to)
    }

    /// The versions before `before` (or all), newest first, at most `limit`.
    #[must_use]
    pub fn history(&self, before: Option<u64>, limit: usize) -> Vec<HistoryEntry> {
        self.inner.published.state().history(before, limit)
    }

    /// What is known of a version's trial; `None` where it had none, or is not kept.
    #[must_use]
    pub fn trial(&self, version: u64) -> Option<TrialRecord> {
        self.inner.published.state().trial(version)
    }

    /// Whether the node of this name may go back to that version, where it cannot serve the one that
    /// it should: not to one that was undone, nor to one on trial elsewhere.
    #[must_use]
    pub fn may_serve(&self, version: u64, name: &str) -> bool {
        self.inner.published.state().may_serve(version, name)
    }

    /// The text that an operator applied last.
    #[must_use]
    pub fn original(&self) -> Option<Arc<str>> {
        self.inner.published.state().original
    }

    /// All records of a collection.
    #[must_use]
    pub fn records(&self, collection: &str) -> BTreeMap<String, Vec<u8>> {
        let state = self.inner.published.state();
        state.records.get(collection).cloned().unwrap_or_default()
    }

    /// Raft as this node sees it now.
    #[must_use]
    pub fn raft(&self) -> RaftView {
        let heard = *self.inner.leader_heard.lock().unwrap_or_else(PoisonError::into_inner);
        RaftView {
            leader_heard: heard,
            ..self.inner.view.borrow().clone()
        }
    }

    /// Whether, as far as this node can know, a majority stands behind the leader now: heard within
    /// two of the longest election waits.
    #[must_use]
    pub fn has_majority(&self) -> bool {
        let within = self.inner.timings.election_max.saturating_mul(2);
        self.raft().has_majority(std::time::Instant::now(), within)
    }

    /// Follows [`raft`](Self::raft), save for the times at which others were heard.
    #[must_use]
    pub fn watch_raft(&self) -> watch::Receiver<RaftView> {
        self.inner.view.subscribe()
    }

    /// The data directory.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Ends Raft here; first hands the lead over if `hand_over` and this node leads. Then
    /// [`Store::close`]s the data directory. Reads go on afterwards. A second call returns at once.
    pub async fn shutdown(&self, hand_over: bool) {
        let inner = &self.inner;
        if hand_over && inner.look().is_leader() {
            match self.transfer(None).await {
                Ok(()) => {}
                Err(error) => tracing::info!(%error, "the lead was not handed over before the stop"),
            }
        }
        let _ = inner.raft.shutdown().await;
        inner.look();
        let follower = inner.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower {
            follower.abort();
            let store = inner.store.clone();
            let closed = tokio::task::spawn_blocking(move || store.close()).await;
            if let Ok(Err(error)) = closed {
                tracing::warn!(%error, "the stop could not be marked as clean");
            }
        }
    }
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus")
            .field("id", &self.inner.id)
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    fn keep(&self, follower: AbortHandle) {
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(follower);
    }

    /// A read index, of this node as the leader.
    async fn read_index_here(&self, wait: Duration) -> Result<u64, ReadRefusal> {
        let how = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(wait);
        match self.raft.get_read_linearizer(how).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(ReadRefusal::NoMajority),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) | RaftError::Fatal(_)) => {
                Err(ReadRefusal::NotLeader)
            }
        }
    }

    /// A read index, of another node that leads.
    async fn read_index_of(&self, leader: Leader, wait: Duration) -> Result<u64, ReadRefusal> {
        let way = self.network.way(leader.id, &leader.node);
        match way.ask(&Request::ReadIndex, wait).await {
            Ok(Response::ReadIndex(answer)) => answer,
            Ok(_) | Err(_) => Err(ReadRefusal::NoMajority),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let follower = self.follower.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = follower.take() {
            follower.abort();
        }
    }
}

fn leader_of(to: ForwardToLeader<Types>) -> Option<Box<Leader>> {
    Some(Box::new(Leader {
        id: NodeId(to.leader_id?),
        node: to.leader_node?,
    }))
}
