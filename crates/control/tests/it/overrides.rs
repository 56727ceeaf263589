//! Breakers that operators set by hand, over real links and disks.

use crate::world::{Node, World, answering, eventually, start};
use sluice_control::{Actor, BreakerAct, BreakerOrder, BreakerOrdered, BreakerView, Hears, Refusal};
use sluice_shared_state::breaker::{Admission, BreakerCell, Failures};
use sluice_shared_state::{BreakerKey, BreakerRule};
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// As the workers of a node hold it while its configuration has the breaker.
fn cell(node: &Node, upstream: &str) -> Arc<BreakerCell> {
    let rule = BreakerRule {
        failure_rate: Some(0.5),
        slow_rate: None,
        slow_after: None,
        consecutive: None,
        failures: Failures::default(),
        window: Duration::from_secs(10),
        min_requests: 20,
        open_for: Duration::from_secs(5),
        max_open_for: Duration::from_secs(50),
        probes: 1,
        observers: 2,
        probe_timeout: Duration::from_secs(1),
        version: 1,
    };
    node.shared.breakers().cell(&key(upstream), &Arc::new(rule))
}

fn key(upstream: &str) -> BreakerKey {
    BreakerKey {
        upstream: upstream.into(),
        route: None,
    }
}

fn refuses(node: &Node, cell: &BreakerCell) -> bool {
    matches!(cell.admit(node.shared.now()), Admission::Refuse(_))
}

impl Node {
    async fn order_breaker(&self, upstream: &str, act: BreakerAct) -> Result<BreakerOrdered, Refusal> {
        let order = BreakerOrder {
            upstream: upstream.to_owned(),
            route: None,
            act,
            actor: Actor {
                who: "ada".to_owned(),
                from: "10.0.0.9 through n1".to_owned(),
                why: Some("it burns".to_owned()),
                request_id: format!("{act:?}"),
            },
        };
        self.control.order_breaker(order).await
    }

    async fn breaker(&self, upstream: &str) -> Option<BreakerView> {
        let view = self.control.breakers().await;
        view.breakers.into_iter().find(|breaker| breaker.upstream == upstream)
    }
}

