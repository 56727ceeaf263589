//! Faults that other gateways shipped with their breakers, each asked of three nodes and a real Redis.

use cluster_tests::between::{Between, Manner};
use cluster_tests::offered::{Offered, Sample};
use cluster_tests::store::Store;
use cluster_tests::{Answer, Backend, Call, Cluster, World, eventually, in_full};
use http::Method;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

struct Stage {
    cluster: Cluster,
    service: Backend,
    _store: Store,
    between: Between,
    _world: World,
}

impl Stage {
    /// Three nodes with an upstream `a` of this shape, and these routes.
    async fn set(upstream: &str, routes: &str) -> Self {
        let world = World::new();
        let store = Store::start(&world).await;
        let between = Between::start(world.service(), store.address()).await;
        let service = Backend::timed(world.service()).await;
        let cluster = Cluster::sharing(&world, between.address()).await;
        cluster
            .apply(&format!(
                "upstreams: {{ a: {{ targets: ['{}'], {upstream} }} }}\ngateways:\n  shop:\n    hosts: ['*']\n    routes:\n{routes}",
                service.url()
            ))
            .await;
        Self {
            cluster,
            service,
            _store: store,
            between,
            _world: world,
        }
    }

    fn node(&self) -> SocketAddr {
        self.cluster.node(1).http()
    }

    async fn get(&self, path: &str) -> Result<Answer, String> {
        let call = Call::get(self.node(), path).send();
        call.await.map_err(|error| error.to_string())
    }

    async fn breaker(&self) -> Value {
        let told = self.cluster.admin(1).get("/v1/breakers").await.expect("an answer");
        told.json()["breakers"][0].clone()
    }

    async fn order(&self, order: &str, body: &'static str) {
        let call = self
            .cluster
            .admin(1)
            .call(Method::POST, &format!("/v1/breakers/a/{order}"));
        let call = call.header("content-type", "application/json").body(body);
        call.answer().await.expect(200);
    }

    /// Requests that came to the service, but for checks.
    fn arrivals(&self) -> usize {
        let arrivals = self.service.journal().arrivals();
        arrivals.iter().filter(|arrival| arrival.target != "/healthz").count()
    }

    async fn until_refused(&self) {
        eventually("the breaker to open", || async {
            let answer = self.get("/").await?;
            match answer.code().as_str() {
                "breaker_open" => Ok(()),
                _ => Err(answer.text()),
            }
        })
        .await;
    }

    async fn until_served(&self) {
        eventually("the service to be used again", || async {
            let answer = self.get("/").await?;
            match answer.status.as_u16() {
                200 => Ok(()),
                _ => Err(answer.text()),
            }
        })
        .await;
    }

    /// Between a probe's success and the decision that follows from it others are refused still.
    async fn twenty_in_a_row(&self) {
        eventually("twenty answers in a row", || async {
            for _ in 0..20 {
                let answer = self.get("/").await?;
                if answer.status.as_u16() != 200 {
                    return Err(answer.text());
                }
            }
            Ok(())
        })
        .await;
    }
}

