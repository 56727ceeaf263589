//! How much a client may have us do beside what it asks for.
//!
//! A ping, a setting, a priority, a window of one byte cost the client nothing and us some work; a
//! request that is cancelled at once costs a service more. None of them is wrong, so they are not
//! counted for good: what a client may spend comes back with time, and with every request that it
//! lets us finish.

use super::frames::Seen;
use std::time::Duration;
use tokio::time::Instant;

/// What a frame costs that asks for nothing, in bytes of a body that pay for it.
const FRAME: u64 = 512;

/// What new settings cost: they are applied to each stream.
const SETTINGS: u64 = 8 * FRAME;

/// What a stream brings with it: its priority, windows, the end of both sides.
const STREAM: u64 = 8 * FRAME;

/// The allowance of a connection.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Frames that ask for nothing: 2,000 at once, 100 a second. A client that downloads opens two
    /// windows for each few kilobytes, which the bytes pay for.
    frames: Bucket,
    /// Requests that the client cancelled before they were answered: 200 at once, which is twice
    /// as many as can be open, and 20 a second.
    cancels: Bucket,
}

/// The client has had us do too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    Frames,
    Cancels,
}

#[derive(Debug)]
struct Bucket {
    left: u64,
    most: u64,
    per_second: u64,
    /// When time was last paid out for.
    at: Instant,
}

// === impl Allowance ===

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            frames: Bucket::new(2_000 * FRAME, 100 * FRAME, now),
            cancels: Bucket::new(200, 20, now),
        }
    }

    /// A frame came.
    pub(super) fn frame(&mut self, seen: Seen, now: impl FnOnce() -> Instant) -> Result<(), Flood> {
        let cost = match seen {
            Seen::Opens => {
                self.frames.earn(STREAM);
                return Ok(());
            }
            Seen::Body(bytes) => {
                self.frames.earn(bytes as u64);
                return Ok(());
            }
            Seen::Settings => SETTINGS,
            Seen::Empty | Seen::Other => FRAME,
        };
        self.frames.spend(cost, now).map_err(|()| Flood::Frames)
    }

    /// Bytes of an answer went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.frames.earn(bytes as u64);
    }

    /// A request was answered to its end.
    pub(super) fn answered(&mut self) {
        self.cancels.earn(1);
    }

    /// The client reset a stream before its answer was complete.
    pub(super) fn cancelled(&mut self, now: impl FnOnce() -> Instant) -> Result<(), Flood> {
        self.cancels.spend(1, now).map_err(|()| Flood::Cancels)
    }
}

// === impl Bucket ===

impl Bucket {
    fn new(most: u64, per_second: u64, now: Instant) -> Self {
        Self {
            left: most,
            most,
            per_second,
            at: now,
        }
    }

    fn earn(&mut self, amount: u64) {
        self.left = self.left.saturating_add(amount).min(self.most);
    }

    /// The clock is asked only where what is there is not enough.
    fn spend(&mut self, cost: u64, now: impl FnOnce() -> Instant) -> Result<(), ()> {
        if self.left < cost {
            let now = now();
            let earned = self.worth(now.saturating_duration_since(self.at));
            // Moments too short to be paid for are not lost.
            if earned > 0 {
                self.at = now;
                self.earn(earned);
            }
        }
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(()),
        }
    }

    fn worth(&self, passed: Duration) -> u64 {
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        micros.saturating_mul(self.per_second) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `seen` pass at one moment.
    fn passes(allowance: &mut Allowance, seen: Seen, now: Instant) -> usize {
        let mut count = 0;
        while allowance.frame(seen, || now).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn frames_that_ask_for_nothing_come_back_with_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert_eq!(passes(&mut allowance, Seen::Other, start), 2_000);
        assert_eq!(passes(&mut allowance, Seen::Other, start), 0);
        let later = start + Duration::from_secs(3);
        assert_eq!(passes(&mut allowance, Seen::Empty, later), 300);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(passes(&mut allowance, Seen::Settings, much_later), 250);
    }

    #[test]
    fn work_pays_for_the_frames_that_belong_to_it() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        // A long download by a client that opens two windows for each 4 KiB, within one moment.
        for _ in 0..100_000 {
            allowance.sent(4096);
            for _ in 0..2 {
                assert_eq!(allowance.frame(Seen::Other, || start), Ok(()));
            }
        }
        // Many small requests, each with its priority, window and end.
        for _ in 0..100_000 {
            assert_eq!(allowance.frame(Seen::Opens, || start), Ok(()));
            for _ in 0..4 {
                assert_eq!(allowance.frame(Seen::Other, || start), Ok(()));
            }
        }
    }

    #[test]
    fn a_page_that_is_left_may_cancel_all_that_it_asked_for() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        for _ in 0..200 {
            assert_eq!(allowance.cancelled(|| start), Ok(()));
        }
        assert_eq!(allowance.cancelled(|| start), Err(Flood::Cancels));
        allowance.answered();
        assert_eq!(allowance.cancelled(|| start), Ok(()));
        let later = start + Duration::from_secs(1);
        for _ in 0..20 {
            assert_eq!(allowance.cancelled(|| later), Ok(()));
        }
        assert_eq!(allowance.cancelled(|| later), Err(Flood::Cancels));
    }
}
