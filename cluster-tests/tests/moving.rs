//! Nodes that come back under another address than the one on record.

use cluster_tests::document::answering;
use cluster_tests::node::Settings;
use cluster_tests::{Cluster, World};
use serde_json::Value;

/// Gives a node other ports, as a scheduler would that starts it on another machine with its old disk.
fn move_away(node: &mut Settings, port: u16) {
    for at in [&mut node.peer, &mut node.advertised, &mut node.admin] {
        at.set_port(at.port() + port);
    }
}

fn is_on_record(cluster: &Value, node: &Settings) -> bool {
    let nodes = cluster["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    nodes.iter().any(|known| {
        known["name"] == *node.name
            && known["peer"] == node.advertised.to_string()
            && known["admin"] == node.admin.to_string()
    })
}

#[tokio::test]
async fn a_voter_that_comes_back_under_another_address_is_found_and_written_down() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    cluster.apply(&answering("a")).await;
    let moved = cluster.leader().await;
    assert!(cluster.node_mut(moved).stop().await.success());
    move_away(cluster.node_mut(moved).settings_mut(), 1);
    cluster.restart(moved).await;
    let settings = cluster.node(moved).settings().clone();
    for n in 1..=3 {
        let what = format!("n{n} to know where {} is", settings.name);
        cluster.seen_by(n, &what, |view| is_on_record(view, &settings)).await;
    }
    let written = cluster.admin(moved).apply(&answering("b")).await;
    cluster.live(written.version).await;
}

#[tokio::test]
async fn a_cluster_whose_nodes_all_moved_at_once_goes_on_by_the_addresses_that_it_is_told() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let before = cluster.apply(&answering("a")).await;
    for node in cluster.nodes_mut() {
        assert!(node.stop().await.success());
        move_away(node.settings_mut(), 1);
    }
    let initial: Vec<String> = cluster.nodes().iter().map(|node| node.settings().entry()).collect();
    for node in cluster.nodes_mut() {
        node.settings_mut().initial = initial.clone();
    }
    cluster.start_all().await;
    cluster.leader().await;
    let everybody: Vec<Settings> = cluster.nodes().iter().map(|node| node.settings().clone()).collect();
    for n in 1..=3 {
        let all = |view: &Value| everybody.iter().all(|node| is_on_record(view, node));
        cluster.seen_by(n, &format!("n{n} to know where all are"), all).await;
    }
    let written = cluster.admin(2).apply(&answering("b")).await;
    assert_eq!(written.version, before.version + 1);
    cluster.live(written.version).await;
}
