//! What a limit is, as the protocols need it.

use crate::key::RuleId;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// A limit, compiled. Immutable, shared between snapshots where nothing of it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As declared; unique within its scope.
    pub name: Arc<str>,
    /// Over what it counts.
    pub scope: Scope,
    /// How it counts, with its numbers.
    pub algorithm: Algorithm,
    /// Whether it may be overdrawn for a moment.
    pub mode: Mode,
    /// What holds while the store is away.
    pub on_failure: OnFailure,
    /// The version of the configuration that gave it its present numbers: of two nodes that tell the store different
    /// ones, the later version's hold.
    pub version: u64,
    /// What its counts are kept under; see [`Rule::seal`].
    pub id: RuleId,
}

/// Over what a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// All routes of this gateway together.
    Gateway(Arc<str>),
    /// One route: its gateway, its id.
    Route(Arc<str>, Arc<str>),
}

/// How a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Algorithm {
    /// Never more than `limit` in any interval of this length.
    SlidingWindow {
        /// At least 1.
        limit: u32,
        /// 10 ms to 31 days.
        window: Duration,
    },
    /// `limit` for each `per`, evenly, and `depth` at once after a rest.
    TokenBucket {
        /// At least 1.
        limit: u32,
        /// The time in which `limit` comes back.
        per: Duration,
        /// At least 1.
        depth: u32,
    },
    /// A count that begins anew with each window.
    FixedWindow {
        /// At least 1.
        limit: u64,
        /// Which windows.
        calendar: Calendar,
    },
    /// Requests that are under way at once.
    Concurrency {
        /// At least 1.
        limit: u32,
        /// How long the requests of a node that died may still run.
        hold: Duration,
    },
}

/// The windows of a count that begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Calendar {
    /// Each of this length, counted from the Unix epoch.
    Every(Duration),
    /// Of a clock's minutes.
    Minute,
    /// Of a clock's hours, in a zone.
    Hour(Offsets),
    /// Of days, in a zone.
    Day(Offsets),
    /// Of months, in a zone.
    Month(Offsets),
}

/// A zone's offsets from UTC in seconds: now, and from when on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Offsets {
    /// The present one.
    pub now: i32,
    /// Unix seconds from which another holds, and that one.
    pub then: Option<(u64, i32)>,
}

/// Whether a limit may be overdrawn for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Never; a request waits for the store where its key is new to the node, 20 ms at most.
    #[default]
    Exact,
    /// By a stated bound; no request waits.
    Fast,
}

/// What holds while the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnFailure {
    /// Each node has its share of the limit.
    #[default]
    Local,
    /// All are admitted, and counted.
    Open,
    /// What is held is spent, then all are refused.
    Closed,
}

// === impl Rule ===

impl Rule {
    /// Sets the id from scope, name, algorithm and window.
    #[must_use]
    pub fn seal(mut self) -> Self {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(0x51_0ce, 1);
        self.name.hash(&mut hasher);
        self.scope.hash(&mut hasher);
        match &self.algorithm {
            Algorithm::SlidingWindow { window, .. } => (0u8, window).hash(&mut hasher),
            // What is left of a bucket means the same whatever its rate is.
            Algorithm::TokenBucket { .. } => 1u8.hash(&mut hasher),
            Algorithm::FixedWindow { calendar, .. } => {
                2u8.hash(&mut hasher);
                match calendar {
                    Calendar::Every(length) => length.hash(&mut hasher),
                    Calendar::Minute => 60u8.hash(&mut hasher),
                    Calendar::Hour(_) => 1u8.hash(&mut hasher),
                    Calendar::Day(_) => 2u8.hash(&mut hasher),
                    Calendar::Month(_) => 3u8.hash(&mut hasher),
                }
            }
            Algorithm::Concurrency { .. } => 3u8.hash(&mut hasher),
        }
        self.id = RuleId(hasher.finish());
        self
    }

    /// The most that a single request may cost.
    #[must_use]
    pub fn most(&self) -> u64 {
        match &self.algorithm {
            Algorithm::SlidingWindow { limit, .. } | Algorithm::Concurrency { limit, .. } => u64::from(*limit),
            Algorithm::TokenBucket { depth, .. } => u64::from(*depth),
            Algorithm::FixedWindow { limit, .. } => *limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(limit: u32, window: u64) -> Rule {
        Rule {
            name: "orders".into(),
            scope: Scope::Gateway("web".into()),
            algorithm: Algorithm::SlidingWindow {
                limit,
                window: Duration::from_secs(window),
            },
            mode: Mode::Exact,
            on_failure: OnFailure::Local,
            version: 1,
            id: RuleId(0),
        }
        .seal()
    }

    #[test]
    fn a_limit_keeps_its_count_when_its_numbers_change() {
        assert_eq!(rule(10, 1).id, rule(20, 1).id);
        assert_ne!(rule(10, 1).id, rule(10, 2).id, "another window is another count");
    }
}
