//! Which target is next. Pure: chance and the targets' load are arguments.

use crate::spec::Balance;

/// The state of one upstream's balancing on one worker.
#[derive(Debug)]
pub(crate) enum Balancer {
    LeastRequest(Draw),
    RoundRobin(Turns),
}

/// Draws by weight.
#[derive(Debug)]
pub(crate) struct Draw {
    weights: Box<[u16]>,
    total: u32,
    /// All weights are equal, so no weights need to be looked at.
    even: bool,
}

/// Each target is due at a moment of its own and again after the inverse of its weight; the one
/// that is due first is next. Moments are made by chance at the start, so workers and nodes begin
/// at different targets, and stay with a target when others come and go.
#[derive(Debug)]
pub(crate) struct Turns {
    targets: Box<[Turn]>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    due: u64,
    /// 0: never.
    step: u64,
}

/// A round of weight 1.
const ROUND: u64 = 1 << 32;

/// What is known of a target that stays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stays {
    /// Its place before.
    pub(crate) was: usize,
}

// === impl Balancer ===

impl Balancer {
    /// For targets of these weights. `stays` says of each which one it was in `before`, if any.
    pub(crate) fn new(
        balance: Balance,
        weights: &[u16],
        before: Option<(&Self, &[Option<Stays>])>,
        mut chance: impl FnMut(u64) -> u64,
    ) -> Self {
        match balance {
            Balance::LeastRequest => {
                let total = weights.iter().map(|weight| u32::from(*weight)).sum();
                let even = weights.windows(2).all(|pair| pair[0] == pair[1]);
                Self::LeastRequest(Draw {
                    weights: weights.into(),
                    total,
                    even,
                })
            }
            Balance::RoundRobin => {
                let before = match before {
                    Some((Self::RoundRobin(turns), stays)) => Some((turns, stays)),
                    _ => None,
                };
                Self::RoundRobin(Turns::new(weights, before, &mut chance))
            }
        }
    }

    /// The place of the next target; None where all weights are 0. `busy` tells how many requests
    /// a target has under way; `chance` draws below its argument, which is never 0.
    pub(crate) fn next(&mut self, busy: impl Fn(usize) -> u32, mut chance: impl FnMut(u32) -> u32) -> Option<usize> {
        match self {
            Self::LeastRequest(draw) => draw.next(busy, &mut chance),
            Self::RoundRobin(turns) => turns.next(|_| true),
        }
    }

    /// As [`Balancer::next`], among the places that are `allowed` alone.
    pub(crate) fn next_of(
        &mut self,
        allowed: impl Fn(usize) -> bool,
        busy: impl Fn(usize) -> u32,
        mut chance: impl FnMut(u32) -> u32,
    ) -> Option<usize> {
        match self {
            Self::LeastRequest(draw) => draw.next_of(allowed, busy, &mut chance),
            Self::RoundRobin(turns) => turns.next(allowed),
        }
    }
}

// === impl Draw ===

impl Draw {
    fn next(&self, busy: impl Fn(usize) -> u32, chance: &mut impl FnMut(u32) -> u32) -> Option<usize> {
        if self.total == 0 {
            return None;
        }
        if self.weights.len() == 1 {
            return Some(0);
        }
        let first = self.draw(None, chance)?;
        Some(self.less_busy(first, self.draw(Some(first), chance), busy))
    }

    fn next_of(
        &self,
        allowed: impl Fn(usize) -> bool,
        busy: impl Fn(usize) -> u32,
        chance: &mut impl FnMut(u32) -> u32,
    ) -> Option<usize> {
        let first = self.draw_of(&allowed, None, chance)?;
        Some(self.less_busy(first, self.draw_of(&allowed, Some(first), chance), busy))
    }

    fn less_busy(&self, first: usize, second: Option<usize>, busy: impl Fn(usize) -> u32) -> usize {
        let Some(second) = second else { return first };
        // Load is what is under way for each unit of weight. At the same load the first, which was
        // drawn by weight alone: an idle upstream spreads by weight too.
        let load = |a: usize, b: usize| u64::from(busy(a)) * u64::from(self.weights[b]);
        if load(second, first) < load(first, second) {
            second
        } else {
            first
        }
    }

