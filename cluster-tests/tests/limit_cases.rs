//! Faults that other gateways shipped with their limits, each asked of three nodes and a real Redis.

use cluster_tests::clock::WallClock;
use cluster_tests::offered::{Offered, Sample, Spread};
use cluster_tests::store::Store;
use cluster_tests::{Backend, Call, Cluster, World, eventually, rounds};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A request waits this long for the store at most.
const PATIENCE: Duration = Duration::from_millis(20);

struct Stage {
    cluster: Cluster,
    service: Backend,
    store: Store,
    _world: World,
}

impl Stage {
    /// Three nodes that serve these routes of one gateway.
    async fn set(gateway: &str, routes: &str) -> Self {
        Self::with_a_clock(0, gateway, routes).await
    }

    /// The same, where the second node's wall clock is off by so many seconds.
    async fn with_a_clock(shift: i64, gateway: &str, routes: &str) -> Self {
        let world = World::new();
        let store = Store::start(&world).await;
        let service = Backend::timed(world.service()).await;
        let url = store.url();
        let mut cluster = Cluster::of(3).flags(&["--redis", &url]).make(&world).await;
        if shift != 0 {
            let clock = WallClock::new(&world);
            clock.shift_to(shift);
            clock.give_to(cluster.node_mut(2).settings_mut());
        }
        cluster.start_all().await;
        let stage = Self {
            cluster,
            service,
            store,
            _world: world,
        };
        stage.serve(gateway, routes).await;
        stage
    }

    async fn serve(&self, gateway: &str, routes: &str) {
        let document = format!(
            "upstreams: {{ service: {{ targets: ['{}'] }} }}\ngateways:\n  shop:\n    hosts: ['*']\n{gateway}    routes:\n{routes}",
            self.service.url()
        );
        self.cluster.apply(&document).await;
    }

    fn nodes(&self) -> Vec<SocketAddr> {
        self.cluster.nodes().iter().map(cluster_tests::Node::http).collect()
    }

    async fn ask(&self, n: usize, path: &str) -> (u16, String, Value) {
        let answer = Call::get(self.nodes()[n - 1], path).send().await.expect("an answer");
        let body = serde_json::from_slice(answer.text().as_bytes()).unwrap_or(Value::Null);
        (answer.status.as_u16(), answer.header("retry-after").to_owned(), body)
    }
}

/// Those that were refused after they had waited for the store as long as anybody does: by `on_failure`, not by the count.
/// On a busy machine there are some.
fn late(samples: &[Sample]) -> usize {
    let late = samples
        .iter()
        .filter(|sample| sample.status == 429 && sample.took >= PATIENCE);
    late.count()
}

fn of(samples: &[Sample], status: u16) -> usize {
    samples.iter().filter(|sample| sample.status == status).count()
}

