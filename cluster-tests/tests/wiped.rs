//! A node that comes back with an empty disk is another node of the same name, and a cluster is never made twice.

use cluster_tests::admin::member;
use cluster_tests::cluster::node_live;
use cluster_tests::document::{answering, many_routes};
use cluster_tests::{Call, Cluster, Command, World, eventually, wait};
use serde_json::Value;
use std::time::Duration;

fn id_of(view: &Value, name: &str) -> String {
    member(view, name)
        .map(|node| node["id"].to_string())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_wiped_node_comes_back_as_another_and_is_a_voter_again() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let (document, _) = many_routes(50, 1);
    cluster.apply(&document).await;
    // Twice in a row, with changes going on.
    for round in 0..2 {
        let before = id_of(&cluster.admin(1).cluster().await.expect("the cluster"), "n3");
        cluster.node_mut(3).kill();
        cluster.node(3).wipe();
        let written = cluster
            .admin(2)
            .apply_when_possible(&format!("{document}  # {round}\n"))
            .await;
        let changed = document.replace("text: '0-0'", &format!("text: 'changed {round}'"));
        let written = cluster
            .admin(1)
            .apply_when_possible(&changed)
            .await
            .version
            .max(written.version);
        cluster.node_mut(3).start();
        cluster.node(3).ready().await;
        node_live(cluster.node(3), written).await;
        cluster.voters(1, &["n1", "n2", "n3"]).await;
        let after = id_of(&cluster.admin(1).cluster().await.expect("the cluster"), "n3");
        assert_ne!(before, after, "an empty disk is another incarnation");
        let said = Call::get(cluster.node(3).http(), "/things0/7")
            .answer()
            .await
            .expect(200)
            .text();
        assert_eq!(said, format!("changed {round}"));
    }
    let written = cluster.apply(&answering("all three")).await;
    assert_eq!(written.live.len(), 3);
}

#[tokio::test]
async fn two_wiped_of_three_never_form_a_second_cluster() {
    for third_is_cut_off in [false, true] {
        let world = World::new();
        let mut cluster = Cluster::three(&world).await;
        let written = cluster.apply(&answering("the first cluster")).await;
        for n in [2, 3] {
            cluster.node_mut(n).kill();
            cluster.node(n).wipe();
        }
        if third_is_cut_off {
            cluster.node(1).freeze();
        }
        for n in [2, 3] {
            cluster.node_mut(n).start();
        }
        for n in [2, 3] {
            eventually("the admin port to answer", || async {
                cluster.admin(n).readyz().await.map_err(|e| e.to_string())
            })
            .await;
        }
        // Long enough for several elections, had they made a cluster of two.
        wait::pass(Duration::from_secs(4)).await;
        for n in [2, 3] {
            cluster.admin(n).readyz().await.expect("an answer").expect(503);
            assert_eq!(cluster.admin(n).leader().await, None);
            let refused = cluster
                .admin(n)
                .put(&answering("a second cluster"), "")
                .await
                .expect("an answer");
            assert_eq!(refused.status, 503, "{}", refused.text());
        }
        if third_is_cut_off {
            cluster.node(1).thaw();
        }
        // Nor by an operator's word, while one is there who belongs to a cluster.
        let form = Command::new(&world, &["members", "form", "--only", "n2,n3"]).at(cluster.admin(2).address());
        assert_ne!(form.run().await.code, 0);
        let answer = Call::get(cluster.node(1).http(), "/").answer().await.expect(200);
        assert_eq!(answer.text(), "the first cluster");
        assert_eq!(cluster.admin(1).version().await, written.version);
    }
}
