//! When tokens were spent, told by workers and gathered by the machine.

use crate::time::Moment;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Ticks that are kept apart.
const TICKS: usize = 128;
const COUNT_BITS: u32 = 40;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const TICK: u64 = (1 << (64 - COUNT_BITS)) - 1;

/// Spends of the last ticks, without a lock. What is not gathered in time moves to a later tick: a spend is never told
/// to be earlier than it was. 1 KiB.
#[derive(Debug)]
pub struct Spends {
    /// 24 bits of the tick's number, 40 bits of count.
    ticks: [AtomicU64; TICKS],
    /// Nanoseconds of a tick.
    length: u64,
}

// === impl Spends ===

impl Spends {
    /// Empty, with ticks of this length.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            ticks: [const { AtomicU64::new(0) }; TICKS],
            length: u64::try_from(length.as_nanos()).unwrap_or(u64::MAX).max(1),
        }
    }

    /// After which it should be gathered, so that nothing moves.
    #[must_use]
    pub fn reach(&self) -> Duration {
        Duration::from_nanos(self.length.saturating_mul(TICKS as u64 - 8))
    }

    /// So many were spent now.
    pub fn add(&self, now: Moment, tokens: u32) {
        let number = now.0 / self.length;
        let tick = &self.ticks[(number % TICKS as u64) as usize];
        let mut kept = tick.load(Ordering::Relaxed);
        loop {
            // In the order of numbers that wrap: the later of the two, where something is kept from an earlier round.
            let late = kept & COUNT != 0 && (kept >> COUNT_BITS).wrapping_sub(number) & TICK < TICK / 2;
            let of = if late { kept >> COUNT_BITS } else { number & TICK };
            let next = of << COUNT_BITS | ((kept & COUNT) + u64::from(tokens)).min(COUNT);
            match tick.compare_exchange_weak(kept, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => kept = other,
            }
        }
    }

    /// Takes all out, oldest first: by when they were spent (the end of the tick), and how many.
    pub fn gather(&self, now: Moment, mut each: impl FnMut(Moment, u64)) {
        let present = now.0 / self.length;
        let mut found: smallvec::SmallVec<[(u64, u64); 16]> = smallvec::SmallVec::new();
        for tick in &self.ticks {
            if tick.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let kept = tick.swap(0, Ordering::Acquire);
            let behind = present.wrapping_sub(kept >> COUNT_BITS) & TICK;
            // A worker's clock may be a little ahead of the one that gathers.
            let number = if behind > TICK / 2 {
                present + 1 + (TICK - behind)
            } else {
                present - behind.min(present)
            };
            if kept & COUNT > 0 {
                found.push((number, kept & COUNT));
            }
        }
        found.sort_unstable();
        for (number, tokens) in found {
            each(Moment((number + 1).saturating_mul(self.length)), tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(spends: &Spends, now: u64) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        spends.gather(Moment(now), |when, tokens| all.push((when.0, tokens)));
        all
    }

    #[test]
    fn spends_are_told_by_the_end_of_their_tick_and_once() {
        let spends = Spends::new(Duration::from_nanos(100));
        spends.add(Moment(1010), 2);
        spends.add(Moment(1099), 1);
        spends.add(Moment(1100), 5);
        assert_eq!(gathered(&spends, 1150), [(1100, 3), (1200, 5)]);
        assert_eq!(gathered(&spends, 1150), []);
    }

    #[test]
    fn what_was_not_gathered_is_told_later_not_earlier() {
        let spends = Spends::new(Duration::from_nanos(100));
        spends.add(Moment(1010), 2);
        let round = 100 * TICKS as u64;
        spends.add(Moment(1010 + round), 1);
        // A worker that was held up all that time.
        spends.add(Moment(1010), 4);
        assert_eq!(gathered(&spends, 1050 + round), [(1100 + round, 7)]);
    }

    #[test]
    fn numbers_of_ticks_may_wrap() {
        let spends = Spends::new(Duration::from_nanos(1));
        let wrap = 1u64 << 24;
        spends.add(Moment(wrap - 1), 1);
        spends.add(Moment(wrap), 2);
        assert_eq!(gathered(&spends, wrap), [(wrap, 1), (wrap + 1, 2)]);
    }
}
