//! The answers of the admin API that tables are made of.
//!
//! Read leniently: a node that is newer than this command may say more, and one that is older less.

use serde::{Deserialize, Serialize};
use sluice_document::Diagnostic;

/// Of a change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) changed: Vec<String>,
    #[serde(default)]
    pub(crate) live: Vec<String>,
    #[serde(default)]
    pub(crate) pending: Vec<Pending>,
    #[serde(default)]
    pub(crate) warnings: Vec<Diagnostic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trial: Option<Trial>,
}

/// A version on trial, with its limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) before: u64,
    #[serde(default)]
    pub(crate) on: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) confirm_by: Option<String>,
    #[serde(default)]
    pub(crate) author: String,
    #[serde(default)]
    pub(crate) at: String,
}

/// A node that does not serve by the version yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) why: String,
}

/// `GET /v1/cluster`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) term: u64,
    #[serde(default)]
    pub(crate) leader: Option<String>,
    #[serde(default)]
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) trial: Option<Trial>,
    #[serde(default)]
    pub(crate) level: u32,
    #[serde(default)]
    pub(crate) forming: Option<String>,
    /// The node that was asked.
    #[serde(default)]
    pub(crate) answered_by: Option<String>,
    #[serde(default)]
    pub(crate) nodes: Vec<Member>,
}

/// A member.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) peer: Option<String>,
    #[serde(default)]
    pub(crate) admin: Option<String>,
    #[serde(default)]
    pub(crate) zone: Option<String>,
    #[serde(default)]
    pub(crate) binary: Option<String>,
    #[serde(default)]
    pub(crate) level: Option<u32>,
    #[serde(default)]
    pub(crate) committed: Option<u64>,
    #[serde(default)]
    pub(crate) wanted: Option<u64>,
    #[serde(default)]
    pub(crate) live: Option<u64>,
    #[serde(default)]
    pub(crate) why_not_live: Option<String>,
    #[serde(default)]
    pub(crate) reachable: bool,
    #[serde(default)]
    pub(crate) draining: bool,
    #[serde(default)]
    pub(crate) shared_store: Option<bool>,
}

/// `GET /readyz`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) ready: bool,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) degraded: Vec<Degraded>,
    #[serde(default)]
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) name: String,
}

/// Something that does not work, though traffic goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Degraded {
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) since: String,
    #[serde(default)]
    pub(crate) why: String,
}

/// `GET /v1/config/history`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct History {
    #[serde(default)]
    pub(crate) versions: Vec<Version>,
}

/// One version.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) at: String,
    #[serde(default)]
    pub(crate) author: String,
    #[serde(default)]
    pub(crate) from: String,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) changed: Vec<String>,
    #[serde(default)]
    pub(crate) trial: Option<Past>,
}

/// What became of a version's trial.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Past {
    #[serde(default)]
    pub(crate) on: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) outcome: String,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

/// What was done about a trial.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Step {
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) author: String,
    #[serde(default)]
    pub(crate) version: u64,
}

/// `GET /v1/tokens`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tokens {
    #[serde(default)]
    pub(crate) tokens: Vec<Token>,
}

/// A token without its secret.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Token {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) last_used: Option<String>,
}

/// `POST /v1/tokens`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Made {
    pub(crate) token: String,
}

/// `GET /v1/settings`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SettingRows {
    #[serde(default)]
    pub(crate) settings: Vec<SettingRow>,
}

/// One setting of the node.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SettingRow {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) value: String,
    #[serde(default)]
    pub(crate) origin: String,
    #[serde(default)]
    pub(crate) from: Option<String>,
}
