//! Forming, entering, leaving.

use crate::world::{World, answering, eventually, request, start, whole, wipe};
use sluice_control::{Freshness, MemberOp, Refusal, Role};

fn actor() -> sluice_control::Actor {
    request(whole(&answering("x"))).actor
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_of_the_set_is_missing_nobody_forms_and_it_is_named() {
    let world = World::of(3);
    let first = start(&world.plans[0]).await;
    let second = start(&world.plans[1]).await;
    eventually("n1 says whom it waits for", || async {
        first.control.ready().reason.is_some_and(|reason| reason.contains("n3"))
    })
    .await;
    let refused = second.put(&answering("x")).await.unwrap_err();
    assert!(matches!(refused, Refusal::NotFormed { .. }), "{refused}");
    let third = start(&world.plans[2]).await;
    for node in [&first, &second, &third] {
        node.is_ready().await;
    }
    let view = second.control.cluster(Freshness::Linearizable).await.unwrap();
    assert_eq!(view.nodes.iter().filter(|node| node.role == Role::Voter).count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_forms_without_the_missing_one() {
    let world = World::of(3);
    let first = start(&world.plans[0]).await;
    let second = start(&world.plans[1]).await;
    let names = ["n1".to_owned(), "n2".to_owned()];
    eventually("n1 and n2 have formed", || async {
        first.control.form_only(&names).await.is_ok()
    })
    .await;
    for node in [&first, &second] {
        node.is_ready().await;
    }
    let third = start(&world.plans[2]).await;
    third.is_ready().await;
    let view = third.control.cluster(Freshness::Linearizable).await.unwrap();
    let of_third = view.nodes.iter().find(|node| node.name == "n3").unwrap();
    assert_eq!(of_third.role, Role::Learner, "who comes later comes as a learner");
    let again = first.control.form_only(&names).await.unwrap_err();
    assert!(matches!(again, Refusal::Conflict { .. }), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_comes_back_as_another_and_votes_again() {
    let world = World::of(3);
    let mut nodes = world.start().await;
    nodes[0].put(&answering("kept")).await.unwrap();
    let id = |view: &sluice_control::ClusterView| {
        view.nodes
            .iter()
            .find(|node| node.name == "n3")
            .map(|node| node.id.clone())
    };
    let old = id(&nodes[0].control.cluster(Freshness::Local).await.unwrap());
    nodes.remove(2).stop().await;
    wipe(&world.plans[2]);
    let back = start(&world.plans[2]).await;
    back.serves(1).await;
    eventually("n3 votes again, as another", || async {
        let view = nodes[0].control.cluster(Freshness::Local).await.unwrap();
        let of_third: Vec<_> = view.nodes.iter().filter(|node| node.name == "n3").collect();
        of_third.len() == 1 && of_third[0].role == Role::Voter && Some(of_third[0].id.clone()) != old
    })
    .await;
    back.is_ready().await;
    assert_eq!(back.put(&answering("more")).await.unwrap().live, ["n1", "n2", "n3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_wiped_of_three_never_form_a_second_cluster() {
    let world = World::of(3);
    let mut nodes = world.start().await;
    nodes[0].put(&answering("kept")).await.unwrap();
    let id = nodes[0].control.cluster(Freshness::Local).await.unwrap().id;
    let third = nodes.remove(2);
    for node in nodes {
        node.stop().await;
    }
    for plan in &world.plans[..2] {
        wipe(plan);
    }
    let first = start(&world.plans[0]).await;
    let second = start(&world.plans[1]).await;
    // n3 answers, and tells that it belongs to a cluster: they knock there, and it cannot change its members alone.
    for node in [&first, &second] {
        let knocks = || async {
            let view = node.control.cluster(Freshness::Local).await.unwrap();
            let waits = view.forming.is_some_and(|what| what.contains("let this node in"));
            assert!(view.id.is_none() || view.id == id, "a second cluster: {:?}", view.id);
            waits || view.id == id
        };
        eventually("it asks to be let in", knocks).await;
    }
    third.stop().await;
    for node in [&first, &second] {
        let refused = node.put(&answering("never")).await.unwrap_err();
        let not_done = matches!(
            refused,
            Refusal::NotFormed { .. } | Refusal::NoLeader { .. } | Refusal::NoMajority | Refusal::OutcomeUnknown { .. }
        );
        assert!(not_done, "{refused}");
        let view = node.control.cluster(Freshness::Local).await.unwrap();
        assert!(view.id.is_none() || view.id == id, "a second cluster: {:?}", view.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_learns_is_promoted_and_is_removed_for_good() {
    let world = World::of(3);
    let nodes = world.start().await;
    nodes[0].put(&answering("one")).await.unwrap();
    let plan = world.another("n4");
    let joiner = start(&plan).await;
    joiner.is_ready().await;
    joiner.serves(1).await;
    let role = |view: sluice_control::ClusterView| {
        view.nodes
            .into_iter()
            .find(|node| node.name == "n4")
            .map(|node| node.role)
    };
    assert_eq!(
        role(joiner.control.cluster(Freshness::Linearizable).await.unwrap()),
        Some(Role::Learner)
    );
    assert_eq!(
        joiner.put(&answering("two")).await.unwrap().live,
        ["n1", "n2", "n3", "n4"]
    );
    joiner
        .control
        .change_member("n4", MemberOp::Promote, actor())
        .await
        .unwrap();
    assert_eq!(
        role(nodes[1].control.cluster(Freshness::Linearizable).await.unwrap()),
        Some(Role::Voter)
    );
    nodes[1]
        .control
        .change_member("n4", MemberOp::Remove, actor())
        .await
        .unwrap();
    assert_eq!(
        role(nodes[1].control.cluster(Freshness::Linearizable).await.unwrap()),
        None
    );
    eventually("n4 knows that it was removed", || async {
        joiner
            .control
            .ready()
            .reason
            .is_some_and(|reason| reason.contains("removed"))
    })
    .await;
    assert_eq!(joiner.control.live_version(), 2, "it goes on serving its last version");
    joiner.stop().await;
    let again = start(&plan).await;
    nodes[0].put(&answering("three")).await.unwrap();
    assert_eq!(
        role(nodes[0].control.cluster(Freshness::Linearizable).await.unwrap()),
        None,
        "it is not let in again"
    );
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_member_is_not_ready_and_not_waited_for() {
    let world = World::of(3);
    let nodes = world.start().await;
    nodes[0]
        .control
        .change_member("n2", MemberOp::Drain, actor())
        .await
        .unwrap();
    assert_eq!(nodes[1].control.ready().reason.as_deref(), Some("draining"));
    nodes[1]
        .control
        .change_member("n2", MemberOp::Undrain, actor())
        .await
        .unwrap();
    nodes[1].is_ready().await;
    let unknown = nodes[0]
        .control
        .change_member("n9", MemberOp::Drain, actor())
        .await
        .unwrap_err();
    assert!(matches!(unknown, Refusal::NotFound { .. }), "{unknown}");
}
