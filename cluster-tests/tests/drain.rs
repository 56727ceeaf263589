//! A node that goes away on purpose: first it says so, then it serves on, then it ends.

use cluster_tests::document::{answering, with_routes};
use cluster_tests::wire::Wire;
use cluster_tests::{Backend, Call, Cluster, Command, Load, World, eventually, wait};
use std::time::Duration;

#[tokio::test]
async fn a_draining_node_says_so_first_and_serves_on_meanwhile() {
    let world = World::new();
    let mut cluster = Cluster::of(1).flags(&["--edge-drain-delay", "3s"]).start(&world).await;
    cluster.apply(&answering("on")).await;
    let (http, admin) = (cluster.node(1).http(), cluster.admin(1));
    let load = Load::on([http]).connections(3).every(Duration::from_millis(10)).start();
    load.answers(5).await;
    let mut kept = Wire::connect(http).await.expect("the node listens");
    kept.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .expect("it is taken");
    let head = kept.head().await.expect("an answer").expect("an answer");
    kept.body(&head).await.expect("a body");

    cluster.node(1).running().signal(libc::SIGTERM);
    eventually("readyz to turn", || async {
        match admin.readyz().await {
            Ok(answer) if answer.status == 503 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => panic!("the admin port closed before readyz turned: {error}"),
        }
    })
    .await;
    // New connections and old ones are served while balancers look.
    assert_eq!(Call::get(http, "/").answer().await.expect(200).text(), "on");
    kept.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .expect("the idle connection is still open");
    let head = kept.head().await.expect("an answer").expect("an answer");
    assert_eq!(head.status(), 200);
    assert!(load.so_far().bad + load.so_far().broken == 0);
    let tally = load.so_far();
    drop(load);
    assert!(tally.good > 0);
    let status = cluster.node_mut(1).end().await;
    assert!(status.success(), "{status}");
    assert!(Call::get(http, "/").send().await.is_err());
}

#[tokio::test]
async fn a_request_in_flight_ends_whole_before_the_process_does() {
    let world = World::new();
    let slow = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        while let Some(head) = wire.head().await? {
            journal.note(&head);
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n").await?;
            for _ in 0..20 {
                wait::pass(Duration::from_millis(100)).await;
                wire.send("x").await?;
            }
        }
        Ok(())
    })
    .await;
    let mut cluster = Cluster::of(1)
        .flags(&["--edge-drain-delay", "100ms"])
        .start(&world)
        .await;
    cluster
        .apply(&with_routes(
            &[("slow", &slow.url())],
            &["{ path: '/**', upstream: slow }"],
        ))
        .await;
    let http = cluster.node(1).http();
    let in_flight = tokio::spawn(Call::get(http, "/long").send());
    eventually("the service to have it", || async {
        if slow.journal().count() == 1 {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    let status = cluster.node_mut(1).stop().await;
    assert!(status.success(), "{status}");
    let answer = in_flight.await.expect("no panic").expect("a whole answer").expect(200);
    assert_eq!(answer.body.len(), 20);
}

#[tokio::test]
async fn drain_and_undrain_by_command_turn_readyz_and_back() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    cluster.apply(&answering("x")).await;
    let admin = cluster.admin(2);
    let readyz = |status: u16| {
        let admin = admin.clone();
        async move {
            eventually(&format!("readyz {status}"), || async {
                match admin.readyz().await {
                    Ok(answer) if answer.status == status => Ok(answer.text()),
                    Ok(answer) => Err(answer.text()),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await
        }
    };
    Command::new(&world, &["drain"])
        .at(admin.address())
        .run()
        .await
        .expect(0);
    let told = readyz(503).await;
    assert!(told.contains("drain"), "{told}");
    assert_eq!(
        Call::get(cluster.node(2).http(), "/").answer().await.expect(200).text(),
        "x"
    );
    cluster
        .seen_by(1, "the others to know", |view| {
            cluster_tests::admin::member(view, "n2").is_some_and(|node| node["draining"] == true)
        })
        .await;
    Command::new(&world, &["undrain"])
        .at(admin.address())
        .run()
        .await
        .expect(0);
    readyz(200).await;
}

#[tokio::test]
async fn safe_to_stop_is_told_by_what_the_rest_could_do() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    cluster.apply(&answering("x")).await;
    let safe = |n: usize| {
        let admin = cluster.admin(n);
        async move {
            admin
                .get("/readyz?safe-to-stop")
                .await
                .map(|answer| answer.status.as_u16())
        }
    };
    eventually("all to be safe to stop", || async {
        match safe(1).await {
            Ok(200) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let health = Command::new(&world, &["health", "--safe-to-stop"]).at(cluster.admin(1).address());
    health.run().await.expect(0);
    cluster.node_mut(3).kill();
    let admin = cluster.admin(1);
    eventually("n1 to be needed", || async {
        match admin.get("/readyz?safe-to-stop").await {
            Ok(answer) if answer.status == 503 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    admin.readyz().await.expect("an answer").expect(200);
    let health = Command::new(&world, &["health", "--safe-to-stop"])
        .at(admin.address())
        .run()
        .await;
    assert_eq!(health.code, 1, "{}", health.said());
}
