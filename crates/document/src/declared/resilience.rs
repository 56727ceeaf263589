//! What is done when targets fail: `retry`, `health`, `breaker`.

use super::{Duration, Respond, Share};
use serde::{Serialize, Serializer};
use std::fmt;

/// `retry`, of an upstream or over it, field by field, of a route.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Retry {
    /// Tries in all, 1 to 10. Default 1: none is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What is tried again; none twice. Default connect, reset, timeout, 502, 503, 504.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<Failure>>,
    /// Repeated tries for each request, over time. Above 0. Default 20%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Share>,
    /// The pause before another try. Default 25ms..250ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
}

/// How a try failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// No connection came about. (The default stands in for what could not be read, and never leaves this crate.)
    #[default]
    Connect,
    /// The connection ended before the answer began, or what came was no answer.
    Reset,
    /// The answer did not begin in time.
    Timeout,
    /// The answer has this status.
    Status(u16),
}

/// `backoff`, written `25ms..250ms`: the greatest pause before the second try, which doubles with each further one, and
/// its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// Before the second try.
    pub first: Duration,
    /// Before any; not shorter than `first`.
    pub most: Duration,
}

/// `health`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Health {
    /// Targets are asked. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Active>,
    /// Targets are judged by what requests meet. On.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive: Option<Passive>,
}

/// `health.active`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Active {
    /// What is asked for by GET, with its query; below the target's base path.
    pub path: String,
    /// From one check to the next, and the longest that one may take. Default 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// Failed checks in a row. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_after: Option<u32>,
    /// Good checks in a row. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_after: Option<u32>,
}

/// `health.passive`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Passive {
    /// Failures in a row. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<u32>,
    /// How long the first time. Default 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eject_for: Option<Duration>,
    /// Targets that may be ejected at once. Default 50%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ejected: Option<Share>,
    /// Where fewer targets than this are left, all are used. Default 50%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic: Option<Share>,
}

/// `breaker`, of an upstream or, in its place, of a route.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Breaker {
    /// Above 0. Default 50%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<Share>,
    /// Above 0; with `slow_after`. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_rate: Option<Share>,
    /// From when on a try is slow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_after: Option<Duration>,
    /// Failures in a row. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive: Option<u32>,
    /// What counts as a failure; none twice. Default connect, reset, timeout, 500, 502, 503, 504.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<Vec<Failure>>,
    /// Default 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u32>,
    /// Default 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_for: Option<Duration>,
    /// Not shorter than `open_for`. Default ten times that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_open_for: Option<Duration>,
    /// Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
    /// Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observers: Option<u32>,
    /// What is done with requests while it is open. Default: 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// `breaker.fallback`.
#[derive(Debug, Clone, PartialEq)]
pub enum Fallback {
    /// A fixed answer.
    Respond(Respond),
    /// Another upstream, by its name.
    Upstream(String),
}

// === impl Failure ===

impl Failure {
    /// The failures that are words.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("connect", Self::Connect),
        ("reset", Self::Reset),
        ("timeout", Self::Timeout),
    ];
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Status(status) => s.serialize_u16(*status),
            word => s.collect_str(word),
        }
    }
}

// === impl Backoff ===

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.most)
    }
}

impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

// === impl Fallback ===

impl Serialize for Fallback {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Upstream<'a> {
            upstream: &'a str,
        }
        match self {
            Self::Respond(respond) => respond.serialize(s),
            Self::Upstream(upstream) => Upstream { upstream }.serialize(s),
        }
    }
}
