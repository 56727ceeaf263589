//! Limits and breakers in an operator's hands: seen through any node, and set on all.

use cluster_tests::store::Store;
use cluster_tests::{Call, Cluster, Command, World, eventually};
use serde_json::{Value, json};

/// Routes to a service with a breaker, and one with a limit for each client.
fn document(service: &str) -> String {
    format!(
        "\
upstreams:
  orders: {{ targets: ['{service}'], breaker: {{}} }}
gateways:
  web:
    hosts: ['*']
    routes:
      - {{ path: /orders, upstream: orders }}
      - {{ path: /few, respond: {{ text: few }}, rate_limits: [{{ name: few, limit: 3, per: 1h, key: \"request.headers['x-who']\" }}] }}
"
    )
}

async fn status(cluster: &Cluster, n: usize, path: &str) -> u16 {
    let call = Call::get(cluster.node(n).http(), path).header("x-who", "ada");
    call.answer().await.status.as_u16()
}

/// What the command prints with `--json`, said to one node.
async fn said(world: &World, cluster: &Cluster, n: usize, words: &[&str], code: i32) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    let command = Command::new(world, &words).at(cluster.admin(n).address());
    command.run().await.expect(code).json()
}

#[tokio::test]
async fn a_breaker_opened_by_hand_keeps_all_requests_away_over_the_death_of_a_leader_until_it_is_released() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let service = world.echo("orders").await;
    let written = cluster.apply(&document(&service.url())).await;
    cluster.live(written.version).await;
    for n in 1..=3 {
        assert_eq!(status(&cluster, n, "/orders").await, 200);
    }
    let open = [
        "breakers",
        "open",
        "orders",
        "--why",
        "the table is locked",
        "--for",
        "1h",
    ];
    let ordered = said(&world, &cluster, 2, &open, 0).await;
    assert_eq!(ordered["live"], json!(["n2", "n1", "n3"]));
    let before = service.journal().count();
    for n in 1..=3 {
        let refused = Call::get(cluster.node(n).http(), "/orders").answer().await.expect(503);
        assert_eq!(refused.code(), "breaker_open", "n{n}");
    }
    assert_eq!(service.journal().count(), before, "nothing reaches the service");

    let leader = cluster.leader().await;
    cluster.node_mut(leader).kill();
    let other = leader % 3 + 1;
    assert_eq!(status(&cluster, other, "/orders").await, 503);
    cluster.restart(leader).await;
    eventually("the restarted node to hold what is left of it", || async {
        match status(&cluster, leader, "/orders").await {
            503 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let seen = said(&world, &cluster, leader, &["breakers"], 0).await;
    let set = &seen["breakers"][0]["override"];
    assert_eq!(
        (&set["who"], &set["why"]),
        (&json!("SLUICE_ADMIN_TOKEN"), &json!("the table is locked")),
        "{seen}"
    );
    assert_eq!(service.journal().count(), before);

    said(&world, &cluster, 1, &["breakers", "release", "orders"], 0).await;
    for n in 1..=3 {
        assert_eq!(status(&cluster, n, "/orders").await, 200);
    }
}

#[tokio::test]
async fn who_is_refused_at_one_node_is_told_by_any_other() {
    let world = World::new();
    let store = Store::start(&world).await;
    let cluster = Cluster::of(3).flags(&["--redis", &store.url()]).start(&world).await;
    let service = world.echo("orders").await;
    let written = cluster.apply(&document(&service.url())).await;
    cluster.live(written.version).await;
    // A store that is new learns first what nodes did without it.
    for (what, wanted) in [("the store to have learnt", 200), ("the limit to be spent", 429)] {
        eventually(what, || async {
            match status(&cluster, 1, "/few").await {
                found if found == wanted => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
    }

    let top = said(&world, &cluster, 3, &["limits", "top"], 0).await;
    assert_eq!(
        (&top["top"][0]["key"], &top["top"][0]["nodes"]),
        (&json!("ada"), &json!(["n1"])),
        "{top}"
    );
    let missing = ["limits", "show", "fwe", "--key", "ada"];
    let refused = said(&world, &cluster, 3, &missing, 1).await;
    assert!(refused["detail"].to_string().contains("did you mean few?"), "{refused}");
}
