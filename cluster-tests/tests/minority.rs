//! Without a majority: traffic and reads go on by what is known, writes say so, and nobody claims to be current.

use cluster_tests::admin::version_of;
use cluster_tests::document::answering;
use cluster_tests::{Call, Cluster, Command, Load, World, eventually};
use http::Method;

#[tokio::test]
async fn with_the_majority_gone_a_node_stays_ready_serves_and_refuses_to_promise() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let written = cluster.apply(&answering("known")).await;
    let load = Load::on([cluster.node(1).http()]).connections(2).start();
    cluster.node_mut(2).kill();
    cluster.node_mut(3).kill();
    let admin = cluster.admin(1);
    let refused = eventually("the loss to be known", || async {
        match admin.put(&answering("new"), "").await {
            Ok(answer) if answer.status == 503 => Ok(answer),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    assert!(
        ["no_leader", "no_majority", "outcome_unknown"].contains(&refused.code().as_str()),
        "{}",
        refused.text()
    );
    let refused = admin
        .get("/v1/config?read=linearizable")
        .await
        .expect("an answer")
        .expect(503);
    assert!(["no_leader", "no_majority"].contains(&refused.code().as_str()));
    assert_eq!(
        version_of(&admin.get("/v1/config").await.expect("an answer").expect(200)),
        written.version
    );

    let degraded = eventually("readyz to say what is missing", || async {
        let told = admin.readyz().await.map_err(|error| error.to_string())?;
        let told = if told.status == 200 {
            told.json()
        } else {
            panic!("not ready: {}", told.text())
        };
        let whats = told["degraded"].as_array().cloned().unwrap_or_default();
        if whats.iter().any(|degraded| degraded["what"] == "majority") {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
    .await;
    assert_eq!(degraded["ready"], true);
    load.answers(50).await;
    load.stop().await.expect_flawless();

    // A restart without anybody else: it serves what its disk holds.
    cluster.node_mut(1).kill();
    cluster.node_mut(1).start();
    let started = std::time::Instant::now();
    let at = cluster.node(1).http();
    eventually("the restarted node to serve", || async {
        match Call::get(at, "/").send().await {
            Ok(answer) if answer.status == 200 && answer.text() == "known" => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    eprintln!(
        "without a majority a restarted node serves its stored version after {:?}",
        started.elapsed()
    );
    cluster.node(1).ready().await;
    eprintln!("and is ready after {:?}", started.elapsed());

    cluster.start_all().await;
    cluster.admin(2).apply_when_possible(&answering("together again")).await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_does_not_claim_to_be_current() {
    let world = World::new();
    let cluster = Cluster::of(3).relayed().start(&world).await;
    cluster.apply(&answering("before")).await;
    let old = cluster.leader().await;
    let others: Vec<usize> = (1..=3).filter(|n| *n != old).collect();
    cluster.links().isolate(old);

    // In flight when the cut came: success only if it was committed.
    let admin = cluster.admin(old);
    let in_flight = tokio::spawn({
        let admin = admin.clone();
        async move { admin.put(&answering("in flight"), "").await }
    });
    let leader = cluster.leader_among(&others).await;
    let mut last = 0;
    for number in 0..20 {
        last = cluster
            .admin(leader)
            .apply_when_possible(&answering(&format!("majority {number}")))
            .await
            .version;
    }
    let in_flight = in_flight.await.expect("no panic").expect("an answer");
    assert_eq!(in_flight.status, 503, "{}", in_flight.text());

    let stale = admin.get("/v1/config").await.expect("an answer").expect(200);
    assert_eq!(version_of(&stale), 1);
    for (method, target) in [
        (Method::GET, "/v1/config?read=linearizable"),
        (Method::GET, "/v1/cluster?read=linearizable"),
        (Method::PUT, "/v1/config"),
        (Method::PUT, "/v1/config?wait=all"),
        (Method::POST, "/v1/config/rollback/1"),
        (Method::DELETE, "/v1/config/gateways/web"),
    ] {
        let mut call = admin
            .call(method.clone(), target)
            .header("content-type", "application/yaml");
        if method == Method::PUT {
            call = call.header("if-match", "\"1\"").body(answering("from the minority"));
        }
        let refused = call.answer().await;
        assert_eq!(refused.status, 503, "{method} {target}: {}", refused.text());
        assert!(
            ["no_leader", "no_majority", "outcome_unknown"].contains(&refused.code().as_str()),
            "{}",
            refused.text()
        );
    }
    let answer = Call::get(cluster.node(old).http(), "/").answer().await.expect(200);
    assert_eq!(answer.text(), "before");
    let status = Command::new(&world, &["status"]).at(admin.address()).run().await;
    assert!(
        status.said().to_lowercase().contains("no majority") || status.said().contains("no leader"),
        "{}",
        status.said()
    );

    cluster.links().heal();
    cluster.live(last).await;
    for n in 1..=3 {
        assert_eq!(cluster.admin(n).version().await, last);
        assert_eq!(
            Call::get(cluster.node(n).http(), "/").answer().await.text(),
            "majority 19"
        );
        let history = cluster.admin(n).history().await;
        let versions: Vec<u64> = history
            .iter()
            .filter_map(|entry| entry["version"].as_u64())
            .filter(|v| *v > 0)
            .collect();
        assert_eq!(versions, (1..=last).rev().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_link_that_is_cut_in_one_direction_costs_no_acknowledged_change() {
    let world = World::new();
    let cluster = Cluster::of(3).relayed().start(&world).await;
    cluster.apply(&answering("0")).await;
    let mut last = 1;
    for round in 0..3 {
        let leader = cluster.leader().await;
        for other in (1..=3).filter(|n| *n != leader) {
            // First nobody hears the leader; then it hears nobody.
            match round % 2 {
                0 => cluster.links().cut_one_way(leader, other),
                _ => cluster.links().cut_one_way(other, leader),
            }
        }
        let among: Vec<usize> = (1..=3).filter(|n| *n != leader).collect();
        cluster.leader_among(&among).await;
        let text = format!("round {round}");
        let written = cluster.admin(among[0]).apply_when_possible(&answering(&text)).await;
        assert!(written.version > last);
        last = written.version;
        cluster.links().heal();
        cluster.live(last).await;
        for node in cluster.nodes() {
            assert_eq!(Call::get(node.http(), "/").answer().await.text(), text);
        }
    }
}
