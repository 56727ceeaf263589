//! One limit, several nodes.

use crate::cluster::{Cluster, ask, decide, five, passes, sliding};
use crate::offered::{admitted, ideal, most_in_a_window, offer};
use sluice_shared_store::{Config, Decision, Outcome, Source};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn holds(rates: [u32; 3]) {
    let cluster = Cluster::in_memory(3);
    let rule = sliding("orders", 1000, SECOND);
    let offered = offer(cluster.limiters(), &rule, &rates, 4 * SECOND).await;
    let (most, used) = (most_in_a_window(&offered, SECOND), admitted(&offered));
    let ideal = ideal(&offered, 1000, SECOND);
    println!(
        "{rates:?}: {} offered, {used} admitted of {ideal}, at most {most} in a second",
        offered.len()
    );
    assert!(most <= 1000, "{most} in a second");
    // A machine with much else to do offers unevenly: the figure is printed, the bound is wide.
    assert!(used * 10 >= ideal * 8, "{used} of {ideal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_admit_what_one_would() {
    holds([1667, 1667, 1666]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_alone_may_use_all_of_a_limit() {
    holds([5000, 0, 0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_costs_nothing_and_says_when_to_come_back() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    let rule = sliding("orders", 3, Duration::from_secs(3600));
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        let standing = decide(&limiter, &[ask(&rule, "all")]).await.standings[0];
        assert!(standing.reset >= 1, "{standing:?}");
        assert!(standing.remaining <= 3, "{standing:?}");
        outcomes.push(standing.outcome);
    }
    use Outcome::{Admitted, Spent};
    assert_eq!(outcomes, [Admitted, Admitted, Admitted, Spent, Spent]);
    let seen = cluster.nodes[0].store.limits().seen();
    assert_eq!(seen.len(), 1);
    let of = |outcome| {
        seen[0]
            .decisions
            .iter()
            .filter(move |(of, ..)| *of == outcome)
            .map(|(.., count)| count)
            .sum::<u64>()
    };
    assert_eq!((of(Admitted), of(Spent)), (3, 2));
    let top = cluster.nodes[0].store.limits().top(10);
    assert_eq!((top.len(), &*top[0].value, top[0].refused), (1, "all", 2));
}

#[tokio::test(start_paused = true)]
async fn a_key_known_to_be_spent_is_refused_without_waiting() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    let rule = sliding("orders", 1, Duration::from_secs(60));
    assert!(passes(&limiter, &[ask(&rule, "all")]).await);
    assert!(!passes(&limiter, &[ask(&rule, "all")]).await);
    match limiter.decide(&[ask(&rule, "all")]) {
        Decision::Ready(verdict) => assert_eq!(verdict.standings[0].outcome, Outcome::Spent),
        Decision::Wait(_) => panic!("what is known needs no waiting"),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_new_key_share_a_call() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    let rule = sliding("orders", 8, Duration::from_secs(60));
    let asks = [ask(&rule, "all")];
    let waiting: Vec<_> = (0..20)
        .map(|_| match limiter.decide(&asks) {
            Decision::Ready(_) => panic!("nothing is known yet"),
            Decision::Wait(waiting) => waiting,
        })
        .collect();
    let mut passed = 0;
    for waiting in waiting {
        passed += usize::from(waiting.await.refused(&asks).is_none());
    }
    assert_eq!(passed, 8);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_gone_gives_back_what_was_granted() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    // Kept by the node: tokens that come back are there for the next one.
    let rule = sliding("orders", 1000, SECOND);
    for _ in 0..50 {
        decide(&limiter, &[ask(&rule, "all")]).await;
    }
    let asks = [ask(&rule, "all"), ask(&rule, "another")];
    match limiter.decide(&asks) {
        Decision::Ready(_) => panic!("one key is new"),
        Decision::Wait(waiting) => drop(waiting),
    }
    assert!(passes(&limiter, &[ask(&rule, "another")]).await);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_random_keys_is_shed_and_harms_no_known_key() {
    let cluster = Cluster::of(1, |config: &mut Config| {
        (config.new_keys_per_second, config.keys) = (1000, 500)
    });
    let node = &cluster.nodes[0];
    let limiter = node.store.limiter();
    let (flooded, calm) = (sliding("flooded", 10, SECOND), sliding("calm", 1_000_000, SECOND));
    let mut open = Vec::new();
    for n in 0..20_000 {
        assert!(passes(&limiter, &[ask(&calm, "all")]).await);
        let value = n.to_string();
        let asks = [ask(&flooded, &value)];
        if let Decision::Wait(waiting) = limiter.decide(&asks) {
            open.push(waiting);
        }
        if open.len() == 100 || n == 19_999 {
            for waiting in open.drain(..) {
                waiting.await;
            }
        }
    }
    assert!(node.metric("sluice_limit_new_keys_shed_total", &[]) >= 1000.0);
    assert!(
        node.metric("sluice_limit_keys", &[]) <= 502.0,
        "the table is bounded, but for what is shared"
    );
    let decided = |with: &[&str]| node.metric("sluice_limit_decisions_total", with);
    assert_eq!(decided(&["calm"]), 20_000.0);
    assert_eq!(decided(&["flooded"]), 20_000.0);
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_stands_in_the_metrics() {
    let cluster = Cluster::in_memory(1);
    let node = &cluster.nodes[0];
    let limiter = node.store.limiter();
    let rule = sliding("orders", 1, Duration::from_secs(60));
    for _ in 0..3 {
        decide(&limiter, &[ask(&rule, "all")]).await;
    }
    let decided = |with: &[&str]| node.metric("sluice_limit_decisions_total", with);
    let ours = [r#"limit="orders""#, r#"scope="web""#];
    assert_eq!(
        decided(&[ours[0], ours[1], r#"outcome="admitted""#, r#"source="store""#]),
        1.0
    );
    assert_eq!(decided(&[ours[0], ours[1], r#"outcome="spent""#]), 2.0);
    assert!(node.metric("sluice_limit_wait_seconds_count", &[]) >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn new_numbers_hold_for_keys_that_are_known() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    let old = sliding("orders", 2, Duration::from_secs(600));
    for _ in 0..3 {
        decide(&limiter, &[ask(&old, "all")]).await;
    }
    let mut new = (*sliding("orders", 4, Duration::from_secs(600))).clone();
    new.version = 2;
    let new = Arc::new(new);
    assert_eq!(old.id, new.id);
    // The first asks by the old numbers, maybe; the engine has heard of the new ones by then.
    decide(&limiter, &[ask(&new, "all")]).await;
    let mut passed = 0;
    for _ in 0..4 {
        tokio::task::yield_now().await;
        passed += usize::from(passes(&limiter, &[ask(&new, "all")]).await);
    }
    assert!((1..=2).contains(&passed), "{passed} after two of four");
    let last = decide(&limiter, &[ask(&new, "all")]).await.standings[0];
    assert_eq!(last.outcome, Outcome::Spent);
    assert_ne!(last.source, Source::Open);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_forgotten_and_comes_again_is_counted_on() {
    for rule in five() {
        let cluster = Cluster::of(1, |config: &mut Config| config.keys = 64);
        let limiter = cluster.nodes[0].store.limiter();
        let mut passed = 0;
        for round in 0..12 {
            passed += usize::from(passes(&limiter, &[ask(&rule, "ours")]).await);
            // More others than the node keeps.
            for n in 0..200 {
                let other = format!("{round} {n}");
                passes(&limiter, &[ask(&rule, &other)]).await;
            }
        }
        assert_eq!(passed, 5, "{}", rule.name);
    }
}
