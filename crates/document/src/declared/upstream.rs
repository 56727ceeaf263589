//! `upstreams.NAME`: a named set of targets.

use super::{Breaker, Duration, Health, Retry};
use serde::{Serialize, Serializer};

/// A named set of targets with its balancing, pool and time-outs, and what is done when they fail.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Upstream {
    /// Never empty.
    pub targets: Vec<Target>,
    /// The Host that the target gets. Default `preserve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostPolicy>,
    /// Default `least_request`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// Time-outs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// Kept connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// Default `h1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// What is tried again, and how often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Which targets are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// When the upstream is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
}

/// A target: a URL, or `{ url, weight }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Target {
    /// `http://host[:port][/base]`; the base path is put in front of the request's.
    pub url: String,
    /// 0 to 65535. Default 1; 0 gets nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// `host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// What the client asked for.
    Preserve,
    /// The target's own authority.
    Target,
    /// This one.
    Literal(String),
}

/// `balance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The less busy of two random targets.
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
}

/// `timeout`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timeout {
    /// To a connection. Default 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// One attempt to its head. Default off.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Duration>,
    /// All attempts to the head. Default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Duration>,
    /// Between bytes. Default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// To the last byte. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Duration>,
    /// Without a byte in either direction after a switch of protocols. Default 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Duration>,
}

/// `pool`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pool {
    /// A kept connection is closed after this long unused. Default 15s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// Kept connections of one worker to one target. Default 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_idle: Option<u32>,
    /// No connection is used again after this long. Default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

/// `protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 in clear text, by prior knowledge.
    H2c,
}

// === impl HostPolicy ===

impl Serialize for HostPolicy {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(match self {
            Self::Preserve => "preserve",
            Self::Target => "target",
            Self::Literal(host) => host,
        })
    }
}
