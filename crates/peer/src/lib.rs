//! The link between nodes: handshake, frames, channels, the status that all tell each other, and the codec.

#![forbid(unsafe_code)]

mod assembly;
mod backoff;
mod callee;
mod caller;
pub mod codec;
mod error;
mod frame;
mod greeting;
mod identity;
mod link;
mod outbox;
mod porch;
mod secret;
mod status;
mod timings;
mod tls;

use std::fmt;

pub use error::{BindError, CallError};
pub use identity::{ClusterTag, Identity, NodeId, NotAnId, Peer};
pub use link::{Config, Link, Serve};
pub use secret::{EmptyToken, SHORT_TOKEN, Secret};
use serde::{Deserialize, Serialize};
pub use status::{Heard, Status};
pub use timings::{Patience, Timings};

/// Which of the two connections of a pair carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Votes, heartbeats, status, forwarded writes, small appends.
    Control,
    /// Large appends and snapshots.
    Bulk,
}

/// What a call is for. Others may use numbers of their own from 128 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service(pub u8);

// === impl Lane ===

impl Lane {
    /// The most bytes that a request or an answer may have on this connection: 64 MiB on control,
    /// 256 MiB on bulk. As much again may be under way in each direction of one connection.
    #[must_use]
    pub const fn max_message(self) -> usize {
        match self {
            Self::Control => 64 * 1024 * 1024,
            Self::Bulk => 256 * 1024 * 1024,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Bulk => "bulk",
        })
    }
}

// === impl Service ===

impl Service {
    /// Raft's messages.
    pub const RAFT: Self = Self(1);
    /// Writes and reads passed on to the leader.
    pub const FORWARD: Self = Self(2);
    /// The forming of a cluster.
    pub const FORM: Self = Self(3);
    /// "Could you serve this?", asked before a change is proposed.
    pub const PREPARE: Self = Self(4);
    /// Joining, promoting, removing, replacing.
    pub const MEMBERS: Self = Self(5);
}
