//! A node that is killed from outside, again and again, is the same node afterwards.

use cluster_tests::document::answering;
use cluster_tests::{Call, Cluster, World};

#[tokio::test]
async fn a_node_that_is_killed_again_and_again_keeps_its_version() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let written = cluster.apply(&answering("the first and only one")).await;
    for _ in 0..4 {
        cluster.node_mut(3).kill();
        cluster.restart(3).await;
        cluster.live(written.version).await;
        let answer = Call::get(cluster.node(3).http(), "/").answer().await.expect(200);
        assert_eq!(answer.text(), "the first and only one");
    }
}
