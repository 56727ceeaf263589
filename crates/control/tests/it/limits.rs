//! Limits as any node tells of them, over real links and disks; what is counted is counted in the memory of this process.

use crate::world::{Node, World, eventually};
use sluice_control::Refusal;
use sluice_shared_store::{Ask, Decision, Outcome};
use std::time::Duration;

const LIMITED: &str = "\
gateways:
  web:
    hosts: ['*']
    rate_limits: [{ name: per-client, limit: 3, per: 1h }]
    routes:
      - { path: /, respond: { text: a } }
";

const UNLIMITED: &str = "\
gateways:
  web:
    hosts: ['*']
    routes:
      - { path: /, respond: { text: a } }
";

/// What a request of `client` is told at a worker of this node.
async fn ask(node: &Node, client: &str) -> Outcome {
    let snapshot = node.published.current();
    let rule = snapshot.limits().next().unwrap();
    let limiter = node.shared.limiter();
    let ask = Ask {
        rule,
        value: client,
        cost: 1,
        patience: Duration::ZERO,
        dry_run: false,
    };
    let verdict = match limiter.decide(&[ask]) {
        Decision::Ready(verdict) => verdict,
        Decision::Wait(waiting) => waiting.await,
    };
    verdict.standings[0].outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_listed_from_when_it_is_declared_until_it_is_gone() {
    let world = World::of(3);
    let nodes = world.start().await;
    nodes[0].put(LIMITED).await.unwrap();
    let listed = nodes[1].control.limits(0).await;
    let [limit] = listed.limits.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (limit.rule.name.as_str(), limit.rule.gateway.as_str(), &limit.rule.route),
        ("per-client", "web", &None)
    );
    assert_eq!((limit.rule.limit, limit.rule.per.as_deref()), (3, Some("1h")));
    assert!(limit.declared && limit.decisions.is_empty() && listed.silent.is_empty());
    nodes[2].put(UNLIMITED).await.unwrap();
    let listed = nodes[1].control.limits(0).await;
    assert!(listed.limits.iter().all(|limit| !limit.declared), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_spent_at_one_node_is_told_and_forgotten_through_another() {
    let world = World::of(3);
    let nodes = world.start().await;
    nodes[0].put(LIMITED).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&nodes[0], "10.0.0.9").await, Outcome::Admitted);
    }
    eventually("it is refused", || async {
        ask(&nodes[0], "10.0.0.9").await == Outcome::Spent
    })
    .await;

    let told = nodes[1].control.limit("per-client", "10.0.0.9").await.unwrap();
    let [count] = told.limits.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(count.left, Some(0), "{told:?}");
    assert_eq!(count.refusals.as_ref().unwrap().nodes, ["n1"], "{told:?}");
    let other = nodes[1].control.limit("per-client", "10.0.0.8").await.unwrap();
    assert_eq!(other.limits[0].refusals, None);
    let top = nodes[2].control.limits(5).await.top.unwrap();
    assert_eq!(
        (top[0].key.as_str(), top[0].nodes.as_slice()),
        ("10.0.0.9", &["n1".to_owned()][..])
    );

    let reset = nodes[2].control.reset_limit("per-client", "10.0.0.9").await.unwrap();
    assert_eq!((reset.counts, reset.silent), (1, vec![]));
    eventually("it is admitted again", || async {
        ask(&nodes[0], "10.0.0.9").await == Outcome::Admitted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_no_node_knows_is_named_with_what_was_probably_meant() {
    let world = World::of(1);
    let nodes = world.start().await;
    let none = nodes[0].control.limit("per-client", "a").await;
    assert!(none.unwrap_err().to_string().contains("`rate_limits`"));
    nodes[0].put(LIMITED).await.unwrap();
    let near = nodes[0].control.reset_limit("per-cleint", "a").await;
    assert!(
        matches!(&near, Err(Refusal::NotFound { what }) if what.ends_with("did you mean per-client?")),
        "{near:?}"
    );
}
