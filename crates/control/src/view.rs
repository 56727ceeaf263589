//! What people and tools are shown of the cluster.

use serde::{Deserialize, Serialize};

/// `GET /v1/cluster`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster's name.
    pub name: String,
    /// Its id, 32 hexadecimal digits; `None` before it was formed.
    pub id: Option<String>,
    /// The Raft term.
    pub term: u64,
    /// The leader's name.
    pub leader: Option<String>,
    /// The newest committed version that the answering node knows.
    pub version: u64,
    /// The version that is live for good; another than `version` while that is on trial.
    #[serde(default)]
    pub active: u64,
    /// The trial that is open.
    #[serde(default)]
    pub trial: Option<OpenTrial>,
    /// The feature level.
    pub level: u32,
    /// The node that answers.
    pub answered_by: String,
    /// Why there is no cluster yet, where there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub forming: Option<String>,
    /// The members, by name.
    pub nodes: Vec<NodeView>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its incarnation, 16 hexadecimal digits.
    pub id: String,
    /// Whether it takes part in elections.
    pub role: Role,
    /// Where its link is reached.
    pub peer: String,
    /// Where its admin API is reached.
    pub admin: String,
    /// Where it stands.
    pub zone: Option<String>,
    /// The version of its binary; `None` where it was not heard.
    pub binary: Option<String>,
    /// The highest feature level that it understands; `None` where it was not heard.
    #[serde(default)]
    pub level: Option<u32>,
    /// The newest version that it knows to be committed.
    pub committed: Option<u64>,
    /// The version that it should serve by.
    #[serde(default)]
    pub wanted: u64,
    /// The version that it serves by.
    pub live: Option<u64>,
    /// Why it does not serve by the version that it should.
    pub why_not_live: Option<String>,
    /// Whether it was heard within 500 ms.
    pub reachable: bool,
    /// Whether it is leaving.
    pub draining: bool,
    /// Whether it reaches the store of limits and breakers; `None` where it has none, or was not heard.
    #[serde(default)]
    pub shared_store: Option<bool>,
}

/// A member's part in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes part in elections.
    Voter,
    /// Only receives.
    Learner,
}

/// `/readyz`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadyView {
    /// Whether a balancer should send traffic here.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
    /// What does not work, though traffic goes on.
    pub degraded: Vec<Degraded>,
    /// The version that this node serves by.
    pub version: u64,
    /// This node's name.
    pub name: String,
}

/// Something that does not work, though traffic goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// `majority`, `disk`, `stale`, `version`.
    pub what: String,
    /// Since when, RFC 3339 UTC.
    pub since: String,
    /// In a sentence.
    pub why: String,
}

/// One version of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// Its number.
    pub version: u64,
    /// When it was made, RFC 3339 UTC, by the leader's clock.
    pub at: String,
    /// Who made it: the token's name, or `owner` through the Unix socket.
    pub author: String,
    /// From which address, through which node.
    pub from: String,
    /// `-m`.
    pub message: Option<String>,
    /// The request that made it.
    pub request_id: String,
    /// The parts that it changed.
    pub changed: Vec<String>,
    /// What became of it, where it was on trial at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<PastTrial>,
}

/// A version on trial: live on some nodes alone, or until a deadline, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTrial {
    /// Which.
    pub version: u64,
    /// What is live for good, and comes back if nothing is said.
    pub before: u64,
    /// On these nodes alone, until it is promoted; `None`: on all.
    pub on: Option<Vec<String>>,
    /// When it is undone unless it is confirmed, RFC 3339 UTC by the leader's clock; `None`: never.
    pub confirm_by: Option<String>,
    /// Who made it.
    pub author: String,
    /// When, RFC 3339 UTC.
    pub at: String,
}

/// What became of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastTrial {
    /// The nodes that it began on; `None`: all.
    pub on: Option<Vec<String>>,
    /// The deadline that it began with, RFC 3339 UTC.
    pub confirm_by: Option<String>,
    /// Where it stands.
    pub outcome: TrialOutcome,
    /// What was done about it, in order.
    pub steps: Vec<TrialStepView>,
}

/// Where a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialOutcome {
    /// It waits to be promoted or confirmed.
    Open,
    /// It was made live for good.
    Kept,
    /// A newer version brought back what was before.
    Undone,
}

/// Something that was done about a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStepView {
    /// `confirmed`, `promoted` or `undone`.
    pub what: String,
    /// When, RFC 3339 UTC.
    pub at: String,
    /// Who did it; `the leader` where a deadline did.
    pub author: String,
    /// From which address, through which node.
    pub from: String,
    /// Why.
    pub message: Option<String>,
    /// By which request.
    pub request_id: String,
    /// The newest version after it: of an undone one, what brought back what was before.
    pub version: u64,
}

/// One token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: TokenRole,
    /// When it was made, RFC 3339 UTC.
    pub created: String,
    /// When it was last used on the answering node since that started, RFC 3339 UTC.
    pub last_used: Option<String>,
}

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Everything.
    Admin,
    /// Only look.
    Viewer,
}

/// What is done to a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberOp {
    /// A learner becomes a voter.
    Promote,
    /// It leaves the cluster.
    Remove,
    /// The empty node that now bears its name takes its place.
    Replace,
    /// It gets no more traffic from balancers, and finishes what it has.
    Drain,
    /// It takes part again.
    Undrain,
}
