//! What one node learns of a sick service, all act on; one probes it; and one node with a bad network closes it to
//! nobody else.

use cluster_tests::between::Between;
use cluster_tests::offered::{Offered, Sample};
use cluster_tests::store::Store;
use cluster_tests::{Backend, Call, Cluster, World, eventually, rounds};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

struct Stage {
    cluster: Cluster,
    service: Backend,
    _store: Store,
    _world: World,
}

const BREAKER: &str = "breaker: { failure_rate: 50%, min_requests: 20, window: 10s, open_for: 2s, probes: 3, observers: 2 }, health: { passive: { max_ejected: 0% } }";

impl Stage {
    async fn set(breaker: &str) -> Self {
        let world = World::new();
        let store = Store::start(&world).await;
        let service = Backend::timed(world.service()).await;
        let url = store.url();
        let cluster = Cluster::of(3).flags(&["--redis", &url]).start(&world).await;
        cluster
            .apply(&format!(
                "upstreams: {{ service: {{ targets: ['{}'], {breaker} }} }}\ngateways: {{ shop: {{ hosts: ['*'], routes: [{{ path: '/**', upstream: service }}] }} }}\n",
                service.url()
            ))
            .await;
        Self {
            cluster,
            service,
            _store: store,
            _world: world,
        }
    }

    fn nodes(&self) -> Vec<SocketAddr> {
        self.cluster.nodes().iter().map(cluster_tests::Node::http).collect()
    }

