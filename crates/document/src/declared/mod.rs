//! The declared types: what a document says, checked for shape, not yet compiled.
//!
//! An absent field is `None` (or an empty collection): defaults are filled where the document is compiled, so that an
//! export says what the operator said. `Serialize` gives the normal form.

mod gateway;
mod limits;
mod resilience;
mod route;
mod scalars;
mod split;
mod telemetry;
mod upstream;
mod zone;

pub use gateway::{Expose, Gateway};
pub use limits::{Concurrency, LimitAlgorithm, LimitMode, OnFailure, Per, RateLimit};
pub use resilience::{Active, Backoff, Breaker, Failure, Fallback, Health, Passive, Retry};
pub use route::{
    Action, Compare, EncodedSlash, FieldMatch, HeaderChanges, Match, MaxBody, MessageChanges, Payload, Redirect,
    Respond, Rewrite, Route, RouteTimeout,
};
pub use scalars::{Duration, Share, Size};
pub use split::{Arm, Split, Sticky};
pub use telemetry::{AccessLog, Logged, Telemetry};
pub use upstream::{Balance, HostPolicy, Pool, Protocol, Target, Timeout, Upstream};
pub use zone::{UnknownZone, Zone};

use serde::Serialize;
use std::collections::BTreeMap;

/// A whole gateway document.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Document {
    /// `upstreams.NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub upstreams: BTreeMap<String, Upstream>,
    /// `gateways.NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gateways: BTreeMap<String, Gateway>,
    /// `cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// `telemetry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
}

/// `cluster`: what the nodes do as a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cluster {
    /// `cluster.stale`: what a node does that no longer hears of changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stale>,
}

/// `cluster.stale`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stale {
    /// Say so after this long without news. Default 1m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn: Option<Duration>,
    /// Turn `/readyz` to 503 after this long. Default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unready_after: Option<UnreadyAfter>,
}

/// `cluster.stale.unready_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum UnreadyAfter {
    /// The word `never`.
    #[serde(serialize_with = "never")]
    Never,
    /// A duration.
    After(Duration),
}

fn never<S: serde::Serializer>(s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str("never")
}
