//! Who has left the cluster, or was put out of it, knows so and changes nothing there.

use crate::world::{Node, World, answering, eventually, request, start, whole};
use sluice_control::{Actor, Freshness, MemberOp, Refusal};

fn actor() -> Actor {
    request(whole(&answering("x"))).actor
}

async fn knows_that_it_was_removed(node: &Node) {
    eventually("it knows that it has no place any more", || async {
        let ready = node.control.ready();
        !ready.ready && ready.reason.is_some_and(|reason| reason.contains("removed"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_removed_while_it_was_down_is_told_when_it_comes_back() {
    let world = World::of(3);
    let mut nodes = world.start().await;
    nodes[0].put(&answering("one")).await.unwrap();
    nodes.remove(2).stop().await;
    let remove = nodes[0].control.change_member("n3", MemberOp::Remove, actor());
    remove.await.unwrap();
    let back = start(&world.plans[2]).await;
    knows_that_it_was_removed(&back).await;
    assert_eq!(back.control.live_version(), 1, "it serves its last version");
    let refused = back.put(&answering("by-a-stranger")).await.unwrap_err();
    assert!(
        matches!(refused, Refusal::Conflict { .. } | Refusal::NoLeader { .. }),
        "{refused}"
    );
    let kept = nodes[0].control.read(None, Freshness::Linearizable).await.unwrap();
    assert_eq!(kept.version, 1);
    back.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lives_is_not_replaced_and_one_that_was_replaced_knows_it() {
    let mut world = World::of(3);
    let mut nodes = world.start().await;
    nodes[0].put(&answering("one")).await.unwrap();
    let alive = nodes[0]
        .control
        .change_member("n3", MemberOp::Replace, actor())
        .await
        .unwrap_err();
    assert!(
        matches!(&alive, Refusal::Conflict { why } if why.contains("lives")),
        "{alive}"
    );
    nodes.remove(2).stop().await;
    let mut elsewhere = world.another("n3-elsewhere");
    elsewhere.name = "n3".to_owned();
    let replaces = nodes[0].control.change_member("n3", MemberOp::Replace, actor());
    replaces.await.unwrap();
    let new = start(&elsewhere).await;
    new.is_ready().await;
    eventually("the new n3 is in its place", || async {
        let view = nodes[0].control.cluster(Freshness::Local).await.unwrap();
        let thirds: Vec<_> = view.nodes.iter().filter(|node| node.name == "n3").collect();
        thirds.len() == 1 && thirds[0].peer == elsewhere.address
    })
    .await;
    world.plans[2].join = world.plans[..2].iter().map(|plan| plan.address.clone()).collect();
    let old = start(&world.plans[2]).await;
    knows_that_it_was_removed(&old).await;
    assert_eq!(new.put(&answering("two")).await.unwrap().live, ["n1", "n2", "n3"]);
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ephemeral_node_never_votes_and_leaves_when_it_stops() {
    let world = World::of(1);
    let nodes = world.start().await;
    let mut plan = world.another("guest");
    plan.ephemeral = true;
    let guest = start(&plan).await;
    guest.is_ready().await;
    let promote = nodes[0].control.change_member("guest", MemberOp::Promote, actor());
    let refused = promote.await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::Conflict { why } if why.contains("ephemeral")),
        "{refused}"
    );
    guest.stop().await;
    let left = nodes[0].control.cluster(Freshness::Linearizable).await.unwrap();
    assert_eq!(left.nodes.len(), 1, "{left:?}");
}
