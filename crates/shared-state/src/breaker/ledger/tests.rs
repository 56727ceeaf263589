#![allow(clippy::unwrap_used)]

use super::*;
use crate::breaker::broken::with_broken;
use crate::breaker::wire::Report;
use crate::breaker::{BreakerRule, Failures};
use std::time::Duration;

const S: u64 = 1_000_000;

fn rule() -> BreakerRule {
    BreakerRule {
        failure_rate: Some(0.5),
        slow_rate: Some(0.8),
        slow_after: Some(Duration::from_secs(1)),
        consecutive: None,
        failures: Failures::default(),
        window: Duration::from_secs(10),
        min_requests: 20,
        open_for: Duration::from_secs(5),
        max_open_for: Duration::from_secs(50),
        probes: 2,
        observers: 2,
        probe_timeout: Duration::from_secs(1),
        version: 1,
    }
}

/// A store of one breaker, asked by hand.
struct Store {
    ledger: BreakerLedger,
    rule: Numbers,
    now: u64,
    run: &'static str,
    seq: u64,
}

impl Store {
    fn new(rule: BreakerRule) -> Self {
        let mut store = Self {
            ledger: BreakerLedger::default(),
            rule: Numbers::of(&rule),
            now: 1_700_000_000 * S,
            run: "a",
            seq: 0,
        };
        store.ask("n0", |_| {});
        store
    }

    fn key() -> Hex {
        Hex("00".to_owned())
    }

    fn epoch(&self) -> u64 {
        self.ledger.breakers[&Self::key()].epoch
    }

    /// What a node says that knows the present decision.
    fn ask(&mut self, name: &str, change: impl FnOnce(&mut Ask)) -> Answer {
        let (epoch, phase) = match self.ledger.breakers.get(&Self::key()) {
            Some(breaker) => (breaker.epoch, breaker.phase),
            None => (0, Phase::Closed),
        };
        let mut ask = Ask {
            key: Self::key(),
            rule: self.rule,
            epoch,
            phase,
            left: 0,
            trips: 0,
            seq: 0,
            counts: Counts::default(),
            request_id: String::new(),
            wish: false,
            lease: Report::default(),
            opinion: Opinion::None,
        };
        change(&mut ask);
        let call = Call {
            from: Caller {
                name: name.to_owned(),
                boot: 1,
            },
            live: 3,
            era: 0,
            chance: 100,
            asks: vec![ask],
        };
        self.ledger
            .serve(StoreTime(self.now), self.run, &call)
            .0
            .answers
            .remove(0)
    }

    fn tell(&mut self, name: &str, calls: u32, failed: u32) -> Answer {
        self.seq += 1;
        let seq = self.seq;
        self.ask(name, |ask| {
            ask.seq = seq;
            ask.counts = Counts {
                calls,
                failed,
                slow: 0,
                run: failed,
            };
        })
    }

    fn open(&mut self) -> Answer {
        self.tell("n0", 10, 10);
        let answer = self.tell("n1", 10, 10);
        assert_eq!(answer.told.phase, Phase::Open);
        answer
    }

    fn half_open(&mut self) -> Answer {
        let left = self.open().told.left;
        self.now += left;
        let answer = self.ask("n0", |ask| ask.wish = true);
        assert_eq!(answer.told.phase, Phase::HalfOpen);
        answer
    }

    fn report(&mut self, name: &str, report: impl FnOnce(&mut Report)) -> Answer {
        let epoch = self.epoch();
        self.ask(name, |ask| {
            ask.lease.epoch = epoch;
            report(&mut ask.lease);
        })
    }
}

#[test]
fn it_opens_by_the_evidence_of_enough_nodes_and_says_by_which() {
    let mut store = Store::new(rule());
    assert_eq!(store.tell("n0", 10, 10).told.phase, Phase::Closed, "too few attempts");
    assert_eq!(store.tell("n2", 6, 0).told.phase, Phase::Closed);
    let told = store.tell("n1", 8, 4).told;
    assert_eq!((told.phase, told.left), (Phase::Open, 5 * S));
    let cause = told.cause.to_cause().unwrap();
    assert_eq!((cause.node.as_str(), cause.by), ("n1", Criterion::FailureRate));
    let failed: Vec<_> = cause
        .counts
        .iter()
        .map(|(name, counts)| (name.as_str(), counts.failed))
        .collect();
    assert_eq!(failed, [("n0", 10), ("n2", 0), ("n1", 4)]);
}

#[test]
fn one_node_alone_is_suspicious_and_two_are_enough() {
    let mut store = Store::new(rule());
    let told = store.tell("n0", 30, 30).told;
    assert_eq!((told.phase, told.seen_by), (Phase::Suspect, vec!["n0".to_owned()]));
    // A node without calls of its own is asked to look, once for all.
    assert!(store.ask("n1", |_| {}).check);
    assert!(!store.ask("n2", |_| {}).check);
    store.now += SUSPECT;
    assert_eq!(store.ask("n2", |_| {}).told.phase, Phase::Closed, "it does not last");
    assert_eq!(
        store.tell("n1", 2, 2).told.phase,
        Phase::Suspect,
        "two calls are too few to see anything"
    );
    assert_eq!(store.tell("n1", 1, 1).told.phase, Phase::Open);
}

