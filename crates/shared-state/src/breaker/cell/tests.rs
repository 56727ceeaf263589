#![allow(clippy::unwrap_used)]

use super::*;
use crate::breaker::Failures;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::thread;

const MS: u64 = 1_000_000;

fn rule() -> BreakerRule {
    BreakerRule {
        failure_rate: Some(0.5),
        slow_rate: Some(0.5),
        slow_after: Some(Duration::from_secs(1)),
        consecutive: Some(5),
        failures: Failures::default(),
        window: Duration::from_secs(10),
        min_requests: 20,
        open_for: Duration::from_secs(5),
        max_open_for: Duration::from_secs(50),
        probes: 3,
        observers: 1,
        probe_timeout: Duration::from_secs(1),
        version: 1,
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn woken() -> (BreakerCell, Arc<Wakes>) {
    let wakes = Arc::new(Wakes::default());
    let cell = BreakerCell::with_waker(Arc::new(rule()), Waker::from(Arc::clone(&wakes)));
    cell.set_floor(10);
    (cell, wakes)
}

fn ended(verdict: Verdict) -> Evidence<'static> {
    Evidence {
        verdict,
        slow: false,
        admitted: Moment(MS),
        probe: None,
        request_id: "",
    }
}

fn slow(verdict: Verdict) -> Evidence<'static> {
    Evidence {
        slow: true,
        ..ended(verdict)
    }
}

#[test]
fn what_says_nothing_of_the_service_is_not_counted() {
    let (cell, wakes) = woken();
    for _ in 0..100 {
        cell.record(Moment(2 * MS), ended(Verdict::Nothing));
    }
    assert_eq!(cell.harvest().counts, Counts::default());
    // A client that left after `slow_after` has waited for a slow service; it has not seen it fail.
    cell.record(Moment(2 * MS), slow(Verdict::Nothing));
    let counts = Counts {
        calls: 1,
        slow: 1,
        ..Counts::default()
    };
    assert_eq!(cell.harvest().counts, counts);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
}

#[test]
fn a_run_ends_with_a_success_and_goes_on_over_a_harvest() {
    let (cell, _) = woken();
    let record = |verdict| cell.record(Moment(2 * MS), ended(verdict));
    for verdict in [Verdict::Failure, Verdict::Failure, Verdict::Nothing, Verdict::Failure] {
        record(verdict);
    }
    record(Verdict::Success);
    record(Verdict::Failure);
    let counts = cell.harvest().counts;
    assert_eq!((counts.calls, counts.failed, counts.run), (5, 4, 3));
    record(Verdict::Failure);
    assert_eq!(cell.harvest().counts.run, 2, "it began before the harvest");
    record(Verdict::Success);
    assert_eq!(cell.harvest().counts.run, 2, "and has ended in this one");
    assert_eq!(cell.harvest().counts.run, 0);
}

