//! Redis killed, frozen, slow, emptied, failed over, full: no request waits for it, each limit goes on as it says, and
//! all is as before soon after it is back.
//!
//! Three limits at once, one for each `on_failure`. Short by default; `CLUSTER_TESTS=full` has each fault last longer under
//! more load, and prints the figures.

use cluster_tests::between::{Between, Manner};
use cluster_tests::offered::{Offered, Offering, Sample, Spread, most_within, percentile};
use cluster_tests::store::{PRIMARY, Sentinel, Store};
use cluster_tests::{Backend, Call, Cluster, World, eventually, in_full, rounds};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// No request waits longer for the store than this, besides what it takes without one.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// What a request may take on a busy machine with debug binaries where nothing is wrong.
const BUSY: Duration = Duration::from_millis(480);

/// Until only shares count, and a third of a second in which nodes notice.
const SHARES_COUNT: Duration = Duration::from_millis(2900);
/// Of load before a fault.
const WARM: Duration = Duration::from_secs(2);

/// Three nodes, a store with a relay before it, and a service.
struct Stage {
    cluster: Cluster,
    service: Backend,
    store: Store,
    between: Between,
    _world: World,
}

/// What was answered while a fault lasted.
struct During {
    samples: Vec<Sample>,
}

impl Stage {
    async fn set() -> Self {
        Self::set_with(&[]).await
    }

    async fn set_with(arguments: &[&str]) -> Self {
        let world = World::new();
        let store = Store::with(&world, 6379, arguments).await;
        let between = Between::start(world.service(), store.address()).await;
        let service = Backend::timed(world.service()).await;
        let cluster = Cluster::sharing(&world, between.address()).await;
        cluster.apply(&document(&service)).await;
        Self {
            cluster,
            service,
            store,
            between,
            _world: world,
        }
    }

    fn nodes(&self) -> Vec<SocketAddr> {
        self.cluster.nodes().iter().map(cluster_tests::Node::http).collect()
    }

    /// All nodes use the store, as they say; and it has learnt what they did without it, as a limit shows that is closed
    /// until then.
    async fn in_use(&self, what: &str) -> Duration {
        let began = Instant::now();
        for node in self.cluster.nodes() {
            let admin = node.admin();
            eventually(
                &format!("{} to use the store again after {what}", node.name()),
                || async {
                    let ready = admin.readyz().await.map_err(|error| error.to_string())?;
                    let degraded = ready.json()["degraded"].to_string();
                    if degraded.contains("redis") || degraded.contains("shared-store") {
                        return Err(degraded);
                    }
                    let answer = Call::get(node.http(), "/closed").send().await;
                    let answer = answer.map_err(|error| error.to_string())?;
                    match answer.status.as_u16() {
                        200 => Ok(()),
                        _ => Err(answer.text()),
                    }
                },
            )
            .await;
        }
        began.elapsed()
    }

    /// All nodes say that they do without the store.
    async fn given_up(&self, what: &str) {
        self.given_up_because(what, "").await;
    }

    /// The same, and why.
    async fn given_up_because(&self, what: &str, why: &str) {
        for node in self.cluster.nodes() {
            let admin = node.admin();
            eventually(&format!("{} to do without the store: {what}", node.name()), || async {
                let ready = admin.readyz().await.map_err(|error| error.to_string())?;
                let degraded = ready.json()["degraded"].to_string();
                match degraded.contains("redis") && degraded.contains(why) {
                    true => Ok(()),
                    false => Err(ready.text()),
                }
            })
            .await;
        }
    }

    /// Tells the store the same so often, one after each such time.
    async fn say_each(&self, time: Duration, times: usize, command: &str) {
        let mut beat = cluster_tests::wait::beat(time);
        for _ in 0..times {
            beat.tick().await;
            self.store.say(command).await.expect("redis answers");
        }
    }

    /// Offers five times what a limit of 30 a second admits.
    fn offer_a_small_limit(&self, length: Duration) -> Offering {
        Offered::at(150, self.nodes())
            .path(|_| "/small/local".into())
            .start(length)
    }

    /// No second had more than the limit, and nobody was told anything but so.
    async fn judge_a_small_limit(&self, what: &str, offering: Offering) {
        let samples = offering.end().await;
        let mut arrivals = self.service.journal().arrivals();
        arrivals.retain(|arrival| arrival.target == "/small/local");
        let first = arrivals.first().expect("some are admitted").at;
        let moments: Vec<Duration> = arrivals
            .iter()
            .map(|arrival| arrival.at.saturating_duration_since(first))
            .collect();
        let admitted = samples.iter().filter(|sample| sample.status == 200);
        let way = admitted.map(|sample| sample.took).max().unwrap_or_default();
        let window = Duration::from_secs(1);
        let most = most_within(&moments, window.saturating_sub(way));
        eprintln!(
            "{what}: most in a second {} ({most} within it less the longest way of {way:?}) of 30; {} of {} admitted",
            most_within(&moments, window),
            moments.len(),
            samples.len(),
        );
        assert!(most <= 30, "{most}");
        assert!(samples.iter().all(|sample| [200, 429].contains(&sample.status)));
    }