const TRIPS_SOON: &str = "breaker: { failure_rate: 0.5, window: 10s, min_requests: 5, open_for: 2s, observers: 1 }";
/// All targets may go, and for longer than the breaker stays open.
const THROWS_OUT: &str = "passive: { errors: 3, eject_for: 30s, max_ejected: 100% }";

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_finds_its_way_back_though_its_target_was_thrown_out() {
    for active in ["", ", active: { path: /healthz, every: 200ms }"] {
        let upstream = format!("{TRIPS_SOON}, health: {{ {THROWS_OUT}{active} }}");
        let stage = Stage::set(&upstream, "      - { path: /, upstream: a }\n").await;
        stage.service.journal().fail(true);
        stage.until_refused().await;
        let out = if active.is_empty() { "ejected" } else { "unhealthy" };
        let label = format!("state=\"{out}\"");
        let admin = stage.cluster.admin(1);
        eventually("its target to be thrown out", || async {
            match admin.metric("sluice_upstream_targets", &[&label]).await {
                1.0 => Ok(()),
                other => Err(other),
            }
        })
        .await;
        let before = stage.arrivals();
        stage.service.journal().fail(false);
        let healed = Instant::now();
        stage.until_served().await;
        eprintln!(
            "{out}: the first answer {:?} after the service was well",
            healed.elapsed()
        );
        assert_eq!(stage.arrivals() - before, 1, "that of the one probe");
        stage.twenty_in_a_row().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_by_hand_leaves_no_breaker_open_behind_it() {
    let upstream = format!("{TRIPS_SOON}, health: {{ {THROWS_OUT} }}");
    let stage = Stage::set(&upstream, "      - { path: /, upstream: a }\n").await;
    stage.service.journal().fail(true);
    stage.until_refused().await;
    stage.order("open", r#"{"why": "it must rest"}"#).await;
    stage.service.journal().fail(false);
    let before = stage.arrivals();
    for _ in 0..20 {
        assert_eq!(stage.get("/").await.expect("an answer").code(), "breaker_open");
    }
    assert_eq!(stage.arrivals(), before, "nothing gets through, be it a probe");
    stage.order("release", "{}").await;
    stage.until_served().await;
    stage.twenty_in_a_row().await;
    // Let through by hand while it fails: no evidence of that time opens it afterwards.
    stage.order("close", r#"{"why": "a false alarm"}"#).await;
    stage.service.journal().fail(true);
    for _ in 0..20 {
        assert_ne!(stage.get("/").await.expect("an answer").code(), "breaker_open");
    }
    stage.service.journal().fail(false);
    stage.order("release", "{}").await;
    stage.twenty_in_a_row().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_refusals_are_nobodys_failures() {
    let upstream = "breaker: { failure_rate: 50%, min_requests: 5, observers: 1, failures: [connect, reset, timeout, 500, 502, 503, 504] }, health: { passive: { errors: 3, max_ejected: 100% } }";
    let routes = "      - { path: /limited, upstream: a, rate_limits: [{ name: few, limit: 1, per: 1h, key: \"'all'\" }], max_body: 1KiB }
      - { path: /crowded, upstream: a, concurrency: [{ name: one, limit: 1, key: \"'all'\" }] }
      - { path: /good, upstream: a }
";
    let stage = Stage::set(upstream, routes).await;
    let node = stage.node();
    let good = Offered::at(25, [node])
        .clients(5)
        .path(|_| "/good".into())
        .start(Duration::from_secs(2));
    let mut refused = 0;
    for turn in 0..200 {
        let call = match turn % 2 {
            0 => Call::get(node, "/limited"),
            _ => Call::post(node, "/limited", vec![b'x'; 2048]),
        };
        match call.send().await.expect("an answer").status.as_u16() {
            413 | 429 => refused += 1,
            // How many pass is another scenario's.
            status => assert_eq!(status, 200),
        }
    }
    assert!(refused >= 150, "{refused}");
    let good: Vec<Sample> = good.end().await;
    assert!(good.iter().all(|sample| sample.status == 200), "{good:#?}");
    // One is under way for good: all others of its kind are refused.
    stage.service.journal().hang(true);
    let before = stage.arrivals();
    let held = tokio::spawn(Call::get(node, "/crowded").send());
    eventually("the one to be under way", || async {
        match stage.arrivals() > before {
            true => Ok(()),
            false => Err("not yet"),
        }
    })
    .await;
    for _ in 0..50 {
        let answer = stage.get("/crowded").await.expect("an answer");
        assert_eq!(answer.code(), "too_many_in_flight");
    }
    held.abort();
    stage.service.journal().hang(false);
    stage.order("open", r#"{"why": "it must rest"}"#).await;
    for _ in 0..50 {
        assert_eq!(stage.get("/good").await.expect("an answer").code(), "breaker_open");
    }
    stage.order("release", "{}").await;
    assert_eq!(stage.get("/good").await.expect("an answer").status, 200);
    let told = stage.breaker().await;
    assert_eq!(told["state"], "closed", "{told}");
    assert_eq!(told["counts"]["failed"], 0, "{told}");
    assert_eq!(told["cause"], Value::Null, "{told}");
    let ejected = stage
        .cluster
        .admin(1)
        .metric("sluice_upstream_ejections_total", &[])
        .await;
    assert_eq!(ejected, 0.0);
}

/// The way to the store swallows what is sent: nobody is told, as behind a wall that drops packets.
#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_that_opened_while_nobody_heard_of_it_is_known_to_all_soon_after() {
    let upstream = "breaker: { failure_rate: 50%, window: 10s, min_requests: 5, open_for: 50s, observers: 1 }, health: { passive: { max_ejected: 0% } }";
    let stage = Stage::set(upstream, "      - { path: /, upstream: a }\n").await;
    stage.until_served().await;
    stage.between.turn(Manner::Silent);
    for node in stage.cluster.nodes() {
        let admin = node.admin();
        eventually(&format!("{} to do without the store", node.name()), || async {
            let ready = admin.readyz().await.map_err(|error| error.to_string())?;
            match ready.json()["degraded"].to_string().contains("redis") {
                true => Ok(()),
                false => Err(ready.text()),
            }
        })
        .await;
    }
    stage.service.journal().fail(true);
    stage.until_refused().await;
    let told = stage.breaker().await;
    let open = told["nodes"].as_array().into_iter().flatten();
    let open: Vec<_> = open
        .filter(|node| node["state"] == "open")
        .map(|node| &node["name"])
        .collect();
    assert_eq!(open, ["n1"], "each node has a breaker of its own meanwhile: {told}");
    stage.between.turn(Manner::Open);
    let healed = Instant::now();
    eventually("all three to refuse", || async {
        let told = stage.breaker().await;
        let nodes = told["nodes"].as_array().cloned().unwrap_or_default();
        match nodes.len() == 3 && nodes.iter().all(|node| node["state"] == "open") {
            true => Ok(()),
            false => Err(told.to_string()),
        }
    })
    .await;
    let known = healed.elapsed();
    eprintln!("known to all three {known:?} after the way to the store was open again");
    assert!(known < Duration::from_secs(2) || !in_full(), "{known:?}");
}
