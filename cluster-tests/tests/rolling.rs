//! All three nodes restarted one after another behind HAProxy, as an operator's script would do it.

use cluster_tests::balancer::Balancer;
use cluster_tests::document::{HOST, marking, one_mark};
use cluster_tests::program::repository;
use cluster_tests::{Call, Cluster, Load, World, eventually, rounds};
use std::process::Command;
use std::time::Duration;

#[tokio::test]
async fn changes_and_a_rolling_restart_behind_a_balancer_cost_no_request() {
    let world = World::new();
    let echo = world.echo("a").await;
    let mut cluster = Cluster::three(&world).await;
    cluster.apply(&marking(&echo.url(), 0)).await;
    let balancer = Balancer::start(&world, &cluster).await;
    let kept = Load::on([balancer.address()])
        .host(HOST)
        .connections(8)
        .verdict(one_mark)
        .start();
    let fresh = Load::on([balancer.address()])
        .host(HOST)
        .connections(2)
        .fresh_after(3)
        .verdict(one_mark)
        .start();
    let mut mark = 0;
    for _ in 0..rounds(1, 10) {
        for n in 1..=3 {
            // SIGTERM, the wait for its end, a start, the wait for /readyz 200, the next; nothing else.
            let status = cluster.node_mut(n).stop().await;
            assert!(status.success(), "{status}");
            for _ in 0..5 {
                mark += 1;
                let other = n % 3 + 1;
                cluster
                    .admin(other)
                    .apply_when_possible(&marking(&echo.url(), mark))
                    .await;
            }
            cluster.restart(n).await;
            kept.answers(50).await;
        }
    }
    let (kept, fresh) = (kept.stop().await, fresh.stop().await);
    kept.expect_flawless();
    fresh.expect_flawless();
    assert_eq!(kept.nodes.len(), 3, "all nodes took part: {:?}", kept.nodes);
    cluster.voters(1, &["n1", "n2", "n3"]).await;
    cluster.leader().await;
    cluster.live(mark as u64 + 1).await;
    let history = cluster.admin(2).history().await;
    let versions: Vec<u64> = history
        .iter()
        .filter_map(|entry| entry["version"].as_u64())
        .filter(|v| *v > 0)
        .collect();
    assert_eq!(versions, (1..=mark as u64 + 1).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cluster_survives_restarts_in_every_order_and_with_every_suddenness() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let echo = world.echo("a").await;
    let mut mark = 0;
    cluster.apply(&marking(&echo.url(), mark)).await;
    for round in 0..rounds(2, 10) {
        for n in 1..=3 {
            match (round + n) % 2 {
                0 => cluster.node_mut(n).kill(),
                _ => assert!(cluster.node_mut(n).stop().await.success()),
            }
            cluster.restart(n).await;
        }
        for node in cluster.nodes_mut() {
            node.kill();
        }
        cluster.start_all().await;
        mark += 1;
        let written = cluster.admin(1).apply_when_possible(&marking(&echo.url(), mark)).await;
        cluster.live(written.version).await;
    }
    cluster.voters(1, &["n1", "n2", "n3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_deployment_comes_up_behind_haproxy_and_goes_down() {
    let world = World::new();
    let local = |script: &str, arguments: &[&str]| {
        let output = Command::new(repository().join("deploy/local").join(script))
            .args(arguments)
            .env("LOCAL_ADDRESS", world.block().host(1).to_string())
            .env("LOCAL_DIR", world.path("local"))
            .env("LOCAL_SLUICE", cluster_tests::program::sluice())
            .env("LOCAL_FLAGS", "--workers 1")
            .output()
            .expect("the script runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
        said
    };
    let guard = DownAtLast(&local);
    let said = tokio::task::block_in_place(|| local("up", &[]));
    assert!(said.contains("8080") && said.contains("SLUICE_ADMIN_TOKEN"), "{said}");
    let token = std::fs::read_to_string(world.path("local/admin-token")).expect("a token was made");
    let admin = cluster_tests::Admin::new(world.block().at(1, 9082), &token);
    admin.apply(&cluster_tests::document::answering("local")).await;
    let front = world.block().at(1, 8080);
    for _ in 0..6 {
        assert_eq!(Call::get(front, "/").answer().await.expect(200).text(), "local");
    }
    // What runs already is left alone.
    let again = tokio::task::block_in_place(|| local("up", &[]));
    assert_eq!(again.matches("runs already").count(), 4, "{again}");
    drop(guard);
    eventually("nobody to listen", || async {
        match Call::get(front, "/").bound(Duration::from_secs(2)).send().await {
            Err(_) => Ok(()),
            Ok(answer) => Err(answer.text()),
        }
    })
    .await;
    assert!(!world.path("local").exists());
}

/// Says `down --wipe` however the test ends.
struct DownAtLast<'a>(&'a dyn Fn(&str, &[&str]) -> String);

impl Drop for DownAtLast<'_> {
    fn drop(&mut self) {
        (self.0)("down", &["--wipe"]);
    }
}