#[test]
fn a_restarted_node_is_no_second_one() {
    for (broken, phase) in [(None, Phase::Suspect), (Some(Broken::BootsAsNodes), Phase::Open)] {
        let mut store = Store::new(rule());
        store.tell("n0", 15, 15);
        let call = |boot, ask| Call {
            from: Caller {
                name: "n0".to_owned(),
                boot,
            },
            live: 3,
            era: 0,
            chance: 0,
            asks: vec![ask],
        };
        let ask = Ask {
            key: Store::key(),
            rule: store.rule,
            epoch: store.epoch(),
            phase: Phase::Closed,
            left: 0,
            trips: 0,
            seq: 1,
            counts: Counts {
                calls: 15,
                failed: 15,
                slow: 0,
                run: 15,
            },
            request_id: String::new(),
            wish: false,
            lease: Report::default(),
            opinion: Opinion::None,
        };
        let (reply, _) = with_broken(broken, || store.ledger.serve(StoreTime(store.now), "a", &call(2, ask)));
        assert_eq!(reply.answers[0].told.phase, phase);
    }
}

#[test]
fn evidence_counts_once_and_in_its_own_epoch() {
    let mut store = Store::new(rule());
    let (epoch, seq) = (store.epoch(), store.seq + 1);
    store.tell("n0", 10, 4);
    let again = store.ask("n0", |ask| {
        ask.seq = seq;
        ask.counts.calls = 10;
    });
    assert_eq!(again.all.calls, 10, "it was heard before");
    store.half_open();
    let closed = store.report("n0", |lease| lease.succeeded = 2);
    assert_eq!(closed.told.phase, Phase::Closed);
    for (broken, calls) in [(None, 0), (Some(Broken::AnyEpoch), 9)] {
        let late = with_broken(broken, || {
            store.ask("n0", |ask| {
                ask.epoch = epoch;
                ask.seq = 50;
                ask.counts.calls = 9;
            })
        });
        assert_eq!(late.all.calls, calls);
        assert_eq!(late.heard, 50, "it is not told again");
    }
}

#[test]
fn slow_attempts_and_runs_of_failures_open_it_as_well() {
    let mut store = Store::new(rule());
    for name in ["n0", "n1"] {
        store.seq += 1;
        let seq = store.seq;
        store.ask(name, |ask| {
            ask.seq = seq;
            ask.counts = Counts {
                calls: 10,
                failed: 0,
                slow: 8,
                run: 0,
            };
        });
    }
    let breaker = &store.ledger.breakers[&Store::key()];
    assert_eq!(
        (breaker.phase, breaker.cause.by),
        (Phase::Open, Criterion::SlowRate.number())
    );

    let mut store = Store::new(BreakerRule {
        failure_rate: None,
        slow_rate: None,
        consecutive: Some(6),
        ..rule()
    });
    assert_eq!(store.tell("n0", 5, 5).told.phase, Phase::Closed);
    assert_eq!(store.tell("n0", 6, 6).told.phase, Phase::Suspect);
    let told = store.tell("n1", 3, 3).told;
    assert_eq!(
        (told.phase, told.cause.by),
        (Phase::Open, Criterion::Consecutive.number())
    );
}

#[test]
fn the_only_live_node_is_enough_and_a_single_request_too_where_one_says_so() {
    let mut store = Store::new(BreakerRule {
        min_requests: 1,
        observers: 1,
        ..rule()
    });
    assert_eq!(store.tell("n0", 1, 1).told.phase, Phase::Open);
}

#[test]
fn one_node_has_the_probes_and_their_end_decides() {
    let mut store = Store::new(rule());
    let answer = store.half_open();
    assert_eq!((answer.told.holder.name.as_str(), answer.told.probes), ("n0", 2));
    assert_eq!(answer.told.left, 2 * S, "the time-out, and a second to begin");
    let other = store.ask("n1", |ask| ask.wish = true);
    assert_eq!(other.told.epoch, answer.told.epoch);
    assert_eq!(
        store.report("n1", |lease| lease.succeeded = 2).told.phase,
        Phase::HalfOpen,
        "it is not n1's"
    );
    let told = store.report("n0", |lease| lease.succeeded = 1).told;
    assert_eq!(told.phase, Phase::HalfOpen, "two are asked for");
    assert_eq!(
        store.report("n0", |lease| lease.succeeded = 2).told.phase,
        Phase::Closed
    );

    store.half_open();
    let told = store
        .report("n0", |lease| {
            lease.succeeded = 1;
            lease.failed = 1;
        })
        .told;
    assert_eq!(told.phase, Phase::Open);
    // The first trip was lived down by nothing, so this is the third.
    assert_eq!(told.left, 20 * S);
    assert_eq!(told.cause.by, Criterion::Probe.number());
}

