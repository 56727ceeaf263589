//! One key at a few nodes and a store without any way between: for what a single request sees.

use super::node::key_id;
use crate::key::RuleId;
use crate::ledger::{From, Header, Ledger, Reply};
use crate::limit::{KeyNode, Refusal, Step, Take, View, Waiters};
use crate::rule::{Algorithm, Mode, OnFailure, Rule, Scope};
use crate::time::{Moment, StoreTime};
use std::sync::Arc;
use std::time::Duration;

struct Desk {
    store: Ledger,
    /// Whether it answers, and since when not.
    reached: bool,
    away: Moment,
    now: Moment,
    nodes: Vec<KeyNode>,
    /// When each wants to be looked at.
    next: Vec<Option<Moment>>,
    live: Vec<Arc<str>>,
    calls: usize,
    /// Calls that are lost; after the third the store is not reached.
    silent: Option<usize>,
    epoch: u64,
}

fn rule(limit: u32, window: Duration) -> Rule {
    Rule {
        name: "desk".into(),
        scope: Scope::Gateway("g".into()),
        algorithm: Algorithm::SlidingWindow { limit, window },
        mode: Mode::Exact,
        on_failure: OnFailure::Local,
        version: 1,
        id: RuleId(0),
    }
    .seal()
}

impl Desk {
    fn new(nodes: usize, rule: Rule) -> Self {
        let (now, rule) = (Moment(7_654_321_987), Arc::new(rule));
        let store = Ledger::default();
        Self {
            epoch: store.epoch(),
            store,
            reached: true,
            away: now,
            now,
            nodes: (0..nodes)
                .map(|_| KeyNode::new(key_id(0), Arc::clone(&rule), now))
                .collect(),
            next: vec![None; nodes],
            live: (0..nodes).map(|node| format!("n{node}").into()).collect(),
            calls: 0,
            silent: None,
        }
    }

    /// Time passes, and what is due is done.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut looks = 0;
        while let Some((node, at)) = (0..self.nodes.len())
            .filter_map(|node| Some((node, self.next[node]?)))
            .filter(|(_, at)| *at < until)
            .min_by_key(|(_, at)| *at)
        {
            self.now = self.now.max(at);
            self.look(node, Waiters::default());
            looks += 1;
            assert!(looks < 5000, "it looks again and again");
            // Time goes on.
            self.next[node] = self.next[node].map(|next| next.max(self.now + Duration::from_micros(100)));
        }
        self.now = until;
    }

    fn look(&mut self, node: usize, mut waiters: Waiters) -> u64 {
        let mut tokens = 0;
        loop {
            let live = self.live.clone();
            let view = View {
                from: From {
                    node: node as u64,
                    boot: 1,
                },
                epoch: self.epoch,
                reached: self.reached,
                away: self.away,
                name: &live[node],
                live: &live,
                round_trip: Duration::from_micros(1),
                chance: 0,
            };
            let Step { call, next, .. } = self.nodes[node].poll(self.now, waiters, &view);
            self.next[node] = next;
            let Some(request) = call else {
                return tokens;
            };
            self.calls += 1;
            if let Some(lost) = &mut self.silent {
                *lost += 1;
                self.now = self.now + Duration::from_millis(20);
                if *lost >= 3 {
                    (self.reached, self.away) = (false, self.now);
                }
                let view = View {
                    reached: self.reached,
                    away: self.away,
                    ..view
                };
                self.nodes[node].lost(self.now, &view);
                return tokens;
            }
            let header = Header {
                from: view.from,
                epoch: self.epoch,
                local: false,
                live: live.len() as u32,
                without: 0,
            };
            let served = self
                .store
                .serve(StoreTime(1_000_000_000_000 + self.now.0 / 1000), &header, &[request]);
            self.epoch = served.epoch;
            let view = View {
                epoch: served.epoch,
                ..view
            };
            for reply in served.replies {
                if matches!(reply, Reply::Sliding(_)) {
                    // Who waited tries again.
                    waiters = Waiters::default();
                }
                tokens += self.nodes[node].reply(self.now, reply, &view);
            }
        }
    }

    /// A request: it passes, or is told when to come again.
    fn request(&mut self, node: usize, cost: u32) -> Result<(), Refusal> {
        let cell = Arc::clone(self.nodes[node].cell());
        let (take, nudge) = cell.take(self.now, cost);
        let take = match take {
            Take::Unknown => {
                let waiters = Waiters {
                    requests: 1,
                    cost: u64::from(cost),
                    unit: cost,
                    since: self.now,
                };
                if self.look(node, waiters) >= u64::from(cost) {
                    return Ok(());
                }
                cell.take_again(self.now, cost).0
            }
            known if nudge => {
                self.look(node, Waiters::default());
                known
            }
            known => known,
        };
        match take {
            Take::Taken(_) => Ok(()),
            Take::Refused(refusal) => Err(refusal),
            // As the engine: its call was lost, and nothing is known of the store yet.
            Take::Unknown if self.silent.is_some() => Err(Refusal::NoStore),
            Take::Unknown => panic!("nobody knows, and nobody can be asked"),
        }
    }

    fn admitted(&mut self, node: usize, requests: usize) -> usize {
        (0..requests).filter(|_| self.request(node, 1).is_ok()).count()
    }
}

