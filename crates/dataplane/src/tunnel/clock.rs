//! When a tunnel ends that nobody ends. The time is an argument.

use std::time::Duration;
use tokio::time::Instant;

/// What bounds the life of a tunnel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Without a byte in either direction.
    pub(super) idle: Duration,
    /// The same once one side has closed.
    pub(super) half_closed: Duration,
    /// From the worker's order to close on: tunnels are left in peace that long.
    pub(super) grace: Duration,
}

/// Why time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Idle,
    Drained,
}

/// How a tunnel is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// When a byte last moved.
    pub(super) moved: Instant,
    /// One side has closed.
    pub(super) half_closed: bool,
    /// When the order to close was seen.
    pub(super) closing: Option<Instant>,
}

// === impl Clock ===

impl Clock {
    /// When it ends if nothing happens until then; none beyond the end of time.
    pub(super) fn due(&self, now: Now) -> Option<(Instant, Due)> {
        let patience = match now.half_closed {
            true => self.half_closed.min(self.idle),
            false => self.idle,
        };
        let idle = now.moved.checked_add(patience).map(|at| (at, Due::Idle));
        let drained = now.closing.and_then(|closing| closing.checked_add(self.grace));
        let drained = drained.map(|at| (at, Due::Drained));
        [drained, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const CLOCK: Clock = Clock {
        idle: Duration::from_secs(3600),
        half_closed: Duration::from_secs(60),
        grace: Duration::from_secs(15),
    };

    #[test]
    fn an_open_tunnel_is_bound_by_its_idleness_and_a_half_closed_one_by_less() {
        let t = Instant::now();
        let mut now = Now {
            moved: t,
            half_closed: false,
            closing: None,
        };
        assert_eq!(CLOCK.due(now), Some((t + 3600 * S, Due::Idle)));
        now.half_closed = true;
        assert_eq!(CLOCK.due(now), Some((t + 60 * S, Due::Idle)));
        let shorter = Clock { idle: S, ..CLOCK };
        assert_eq!(shorter.due(now), Some((t + S, Due::Idle)));
    }

    #[test]
    fn a_drain_leaves_its_grace_and_no_more() {
        let t = Instant::now();
        let mut now = Now {
            moved: t,
            half_closed: false,
            closing: Some(t + 10 * S),
        };
        assert_eq!(CLOCK.due(now), Some((t + 25 * S, Due::Drained)));
        now.closing = Some(t + 3590 * S);
        assert_eq!(CLOCK.due(now), Some((t + 3600 * S, Due::Idle)));
    }

    #[test]
    fn a_limit_beyond_the_end_of_time_is_none() {
        let clock = Clock {
            idle: Duration::MAX,
            ..CLOCK
        };
        let now = Now {
            moved: Instant::now(),
            half_closed: false,
            closing: None,
        };
        assert_eq!(clock.due(now), None);
    }
}
