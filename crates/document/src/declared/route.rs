//! A route: what to match and what to do.

use super::{Breaker, Concurrency, RateLimit, Retry, Size, Split};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// What to match and what to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// `[a-z0-9-]+`, unique in its gateway; derived from methods and path when it is not given.
    pub id: String,
    /// `path` or `paths`: `/orders/{id}`, `/orders/**`, `regex:^/v[0-9]+/`. Never empty. One is printed as `path`.
    pub paths: Vec<String>,
    /// Upper case. Empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Narrower than the gateway's. Empty: the gateway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Conditions beyond host, path and method.
    #[serde(rename = "match", skip_serializing_if = "Match::is_empty")]
    pub matches: Match,
    /// The greater first. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// One of `upstream`, `split`, `redirect`, `respond`.
    #[serde(flatten)]
    pub action: Action,
    /// How the path changes on its way upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Changes to the request.
    #[serde(skip_serializing_if = "MessageChanges::is_empty")]
    pub request: MessageChanges,
    /// Changes to the answer (its `query` is never set).
    #[serde(skip_serializing_if = "MessageChanges::is_empty")]
    pub response: MessageChanges,
    /// Over the upstream's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<RouteTimeout>,
    /// Over the upstream's, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// In place of the upstream's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Default 10MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<MaxBody>,
    /// Default `pass`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoded_slash: Option<EncodedSlash>,
    /// Protocols that a request may switch to; empty: none. Default `[websocket]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Vec<String>>,
    /// Beside the gateway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// Beside the gateway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub concurrency: Vec<Concurrency>,
}

/// The same fields as an upstream's `timeout`.
pub type RouteTimeout = super::Timeout;

/// `match`: conditions beyond host, path and method.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Match {
    /// By lower-case field name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, FieldMatch>,
    /// By parameter name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, FieldMatch>,
    /// The client's address is in one of these. Empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client: Vec<ipnet::IpNet>,
}

/// What a header or query parameter must be. `not` turns the rest around.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldMatch {
    /// The comparison.
    #[serde(flatten)]
    pub compare: Compare,
    /// `{ not: { … } }` was written around it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// Equal, byte for byte.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// Matches somewhere; anchor it to match the whole.
    Regex(String),
    /// There (true) or not there (false).
    Present(bool),
}

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Forward to the upstream of this name.
    Upstream(String),
    /// Forward to one of several.
    Split(Split),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer with a fixed message.
    Respond(Respond),
}

/// `redirect`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Redirect {
    /// The `Location`, a text with `${…}`.
    pub to: String,
    /// 301, 302, 303, 307 or 308. Default 308.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// `respond`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Respond {
    /// Default 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// One of `text`, `json`, `html`, or nothing.
    #[serde(flatten)]
    pub payload: Option<Payload>,
    /// Fields of the answer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// The body of a fixed answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// `text/plain; charset=utf-8`, a text with `${…}`.
    Text(String),
    /// `application/json`; texts inside may hold `${…}`.
    Json(serde_json::Value),
    /// `text/html; charset=utf-8`, a text with `${…}`.
    Html(String),
}

/// `rewrite`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// Cut this prefix (whole segments) off the normalised path.
    StripPrefix(String),
    /// Make the path (and query, if it has a `?`) from a text with `${…}`.
    Path(String),
}

/// `request` and `response`: changes to a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MessageChanges {
    /// `headers`.
    #[serde(skip_serializing_if = "HeaderChanges::is_empty")]
    pub headers: HeaderChanges,
    /// `query`, of a request only.
    #[serde(skip_serializing_if = "HeaderChanges::is_empty")]
    pub query: HeaderChanges,
}

/// `{ set, add, remove }`, done in the order remove, set, add. Values are texts with `${…}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HeaderChanges {
    /// Replaces every field of the name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// One more field of the name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
    /// Takes every field of the name away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// `max_body`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxBody {
    /// The word `none`: bodies stream without a bound.
    None,
    /// At most this many bytes.
    Limit(Size),
}

/// `encoded_slash`: what to do with `%2F` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EncodedSlash {
    /// Never a separator; 400 where decoding it would make a dot segment.
    Pass,
    /// 400.
    Refuse,
}

// === impl ===

impl Match {
    /// Nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.query.is_empty() && self.client.is_empty()
    }
}

impl MessageChanges {
    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.query.is_empty()
    }
}

impl HeaderChanges {
    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

impl Serialize for MaxBody {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => s.serialize_str("none"),
            Self::Limit(size) => size.serialize(s),
        }
    }
}
