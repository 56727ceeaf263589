//! What is asked of the cluster's configuration, and what came of it.

use crate::view::OpenTrial;
use serde::{Deserialize, Serialize};
use sluice_document::{Diagnostic, PartKey};
use std::time::Duration;

/// A change as it reaches any node, parsed and checked for itself already.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeRequest {
    /// What shall be.
    pub target: Target,
    /// The version that the change was made for; `None` takes the present one.
    pub if_version: Option<u64>,
    /// Only says what would happen.
    pub dry_run: bool,
    /// Goes on though a healthy node refused.
    pub force: bool,
    /// For whom the answer waits once the change is committed.
    pub wait: Wait,
    /// For how long.
    pub timeout: Duration,
    /// Makes a repetition answer as the first did.
    pub idempotency_key: Option<String>,
    /// Who asks.
    pub actor: Actor,
    /// Within which limits it is live at first.
    #[serde(default)]
    pub trial: TrialRequest,
}

/// Within which limits a change is to be live at first: tried, before it is for good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRequest {
    /// On these nodes alone, by name, until it is promoted; `None`: on all.
    pub on: Option<Vec<String>>,
    /// Undone unless it is confirmed within this time, 1 s to 24 h; `None`: never.
    pub confirm_within: Option<Duration>,
}

/// What shall be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The configuration consists of these parts and no others.
    Whole {
        /// Canonical JSON by key.
        parts: Vec<(String, String)>,
        /// Only this part of the configuration is compared, such as `gateways/web`.
        scope: Option<String>,
        /// The operator's own text, kept beside the parts.
        original: Option<String>,
    },
    /// The part under this key consists of these parts: of itself, and for a gateway of its routes.
    Part {
        /// Which.
        key: String,
        /// Canonical JSON by key.
        parts: Vec<(String, String)>,
        /// The part must have been changed last by this version; 0: it must not exist.
        if_part_version: Option<u64>,
    },
    /// The part is gone, a gateway's routes with it.
    Delete {
        /// Which.
        key: String,
        /// The part must have been changed last by this version.
        if_part_version: Option<u64>,
    },
    /// What an earlier version had.
    Rollback {
        /// Which.
        version: u64,
    },
}

/// For whom the answer to a change waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// Until it is committed: a majority has it on disk.
    #[default]
    Majority,
    /// Until it is live on all healthy nodes.
    All,
}

/// Who asks for something, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The token's name, or `owner` through the Unix socket.
    pub who: String,
    /// The address that the request came from, and the node that took it.
    pub from: String,
    /// `-m`.
    pub why: Option<String>,
    /// The request's id.
    pub request_id: String,
}

// === impl TrialRequest ===

impl TrialRequest {
    /// Whether the change is for good from the start.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeReply {
    /// The version that has it; for a dry run the one that it would have.
    pub version: u64,
    /// The parts that differ from before; empty where nothing changed.
    pub changed: Vec<String>,
    /// The nodes that serve by it.
    pub live: Vec<String>,
    /// The nodes that should and do not yet.
    pub pending: Vec<Pending>,
    /// What the document's author should know.
    pub warnings: Vec<Diagnostic>,
    /// Its limits, while it is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<OpenTrial>,
}

/// A node that does not serve by a version yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// A reading of the configuration.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Of which version it is.
    pub version: u64,
    /// Canonical JSON by key.
    pub parts: std::collections::BTreeMap<PartKey, String>,
}

/// A reading of one part.
#[derive(Debug, Clone)]
pub struct PartReading {
    /// The version of its last change.
    pub version: u64,
    /// Canonical JSON by key: the part, and for a gateway its routes.
    pub parts: std::collections::BTreeMap<PartKey, String>,
}

/// How fresh a reading must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Freshness {
    /// What this node knows.
    #[default]
    Local,
    /// Not older than any change that was acknowledged before the reading began.
    Linearizable,
}
