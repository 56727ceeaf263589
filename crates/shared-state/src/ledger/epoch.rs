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
const LIFE_MOST: Duration = Duration::from_millis(1000);

/// When an epoch is born of which nobody knew one before: so long ago that nothing is to be learnt, unless somebody comes
/// who did know one.
const FRESH: StoreTime = StoreTime(1);

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
#[derive(Debug, Clone)]
pub struct Epoch {
    /// 0: none yet, all is lost.
    number: u64,
    /// When it was born or last prolonged; None where there is nothing to learn.
    born: Option<StoreTime>,
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
    /// When it was born, or last prolonged; None where there is nothing to learn.
    pub born: Option<StoreTime>,
}

// === impl Epoch ===

impl Epoch {
    /// Of a store that has never had anything to lose: nothing is to be learnt.
    #[must_use]
    pub fn first() -> Self {
        Self {
            number: 1,
            born: None,
            run: String::new(),
        }
    }

    /// Of a store that does not know what it lost.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            number: 0,
            born: None,
            run: String::new(),
        }
    }

    /// A round begins: `run` is the life of the store that serves it, `local` whether the caller went on by itself. A
    /// caller that is the only node there is knows all that can be learnt.
    pub fn enter(&mut self, now: StoreTime, run: &str, header: &Header, local: bool) {
        let known = header.epoch;
        // Nothing is there, and nobody ever knew of anything.
        let first = self.number == 0 && known == 0 && !local;
        // Somebody did, after all.
        let doubted = self.born == Some(FRESH) && known != 0 && known != self.number;
        let lost = self.number == 0 || self.run != run || known > self.number;
        // No window's learning is over so soon after its birth: until then nothing was granted, and what was declared
        // stays good.
        let young = self.born.is_some_and(|born| now < born + NOTICE);
        if lost || (local && !young) {
            // Of two epochs without memory of each other, the time makes the difference.
            self.number = (self.number.max(known) + 1).max(if self.number == 0 { now.0 } else { 0 });
            self.run.clear();
            self.run.push_str(run);
        }
        if lost || local || doubted {
            // A cluster that starts is not made to wait, nor is a node alone.
            let learns = local || doubted || header.live != 1;
            self.born = learns.then_some(if first { FRESH } else { now });
        }
    }

    /// Its number; never 0 after a round.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it was born, or last prolonged.
    #[must_use]
    pub fn born(&self) -> Option<StoreTime> {
        self.born
    }
}

// === impl At ===

impl At<'_> {
    /// What is left of a time of learning of this length.
    #[must_use]
    pub fn learning(&self, learn: Duration) -> Duration {
        self.born.map_or(Duration::ZERO, |born| (born + learn).since(self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn header(epoch: u64) -> Header {
        Header {
            from: super::super::From { node: 1, boot: 1 },
            epoch,
            local: false,
            live: 3,
            without: 0,
        }
    }

    #[test]
    fn a_store_without_memory_never_repeats_an_epoch() {
        let (mut first, mut second) = (Epoch::unknown(), Epoch::unknown());
        first.enter(StoreTime(SECOND), "", &header(0), false);
        second.enter(StoreTime(SECOND + 1), "", &header(0), false);
        assert_ne!(first.number(), second.number());
        // Its clock was set back meanwhile, and the caller knows a later one.
        let mut third = Epoch::unknown();
        third.enter(StoreTime(5), "", &header(first.number()), false);
        assert!(third.number() > first.number());
    }

    #[test]
    fn another_life_of_the_store_is_another_epoch() {
        let mut epoch = Epoch::unknown();
        epoch.enter(StoreTime(SECOND), "a", &header(0), false);
        let before = epoch.number();
        epoch.enter(StoreTime(9 * SECOND), "a", &header(before), false);
        assert_eq!(epoch.number(), before);
        epoch.enter(StoreTime(9 * SECOND), "b", &header(before), false);
        assert_ne!(epoch.number(), before);
        assert_eq!(epoch.born(), Some(StoreTime(9 * SECOND)));
    }

    #[test]
    fn an_old_copy_of_the_state_is_another_epoch() {
        let mut epoch = Epoch::unknown();
        epoch.enter(StoreTime(SECOND), "a", &header(0), false);
        let later = epoch.number() + 3;
        epoch.enter(StoreTime(9 * SECOND), "a", &header(later), false);
        assert!(epoch.number() > later);
    }

    #[test]
    fn who_comes_back_while_the_store_learns_prolongs_it() {
        let mut epoch = Epoch::first();
        epoch.enter(StoreTime(9 * SECOND), "", &header(1), true);
        let number = epoch.number();
        assert_ne!(number, 1);
        epoch.enter(StoreTime(9 * SECOND + 1000), "", &header(number), true);
        assert_eq!(
            (epoch.number(), epoch.born()),
            (number, Some(StoreTime(9 * SECOND + 1000)))
        );
        // When some windows may have been granted again, it is a new one.
        epoch.enter(StoreTime(11 * SECOND), "", &header(number), true);
        assert_eq!(epoch.number(), number + 1);
    }

    #[test]
    fn a_store_that_is_met_for_the_first_time_has_nothing_to_learn_until_somebody_knew_another() {
        let mut epoch = Epoch::unknown();
        epoch.enter(StoreTime(100 * SECOND), "a", &header(0), false);
        let number = epoch.number();
        let at = |epoch: &Epoch, now| {
            let header = header(number);
            At {
                now: StoreTime(now),
                header: &header,
                epoch: number,
                born: epoch.born(),
            }
            .learning(learn(Duration::from_secs(1)))
        };
        assert_eq!(at(&epoch, 100 * SECOND), Duration::ZERO);
        epoch.enter(StoreTime(102 * SECOND), "a", &header(number), false);
        assert_eq!(at(&epoch, 102 * SECOND), Duration::ZERO);
        // It had been emptied, and who came first had just begun.
        epoch.enter(StoreTime(103 * SECOND), "a", &header(number - 1), false);
        assert_eq!(epoch.number(), number);
        assert_eq!(at(&epoch, 103 * SECOND), learn(Duration::from_secs(1)));
    }

    #[test]
    fn a_node_that_is_alone_in_the_world_need_not_wait() {
        let mut epoch = Epoch::unknown();
        let alone = Header { live: 1, ..header(0) };
        epoch.enter(StoreTime(SECOND), "", &alone, false);
        assert_eq!(epoch.born(), None);
    }
}