#[test]
fn the_task_is_woken_once_when_own_counts_pass_a_threshold() {
    let (cell, wakes) = woken();
    for _ in 0..8 {
        cell.record(Moment(2 * MS), ended(Verdict::Success));
    }
    for _ in 0..4 {
        cell.record(Moment(2 * MS), ended(Verdict::Failure));
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "a third has failed");
    for _ in 0..50 {
        cell.record(Moment(2 * MS), ended(Verdict::Failure));
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    // What was harvested before counts with it.
    cell.tell_window(cell.harvest().counts);
    cell.rearm();
    cell.record(Moment(2 * MS), ended(Verdict::Failure));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
}

#[test]
fn what_began_before_the_last_decision_does_not_count() {
    let (cell, _) = woken();
    cell.publish(Gate::Open(Moment(500 * MS)), Suspicion::None, Moment(u64::MAX));
    cell.record(Moment(100 * MS), ended(Verdict::Failure));
    cell.publish(Gate::Pass, Suspicion::None, Moment(600 * MS));
    cell.record(Moment(700 * MS), ended(Verdict::Failure));
    assert_eq!(cell.harvest().counts, Counts::default());
    let fresh = Evidence {
        admitted: Moment(600 * MS),
        ..ended(Verdict::Failure)
    };
    cell.record(Moment(700 * MS), fresh);
    assert_eq!(cell.harvest().counts.failed, 1);
}

#[test]
fn an_open_one_refuses_until_it_may_be_probed_and_then_asks_for_a_probe_once() {
    let (cell, wakes) = woken();
    cell.publish(Gate::Open(Moment(500 * MS)), Suspicion::None, Moment(u64::MAX));
    assert_eq!(
        cell.admit(Moment(100 * MS)),
        Admission::Refuse(Duration::from_millis(400))
    );
    assert_eq!(
        cell.state(Moment(100 * MS)),
        State::Open {
            left: Duration::from_millis(400)
        }
    );
    assert!(!cell.take_wanted());
    for _ in 0..10 {
        assert_eq!(cell.admit(Moment(500 * MS)), Admission::Refuse(SOON));
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(cell.take_wanted());
    assert_eq!(cell.refused(), 11);
}

#[test]
fn no_more_probes_begin_than_the_lease_has_whoever_asks() {
    for _ in 0..50 {
        let (cell, _) = woken();
        cell.probes().begin(7, 3);
        cell.publish(Gate::Mine(Moment(900 * MS)), Suspicion::None, Moment(u64::MAX));
        let begun: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let admissions = (0..100).map(|_| cell.admit(Moment(100 * MS)));
                        admissions.filter(|admission| *admission == Admission::Probe(7)).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(begun, 3);
    }
}

#[test]
fn a_lease_that_is_over_begins_no_probe() {
    let (cell, _) = woken();
    cell.probes().begin(7, 3);
    cell.publish(Gate::Mine(Moment(900 * MS)), Suspicion::None, Moment(u64::MAX));
    assert_eq!(cell.admit(Moment(900 * MS)), Admission::Refuse(SOON));
    assert_eq!(cell.probes().standing().left, 3, "it did not begin");
}

#[test]
fn a_probes_end_counts_for_its_own_lease_alone() {
    let (cell, wakes) = woken();
    cell.probes().begin(7, 3);
    let probe = |number, verdict, slow| {
        let evidence = Evidence {
            probe: Some(number),
            slow,
            ..ended(verdict)
        };
        cell.record(Moment(100 * MS), evidence);
    };
    probe(6, Verdict::Failure, false);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    probe(7, Verdict::Success, false);
    probe(7, Verdict::Success, true);
    probe(7, Verdict::Nothing, false);
    let standing = cell.probes().standing();
    assert_eq!(
        (standing.succeeded, standing.failed, standing.nothing),
        (1, 1, 1),
        "a slow probe is a failed one"
    );
    assert_eq!(wakes.0.load(Ordering::Relaxed), 3);
    assert_eq!(
        cell.harvest().counts,
        Counts::default(),
        "probes are no evidence of a closed breaker"
    );
}

#[test]
fn what_all_threads_count_is_harvested_once() {
    const EACH: u32 = 20_000;
    let cell = BreakerCell::new(Arc::new(rule()));
    let threads = 4;
    let mut sum = Counts::default();
    let request_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut named = None;
    thread::scope(|scope| {
        let counting: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    for call in 0..EACH {
                        let verdict = if call % 4 == 0 {
                            Verdict::Failure
                        } else {
                            Verdict::Success
                        };
                        let evidence = Evidence {
                            request_id,
                            ..ended(verdict)
                        };
                        cell.record(Moment(2 * MS), evidence);
                    }
                })
            })
            .collect();
        while counting.iter().any(|thread| !thread.is_finished()) {
            let harvest = cell.harvest();
            sum = sum.and(harvest.counts);
            named = harvest.request_id.or(named.take());
        }
    });
    let harvest = cell.harvest();
    let sum = sum.and(harvest.counts);
    assert_eq!((sum.calls, sum.failed), (threads * EACH, threads * EACH / 4));
    assert_eq!(harvest.request_id.or(named).as_deref(), Some(request_id));
}

#[test]
fn of_what_speaks_against_a_service_the_last_failure_is_named_and_a_slow_one_where_none_failed() {
    let cell = BreakerCell::new(Arc::new(rule()));
    let named = |evidence: Evidence<'static>, request_id| {
        cell.record(Moment(2 * MS), Evidence { request_id, ..evidence });
    };
    named(ended(Verdict::Success), "well");
    assert_eq!(cell.harvest().request_id, None);
    named(slow(Verdict::Success), "slow");
    assert_eq!(cell.harvest().request_id.as_deref(), Some("slow"));
    named(ended(Verdict::Failure), "first");
    named(ended(Verdict::Failure), "last");
    named(slow(Verdict::Success), "slow");
    assert_eq!(cell.harvest().request_id.as_deref(), Some("last"));
    let long: &'static str = "a".repeat(200).leak();
    named(ended(Verdict::Failure), long);
    assert_eq!(cell.harvest().request_id.map(|id| id.len()), Some(128));
}