/// By how much what `RateLimit` tells to remain grows within a second at most, in the order of asking.
fn growth(samples: &[Sample]) -> u64 {
    let told: Vec<(Duration, u64)> = samples
        .iter()
        .map(|sample| {
            let remaining = sample.told.rate_limit.split("r=").nth(1);
            let digits = remaining.and_then(|rest| rest.split(';').next()?.parse().ok());
            (sample.sent, digits.unwrap_or_else(|| panic!("{sample:?}")))
        })
        .collect();
    let growths = told.iter().enumerate().flat_map(|(i, (sent, remaining))| {
        let later = told[i..].iter();
        let soon = later.take_while(move |(at, _)| *at <= *sent + Duration::from_secs(1));
        soon.map(move |(_, then)| then.saturating_sub(*remaining))
    });
    growths.max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_one_bucket_whatever_their_clocks_say() {
    let stage = Stage::with_a_clock(
        5,
        "",
        "      - { path: '/c/{run}', upstream: service, rate_limits: [{ name: c, limit: 8, per: 1s, burst: 10, key: params.run }] }\n",
    )
    .await;
    for (run, spread) in [("turns", Spread::RoundRobin), ("one", Spread::One)] {
        let path = format!("/c/{run}");
        let began = Instant::now();
        let samples = Offered::at(60, stage.nodes())
            .spread(spread)
            .path(move |_| path.clone())
            .start(Duration::from_secs(1))
            .end()
            .await;
        // Ten at once and eight for each second that it took in truth.
        let most = 10 + (began.elapsed().as_secs_f64() * 8.0).ceil() as usize;
        let admitted = of(&samples, 200);
        eprintln!("{run}: {admitted} of 60 admitted");
        assert!((10..=most).contains(&admitted), "{run}: {admitted} of at most {most}");
        assert_eq!(admitted + of(&samples, 429), 60);
        let grown = growth(&samples);
        eprintln!("{run}: what is told to remain grows by {grown} within a second at most");
        // By the refill, eight a second, and by what is cut off from a fraction.
        assert!(grown <= 9, "{run}: {grown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_costs_nothing() {
    let stage = Stage::set(
        "",
        "      - { path: /window, upstream: service, rate_limits: [{ name: window, limit: 5, per: 1s, key: \"'all'\" }] }
      - { path: /bucket, upstream: service, rate_limits: [{ name: bucket, limit: 5, per: 1s, burst: 5, key: \"'all'\" }] }
      - { path: /fixed, upstream: service, rate_limits: [{ name: fixed, limit: 5, per: 1s, algorithm: fixed_window, key: \"'all'\" }] }
",
    )
    .await;
    let length = Duration::from_secs(rounds(6, 20) as u64);
    for path in ["/window", "/bucket", "/fixed"] {
        let steady = Offered::at(10, stage.nodes())
            .clients(6)
            .path(move |_| path.into())
            .start(length)
            .end()
            .await;
        let admitted = of(&steady, 200);
        let ideal = 5 * usize::try_from(length.as_secs()).expect("small");
        eprintln!("{path}: {admitted} of {ideal} admitted at twice the limit");
        assert!(
            (admitted + late(&steady)) * 100 >= ideal * 95,
            "{path}: {admitted} of {ideal}"
        );
    }
    let flood = Offered::at(500, stage.nodes())
        .path(|_| "/window".into())
        .start(Duration::from_secs(2))
        .end()
        .await;
    assert!(of(&flood, 429) > 0);
    cluster_tests::wait::pass(Duration::from_secs(1)).await;
    let after = Offered::at(4, stage.nodes())
        .clients(3)
        .path(|_| "/window".into())
        .start(Duration::from_secs(3))
        .end()
        .await;
    assert_eq!(of(&after, 200) + late(&after), after.len(), "{after:#?}");
}

/// One limit of each kind, each client with a count of its own: nobody else moves the moment that it is told.
async fn each_waits_as_told(mode: &str) {
    let routes = [
        ("window", "limit: 10, per: 3s"),
        ("bucket", "limit: 10, per: 20s, burst: 1"),
        ("fixed", "limit: 10, per: 3s, algorithm: fixed_window"),
    ];
    let declared = routes.map(|(name, numbers)| {
        format!("      - {{ path: '/{name}/{{turn}}', upstream: service, rate_limits: [{{ name: {name}, {numbers}, key: params.turn, mode: {mode} }}] }}\n")
    });
    let stage = Arc::new(Stage::set("", &declared.concat()).await);
    let mut clients = JoinSet::new();
    for turn in 0..rounds(6, 50) {
        for (name, _) in routes {
            let stage = Arc::clone(&stage);
            // Each other node may have let one through in the same instant, of which the one that refuses has not heard.
            let overdrawn = if mode == "fast" && name == "bucket" && is_spread(turn) {
                2
            } else {
                0
            };
            clients.spawn(async move { waits_as_told(&stage, &format!("/{name}/{turn}"), turn, overdrawn).await });
        }
    }
    let failed: Vec<String> = clients.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_long_as_told_is_admitted() {
    each_waits_as_told("exact").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_long_as_told_is_admitted_where_nobody_waits_for_the_store() {
    each_waits_as_told("fast").await;
}

/// Whether a client goes from node to node.
fn is_spread(turn: usize) -> bool {
    turn % 2 == 1
}

/// Spends all that there is, on one node or over all of them, and waits as long as told; once more for each token that may
/// have been `overdrawn` elsewhere.
async fn waits_as_told(stage: &Stage, path: &str, turn: usize, overdrawn: usize) -> Result<(), String> {
    let asked = AtomicUsize::new(0);
    let (node, mut told) = eventually("a refusal", || async {
        let node = match is_spread(turn) {
            false => 1 + turn / 2 % 3,
            true => 1 + asked.fetch_add(1, Ordering::Relaxed) % 3,
        };
        match stage.ask(node, path).await {
            (429, told, _) => Ok((node, told)),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for last in (0..=overdrawn).map(|turn| turn == overdrawn) {
        let seconds: u64 = told.parse().map_err(|_| format!("{path}: Retry-After {told:?}"))?;
        if !(1..=3).contains(&seconds) && overdrawn == 0 {
            return Err(format!("{path}: told to wait {seconds} s"));
        }
        cluster_tests::wait::pass(Duration::from_secs(seconds)).await;
        let asked = Instant::now();
        match stage.ask(node, path).await {
            (200, ..) => return Ok(()),
            (429, again, _) if !last => told = again,
            // The store did not answer in time.
            (429, ..) if asked.elapsed() >= PATIENCE => return Ok(()),
            (status, again, _) => return Err(format!("{path}: told to wait {seconds} s, then {status} and {again} s")),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_limits_counts_what_passes_all() {
    let stage = Stage::set(
        "    rate_limits: [{ name: wide, limit: 1000, per: 1m, key: \"'all'\" }]\n    concurrency: [{ name: many, limit: 50, key: \"'all'\" }]\n",
        "      - { path: /narrow, upstream: service, rate_limits: [{ name: narrow, limit: 20, per: 1m, key: \"'all'\" }], concurrency: [{ name: few, limit: 10, key: \"'all'\" }] }
      - { path: /other, upstream: service }
      - { path: /crowded, upstream: service, concurrency: [{ name: crowd, limit: 10, key: \"'all'\" }] }
",
    )
    .await;
    let samples = Offered::at(100, stage.nodes())
        .clients(8)
        .path(|_| "/narrow".into())
        .start(Duration::from_secs(2))
        .end()
        .await;
    let admitted = of(&samples, 200);
    assert!(admitted <= 20, "the route's limit is the narrower one: {admitted}");
    assert_eq!(of(&samples, 429), samples.len() - admitted);
    // Who waited for the store as long as anybody does, and was refused then, may have cost a token for which the answer
    // came too late.
    let late = late(&samples);
    assert!(admitted + late >= 20, "{admitted} admitted, {late} late");
    let (status, _, problem) = stage.ask(1, "/narrow").await;
    assert_eq!((status, &problem["policy"]), (429, &Value::from("narrow")), "{problem}");
    assert_eq!(stage.ask(2, "/other").await.0, 200, "another route is unharmed");
    // What the second refused did not burn a unit of the first: what it counts are those who passed both, and the other
    // route's one.
    let asked = Instant::now();
    eventually("the wide limit to count who passed, and no more", || async {
        let answer = stage.cluster.admin(1).get("/v1/limits/wide?key=all").await;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.json()["limits"][0]["used"].as_u64() {
            Some(used) if (admitted + 1..=admitted + 1 + late).contains(&(used as usize)) => Ok(()),
            _ => Err(format!("{admitted} admitted, {late} late: {}", answer.text())),
        }
    })
    .await;
    eprintln!(
        "{admitted} admitted, {late} late; the wide limit tells of all after {:?}",
        asked.elapsed()
    );
    // Eleven at once: the route has ten places, the gateway fifty.
    stage.service.journal().hang(true);
    let before = stage.service.journal().arrivals().len();
    let mut eleven: JoinSet<_> = (0..11)
        .map(|_| Call::get(stage.nodes()[0], "/crowded").send())
        .collect();
    eventually("ten to be under way", || async {
        match stage.service.journal().arrivals().len() - before {
            10 => Ok(()),
            n => Err(n),
        }
    })
    .await;
    let (status, _, problem) = stage.ask(1, "/crowded").await;
    assert_eq!((status, &problem["policy"]), (429, &Value::from("crowd")), "{problem}");
    assert_eq!(
        stage.ask(2, "/narrow").await.0,
        429,
        "by another limit: nothing is let in by two"
    );
    let first = eleven.join_next().await.expect("there are eleven").expect("no panic");
    assert_eq!(first.expect("an answer").status, 429);
    eleven.shutdown().await;
    stage.service.journal().hang(false);
    for name in ["many", "few", "crowd"] {
        eventually("nothing to be under way", || async {
            let answer = stage.cluster.admin(2).get(&format!("/v1/limits/{name}?key=all")).await;
            let answer = answer.map_err(|error| error.to_string())?;
            match answer.json()["limits"][0]["used"].as_u64() {
                Some(0) => Ok(()),
                _ => Err(answer.text()),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_a_dead_node_come_back() {
    let world = World::new();
    let store = Store::start(&world).await;
    let slow = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        while let Some(head) = wire.head().await? {
            journal.note(&head);
            // Held until the gateway goes away.
            if wire.more().await? == 0 {
                return Ok(());
            }
        }
        Ok(())
    })
    .await;
    let mut cluster = Cluster::sharing(&world, store.address()).await;
    cluster
        .apply(&format!(
            "upstreams: {{ slow: {{ targets: ['{}'], timeout: {{ total: 5s }} }} }}\ngateways: {{ shop: {{ hosts: ['*'], routes: [{{ path: /, upstream: slow, concurrency: [{{ name: few, limit: 4, key: \"'all'\" }}] }}] }} }}\n",
            slow.url()
        ))
        .await;
    let third = cluster.node(3).http();
    let held: Vec<_> = (0..4).map(|_| tokio::spawn(hold(third))).collect();
    eventually("four under way", || async {
        match slow.journal().count() {
            4 => Ok(()),
            n => Err(n.to_string()),
        }
    })
    .await;
    let first = cluster.node(1).http();
    let refused = Call::get(first, "/").send().await.expect("an answer");
    assert_eq!(refused.status.as_u16(), 429, "{}", refused.text());
    assert_eq!(refused.json()["code"], "too_many_in_flight");
    cluster.node_mut(3).kill();
    for call in held {
        assert!(call.await.expect("no panic").is_none());
    }
    let before = slow.journal().count();
    let killed = Instant::now();
    eventually("a place to come back", || async {
        // What is let in waits for its time-out and ends in a 504.
        let answer = Call::get(first, "/").send().await.map_err(|error| error.to_string())?;
        match (answer.status.as_u16(), slow.journal().count() > before) {
            (504, true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    eprintln!(
        "a place came back and its request timed out {:?} after the kill",
        killed.elapsed()
    );
    drop(store);
}

/// Asks until it is let in. Of a key that is new to a node the store is waited for no longer than 20 ms, and on a busy
/// machine that may be too short.
async fn hold(node: SocketAddr) -> Option<cluster_tests::call::Answer> {
    let mut again = cluster_tests::wait::beat(Duration::from_millis(50));
    loop {
        again.tick().await;
        match Call::get(node, "/").send().await {
            Ok(answer) if answer.status.as_u16() == 429 => {}
            other => return other.ok(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_behind_a_proxy_has_its_own_budget() {
    let stage = Stage::set(
        "    trusted_proxies: [127.0.0.0/8]\n    rate_limits: [{ name: each, limit: 20, per: 1s }]\n",
        "      - { path: /, upstream: service }\n",
    )
    .await;
    let greedy = Offered::at(200, stage.nodes())
        .field("x-forwarded-for", "203.0.113.9")
        .start(Duration::from_secs(4));
    for spelling in [
        "198.51.100.7",
        "198.51.100.7:51234",
        " 198.51.100.7 ",
        "::ffff:198.51.100.7",
    ] {
        let modest = Offered::at(5, stage.nodes())
            .clients(3)
            .field("x-forwarded-for", spelling)
            .start(Duration::from_millis(800))
            .end()
            .await;
        assert_eq!(
            of(&modest, 200) + late(&modest),
            modest.len(),
            "{spelling}: {modest:#?}"
        );
    }
    let greedy = greedy.end().await;
    assert!(of(&greedy, 429) > of(&greedy, 200), "the greedy one is held back");
    // Spelt in turn, it is one client still.
    let spellings = Offered::at(100, stage.nodes())
        .field("x-forwarded-for", "[2001:DB8::1]:443")
        .start(Duration::from_secs(1));
    let same = Offered::at(100, stage.nodes())
        .field("x-forwarded-for", "2001:db8::1")
        .start(Duration::from_secs(1));
    let (a, b) = (spellings.end().await, same.end().await);
    let admitted = of(&a, 200) + of(&b, 200);
    assert!(admitted <= 45, "{admitted} of one client's 20 a second");
    assert!(stage.store.script_calls().await > 0);
}
