//! What one node learns of a sick service, all act on; one probes it; and one node with a bad network closes it to
//! nobody else.
//!
//! `CLUSTER_TESTS=full` judges how soon all act on a decision as well, and prints it.

use cluster_tests::between::Between;
use cluster_tests::offered::{Offered, Offering, Sample};
use cluster_tests::store::Store;
use cluster_tests::wait::pass;
use cluster_tests::{Backend, Call, Cluster, World, eventually, in_full, rounds};
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

/// Those of [`BREAKER`].
const PROBES: u64 = 3;

/// A decision that all nodes act on.
#[derive(Debug, Clone, Copy)]
struct Decision {
    epoch: u64,
    /// When the first of them began to.
    first: Instant,
    /// How much later the last of them did.
    spread: Duration,
}

impl Stage {
    async fn set(upstream: &str) -> Self {
        Self::with(upstream, &[]).await
    }

    /// The same with a store that was told `commands` before any node came.
    async fn with(upstream: &str, commands: &[&str]) -> Self {
        let world = World::new();
        let store = Store::start(&world).await;
        for command in commands {
            assert_eq!(store.say(command).await.expect("an answer"), "+OK");
        }
        let service = Backend::timed(world.service()).await;
        let cluster = Cluster::sharing(&world, store.address()).await;
        cluster
            .apply(&format!(
                "upstreams: {{ service: {{ targets: ['{}'], {upstream} }} }}\ngateways: {{ shop: {{ hosts: ['*'], routes: [{{ path: '/**', upstream: service }}] }} }}\n",
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

    /// The breaker, by what all nodes that run tell the first of them.
    async fn breaker(&self) -> Value {
        let mut running = (1..=3).filter(|n| self.cluster.node(*n).runs());
        let asked = running.next().expect("a node runs");
        let told = self
            .cluster
            .admin(asked)
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

    /// Waits until each node that runs does so by the same decision.
    async fn all(&self, state: &str) -> Decision {
        let running = self.cluster.nodes().iter().filter(|node| node.runs()).count();
        eventually(&format!("{running} nodes to be {state}"), || async {
            let told = self.breaker().await;
            let nodes = told["nodes"].as_array().cloned().unwrap_or_default();
            let agree = nodes
                .iter()
                .all(|node| node["state"] == state && node["epoch"] == told["epoch"]);
            match agree && nodes.len() == running {
                true => Ok(Decision::of(&told)),
                false => Err(told.to_string()),
            }
        })
        .await
    }

    /// When requests came to the service within this time, from the first to the last.
    fn arrivals(&self, from: Instant, until: Instant) -> Vec<Instant> {
        let arrivals = self.service.journal().arrivals().into_iter();
        arrivals
            .map(|arrival| arrival.at)
            .filter(|at| (from..until).contains(at))
            .collect()
    }
}

// === impl Decision ===

impl Decision {
    /// By the nodes' own account, to the millisecond.
    fn of(told: &Value) -> Self {
        let nodes = told["nodes"].as_array().cloned().unwrap_or_default();
        let since = || nodes.iter().map(|node| millis(&node["since"]));
        let (first, last) = (since().min().unwrap_or_default(), since().max().unwrap_or_default());
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970");
        let ago = now.saturating_sub(Duration::from_millis(first));
        Self {
            epoch: told["epoch"].as_u64().unwrap_or_default(),
            first: Instant::now().checked_sub(ago).expect("the machine ran then"),
            spread: Duration::from_millis(last - first),
        }
    }
}

/// Milliseconds since 1970 of `2026-11-25T09:30:00.000Z`.
fn millis(text: &Value) -> u64 {
    let text = text.as_str().unwrap_or_default();
    let numbers: Vec<u64> = text
        .split(['-', 'T', ':', '.', 'Z'])
        .filter_map(|number| number.parse().ok())
        .collect();
    let [year, month, day, hour, minute, second, milli] = numbers[..] else {
        panic!("{text:?} is no moment");
    };
    // Years that begin in March: the day that comes and goes stands at their end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli
}

/// What was offered and came of it, by one clock.
struct Told {
    samples: Vec<Sample>,
    began: Instant,
}

impl Told {
    fn of(offering: &Offering) -> Self {
        Self {
            samples: offering.so_far(),
            began: offering.began(),
        }
    }

    /// When these requests were answered.
    fn answered<'s>(&'s self, is: impl Fn(&Sample) -> bool + 's) -> impl Iterator<Item = Instant> + 's {
        let these = self.samples.iter().filter(move |sample| is(sample));
        these.map(|sample| self.began + sample.sent + sample.took)
    }

    /// When each of three nodes first served a request that was made after this; none where one of them did not yet.
    fn served_after(&self, from: Instant) -> Option<Vec<Instant>> {
        let first = |node: usize| {
            self.answered(move |sample| sample.node == node && sample.status == 200 && self.began + sample.sent >= from)
                .min()
        };
        (0..3).map(first).collect()
    }
}

fn is_refused(sample: &Sample) -> bool {
    sample.told.code == "breaker_open"
}

/// An outage from the first failure until all nodes serve again.
async fn outage(stage: &Stage, round: usize) {
    let offering = Offered::at(300, stage.nodes()).start(Duration::from_secs(120));
    pass(Duration::from_secs(1)).await;
    stage.service.journal().fail(true);
    let ill = Instant::now();
    let open = stage.all("open").await;
    let told = Told::of(&offering);
    stage.service.journal().fail(false);
    let well = Instant::now();
    let refused = told.answered(is_refused).min().expect("an open breaker refuses");
    // Before it may be probed: a probe is no request that a node should not have sent.
    let probed = open.first + Duration::from_millis(1500);
    let last = stage.arrivals(ill, probed.min(well)).pop().expect("it failed");
    let late = last.saturating_duration_since(refused);
    eprintln!(
        "round {round}: open {:?} after the service began to fail; the last request reached it {late:?} after the first refusal; the last node acted on it {:?} after the first",
        open.first.saturating_duration_since(ill),
        open.spread
    );

    let closed = stage.all("closed").await;
    let served = eventually("each node to serve again", || async {
        Told::of(&offering).served_after(closed.first).ok_or("one does not yet")
    })
    .await;
    let told = Told::of(&offering);
    let all = served.iter().max().expect("three nodes").duration_since(closed.first);
    let refused = told.answered(is_refused).max().expect("an open breaker refuses");
    // An open one and a half-open one before each end of probes.
    let leases = (closed.epoch - open.epoch).div_ceil(2);
    let probes = stage.arrivals(last + Duration::from_nanos(1), closed.first).len() as u64;
    eprintln!(
        "round {round}: closed {:?} after the service was well, by {probes} probes of {leases} leases; all served {all:?} after that, the last refusal {:?} after; the last node acted on it {:?} after the first",
        closed.first.saturating_duration_since(well),
        refused.saturating_duration_since(closed.first),
        closed.spread
    );
    assert!(
        probes <= PROBES * leases,
        "{probes} requests reached a service that was to be probed {PROBES} times"
    );
    let told_when = told.samples.iter().filter(|sample| is_refused(sample));
    for sample in told_when {
        assert_eq!(sample.status, 503);
        assert!(!sample.told.retry_after.is_empty());
    }
    if in_full() {
        let quarter = Duration::from_millis(250);
        assert!(late <= quarter && open.spread <= quarter, "{late:?}, {open:?}");
        let second = Duration::from_secs(1);
        assert!(all <= second && closed.spread <= second, "{all:?}, {closed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_service_is_left_alone_by_all_and_comes_back_to_all() {
    let stage = Stage::set(BREAKER).await;
    for round in 0..rounds(1, 5) {
        outage(&stage, round).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_hears_of_is_asked_for() {
    // Who may use no channel hears nothing that is published, and can publish nothing.
    let stage = Stage::with(BREAKER, &["ACL SETUSER default resetchannels"]).await;
    for node in stage.cluster.nodes() {
        node.says("breakers are polled").await;
    }
    for round in 0..rounds(1, 5) {
        outage(&stage, round).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_followed_back_to_the_request_that_tipped_the_breaker() {
    let stage = Stage::set("breaker: { min_requests: 20, open_for: 1h }").await;
    let _offering = Offered::at(200, stage.nodes()).start(Duration::from_secs(600));
    stage.service.journal().fail(true);
    stage.all("open").await;
    let cause = stage.breaker().await["cause"].clone();
    let id = cause["request_id"].as_str().expect("a request failed last").to_owned();
    for node in stage.cluster.nodes() {
        node.says(&format!("\"breaker.request_id\":\"{id}\"")).await;
        if cause["node"] != node.name() {
            continue;
        }
        let failed = eventually("the line of the request itself", || async {
            let log = node.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let its = |line: &Value| line["request_id"] == *id && line["target"] == "access";
            lines.find(its).ok_or("not yet")
        })
        .await;
        assert_eq!(failed["answered_by"], "upstream", "{failed}");
        assert_eq!(failed["http.response.status_code"], 503, "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_prober_dies_is_probed_by_another() {
    // A probe may take ten seconds: long enough for its node to be found and killed.
    let upstream = "breaker: { min_requests: 20, open_for: 1s, probes: 1 }, timeout: { first_byte: 10s }, health: { passive: { max_ejected: 0% } }";
    let mut stage = Stage::set(upstream).await;
    let _offering = Offered::at(100, stage.nodes()).start(Duration::from_secs(600));
    stage.service.journal().fail(true);
    stage.all("open").await;
    let arrived = stage.service.journal().count();
    stage.service.journal().hang(true);
    let epoch = loop {
        let (prober, epoch) = eventually("a node to probe", || async {
            let told = stage.breaker().await;
            let prober = told["by"][0]
                .as_str()
                .and_then(|name| name.strip_prefix('n')?.parse().ok());
            match (prober, told["epoch"].as_u64()) {
                (Some(prober), Some(epoch)) if told["state"] == "half_open" => Ok((prober, epoch)),
                _ => Err(told.to_string()),
            }
        })
        .await;
        eventually("the probe to reach the service", || async {
            match stage.service.journal().count() > arrived {
                true => Ok(()),
                false => Err("not yet"),
            }
        })
        .await;
        stage.cluster.node_mut(prober).kill();
        let told = stage.breaker().await;
        if told["state"] == "half_open" && told["epoch"] == epoch {
            break epoch;
        }
        // Its probe had an end before it had: that is another scenario.
        stage.cluster.restart(prober).await;
    };
    let killed = Instant::now();
    stage.service.journal().hang(false);
    stage.service.journal().fail(false);
    let closed = stage.all("closed").await;
    eprintln!(
        "closed {:?} after the prober was killed, {} decisions after its lease",
        closed.first.saturating_duration_since(killed),
        closed.epoch - epoch
    );
    for node in stage.cluster.nodes().iter().filter(|node| node.runs()) {
        Call::get(node.http(), "/").answer().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_service_sees_no_more_than_its_probes() {
    let stage = Stage::set(BREAKER).await;
    stage.service.journal().fail(true);
    let offering = Offered::at(200, stage.nodes()).start(Duration::from_secs(rounds(10, 30) as u64));
    stage.all("open").await;
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
    let cluster = Cluster::sharing(&world, store.address()).await;
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
