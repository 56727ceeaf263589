//! The checks are shown to see: the protocol is broken on purpose, and each break is caught by the check that is there
//! for it. A check that catches nothing would fail here.

use super::traffic::Pattern;
use super::world::World;
use super::{Fault, MS, SECOND, Scenario};
use crate::broken::{Broken, while_broken};
use std::collections::BTreeSet;
use std::time::Duration;

fn scenario(pattern: Pattern, fast: bool, faults: &[Fault], seed: u64) -> Scenario {
    Scenario {
        seed,
        pattern,
        fast,
        limit: 300,
        window: Duration::from_secs(1),
        nodes: 3,
        rate: 900.0,
        length: 8 * SECOND + 500 * MS,
        faults: faults.to_vec(),
        cost: 1,
    }
}

/// Which checks fail within a few seeds, until this one does. None does where nothing is broken.
fn caught(check: &str, broken: Broken, pattern: Pattern, fast: bool, faults: &[Fault]) -> BTreeSet<&'static str> {
    let mut caught = BTreeSet::new();
    for seed in 0..12 {
        let measured = while_broken(broken, || World::new(scenario(pattern, fast, faults, seed)).run());
        caught.extend(measured.broken.keys());
        if caught.contains(check) {
            let sound = World::new(scenario(pattern, fast, faults, seed)).run();
            assert!(sound.broken.is_empty(), "it is not the break: {:?}", sound.broken);
            break;
        }
    }
    caught
}

#[track_caller]
fn is_caught_by(check: &str, broken: Broken, pattern: Pattern, fast: bool, faults: &[Fault]) {
    let caught = caught(check, broken, pattern, fast, faults);
    assert!(caught.contains(check), "{broken:?}: {caught:?}");
}

#[test]
fn a_report_that_is_heard_twice_is_caught() {
    is_caught_by("L2 books", Broken::HeardTwice, Pattern::Even, false, &[Fault::Loss]);
}

#[test]
fn a_late_reply_that_is_taken_for_good_is_caught() {
    is_caught_by(
        "L7b holdings",
        Broken::LateReplyAccepted,
        Pattern::Skew,
        false,
        &[Fault::Slow],
    );
}

#[test]
fn spends_told_as_older_than_they_are_are_caught() {
    is_caught_by("L3 charge late", Broken::AgeTooGreat, Pattern::Even, false, &[]);
}

#[test]
fn a_level_that_counts_what_others_were_promised_is_caught() {
    is_caught_by(
        "L8 level",
        Broken::LevelCountsAll,
        Pattern::Even,
        false,
        &[Fault::Empty],
    );
}

#[test]
fn an_epoch_that_outlives_its_state_is_caught() {
    is_caught_by(
        "E1 epoch",
        Broken::EpochKept,
        Pattern::Even,
        false,
        &[Fault::EmptyThrice, Fault::Loss],
    );
}

#[test]
fn overdrafts_without_end_are_caught() {
    is_caught_by(
        "F1 overdraft",
        Broken::OverdraftForgotten,
        Pattern::Shift,
        true,
        &[Fault::Loss],
    );
}

#[test]
fn a_second_call_beside_the_first_is_caught() {
    is_caught_by("L13 single flight", Broken::TwoInFlight, Pattern::Even, false, &[]);
}
