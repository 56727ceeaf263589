//! What a breaker is, as the protocol needs it.

use std::sync::Arc;
use std::time::Duration;

/// Whose breaker it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct BreakerKey {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Gateway and id of the route, where the route has a breaker of its own.
    pub route: Option<(Arc<str>, Arc<str>)>,
}

/// A breaker, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerRule {
    /// Share of failed attempts from which it opens; over 0, at most 1. None: not by this.
    pub failure_rate: Option<f32>,
    /// Share of slow attempts from which it opens.
    pub slow_rate: Option<f32>,
    /// From when on an attempt is slow.
    pub slow_after: Option<Duration>,
    /// Failures in a row from which it opens.
    pub consecutive: Option<u32>,
    /// What is a failure.
    pub failures: Failures,
    /// Over what time evidence counts; ten parts of it are kept.
    pub window: Duration,
    /// Attempts within the window below which no share counts.
    pub min_requests: u32,
    /// How long it stays open the first time.
    pub open_for: Duration,
    /// The longest that it stays open.
    pub max_open_for: Duration,
    /// Attempts that must succeed for it to close; at least 1.
    pub probes: u32,
    /// Nodes that must see it; at least 1. As many as are live where these are fewer.
    pub observers: u32,
    /// Within which a probe is over, whatever becomes of it.
    pub probe_timeout: Duration,
    /// The version of the configuration that gave it its numbers.
    pub version: u64,
}

/// What is a failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failures {
    /// No connection came about.
    pub connect: bool,
    /// The connection ended, or what came was no answer.
    pub reset: bool,
    /// No answer in time.
    pub timeout: bool,
    /// Answers of these statuses; sorted.
    pub statuses: Vec<u16>,
}

/// How an attempt ended that had no answer, or one of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection came about.
    Connect,
    /// The connection ended before the answer's head, or what came was no answer.
    Reset,
    /// No head in time.
    Timeout,
    /// It answered so.
    Status(u16),
}

// === impl Failures ===

impl Failures {
    /// Whether this one counts.
    #[must_use]
    pub fn counts(&self, failure: Failure) -> bool {
        match failure {
            Failure::Connect => self.connect,
            Failure::Reset => self.reset,
            Failure::Timeout => self.timeout,
            Failure::Status(status) => self.statuses.binary_search(&status).is_ok(),
        }
    }
}

impl Default for Failures {
    /// connect, reset, timeout, 500, 502, 503, 504.
    fn default() -> Self {
        Self {
            connect: true,
            reset: true,
            timeout: true,
            statuses: vec![500, 502, 503, 504],
        }
    }
}