    /// By weight, among the allowed but one.
    fn draw_of(
        &self,
        allowed: impl Fn(usize) -> bool,
        but: Option<usize>,
        chance: &mut impl FnMut(u32) -> u32,
    ) -> Option<usize> {
        let all = || {
            let places = self.weights.iter().enumerate();
            places
                .filter(|(place, _)| Some(*place) != but && allowed(*place))
                .map(|(place, weight)| (place, u32::from(*weight)))
        };
        let total: u32 = all().map(|(_, weight)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut left = chance(total);
        all().find_map(|(place, weight)| match left.checked_sub(weight) {
            Some(rest) => {
                left = rest;
                None
            }
            None => Some(place),
        })
    }

    /// By weight, among all but one.
    fn draw(&self, but: Option<usize>, chance: &mut impl FnMut(u32) -> u32) -> Option<usize> {
        if self.even {
            let all = u32::try_from(self.weights.len()).ok()? - u32::from(but.is_some());
            let place = chance(all) as usize;
            return Some(place + usize::from(but.is_some_and(|but| place >= but)));
        }
        let total = self.total - but.map_or(0, |but| u32::from(self.weights[but]));
        if total == 0 {
            return None;
        }
        let mut left = chance(total);
        for (place, weight) in self.weights.iter().enumerate() {
            let weight = u32::from(*weight);
            if Some(place) == but {
                continue;
            }
            if left < weight {
                return Some(place);
            }
            left -= weight;
        }
        None
    }
}

// === impl Turns ===

impl Turns {
    fn new(weights: &[u16], before: Option<(&Self, &[Option<Stays>])>, chance: &mut impl FnMut(u64) -> u64) -> Self {
        let now = before.and_then(|(turns, _)| turns.soonest()).map_or(0, |turn| turn.due);
        let targets = weights
            .iter()
            .enumerate()
            .map(|(place, weight)| {
                let step = ROUND.checked_div(u64::from(*weight)).unwrap_or(0);
                let old = before.and_then(|(turns, stays)| {
                    let was = stays.get(place).copied().flatten()?.was;
                    turns.targets.get(was).copied()
                });
                let due = match old {
                    Some(old) if old.step == step => old.due,
                    _ if step == 0 => now,
                    _ => now.saturating_add(chance(step)),
                };
                Turn {
                    due: due.max(now),
                    step,
                }
            })
            .collect();
        Self { targets }
    }

    fn soonest(&self) -> Option<&Turn> {
        self.targets
            .iter()
            .filter(|turn| turn.step > 0)
            .min_by_key(|turn| turn.due)
    }

