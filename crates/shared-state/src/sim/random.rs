//! Random scenarios: whatever happens, what is promised holds.
//!
//! `SLUICE_SIM_RUNS=2500 cargo test -p sluice-shared-state random` runs more of them; `SLUICE_SIM_HUNT=20000` and `hunt`
//! instead of `random` goes on after a failure, and tells each.

use super::traffic::Pattern;
use super::world::World;
use super::{Fault, MS, SECOND, Scenario};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::RngSeed;
use std::time::Duration;

fn patterns() -> impl Strategy<Value = Pattern> {
    select(vec![
        Pattern::Near,
        Pattern::Even,
        Pattern::One,
        Pattern::Skew,
        Pattern::Shift,
        Pattern::Bursts,
    ])
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let away = vec![
        Fault::Loss,
        Fault::Freeze,
        Fault::Slow,
        Fault::Empty,
        Fault::Failover,
        Fault::EmptyThrice,
    ];
    // A crash between a loss and a declaration is the one thing that costs what the dead node had spent.
    prop_oneof![
        4 => subsequence(away, 1..=3),
        1 => Just(vec![Fault::Loss, Fault::Crash]),
    ]
}

prop_compose! {
    /// `most`: of the limit; of requests a second six times as many.
    fn scenarios(most: u32)(
        seed in any::<u64>(),
        pattern in patterns(),
        fast in prop::bool::weighted(0.33),
        limit in select(vec![3u32, 10, 60, 200, 1000]),
        window in select(vec![100u64, 1000, 1000, 1000, 3000]),
        nodes in 2usize..=6,
        times in select(vec![1.5, 3.0, 6.0]),
        faults in faults(),
        cost in select(vec![1u32, 1, 1, 3]),
    ) -> Scenario {
        let limit = limit.min(most);
        let window = Duration::from_millis(window);
        Scenario {
            seed,
            pattern,
            fast,
            limit,
            window,
            nodes,
            rate: (times * f64::from(limit) / window.as_secs_f64() / f64::from(cost)).min(6000.0 * f64::from(most) / 1000.0),
            length: 9 * SECOND + 500 * MS,
            faults,
            cost,
        }
    }
}

fn runs() -> u32 {
    let runs = std::env::var("SLUICE_SIM_RUNS").ok();
    runs.and_then(|runs| runs.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: runs(),
        max_shrink_iters: 30,
        failure_persistence: None,
        // The same ones each time, unless more are asked for.
        rng_seed: if runs() > 100 { RngSeed::Random } else { RngSeed::Fixed(1) },
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_random_scenario_keeps_what_is_promised(scenario in scenarios(if runs() > 100 { 1000 } else { 200 })) {
        let measured = World::new(scenario).run();
        prop_assert!(measured.broken.is_empty(), "{:?}", measured.broken);
    }
}

#[test]
fn hunt() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let Some(runs) = std::env::var("SLUICE_SIM_HUNT").ok().and_then(|runs| runs.parse().ok()) else {
        return;
    };
    let (mut runner, strategy) = (TestRunner::default(), scenarios(1000));
    let mut failed = 0;
    for _ in 0..runs {
        let scenario = strategy.new_tree(&mut runner).expect("a scenario").current();
        let measured = World::new(scenario.clone()).run();
        if !measured.broken.is_empty() {
            failed += 1;
            eprintln!("{scenario:?}: {:?}", measured.broken);
        }
    }
    assert!(failed == 0, "{failed} of {runs}");
}
