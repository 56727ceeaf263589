//! In which epoch the store is, and whether it still learns what nodes did without it. The same for all algorithms.
//!
//! An epoch ends when the store may have lost state (it is empty, it is another process than before, a caller knows a
//! later epoch) or when a node went on by itself. In the time after, nothing is granted: nodes declare what they have
//! spent and hold. A store that is emptied again within that time begins yet another epoch, because what was declared is
//! lost; a node that comes back within it only prolongs it.

use super::Header;
use crate::time::StoreTime;
use std::time::Duration;

/// The pause between two probes of a store that is away, at its longest, and a margin: what a node needs to find that
/// the store is back, beyond the life of a lease.
pub const NOTICE: Duration = Duration::from_millis(500);

/// A lease's life as a share of its window, in hundredths.
const LIFE_PERCENT: u32 = 53;
/// No lease lives longer, however long the window.
const LIFE_MOST: Duration = Duration::from_millis(5600);

/// How long a lease of such a window may live at most: horizon and grace, and a margin for the way.
#[must_use]
pub fn life(window: Duration) -> Duration {
    (window / 100).saturating_mul(LIFE_PERCENT).min(LIFE_MOST)
}

/// How long after the birth of an epoch nothing of such a window is granted: every lease of the epoch before has ended
/// by then, and every node that reaches the store has noticed.
#[must_use]
pub fn learn(window: Duration) -> Duration {
    life(window) + NOTICE
}

/// Which epoch it is.
#[derive(Debug, Clone, Default)]
pub struct Epoch {
    /// 0: none yet, all is lost.
    number: u64,
    born: StoreTime,
    run: String,
}

/// When and in which epoch a call is served, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct At<'h> {
    /// The store's time, read once for the round.
    pub now: StoreTime,
    /// Who calls, and who else is there.
    pub header: &'h Header,
    /// The epoch.
    pub epoch: u64,
    /// When it was born, or last prolonged.
    pub born: StoreTime,
}

// === impl Epoch ===

impl Epoch {
    /// A round begins: `run` is the life of the store that serves it, `known` the epoch that the caller knows, `local`
    /// whether the caller went on by itself.
    pub fn enter(&mut self, now: StoreTime, run: &str, known: u64, local: bool) {
        let lost = self.number == 0 || self.run != run || known > self.number;
        // No window's learning is over so soon after its birth: until then nothing was granted, and what was declared
        // stays good.
        let young = now < self.born + NOTICE;
        if lost || (local && !young) {
            // Of two epochs without memory of each other, the time makes the difference.
            self.number = (self.number.max(known) + 1).max(if self.number == 0 { now.0 } else { 0 });
            self.run.clear();
            self.run.push_str(run);
        }
        if lost || local {
            self.born = now;
        }
    }

    /// Its number; never 0 after a round.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it was born, or last prolonged.
    #[must_use]
    pub fn born(&self) -> StoreTime {
        self.born
    }
}

// === impl At ===

impl At<'_> {
    /// What is left of a time of learning of this length.
    #[must_use]
    pub fn learning(&self, learn: Duration) -> Duration {
        (self.born + learn).since(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_store_without_memory_never_repeats_an_epoch() {
        let (mut first, mut second) = (Epoch::default(), Epoch::default());
        first.enter(StoreTime(SECOND), "", 0, false);
        second.enter(StoreTime(SECOND + 1), "", 0, false);
        assert_ne!(first.number(), second.number());
        // Its clock was set back meanwhile, and the caller knows a later one.
        let mut third = Epoch::default();
        third.enter(StoreTime(5), "", first.number(), false);
        assert!(third.number() > first.number());
    }

    #[test]
    fn another_life_of_the_store_is_another_epoch() {
        let mut epoch = Epoch::default();
        epoch.enter(StoreTime(SECOND), "a", 0, false);
        let before = epoch.number();
        epoch.enter(StoreTime(9 * SECOND), "a", before, false);
        assert_eq!(epoch.number(), before);
        epoch.enter(StoreTime(9 * SECOND), "b", before, false);
        assert_ne!(epoch.number(), before);
        assert_eq!(epoch.born(), StoreTime(9 * SECOND));
    }

    #[test]
    fn an_old_copy_of_the_state_is_another_epoch() {
        let mut epoch = Epoch::default();
        epoch.enter(StoreTime(SECOND), "a", 0, false);
        let later = epoch.number() + 3;
        epoch.enter(StoreTime(9 * SECOND), "a", later, false);
        assert!(epoch.number() > later);
    }

    #[test]
    fn who_comes_back_while_the_store_learns_prolongs_it() {
        let mut epoch = Epoch::default();
        epoch.enter(StoreTime(SECOND), "", 0, false);
        epoch.enter(StoreTime(9 * SECOND), "", epoch.number(), true);
        let number = epoch.number();
        epoch.enter(StoreTime(9 * SECOND + 1000), "", number, true);
        assert_eq!((epoch.number(), epoch.born()), (number, StoreTime(9 * SECOND + 1000)));
        // When some windows may have been granted again, it is a new one.
        epoch.enter(StoreTime(11 * SECOND), "", number, true);
        assert_eq!(epoch.number(), number + 1);
    }
}
