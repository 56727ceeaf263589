//! The net is cut, and heals.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::*;
use crate::ReadError;

#[tokio::test]
async fn a_leader_without_a_majority_refuses_and_what_it_had_alone_is_gone_after() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let head = cluster.put("k", "before").await;
    cluster.all_at(head.version).await;
    let old = cluster.leader().await;
    cluster.cut(&[old]);

    // In flight while it believes in itself: nothing is said that is not known.
    let first = cluster.on(old).propose(change(head.version, "k", "lost")).await;
    assert!(
        matches!(first, Err(ProposeError::OutcomeUnknown | ProposeError::NoMajority)),
        "{first:?}"
    );
    // And then it knows.
    let second = cluster.on(old).propose(change(head.version, "k", "lost too")).await;
    assert!(
        matches!(
            second,
            Err(ProposeError::NoMajority | ProposeError::NotLeader { leader: None })
        ),
        "{second:?}"
    );
    let read = cluster.on(old).read_index().await;
    assert!(
        matches!(read, Err(ReadError::NoMajority | ReadError::NoLeader)),
        "{read:?}"
    );
    let within = Duration::from_secs(1);
    until("the old leader sees that nobody stands behind it", || {
        !cluster.view(old).has_majority(Instant::now(), within)
    })
    .await;
    // What it serves stays.
    assert_eq!(cluster.value(old, "k").as_deref(), Some("before"));

    let new = cluster.leader_but(&[old]).await;
    let after = cluster.put_but(&[old], "k", "after").await;
    assert!(cluster.view(new).term > 1);
    cluster.heal();
    cluster.all_at(after.version).await;
    for name in ["n1", "n2", "n3"] {
        assert_eq!(cluster.value(name, "k").as_deref(), Some("after"));
        assert_eq!(cluster.on(name).head().version, head.version + 1);
    }
}

#[tokio::test]
async fn a_follower_that_was_cut_off_comes_back_without_disturbing_the_leader() {
    let cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let leader = cluster.leader().await;
    let away = ["n1", "n2", "n3"].into_iter().find(|n| *n != leader).unwrap();
    let term = cluster.view(leader).term;
    cluster.cut(&[away]);
    until("the one cut off misses its leader", || {
        let view = cluster.view(away);
        !view.has_majority(Instant::now(), Duration::from_secs(2))
    })
    .await;
    let read = cluster.on(away).read_index().await;
    assert!(
        matches!(read, Err(ReadError::NoMajority | ReadError::NoLeader)),
        "{read:?}"
    );
    let head = cluster.put_but(&[away], "k", "v").await;
    cluster.heal();
    cluster.all_at(head.version).await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.view(leader).term, term, "no election was needed");
}

#[tokio::test]
async fn without_any_majority_nobody_leads_and_all_go_on_reading() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"], timings()).await;
    let head = cluster.put("k", "v").await;
    cluster.all_at(head.version).await;
    cluster.kill("n1").await;
    cluster.kill("n2").await;
    let refused = loop {
        match cluster.on("n3").propose(change(head.version, "k", "w")).await {
            // It led, and asked the others as long as it may.
            Err(ProposeError::OutcomeUnknown) => {}
            other => break other,
        }
    };
    assert!(
        matches!(refused, Err(ProposeError::NoMajority | ProposeError::NotLeader { .. })),
        "{refused:?}"
    );
    until("it misses the others", || {
        !cluster.view("n3").has_majority(Instant::now(), Duration::from_secs(2))
    })
    .await;
    assert_eq!(cluster.value("n3", "k").as_deref(), Some("v"));
    cluster.start("n1").await;
    assert_eq!(cluster.put("k", "w").await.version, head.version + 1);
}