fn told(refused: Result<(), Refusal>) -> Duration {
    match refused {
        Err(Refusal::Spent(after)) => after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_waits_as_long_as_told_is_admitted() {
    for (limit, seconds) in [
        (1, 1),
        (5, 1),
        (1, 10),
        (5, 10),
        (100, 10),
        (3, 60),
        (1000, 60),
        (2, 3600),
    ] {
        let window = Duration::from_secs(seconds);
        for phase in 0..10u64 {
            let mut desk = Desk::new(1, rule(limit, window));
            desk.wait(window.mul_f64(phase as f64 / 7.3));
            for round in 0..3 {
                // At once, or one after the other.
                for request in 0..limit {
                    let passed = desk.request(0, 1);
                    assert!(
                        passed.is_ok() || round > 0,
                        "{limit} in {seconds} s: request {request} of {passed:?}"
                    );
                    if phase % 2 == 1 {
                        desk.wait(window / limit / 50);
                    }
                }
                let mut after = Duration::ZERO;
                while desk.request(0, 1).is_ok() {
                    desk.wait(Duration::from_millis(1));
                }
                after += told(desk.request(0, 1));
                assert!(
                    after <= window + window / 50 + Duration::from_millis(30),
                    "{after:?} of {window:?}"
                );
                desk.wait(after);
                assert!(
                    desk.request(0, 1).is_ok(),
                    "{limit} in {seconds} s, phase {phase}, round {round}: refused after {after:?}"
                );
                desk.wait(2 * window);
            }
        }
    }
}

#[test]
fn a_refused_request_costs_nothing() {
    let mut desk = Desk::new(2, rule(10, Duration::from_secs(1)));
    assert_eq!(desk.admitted(0, 500), 10);
    assert_eq!(desk.admitted(1, 500), 0);
    desk.wait(Duration::from_millis(1050));
    assert_eq!(desk.admitted(1, 500), 10, "those that were refused took nothing");
}

#[test]
fn a_cold_key_costs_one_call_and_leaves_nothing_out() {
    let mut desk = Desk::new(3, rule(100, Duration::from_secs(1)));
    assert!(desk.request(0, 1).is_ok());
    assert_eq!(desk.calls, 1);
    let count = desk.store.sliding(key_id(0)).expect("it is known");
    assert_eq!(count.nodes().iter().map(|node| node.out()).sum::<u64>(), 0);
    desk.wait(Duration::from_secs(3));
    assert_eq!(desk.calls, 1, "nobody asks for what nobody wants");
}

#[test]
fn a_refusal_is_remembered() {
    let mut desk = Desk::new(1, rule(3, Duration::from_secs(10)));
    desk.admitted(0, 4);
    let calls = desk.calls;
    assert_eq!(desk.admitted(0, 1000), 0);
    assert!(desk.calls <= calls + 1, "{} calls more", desk.calls - calls);
}

#[test]
fn a_cost_is_charged_whole() {
    let mut desk = Desk::new(1, rule(10, Duration::from_secs(1)));
    assert!(desk.request(0, 4).is_ok() && desk.request(0, 4).is_ok());
    assert!(desk.request(0, 4).is_err(), "two are left");
    assert!(desk.request(0, 2).is_ok(), "and may be had");
    assert!(desk.request(0, 1).is_err());
    desk.wait(Duration::from_millis(1050));
    assert!(desk.request(0, 10).is_ok(), "as much as the limit at once");
}

#[test]
fn with_fewer_tokens_than_nodes_somebody_gets_the_next_one() {
    let mut desk = Desk::new(5, rule(2, Duration::from_secs(1)));
    let mut admitted = 0;
    for turn in 0..10_000 {
        admitted += usize::from(desk.request(turn % 5, 1).is_ok());
        desk.wait(Duration::from_millis(1));
    }
    assert!((16..=20).contains(&admitted), "{admitted} in ten windows of two");
}

#[test]
fn a_lesser_limit_holds_at_once_for_what_is_granted_after() {
    let mut desk = Desk::new(2, rule(100, Duration::from_secs(1)));
    assert_eq!(desk.admitted(0, 50), 50);
    let lesser = Arc::new(Rule {
        version: 2,
        ..rule(20, Duration::from_secs(1))
    });
    desk.nodes[1].set_rule(desk.now, lesser);
    assert_eq!(desk.admitted(1, 50), 0, "fifty are spent of twenty");
    desk.wait(Duration::from_millis(1100));
    // The other one still has the old numbers; the later version holds.
    let both = desk.admitted(0, 200) + desk.admitted(1, 200);
    assert!(both <= 20, "{both}");
}

#[test]
fn without_a_store_shares_hold_and_a_new_key_has_its_own_at_once() {
    let mut desk = Desk::new(4, rule(40, Duration::from_secs(1)));
    desk.reached = false;
    desk.wait(Duration::from_secs(5));
    let all: usize = (0..4).map(|node| desk.admitted(node, 100)).sum();
    assert_eq!(all, 40);
    desk.wait(Duration::from_millis(500));
    assert_eq!(desk.admitted(0, 100), 0);
    desk.wait(Duration::from_millis(600));
    assert_eq!(desk.admitted(0, 100), 10);
}

#[test]
fn without_a_store_a_limit_may_be_open_or_closed() {
    for (on_failure, passes) in [(OnFailure::Open, true), (OnFailure::Closed, false)] {
        let mut desk = Desk::new(
            2,
            Rule {
                on_failure,
                ..rule(5, Duration::from_secs(1))
            },
        );
        desk.reached = false;
        for _ in 0..50 {
            match desk.request(0, 1) {
                Ok(()) => assert!(passes),
                Err(refusal) => assert_eq!((refusal, passes), (Refusal::NoStore, false)),
            }
        }
        // It is back: what passed is known, and the store learns before it grants.
        desk.reached = true;
        desk.wait(Duration::from_secs(3));
        assert_eq!(desk.admitted(0, 20), 5);
    }
}

#[test]
fn a_light_load_goes_on_without_a_gap_when_the_store_falls_silent() {
    for (limit, every) in [(1000, 5), (1000, 10), (1_000_000, 10), (200, 20), (100, 50)] {
        for silent_after in 0..40 {
            let mut desk = Desk::new(3, rule(limit, Duration::from_secs(1)));
            let mut refused = 0;
            let until = desk.now + Duration::from_millis(9000 + 17 * silent_after);
            let silent_from = desk.now + Duration::from_millis(4000 + 17 * silent_after);
            for turn in 0.. {
                if desk.now >= until {
                    break;
                }
                if desk.now >= silent_from && desk.silent.is_none() {
                    desk.silent = Some(0);
                }
                refused += usize::from(desk.request(turn % 3, 1).is_err());
                desk.wait(Duration::from_millis(every));
            }
            assert!(!desk.reached);
            assert_eq!(refused, 0, "{limit}: every {every} ms, silent after {silent_after}");
        }
    }
}

fn fast(limit: u32, window: Duration) -> Rule {
    Rule {
        mode: Mode::Fast,
        ..rule(limit, window)
    }
}

#[test]
fn an_overdraft_is_charged_though_the_last_lease_ended_long_ago() {
    let window = Duration::from_secs(1);
    let mut desk = Desk::new(1, fast(10, window));
    assert!(desk.request(0, 1).is_ok());
    for _ in 0..3 {
        desk.wait(Duration::from_secs(5));
        assert!(desk.request(0, 1).is_ok());
        let now = StoreTime(1_000_000_000_000 + desk.now.0 / 1000);
        let count = desk.store.sliding(key_id(0)).expect("it is known");
        assert!(count.load_now(window, now.0) >= 1, "{count:?}");
    }
}

#[test]
fn who_asks_seldom_is_not_refused_in_fast_mode() {
    let mut desk = Desk::new(3, fast(60, Duration::from_secs(60)));
    for turn in 0..200 {
        let passed = desk.request(turn % 3, 1);
        assert!(passed.is_ok(), "request {turn}: {passed:?}");
        desk.wait(Duration::from_millis(1100));
    }
}

#[test]
fn a_token_for_a_request_that_another_limit_refused_goes_back() {
    let window = Duration::from_secs(60);
    let mut desk = Desk::new(2, rule(5, window));
    for round in 0..20 {
        // It was let in by this limit, and refused by another.
        let cell = Arc::clone(desk.nodes[0].cell());
        assert_eq!(cell.take(desk.now, 1).0, Take::Unknown, "round {round}");
        let waiters = Waiters {
            requests: 1,
            cost: 1,
            unit: 1,
            since: desk.now,
        };
        assert_eq!(desk.look(0, waiters), 1, "round {round}: there is room");
        cell.give_back(desk.now, cell.instant(desk.now, 1).expect("it can be given back"));
        desk.wait(Duration::from_millis(700));
    }
    assert_eq!(desk.admitted(1, 10), 5);
}

#[test]
fn who_stays_below_the_limit_is_not_refused() {
    for (limit, rate, spread) in [
        (20, 5, 3),
        (20, 5, 1),
        (20, 15, 3),
        (5, 4, 3),
        (50, 40, 3),
        (100, 20, 3),
        (1000, 700, 3),
    ] {
        let mut desk = Desk::new(3, rule(limit, Duration::from_secs(1)));
        for turn in 0..20 * rate {
            let passed = desk.request(turn as usize % spread, 1);
            assert!(
                passed.is_ok(),
                "{limit} a second, {rate} offered over {spread}, turn {turn}: {passed:?}"
            );
            desk.wait(Duration::from_secs(1) / rate);
        }
    }
}

#[test]
fn who_comes_in_pairs_holds_nothing_that_others_miss() {
    let mut desk = Desk::new(3, rule(20, Duration::from_secs(1)));
    for turn in 0..400 {
        let passed = desk.request([0, 1, 2, 0][turn % 4], 1);
        assert!(passed.is_ok(), "turn {turn}: {passed:?}");
        desk.wait(Duration::from_millis(if turn % 4 == 3 { 5 } else { 200 }));
    }
}

#[test]
fn a_token_that_comes_back_late_takes_nobody_elses_spend_away() {
    let mut desk = Desk::new(1, rule(1000, Duration::from_secs(1)));
    for _ in 0..300 {
        assert!(desk.request(0, 1).is_ok());
        desk.wait(Duration::from_millis(1));
    }
    let cell = Arc::clone(desk.nodes[0].cell());
    let Take::Taken(early) = cell.take(desk.now, 1).0 else {
        panic!("it has a lease")
    };
    let calls = desk.calls;
    let mut passed = 301;
    while desk.calls == calls {
        assert!(desk.request(0, 1).is_ok());
        passed += 1;
        desk.wait(Duration::from_millis(1));
    }
    // By now it was told. What is taken after that is not, when the early one comes back.
    assert!(desk.request(0, 1).is_ok());
    passed += 1;
    cell.give_back(desk.now, early);
    desk.look(0, Waiters::default());
    desk.wait(Duration::from_millis(300));
    let count = desk.store.sliding(key_id(0)).expect("it is known");
    let spent: u64 = count.spent().iter().map(|(_, tokens)| tokens).sum();
    assert_eq!(spent, passed);
}
