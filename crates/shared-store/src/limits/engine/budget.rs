//! How many keys may be new.

use sluice_shared_state::Moment;
use std::time::Duration;

/// New keys are counted by tenths of a second.
const PERIOD: Duration = Duration::from_millis(100);

/// How many keys the store may be asked about for the first time.
#[derive(Debug)]
pub(super) struct Budget {
    /// In each period.
    most: u32,
    left: u32,
    until: Moment,
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            most: per_second.div_ceil(10).max(1),
            left: 0,
            until: Moment(0),
        }
    }

    /// One more new key. Too many: until when there are none.
    pub(super) fn take(&mut self, now: Moment) -> Result<(), Moment> {
        if now >= self.until {
            (self.left, self.until) = (self.most, now + PERIOD);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_keys_are_new_in_a_period_than_its_share() {
        let mut budget = Budget::new(50);
        let at = |millis: u64| Moment(millis * 1_000_000);
        assert_eq!((0..20).filter(|_| budget.take(at(7)).is_ok()).count(), 5);
        assert_eq!(budget.take(at(106)), Err(at(107)));
        assert_eq!((0..20).filter(|_| budget.take(at(107)).is_ok()).count(), 5);
    }
}
