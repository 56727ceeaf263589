//! What other nodes ask of this one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{AppendEntriesResponse, SnapshotResponse};
use sluice_peer::{Identity, codec};

use super::{Consensus, Inner};
use crate::raft::types::{Snapshot, Vote};
use crate::raft::{Incoming, Request, Response};
use crate::state::State;

// === impl Consensus ===

impl Consensus {
    /// Answers a call of [`Service::RAFT`](sluice_peer::Service::RAFT).
    ///
    /// # Errors
    /// A refusal, for the other node's log.
    pub async fn handle_call(&self, from: Arc<Identity>, body: Bytes) -> Result<Vec<u8>, String> {
        let request: Request = codec::decode(&body).map_err(|e| e.to_string())?;
        let response = self.inner.answer(&from, request).await?;
        codec::encode(&response).map_err(|e| e.to_string())
    }
}

// === impl Inner ===

impl Inner {
    async fn answer(&self, from: &Identity, request: Request) -> Result<Response, String> {
        let text = |e: &dyn std::error::Error| e.to_string();
        Ok(match request {
            Request::Append(append) => {
                is_of(&append.vote, from)?;
                let news = !append.entries.is_empty();
                let response = self.raft.append_entries(append).await.map_err(|e| text(&e))?;
                if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                    self.heard_leader();
                    // A heartbeat may have been under way when the removal was told.
                    if news {
                        self.is_member_again();
                    }
                }
                Response::Append(response)
            }
            Request::Vote(vote) => {
                is_of(&vote.vote, from)?;
                Response::Vote(self.raft.vote(vote).await.map_err(|e| text(&e))?)
            }
            Request::PreVote(vote) => {
                is_of(&vote.vote, from)?;
                Response::Vote(self.raft.pre_vote(vote).await.map_err(|e| text(&e))?)
            }
            Request::Transfer(transfer) => {
                is_of(transfer.from_leader(), from)?;
                Response::Transfer(self.raft.handle_transfer_leader(transfer).await.map_err(|e| text(&e))?)
            }
            Request::SnapshotBegin { vote, image } => {
                is_of(&vote, from)?;
                let known = self.raft.metrics().borrow_watched().vote;
                if vote < known {
                    // Not worth the bytes: it leads no more.
                    Response::SnapshotInstalled(SnapshotResponse::new(known))
                } else {
                    tracing::info!(from = from.name, bytes = image.length, "a Raft snapshot is coming");
                    Response::SnapshotAt(self.incoming().begin(image).map_err(|e| text(&e))?)
                }
            }
            Request::SnapshotChunk { image, offset, bytes } => {
                let have = self.incoming().chunk(image, offset, &bytes);
                Response::SnapshotAt(have.map_err(|e| text(&e))?)
            }
            Request::SnapshotEnd { vote, meta, image } => {
                is_of(&vote, from)?;
                let bytes = self.incoming().end(image).map_err(|e| text(&e))?;
                let limits = self.limits;
                let decoded = tokio::task::spawn_blocking(move || State::from_image(&bytes, limits)).await;
                let state = decoded.map_err(|e| text(&e))?.map_err(|e| text(&e))?;
                if meta.last_log_id.is_some_and(|l| l.index != state.head.applied) {
                    return Err("the Raft snapshot is not of the entry that it claims".to_owned());
                }
                let snapshot = Snapshot { meta, snapshot: state };
                let installed = self.raft.install_full_snapshot(vote, snapshot).await;
                Response::SnapshotInstalled(installed.map_err(|e| text(&e))?)
            }
            Request::ReadIndex => Response::ReadIndex(self.read_index_here(self.timings.read).await),
            Request::Removed => {
                if self.view.borrow().member(from.id).is_none() {
                    return Err("only a member can say so".to_owned());
                }
                tracing::warn!(by = from.name, "this node was removed from the cluster");
                self.removed.store(true, Ordering::Release);
                self.raft.runtime_config().elect(false);
                self.look();
                Response::Noted
            }
        })
    }

    /// Somebody who leads sends entries: a removal is past.
    fn is_member_again(&self) {
        if self.removed.swap(false, Ordering::AcqRel) {
            self.raft.runtime_config().elect(true);
            self.look();
        }
    }

    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        // A panic while bytes were added leaves a transfer that its checksum refuses.
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody speaks for another node.
fn is_of(vote: &Vote, from: &Identity) -> Result<(), String> {
    if vote.leader_id.node_id == from.id.0 {
        return Ok(());
    }
    Err(format!("{} speaks for another node", from.name))
}
