use super::*;
use proptest::prelude::*;

const CALL: Duration = Duration::from_millis(20);
const MILLI: u64 = 1_000_000;

fn at(millis: u64) -> Moment {
    Moment(millis * MILLI)
}

/// A guard that has had its store in use since long ago.
fn in_use() -> Guard {
    let mut guard = Guard::new(at(0));
    assert_eq!(guard.checked(at(0)), Some(Turn::Back));
    guard.answered(at(100_000));
    guard
}

#[test]
fn a_store_is_not_asked_before_it_answered() {
    let mut guard = Guard::new(at(5));
    assert!(!guard.asked());
    assert_eq!(guard.due(), at(5), "the first check is made at once");
    assert_eq!(guard.checked(at(6)), Some(Turn::Back));
    assert!(guard.asked());
}

#[test]
fn three_failures_in_a_row_end_the_asking_and_a_reply_between_them_does_not_let_them() {
    let mut guard = in_use();
    assert_eq!(guard.failed(at(100_000), at(100_020), 0), None);
    assert_eq!(guard.failed(at(100_021), at(100_041), 0), None);
    guard.answered(at(100_042));
    assert_eq!(guard.failed(at(100_043), at(100_063), 0), None);
    assert_eq!(guard.failed(at(100_064), at(100_084), 0), None);
    assert_eq!(guard.failed(at(100_085), at(100_105), 0), Some(Turn::Away));
    assert!(!guard.asked());
}

#[test]
fn replies_between_refusals_hide_none_and_a_check_ends_the_row() {
    let mut guard = in_use();
    let refused = |guard: &mut Guard, now: u64| {
        let turn = guard.refused(at(now), at(now + 1), 0);
        guard.answered(at(now + 2));
        turn
    };
    assert_eq!(refused(&mut guard, 100_000), None);
    assert_eq!(guard.due(), at(100_001), "a check is due at once");
    assert_eq!(refused(&mut guard, 100_010), None);
    // What was refused is done again.
    assert_eq!(guard.checked(at(100_020)), None);
    assert_eq!(refused(&mut guard, 100_030), None);
    assert_eq!(refused(&mut guard, 100_040), None);
    assert_eq!(refused(&mut guard, 100_050), Some(Turn::Away));
    // Of the next row nothing is left over.
    assert_eq!(guard.checked(at(100_500)), Some(Turn::Back));
    assert_eq!(guard.failed(at(101_000), at(101_020), 0), None);
    guard.answered(at(101_021));
    assert_eq!(guard.due(), at(101_021) + HEARTBEAT);
}

#[test]
fn calls_that_fail_together_are_one_failure() {
    let mut guard = in_use();
    for call in 0..100 {
        assert_eq!(
            guard.failed(at(100_000), at(100_020 + call % 5), 0),
            None,
            "call {call}"
        );
    }
    assert!(guard.asked());
}

#[test]
fn a_reply_to_a_call_of_before_does_not_bring_it_back() {
    let mut guard = in_use();
    for n in 0..3 {
        guard.failed(at(100_000 + 20 * n), at(100_020 + 20 * n), 0);
    }
    guard.answered(at(100_061));
    assert!(!guard.asked());
    assert_eq!(guard.checked(at(100_200)), Some(Turn::Back));
}

#[test]
fn checks_of_a_store_that_is_away_come_less_and_less_often() {
    let mut guard = in_use();
    for n in 0..3 {
        guard.failed(at(100_000 + 20 * n), at(100_020 + 20 * n), u64::MAX);
    }
    let mut now = at(100_060);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let due = guard.due();
        pauses.push(due.since(now).as_millis());
        now = due;
        guard.failed(due, now, u64::MAX);
    }
    assert_eq!(pauses, [100, 200, 400, 400, 400]);
}

#[test]
fn a_late_failure_of_a_call_puts_no_check_off() {
    let mut guard = in_use();
    for n in 0..3 {
        guard.failed(at(100_000 + 20 * n), at(100_020 + 20 * n), 0);
    }
    let due = guard.due();
    guard.failed(at(100_050), at(100_070), 0);
    assert_eq!(guard.due(), due);
}

