//! `kill -9` of the leader under load, again and again: what was acknowledged stays, what lives goes on serving.

use cluster_tests::admin::Written;
use cluster_tests::document::answering;
use cluster_tests::nemesis::Nemesis;
use cluster_tests::{Admin, Call, Cluster, Load, World, eventually, rounds};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Writes routes through all nodes in turn, noting what was acknowledged.
#[derive(Default)]
struct Writer {
    acknowledged: Mutex<BTreeMap<String, u64>>,
    stop: AtomicBool,
}

impl Writer {
    async fn run(self: Arc<Self>, admins: Vec<Admin>) {
        let mut beat = cluster_tests::wait::beat(Duration::from_millis(30));
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            beat.tick().await;
            number += 1;
            let id = format!("w{number}");
            if let Some(version) = put_route(&admins[number % admins.len()], &id).await {
                self.acknowledged.lock().expect("no holder panics").insert(id, version);
            }
        }
    }
}

/// The version that holds the route, if the change was acknowledged.
async fn put_route(admin: &Admin, id: &str) -> Option<u64> {
    let route = format!("{{ path: /{id}, respond: {{ text: '{id}' }} }}");
    let answer = admin
        .put_part(&format!("/gateways/web/routes/{id}"), &route, "")
        .await
        .ok()?;
    (answer.status == 200).then(|| Written::of(&answer).version)
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_the_living_serve_on() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let mut nemesis = Nemesis::new();
    cluster.apply(&answering("base")).await;
    let writer = Arc::new(Writer::default());
    let writing = tokio::spawn(writer.clone().run((1..=3).map(|n| cluster.admin(n)).collect()));
    let mut without_leader = Vec::new();

    for round in 0..rounds(6, 100) {
        let leader = cluster.leader().await;
        let living: Vec<usize> = (1..=3).filter(|n| *n != leader).collect();
        let load = Load::on(living.iter().map(|n| cluster.node(*n).http()))
            .connections(4)
            .start();
        nemesis.moment(Duration::from_millis(400)).await;
        cluster.node_mut(leader).kill();
        let killed = Instant::now();

        let id = format!("after-{round}");
        let follower = cluster.admin(living[round % 2]);
        let version = eventually("a change through a follower", || async {
            put_route(&follower, &id).await.ok_or("not taken yet")
        })
        .await;
        without_leader.push(killed.elapsed());
        writer
            .acknowledged
            .lock()
            .expect("no holder panics")
            .insert(id.clone(), version);
        for n in &living {
            served(&cluster, *n, &id).await;
        }
        load.stop().await.expect_flawless();
        cluster.restart(leader).await;
        served(&cluster, leader, &id).await;
    }

    writer.stop.store(true, Ordering::Relaxed);
    writing.await.expect("the writer does not panic");
    let acknowledged = writer.acknowledged.lock().expect("no holder panics").clone();
    cluster
        .live(
            acknowledged
                .values()
                .copied()
                .max()
                .expect("something was acknowledged"),
        )
        .await;
    for n in 1..=3 {
        let document = cluster.admin(n).document().await;
        let routes = document["gateways"]["web"]["routes"]
            .as_array()
            .expect("routes")
            .clone();
        let lost: Vec<&String> = acknowledged
            .keys()
            .filter(|id| !routes.iter().any(|route| route["id"] == id.as_str()))
            .collect();
        assert!(lost.is_empty(), "n{n} lost {lost:?} of {}", acknowledged.len());
    }
    without_leader.sort();
    eprintln!(
        "{} changes acknowledged over {} kills; from the kill to the next change taken: median {:?}, longest {:?}",
        acknowledged.len(),
        without_leader.len(),
        without_leader[without_leader.len() / 2],
        without_leader.last().expect("there were rounds"),
    );
}

async fn served(cluster: &Cluster, n: usize, id: &str) {
    let at = cluster.node(n).http();
    eventually(&format!("n{n} to serve /{id}"), || async {
        match Call::get(at, format!("/{id}")).send().await {
            Ok(answer) if answer.status == 200 && answer.text() == id => Ok(()),
            Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}
