//! What control says to control over the link: JSON, so that members of neighbouring versions of
//! the binary understand each other during an update.

use crate::change::{Actor, ChangeReply, ChangeRequest};
use crate::membership::forming::{Promise, Standing};
use crate::refusal::Refusal;
use crate::shared::BreakerOrder;
use crate::trial::TrialOrder;
use crate::view::{ClusterView, MemberOp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sluice_consensus::{Node, PartChange};
use sluice_peer::NodeId;
use std::time::Duration;

/// Asked of the leader, in the name of a client of another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToLeader {
    /// Change the configuration.
    Change(Box<ChangeRequest>),
    /// The same within limits: a leader that does not know them must not take it for a change without.
    Try(Box<ChangeRequest>),
    /// Confirm or promote the version on trial.
    Trial(TrialOrder),
    /// Set or remove a record.
    Record {
        collection: String,
        key: String,
        value: Option<Vec<u8>>,
        /// The record must (or must not) be there.
        exists: Option<bool>,
        actor: Actor,
    },
    /// Set a breaker by hand, or let it decide again.
    Override(BreakerOrder),
    /// Change the membership.
    Member { name: String, op: MemberOp, actor: Actor },
    /// Hand the leadership over.
    Transfer { to: Option<String>, actor: Actor },
    /// Raise the feature level.
    Finalize { actor: Actor },
    /// How the leader sees the cluster.
    View,
    /// A node at the door.
    Admit {
        id: NodeId,
        node: Node,
        /// The highest feature level that its binary knows.
        #[serde(default = "first_level")]
        level: u32,
    },
    /// Whether this incarnation has a place in the cluster: asked by one that no leader calls.
    Place { id: NodeId },
}

fn first_level() -> u32 {
    1
}

/// The leader's answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromLeader {
    Changed(ChangeReply),
    Done,
    View(ClusterView),
    Admitted(Admitted),
    Place(Place),
    /// Not the leader (any more): who is, as far as is known.
    NotLeader {
        leader: Option<NodeId>,
    },
    Refused(Refusal),
}

/// What an incarnation is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// A member.
    Member,
    /// An operator removed it.
    Removed,
    /// Neither: it was replaced, or it has never been let in.
    Stranger,
}

/// What came of knocking at the door.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Admitted {
    /// It is a member.
    In { cluster: u128 },
    /// It receives already, and takes its old place when it has caught up.
    CatchingUp { cluster: u128 },
    /// It is not let in.
    Refused { why: String },
}

/// Asked of every healthy member before a change is proposed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Prepare {
    /// The version that the change was made for.
    pub(crate) base: u64,
    /// What it changes.
    pub(crate) changes: Vec<WireChange>,
    /// How long the answer may take.
    pub(crate) within: Duration,
    /// What is asked about is `base` itself, which is stored and not served here yet.
    #[serde(default)]
    pub(crate) stored: bool,
}

/// A part put or deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireChange {
    key: String,
    value: Option<String>,
}

/// Whether a member could serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Prepared {
    /// It could.
    Ready,
    /// It could not, and why: part by part, or as a whole.
    Refused(Vec<Objection>),
    /// It cannot tell: it does not have the version before.
    Behind { at: u64 },
}

/// Why a member could not serve a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Objection {
    /// The part's key; empty where it is none in particular.
    pub(crate) part: String,
    pub(crate) why: String,
}

/// Said between nodes that may or may not belong to a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Forming {
    /// Where do you stand?
    Standing,
    /// Promise to be one of the first voters of this cluster.
    Promise(Promise),
    /// `members form --only`, on the node that shall form.
    FormOnly { names: Vec<String> },
}

/// Answers to [`Forming`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Formed {
    Standing(Standing),
    Promised { id: NodeId },
    Refused { why: String },
}

/// Said to one member.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToMember {
    /// Let no more traffic come, or let it come again.
    Drain { draining: bool },
    /// You were removed.
    Removed,
}

// === impl WireChange ===

impl WireChange {
    pub(crate) fn of(change: &PartChange) -> Self {
        Self {
            key: change.key.to_string(),
            value: change.value.as_deref().map(str::to_owned),
        }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn into_change(self) -> PartChange {
        PartChange {
            key: self.key.into(),
            value: self.value.map(Into::into),
        }
    }
}

/// As it goes over the link.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(message).map_err(|error| Refusal::Internal {
        why: format!("a message to another node could not be written: {error}"),
    })
}

/// As it came over the link.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        format!("a message of another node is not understood ({error}): is its binary much newer or older?")
    })
}
