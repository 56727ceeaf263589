//! What was counted within a window, in ten parts that run out one after the other.

use super::state::Counts;

/// Parts of a window.
pub(super) const PARTS: u64 = 10;

/// Counts by part of the window, oldest first: at most [`PARTS`], none of them empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Window(pub(super) Vec<(u64, Counts)>);

/// The part that a time is in. `window` and `now` in the same unit.
pub(super) fn part(now: u64, window: u64) -> u64 {
    now / (window / PARTS).max(1)
}

// === impl Window ===

impl Window {
    /// Counts these in a part. One that is over is the same as the newest there is: time does not go back.
    pub(super) fn add(&mut self, part: u64, counts: Counts) {
        if counts.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some((newest, there)) if *newest >= part => *there = there.and(counts),
            _ => self.0.push((part, counts)),
        }
    }

    /// Forgets what has run out.
    pub(super) fn forget(&mut self, part: u64) {
        self.0.retain(|(of, _)| of + PARTS > part);
    }

    /// All of it together.
    pub(super) fn sum(&self) -> Counts {
        self.0
            .iter()
            .fold(Counts::default(), |sum, (_, counts)| sum.and(*counts))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(calls: u32) -> Counts {
        Counts {
            calls,
            ..Counts::default()
        }
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let mut window = Window::default();
        for second in 0..10 {
            window.add(part(second * 1_000, 10_000), calls(1));
        }
        window.forget(part(9_999, 10_000));
        assert_eq!(window.sum(), calls(10));
        window.forget(part(10_000, 10_000));
        assert_eq!(window.sum(), calls(9));
        window.forget(part(30_000, 10_000));
        assert_eq!(window.0, [], "nothing is kept of it");
    }

    #[test]
    fn time_that_goes_back_counts_as_now() {
        let mut window = Window::default();
        window.add(7, calls(1));
        window.add(3, calls(1));
        assert_eq!(window.0, [(7, calls(2))]);
    }
}
