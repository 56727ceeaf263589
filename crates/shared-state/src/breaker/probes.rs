//! The probes of a lease: at most so many begin, and each is told once.

use super::cell::Verdict;
use std::sync::atomic::{AtomicU64, Ordering};

/// The probes of the lease that this node holds, or held last. One word, so that a probe of an older lease can neither
/// be taken nor told as one of this.
///
/// Bits: lease 32, left 8, succeeded 8, failed 8, without result 8.
#[derive(Debug, Default)]
pub(super) struct Probes(AtomicU64);

/// How they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// Of which lease.
    pub(super) lease: u32,
    /// May still begin.
    pub(super) left: u8,
    /// Ended well.
    pub(super) succeeded: u8,
    /// Failed.
    pub(super) failed: u8,
    /// Ended without saying anything.
    pub(super) nothing: u8,
}

/// The most probes of one lease.
pub(super) const MOST: u8 = 100;

// === impl Probes ===

impl Probes {
    /// Begins a lease of `probes`. What becomes of those of the one before is nobody's business any more.
    pub(super) fn begin(&self, lease: u32, probes: u8) {
        let standing = Standing {
            lease,
            left: probes.min(MOST),
            ..Standing::default()
        };
        self.0.store(standing.word(), Ordering::Release);
    }

    /// No further one begins.
    pub(super) fn close(&self) {
        let _ = self.change(|standing| Some(Standing { left: 0, ..standing }));
    }

    /// No further one begins, if of these `probes` none is under way and some are left. Whether it is so.
    pub(super) fn close_idle(&self, probes: u8) -> bool {
        self.change(|standing| {
            let ended = standing.succeeded + standing.failed + standing.nothing;
            (standing.left > 0 && standing.left + ended >= probes).then_some(Standing { left: 0, ..standing })
        })
        .is_some()
    }

    pub(super) fn standing(&self) -> Standing {
        Standing::of(self.0.load(Ordering::Acquire))
    }

    /// Begins one, if one is left. Its number is the lease's.
    pub(super) fn take(&self) -> Option<u64> {
        self.change(|standing| {
            Some(Standing {
                left: standing.left.checked_sub(1)?,
                ..standing
            })
        })
        .map(|after| u64::from(after.lease))
    }

    /// It did not begin after all.
    pub(super) fn give_back(&self, number: u64) {
        let _ = self.change(|standing| {
            (u64::from(standing.lease) == number).then(|| Standing {
                left: standing.left.saturating_add(1).min(MOST),
                ..standing
            })
        });
    }

    /// One has ended. Whether it was of this lease.
    pub(super) fn ended(&self, number: u64, verdict: Verdict) -> bool {
        self.change(|standing| {
            if u64::from(standing.lease) != number {
                return None;
            }
            let mut standing = standing;
            let count = match verdict {
                Verdict::Success => &mut standing.succeeded,
                Verdict::Failure => &mut standing.failed,
                Verdict::Nothing => &mut standing.nothing,
            };
            *count = count.saturating_add(1);
            Some(standing)
        })
        .is_some()
    }

    fn change(&self, change: impl Fn(Standing) -> Option<Standing>) -> Option<Standing> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                change(Standing::of(word)).map(Standing::word)
            })
            .ok()
            // What it was changed to, computed once more: it is a function of what it was.
            .and_then(|before| change(Standing::of(before)))
    }
}

// === impl Standing ===

impl Standing {
    fn word(self) -> u64 {
        u64::from(self.lease) << 32
            | u64::from(u32::from_be_bytes([
                self.left,
                self.succeeded,
                self.failed,
                self.nothing,
            ]))
    }

    fn of(word: u64) -> Self {
        let [left, succeeded, failed, nothing] = (word as u32).to_be_bytes();
        Self {
            lease: (word >> 32) as u32,
            left,
            succeeded,
            failed,
            nothing,
        }
    }
}
