//! `rate_limits` and `concurrency`, of a gateway or a route.

use super::{Duration, Zone};
use serde::{Serialize, Serializer};
use std::fmt;

/// How often something may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RateLimit {
    /// Unique among the limits of its gateway or route; stands in answers, metrics and URLs.
    pub name: String,
    /// Requests, or what they cost. At least 1; at most [`RateLimit::GREATEST`], in a window that begins anew
    /// [`RateLimit::GREATEST_COUNT`].
    pub limit: u64,
    /// In which time.
    pub per: Per,
    /// Where hours, days and months begin. Default UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// What is counted apart: a value in CEL. Default `client.ip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Default by what else is there; see [`RateLimit::algorithm`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<LimitAlgorithm>,
    /// What a token bucket holds. Default: the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Default `exact`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<LimitMode>,
    /// Default `local` for windows under an hour, else `open`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// What one request counts. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<u32>,
    /// How long a request may be held back before it is refused. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Counted, and never refused. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// How many requests may be under way at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concurrency {
    /// Unique among the limits of its gateway or route.
    pub name: String,
    /// At least 1, at most [`RateLimit::GREATEST`].
    pub limit: u32,
    /// What is counted apart: a value in CEL. Default `client.ip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Any interval of this length; with `fixed_window`, one after the other.
    Every(Duration),
    /// A clock's minute.
    Minute,
    /// A clock's hour.
    Hour,
    /// A day.
    Day,
    /// A month of the calendar.
    Month,
}

/// `algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitAlgorithm {
    /// Never more than the limit in any interval.
    SlidingWindow,
    /// Evenly, and so many at once after a rest.
    TokenBucket,
    /// A count that begins anew.
    FixedWindow,
}

/// `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitMode {
    /// Never overdrawn.
    Exact,
    /// Overdrawn by a stated bound, so that no request waits.
    Fast,
}

/// `on_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Each node has its share.
    Local,
    /// All are let through.
    Open,
    /// All are refused.
    Closed,
}

// === impl RateLimit ===

impl RateLimit {
    /// The greatest limit and burst.
    pub const GREATEST: u64 = 1_000_000_000;
    /// The greatest limit of a window that begins anew: what every number of JSON and of Redis's scripts holds exactly.
    pub const GREATEST_COUNT: u64 = 1 << 53;
    /// The shortest window.
    pub const SHORTEST: std::time::Duration = std::time::Duration::from_millis(10);
    /// The longest window.
    pub const LONGEST: std::time::Duration = std::time::Duration::from_secs(31 * 86_400);
    /// The longest `delay`.
    pub const LONGEST_DELAY: std::time::Duration = std::time::Duration::from_secs(30);

    /// How it counts: what it says, else a token bucket where a burst is given, a fixed window where a word of the
    /// calendar is, and a sliding window otherwise.
    #[must_use]
    pub fn algorithm(&self) -> LimitAlgorithm {
        self.algorithm.unwrap_or(match (self.burst, self.per) {
            (Some(_), _) => LimitAlgorithm::TokenBucket,
            (None, Per::Every(_)) => LimitAlgorithm::SlidingWindow,
            (None, _) => LimitAlgorithm::FixedWindow,
        })
    }

    /// The most that a single request may cost.
    #[must_use]
    pub fn most(&self) -> u64 {
        match (self.algorithm(), self.burst) {
            (LimitAlgorithm::TokenBucket, Some(burst)) => burst.into(),
            _ => self.limit,
        }
    }
}

/// Stands in for one of which something could not be read: nothing else is said of it.
impl Default for RateLimit {
    fn default() -> Self {
        Self {
            name: String::new(),
            limit: 1,
            per: Per::Minute,
            zone: None,
            key: None,
            algorithm: None,
            burst: None,
            mode: None,
            on_failure: None,
            cost: None,
            delay: None,
            dry_run: None,
        }
    }
}

// === impl Concurrency ===

/// Stands in for one of which something could not be read: nothing else is said of it.
impl Default for Concurrency {
    fn default() -> Self {
        Self {
            name: String::new(),
            limit: 1,
            key: None,
        }
    }
}

// === impl Per ===

impl Per {
    /// How long it is; a month as its longest.
    #[must_use]
    pub fn length(self) -> std::time::Duration {
        std::time::Duration::from_secs(match self {
            Self::Every(length) => return length.0,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Month => 31 * 86_400,
        })
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Every(length) => return length.fmt(f),
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        })
    }
}

impl Serialize for Per {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
