//! What people and tools are shown of limits and breakers.

use crate::change::Pending;
use serde::{Deserialize, Serialize};

/// A node that did not say what it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// Its name.
    pub name: String,
    /// Why not.
    pub why: String,
}

/// `GET /v1/breakers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakersView {
    /// By upstream and route.
    pub breakers: Vec<BreakerView>,
    /// Nodes whose word is missing.
    pub silent: Vec<Silent>,
}

/// `POST /v1/breakers/{upstream}/{act}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakerOrdered {
    /// As it is now; nothing where no node has it.
    pub breaker: Option<BreakerView>,
    /// Nodes that hold what was said.
    pub live: Vec<String>,
    /// Nodes that do not yet, and why.
    pub pending: Vec<Pending>,
}

/// One breaker, as the cluster acts on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakerView {
    /// The upstream.
    pub upstream: String,
    /// Gateway and id, `web/get-orders`, where the route has a breaker of its own.
    pub route: Option<String>,
    /// `closed`, `suspect`, `open`, `half_open`, `forced_open` or `forced_closed`.
    pub state: String,
    /// Since when, RFC 3339 UTC.
    pub since: String,
    /// The number of the decision: the same on all nodes that act on it.
    pub epoch: u64,
    /// Whether the cluster decides; otherwise each node by itself.
    pub shared: bool,
    /// Why it opened last, until it is closed.
    pub cause: Option<CauseView>,
    /// Of an open one: when it may be probed, RFC 3339 UTC.
    pub next_probe: Option<String>,
    /// The nodes that suspect, or the one that probes.
    pub by: Vec<String>,
    /// What somebody said, which goes before all evidence.
    #[serde(rename = "override")]
    pub set: Option<OverrideView>,
    /// What all nodes counted within the window.
    pub counts: CountsView,
    /// Attempts that were refused, by all nodes since each started.
    pub refused: u64,
    /// Each node's own.
    pub nodes: Vec<BreakerNodeView>,
}

/// One breaker on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakerNodeView {
    /// The node.
    pub name: String,
    /// What it does.
    pub state: String,
    /// Since when it knows.
    pub since: String,
    /// The number of the decision that it acts on.
    pub epoch: u64,
    /// Whether it acts on what the cluster decided.
    pub shared: bool,
    /// What it counted within the window.
    pub counts: CountsView,
    /// Attempts that it refused since it started.
    pub refused: u64,
}

/// Why a breaker opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseView {
    /// The node whose evidence tipped it.
    pub node: String,
    /// `failure_rate`, `slow_rate`, `consecutive`, `probe` or `no_result`.
    pub by: String,
    /// `X-Request-Id` of the request that was the last failure of that evidence; of one that was slow, where none failed.
    pub request_id: Option<String>,
    /// What each node had counted within the window.
    pub counts: Vec<NodeCountsView>,
}

/// What a node had counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCountsView {
    /// The node.
    pub node: String,
    /// What.
    #[serde(flatten)]
    pub counts: CountsView,
}

/// Attempts that ended, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsView {
    /// All that say something of the service.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were slow, failed or not.
    pub slow: u32,
    /// The longest run of failures.
    pub run: u32,
}

/// What somebody said of a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideView {
    /// `open` or `closed`.
    pub state: String,
    /// Who: the token's name, or `owner`.
    pub who: String,
    /// From which address, through which node.
    pub from: String,
    /// Why.
    pub why: String,
    /// When, RFC 3339 UTC by the leader's clock.
    pub at: String,
    /// Until when.
    pub until: String,
    /// By which request.
    pub request_id: String,
}

/// `GET /v1/limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitsView {
    /// By gateway, route and name.
    pub limits: Vec<LimitSeenView>,
    /// The keys that all nodes refused most of late, most refused first; only where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Vec<RefusalsView>>,
    /// Nodes whose word is missing.
    pub silent: Vec<Silent>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSeenView {
    /// What it says.
    #[serde(flatten)]
    pub rule: RuleView,
    /// Whether the configuration in force has it, on some node.
    pub declared: bool,
    /// What was decided, by all nodes since each started.
    pub decisions: Vec<DecisionsView>,
}

/// What a limit says, with its newest numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// As declared.
    pub name: String,
    /// Over which gateway it counts.
    pub gateway: String,
    /// Over which of its routes; all together where there is none.
    pub route: Option<String>,
    /// `sliding_window`, `token_bucket`, `fixed_window` or `concurrency`.
    pub algorithm: String,
    /// How much.
    pub limit: u64,
    /// In which time, as the document writes it; nothing for concurrency.
    pub per: Option<String>,
    /// The depth of a bucket.
    pub burst: Option<u64>,
    /// `exact` or `fast`.
    pub mode: String,
    /// `local`, `open` or `closed`.
    pub on_failure: String,
    /// The version of the configuration that gave it these numbers.
    pub version: u64,
}

/// How often something was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionsView {
    /// `admitted`, `spared`, `spent` or `no_store`.
    pub outcome: String,
    /// Who knew: `lease`, `store`, `local` or `open`.
    pub source: String,
    /// How often.
    pub count: u64,
}

/// A key that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalsView {
    /// The limit.
    pub name: String,
    /// Its gateway.
    pub gateway: String,
    /// Its route.
    pub route: Option<String>,
    /// The value of its key, cut to 128 bytes.
    pub key: String,
    /// How often, of late: halved each minute.
    pub refused: u64,
    /// So many of these at most may have been another key's.
    pub excess: u64,
    /// When the last one was, RFC 3339 UTC.
    pub last: String,
    /// By which nodes.
    pub nodes: Vec<String>,
}

/// `GET /v1/limits/{name}?key=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitKeyView {
    /// The limit's name.
    pub name: String,
    /// The value of its key.
    pub key: String,
    /// One for each gateway or route that has a limit of this name.
    pub limits: Vec<StandingView>,
    /// Nodes whose word is missing.
    pub silent: Vec<Silent>,
}

/// One count of a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandingView {
    /// What the limit says.
    #[serde(flatten)]
    pub rule: RuleView,
    /// Spent, as the store says; nothing where no node reaches it.
    pub used: Option<u64>,
    /// Neither spent nor out.
    pub left: Option<u64>,
    /// Seconds until nothing is spent any more, if nothing happens.
    pub reset: Option<f64>,
    /// Tokens that nodes may spend without asking.
    pub out: Vec<TokensOutView>,
    /// The refusals of this key, of late, by all nodes.
    pub refusals: Option<RefusalsView>,
    /// What each node that knows the key holds.
    pub nodes: Vec<LimitNodeView>,
}

/// Tokens out at a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensOutView {
    /// The node; nothing for one that left, whose lease has not ended yet.
    pub node: Option<String>,
    /// How many.
    pub tokens: u64,
}

/// One count as one node has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitNodeView {
    /// The node.
    pub name: String,
    /// What it can still say is left.
    pub remaining: u64,
    /// Seconds to the next token where nothing is left, else to the end of the window.
    pub reset: f64,
    /// Who would decide the next request: `lease`, `store`, `local` or `open`.
    pub source: String,
}

/// `POST /v1/limits/{name}/reset?key=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetView {
    /// The limit's name.
    pub name: String,
    /// The value of its key.
    pub key: String,
    /// How many counts were forgotten.
    pub counts: usize,
    /// Nodes that did not hear of it: they go on with what they hold.
    pub silent: Vec<Silent>,
}
