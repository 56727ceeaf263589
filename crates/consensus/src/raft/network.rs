//! openraft's way to the other nodes: calls over the link.
//!
//! Small messages go over the control connection, large appends and Raft snapshots over the bulk
//! one, so that no transfer delays a heartbeat. openraft's own deadline of an append is the
//! heartbeat's interval and advisory; a large entry would never get through under it. So what is
//! large may take as long as it moves.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend};
use sluice_peer::{CallError, Lane, Link, NodeId, Patience, Peer, Service, codec};

use super::message::{ImageId, Request, Response};
use super::types::{Snapshot, Types, Vote};
use crate::member::Node;
use crate::state::State;
use crate::timings::Timings;

/// Makes a way to each node.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    link: Link,
    timings: Arc<Timings>,
}

/// The way to one node.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    network: Network,
    to: Peer,
}

/// Above this size a message goes over the bulk connection.
const SMALL: usize = 64 * 1024;

/// The size of a snapshot's pieces.
const PIECE: usize = 256 * 1024;

// === impl Network ===

impl Network {
    pub(crate) fn new(link: Link, timings: Arc<Timings>) -> Self {
        Self { link, timings }
    }

    pub(crate) fn way(&self, id: NodeId, node: &Node) -> Way {
        Way {
            network: self.clone(),
            to: node.peer(id),
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, node: &Node) -> Way {
        self.way(NodeId(target), node)
    }
}

// === impl Way ===

impl Way {
    /// Asks; `patience` counts for small messages, large ones may take as long as they move.
    pub(crate) async fn ask(&self, request: &Request, patience: Duration) -> Result<Response, CallError> {
        let refused = |e: codec::CodecError| CallError::Refused(e.to_string());
        let body = codec::encode(request).map_err(refused)?;
        let (lane, patience) = if body.len() <= SMALL {
            (Lane::Control, Patience::Total(patience))
        } else {
            (Lane::Bulk, Patience::Progress(self.network.timings.progress))
        };
        let answer = self
            .network
            .link
            .call(&self.to, lane, Service::RAFT, body, patience)
            .await?;
        codec::decode(&answer).map_err(refused)
    }

    async fn send_image(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let Snapshot { meta, snapshot: state } = snapshot;
        let encoded = tokio::task::spawn_blocking(move || state.to_image()).await;
        let image = match encoded {
            Ok(Ok(image)) => image,
            Ok(Err(error)) => return Err(unreachable(&error).into()),
            Err(error) => return Err(unreachable(&error).into()),
        };
        let id = ImageId::of(&image, &meta);
        let patience = self.network.timings.progress;
        let begin = Request::SnapshotBegin { vote, image: id };
        let mut at = match self.ask(&begin, patience).await.map_err(streaming)? {
            Response::SnapshotAt(at) => at.min(id.length),
            Response::SnapshotInstalled(refused) => return Ok(refused),
            _ => return Err(nonsense().into()),
        };
        while at < id.length {
            // An image is in memory: its length fits.
            let from = at as usize;
            let piece = &image[from..image.len().min(from + PIECE)];
            let chunk = Request::SnapshotChunk {
                image: id,
                offset: at,
                bytes: piece.into(),
            };
            at = match self.ask(&chunk, patience).await.map_err(streaming)? {
                Response::SnapshotAt(now) if now > at => now,
                _ => return Err(nonsense().into()),
            };
        }
        let end = Request::SnapshotEnd { vote, meta, image: id };
        match self.ask(&end, patience.max(INSTALL)).await.map_err(streaming)? {
            Response::SnapshotInstalled(response) => Ok(response),
            _ => Err(nonsense().into()),
        }
    }
}

/// How long a node may take to put a Raft snapshot on its disk.
const INSTALL: Duration = Duration::from_secs(30);

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = State;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self
            .ask(&Request::Append(rpc), self.network.timings.progress)
            .await
            .map_err(failed)?
        {
            Response::Append(response) => Ok(response),
            _ => Err(nonsense().into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(&Request::Vote(rpc), option.hard_ttl()).await.map_err(failed)? {
            Response::Vote(response) => Ok(response),
            _ => Err(nonsense().into()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self
            .ask(&Request::PreVote(rpc), option.hard_ttl())
            .await
            .map_err(failed)?
        {
            Response::Vote(response) => Ok(response),
            _ => Err(nonsense().into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_image(vote, snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self
            .ask(&Request::Transfer(rpc), option.hard_ttl())
            .await
            .map_err(failed)?
        {
            Response::Transfer(response) => Ok(response),
            _ => Err(nonsense().into()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        // The link has a back-off of its own and knows at once when a node is there again.
        let pause = self.network.timings.heartbeat;
        Some(Backoff::new(std::iter::repeat(pause)))
    }
}

/// A connection that was lost may stand again at once; anything else is waited out.
fn failed(error: CallError) -> RPCError<Types> {
    match error {
        CallError::Lost { .. } => NetworkError::new(&error).into(),
        _ => unreachable(&error).into(),
    }
}

fn streaming(error: CallError) -> StreamingError<Types> {
    match error {
        CallError::Lost { .. } => NetworkError::new(&error).into(),
        _ => unreachable(&error).into(),
    }
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> Unreachable<Types> {
    Unreachable::new(error)
}

fn nonsense() -> Unreachable<Types> {
    Unreachable::new(&AnyError::error("it answered something else than it was asked"))
}