/// A set of nodes, formed, at a version of its own: the first change raises the feature level.
async fn formed(world: &World) -> Vec<Node> {
    let nodes = world.start().await;
    nodes[0].put(&answering("one")).await.unwrap();
    for node in &nodes {
        node.serves(1).await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_set_by_hand_is_so_on_all_nodes_at_once_with_who_and_why() {
    let world = World::of(3);
    let nodes = formed(&world).await;
    let cells: Vec<_> = nodes.iter().map(|node| cell(node, "orders")).collect();
    let mut listener = nodes[2].control.listen(None);
    let ordered = nodes[1]
        .order_breaker("orders", BreakerAct::Open { lasting: HOUR })
        .await
        .unwrap();
    assert_eq!((ordered.live.len(), ordered.pending), (3, vec![]));
    for (node, cell) in nodes.iter().zip(&cells) {
        assert!(refuses(node, cell), "{} held it when the answer came", node.name);
    }
    let seen = nodes[0].breaker("orders").await.unwrap();
    let set = seen.set.unwrap();
    assert_eq!((seen.state.as_str(), set.state.as_str()), ("forced_open", "open"));
    assert_eq!((set.who.as_str(), set.why.as_str()), ("ada", "it burns"));
    assert!(seen.nodes.iter().all(|node| node.state == "forced_open"));
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match listener.next().await {
                Hears::Event(event) if event.kind == "breaker" => return event.data.clone(),
                Hears::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let told = told.await.unwrap();
    assert!(told.contains("forced_open") && told.contains("it burns"), "{told}");

    let closed = nodes[0]
        .order_breaker("orders", BreakerAct::Close { lasting: HOUR })
        .await
        .unwrap();
    assert_eq!(closed.breaker.unwrap().state, "forced_closed");
    let released = nodes[2].order_breaker("orders", BreakerAct::Release).await.unwrap();
    assert_eq!((released.live.len(), released.breaker.unwrap().set), (3, None));
    for (node, cell) in nodes.iter().zip(&cells) {
        assert!(!refuses(node, cell));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_outlives_its_leader_and_a_restart_and_holds_what_is_left_of_it() {
    let world = World::of(3);
    let mut nodes = formed(&world).await;
    let _cells: Vec<_> = nodes.iter().map(|node| cell(node, "orders")).collect();
    let view = nodes[0]
        .control
        .cluster(sluice_control::Freshness::Linearizable)
        .await
        .unwrap();
    let leader = nodes
        .iter()
        .position(|node| Some(&node.name) == view.leader.as_ref())
        .unwrap();
    let ordered = nodes[leader]
        .order_breaker("orders", BreakerAct::Open { lasting: HOUR })
        .await
        .unwrap();
    let until = ordered.breaker.unwrap().set.unwrap().until;
    let plan = world.plans[leader].clone();
    nodes.remove(leader).stop().await;
    let survivor = &nodes[0];
    eventually("another leads", || async {
        survivor
            .control
            .cluster(sluice_control::Freshness::Linearizable)
            .await
            .is_ok()
    })
    .await;
    assert_eq!(survivor.breaker("orders").await.unwrap().state, "forced_open");

    let again = start(&plan).await;
    again.is_ready().await;
    let cell = cell(&again, "orders");
    eventually("it is open after the restart", || async { refuses(&again, &cell) }).await;
    let set = again.breaker("orders").await.unwrap().set.unwrap();
    assert_eq!((set.until, set.who.as_str()), (until, "ada"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_is_over_in_time_and_leaves_nothing_behind() {
    let world = World::of(3);
    let nodes = formed(&world).await;
    let cells: Vec<_> = nodes.iter().map(|node| cell(node, "orders")).collect();
    let lasting = Duration::from_secs(1);
    nodes[0]
        .order_breaker("orders", BreakerAct::Open { lasting })
        .await
        .unwrap();
    for (node, cell) in nodes.iter().zip(&cells) {
        eventually("the breaker decides by itself again", || async { !refuses(node, cell) }).await;
    }
    // The leader has taken the record away: there is nothing to release.
    eventually("the record is gone", || async {
        matches!(
            nodes[1].order_breaker("orders", BreakerAct::Release).await,
            Err(Refusal::NotFound { .. })
        )
    })
    .await;
    assert_eq!(nodes[2].breaker("orders").await.unwrap().set, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_set_and_what_is_set_is_over_in_time_all_the_same() {
    let world = World::of(3);
    let mut nodes = formed(&world).await;
    let cell = cell(&nodes[0], "orders");
    let lasting = Duration::from_secs(3);
    nodes[0]
        .order_breaker("orders", BreakerAct::Open { lasting })
        .await
        .unwrap();
    for node in nodes.split_off(1) {
        node.stop().await;
    }
    assert!(
        nodes[0]
            .order_breaker("orders", BreakerAct::Close { lasting: HOUR })
            .await
            .is_err(),
        "there is no majority"
    );
    eventually("it is over on the one that is left", || async {
        !refuses(&nodes[0], &cell)
    })
    .await;
    let view = nodes[0].control.breakers().await;
    assert_eq!(view.silent.len(), 2, "who did not answer is named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_that_no_node_has_is_not_set_and_the_nearest_name_is_told() {
    let world = World::of(1);
    let nodes = formed(&world).await;
    let none = nodes[0]
        .order_breaker("orders", BreakerAct::Open { lasting: HOUR })
        .await;
    assert!(none.unwrap_err().to_string().contains("`breaker` in the document"));
    let _cell = cell(&nodes[0], "orders");
    let near = nodes[0]
        .order_breaker("oders", BreakerAct::Open { lasting: HOUR })
        .await;
    assert!(near.unwrap_err().to_string().ends_with("did you mean orders?"));
    let unset = nodes[0].order_breaker("orders", BreakerAct::Release).await;
    assert!(matches!(unset, Err(Refusal::NotFound { .. })), "{unset:?}");
}
