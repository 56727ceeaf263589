#![allow(clippy::unwrap_used)]

use super::faults::{Fault, Plan};
use super::world::{MS, Report, S, Time, World};
use crate::breaker::Kind;
use crate::breaker::broken::{Broken, with_broken};
use crate::breaker::wire::Phase;

fn run(plan: Plan, seed: u64, length: Time) -> World {
    let mut world = World::new(plan, seed);
    world.run(length);
    world
}

fn sound(report: &Report) {
    assert_eq!(report.violations, Vec::<String>::new());
}

fn phases(report: &Report) -> Vec<Phase> {
    report.decisions.iter().map(|(.., phase)| *phase).collect()
}

/// One node with most of the traffic loses its way to the service. It dies and comes back in the middle of that: its two
/// lives are one node.
fn one_cut() -> Plan {
    let mut plan = Plan::calm(3)
        .with(S, Fault::Cut(0, true))
        .with(4 * S, Fault::Crash(0))
        .with(4 * S + 50 * MS, Fault::Start(0))
        .with(9 * S, Fault::Cut(0, false));
    plan.every = vec![5 * MS, 50 * MS, 50 * MS];
    plan
}

#[test]
fn a_service_that_fails_is_left_alone_by_all_nodes_and_taken_back_by_all() {
    for push in [true, false] {
        let mut plan = Plan::calm(3)
            .with(S, Fault::Fails(true))
            .with(4 * S, Fault::Fails(false));
        plan.push = push;
        for seed in 0..10 {
            let world = run(plan.clone(), seed, 12 * S);
            sound(&world.report);
            assert_eq!(world.kinds(), [Kind::Closed; 3]);
            let report = &world.report;
            assert_eq!(
                report.spread.len(),
                phases(report).iter().filter(|phase| **phase == Phase::Open).count()
            );
            let opened = report
                .decisions
                .iter()
                .find(|(.., phase)| *phase == Phase::Open)
                .unwrap()
                .0;
            assert!(opened < 2 * S + 6 * S, "it opens within the window: {opened}");
            // After the trip only probes reach it: one for each time that it is half-open.
            assert!(phases(report).contains(&Phase::HalfOpen));
        }
    }
}

#[test]
fn with_messages_and_without_them_all_refuse_within_250_ms() {
    for push_loss in [0.0, 0.5, 1.0] {
        let mut plan = Plan::calm(5).with(S, Fault::Fails(true));
        plan.push_loss = push_loss;
        // Two nodes without any traffic refuse as well.
        plan.every = vec![10 * MS, 10 * MS, 10 * MS, 1000 * S, 1000 * S];
        for seed in 0..10 {
            let world = run(plan.clone(), seed, 8 * S);
            sound(&world.report);
            let slowest = world.report.spread.iter().max().expect("it opens");
            assert!(*slowest <= 250 * MS);
            if push_loss == 0.0 {
                assert!(*slowest < 10 * MS, "a message is a matter of milliseconds: {slowest}");
            }
        }
    }
}

#[test]
fn one_nodes_bad_network_opens_nothing_for_the_others() {
    for seed in 0..10 {
        let world = run(one_cut(), seed, 20 * S);
        sound(&world.report);
        assert!(!phases(&world.report).contains(&Phase::Open), "B3");
        assert!(world.report.kinds.iter().any(|(_, _, kind, _)| *kind == Kind::Suspect));
        assert_eq!(world.kinds(), [Kind::Closed; 3], "nor does the suspicion last");
        assert_eq!(world.report.refused, 0);
    }
}

#[test]
fn a_second_opinion_opens_it_where_one_node_has_all_the_traffic() {
    let mut plan = Plan::calm(3).with(S, Fault::Fails(true));
    plan.every = vec![5 * MS, 1000 * S, 1000 * S];
    let world = run(plan, 1, 8 * S);
    sound(&world.report);
    assert!(phases(&world.report).contains(&Phase::Open));
}

#[test]
fn a_prober_that_dies_is_followed_by_another() {
    for dies in 0..3 {
        // Whoever has the lease is dead a moment later, and for good.
        let mut plan = Plan::calm(3)
            .with(S, Fault::Fails(true))
            .with(3 * S, Fault::Fails(false));
        plan.hang = true;
        let mut world = World::new(plan, dies);
        let half_open = |world: &World| world.report.decisions.iter().filter(|d| d.2 == Phase::HalfOpen).count();
        while half_open(&world) == 0 {
            world.run(MS);
        }
        let holder = world.kinds().iter().position(|kind| *kind == Kind::HalfOpen);
        world.kill(holder.unwrap_or(0));
        world.run(15 * S);
        sound(&world.report);
        assert_eq!(world.kinds(), [Kind::Closed; 2], "B6");
    }
}