#[test]
fn a_store_that_comes_and_goes_is_left_alone_for_a_while() {
    let mut guard = in_use();
    let mut now = 200_000;
    let fall = |guard: &mut Guard, now: u64| {
        for n in 0..3 {
            guard.failed(at(now + 20 * n), at(now + 20 + 20 * n), 0);
        }
    };
    // It had long been in use: this is no flapping yet.
    fall(&mut guard, now);
    for short in 0..3 {
        assert!(guard.due() < at(now + 1000), "short time in use {short}");
        now += 500;
        guard.checked(at(now));
        now += 500;
        fall(&mut guard, now);
    }
    assert_eq!(guard.due(), at(now + 60) + REST);
    // Then it is given another chance, and has three more.
    now += 40_000;
    guard.checked(at(now));
    fall(&mut guard, now + 100);
    assert!(guard.due() < at(now + 1000));
}

#[test]
fn a_store_that_fails_soon_after_the_start_is_given_its_three_chances() {
    let mut guard = Guard::new(at(0));
    for round in 0..3 {
        guard.checked(at(round * 500));
        for n in 0..3 {
            guard.failed(at(round * 500 + 20 * n), at(round * 500 + 20 + 20 * n), 0);
        }
        assert!(guard.due() < at(round * 500 + 1000), "round {round}");
    }
}

#[test]
fn outages_after_some_seconds_in_use_are_no_flapping() {
    let mut guard = in_use();
    let mut now = 200_000;
    for round in 0..20 {
        for n in 0..3 {
            guard.failed(at(now + 20 * n), at(now + 20 + 20 * n), 0);
        }
        assert!(guard.due() < at(now + 1000), "round {round}");
        now += 1_000;
        guard.checked(at(now));
        now += 1_200;
    }
}

/// A store that answers at once, or is away from some moments on until others.
#[derive(Debug, Clone)]
struct World {
    /// Lengths of being there and being away, in turn, in ms.
    spans: Vec<u64>,
}

impl World {
    fn there(&self, now: Moment) -> bool {
        let mut millis = now.0 / MILLI;
        for (index, span) in self.spans.iter().enumerate() {
            if millis < *span {
                return index % 2 == 0;
            }
            millis -= span;
        }
        true
    }

    fn end(&self) -> Moment {
        at(self.spans.iter().sum())
    }
}

fn worlds() -> impl Strategy<Value = World> {
    prop::collection::vec(prop_oneof![0u64..100, 0u64..1000, 1_200u64..20_000], 1..12).prop_map(|spans| World { spans })
}

proptest! {
    /// The guard runs beside a store that comes and goes, with nothing but its own checks and sometimes calls.
    #[test]
    fn whatever_the_store_does_it_is_given_up_soon_checked_seldom_and_found_again(
        world in worlds(),
        calls in prop::collection::vec(0u64..2_000, 0..50),
        chances in prop::collection::vec(any::<u64>(), 1..8),
    ) {
        let mut guard = Guard::new(at(0));
        let mut chances = chances.into_iter().cycle();
        let mut calls = calls.into_iter().scan(0, |sum, gap| { *sum += gap; Some(at(*sum)) }).peekable();
        let end = world.end() + Duration::from_secs(40);
        let (mut now, mut checks_away, mut away_since, mut gone) = (at(0), 0u64, Some(at(0)), None::<Moment>);
        while now < end {
            let due = guard.due().max(now);
            let (sent, check) = match calls.peek() {
                Some(call) if *call < due => (calls.next().unwrap_or(due).max(now), false),
                _ => (due, true),
            };
            if !check && !guard.asked() {
                continue;
            }
            let there = world.there(sent);
            now = if there { sent + Duration::from_millis(1) } else { sent + CALL };
            match (there, gone) {
                (false, None) => gone = Some(sent),
                (true, _) => gone = None,
                _ => {}
            }
            if !guard.asked() {
                checks_away += 1;
                let away = away_since.expect("it is away");
                let most = 4 + sent.since(away).as_millis() / 200;
                prop_assert!(u128::from(checks_away) <= most, "{checks_away} checks in {:?}", sent.since(away));
            }
            let turn = match (there, check) {
                (true, true) => guard.checked(now),
                (true, false) => { guard.answered(now); None }
                (false, _) => guard.failed(sent, now, chances.next().unwrap_or(0)),
            };
            match turn {
                Some(Turn::Away) => { away_since = Some(now); checks_away = 0; }
                Some(Turn::Back) => away_since = None,
                None => {}
            }
            if let (true, Some(gone)) = (guard.asked(), gone) {
                prop_assert!(now.since(gone) < CALL * 3 + RETRY * 2, "asked {:?} after it went", now.since(gone));
            }
            let silent = now.since(guard.heard);
            prop_assert!(!guard.asked() || silent < HEARTBEAT + CALL * 3 + RETRY * 2, "not noticed for {silent:?}");
        }
        prop_assert!(guard.asked(), "a store that stays is found again");
    }
}
