//! The engine without I/O: messages in, rounds to a ledger and back.

use super::*;
use crate::backend::{CALL, CallError};
use crate::clock::Clock;
use crate::config::Driver;
use crate::limits::engine::{Answer, AskedPart, Settled};
use crate::limits::fixtures::sliding;
use crate::memory::SharedMemory;
use sluice_shared_state::ledger::Ledger;
use sluice_shared_state::limit::Refusal;
use sluice_shared_state::limit::cell::Form;
use sluice_shared_state::limit::cell::demand::Demand;
use sluice_shared_state::{Algorithm, Calendar, Mode, OnFailure, Rule, Salt, StoreTime};
use sluice_telemetry::Metrics;
use smallvec::SmallVec;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);

/// One node and a store.
struct Desk {
    common: Arc<Common>,
    core: Core,
    store: Ledger,
    now: Moment,
}

impl Desk {
    fn new() -> Self {
        Self::with(1000)
    }

    fn with(new_keys_per_second: u32) -> Self {
        let config = Config {
            node: "n1".into(),
            cluster: "shop".into(),
            secret: Vec::new(),
            driver: Driver::Memory(SharedMemory::default()),
            metrics: Metrics::new(),
            new_keys_per_second,
            keys: 1000,
        };
        let clock = Clock::start();
        let common = Arc::new(Common::new(clock, Salt([7; 16]), config.keys));
        let mut desk = Self {
            core: Core::new(&config, Arc::clone(&common), 1),
            common,
            store: Ledger::default(),
            now: clock.now(),
        };
        // As after the first reply: the store begins, and knows who asks.
        let header = Header {
            epoch: desk.store.epoch(),
            ..desk.header()
        };
        let served = desk.store.serve(desk.at(), &header, &[]);
        desk.core.partitions[0].epoch = served.epoch;
        desk
    }

    fn header(&self) -> Header {
        Header {
            from: self.core.node.from,
            epoch: 0,
            local: false,
            live: 1,
            without: 0,
        }
    }

    fn key(&self, rule: &Rule, value: &str) -> KeyId {
        self.common.salt.key(rule.id, value.as_bytes())
    }

    fn part(&self, rule: &Arc<Rule>, value: &str) -> AskedPart {
        let key = self.key(rule, value);
        AskedPart {
            rule: Arc::clone(rule),
            key,
            cost: 1,
            counted: false,
            patient_until: self.now,
        }
    }

    /// A request at one limit, whose worker does not have the key's cell.
    fn ask(&mut self, rule: &Arc<Rule>, value: &str) -> oneshot::Receiver<Answer> {
        let part = self.part(rule, value);
        self.ask_parts(SmallVec::from_iter([part]))
    }

    fn ask_parts(&mut self, parts: SmallVec<[AskedPart; 2]>) -> oneshot::Receiver<Answer> {
        let (to, answer) = oneshot::channel();
        let asking = Asking {
            parts,
            answer: Some(to),
            since: self.now,
        };
        self.core.hear(self.now, Message::Ask(asking));
        answer
    }

    /// What the engine sends now.
    fn rounds(&mut self) -> Vec<Round> {
        self.core.turn(self.now, true);
        self.core.rounds(self.now)
    }

    /// The store's answers to it.
    fn answer(&mut self, rounds: Vec<Round>) {
        let at = self.at();
        for round in rounds {
            let served = self.store.serve(at, &round.header, &round.requests);
            self.done(round, Ok(served));
        }
    }

    fn lose(&mut self, rounds: Vec<Round>) {
        for round in rounds {
            self.done(round, Err(CallError::Lost));
        }
    }

    fn done(&mut self, round: Round, served: Result<sluice_shared_state::ledger::Served, CallError>) {
        let done = Done {
            partition: round.partition,
            keys: round.keys,
            local: round.header.local,
            sent: self.now,
            served,
        };
        self.core.done(self.now, done);
    }

    /// All that is to be said is said and answered.
    fn settle(&mut self) {
        loop {
            let rounds = self.rounds();
            if rounds.iter().all(|round| round.requests.is_empty()) {
                return;
            }
            self.answer(rounds);
            self.now = self.now + Duration::from_millis(1);
        }
    }