    /// Offers a rate to the three limits in turn while `fault` happens.
    async fn under_load(&self, per_second: u32, length: Duration, fault: impl Future<Output = ()>) -> During {
        let offering = Offered::at(per_second, self.nodes())
            .spread(Spread::RoundRobin)
            .path(|n| ["/local", "/open", "/closed"][(n / 3 % 3) as usize].to_owned())
            .start(WARM + length);
        // What a node goes on with is what it knows of a key: one that is new within the first moments of an outage is
        // refused, since others may have spent what there was.
        cluster_tests::wait::pass(WARM).await;
        fault.await;
        During {
            samples: offering.end().await,
        }
    }
}

fn document(service: &Backend) -> String {
    let mut routes = String::new();
    for mode in ["local", "open", "closed"] {
        routes += &format!(
            "      - {{ path: /{mode}, upstream: service, rate_limits: [{{ name: {mode}, limit: 1000000, per: 1s, key: \"'all'\", on_failure: {mode} }}] }}\n"
        );
        routes += &format!(
            "      - {{ path: /small/{mode}, upstream: service, rate_limits: [{{ name: {mode}, limit: 30, per: 1s, key: \"'all'\", on_failure: {mode} }}] }}\n"
        );
    }
    format!(
        "upstreams: {{ service: {{ targets: ['{}'] }} }}\ngateways:\n  shop:\n    hosts: ['*']\n    routes:\n{routes}",
        service.url()
    )
}

// === impl During ===

impl During {
    /// What waited longest, and 99.9 of 100.
    fn judge(&self, what: &str) {
        let longest = self.samples.iter().map(|sample| sample.took).max().unwrap_or_default();
        let most = percentile(self.samples.iter().map(|sample| sample.took), 0.999);
        let refused = |status: u16| self.samples.iter().filter(|sample| sample.status == status).count();
        eprintln!(
            "{what}: {} requests, p99.9 {most:?}, longest {longest:?}; 200 {}, 429 {}, 503 {}",
            self.samples.len(),
            refused(200),
            refused(429),
            refused(503),
        );
        assert!(longest <= LONGEST_WAIT + BUSY || !in_full(), "{what}: {longest:?}");
        let odd: Vec<&Sample> = self
            .samples
            .iter()
            .filter(|sample| match sample.status {
                200 => false,
                503 => sample.told.code != "limit_store",
                // Until a node may take its share it has what it spent and held itself.
                429 => in_full() && (sample.sent < WARM || sample.sent > WARM + SHARES_COUNT),
                _ => true,
            })
            .take(3)
            .collect();
        assert!(odd.is_empty(), "{what}: {odd:?}");
    }

