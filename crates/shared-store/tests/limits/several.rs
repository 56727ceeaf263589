//! Several limits on one request.

use crate::cluster::{Cluster, ask, decide, passes, rule, sliding};
use sluice_shared_state::Algorithm;
use sluice_shared_store::{Ask, Outcome};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn where_one_refuses_none_is_charged() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    let (wide, narrow) = (sliding("wide", 5, HOUR), sliding("narrow", 2, HOUR));
    let asks = [ask(&wide, "all"), ask(&narrow, "all")];
    assert!(passes(&limiter, &asks).await);
    assert!(passes(&limiter, &asks).await);
    for _ in 0..10 {
        let verdict = decide(&limiter, &asks).await;
        assert_eq!(verdict.refused(&asks), Some(1));
        assert_eq!(verdict.standings[0].outcome, Outcome::Spared);
    }
    for _ in 0..3 {
        assert!(passes(&limiter, &asks[..1]).await, "three of five are left");
    }
    assert!(!passes(&limiter, &asks[..1]).await);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_counts_and_refuses_nobody() {
    let cluster = Cluster::in_memory(1);
    let node = &cluster.nodes[0];
    let limiter = node.store.limiter();
    let (tried, real) = (sliding("tried", 1, HOUR), sliding("real", 3, HOUR));
    let asks = [
        Ask {
            dry_run: true,
            ..ask(&tried, "all")
        },
        ask(&real, "all"),
    ];
    for n in 0..6 {
        let verdict = decide(&limiter, &asks).await;
        assert_eq!(verdict.refused(&asks), (n >= 3).then_some(1), "request {n}");
    }
    let spent = node.metric("sluice_limit_decisions_total", &["tried", "spent"]);
    assert!(spent >= 1.0, "what it would have refused is counted");
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_whoever_ends_the_request() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    let algorithm = Algorithm::Concurrency {
        limit: 3,
        hold: Duration::from_secs(60),
    };
    let (places, narrow) = (rule("places", algorithm), sliding("narrow", 0x1000, HOUR));
    let asks = [ask(&places, "all"), ask(&narrow, "all")];
    for round in 0..100 {
        let mut held = Vec::new();
        for n in 0..3 {
            let verdict = decide(&limiter, &asks).await;
            assert_eq!(verdict.refused(&asks), None, "round {round}, request {n}");
            assert_eq!(verdict.held.len(), 1);
            held.push(verdict.held);
        }
        let verdict = decide(&limiter, &asks).await;
        assert_eq!(verdict.refused(&asks), Some(0), "round {round}");
        assert!(verdict.held.is_empty());
        // From another thread, too.
        std::thread::spawn(move || drop(held)).join().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_patient_request_waits_for_the_next_token() {
    let cluster = Cluster::in_memory(1);
    let limiter = cluster.nodes[0].store.limiter();
    let rule = sliding("orders", 1, Duration::from_millis(200));
    let patient = [Ask {
        patience: Duration::from_secs(5),
        ..ask(&rule, "all")
    }];
    for n in 0..4 {
        assert!(passes(&limiter, &patient).await, "request {n} waits, and is admitted");
    }
    let hour = sliding("hourly", 1, HOUR);
    let patient = [Ask {
        patience: Duration::from_secs(5),
        ..ask(&hour, "all")
    }];
    assert!(passes(&limiter, &patient).await);
    assert!(
        !passes(&limiter, &patient).await,
        "nobody waits for what comes too late"
    );
}
