//! A limit is a limit of the cluster: what three nodes admit, and what that costs the store.
//!
//! Short by default, with debug binaries; `CLUSTER_TESTS=full` offers 5,000 requests a second for 30 s against a limit of
//! 1,000 a second, and prints the figures.

use cluster_tests::backend::Arrival;
use cluster_tests::offered::{Offered, Sample, Spread, most_within, percentile};
use cluster_tests::store::Store;
use cluster_tests::{Backend, Cluster, World, in_full, rounds};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Three nodes before one service, and the store.
struct Limited {
    cluster: Cluster,
    service: Backend,
    store: Store,
    _world: World,
}

/// What came of an offered rate, by what the service saw.
struct Outcome {
    samples: Vec<Sample>,
    /// When admitted requests came to the service, since the first.
    arrivals: Vec<Duration>,
    length: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_admit_what_one_would() {
    let limit = u32::try_from(rounds(100, 1000)).expect("small");
    let length = Duration::from_secs(rounds(6, 30) as u64);
    let world = Limited::start(limit).await;
    for mode in ["exact", "fast"] {
        for (name, spread) in [
            ("round robin", Spread::RoundRobin),
            ("all on one", Spread::One),
            ("shifting each second", Spread::Shift(SECOND)),
        ] {
            let before = world.store.script_calls().await;
            let outcome = world.offer(limit * 5, spread, length, &format!("/{mode}")).await;
            let calls = world.store.script_calls().await - before;
            // A request arrives at the service at most this much after its token was taken: what arrives within a
            // window that is shorter by so much was admitted within one of a whole second.
            let way = outcome.longest_way();
            let most = most_within(&outcome.arrivals, SECOND.saturating_sub(way));
            let admitted = outcome.arrivals.len();
            let ideal = f64::from(limit) * outcome.length.as_secs_f64();
            let used = admitted as f64 / ideal;
            eprintln!(
                "{mode}, {name}: most in a second {} ({most} within it less the longest way of {way:?}), {:.1} % of the limit, {:.4} calls an admitted request, p99 {:?}",
                most_within(&outcome.arrivals, SECOND),
                used * 100.0,
                calls as f64 / admitted as f64,
                percentile(outcome.samples.iter().map(|sample| sample.took), 0.99),
            );
            outcome.expect_only(&[200, 429]);
            let bound = match mode {
                "fast" => limit + 3.max(limit / 20),
                _ => limit,
            };
            assert!(most <= bound as usize, "{most} of {bound}");
            assert!(used >= 0.95 || !in_full(), "{used}");
            assert!(admitted > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_key_asks_the_store_once_for_many_requests() {
    let limit = u32::try_from(rounds(300, 1000)).expect("small");
    let world = Limited::start(limit).await;
    // Beats of idle nodes are counted first, and taken off.
    let length = Duration::from_secs(rounds(4, 30) as u64);
    let idle_before = world.store.script_calls().await;
    cluster_tests::wait::pass(length).await;
    let beats = world.store.script_calls().await - idle_before;
    let before = world.store.script_calls().await;
    let outcome = world.offer(limit * 3, Spread::RoundRobin, length, "/exact").await;
    let calls = world.store.script_calls().await - before;
    let admitted = outcome.arrivals.len() as u64;
    eprintln!(
        "{admitted} admitted, {calls} calls (idle nodes: {beats} in the same time): {:.4} a request",
        calls as f64 / admitted as f64
    );
    // 300 a second and node are what a hundredth needs; the short form has a third of that, and heartbeats beside it.
    let share = rounds(5, 100) as u64;
    assert!(
        calls * share <= admitted || !in_full(),
        "{calls} calls for {admitted} requests"
    );
    assert!(admitted > 0 && calls > 0);
    // What the limit costs a request: two routes, one of them without it, at the same rate and the same time. Below the
    // limit, so that both have their answers from the service.
    let rate = limit * 9 / 10;
    let limited = world.offering(rate, Spread::RoundRobin, length, |_| "/exact".into());
    let free = world.offering(rate, Spread::RoundRobin, length, |_| "/free".into());
    let (limited, free) = (limited.end().await, free.end().await);
    assert!(free.iter().all(|sample| sample.status == 200), "nothing limits these");
    let served = |samples: &[Sample], share: f64| {
        let served = samples.iter().filter(|sample| sample.status == 200);
        percentile(served.map(|sample| sample.took), share).as_secs_f64() * 1000.0
    };
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (with, without) = (served(&limited, share), served(&free, share));
        eprintln!(
            "{name} at {rate} a second: {with:.3} ms under the limit, {without:.3} ms without it, {:+.3} ms",
            with - without
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_each_held_to_their_limit_at_a_call_or_so() {
    let world = Limited::start(1000).await;
    let length = Duration::from_secs(rounds(5, 30) as u64);
    let rate = u32::try_from(rounds(400, 3000)).expect("small");
    let keys = Zipf::new(10_000, 1.1);
    let cpu = world.store.figure("cpu", "used_cpu_user").await + world.store.figure("cpu", "used_cpu_sys").await;
    let before = world.store.script_calls().await;
    let outcome = world
        .offer_paths(rate, length, move |n| format!("/client?c={}", keys.of(n)))
        .await;
    let calls = world.store.script_calls().await - before;
    let spent =
        world.store.figure("cpu", "used_cpu_user").await + world.store.figure("cpu", "used_cpu_sys").await - cpu;
    outcome.expect_only(&[200, 429]);
    let mut by_key: HashMap<String, Vec<Duration>> = HashMap::new();
    let first = outcome.first(&world.service);
    for arrival in world.service.journal().arrivals() {
        by_key
            .entry(arrival.target)
            .or_default()
            .push(arrival.at.saturating_duration_since(first));
    }
    let worst = by_key.values().map(|at| most_within(at, Duration::from_secs(60))).max();
    eprintln!(
        "{} admitted under {} keys, {:.3} calls an admitted request, p99 {:?}, {:.2} s of Redis's processor for 100,000 decisions, most of a key {worst:?} of 60",
        outcome.arrivals.len(),
        by_key.len(),
        calls as f64 / outcome.arrivals.len() as f64,
        percentile(outcome.samples.iter().map(|sample| sample.took), 0.99),
        spent / outcome.samples.len() as f64 * 100_000.0,
    );
    assert!(worst <= Some(60), "{worst:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_random_keys_harms_nobody() {
    let world = Limited::start(1000).await;
    let length = Duration::from_secs(rounds(5, 60) as u64);
    let scan = u32::try_from(rounds(500, 16_667)).expect("small");
    // The same load without a new key, for comparison.
    let others = world.offering(50, Spread::RoundRobin, length / 4, |_| "/exact".into());
    let load = world.offering(scan, Spread::RoundRobin, length / 4, |_| "/free".into());
    let (_, before) = (load.end().await, others.end().await);
    let p99 = |samples: &[Sample]| percentile(samples.iter().map(|sample| sample.took), 0.99);
    let memory = world.store.figure("memory", "used_memory").await;
    let resident: u64 = world.resident();
    let others = world.offering(50, Spread::RoundRobin, length, |_| "/exact".into());
    let scanning = world.offering(scan, Spread::RoundRobin, length, |n| format!("/client?c=random-{n}"));
    let (scanned, others) = (scanning.end().await, others.end().await);
    let grown = world.store.figure("memory", "used_memory").await - memory;
    let answered = |samples: &[Sample]| samples.iter().filter(|sample| sample.status == 200).count();
    eprintln!(
        "{} keys: nodes grew by {} KiB in all, Redis by {:.0} KiB; of {} other requests {} were served, p99 {:?} (under the same load without new keys {:?})",
        scanned.len(),
        (world.resident().saturating_sub(resident)) / 1024,
        grown / 1024.0,
        others.len(),
        answered(&others),
        p99(&others),
        p99(&before),
    );
    assert!(answered(&others) > 0);
    assert!(
        answered(&others) == others.len() || !in_full(),
        "the others are far from their limit"
    );
    assert!(scanned.iter().all(|sample| [200, 429].contains(&sample.status)));
}

// === impl Limited ===

impl Limited {
    async fn start(limit: u32) -> Self {
        let world = World::new();
        let store = Store::start(&world).await;
        let service = Backend::timed(world.service()).await;
        let cluster = Cluster::sharing(&world, store.address()).await;
        let document = format!(
            "\
upstreams: {{ service: {{ targets: ['{}'] }} }}
gateways:
  shop:
    hosts: ['*']
    routes:
      - {{ path: /exact, upstream: service, rate_limits: [{{ name: all, limit: {limit}, per: 1s, key: \"'all'\", mode: exact }}] }}
      - {{ path: /fast, upstream: service, rate_limits: [{{ name: all, limit: {limit}, per: 1s, key: \"'all'\", mode: fast }}] }}
      - {{ path: /free, upstream: service }}
      - {{ path: /client, upstream: service, rate_limits: [{{ name: each, limit: 60, per: 1m, key: \"request.query['c']\" }}] }}
",
            service.url()
        );
        cluster.apply(&document).await;
        Self {
            cluster,
            service,
            store,
            _world: world,
        }
    }

    fn nodes(&self) -> Vec<SocketAddr> {
        self.cluster.nodes().iter().map(cluster_tests::Node::http).collect()
    }

    fn offering(
        &self,
        per_second: u32,
        spread: Spread,
        length: Duration,
        path: impl Fn(u64) -> String + Send + Sync + 'static,
    ) -> cluster_tests::offered::Offering {
        Offered::at(per_second, self.nodes())
            .spread(spread)
            .path(path)
            .start(length)
    }

    async fn offer(&self, per_second: u32, spread: Spread, length: Duration, path: &str) -> Outcome {
        let path = path.to_owned();
        let before = self.service.journal().arrivals().len();
        let samples = self
            .offering(per_second, spread, length, move |_| path.clone())
            .end()
            .await;
        self.outcome(samples, before, length)
    }

    async fn offer_paths(
        &self,
        per_second: u32,
        length: Duration,
        path: impl Fn(u64) -> String + Send + Sync + 'static,
    ) -> Outcome {
        let before = self.service.journal().arrivals().len();
        let samples = self.offering(per_second, Spread::RoundRobin, length, path).end().await;
        self.outcome(samples, before, length)
    }

    fn outcome(&self, samples: Vec<Sample>, before: usize, length: Duration) -> Outcome {
        let arrivals = self.service.journal().arrivals().split_off(before);
        let first = arrivals.first().map(|arrival| arrival.at);
        let since = |arrival: &Arrival| first.map(|first| arrival.at.saturating_duration_since(first));
        Outcome {
            samples,
            arrivals: arrivals.iter().filter_map(since).collect(),
            length,
        }
    }

    /// Bytes that the nodes hold in memory together.
    fn resident(&self) -> u64 {
        self.cluster
            .nodes()
            .iter()
            .filter_map(|node| {
                let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).ok()?;
                let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            })
            .sum::<u64>()
            * 1024
    }
}

// === impl Outcome ===

impl Outcome {
    fn longest_way(&self) -> Duration {
        let admitted = self.samples.iter().filter(|sample| sample.status == 200);
        admitted.map(|sample| sample.took).max().unwrap_or_default()
    }

    fn expect_only(&self, statuses: &[u16]) {
        let odd: Vec<&Sample> = self
            .samples
            .iter()
            .filter(|sample| !statuses.contains(&sample.status))
            .take(5)
            .collect();
        assert!(odd.is_empty(), "{odd:#?}");
    }

    fn first(&self, service: &Backend) -> std::time::Instant {
        service.journal().arrivals().first().expect("some were admitted").at
    }
}

/// Numbers below a bound, the smaller ones more often (Zipf's law), the same for the same turn.
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn new(keys: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=keys)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        Self { sums }
    }

    fn of(&self, turn: u64) -> usize {
        // A low-discrepancy sequence: the golden ratio's multiples.
        let chance = (turn as f64 * 0.618_033_988_749_895).fract();
        let at = chance * self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum < at)
    }
}
