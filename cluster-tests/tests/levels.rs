//! Updates of the binary: what is new waits until every node understands it.

use cluster_tests::document::answering;
use cluster_tests::node::{Node, Settings};
use cluster_tests::{Answer, Cluster, World};
use http::Method;

/// A document with a field that nodes of feature level 1 do not know.
const NEWER: &str = "gateways:
  web:
    hosts: ['*']
    routes:
      - { id: any, path: '/**', upgrade: [], respond: { text: 'newer' } }
";

/// A node of an older binary, which understands the first level alone.
fn older(settings: &mut Settings) {
    settings
        .environment
        .push(("SLUICE_FAULT_POINTS".to_owned(), "level=1".to_owned()));
}

async fn put(cluster: &Cluster, n: usize, document: &str) -> Answer {
    let call = cluster.admin(n).call(Method::PUT, "/v1/config");
    call.header("content-type", "application/yaml")
        .body(document.to_owned())
        .answer()
        .await
}

async fn finalize(cluster: &Cluster, n: usize) -> Answer {
    let call = cluster.admin(n).call(Method::POST, "/v1/cluster/upgrade/finalize");
    call.answer().await
}

#[tokio::test]
async fn a_newer_field_is_refused_until_the_last_node_is_updated_and_the_operator_said_so() {
    let world = World::new();
    let mut cluster = Cluster::of(3).make(&world).await;
    older(cluster.node_mut(3).settings_mut());
    cluster.start_all().await;
    cluster.apply(&answering("a")).await;
    // The cluster's first change raised it to what all understand, and that is the first level.
    assert_eq!(put(&cluster, 2, NEWER).await.expect(409).code(), "level_too_low");
    // An older node would take a trial for a change without limits.
    for limit in ["?on=n1", "?confirm_within=10m"] {
        let tried = cluster.admin(2).put(&answering("b"), limit).await;
        assert_eq!(tried.expect("an answer").expect(409).code(), "level_too_low", "{limit}");
    }
    let held_back = finalize(&cluster, 1).await.expect(409);
    assert!(held_back.text().contains("n3"), "{}", held_back.text());

    assert!(cluster.node_mut(3).stop().await.success());
    cluster.node_mut(3).settings_mut().environment.clear();
    cluster.restart(3).await;
    // An updated binary alone changes nothing.
    assert_eq!(put(&cluster, 2, NEWER).await.expect(409).code(), "level_too_low");
    cluster
        .seen_by(1, "n3 to tell what it understands", |view| {
            view["nodes"][2]["level"].as_u64() > Some(1)
        })
        .await;
    let raised = finalize(&cluster, 2).await.expect(200).json();
    assert!(raised["level"].as_u64() > Some(1), "{raised}");
    let written = cluster.admin(3).apply(NEWER).await;
    cluster.live(written.version).await;

    let mut settings = Settings::of(&world, 4);
    settings.join = vec![cluster.node(1).settings().advertised.to_string()];
    older(&mut settings);
    let mut late = Node::new(&world, settings);
    late.start();
    late.says("understands 1 only").await;
    let view = cluster.admin(1).cluster().await.expect("a view of the cluster");
    assert_eq!(view["nodes"].as_array().map(Vec::len), Some(3), "{view}");
}

#[tokio::test]
async fn the_first_change_raises_a_new_cluster_to_what_all_its_nodes_understand() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    let written = put(&cluster, 2, NEWER).await.expect(200).json();
    assert_eq!(written["version"], 1);
    cluster
        .seen_by(1, "the level to have risen", |view| view["level"].as_u64() > Some(1))
        .await;
}