#[test]
fn a_prober_that_is_never_heard_of_again_stops_nobody() {
    let mut store = Store::new(rule());
    store.half_open();
    store.now += 2 * S;
    let told = store.ask("n1", |ask| ask.wish = true).told;
    assert_eq!(
        (told.phase, told.left),
        (Phase::Open, 5 * S),
        "as long as before, not longer"
    );
    store.now += 5 * S;
    let told = store.ask("n1", |ask| ask.wish = true).told;
    assert_eq!((told.phase, told.holder.name.as_str()), (Phase::HalfOpen, "n1"));
    store.now += 3_600 * S;
    let told = store.ask("n2", |ask| ask.wish = true).told;
    assert_eq!(told.phase, Phase::HalfOpen, "after so long at once");
}

#[test]
fn a_probe_that_says_nothing_is_followed_by_another() {
    let mut store = Store::new(rule());
    store.half_open();
    let told = store
        .report("n0", |lease| {
            lease.succeeded = 1;
            lease.nothing = 1;
        })
        .told;
    assert_eq!((told.phase, told.left, told.trips), (Phase::Open, AGAIN, 1));
}

#[test]
fn an_unused_lease_is_kept_until_others_could_use_it() {
    let mut store = Store::new(rule());
    store.half_open();
    for _ in 0..10 {
        store.now += S;
        let answer = store.report("n0", |lease| lease.left = 2);
        assert_eq!((answer.told.phase, answer.missed), (Phase::HalfOpen, false));
    }
    for _ in 0..7 {
        store.ask("n1", |ask| ask.wish = true);
    }
    assert!(store.report("n0", |lease| lease.left = 2).missed);
    let told = store.report("n0", |lease| lease.returned = true).told;
    assert_eq!((told.phase, told.left), (Phase::Open, 0));
    assert_eq!(store.ask("n1", |ask| ask.wish = true).told.holder.name, "n1");
}

#[test]
fn each_trip_is_longer_up_to_the_most_and_quiet_times_make_up_for_it() {
    let mut store = Store::new(rule());
    let mut lefts = Vec::new();
    for _ in 0..6 {
        store.half_open();
        store.report("n0", |lease| lease.succeeded = 2);
        lefts.push(store.ledger.breakers[&Store::key()].rest / S);
    }
    assert_eq!(lefts, [5, 10, 20, 40, 50, 50]);
    store.now += 4 * 50 * S;
    assert_eq!(store.open().told.left, 20 * S, "four of six trips were lived down");
}

#[test]
fn the_highest_decision_that_nodes_know_outlives_the_stores_memory() {
    let mut store = Store::new(rule());
    let open = store.open().told;
    let era = open.epoch >> DECISIONS;
    let mut old = Store::new(rule());
    old.tell("n0", 5, 0);
    // What answers now is an old copy, in another process: it knows of no decision.
    store.ledger = old.ledger;
    store.run = "b";
    let told = store.ask("n2", |_| {}).told;
    assert!(told.epoch >> DECISIONS > era);
    assert_eq!(told.phase, Phase::Closed, "nobody knows better yet");
    let told = store
        .ask("n0", |ask| {
            ask.epoch = open.epoch;
            ask.phase = Phase::Open;
            ask.left = 4 * S;
            ask.trips = 1;
        })
        .told;
    assert_eq!((told.phase, told.left, told.trips), (Phase::Open, 4 * S, 1));
    // Who comes later, or knows less, changes nothing any more.
    store.now += LEARN;
    let later = store.ask("n1", |ask| {
        ask.epoch = open.epoch + 1;
        ask.phase = Phase::Closed;
    });
    assert_eq!(later.told.phase, Phase::Open);
}

#[test]
fn an_old_copy_of_the_store_decides_nothing_under_a_number_that_is_taken() {
    for (broken, same) in [(None, false), (Some(Broken::OldCopy), true)] {
        let mut store = Store::new(rule());
        store.tell("n0", 10, 10);
        let copy = store.ledger.clone();
        let decided = store.tell("n1", 10, 10).told.epoch;
        store.ledger = copy;
        store.run = "b";
        // n2 has not heard of it, and its evidence would tip the copy as well.
        let told = with_broken(broken, || store.tell("n2", 10, 10)).told;
        assert_eq!(told.epoch == decided, same);
    }
}

#[test]
fn of_two_configurations_the_later_ones_numbers_hold() {
    let mut store = Store::new(rule());
    let old = store.rule;
    store.rule = Numbers::of(&BreakerRule {
        min_requests: 100,
        version: 2,
        ..rule()
    });
    store.tell("n0", 10, 10);
    store.rule = old;
    assert_eq!(store.tell("n1", 30, 30).told.phase, Phase::Closed);
}
