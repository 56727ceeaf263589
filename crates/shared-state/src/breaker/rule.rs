//! What a breaker is, as the protocol needs it.

use super::state::{Counts, Criterion};
use super::wire::floor;
use crate::key::KeyId;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
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

// === impl BreakerKey ===

impl BreakerKey {
    /// Under which key its evidence is kept. The same on all nodes; names are no secret, so it is not salted.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut hasher = SipHasher24::new_with_key(b"sluice  breakers");
        let parts = [
            Some(&self.upstream),
            self.route.as_ref().map(|r| &r.0),
            self.route.as_ref().map(|r| &r.1),
        ];
        for part in parts.into_iter().flatten() {
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
        }
        KeyId(hasher.finish128().as_bytes())
    }
}

// === impl BreakerRule ===

impl BreakerRule {
    /// By what one node's counts pass a threshold, where it has at least `floor` calls.
    #[must_use]
    pub fn passed(&self, counts: &Counts, floor: u32) -> Option<Criterion> {
        // In whole millionths: the script of the store has to come to the same.
        let share = |part: u32, threshold: Option<f32>| {
            threshold.is_some_and(|share| {
                u64::from(part) * 1_000_000 >= u64::from(millionths(share)) * u64::from(counts.calls)
            })
        };
        if counts.calls >= floor.max(1) && share(counts.failed, self.failure_rate) {
            return Some(Criterion::FailureRate);
        }
        if counts.calls >= floor.max(1) && share(counts.slow, self.slow_rate) {
            return Some(Criterion::SlowRate);
        }
        self.consecutive
            .is_some_and(|run| counts.run >= run)
            .then_some(Criterion::Consecutive)
    }

    /// Calls of its own that one of `live` nodes needs for its counts to say anything: its share of `min_requests`,
    /// halved because no balancer is even, and 3 at least where that many are asked for at all.
    #[must_use]
    pub fn floor(&self, live: u32) -> u32 {
        floor(self.min_requests, live)
    }
}

/// A share in millionths.
pub(super) fn millionths(share: f32) -> u32 {
    // The cast saturates, and a share is at most 1.
    (f64::from(share) * 1e6).round() as u32
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
