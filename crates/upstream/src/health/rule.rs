//! How targets are judged, compiled.

use http::uri::PathAndQuery;
use std::time::Duration;

/// How the targets of an upstream are judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct HealthRule {
    /// By what requests meet.
    pub passive: Passive,
    /// By asking them.
    pub active: Option<Active>,
}

/// Judging by what requests meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Passive {
    /// Failures in a row, of all workers, that eject a target; at least 1.
    pub errors: u32,
    /// How long the first time.
    pub eject_for: Duration,
    /// Share of the targets that may be ejected at once, in millionths.
    pub max_ejected: u32,
    /// Where a smaller share than this is left, all are used; in millionths. Holds for unhealthy targets as well.
    pub panic: u32,
}

/// Judging by asking.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Active {
    /// What is asked for, below the target's base path.
    pub path: PathAndQuery,
    /// From one check to the next, and the longest that one takes if that is less than 5 s.
    pub every: Duration,
    /// Failed checks in a row; at least 1.
    pub unhealthy_after: u32,
    /// Good checks in a row; at least 1.
    pub healthy_after: u32,
}

/// A whole, as shares count.
pub(super) const WHOLE: u64 = 1_000_000;

// === impl Passive ===

impl Default for Passive {
    /// As docs/reference.md promises: 5, 10 s, 50 %, 50 %.
    fn default() -> Self {
        Self {
            errors: 5,
            eject_for: Duration::from_secs(10),
            max_ejected: 500_000,
            panic: 500_000,
        }
    }
}

impl Passive {
    /// How many of so many targets may be ejected at once.
    pub(super) fn most_ejected(&self, targets: usize) -> usize {
        let most = targets as u64 * u64::from(self.max_ejected) / WHOLE;
        usize::try_from(most).unwrap_or(targets)
    }

    /// Whether so few of them are left that all are used.
    pub(super) fn panics(&self, left: usize, targets: usize) -> bool {
        (left as u64) * WHOLE < targets as u64 * u64::from(self.panic)
    }
}
