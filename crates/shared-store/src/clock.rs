//! The node's clock.

use sluice_shared_state::Moment;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The node's steady clock, as all of shared state counts it: the runtime's, which tests may stop. Reading it costs some
/// 20 ns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    wall: SystemTime,
}

// === impl Clock ===

impl Clock {
    /// A clock that stands at zero now.
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// That moment; zero where it was before.
    pub(crate) fn at(&self, instant: Instant) -> Moment {
        let since = instant.saturating_duration_since(self.began);
        Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The same moment for a timer.
    pub(crate) fn instant(&self, at: Moment) -> Instant {
        // The end of time is not a moment to wait for: a day is.
        let since = Duration::from_nanos(at.0);
        self.began
            .checked_add(since)
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400))
    }

    /// The same moment for people.
    pub(crate) fn wall(&self, at: Moment) -> SystemTime {
        self.wall + Duration::from_nanos(at.0)
    }
}
