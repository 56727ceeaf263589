//! What the admin API says of limits and breakers; read as leniently as the rest.

use super::answers::Pending;
use serde::Deserialize;

/// A node whose word is missing.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Silent {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) why: String,
}

/// `GET /v1/limits`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Limits {
    #[serde(default)]
    pub(crate) limits: Vec<Limit>,
    #[serde(default)]
    pub(crate) top: Vec<Refusals>,
    #[serde(default)]
    pub(crate) silent: Vec<Silent>,
}

/// A limit.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Limit {
    #[serde(flatten)]
    pub(crate) rule: Rule,
    #[serde(default)]
    pub(crate) declared: bool,
    #[serde(default)]
    pub(crate) decisions: Vec<Decisions>,
}

/// What it says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rule {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) gateway: String,
    #[serde(default)]
    pub(crate) route: Option<String>,
    #[serde(default)]
    pub(crate) algorithm: String,
    #[serde(default)]
    pub(crate) limit: u64,
    #[serde(default)]
    pub(crate) per: Option<String>,
    #[serde(default)]
    pub(crate) burst: Option<u64>,
    #[serde(default)]
    pub(crate) mode: String,
    #[serde(default)]
    pub(crate) on_failure: String,
}

/// How often something was decided, by whom.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Decisions {
    #[serde(default)]
    pub(crate) outcome: String,
    #[serde(default)]
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) count: u64,
}

/// A key that was refused.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusals {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) gateway: String,
    #[serde(default)]
    pub(crate) route: Option<String>,
    #[serde(default)]
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) refused: u64,
    #[serde(default)]
    pub(crate) excess: u64,
    #[serde(default)]
    pub(crate) last: String,
    #[serde(default)]
    pub(crate) nodes: Vec<String>,
}

/// `GET /v1/limits/{name}`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LimitOfKey {
    #[serde(default)]
    pub(crate) limits: Vec<Standing>,
    #[serde(default)]
    pub(crate) silent: Vec<Silent>,
}

/// One count.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Standing {
    #[serde(flatten)]
    pub(crate) rule: Rule,
    #[serde(default)]
    pub(crate) used: Option<u64>,
    #[serde(default)]
    pub(crate) left: Option<u64>,
    #[serde(default)]
    pub(crate) reset: Option<f64>,
    #[serde(default)]
    pub(crate) out: Vec<TokensOut>,
    #[serde(default)]
    pub(crate) refusals: Option<Refusals>,
    #[serde(default)]
    pub(crate) nodes: Vec<Holding>,
}

/// Tokens out at a node.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TokensOut {
    #[serde(default)]
    pub(crate) node: Option<String>,
    #[serde(default)]
    pub(crate) tokens: u64,
}

/// What a node holds.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Holding {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) remaining: u64,
    #[serde(default)]
    pub(crate) reset: f64,
    #[serde(default)]
    pub(crate) source: String,
}

/// `POST /v1/limits/{name}/reset`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Reset {
    #[serde(default)]
    pub(crate) counts: usize,
    #[serde(default)]
    pub(crate) silent: Vec<Silent>,
}

/// `GET /v1/breakers`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Breakers {
    #[serde(default)]
    pub(crate) breakers: Vec<Breaker>,
    #[serde(default)]
    pub(crate) silent: Vec<Silent>,
}

/// `POST /v1/breakers/{upstream}/{act}`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ordered {
    #[serde(default)]
    pub(crate) breaker: Option<Breaker>,
    #[serde(default)]
    pub(crate) live: Vec<String>,
    #[serde(default)]
    pub(crate) pending: Vec<Pending>,
}

/// A breaker.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Breaker {
    pub(crate) upstream: String,
    #[serde(default)]
    pub(crate) route: Option<String>,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) since: String,
    #[serde(default)]
    pub(crate) epoch: u64,
    #[serde(default)]
    pub(crate) shared: bool,
    #[serde(default)]
    pub(crate) cause: Option<Cause>,
    #[serde(default)]
    pub(crate) next_probe: Option<String>,
    #[serde(default)]
    pub(crate) by: Vec<String>,
    #[serde(default, rename = "override")]
    pub(crate) set: Option<Override>,
    #[serde(default)]
    pub(crate) counts: Counts,
    #[serde(default)]
    pub(crate) refused: u64,
    #[serde(default)]
    pub(crate) nodes: Vec<BreakerOn>,
}

/// A breaker on one node.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BreakerOn {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) epoch: u64,
    #[serde(default)]
    pub(crate) shared: bool,
}

/// Why it opened.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Cause {
    #[serde(default)]
    pub(crate) node: String,
    #[serde(default)]
    pub(crate) by: String,
    #[serde(default)]
    pub(crate) request_id: Option<String>,
    #[serde(default)]
    pub(crate) counts: Vec<NodeCounts>,
}

/// What a node had counted.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NodeCounts {
    #[serde(default)]
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// Attempts that ended.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Counts {
    #[serde(default)]
    pub(crate) calls: u32,
    #[serde(default)]
    pub(crate) failed: u32,
    #[serde(default)]
    pub(crate) slow: u32,
    #[serde(default)]
    pub(crate) run: u32,
}

/// What somebody said of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Override {
    #[serde(default)]
    pub(crate) who: String,
    #[serde(default)]
    pub(crate) why: String,
    #[serde(default)]
    pub(crate) until: String,
}
