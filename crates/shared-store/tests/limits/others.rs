//! Token buckets, fixed windows and concurrency limits, over several nodes.

use crate::cluster::{Cluster, ask, decide, passes, rule};
use sluice_shared_state::{Algorithm, Calendar, Rule};
use sluice_shared_store::{Ask, Limiter};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance};

const SECOND: Duration = Duration::from_secs(1);

fn bucket(limit: u32, per: Duration, depth: u32) -> Arc<Rule> {
    rule("bucket", Algorithm::TokenBucket { limit, per, depth })
}

fn window(limit: u64, length: Duration) -> Arc<Rule> {
    let calendar = Calendar::Every(length);
    rule("window", Algorithm::FixedWindow { limit, calendar })
}

fn places(limit: u32) -> Arc<Rule> {
    rule(
        "places",
        Algorithm::Concurrency {
            limit,
            hold: Duration::from_secs(60),
        },
    )
}

/// How many of these pass, one every so often, to the nodes in turn.
async fn passed(limiters: &[Limiter], asks: &[Ask<'_>], requests: usize, every: Duration) -> usize {
    let mut passed = 0;
    for request in 0..requests {
        passed += usize::from(passes(&limiters[request % limiters.len()], asks).await);
        advance(every).await;
    }
    passed
}

/// Lets time pass, and all who have something to do meanwhile do it.
async fn pass(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        advance((until - Instant::now()).min((time / 200).max(SECOND / 20))).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_one_for_all_nodes() {
    let rule = bucket(8, SECOND, 10);
    for nodes in [1, 3] {
        let cluster = Cluster::in_memory(3);
        let limiters = cluster.limiters();
        // Sixty within a second: what was in it, and what came meanwhile.
        let passed = passed(&limiters[..nodes], &[ask(&rule, "all")], 60, SECOND / 60).await;
        assert!((16..=18).contains(&passed), "{nodes} nodes: {passed}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_requests_take_nothing_from_those_that_come_later() {
    for rule in [bucket(5, SECOND, 5), window(5, SECOND)] {
        let cluster = Cluster::in_memory(3);
        let limiters = cluster.limiters();
        let flood = passed(&limiters, &[ask(&rule, "all")], 5000, SECOND / 1000).await;
        assert!((25..=30).contains(&flood), "{}: {flood}", rule.name);
        pass(SECOND).await;
        let later = passed(&limiters, &[ask(&rule, "all")], 20, SECOND / 4).await;
        assert_eq!(later, 20, "{}", rule.name);
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_when_told_passes() {
    let policies = [
        (bucket(10, 60 * SECOND, 1), 1),
        (window(10, 10 * SECOND), 10),
        (window(10, 3600 * SECOND), 10),
    ];
    for (rule, budget) in policies {
        let cluster = Cluster::in_memory(3);
        let limiter = cluster.nodes[0].store.limiter();
        let asks = [ask(&rule, "all")];
        for phase in 0..10 {
            // Somewhere in a window, with whatever is left of it.
            pass(Duration::from_millis(1337 * phase)).await;
            let mut refused = None;
            for _ in 0..=budget {
                let verdict = decide(&limiter, &asks).await;
                if verdict.refused(&asks).is_some() {
                    refused = Some(verdict.standings[0].reset);
                    break;
                }
            }
            let reset = refused.unwrap();
            assert!((1..=3600).contains(&reset));
            pass(Duration::from_secs(reset)).await;
            let verdict = decide(&limiter, &asks).await;
            assert!(verdict.refused(&asks).is_none(), "{} {phase}: told {reset}", rule.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_given_back_is_there_for_other_nodes() {
    let cluster = Cluster::in_memory(3);
    let limiters = cluster.limiters();
    let rule = places(5);
    let asks = [ask(&rule, "all")];
    let mut held = Vec::new();
    for request in 0..5 {
        let verdict = decide(&limiters[request % 3], &asks).await;
        assert!(verdict.refused(&asks).is_none());
        held.push(verdict.held);
    }
    for limiter in &limiters {
        assert!(!passes(limiter, &asks).await, "the sixth");
    }
    // All end, one node takes all places: it has them when the others have given back what they do not need.
    held.clear();
    let began = Instant::now();
    while held.len() < 5 {
        assert!(began.elapsed() < 5 * SECOND, "{} of 5", held.len());
        let verdict = decide(&limiters[2], &asks).await;
        if verdict.refused(&asks).is_none() {
            held.push(verdict.held);
        }
        advance(SECOND / 100).await;
    }
    assert!(!passes(&limiters[2], &asks).await, "the sixth");
}

#[tokio::test(start_paused = true)]
async fn two_limits_of_places_are_each_counted() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    let (wide, narrow) = (places(50), {
        let mut rule = Rule::clone(&places(10));
        rule.name = "narrow".into();
        Arc::new(rule.seal())
    });
    let both = [ask(&wide, "all"), ask(&narrow, "all")];
    for _ in 0..25 {
        let mut held = Vec::new();
        for _ in 0..8 {
            let verdict = decide(&limiter, &both).await;
            assert!(verdict.refused(&both).is_none());
            held.push(verdict.held);
        }
    }
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(decide(&limiter, &both).await.held);
    }
    assert_eq!(decide(&limiter, &both).await.refused(&both), Some(1));
    for _ in 0..40 {
        let verdict = decide(&limiter, &both[..1]).await;
        assert!(verdict.refused(&both[..1]).is_none(), "the wide one lost none");
        held.push(verdict.held);
    }
    assert!(!passes(&limiter, &both[..1]).await);
}