    fn count(&self, status: u16) -> usize {
        self.samples.iter().filter(|sample| sample.status == status).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_store_is_done_without_and_used_again() {
    let mut stage = Stage::set().await;
    stage.in_use("the start").await;
    let offering = Offered::at(300, stage.nodes())
        .path(|n| ["/local", "/open", "/closed"][(n / 3 % 3) as usize].to_owned())
        .start(WARM + Duration::from_secs(rounds(4, 10) as u64));
    cluster_tests::wait::pass(WARM).await;
    stage.store.kill();
    stage.given_up("killed").await;
    let during = During {
        samples: offering.end().await,
    };
    during.judge("killed");
    assert!(during.count(503) > 0, "`closed` refuses in the end");
    stage.store.restart().await;
    let back = stage.in_use("a restart").await;
    eprintln!("killed: in use again {back:?} after the restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_store_is_as_dead_as_a_dead_one() {
    let stage = Stage::set().await;
    stage.in_use("the start").await;
    let during = stage
        .under_load(300, Duration::from_secs(rounds(4, 30) as u64), async {
            stage.store.freeze();
            stage.given_up("frozen").await;
        })
        .await;
    during.judge("frozen");
    stage.store.thaw();
    let back = stage.in_use("a thaw").await;
    eprintln!("frozen: in use again {back:?} after the thaw");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_silent_or_halting_store_is_given_up() {
    let stage = Stage::set().await;
    stage.in_use("the start").await;
    for (what, manner) in [
        ("200 ms slow", Manner::Slow(Duration::from_millis(100))),
        ("silent", Manner::Silent),
        ("half an answer", Manner::Half),
        ("closing", Manner::Closing),
    ] {
        let before = stage.between.taken();
        let during = stage
            .under_load(300, Duration::from_secs(rounds(3, 10) as u64), async {
                stage.between.turn(manner);
                stage.given_up(what).await;
            })
            .await;
        during.judge(what);
        let connections = stage.between.taken() - before;
        stage.between.turn(Manner::Open);
        let back = stage.in_use(what).await;
        eprintln!("{what}: {connections} new connections of three nodes, in use again after {back:?}");
        let bound = 3 * 4 * 5 * rounds(3, 10);
        assert!(connections <= bound, "{what}: {connections} connections");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_script_cache_costs_no_request() {
    let stage = Stage::set().await;
    stage.in_use("the start").await;
    let flushes = rounds(3, 20);
    let during = stage
        .under_load(500, Duration::from_secs(flushes as u64 + 1), async {
            stage.say_each(Duration::from_secs(1), flushes, "SCRIPT FLUSH").await;
        })
        .await;
    during.judge("scripts flushed");
    assert!(during.count(503) == 0 || !in_full(), "nobody is refused for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_ended_again_and_again_heal_by_themselves() {
    let stage = Stage::set().await;
    stage.in_use("the start").await;
    let ends = rounds(6, 20);
    let before: Vec<usize> = stage
        .cluster
        .nodes()
        .iter()
        .map(|node| node.running().descriptors())
        .collect();
    let during = stage
        .under_load(200, Duration::from_millis(500 * ends as u64 + 500), async {
            stage
                .say_each(Duration::from_millis(500), ends, "CLIENT KILL TYPE normal")
                .await;
        })
        .await;
    during.judge("connections ended");
    let back = stage.in_use("its connections were ended").await;
    eprintln!("connections ended {ends} times: in use again after {back:?}");
    // A node has one connection to it; what it had before is closed.
    for (node, before) in stage.cluster.nodes().iter().zip(before) {
        eventually("no descriptor to be left behind", || async {
            let now = node.running().descriptors();
            // Those of clients come and go.
            match now <= before + 8 {
                true => Ok(()),
                false => Err(format!("{}: {before} before, {now} now", node.name())),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_empty_doubles_no_limit() {
    let mut stage = Stage::set().await;
    stage.in_use("the start").await;
    let offering = stage.offer_a_small_limit(Duration::from_secs(rounds(8, 15) as u64));
    cluster_tests::wait::pass(WARM).await;
    for _ in 0..3 {
        stage.store.start_again();
        cluster_tests::wait::pass(Duration::from_millis(300)).await;
    }
    stage.judge_a_small_limit("restarted empty three times", offering).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_emptied_doubles_no_limit() {
    let stage = Stage::set().await;
    stage.in_use("the start").await;
    let offering = stage.offer_a_small_limit(Duration::from_secs(rounds(6, 15) as u64));
    cluster_tests::wait::pass(WARM).await;
    stage.store.say("FLUSHALL").await.expect("redis answers");
    stage.judge_a_small_limit("emptied", offering).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_named_and_done_without() {
    let stage = Stage::set().await;
    stage.in_use("the start").await;
    let during = stage
        .under_load(300, Duration::from_secs(rounds(4, 10) as u64), async {
            stage
                .store
                .say("CONFIG SET maxmemory-policy noeviction")
                .await
                .expect("redis answers");
            stage.store.say("CONFIG SET maxmemory 1").await.expect("redis answers");
            stage
                .given_up_because("out of memory", "is out of memory and refuses to write")
                .await;
        })
        .await;
    during.judge("out of memory");
    stage.store.say("CONFIG SET maxmemory 0").await.expect("redis answers");
    let back = stage.in_use("its memory").await;
    eprintln!("out of memory: in use again {back:?} after it has memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_followed() {
    let world = World::new();
    let mut primary = Store::start(&world).await;
    let replica = Store::replica(&world, 6380, &primary).await;
    let sentinel = Sentinel::start(&world, &primary, 500).await;
    let service = Backend::timed(world.service()).await;
    let url = format!("redis://{}", sentinel.address());
    let cluster = Cluster::of(3)
        .flags(&["--redis", &url, "--redis-sentinel", PRIMARY])
        .start(&world)
        .await;
    cluster.apply(&document(&service)).await;
    let nodes: Vec<SocketAddr> = cluster.nodes().iter().map(cluster_tests::Node::http).collect();
    let ready = |n: usize| {
        let admin = cluster.admin(n);
        async move {
            let ready = admin.readyz().await.map_err(|error| error.to_string())?;
            match ready.json()["degraded"].to_string().contains("redis") {
                true => Err(ready.text()),
                false => Ok(()),
            }
        }
    };
    for n in 1..=3 {
        eventually("the store in use", || ready(n)).await;
    }
    let offering = Offered::at(200, nodes)
        .path(|_| "/small/local".into())
        .start(Duration::from_secs(rounds(10, 20) as u64));
    primary.kill();
    let began = Instant::now();
    eventually("the replica to be the primary", || async {
        let told = replica
            .tell("INFO replication")
            .await
            .map_err(|error| error.to_string())?;
        match told.contains("role:master") {
            true => Ok(()),
            false => Err(told),
        }
    })
    .await;
    let promoted = began.elapsed();
    let calls = replica.script_calls().await;
    eventually("the new primary to be used", || async {
        let now = replica.script_calls().await;
        match now > calls {
            true => Ok(()),
            false => Err(format!("{now} calls")),
        }
    })
    .await;
    eprintln!(
        "failed over after {promoted:?}; the new primary in use {:?} later",
        began.elapsed() - promoted
    );
    let samples = offering.end().await;
    assert!(samples.iter().all(|sample| [200, 429].contains(&sample.status)));
    for n in 1..=3 {
        eventually("the store in use", || ready(n)).await;
    }
}
