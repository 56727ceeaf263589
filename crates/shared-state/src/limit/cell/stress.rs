//! Workers take while plans change: no token is taken twice, none is lost.

use super::bucket::{BucketCell, Plan as BucketPlan};
use super::permits::{PermitCell, Places, Plan as PermitPlan};
use super::spans::{Plan as SpanPlan, SpanCell};
use super::{Beyond, Source, Take};
use crate::key::RuleId;
use crate::rule::{Algorithm, Mode, OnFailure, Rule, Scope};
use crate::time::Moment;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const WORKERS: u64 = 3;
/// Rounds, at least.
const PLANS: u64 = 300;

fn rule(mode: Mode) -> Rule {
    Rule {
        name: "orders".into(),
        scope: Scope::Gateway("web".into()),
        algorithm: Algorithm::TokenBucket {
            limit: 1000,
            per: Duration::from_secs(1),
            depth: 100,
        },
        mode,
        on_failure: OnFailure::Local,
        version: 1,
        id: RuleId(0),
    }
}

/// Runs the workers while plans are published: for many rounds, and until the workers have taken something. Tells how
/// many rounds there were, and how many tokens were taken in all.
fn while_plans_change(take: impl Fn(u64) -> u64 + Sync, mut publish: impl FnMut(u64)) -> (u64, u64) {
    let (over, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut rounds = 0;
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (over, taken, take) = (&over, &taken, &take);
            scope.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    taken.fetch_add(take(worker), Ordering::Relaxed);
                }
            });
        }
        while rounds < PLANS || taken.load(Ordering::Relaxed) < PLANS {
            publish(rounds);
            rounds += 1;
            thread::yield_now();
        }
        over.store(true, Ordering::Release);
    });
    (rounds, taken.into_inner())
}

#[test]
fn tokens_of_windows_are_taken_once_while_plans_change() {
    let cell = SpanCell::new(&rule(Mode::Exact));
    let (mut put_in, mut taken_out) = (0, 0);
    let (_, taken) = while_plans_change(
        |worker| match cell.take(Moment(5), u32::try_from(worker % 3 + 1).unwrap_or(1)).0 {
            Take::Taken(token) => u64::from(token.cost),
            _ => 0,
        },
        |round| {
            let plan = SpanPlan {
                spans: [(Moment(0), Moment(10)), (Moment(10), Moment(20))],
                low: round % 7,
                ..SpanPlan::default()
            };
            // Some go in, and now and then all that is left is taken out.
            let out = round % 5 == 4;
            let to = |place: usize, left: u64| match (place, out) {
                (0, true) => 0,
                (0, false) => left + 20,
                _ => left,
            };
            let (left, _) = cell.publish(plan, to, |over| over);
            if out {
                taken_out += left[0];
            } else {
                put_in += 20;
            }
        },
    );
    let ([left, of_next], _) = cell.left();
    assert_eq!(taken + taken_out + left, put_in);
    assert_eq!(of_next, 0);
}

#[test]
fn what_is_in_a_bucket_is_taken_once_while_plans_change() {
    let cell = BucketCell::new(&rule(Mode::Exact));
    let now = AtomicU64::new(0);
    let mut taken_out = 0.0;
    let (rounds, taken) = while_plans_change(
        |_| match cell.take(Moment(now.load(Ordering::Acquire)), 1).0 {
            Take::Taken(token) => u64::from(token.cost),
            _ => 0,
        },
        |round| {
            let at = Moment(round * 1_000_000);
            now.store(at.0, Ordering::Release);
            // A part of another rate and depth each time; a tenth of what is in it is taken out.
            let part = [(1000.0, 100), (700.0, 60), (900.0, 80)][usize::try_from(round % 3).unwrap_or(0)];
            let mut plan = BucketPlan::new(at, part, (1000.0, 100));
            plan.until = Moment(u64::MAX);
            let (was, _) = cell.publish(at, plan, |level| (level * 0.9).min(60.0), |over| over);
            taken_out += was * 0.1;
        },
    );
    // What came in is at most the greatest rate for all the time.
    let came = 1000.0 * f64::from(u32::try_from(rounds).unwrap_or(0)) / 1000.0;
    let (level, _) = cell.level(Moment(rounds * 1_000_000));
    let all = f64::from(u32::try_from(taken).unwrap_or(u32::MAX)) + taken_out + level;
    assert!(all <= came + 1.0, "{all} of {came}");
}

#[test]
fn places_are_never_more_than_there_are_while_these_change() {
    let cell = PermitCell::new(&rule(Mode::Exact));
    cell.publish(PermitPlan {
        until: Moment(10),
        source: Source::Lease,
        over: 0,
        beyond: Beyond::Ask,
        waits: true,
        free: 0,
    });
    let (at_once, worst) = (AtomicI64::new(0), AtomicI64::new(0));
    while_plans_change(
        |_| match cell.take(Moment(5), 1).0 {
            Take::Taken(token) => {
                let all = at_once.fetch_add(1, Ordering::AcqRel) + 1;
                worst.fetch_max(all, Ordering::AcqRel);
                at_once.fetch_sub(1, Ordering::AcqRel);
                cell.give_back(Moment(5), token);
                1
            }
            _ => 0,
        },
        |round| {
            let has = u32::try_from(round % 3).unwrap_or(0);
            let places = cell.change(|places| Places {
                has: has.max(places.used),
                ..places
            });
            assert!(places.used <= places.has);
        },
    );
    assert!(worst.into_inner() <= 2);
    assert_eq!(cell.places().used, 0);
}

#[test]
fn what_is_given_back_is_there_again_for_its_window_alone() {
    let cell = SpanCell::new(&rule(Mode::Exact));
    let plan = |windows| SpanPlan {
        spans: [(Moment(0), Moment(10)), (Moment(10), Moment(20))],
        windows,
        ..SpanPlan::default()
    };
    cell.publish(plan([1, 1]), |_, _| 5, |over| over);
    let Take::Taken(token) = cell.take(Moment(5), 3).0 else {
        unreachable!("five are there")
    };
    assert_eq!(cell.left().0, [2, 5]);
    cell.give_back(Moment(5), token);
    assert_eq!(cell.left().0, [5, 5]);
    let Take::Taken(token) = cell.take(Moment(5), 3).0 else {
        unreachable!("five are there")
    };
    // The place has another window by now.
    cell.publish(
        plan([2, 1]),
        |place, left| if place == 0 { 4 } else { left },
        |over| over,
    );
    cell.give_back(Moment(15), token);
    assert_eq!(cell.left().0, [4, 5]);
}
