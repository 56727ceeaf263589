//! How a cluster begins, and what a restart leaves as it was.

use cluster_tests::cluster::{node_live, voters_of};
use cluster_tests::document::answering;
use cluster_tests::node::Settings;
use cluster_tests::{Call, Cluster, Command, Node, World, eventually};

async fn served(node: &Node, text: &str) {
    let answer = Call::get(node.http(), "/").answer().await.expect(200);
    assert_eq!(answer.text(), text, "{}", node.name());
}

#[tokio::test]
async fn three_nodes_form_one_cluster_and_any_of_them_takes_a_change() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    let view = cluster
        .seen_by(1, "three voters", |view| voters_of(view) == ["n1", "n2", "n3"])
        .await;
    assert_eq!(view["version"], 0);
    let leader = cluster.leader().await;
    for n in 1..=3 {
        let text = format!("through n{n}");
        let written = cluster.admin(n).apply(&answering(&text)).await;
        let mut live = written.live.clone();
        live.sort();
        assert_eq!(live, ["n1", "n2", "n3"], "the leader is n{leader}");
        for node in cluster.nodes() {
            served(node, &text).await;
        }
    }
}

#[tokio::test]
async fn nobody_forms_while_a_member_of_the_set_is_missing_and_its_name_is_told() {
    let world = World::new();
    let mut cluster = Cluster::of(3).make(&world).await;
    cluster.node_mut(1).start();
    cluster.node_mut(2).start();
    cluster.node(1).says("n3").await;
    for n in [1, 2] {
        let unready = eventually("an answer", || async {
            cluster.admin(n).readyz().await.map_err(|e| e.to_string())
        })
        .await;
        assert_eq!(unready.expect(503).json()["ready"], false);
        Call::get(cluster.admin(n).address(), "/healthz")
            .answer()
            .await
            .expect(200);
    }
    cluster.start_all().await;
    cluster.voters(1, &["n1", "n2", "n3"]).await;
}

#[tokio::test]
async fn an_operator_may_stand_for_the_promise_of_one_who_will_never_come() {
    let world = World::new();
    let mut cluster = Cluster::of(3).make(&world).await;
    cluster.node_mut(1).start();
    cluster.node_mut(2).start();
    eventually("n3 alone to be missed", || async {
        let reason = cluster
            .admin(1)
            .readyz()
            .await
            .map_err(|error| error.to_string())?
            .text();
        if reason.contains("n3") && !reason.contains("n2") {
            Ok(())
        } else {
            Err(reason)
        }
    })
    .await;
    let form = Command::new(&world, &["members", "form", "--only", "n1,n2"]).at(cluster.admin(1).address());
    form.run().await.expect(0);
    cluster.node(1).ready().await;
    cluster.node(2).ready().await;
    cluster.voters(1, &["n1", "n2"]).await;
}

#[tokio::test]
async fn three_that_restart_at_once_meet_again_with_what_they_had() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let written = cluster.apply(&answering("kept")).await;
    let ids = cluster.admin(1).cluster().await.expect("the cluster");
    for node in cluster.nodes_mut() {
        node.kill();
    }
    cluster.start_all().await;
    cluster.leader().await;
    for node in cluster.nodes() {
        node_live(node, written.version).await;
        served(node, "kept").await;
    }
    let after = cluster.admin(1).cluster().await.expect("the cluster");
    for place in 0..3 {
        assert_eq!(ids["nodes"][place]["id"], after["nodes"][place]["id"]);
    }
    let next = cluster.apply(&answering("and on")).await;
    assert_eq!(next.version, written.version + 1);
}

#[tokio::test]
async fn a_node_that_joins_is_a_learner_that_serves_and_is_promoted_by_an_operator() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    cluster.apply(&answering("for all")).await;
    let mut settings = Settings::of(&world, 4);
    settings.join = vec![cluster.node(2).settings().peer.to_string()];
    let mut fourth = Node::new(&world, settings);
    fourth.start();
    fourth.ready().await;
    served(&fourth, "for all").await;
    let view = cluster
        .seen_by(1, "n4 to be a learner", |view| {
            view["nodes"].as_array().is_some_and(|n| n.len() == 4)
        })
        .await;
    assert_eq!(voters_of(&view), ["n1", "n2", "n3"]);
    let promoted = cluster
        .admin(3)
        .post("/v1/cluster/members/n4/promote")
        .await
        .expect("an answer")
        .expect(200);
    assert_eq!(voters_of(&promoted.json()), ["n1", "n2", "n3", "n4"]);
    let removed = cluster
        .admin(2)
        .post("/v1/cluster/members/n4/remove")
        .await
        .expect("an answer")
        .expect(200);
    assert_eq!(voters_of(&removed.json()), ["n1", "n2", "n3"]);
    // The others are as they were, and go on.
    cluster.apply(&answering("without n4")).await;
}

#[tokio::test]
async fn a_second_live_process_of_one_name_is_refused() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    cluster.apply(&answering("one n3")).await;
    let mut settings = Settings::of(&world, 5);
    settings.name = "n3".into();
    settings.join = vec![cluster.node(1).settings().peer.to_string()];
    let elsewhere = world.path("elsewhere");
    settings.data = elsewhere;
    let mut double = Node::new(
        &world,
        Settings {
            name: "n3-double".into(),
            ..settings.clone()
        },
    );
    *double.settings_mut() = settings;
    double.start();
    let real = cluster.node(3).settings().peer.to_string();
    double.says(&real).await;
    cluster.voters(1, &["n1", "n2", "n3"]).await;
    assert_eq!(cluster.admin(1).apply(&answering("still one")).await.live.len(), 3);
}
