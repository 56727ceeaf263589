//! Which time-out ends the wait that begins now. No timer in here, and no look at the time that is
//! not an argument.

use crate::error::Which;
use crate::spec::Timeouts;
use tokio::time::Instant;

/// Up to the head of the answer.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    timeouts: Timeouts,
    started: Instant,
    /// When `first_byte` began to count: with the request, or when its body was all sent for the first time.
    first_from: Instant,
    /// That was so already; what is sent of it again takes from the time there is.
    all_sent: bool,
    attempt_from: Instant,
    /// While the body is under way: how much had moved, and since when it is as it is.
    upload: Option<(u64, Instant)>,
}

/// What the writing of a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Nothing: all of it is written.
    Done,
    /// The client, for more of its body; that is not the target's fault.
    Client,
    /// The target, with a count of what it took so far.
    Target(u64),
}

/// When to give up, and why then.
pub(crate) type Deadline = Option<(Instant, Which)>;

// === impl Clock ===

impl Clock {
    pub(crate) fn new(timeouts: &Timeouts, started: Instant) -> Self {
        Self {
            timeouts: *timeouts,
            started,
            first_from: started,
            all_sent: false,
            attempt_from: started,
            upload: None,
        }
    }

    /// Another attempt begins.
    pub(crate) fn attempt(&mut self, now: Instant) {
        self.attempt_from = now;
        self.upload = None;
    }

    /// The longest pause between bytes.
    pub(crate) fn idle(&self) -> std::time::Duration {
        self.timeouts.idle
    }

    /// Whether a wait until then leaves any time for another attempt.
    pub(crate) fn allows(&self, then: Instant) -> bool {
        let first = after(self.first_from, self.timeouts.first_byte, Which::FirstByte);
        earlier(first, self.total()).is_none_or(|(at, _)| then < at)
    }

    /// For a connection that is made now.
    pub(crate) fn connecting(&self, now: Instant) -> Deadline {
        earlier(after(now, self.timeouts.connect, Which::Connect), self.head())
    }

    /// For a wait for the head. `now` is asked only while a body is under way.
    pub(crate) fn waiting(&mut self, sending: Sending, now: impl FnOnce() -> Instant) -> Deadline {
        match sending {
            Sending::Done => {
                if self.upload.take().is_some() {
                    let now = now();
                    if !std::mem::replace(&mut self.all_sent, true) {
                        self.first_from = now;
                    }
                    self.attempt_from = now;
                }
                self.head()
            }
            Sending::Client => {
                self.upload = Some((0, now()));
                self.total()
            }
            Sending::Target(moved) => {
                let since = match self.upload {
                    Some((before, since)) if before == moved => since,
                    _ => now(),
                };
                self.upload = Some((moved, since));
                earlier(after(since, self.timeouts.idle, Which::Idle), self.total())
            }
        }
    }

    /// When the last byte has to be there.
    pub(crate) fn total(&self) -> Deadline {
        after(self.started, self.timeouts.total?, Which::Total)
    }

    fn head(&self) -> Deadline {
        let attempt = self
            .timeouts
            .attempt
            .and_then(|limit| after(self.attempt_from, limit, Which::Attempt));
        let first = after(self.first_from, self.timeouts.first_byte, Which::FirstByte);
        earlier(earlier(attempt, first), self.total())
    }
}

/// A time-out beyond the end of time is none.
pub(crate) fn after(from: Instant, limit: std::time::Duration, which: Which) -> Deadline {
    Some((from.checked_add(limit)?, which))
}

/// Of two at the same moment the first.
pub(crate) fn earlier(a: Deadline, b: Deadline) -> Deadline {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const S: Duration = Duration::from_secs(1);

    fn clock(attempt: Option<Duration>, total: Option<Duration>) -> (Clock, Instant) {
        let now = Instant::now();
        let timeouts = Timeouts {
            connect: S,
            attempt,
            first_byte: 30 * S,
            idle: 60 * S,
            total,
            tunnel: 3600 * S,
        };
        (Clock::new(&timeouts, now), now)
    }

    fn never() -> Instant {
        unreachable!("the time is not asked for without need")
    }

    #[test]
    fn the_earliest_time_out_ends_the_wait_for_a_head() {
        let (mut all, t) = clock(None, None);
        assert_eq!(all.waiting(Sending::Done, never), Some((t + 30 * S, Which::FirstByte)));
        let (mut all, t) = clock(Some(5 * S), None);
        assert_eq!(all.waiting(Sending::Done, never), Some((t + 5 * S, Which::Attempt)));
        let (mut all, t) = clock(Some(5 * S), Some(2 * S));
        assert_eq!(all.waiting(Sending::Done, never), Some((t + 2 * S, Which::Total)));
        assert_eq!(all.connecting(t), Some((t + S, Which::Connect)));
        assert_eq!(all.connecting(t + 10 * S), Some((t + 2 * S, Which::Total)));
    }

    #[test]
    fn a_body_under_way_stops_the_clock_of_the_head() {
        let (mut all, t) = clock(Some(5 * S), None);
        assert_eq!(all.waiting(Sending::Target(1), || t), Some((t + 60 * S, Which::Idle)));
        assert_eq!(
            all.waiting(Sending::Target(1), || t + 9 * S),
            Some((t + 60 * S, Which::Idle))
        );
        assert_eq!(
            all.waiting(Sending::Target(2), || t + 10 * S),
            Some((t + 70 * S, Which::Idle))
        );
        assert_eq!(all.waiting(Sending::Client, || t + 20 * S), None);
        assert_eq!(
            all.waiting(Sending::Target(2), || t + 300 * S),
            Some((t + 360 * S, Which::Idle))
        );
        assert_eq!(
            all.waiting(Sending::Done, || t + 310 * S),
            Some((t + 315 * S, Which::Attempt))
        );
        assert_eq!(all.waiting(Sending::Done, never), Some((t + 315 * S, Which::Attempt)));
    }

    #[test]
    fn a_new_attempt_starts_its_own_clock_and_not_the_first_byte_s() {
        let (mut all, t) = clock(Some(5 * S), None);
        all.attempt(t + 27 * S);
        assert_eq!(all.waiting(Sending::Done, never), Some((t + 30 * S, Which::FirstByte)));
    }

    #[test]
    fn a_body_that_is_sent_again_does_not_win_time() {
        let (mut all, t) = clock(None, None);
        all.waiting(Sending::Target(1), || t);
        assert_eq!(
            all.waiting(Sending::Done, || t + 10 * S),
            Some((t + 40 * S, Which::FirstByte))
        );
        all.attempt(t + 20 * S);
        all.waiting(Sending::Target(1), || t + 20 * S);
        assert_eq!(
            all.waiting(Sending::Done, || t + 25 * S),
            Some((t + 40 * S, Which::FirstByte))
        );
        assert!(all.allows(t + 39 * S) && !all.allows(t + 40 * S));
    }

    #[test]
    fn a_time_out_without_end_is_none() {
        let (mut all, _) = clock(None, None);
        all.timeouts.first_byte = Duration::MAX;
        assert_eq!(all.waiting(Sending::Done, never), None);
    }
}
