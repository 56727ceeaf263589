//! Limits and breakers in an operator's hands: seen through any node, and set on all.

use cluster_tests::store::Store;
use cluster_tests::{Call, Cluster, Command, World, eventually};
use serde_json::{Value, json};

/// Routes to a service with a breaker, one with a limit for each client, and one with a limit that nodes take leases of.
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
      - {{ path: /many, respond: {{ text: many }}, rate_limits: [{{ name: many, limit: 1000, per: 1h }}] }}
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
    let cluster = Cluster::sharing(&world, store.address()).await;
    let service = world.echo("orders").await;
    let written = cluster.apply(&document(&service.url())).await;
    cluster.live(written.version).await;
    spend(&cluster).await;

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

/// Sends requests to node 1 until the limit is spent.
async fn spend(cluster: &Cluster) {
    // A store that is new learns first what nodes did without it.
    for (what, wanted) in [("the store to have learnt", 200), ("the limit to be spent", 429)] {
        eventually(what, || async {
            match status(cluster, 1, "/few").await {
                found if found == wanted => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_count_in_redis_is_told_by_any_node_and_free_on_all_after_a_reset() {
    let world = World::new();
    let store = Store::start(&world).await;
    let cluster = Cluster::sharing(&world, store.address()).await;
    let service = world.echo("orders").await;
    let written = cluster.apply(&document(&service.url())).await;
    cluster.live(written.version).await;
    spend(&cluster).await;

    let show = ["limits", "show", "few", "--key", "ada"];
    for n in 1..=3 {
        // What was spent of a lease is told with its next call.
        let seen = eventually("all that was spent to be told", || async {
            let seen = said(&world, &cluster, n, &show, 0).await;
            let count = &seen["limits"][0];
            match (&count["used"], &count["left"]) == (&json!(3), &json!(0)) {
                true => Ok(seen),
                false => Err(format!("n{n}: {seen}")),
            }
        })
        .await;
        let count = &seen["limits"][0];
        assert_eq!(count["limit"], json!(3), "n{n}: {seen}");
        let reset = count["reset"].as_f64().unwrap_or_default();
        assert!(reset > 0.0 && reset <= 3700.0, "n{n}: {seen}");
        assert_eq!(count["out"], json!([]), "n{n}: all of it is spent: {seen}");
        let holders = count["nodes"].as_array().expect("nodes that know it");
        assert_eq!(holders.len(), 1, "n{n}: {seen}");
        assert_eq!(
            (&holders[0]["name"], &holders[0]["remaining"]),
            (&json!("n1"), &json!(0)),
            "n{n}: {seen}"
        );
        assert_eq!(holders[0]["source"], "lease", "n{n}: {seen}");
        let refusals = &count["refusals"];
        assert_eq!(
            (&refusals["key"], &refusals["nodes"]),
            (&json!("ada"), &json!(["n1"])),
            "n{n}: {seen}"
        );
        assert!(refusals["last"].is_string(), "n{n}: {seen}");
        assert_eq!(seen["silent"], json!([]), "n{n}: {seen}");
    }

    let reset = said(&world, &cluster, 3, &["limits", "reset", "few", "--key", "ada"], 0).await;
    assert_eq!((&reset["counts"], &reset["silent"]), (&json!(1), &json!([])), "{reset}");
    let seen = said(&world, &cluster, 2, &show, 0).await;
    let count = &seen["limits"][0];
    assert_eq!((&count["used"], &count["left"]), (&json!(0), &json!(3)), "{seen}");
    let mut passed = 0;
    for n in [1, 2, 3, 1, 2, 3, 1, 2, 3] {
        passed += u32::from(status(&cluster, n, "/few").await == 200);
    }
    assert_eq!(passed, 3, "three of all nodes together");
}

#[tokio::test]
async fn tokens_that_are_out_at_a_node_are_told_by_another() {
    let world = World::new();
    let store = Store::start(&world).await;
    let cluster = Cluster::sharing(&world, store.address()).await;
    let service = world.echo("orders").await;
    let written = cluster.apply(&document(&service.url())).await;
    cluster.live(written.version).await;
    eventually("a lease to be out at n1", || async {
        for _ in 0..10 {
            // A new key whose first call takes longer than a request waits is refused.
            match status(&cluster, 1, "/many").await {
                200 => {}
                other => return Err(other.to_string()),
            }
        }
        let seen = said(
            &world,
            &cluster,
            3,
            &["limits", "show", "many", "--key", "127.0.0.1"],
            0,
        )
        .await;
        let count = &seen["limits"][0];
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let out = &count["out"][0];
        if (&out["node"], number(&out["tokens"]) > 0) != (&json!("n1"), true) {
            return Err(seen.to_string());
        }
        assert_eq!(count["out"].as_array().map(Vec::len), Some(1), "{seen}");
        let sum = number(&count["used"]) + number(&count["left"]) + number(&out["tokens"]);
        assert_eq!(sum, 1000, "{seen}");
        Ok(())
    })
    .await;
}
