//! What can go wrong between two nodes, each with its own name.

use std::net::SocketAddr;

use thiserror::Error;

use crate::Lane;
use crate::identity::{ClusterTag, NodeId};

/// Why a link could not be put up.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address is taken.
    #[error("the peer address {address} is in use by another process: stop it, or choose another listen.peer")]
    InUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen for peers on {address}: {source}; listen.peer must be an address of this machine and a port that this user may open"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The throw-away certificate or the TLS set-up failed.
    #[error("cannot prepare TLS for the link between nodes: {why}")]
    Tls {
        /// What the library said.
        why: String,
    },
    /// The identity does not fit the link's messages.
    #[error(
        "this node's identity takes {bytes} bytes, more than the {limit} that members tell each other: shorten its labels"
    )]
    IdentityTooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
}

/// Why a call, or a hello, has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// No connection: the call was not sent.
    #[error("the node at {address} cannot be reached: {why}")]
    Unreachable {
        /// Where it was tried.
        address: String,
        /// What was tried and what came of it.
        why: String,
    },
    /// The connection ended after the call was (partly) sent: it may have been carried out.
    #[error("the connection to the node at {address} was lost before its answer: {why}")]
    Lost {
        /// Where it lived.
        address: String,
        /// How the connection ended.
        why: String,
    },
    /// The two have different cluster tokens.
    #[error(
        "the node at {address} has another cluster token: all members need the same SLUICE_CLUSTER_TOKEN or cluster_token_file"
    )]
    WrongToken {
        /// Where it lives.
        address: String,
    },
    /// One of the two has no cluster token.
    #[error("{} has no cluster token, and nodes without one form no cluster: give all members the same SLUICE_CLUSTER_TOKEN or cluster_token_file", if *ours { "this node".to_owned() } else { format!("the node at {address}") })]
    NoToken {
        /// Where it lives.
        address: String,
        /// Whether it is we who have none.
        ours: bool,
    },
    /// The two belong to different clusters.
    #[error(
        "the node at {address} belongs to cluster {theirs}, this node to {ours}: correct `cluster`, the address, or start with an empty data directory"
    )]
    WrongCluster {
        /// Where it lives.
        address: String,
        /// Its cluster.
        theirs: Box<ClusterTag>,
        /// Ours.
        ours: Box<ClusterTag>,
    },
    /// Another node than the expected one lives there.
    #[error(
        "the node at {address} is {found} ({found_name}), not {expected}: it was replaced, started with another data directory, or the address is wrong"
    )]
    WrongPeer {
        /// Where it lives.
        address: String,
        /// Who should live there.
        expected: NodeId,
        /// Who does.
        found: NodeId,
        /// The name of who does.
        found_name: String,
    },
    /// The other one bears our name and is another node.
    #[error(
        "the name {name:?} is taken: node {theirs} of that name lives at {address}, this one is {ours} at {ours_at}; stop one of them or give it another name"
    )]
    NameTaken {
        /// Where the other one lives.
        address: String,
        /// The name that both have.
        name: String,
        /// The other one's id.
        theirs: NodeId,
        /// Our id.
        ours: NodeId,
        /// Our advertised address.
        ours_at: String,
    },
    /// The address is our own.
    #[error("{address} is this node itself")]
    Oneself {
        /// The address dialled.
        address: String,
    },
    /// The two speak no version of the link's protocol in common.
    #[error("the node at {address} speaks the link's protocol {theirs}, this one {ours}: upgrade the older one")]
    Incompatible {
        /// Where it lives.
        address: String,
        /// Its versions.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// Patience ran out. The call may have been carried out if it was sent.
    #[error("no answer in time")]
    TooLate,
    /// The other node's own answer is an error.
    #[error("{0}")]
    Refused(String),
    /// The request or its answer is larger than the lane takes; it was not carried out unless it is
    /// the answer.
    #[error("a message of {bytes} bytes is more than the {limit} that the {lane} connection takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
        /// On which connection.
        lane: Lane,
    },
    /// The other node has as many calls (or bytes of calls) of ours as it takes. Not carried out.
    #[error("the node at {address} has too much of ours to do already: try again")]
    Busy {
        /// Where it lives.
        address: String,
    },
    /// The other node has only just started and serves no calls yet. Not carried out.
    #[error("the node is starting and serves no calls yet: try again")]
    Starting,
    /// This link was shut down.
    #[error("this node's link is shut down")]
    ShutDown,
}

// === impl CallError ===

impl CallError {
    /// Whether the other node may have carried the call out all the same.
    ///
    /// `false` is certain: such a call can be made again without being carried out twice.
    /// A call that was [`Refused`](Self::Refused) was carried out as far as its refusal.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::TooLate | Self::Refused(_) | Self::TooLarge { .. } | Self::ShutDown => true,
            Self::Unreachable { .. }
            | Self::WrongToken { .. }
            | Self::NoToken { .. }
            | Self::WrongCluster { .. }
            | Self::WrongPeer { .. }
            | Self::NameTaken { .. }
            | Self::Oneself { .. }
            | Self::Incompatible { .. }
            | Self::Busy { .. }
            | Self::Starting => false,
        }
    }

    /// Whether dialling again soon would only meet the same answer: the two do not belong together.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(
            self,
            Self::WrongToken { .. }
                | Self::NoToken { .. }
                | Self::WrongCluster { .. }
                | Self::NameTaken { .. }
                | Self::Oneself { .. }
                | Self::Incompatible { .. }
        )
    }
}