    fn next(&mut self, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let due = |(_, turn): &(usize, &mut Turn)| turn.due;
        let (place, turn) = self
            .targets
            .iter_mut()
            .enumerate()
            .filter(|(place, turn)| turn.step > 0 && allowed(*place))
            .min_by_key(due)?;
        let now = turn.due;
        turn.due += turn.step;
        let far = turn.due > u64::MAX / 2;
        // Who was passed over is next when it may be again, and does not make up for all that it missed.
        for turn in &mut self.targets {
            turn.due = turn.due.max(now);
        }
        if far {
            let base = self.soonest()?.due;
            for turn in &mut self.targets {
                turn.due = turn.due.saturating_sub(base);
            }
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;

    fn stays(n: usize) -> Vec<Option<Stays>> {
        (0..n).map(|was| Some(Stays { was })).collect()
    }

    fn counts(balancer: &mut Balancer, n: usize, times: usize, rng: &mut fastrand::Rng) -> Vec<usize> {
        let mut counts = vec![0; n];
        for _ in 0..times {
            counts[balancer.next(|_| 0, |below| rng.u32(..below)).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_goes_on_when_it_is_rebuilt_before_each_request() {
        for weights in [[1u16, 1, 1, 1], [5, 1, 1, 1]] {
            let mut rng = fastrand::Rng::with_seed(7);
            let mut balancer = Balancer::new(Balance::RoundRobin, &weights, None, |n| rng.u64(..n));
            let mut counts = [0usize; 4];
            for _ in 0..400 {
                let stays = stays(4);
                balancer = Balancer::new(Balance::RoundRobin, &weights, Some((&balancer, &stays)), |n| {
                    rng.u64(..n)
                });
                counts[balancer.next(|_| 0, |_| 0).unwrap()] += 1;
            }
            let total: u32 = weights.iter().map(|w| u32::from(*w)).sum();
            for (count, weight) in counts.iter().zip(weights) {
                let expected = 400.0 * f64::from(weight) / f64::from(total);
                assert!((*count as f64 - expected).abs() <= 2.0, "{weights:?} {counts:?}");
            }
        }
    }

    #[test]
    fn round_robin_begins_anywhere() {
        let mut firsts = [0usize; 4];
        for seed in 0..400 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut balancer = Balancer::new(Balance::RoundRobin, &[1, 1, 1, 1], None, |n| rng.u64(..n));
            firsts[balancer.next(|_| 0, |_| 0).unwrap()] += 1;
        }
        assert!(firsts.iter().all(|n| (60..140).contains(n)), "{firsts:?}");
    }

    #[test]
    fn a_target_that_joins_is_not_flooded() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut balancer = Balancer::new(Balance::RoundRobin, &[1, 1], None, |n| rng.u64(..n));
        counts(&mut balancer, 2, 1_000, &mut rng.clone());
        let mut joined = stays(2);
        joined.push(None);
        let mut balancer = Balancer::new(Balance::RoundRobin, &[1, 1, 1], Some((&balancer, &joined)), |n| {
            rng.u64(..n)
        });
        assert_eq!(counts(&mut balancer, 3, 9, &mut rng), [3, 3, 3]);
    }

    #[test]
    fn who_was_left_out_makes_up_for_nothing() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut balancer = Balancer::new(Balance::RoundRobin, &[1, 1], None, |n| rng.u64(..n));
        for _ in 0..100 {
            assert_eq!(balancer.next_of(|place| place == 1, |_| 0, |_| 0), Some(1));
        }
        let counts = counts(&mut balancer, 2, 10, &mut rng);
        assert!(counts[0].abs_diff(counts[1]) <= 2, "{counts:?}");
    }

    #[test]
    fn only_who_is_allowed_is_taken_by_weight() {
        let mut rng = fastrand::Rng::with_seed(1);
        for balance in [Balance::LeastRequest, Balance::RoundRobin] {
            let mut balancer = Balancer::new(balance, &[1, 5, 3, 0], None, |n| rng.u64(..n));
            let mut counts = [0usize; 4];
            for _ in 0..4_000 {
                let next = balancer.next_of(|place| place != 1, |_| 0, |below| rng.u32(..below));
                counts[next.unwrap()] += 1;
            }
            assert_eq!((counts[1], counts[3]), (0, 0));
            assert!((900..1_100).contains(&counts[0]), "{balance:?} {counts:?}");
            assert_eq!(balancer.next_of(|place| place == 3, |_| 0, |_| 0), None);
        }
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut balancer = Balancer::new(Balance::LeastRequest, &[1, 1, 1], None, |_| 0);
        let busy = RefCell::new([9u32, 0, 0]);
        for _ in 0..300 {
            let place = balancer
                .next(|place| busy.borrow()[place], |below| rng.u32(..below))
                .unwrap();
            assert_ne!(place, 0);
            busy.borrow_mut()[place] = 0;
        }
    }

    #[test]
    fn an_idle_upstream_spreads_by_weight() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut balancer = Balancer::new(Balance::LeastRequest, &[1, 3], None, |_| 0);
        let counts = counts(&mut balancer, 2, 4_000, &mut rng);
        assert!((900..1_100).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn under_load_weight_is_capacity() {
        // Requests that never end: loads settle as the weights do.
        let mut rng = fastrand::Rng::with_seed(3);
        let mut balancer = Balancer::new(Balance::LeastRequest, &[1, 3], None, |_| 0);
        let mut busy = [0u32; 2];
        for _ in 0..400 {
            let place = balancer.next(|place| busy[place], |below| rng.u32(..below)).unwrap();
            busy[place] += 1;
        }
        assert!((95..=105).contains(&busy[0]), "{busy:?}");
    }

    proptest! {
        #[test]
        fn shares_are_the_weights_and_zero_gets_nothing(
            weights in prop::collection::vec(0u16..6, 1..7),
            seed: u64,
        ) {
            let total: usize = weights.iter().map(|w| usize::from(*w)).sum();
            let mut rng = fastrand::Rng::with_seed(seed);
            for balance in [Balance::RoundRobin, Balance::LeastRequest] {
                let mut balancer = Balancer::new(balance, &weights, None, |n| rng.u64(..n));
                if total == 0 {
                    prop_assert_eq!(balancer.next(|_| 0, |_| 0), None);
                    continue;
                }
                let counts = counts(&mut balancer, weights.len(), total * 100, &mut rng);
                for (count, weight) in counts.iter().zip(&weights) {
                    prop_assert!(*weight > 0 || *count == 0);
                    if balance == Balance::RoundRobin {
                        prop_assert!(count.abs_diff(usize::from(*weight) * 100) <= 1, "{:?} {:?}", weights, counts);
                    }
                }
            }
        }

        #[test]
        fn extreme_weights_do_not_overflow(weights in prop::collection::vec(65_000u16.., 1..4), due in (u64::MAX / 2 - 10)..u64::MAX / 2) {
            let mut rng = fastrand::Rng::with_seed(1);
            let mut turns = Turns::new(&weights, None, &mut |n| rng.u64(..n));
            for turn in &mut turns.targets { turn.due += due / 2 }
            for _ in 0..1_000 { prop_assert!(turns.next(|_| true).is_some()) }
        }
    }
}