    /// What node `n` says of the breaker.
    async fn breaker(&self, n: usize) -> Value {
        let told = self
            .cluster
            .admin(n)
            .get("/v1/breakers")
            .await
            .expect("an answer")
            .expect(200)
            .json();
        told["breakers"]
            .as_array()
            .and_then(|breakers| breakers.iter().find(|breaker| breaker["upstream"] == "service"))
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// Waits until all nodes say that it is so.
    async fn all_say(&self, state: &str) {
        for n in 1..=3 {
            self.says(n, state).await;
        }
    }

    async fn says(&self, n: usize, state: &str) {
        eventually(&format!("n{n} to say {state}"), || async {
            let told = self.breaker(n).await;
            match told["state"] == state {
                true => Ok(()),
                false => Err(told.to_string()),
            }
        })
        .await;
    }
}

/// When the last request came to a failing service.
fn last_failed(service: &Backend) -> Option<Instant> {
    let arrivals = service.journal().arrivals();
    arrivals
        .iter()
        .rev()
        .find(|arrival| arrival.failed)
        .map(|arrival| arrival.at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_service_is_left_alone_by_all_and_comes_back_to_all() {
    let stage = Stage::set(BREAKER).await;
    for round in 0..rounds(1, 5) {
        let offering = Offered::at(300, stage.nodes()).start(Duration::from_secs(12));
        cluster_tests::wait::pass(Duration::from_secs(1)).await;
        let before = stage.service.journal().count();
        stage.service.journal().fail(true);
        let failing_from = Instant::now();
        eventually("a node to say open", || async {
            for n in 1..=3 {
                if stage.breaker(n).await["state"] == "open" {
                    return Ok(());
                }
            }
            Err("none does")
        })
        .await;
        stage.all_say("open").await;
        let tripped = last_failed(&stage.service).expect("it failed") - failing_from;
        let suffered = stage.service.journal().count() - before;
        // While it is open, and half-open, the service sees probes alone.
        let open_from = stage.service.journal().count();
        stage.service.journal().fail(false);
        let healed = Instant::now();
        stage.all_say("closed").await;
        let closed = healed.elapsed();
        let samples = offering.end().await;
        let refused: Vec<&Sample> = samples
            .iter()
            .filter(|sample| sample.told.code == "breaker_open")
            .collect();
        eprintln!(
            "round {round}: {suffered} requests until the last node stopped, the last of them {tripped:?} after the service began to fail; all closed {closed:?} after it was well; {} refused",
            refused.len()
        );
        assert!(!refused.is_empty());
        assert!(
            refused
                .iter()
                .all(|sample| sample.status == 503 && !sample.told.retry_after.is_empty())
        );
        assert!(stage.service.journal().count() > open_from, "it is used again");
        stage.all_say("closed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_service_sees_no_more_than_its_probes() {
    let stage = Stage::set(BREAKER).await;
    stage.service.journal().fail(true);
    let offering = Offered::at(200, stage.nodes()).start(Duration::from_secs(rounds(10, 30) as u64));
    stage.all_say("open").await;
    let from = stage.service.journal().arrivals().len();
    let opened = Instant::now();
    let samples = offering.end().await;
    let probes: Vec<Instant> = stage
        .service
        .journal()
        .arrivals()
        .split_off(from)
        .iter()
        .map(|arrival| arrival.at)
        .collect();
    // It fails on: each half-open takes three probes at most, and open_for doubles from 2 s.
    let mut bursts: Vec<(Instant, usize)> = Vec::new();
    for probe in &probes {
        match bursts.last_mut() {
            Some((began, count)) if probe.duration_since(*began) < Duration::from_secs(1) => *count += 1,
            _ => bursts.push((*probe, 1)),
        }
    }
    let told: Vec<(Duration, usize)> = bursts
        .iter()
        .map(|(began, count)| (began.duration_since(opened), *count))
        .collect();
    eprintln!("half-open, when and how many: {told:?}");
    assert!(!told.is_empty(), "it was never probed: {} samples", samples.len());
    assert!(told.iter().all(|(_, count)| *count <= 3), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_from_a_healthy_service_closes_it_to_nobody_else() {
    let world = World::new();
    let store = Store::start(&world).await;
    let service = Backend::timed(world.service()).await;
    let way = Between::start(world.service(), service.address()).await;
    let url = store.url();
    let cluster = Cluster::of(3).flags(&["--redis", &url]).start(&world).await;
    cluster
        .apply(&format!(
            "upstreams: {{ service: {{ targets: ['http://{}'], {BREAKER} }} }}\ngateways: {{ shop: {{ hosts: ['*'], routes: [{{ path: '/**', upstream: service }}] }} }}\n",
            way.address()
        ))
        .await;
    let nodes: Vec<SocketAddr> = cluster.nodes().iter().map(cluster_tests::Node::http).collect();
    way.cut_off(Some(cluster.node(3).id()));
    let length = Duration::from_secs(rounds(8, 30) as u64);
    let healthy = Offered::at(100, nodes[..2].to_vec()).start(length);
    let cut = Offered::at(100, nodes[2..].to_vec()).start(length);
    let (healthy, cut) = (healthy.end().await, cut.end().await);
    let of = |samples: &[Sample], status: u16| samples.iter().filter(|sample| sample.status == status).count();
    eprintln!(
        "the two: {} of {} served; the one cut off: {} served, {} by 502, {} by 503",
        of(&healthy, 200),
        healthy.len(),
        of(&cut, 200),
        of(&cut, 502),
        of(&cut, 503)
    );
    assert_eq!(of(&healthy, 200), healthy.len(), "the two go on");
    assert_eq!(of(&cut, 200), 0);
    way.cut_off(None);
    let again = Offered::at(50, nodes[2..].to_vec()).start(Duration::from_secs(20));
    eventually("the third to serve again", || async {
        let answer = Call::get(nodes[2], "/")
            .send()
            .await
            .map_err(|error| error.to_string())?;
        match answer.status.as_u16() {
            200 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_finds_its_way_back_though_its_target_was_thrown_out() {
    let world = World::new();
    let store = Store::start(&world).await;
    let service = Backend::timed(world.service()).await;
    let url = store.url();
    let cluster = Cluster::of(3).flags(&["--redis", &url]).start(&world).await;
    cluster
        .apply(&format!(
            "upstreams: {{ a: {{ targets: ['{}'], breaker: {{ failure_rate: 0.5, window: 10s, min_requests: 5, open_for: 2s, observers: 1 }}, health: {{ passive: {{ errors: 3, eject_for: 30s }} }} }} }}\ngateways: {{ shop: {{ hosts: ['*'], routes: [{{ path: /, upstream: a }}] }} }}\n",
            service.url()
        ))
        .await;
    let node = cluster.node(1).http();
    service.journal().fail(true);
    eventually("the breaker to open", || async {
        let answer = Call::get(node, "/").send().await.map_err(|error| error.to_string())?;
        match answer.code().as_str() {
            "breaker_open" => Ok(()),
            _ => Err(answer.text()),
        }
    })
    .await;
    service.journal().fail(false);
    let healed = std::time::Instant::now();
    eventually("the service to be used again", || async {
        let answer = Call::get(node, "/").send().await.map_err(|error| error.to_string())?;
        match answer.status.as_u16() {
            200 => Ok(()),
            _ => Err(answer.text()),
        }
    })
    .await;
    eprintln!("the first answer {:?} after the service was well", healed.elapsed());
    // Between the probe's success and the decision that follows from it others are refused still.
    eventually("twenty answers in a row", || async {
        for _ in 0..20 {
            let answer = Call::get(node, "/").send().await.map_err(|error| error.to_string())?;
            if answer.status.as_u16() != 200 {
                return Err(answer.text());
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_refusals_are_nobodys_failures() {
    let world = World::new();
    let store = Store::start(&world).await;
    let service = Backend::timed(world.service()).await;
    let url = store.url();
    let cluster = Cluster::of(1).flags(&["--redis", &url]).start(&world).await;
    cluster
        .apply(&format!(
            "upstreams: {{ a: {{ targets: ['{}'], breaker: {{ failure_rate: 50%, min_requests: 5, observers: 1, failures: [connect, reset, timeout, 500, 502, 503, 504] }}, health: {{ passive: {{ errors: 3 }} }} }} }}
gateways:
  shop:
    hosts: ['*']
    routes:
      - {{ path: /limited, upstream: a, rate_limits: [{{ name: few, limit: 1, per: 1h, key: \"'all'\" }}], max_body: 1KiB }}
      - {{ path: /good, upstream: a }}
",
            service.url()
        ))
        .await;
    let node = cluster.node(1).http();
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
        let answer = call.send().await.expect("an answer");
        refused += usize::from([413, 429].contains(&answer.status.as_u16()));
    }
    assert!(refused >= 198, "{refused}");
    let good: Vec<Sample> = good.end().await;
    assert!(good.iter().all(|sample| sample.status == 200), "{good:#?}");
    let told = cluster.admin(1).get("/v1/breakers").await.expect("an answer").json();
    let breaker = &told["breakers"][0];
    assert_eq!(breaker["state"], Value::from("closed"), "{told}");
    drop(store);
}
