//! openraft's state machine, on the state and the store.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};

use super::log::failed;
use super::types::{LogId, Membership, Snapshot, SnapshotMeta, Types};
use crate::command::Applied;
use crate::state::{Effect, State};
use crate::store::{Op, Published, RaftStart, Writer};

/// Applies entries: to a state of its own, then to the disk, then to the state that readers see.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    applied: Option<LogId>,
    membership: Membership,
    writer: Writer,
    published: Arc<Published>,
    current: Current,
}

/// A moment of the state, to be sent to those who lag.
#[derive(Debug)]
pub(crate) struct Builder {
    meta: SnapshotMeta,
    state: State,
    current: Current,
}

/// The newest Raft snapshot. It lives in memory: what it is made of is on disk.
type Current = Arc<Mutex<Option<(SnapshotMeta, State)>>>;

/// How many entries are applied in one write.
const BATCH: usize = 64;

// === impl Machine ===

impl Machine {
    pub(crate) fn new(start: &RaftStart) -> Self {
        Self {
            state: start.state.clone(),
            applied: start.applied,
            membership: start.membership.clone(),
            writer: start.writer.clone(),
            published: Arc::clone(&start.published),
            current: Current::default(),
        }
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }

    async fn apply_batch(&mut self, batch: Vec<EntryResponder<Types>>) -> io::Result<()> {
        let mut effects: Vec<Effect> = Vec::new();
        let mut answers = Vec::new();
        let mut membership = None;
        for (entry, responder) in batch {
            let index = entry.log_id.index;
            let answer: Option<Applied> = match &entry.payload {
                EntryPayload::Normal(record) => {
                    // A record of a newer binary ends Raft here rather than being guessed at.
                    let envelope = record.envelope(&self.state).map_err(io::Error::other)?;
                    let (applied, changed) = self.state.apply(index, &envelope);
                    effects.extend(changed);
                    Some(applied)
                }
                EntryPayload::Blank => {
                    effects.push(self.state.skip(index));
                    None
                }
                EntryPayload::Membership(members) => {
                    effects.push(self.state.skip(index));
                    self.membership = Membership::new(Some(entry.log_id), members.clone());
                    membership = Some(self.membership.clone());
                    None
                }
            };
            self.applied = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, answer)));
        }
        let Some(applied) = self.applied else { return Ok(()) };
        let op = Op::Apply {
            effects: effects.clone(),
            applied,
            membership,
        };
        self.writer.write(op).await.map_err(failed)?;
        self.published.absorb(&effects);
        for (responder, answer) in answers {
            responder.send(answer);
        }
        Ok(())
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = State;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let batch: io::Result<Vec<_>> = batch.into_iter().collect();
            self.apply_batch(batch?).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            meta: self.meta(),
            state: self.state.clone(),
            current: Arc::clone(&self.current),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, state: State) -> io::Result<()> {
        self.writer
            .write(Op::Replace {
                state: state.clone(),
                applied: meta.last_log_id,
                membership: meta.last_membership.clone(),
            })
            .await
            .map_err(failed)?;
        self.state = state.clone();
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *lock(&self.current) = Some((meta.clone(), state.clone()));
        self.published.replace(state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(lock(&self.current).clone().map(snapshot))
    }
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = State;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let built = (self.meta.clone(), self.state.clone());
        let mut current = lock(&self.current);
        // One that was installed meanwhile may be newer.
        let newer = current
            .as_ref()
            .is_some_and(|(meta, _)| meta.last_log_id > built.0.last_log_id);
        if !newer {
            *current = Some(built.clone());
        }
        Ok(snapshot(built))
    }
}

fn snapshot((meta, snapshot): (SnapshotMeta, State)) -> Snapshot {
    Snapshot { meta, snapshot }
}

fn lock(current: &Current) -> MutexGuard<'_, Option<(SnapshotMeta, State)>> {
    // It is replaced whole.
    current.lock().unwrap_or_else(PoisonError::into_inner)
}