#[test]
fn who_flaps_is_left_alone_for_longer_each_time_and_trips_are_lived_down() {
    let mut plan = Plan::calm(3);
    for round in 0..12 {
        plan = plan
            .with(round * 4 * S, Fault::Fails(true))
            .with(round * 4 * S + 1500 * MS, Fault::Fails(false));
    }
    let mut world = World::new(plan, 3);
    world.run(50 * S);
    sound(&world.report);
    let opens = phases(&world.report)
        .iter()
        .filter(|phase| **phase == Phase::Open)
        .count();
    let steady = 50 / 4;
    assert!(opens >= 3 && opens < steady, "{opens} times open in {steady} rounds");
    let flapping = world.trips();
    world.run(600 * S);
    assert!(flapping >= 3);
    world.fail(true);
    world.run(20 * S);
    assert!(
        world.trips() < flapping,
        "{} after a quiet time, {flapping} before",
        world.trips()
    );
}

#[test]
fn rare_requests_by_turns_find_the_way_back_too() {
    for probes in [1, 3] {
        let plan = Plan::calm(3)
            .ruled(|rule| rule.probes = probes)
            .with(S, Fault::Fails(true))
            .with(60 * S, Fault::Fails(false));
        let mut world = World::new(plan, 5);
        world.run(8 * S);
        assert!(
            world.kinds().iter().all(|kind| *kind != Kind::Closed),
            "{:?}",
            world.kinds()
        );
        world.slow_down(30 * S);
        world.run(900 * S);
        sound(&world.report);
        assert_eq!(world.kinds(), [Kind::Closed; 3]);
    }
}

#[test]
fn an_open_breaker_outlives_the_stores_memory() {
    for fault in [Fault::Empty, Fault::Failover(1500 * MS)] {
        for seed in 0..10 {
            let plan = Plan::calm(3)
                .ruled(|rule| {
                    rule.open_for = std::time::Duration::from_secs(60);
                    rule.max_open_for = rule.open_for;
                })
                .with(S, Fault::Fails(true))
                .with(7 * S, fault);
            let world = run(plan, seed, 12 * S);
            sound(&world.report);
            assert_eq!(world.kinds(), [Kind::Open; 3]);
            let passed = world
                .report
                .kinds
                .iter()
                .filter(|(time, .., kind, _)| *time > 9 * S && *kind != Kind::Open);
            assert_eq!(passed.count(), 0);
        }
    }
}

#[test]
fn without_the_store_each_node_decides_for_itself_and_with_it_all_together() {
    let plan = Plan::calm(3)
        .with(2 * S, Fault::Down)
        .with(4 * S, Fault::Cut(0, true))
        .with(9 * S, Fault::Up);
    for seed in 0..10 {
        let mut world = World::new(plan.clone(), seed);
        world.run(8900 * MS);
        assert!(!world.all_shared());
        assert!(
            matches!(
                world.kinds()[..],
                [Kind::Open | Kind::HalfOpen, Kind::Closed, Kind::Closed]
            ),
            "{:?}",
            world.kinds()
        );
        world.run(2 * S);
        sound(&world.report);
        assert!(world.all_shared());
        assert_eq!(
            world.kinds()[1..],
            [Kind::Suspect; 2],
            "its evidence came with it, and is one node's"
        );
    }
}

#[test]
fn somebodys_word_is_obeyed_at_once_and_leaves_nothing_behind() {
    let plan = Plan::calm(3)
        .with(S, Fault::Force(Some(true)))
        .with(2 * S, Fault::Force(Some(false)))
        .with(2500 * MS, Fault::Fails(true))
        .with(6 * S, Fault::Fails(false))
        .with(6 * S, Fault::Force(None));
    let mut world = World::new(plan, 4);
    world.run(1500 * MS);
    assert_eq!(world.kinds(), [Kind::ForcedOpen; 3]);
    assert!(world.report.refused > 0);
    world.run(4 * S);
    assert_eq!(world.kinds(), [Kind::ForcedClosed; 3]);
    world.run(5 * S);
    sound(&world.report);
    assert_eq!(world.kinds(), [Kind::Closed; 3]);
    assert!(
        !phases(&world.report).contains(&Phase::Open),
        "what failed under it opened nothing"
    );
}

