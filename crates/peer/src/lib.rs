//! The link between nodes: how the members of a cluster talk to each other.
//!
//! Owns: the proof that both ends hold the cluster token, before anything else is read; frames and
//! the fair sharing of a connection between messages; calls with their cancellation and patience;
//! when an address is dialled again; the status that all nodes tell each other and when it was last
//! heard; the [`codec`] of everything that is not for people.
//!
//! Must never know: Raft, documents, traffic. It carries bytes and identities. Whether a node may
//! be a member is decided by those who use it; the link only keeps out who has not the token, who
//! is of another cluster, and who bears the node's own name.
//!
//! ```text
//!     A                                                     B
//!   Link::call ──▶ line to B: control ═══════════════▶ guest: control ──▶ Serve
//!   Link::tell ──▶              (TLS 1.3, frames)                     ──▶ heard()
//!                  line to B: bulk    ═══════════════▶ guest: bulk    ──▶ Serve
//!   Serve ◀── guests ◀═══════════════════════════════ lines to A ◀── Link::call
//! ```
//!
//! Each node dials those whom it calls, so a pair has up to four connections: two lanes each way.
//! Calls go from the side that dialled and answers come back.
//!
//! Protocols are pure and tested by value: `greeting` (the proof), `frame`, `outbox` (what is sent
//! next), `assembly`, `caller` and `callee` (calls), `backoff`, `porch` (who may stand before the
//! proof), `status`. Around them are shells with sockets and clocks: `tls`, `shake`, `wire`,
//! `dialled`, `guest`, `line`, `host`, and [`Link`] on top.
//!
//! Bounds, so that no peer can exhaust a node: before the proof 64 connections of five seconds and,
//! behind TLS, 81 bytes each; after it per connection 256 calls (64 on bulk), 64 MiB of requests (256 MiB on
//! bulk), one status, one window of 2 MiB per message under way; 1024 connections in all.

#![forbid(unsafe_code)]

mod assembly;
mod backoff;
mod callee;
mod caller;
pub mod codec;
mod dialled;
mod error;
mod frame;
mod greeting;
mod guest;
mod host;
mod identity;
mod line;
mod link;
mod metrics;
mod outbox;
mod porch;
mod secret;
mod shake;
mod shared;
mod status;
mod timings;
mod tls;
mod whereabouts;
mod wire;

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
    /// What a node knows of limits and breakers.
    pub const SHARED: Self = Self(6);
}
