//! The same limits, kept in a real Redis.

use crate::cluster::{Cluster, ask, decide, five, passes, sliding};
use crate::offered::{admitted, ideal, most_in_a_window, offer};
use crate::people;
use crate::server::Server;
use sluice_shared_state::{Mode, OnFailure, Rule};
use sluice_shared_store::{Decision, Driver, Limiter, Outcome, RedisSettings, Source};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

async fn cluster(server: &Server, nodes: usize) -> Cluster {
    let url = format!("redis://127.0.0.1:{}", server.port);
    let cluster = Cluster::of(nodes, |config| {
        config.driver = Driver::Redis(RedisSettings {
            urls: vec![url.parse().unwrap()],
            ..RedisSettings::default()
        });
    });
    for node in &cluster.nodes {
        node.store_is(true).await;
    }
    cluster
}

/// Waits until the store grants by such a limit: at first it learns.
async fn learnt(limiter: &Limiter, rule: &Arc<Rule>) {
    let granted = (Outcome::Admitted, Source::Store);
    let patience = Instant::now() + Duration::from_secs(30);
    for n in 0.. {
        // A value that has all of the limit left.
        let standing = decide(limiter, &[ask(rule, &n.to_string())]).await.standings[0];
        if (standing.outcome, standing.source) == granted {
            return;
        }
        assert!(Instant::now() < patience, "the store never learnt: {standing:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn holds(mode: Mode, most_allowed: usize, rates: [u32; 3]) {
    let server = Server::start();
    let cluster = cluster(&server, 3).await;
    let mut rule = (*sliding("orders", 1000, SECOND)).clone();
    rule.mode = mode;
    let rule = Arc::new(rule);
    let before = server.scripts();
    let offered = offer(cluster.limiters(), &rule, &rates, 5 * SECOND).await;
    let calls = server.scripts() - before;
    let (most, used) = (most_in_a_window(&offered, SECOND), admitted(&offered));
    let ideal = ideal(&offered, 1000, SECOND);
    let longest = offered
        .iter()
        .map(|one| one.ended - one.began)
        .max()
        .unwrap_or_default();
    println!(
        "{mode:?} {rates:?}: {} offered, {used} admitted of {ideal}, at most {most} in a second, {calls} calls, longest {longest:?}",
        offered.len()
    );
    assert!(most <= most_allowed, "{most} in a second");
    assert!(used * 10 >= ideal * 7, "{used} of {ideal}");
    assert!(calls as usize * 10 < used, "{calls} calls for {used} admitted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_admit_what_one_would() {
    holds(Mode::Exact, 1000, [1667, 1667, 1666]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_limit_is_overdrawn_by_a_stated_bound() {
    holds(Mode::Fast, 1050, [1667, 1667, 1666]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_key_costs_one_call_and_requests_at_once_share_it() {
    let server = Server::start();
    let cluster = cluster(&server, 1).await;
    let node = &cluster.nodes[0];
    let limiter = node.store.limiter();
    let rule = sliding("orders", 8, Duration::from_secs(60));
    let calls = || node.metric("sluice_store_calls_total", &["sliding"]);
    learnt(&limiter, &rule).await;
    let before = calls();
    assert!(passes(&limiter, &[ask(&rule, "one")]).await);
    assert_eq!(calls() - before, 1.0);
    let asks = [ask(&rule, "two")];
    let waiting: Vec<_> = (0..20).map(|_| limiter.decide(&asks)).collect();
    let mut passed = 0;
    for decision in waiting {
        let verdict = match decision {
            Decision::Ready(verdict) => verdict,
            Decision::Wait(waiting) => waiting.await,
        };
        passed += usize::from(verdict.refused(&asks).is_none());
    }
    println!("twenty at once: {} calls, {passed} passed", calls() - before - 1.0);
    // A machine that was busy elsewhere gives a call up now and then.
    assert!(passed <= 8, "{passed}");
    assert!(calls() - before <= 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_keeps_nobody_waiting() {
    let server = Server::start();
    let cluster = cluster(&server, 1).await;
    let node = &cluster.nodes[0];
    let limiter = node.store.limiter();
    let of = |name: &str, on_failure| {
        let rule = Rule {
            on_failure,
            ..(*sliding(name, 30, SECOND)).clone()
        };
        Arc::new(rule)
    };
    let local = of("local", OnFailure::Local);
    let (open, closed) = (of("open", OnFailure::Open), of("closed", OnFailure::Closed));
    decide(&limiter, &[ask(&local, "known")]).await;
    server.freeze(true);
    node.store_is(false).await;
    let began = Instant::now();
    for n in 0..50 {
        let value = n.to_string();
        let standing = decide(&limiter, &[ask(&open, &value)]).await.standings[0];
        assert_eq!((standing.outcome, standing.source), (Outcome::Admitted, Source::Open));
        let standing = decide(&limiter, &[ask(&closed, &value)]).await.standings[0];
        assert_eq!(standing.outcome, Outcome::NoStore);
        let standing = decide(&limiter, &[ask(&local, &value)]).await.standings[0];
        assert_eq!(standing.source, Source::Local, "{standing:?}");
    }
    println!("150 new keys without the store: {:?}", began.elapsed());
    server.freeze(false);
    node.store_is(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_seen_and_reset_in_redis() {
    let server = Server::start();
    let cluster = cluster(&server, 3).await;
    for rule in five() {
        for limiter in cluster.limiters() {
            learnt(&limiter, &rule).await;
        }
    }
    people::are_seen_and_reset(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_in_redis_is_free_after_a_reset_but_for_leases_still_out() {
    let server = Server::start();
    let cluster = cluster(&server, 3).await;
    let rule = sliding("orders", 1000, Duration::from_secs(3600));
    for limiter in cluster.limiters() {
        learnt(&limiter, &rule).await;
    }
    people::are_free_after_a_reset(&cluster).await;
}
