//! What nodes say to each other about Raft.

use std::sync::Arc;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::types::{SnapshotMeta, Types, Vote};

/// A call of the service.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    /// How much of this image is there already?
    SnapshotBegin {
        vote: Vote,
        image: ImageId,
    },
    SnapshotChunk {
        image: ImageId,
        offset: u64,
        #[serde(with = "crate::record::plain")]
        bytes: Arc<[u8]>,
    },
    /// All was sent: install it.
    SnapshotEnd {
        vote: Vote,
        meta: SnapshotMeta,
        image: ImageId,
    },
    /// Up to where must one have read to see all that was acknowledged?
    ReadIndex,
    /// You are no member any more.
    Removed,
}

/// The answer to each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum Response {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    /// The image is there up to here.
    SnapshotAt(u64),
    SnapshotInstalled(SnapshotResponse<Types>),
    ReadIndex(Result<u64, ReadRefusal>),
    Noted,
}

/// Why a leader does not say up to where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReadRefusal {
    NotLeader,
    NoMajority,
}

/// Which image of a state is being sent. Equal states have equal images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageId {
    pub(crate) length: u64,
    pub(crate) crc: u32,
    /// The entry up to which it goes.
    pub(crate) index: u64,
}

impl ImageId {
    pub(crate) fn of(image: &[u8], meta: &SnapshotMeta) -> Self {
        Self {
            length: image.len() as u64,
            crc: crc32c::crc32c(image),
            index: meta.last_log_id.map_or(0, |l| l.index),
        }
    }
}