    /// Time passes, and the engine does what is due.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now = self.now + Duration::from_millis(5);
            self.settle();
        }
    }

    /// What is spent and out.
    fn charged(&self, rule: &Rule, value: &str) -> u64 {
        let looked = self.store.look(self.at(), self.key(rule, value), rule);
        looked.used + looked.out.iter().map(|(_, tokens)| tokens).sum::<u64>()
    }

    fn at(&self) -> StoreTime {
        StoreTime(1_000_000_000_000 + self.now.0 / 1000)
    }
}

/// What became of the only part, and by whose word.
fn told(mut answer: oneshot::Receiver<Answer>) -> Result<&'static str, Refusal> {
    match answer.try_recv().expect("it was decided").pop() {
        Some(Settled::Granted(charge, _)) => {
            charge.spend();
            Ok("granted")
        }
        Some(Settled::Open) => Ok("open"),
        Some(Settled::Spared) => Ok("spared"),
        Some(Settled::Refused(why, _)) => Err(why),
        None => panic!("no part"),
    }
}

fn limit(limit: u32) -> Arc<Rule> {
    Arc::new(sliding("few", limit))
}

#[test]
fn requests_for_one_key_share_one_call() {
    let (mut desk, rule) = (Desk::new(), limit(3));
    let asked: Vec<_> = (0..4).map(|_| desk.ask(&rule, "a")).collect();
    let rounds = desk.rounds();
    assert_eq!(rounds.iter().map(|round| round.requests.len()).sum::<usize>(), 1);
    assert!(
        desk.ask(&rule, "a").try_recv().is_err(),
        "it waits for the call under way"
    );
    desk.answer(rounds);
    let granted = asked.into_iter().map(told).filter(Result::is_ok).count();
    assert_eq!(granted, 3);
}

#[test]
fn a_request_that_waits_is_demand_once() {
    let (mut desk, rule) = (Desk::new(), limit(20));
    let key = desk.key(&rule, "a");
    let expected = Demand::new(WINDOW);
    for turn in 0..4 {
        let mut part = desk.part(&rule, "a");
        let cell = desk.common.cells.get(key);
        if let Some(cell) = &cell {
            // As a worker does that has the cell.
            assert_eq!(cell.take(desk.now, 1).0, Take::Unknown);
            part.counted = true;
        }
        expected.asked(desk.now, 1);
        let answer = desk.ask_parts(SmallVec::from_iter([part]));
        // Looked at several times before the answer is there.
        let rounds = desk.rounds();
        desk.core.hear(desk.now, Message::Nudge(key));
        assert!(desk.rounds().is_empty());
        desk.answer(rounds);
        assert_eq!(told(answer), Ok("granted"), "turn {turn}");
        desk.now = desk.now + Duration::from_millis(300);
    }
    let cell = desk.common.cells.get(key).expect("it is known");
    let Form::Tokens(tokens) = cell.form() else {
        panic!("a sliding window")
    };
    assert_eq!(tokens.demand().rate(desk.now), expected.rate(desk.now));
}

/// Ten tokens that do not come back within a test.
fn each_that_gives_back() -> impl Iterator<Item = Arc<Rule>> {
    let rules = each_algorithm().into_iter();
    // A bucket may have been full meanwhile.
    rules.filter(|rule| !matches!(rule.algorithm, Algorithm::TokenBucket { .. }))
}

fn each_algorithm() -> [Arc<Rule>; 3] {
    let hour = Duration::from_secs(3600);
    [
        Algorithm::SlidingWindow {
            limit: 10,
            window: hour,
        },
        Algorithm::TokenBucket {
            limit: 1,
            per: hour,
            depth: 10,
        },
        Algorithm::FixedWindow {
            limit: 10,
            calendar: Calendar::Every(hour),
        },
    ]
    .map(|algorithm| {
        let rule = Rule {
            algorithm,
            ..sliding("wide", 10)
        };
        Arc::new(rule.seal())
    })
}

#[test]
fn what_nobody_waits_for_any_more_goes_back() {
    for rule in each_that_gives_back() {
        let mut desk = Desk::new();
        let gone = desk.ask(&rule, "a");
        let rounds = desk.rounds();
        drop(gone);
        desk.answer(rounds);
        desk.wait(Duration::from_secs(2));
        assert_eq!(desk.charged(&rule, "a"), 0, "{:?}", rule.algorithm);
    }
}

