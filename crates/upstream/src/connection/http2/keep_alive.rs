//! When a target that is silent is asked whether it is still there. Pure: time and what was heard
//! are arguments.
//!
//! While nothing is under way nobody asks: such a connection is closed by its idle time-out, and
//! gRPC servers take pings without streams for abuse.

use std::time::Duration;
use tokio::time::Instant;

/// How long a target may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The least silence before a target is asked.
const SOONEST: Duration = Duration::from_secs(10);

/// The state of the asking, of one connection.
#[derive(Debug)]
pub(super) struct KeepAlive {
    /// Bytes heard when it was last looked.
    heard: u64,
    since: Instant,
    asked: Option<Instant>,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until then.
    Wait(Instant),
    /// Ask.
    Ping,
    /// It did not answer.
    Dead,
}

// === impl KeepAlive ===

impl KeepAlive {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: 0,
            since: now,
            asked: None,
        }
    }

    /// `heard` is what was read so far, `streams` how many wait for more, `idle` how long their
    /// answers may be silent. The target is asked after half of that: one that is dead is found
    /// before the streams give up one by one, and one that is merely quiet is asked once or twice.
    /// gRPC servers end a connection on which they are asked more often than that without having
    /// anything to say.
    pub(super) fn step(&mut self, now: Instant, heard: u64, streams: usize, idle: Duration) -> Step {
        if heard != self.heard || (streams == 0 && self.asked.is_none()) {
            self.heard = heard;
            self.since = now;
            self.asked = None;
        }
        if let Some(asked) = self.asked {
            let late = later(asked, ANSWER);
            return if now >= late { Step::Dead } else { Step::Wait(late) };
        }
        let due = later(self.since, (idle / 2).max(SOONEST));
        if now < due {
            return Step::Wait(due);
        }
        self.asked = Some(now);
        Step::Ping
    }
}

/// A time-out beyond the end of time never comes; a year is as good.
fn later(from: Instant, by: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from + by.min(YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(60);

    #[test]
    fn a_silent_target_is_asked_once_and_then_given_up() {
        let t = Instant::now();
        let mut all = KeepAlive::new(t);
        assert_eq!(all.step(t, 9, 1, IDLE), Step::Wait(t + 30 * S));
        assert_eq!(all.step(t + 30 * S, 9, 1, IDLE), Step::Ping);
        assert_eq!(all.step(t + 31 * S, 9, 1, IDLE), Step::Wait(t + 40 * S));
        assert_eq!(all.step(t + 40 * S, 9, 1, IDLE), Step::Dead);
    }

    #[test]
    fn whatever_is_heard_is_life() {
        let t = Instant::now();
        let mut all = KeepAlive::new(t);
        all.step(t, 9, 1, IDLE);
        assert_eq!(all.step(t + 30 * S, 9, 1, IDLE), Step::Ping);
        assert_eq!(all.step(t + 31 * S, 26, 1, IDLE), Step::Wait(t + 61 * S));
        assert_eq!(all.step(t + 61 * S, 26, 1, IDLE), Step::Ping);
    }

    #[test]
    fn nobody_is_asked_while_nothing_is_under_way() {
        let t = Instant::now();
        let mut all = KeepAlive::new(t);
        assert_eq!(all.step(t + 300 * S, 9, 0, IDLE), Step::Wait(t + 330 * S));
        assert_eq!(all.step(t + 3_000 * S, 9, 0, IDLE), Step::Wait(t + 3_030 * S));
        assert_eq!(all.step(t + 3_001 * S, 9, 1, IDLE), Step::Wait(t + 3_030 * S));
    }

    #[test]
    fn a_short_or_endless_time_out_is_bounded() {
        let t = Instant::now();
        let mut all = KeepAlive::new(t);
        assert_eq!(all.step(t, 0, 1, S), Step::Wait(t + SOONEST));
        assert!(matches!(all.step(t, 0, 1, Duration::MAX), Step::Wait(_)));
    }

    proptest! {
        #[test]
        fn a_target_that_answers_each_ping_is_never_dead(gaps in prop::collection::vec(0u64..9_000, 1..200)) {
            let mut now = Instant::now();
            let mut all = KeepAlive::new(now);
            let mut heard = 0;
            for gap in gaps {
                now += Duration::from_millis(gap);
                match all.step(now, heard, 1, 20 * S) {
                    Step::Ping => heard += 17,
                    Step::Wait(at) => prop_assert!(at > now),
                    Step::Dead => prop_assert!(false),
                }
            }
        }
    }
}
