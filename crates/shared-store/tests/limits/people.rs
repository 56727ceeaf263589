//! What people see of limits, and what they do: the same over a store in memory and over a real Redis.

use crate::cluster::{Cluster, ask, five, passes, sliding};
use sluice_shared_state::Rule;
use sluice_shared_store::{KeyView, Limiter, Stored, ViewError};
use std::sync::Arc;
use std::time::Duration;

/// Requests for one value that pass, of so many one after the other.
async fn passed(limiter: &Limiter, rule: &Arc<Rule>, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(passes(limiter, &[ask(rule, "ours")]).await);
    }
    passed
}

/// How a node shows the count; asked again where the store did not answer in time.
async fn look(cluster: &Cluster, node: usize, rule: &Rule) -> (KeyView, Stored) {
    for _ in 0..50 {
        let limits = cluster.nodes[node].store.limits();
        let view = limits.look(&rule.name, "ours").await.unwrap().remove(0);
        if let Some(stored) = view.stored.clone() {
            return (view, stored);
        }
    }
    panic!("{}: the store never says how it stands", rule.name)
}

fn out(stored: &Stored) -> u64 {
    stored.out.iter().map(|out| out.tokens).sum()
}

/// Spends on two nodes, looks through the third, resets there, and spends again.
pub(crate) async fn are_seen_and_reset(cluster: &Cluster) {
    let [one, two] = [0, 1].map(|n| cluster.nodes[n].store.limiter());
    let limits: Vec<_> = cluster.nodes.iter().map(|node| node.store.limits()).collect();
    limits[2].declare(&five());
    for rule in five() {
        let name = &*rule.name;
        // What one node holds and did not use the other has not.
        let spent = passed(&one, &rule, 3).await + passed(&two, &rule, 4).await;
        assert!((3..=5).contains(&spent), "{name}: {spent}");
        let (view, stored) = look(cluster, 2, &rule).await;
        assert_eq!(stored.used + stored.left + out(&stored), 5, "{name}: {stored:?}");
        assert!(stored.used + out(&stored) >= spent as u64, "{name}: {stored:?}");
        assert!(stored.reset > Duration::ZERO, "{name}: {stored:?}");
        assert!(
            stored.out.iter().all(|out| out.node.is_some()),
            "{name}: nodes that live have names: {stored:?}"
        );
        assert!(
            view.here.is_none() && view.refused.is_none(),
            "{name}: it never met the key"
        );
        assert!(passed(&one, &rule, 5).await < 5, "{name}");
        let (view, _) = look(cluster, 0, &rule).await;
        assert!(view.here.is_some() && view.refused.is_some(), "{name}: {view:?}");

        for limits in &limits {
            limits.forget(name, "ours");
        }
        assert_eq!(limits[2].reset(name, "ours").await, Ok(1), "{name}");
        let (_, stored) = look(cluster, 2, &rule).await;
        assert_eq!((stored.used, stored.left, out(&stored)), (0, 5, 0), "{name}");
        let again = passed(&one, &rule, 6).await + passed(&two, &rule, 6).await;
        assert!((3..=5).contains(&again), "{name}: {again} after the reset");
        let (_, stored) = look(cluster, 2, &rule).await;
        assert_eq!(stored.used + stored.left + out(&stored), 5, "{name}: {stored:?}");
    }
}

/// Spends of a limit of 1000 until a second node holds a lease, then resets it: that node gives back, or does not hear of
/// it. How many passed since, and how many more may have for what it went on to hold.
async fn since_reset(cluster: &Cluster, rule: &Arc<Rule>, all_hear: bool) -> (usize, usize) {
    let limiters = cluster.limiters();
    let mut before = 0;
    loop {
        for limiter in &limiters {
            before += passed(limiter, rule, 20).await;
        }
        let (_, stored) = look(cluster, 0, rule).await;
        if stored.out.iter().any(|out| out.node.as_deref() == Some("n2")) {
            break;
        }
        assert!(before < 1000, "n2 never held a lease: {stored:?}");
    }
    let limits: Vec<_> = cluster.nodes.iter().map(|node| node.store.limits()).collect();
    for limits in limits.iter().take(if all_hear { limits.len() } else { 1 }) {
        limits.forget(&rule.name, "ours");
    }
    assert_eq!(limits[0].reset(&rule.name, "ours").await, Ok(1));
    let mut since = 0;
    for _ in 0..150 {
        for limiter in &limiters {
            since += passed(limiter, rule, 20).await;
        }
    }
    (since, if all_hear { 0 } else { 1000 - before })
}

/// A reset frees the count: no more passes than the limit, but for what a node holds that did not hear of it.
pub(crate) async fn are_free_after_a_reset(cluster: &Cluster) {
    for (name, all_hear) in [("heard", true), ("unheard", false)] {
        let rule = sliding(name, 1000, Duration::from_secs(3600));
        let (since, more) = since_reset(cluster, &rule, all_hear).await;
        println!("{name}: {since} passed after the reset; {more} more might have");
        assert!(
            since <= 1000 + more,
            "{name}: {since} after the reset, {more} might be held"
        );
        assert!(since >= 900, "{name}: {since} after the reset");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_are_seen_and_reset() {
    are_seen_and_reset(&Cluster::in_memory(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_count_is_free_after_a_reset_but_for_leases_still_out() {
    are_free_after_a_reset(&Cluster::in_memory(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_nobody_declared_is_named() {
    let cluster = Cluster::in_memory(1);
    let limits = cluster.nodes[0].store.limits();
    let unknown = ViewError::Unknown("oders".to_owned());
    assert_eq!(limits.look("oders", "ours").await.err(), Some(unknown.clone()));
    assert_eq!(limits.reset("oders", "ours").await, Err(unknown));
    limits.declare(&five());
    let view = limits.look("sliding", "ours").await.unwrap().remove(0);
    assert_eq!(view.stored.map(|stored| (stored.used, stored.left)), Some((0, 5)));
    assert!(view.here.is_none() && view.refused.is_none());
}
