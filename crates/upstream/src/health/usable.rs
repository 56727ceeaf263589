//! Which targets get requests. Pure.

use super::rule::HealthRule;
use super::standing::{At, Standing, Verdict};

/// Which targets get requests, as one worker knows it.
#[derive(Debug, Default)]
pub(crate) struct Usable {
    /// The number of the upstream's changes that this was made after.
    seen: Option<u64>,
    /// When it has to be made anew, because an ejection ends.
    until: At,
    /// None: all.
    mask: Option<Box<[bool]>>,
}

// === impl Usable ===

impl Usable {
    /// Whether it still holds.
    pub(crate) fn holds(&self, changes: u64, now: At) -> bool {
        self.seen == Some(changes) && now < self.until
    }

    /// For targets of these weights. `changes` was read before `standings` are.
    pub(crate) fn new<'s>(
        changes: u64,
        now: At,
        rule: &HealthRule,
        targets: impl Iterator<Item = (u16, &'s Standing)> + Clone,
    ) -> Self {
        let checked = rule.active.is_some();
        let is_in = |standing: &Standing| !standing.is_ejected(now);
        let proven = |standing: &Standing| is_in(standing) && (!checked || standing.verdict() == Verdict::Healthy);
        let weighty = || {
            targets
                .clone()
                .filter(|(weight, _)| *weight > 0)
                .map(|(_, standing)| standing)
        };
        // Those of which nothing is known yet wait for their first check, unless nothing is known of any.
        let any_proven = weighty().any(proven);
        let usable = |standing: &Standing| match any_proven {
            true => proven(standing),
            false => is_in(standing) && standing.verdict() == Verdict::Unknown,
        };
        let (all, left) = (weighty().count(), weighty().filter(|standing| usable(standing)).count());
        let until = weighty().filter_map(|standing| standing.ejected_until(now)).min();
        let mask = (left < all && !rule.passive.panics(left, all))
            .then(|| targets.map(|(_, standing)| usable(standing)).collect());
        Self {
            seen: Some(changes),
            until: until.unwrap_or(At::MAX),
            mask,
        }
    }

    /// Which ones get requests; none: all of them.
    pub(crate) fn mask(&self) -> Option<&[bool]> {
        self.mask.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::{Active, Passive};
    use super::*;
    use std::time::Duration;

    const S: At = 1_000_000_000;

    fn rule(panic: u32, active: bool) -> HealthRule {
        HealthRule {
            passive: Passive {
                panic,
                ..Passive::default()
            },
            active: active.then(|| Active {
                path: http::uri::PathAndQuery::from_static("/"),
                every: Duration::from_secs(1),
                unhealthy_after: 1,
                healthy_after: 1,
            }),
        }
    }

    fn mask(rule: &HealthRule, standings: &[Standing]) -> Option<Vec<bool>> {
        let usable = Usable::new(0, S, rule, standings.iter().map(|standing| (1, standing)));
        usable.mask().map(<[bool]>::to_vec)
    }

    fn standings<const N: usize>() -> [Standing; N] {
        std::array::from_fn(|_| Standing::default())
    }

    #[test]
    fn the_ejected_are_left_out_until_their_time_is_over() {
        let (rule, all) = (rule(500_000, false), standings::<3>());
        assert_eq!(mask(&rule, &all), None);
        all[1].eject(S, &rule.passive);
        assert_eq!(mask(&rule, &all), Some(vec![true, false, true]));
        let usable = Usable::new(7, S, &rule, all.iter().map(|standing| (1, standing)));
        assert!(usable.holds(7, 10 * S) && !usable.holds(7, 11 * S) && !usable.holds(8, S));
    }

    #[test]
    fn where_too_few_are_left_all_are_used() {
        let all = standings::<4>();
        all[0].eject(S, &Passive::default());
        all[1].eject(S, &Passive::default());
        assert_eq!(mask(&rule(500_000, false), &all), Some(vec![false, false, true, true]));
        all[2].eject(S, &Passive::default());
        assert_eq!(mask(&rule(500_000, false), &all), None);
        all[3].eject(S, &Passive::default());
        assert_eq!(mask(&rule(0, false), &all), Some(vec![false; 4]), "0 % is never less");
    }

    #[test]
    fn targets_without_weight_are_not_among_those_that_are_left() {
        let (rule, all) = (rule(500_000, false), standings::<3>());
        all[0].eject(S, &rule.passive);
        let weights = [1, 0, 0];
        let usable = Usable::new(0, S, &rule, weights.into_iter().zip(&all));
        assert_eq!(usable.mask(), None);
    }

    #[test]
    fn a_new_target_waits_for_its_first_check_unless_nothing_is_known_of_any() {
        let (rule, all) = (rule(500_000, true), standings::<3>());
        assert_eq!(mask(&rule, &all), None);
        let active = rule.active.as_ref();
        for standing in &all[..2] {
            active.map(|active| standing.checked(true, active));
        }
        assert_eq!(mask(&rule, &all), Some(vec![true, true, false]));
        active.map(|active| all[2].checked(false, active));
        assert_eq!(mask(&rule, &all), Some(vec![true, true, false]));
    }

    #[test]
    fn verdicts_of_checks_that_are_over_count_no_more() {
        let all = standings::<2>();
        rule(0, true).active.map(|active| all[0].checked(false, &active));
        assert_eq!(mask(&rule(500_000, false), &all), None);
    }
}
