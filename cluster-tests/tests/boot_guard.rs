//! No document keeps a node down: one that aborts the process is left behind, one that panics costs a request.
//!
//! The binary under test is built with the feature `fault-points`: a route whose id holds a mark named in
//! `SLUICE_FAULT_POINTS` breaks the process at a chosen place.

use cluster_tests::document::{answering, with_routes};
use cluster_tests::{Call, Cluster, Command, World, eventually};

const POISON: &str = "{ id: poison, path: /poison, respond: { text: poison } }";

/// A cluster whose third node breaks at this point, and the document that makes it.
async fn with_a_breaking_third(world: &World, point: &str) -> (Cluster, String) {
    let mut cluster = Cluster::of(3).make(world).await;
    let environment = ("SLUICE_FAULT_POINTS".to_owned(), format!("{point}=poison"));
    cluster.node_mut(3).settings_mut().environment.push(environment);
    cluster.start_all().await;
    cluster.leader().await;
    cluster.apply(&answering("the version before")).await;
    let bad = with_routes::<&str>(&[], &["{ path: /, respond: { text: the bad version } }", POISON]);
    (cluster, bad)
}

async fn comes_back_on_the_version_before(point: &str) {
    let world = World::new();
    let (mut cluster, bad) = with_a_breaking_third(&world, point).await;
    cluster.admin(1).apply_when_possible(&bad).await;
    let mut starts = 0;
    let (http, admin) = (cluster.node(3).http(), cluster.admin(3));
    loop {
        // A supervisor and a client who insists.
        let back = eventually(&format!("n3 to end or to serve, {point}"), || {
            let ended = cluster.node_mut(3).ended().is_some();
            let admin = admin.clone();
            async move {
                if ended {
                    return Ok(false);
                }
                let _ = Call::get(http, "/poison").send().await;
                let said = Call::get(http, "/")
                    .send()
                    .await
                    .map(|answer| answer.text())
                    .unwrap_or_default();
                let ready = admin.readyz().await.is_ok_and(|answer| answer.status == 200);
                match said.as_str() {
                    "the version before" if ready && starts > 0 => Ok(true),
                    said => Err(format!("ready: {ready}, it says {said:?}")),
                }
            }
        })
        .await;
        if back {
            break;
        }
        starts += 1;
        assert!(starts <= 3, "{point}: still breaking after three starts");
        cluster.node_mut(3).kill();
        cluster.node_mut(3).start();
    }
    // The admin API tells why, and the others are untouched.
    let view = admin.cluster().await.expect("the admin API answers");
    let own = cluster_tests::admin::member(&view, "n3")
        .expect("it is a member")
        .clone();
    assert!(own["why_not_live"].as_str().is_some_and(|why| !why.is_empty()), "{own}");
    for n in [1, 2] {
        assert_eq!(
            Call::get(cluster.node(n).http(), "/").answer().await.text(),
            "the bad version"
        );
    }
    // A better version brings it along again.
    let good = cluster.admin(2).apply_when_possible(&answering("mended")).await;
    cluster.live(good.version).await;
    assert_eq!(Call::get(http, "/").answer().await.text(), "mended");
}

#[tokio::test]
async fn a_version_that_aborts_while_it_is_compiled_is_left_behind() {
    comes_back_on_the_version_before("compile").await;
}

#[tokio::test]
async fn a_version_that_aborts_when_it_is_taken_is_left_behind() {
    comes_back_on_the_version_before("swap").await;
}

#[tokio::test]
async fn a_version_that_aborts_at_its_first_request_is_left_behind() {
    comes_back_on_the_version_before("first_request").await;
}

#[tokio::test]
async fn a_version_that_breaks_a_node_is_undone_because_nobody_confirmed_it() {
    let world = World::new();
    let (mut cluster, bad) = with_a_breaking_third(&world, "swap").await;
    let put = cluster.admin(1).put(&bad, "?confirm_within=2s").await;
    assert_eq!(put.expect("the admin API answers").expect(200).json()["version"], 2);
    let (http, admin) = (cluster.node(3).http(), cluster.admin(3));
    let mut starts = 0;
    loop {
        // A supervisor that starts it again whenever it ends.
        let back = eventually("n3 to end, or to serve what was before", || {
            let ended = cluster.node_mut(3).ended().is_some();
            let admin = admin.clone();
            async move {
                if ended {
                    return Ok(false);
                }
                match admin.live("n3").await {
                    Some(3) => Ok(true),
                    live => Err(format!("it serves by {live:?}")),
                }
            }
        })
        .await;
        if back {
            break;
        }
        starts += 1;
        assert!(starts <= 3, "still breaking after three starts");
        cluster.node_mut(3).kill();
        cluster.node_mut(3).start();
    }
    assert!(starts > 0, "the version did not break it");
    cluster.live(3).await;
    cluster.node(3).ready().await;
    for node in cluster.nodes() {
        assert_eq!(
            Call::get(node.http(), "/").answer().await.expect(200).text(),
            "the version before"
        );
    }
    let own = cluster_tests::admin::member(&admin.cluster().await.expect("it answers"), "n3")
        .expect("it is a member")
        .clone();
    assert!(own["why_not_live"].is_null(), "{own}");
    assert_eq!(Call::get(http, "/poison").answer().await.status, 404);
}

#[tokio::test]
async fn a_panic_costs_its_own_request_a_500_and_nothing_else() {
    let world = World::new();
    let mut cluster = Cluster::of(1)
        .env("SLUICE_FAULT_POINTS", "request=poison")
        .start(&world)
        .await;
    cluster
        .apply(&with_routes::<&str>(
            &[],
            &["{ path: /, respond: { text: fine } }", POISON],
        ))
        .await;
    let http = cluster.node(1).http();
    for round in 1..=3 {
        let broken = Call::get(http, "/poison").answer().await.expect(500);
        assert_eq!(broken.code(), "internal");
        assert_eq!(Call::get(http, "/").answer().await.expect(200).text(), "fine");
        assert_eq!(
            cluster.admin(1).metric("sluice_panics_total", &[]).await,
            f64::from(round)
        );
    }
    assert_eq!(cluster.node_mut(1).ended(), None);
}

#[tokio::test]
async fn rescue_pins_an_older_version_offline_until_a_newer_one_is_made() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    for text in ["one", "two", "three"] {
        cluster.apply(&answering(text)).await;
    }
    let data = cluster.node(3).data().display().to_string();
    let in_use = Command::new(&world, &["rescue", "--data", &data]).run().await.expect(1);
    assert!(in_use.err.contains("in use"), "{}", in_use.said());
    assert!(cluster.node_mut(3).stop().await.success());

    let listed = Command::new(&world, &["rescue", "--data", &data]).run().await.expect(0);
    assert!(listed.said().contains("0 to 3"), "{}", listed.said());
    let unknown = Command::new(&world, &["rescue", "--data", &data, "--pin", "99"])
        .run()
        .await
        .expect(1);
    assert!(unknown.err.contains("99"), "{}", unknown.said());
    Command::new(&world, &["rescue", "--data", &data, "--pin", "2"])
        .run()
        .await
        .expect(0);
    cluster.restart(3).await;
    let http = cluster.node(3).http();
    assert_eq!(Call::get(http, "/").answer().await.expect(200).text(), "two");
    let newer = cluster.admin(1).apply_when_possible(&answering("four")).await;
    cluster.live(newer.version).await;
    assert_eq!(Call::get(http, "/").answer().await.expect(200).text(), "four");
}