#[test]
fn what_another_limit_refuses_goes_back() {
    for wide in each_that_gives_back() {
        passes_both(&wide);
    }
}

fn passes_both(wide: &Arc<Rule>) {
    let (mut desk, narrow) = (Desk::new(), Arc::new(sliding("narrow", 1)));
    for turn in 0..3 {
        let parts = SmallVec::from_iter([desk.part(wide, "a"), desk.part(&narrow, "a")]);
        let mut answer = desk.ask_parts(parts);
        let rounds = desk.rounds();
        desk.answer(rounds);
        let parts = answer.try_recv().expect("it was decided");
        let refused = parts.iter().any(|part| matches!(part, Settled::Refused(..)));
        assert_eq!(refused, turn > 0);
        for part in parts {
            if let (Settled::Granted(charge, _), false) = (part, refused) {
                charge.spend();
            }
        }
        desk.wait(Duration::from_millis(50));
    }
    desk.wait(Duration::from_secs(2));
    assert_eq!(
        desk.charged(wide, "a"),
        1,
        "the one that passed both: {:?}",
        wide.algorithm
    );
}

#[test]
fn a_call_without_an_answer_is_judged_by_the_limit() {
    let judged = |on_failure| {
        let mut desk = Desk::new();
        let rule = Arc::new(
            Rule {
                on_failure,
                ..sliding("few", 10)
            }
            .seal(),
        );
        let answer = desk.ask(&rule, "a");
        let rounds = desk.rounds();
        desk.lose(rounds);
        told(answer)
    };
    assert_eq!(judged(OnFailure::Local), Err(Refusal::Spent(CALL)));
    assert_eq!(judged(OnFailure::Open), Ok("open"));
    assert_eq!(judged(OnFailure::Closed), Err(Refusal::NoStore));
}

#[test]
fn whoever_has_the_cell_of_a_forgotten_key_asks() {
    let modes = [OnFailure::Local, OnFailure::Open, OnFailure::Closed];
    for (rule, on_failure, mode) in each_algorithm()
        .iter()
        .flat_map(|rule| modes.map(|on_failure| (rule, on_failure)))
        .flat_map(|(rule, on_failure)| [Mode::Exact, Mode::Fast].map(|mode| (rule, on_failure, mode)))
    {
        let mut desk = Desk::new();
        let rule = Arc::new(
            Rule {
                on_failure,
                mode,
                ..Rule::clone(rule)
            }
            .seal(),
        );
        let answer = desk.ask(&rule, "a");
        desk.settle();
        assert_eq!(told(answer), Ok("granted"));
        let key = desk.key(&rule, "a");
        let cell = desk.common.cells.get(key).expect("it is known");
        // The node goes on by itself, and forgets the key meanwhile.
        desk.core.reach(desk.now, 0, false);
        cell.take(desk.now, 1);
        desk.core.hear(desk.now, Message::Nudge(key));
        desk.settle();
        let place = desk.core.table.find(key).expect("it is known");
        desk.core.evict(desk.now, place);
        assert_eq!(cell.take(desk.now, 1).0, Take::Unknown, "{rule:?}");
    }
}

#[test]
fn what_is_known_to_be_spent_is_known_while_requests_come() {
    for rule in each_algorithm() {
        let mut desk = Desk::new();
        let key = desk.key(&rule, "a");
        let hold_all: Vec<_> = (0..10).map(|_| desk.ask(&rule, "a")).collect();
        desk.settle();
        assert!(hold_all.into_iter().map(told).all(|told| told.is_ok()));
        // Another node, so to say: nothing is left when it first asks.
        let place = desk.core.table.find(key).expect("it is known");
        desk.core.evict(desk.now, place);
        desk.settle();
        assert!(matches!(told_after(&mut desk, &rule), Err(Refusal::Spent(_))));
        let cell = desk.common.cells.get(key).expect("it is kept");
        for _ in 0..100 {
            desk.now = desk.now + Duration::from_millis(1);
            assert!(
                matches!(cell.take(desk.now, 1).0, Take::Refused(_)),
                "{:?}",
                rule.algorithm
            );
            desk.settle();
        }
    }
}

