//! What is tried again, how often, and after which pause. Pure: time and chance are arguments.

use crate::error::{SendError, SendErrorKind, Which};
use sluice_shared_state::breaker::{Failure, Failures};
use std::time::Duration;
use tokio::time::Instant;

/// What is tried again, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Retry {
    /// Tries in all, the first among them; 1: none is repeated.
    pub attempts: u32,
    /// After which failures.
    pub on: Failures,
    /// Repeated tries for each request, in millionths.
    pub budget: u32,
    /// The most of the first pause.
    pub backoff: Duration,
    /// The most of any pause.
    pub most_backoff: Duration,
}

/// Why a request was tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Retried {
    /// No connection came about.
    Connect,
    /// The connection ended before an answer, or what came was none.
    Reset,
    /// No answer in time.
    Timeout,
    /// An answer of a status that is tried again.
    Status,
}

/// Why a request was not tried again, though it failed in a way for which it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Skipped {
    /// Its method may not be repeated (RFC 9110 §9.2.2), and the target may have acted on it.
    Method,
    /// Its body is gone: longer than what is kept, or broken.
    Body,
    /// So many were tried again lately that more would only add to the load.
    Budget,
    /// Its breaker is open, or lets probes through alone.
    Breaker,
    /// There is no time left for it.
    Time,
}

/// What one worker may still repeat for one upstream, in millionths of a try: each request brings a share, each second
/// a whole one, and more than ten are not saved up. So retries are a share of the load whatever fails, a quiet upstream
/// has a few all the same, and a failure that hits all requests does not double them.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    at: Instant,
}

const TRY: u64 = 1_000_000;
const SAVED: u64 = 10 * TRY;

// === impl Retry ===

impl Default for Retry {
    /// As docs/reference.md promises: one attempt; connect, reset, timeout, 502, 503, 504; 20 %; 25 to 250 ms.
    fn default() -> Self {
        Self {
            attempts: 1,
            on: Failures {
                connect: true,
                reset: true,
                timeout: true,
                statuses: vec![502, 503, 504],
            },
            budget: 200_000,
            backoff: Duration::from_millis(25),
            most_backoff: Duration::from_millis(250),
        }
    }
}

impl Retry {
    /// The pause after the `tries`th try, the first being 1: anything from nothing to a bound that doubles (full jitter).
    /// `chance` is below 1.
    pub(crate) fn pause(&self, tries: u32, chance: f32) -> Duration {
        let doubled = 2u32.saturating_pow(tries.saturating_sub(1));
        self.backoff
            .saturating_mul(doubled)
            .min(self.most_backoff)
            .mul_f32(chance.clamp(0.0, 1.0))
    }
}

/// What kind of failure an error of a try is; none where it says nothing of the target.
pub(crate) fn failure(error: &SendError) -> Option<Failure> {
    match &error.kind {
        SendErrorKind::Connect | SendErrorKind::Timeout(Which::Connect) => Some(Failure::Connect),
        SendErrorKind::Reset | SendErrorKind::Protocol => Some(Failure::Reset),
        SendErrorKind::Timeout(_) => Some(Failure::Timeout),
        SendErrorKind::NoTarget
        | SendErrorKind::Unfit
        | SendErrorKind::BreakerOpen(_)
        | SendErrorKind::ClientBody(_) => None,
    }
}

// === impl Retried ===

impl Retried {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Reset, Self::Timeout, Self::Status];

    /// The label `why` of `sluice_upstream_retries_total`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
        }
    }
}

impl From<Failure> for Retried {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connect => Self::Connect,
            Failure::Reset => Self::Reset,
            Failure::Timeout => Self::Timeout,
            Failure::Status(_) => Self::Status,
        }
    }
}

// === impl Skipped ===

impl Skipped {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Method, Self::Body, Self::Budget, Self::Breaker, Self::Time];

    /// The label `why` of `sluice_upstream_retries_skipped_total`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Body => "body",
            Self::Budget => "budget",
            Self::Breaker => "breaker",
            Self::Time => "time",
        }
    }
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: SAVED, at: now }
    }

    /// A request came.
    pub(crate) fn came(&mut self, share: u32) {
        self.left = (self.left + u64::from(share)).min(SAVED);
    }

    /// Whether one more try may be made; takes it.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_micros();
        self.at = now;
        // A try a second is a millionth a microsecond.
        self.left = (self.left + u64::try_from(passed).unwrap_or(SAVED).min(SAVED)).min(SAVED);
        let enough = self.left >= TRY;
        if enough {
            self.left -= TRY;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_begin_at_nothing() {
        let retry = Retry::default();
        let most: Vec<u128> = (1..8).map(|tries| retry.pause(tries, 1.0).as_millis()).collect();
        assert_eq!(most, [25, 50, 100, 200, 250, 250, 250]);
        assert_eq!(retry.pause(3, 0.0), Duration::ZERO);
        assert_eq!(retry.pause(u32::MAX, 1.0), Duration::from_millis(250));
    }

    #[test]
    fn retries_are_a_share_of_the_requests() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let retried = (0..10_000).filter(|_| {
            budget.came(200_000);
            budget.take(now)
        });
        // And those that were saved up at the beginning.
        let retried = retried.count();
        assert!((2_005..=2_010).contains(&retried), "{retried}");
    }

    #[test]
    fn a_quiet_upstream_has_a_try_a_second() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        while budget.take(now) {}
        assert!(!budget.take(now + Duration::from_millis(900)));
        assert!(budget.take(now + Duration::from_millis(1_001)));
        assert!(!budget.take(now + Duration::from_millis(1_002)));
        let later = now + Duration::from_secs(3_600);
        let saved = (0..100).filter(|_| budget.take(later)).count();
        assert_eq!(saved, 10, "more than ten are not saved up");
    }
}