#[test]
fn what_began_before_a_decision_counts_for_nothing_after_it() {
    // Attempts hang for longer than it is open: they end as failures when it is closed again.
    let mut plan = Plan::calm(3)
        .ruled(|rule| {
            rule.open_for = std::time::Duration::from_millis(200);
            rule.probe_timeout = std::time::Duration::from_secs(3);
        })
        .with(S, Fault::Fails(true))
        .with(2 * S, Fault::Fails(false));
    plan.hang = true;
    plan.every = vec![2 * MS; 3];
    let world = run(plan, 2, 20 * S);
    sound(&world.report);
    let opens = phases(&world.report)
        .iter()
        .filter(|phase| **phase == Phase::Open)
        .count();
    assert!(opens <= 1, "{:?}", world.report.decisions);
    assert_eq!(world.kinds(), [Kind::Closed; 3]);
}

/// Whether all nodes are closed by the cluster's word within 45 s.
fn settles(world: &mut World) -> bool {
    (0..45).any(|_| {
        world.run(S);
        world.kinds().iter().all(|kind| *kind == Kind::Closed) && world.all_shared()
    })
}

#[test]
fn anything_may_happen() {
    let runs: u64 = std::env::var("SLUICE_SIM_RUNS").map_or(300, |runs| runs.parse().unwrap());
    for seed in 0..runs {
        let plan = Plan::random(&mut fastrand::Rng::with_seed(seed));
        let mut world = World::new(plan.clone(), seed);
        world.run(13 * S);
        // Nothing goes wrong from here on; with traffic everywhere it has to find its way back.
        let back = settles(&mut world);
        assert_eq!(world.report.violations, Vec::<String>::new(), "seed {seed}: {plan:?}");
        assert!(back, "B6 seed {seed}: {:?} {plan:?}", world.kinds());
    }
}

/// Runs scenarios until one is not sound, and says how.
fn found(broken: Broken) -> Option<String> {
    let calm = || {
        Plan::calm(3)
            .with(S, Fault::Fails(true))
            .with(4 * S, Fault::Fails(false))
    };
    let plan = |seed: u64| match broken {
        Broken::BootsAsNodes | Broken::OneSees => one_cut(),
        Broken::NeverPolls => {
            let mut plan = calm();
            plan.push = false;
            plan.every = vec![10 * MS, 10 * MS, 1000 * S];
            plan
        }
        Broken::HeldForEver => {
            let mut plan = calm();
            plan.every = vec![200 * MS; 3];
            for node in 0..3 {
                let at = 4 * S + seed * 50 * MS;
                plan = plan.with(at, Fault::Pause(node)).with(at + 5 * S, Fault::Resume(node));
            }
            plan
        }
        Broken::TwiceHeard => {
            let mut plan = Plan::calm(3);
            plan.loss = 0.1;
            plan
        }
        Broken::LocalWins => calm().with(2 * S, Fault::Down).with(3 * S, Fault::Up),
        Broken::ProbeForEver => {
            let mut plan = calm();
            plan.silent = 0.3;
            plan
        }
        Broken::AnyOrder => {
            let mut plan = Plan::calm(3);
            for round in 0..5 {
                plan = plan
                    .with((4 * round + 1) * S, Fault::Fails(true))
                    .with((4 * round + 3) * S, Fault::Fails(false));
            }
            plan
        }
        _ => Plan::random(&mut fastrand::Rng::with_seed(seed)),
    };
    with_broken(Some(broken), || {
        (0..40).find_map(|seed| {
            let mut world = World::new(plan(seed), seed);
            world.run(13 * S);
            if let Some(first) = world.report.violations.first() {
                return Some(first.clone());
            }
            let one_alone = matches!(broken, Broken::BootsAsNodes | Broken::OneSees);
            if one_alone && phases(&world.report).contains(&Phase::Open) {
                return Some("B3 one node opened it".to_owned());
            }
            let back = settles(&mut world);
            let first = world.report.violations.first().cloned();
            first.or((!back).then(|| format!("B6 {:?}", world.kinds())))
        })
    })
}

#[test]
fn a_protocol_that_is_broken_is_found_out() {
    for (broken, invariant) in [
        (Broken::BootsAsNodes, "B3"),
        (Broken::OneSees, "B3"),
        (Broken::TwiceHeard, "evidence"),
        (Broken::ProbeForEver, "B6"),
        (Broken::HeldForEver, "B2"),
        (Broken::BegunAgain, "B2"),
        (Broken::AnyOrder, "B1"),
        (Broken::NeverPolls, "B4"),
        (Broken::LocalWins, "B6"),
    ] {
        match found(broken) {
            Some(violation) => assert!(violation.contains(invariant), "{broken:?}: {violation}"),
            None => panic!("{broken:?} was not found out"),
        }
    }
}