fn told_after(desk: &mut Desk, rule: &Arc<Rule>) -> Result<&'static str, Refusal> {
    let answer = desk.ask(rule, "a");
    desk.settle();
    told(answer)
}

#[test]
fn a_key_whose_share_was_set_aside_is_kept_until_the_store_has_learnt() {
    let (mut desk, rule) = (Desk::new(), limit(3));
    assert_eq!(told_after(&mut desk, &rule), Ok("granted"));
    desk.core.reach(desk.now, 0, false);
    let key = desk.key(&rule, "a");
    // A request at the beginning, and then nobody asks any more.
    let first = desk.ask(&rule, "a");
    desk.settle();
    let _ = told(first);
    desk.wait(Duration::from_secs(4));
    desk.core.reach(desk.now, 0, true);
    desk.wait(Duration::from_millis(500));
    assert!(desk.common.cells.get(key).is_some(), "the store learns");
    desk.wait(Duration::from_secs(1));
    let asked: Vec<_> = (0..3).map(|_| desk.ask(&rule, "a")).collect();
    desk.settle();
    for answer in asked {
        assert_eq!(told(answer), Ok("granted"));
    }
}

#[test]
fn who_waits_for_tokens_to_come_is_told_when_the_key_is_forgotten() {
    let (mut desk, rule) = (Desk::new(), limit(1));
    assert_eq!(told_after(&mut desk, &rule), Ok("granted"));
    let mut part = desk.part(&rule, "a");
    part.patient_until = desk.now + Duration::from_secs(10);
    let mut patient = desk.ask_parts(SmallVec::from_iter([part]));
    desk.settle();
    assert!(patient.try_recv().is_err(), "it waits for what comes back");
    let key = desk.key(&rule, "a");
    desk.core.hear(desk.now, Message::Forget(key));
    assert!(matches!(told(patient), Err(Refusal::Spent(_))));
}

#[test]
fn keys_beyond_the_cap_are_counted_together() {
    let (mut desk, rule) = (Desk::with(10), limit(10));
    let first = desk.ask(&rule, "a");
    let asked: Vec<_> = ["b", "c", "d"]
        .map(|value| desk.ask(&rule, value))
        .into_iter()
        .collect();
    let rounds = desk.rounds();
    let keys: Vec<_> = rounds
        .iter()
        .flat_map(|round| round.requests.iter().map(|request| request.key))
        .collect();
    assert_eq!(keys, [desk.key(&rule, "a"), desk.common.overflow(&rule)]);
    desk.answer(rounds);
    assert_eq!(told(first), Ok("granted"));
    for answer in asked {
        assert_eq!(told(answer), Ok("granted"));
    }
    assert!(desk.common.sheds(desk.now), "workers need not ask for others");
}

#[test]
fn who_leaves_gives_all_back_and_is_told_when_the_store_has_heard() {
    let (mut desk, rule) = (Desk::new(), limit(1000));
    let key = desk.key(&rule, "a");
    // Enough to be worth a lease.
    let mut asked = Vec::new();
    for _ in 0..200 {
        let cell = desk.common.cells.get(key);
        let taken = cell.is_some_and(|cell| matches!(cell.take(desk.now, 1).0, Take::Taken(_)));
        if !taken {
            asked.push(desk.ask(&rule, "a"));
        }
        desk.settle();
        desk.now = desk.now + Duration::from_millis(2);
    }
    let out = |desk: &Desk| {
        let count = desk.store.sliding(key).expect("it was asked for");
        count.nodes().iter().map(|node| node.out()).sum::<u64>()
    };
    assert!(out(&desk) > 0, "it has a lease");
    let (to, mut left) = oneshot::channel();
    desk.core.hear(desk.now, Message::Leave(to));
    let rounds = desk.rounds();
    desk.core.left(rounds.is_empty());
    assert!(left.try_recv().is_err(), "the store has not heard yet");
    desk.answer(rounds);
    desk.core.left(true);
    assert_eq!(left.try_recv(), Ok(()));
    assert_eq!(out(&desk), 0);
    assert_eq!(desk.core.table.len(), 0);
}
