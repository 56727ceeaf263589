//! Changes in a row, under load: none costs a request, each is live everywhere at once, a bad one blocks nothing.

use cluster_tests::admin::{Written, version_of};
use cluster_tests::document::{HOST, answering, many_routes, marking, one_mark, with_routes};
use cluster_tests::wire::Wire;
use cluster_tests::{Admin, Backend, Call, Cluster, Load, World, eventually, rounds};
use fastrand::Rng;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[tokio::test]
async fn changes_in_a_row_under_load_cost_no_request_and_mix_no_versions() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = Cluster::of(3).flags(&["--edge-h2c"]).start(&world).await;
    cluster.apply(&marking(&echo.url(), 0)).await;
    let at = || cluster.nodes().iter().map(|node| node.http());
    let kept = Load::on(at()).host(HOST).connections(6).verdict(one_mark).start();
    let fresh = Load::on(at())
        .host(HOST)
        .connections(3)
        .fresh_after(5)
        .verdict(one_mark)
        .start();
    // Streams share a connection over the changes.
    let streams = Load::on(at())
        .host(HOST)
        .connections(3)
        .http2(4)
        .verdict(one_mark)
        .start();
    let count = rounds(150, 1_000);
    for number in 1..=count {
        let written = cluster
            .admin(number % 3 + 1)
            .apply_when_possible(&marking(&echo.url(), number))
            .await;
        assert_eq!(written.version, number as u64 + 1);
    }
    cluster.live(count as u64 + 1).await;
    let (kept, fresh) = (kept.stop().await, fresh.stop().await);
    kept.expect_flawless();
    fresh.expect_flawless();
    streams.stop().await.expect_flawless();
    assert!(
        kept.versions.len() > count / 10,
        "the load saw {} of {count} versions",
        kept.versions.len()
    );
    for node in cluster.nodes() {
        assert!(node.admin().metric("sluice_snapshots_live", &[]).await <= 4.0);
    }
}

#[tokio::test]
async fn no_request_falls_between_two_versions_that_replace_everything() {
    let world = World::new();
    let cluster = Cluster::of(3).flags(&["--edge-h2c"]).start(&world).await;
    let mut random = Rng::with_seed(11);
    // The route that is asked for stands in all versions; order and names of the 200 others change.
    let document = |random: &mut Rng, round: usize| {
        let mut routes: Vec<String> = (0..200)
            .map(|n| {
                format!(
                    "{{ id: r{n}-{}, path: '/other/{n}/{{x}}', respond: {{ text: x }} }}",
                    round / 50
                )
            })
            .collect();
        routes.push("{ id: r1, path: /r1, respond: { text: always } }".into());
        random.shuffle(&mut routes);
        with_routes(&[], &routes)
    };
    cluster.apply(&document(&mut random, 0)).await;
    let at = cluster.nodes().iter().map(|node| node.http());
    let load = Load::on(at).connections(6).paths(["/r1"]);
    let streams = load.clone().connections(3).http2(4).start();
    let load = load.start();
    for round in 1..=rounds(40, 100) {
        cluster
            .admin(round % 3 + 1)
            .apply_when_possible(&document(&mut random, round))
            .await;
    }
    load.stop().await.expect_flawless();
    streams.stop().await.expect_flawless();
}

/// When a node was first seen to serve by each version.
async fn first_seen(at: SocketAddr, stop: Arc<AtomicBool>) -> Vec<(u64, Instant)> {
    let mut seen: Vec<(u64, Instant)> = Vec::new();
    let mut wire = Wire::connect(at).await.expect("the node listens");
    while !stop.load(Ordering::Relaxed) {
        wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .expect("the connection is kept");
        let head = wire.head().await.expect("an answer").expect("an answer");
        wire.body(&head).await.expect("a body");
        if head.field("connection") == Some("close") {
            wire = Wire::connect(at).await.expect("the node listens");
        }
        let version = head
            .field("sluice-version")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        if seen.last().is_none_or(|(last, _)| *last < version) {
            seen.push((version, Instant::now()));
        }
    }
    seen
}

/// How long after its acknowledgement each change was live on the last node, sorted.
async fn times_to_live(cluster: &Cluster, changes: Vec<(String, String)>) -> Vec<Duration> {
    let stop = Arc::new(AtomicBool::new(false));
    let watchers: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| tokio::spawn(first_seen(node.http(), stop.clone())))
        .collect();
    let mut acknowledged = Vec::new();
    for (part, text) in changes {
        let answer = cluster
            .admin(1)
            .put_part(&part, &text, "")
            .await
            .expect("an answer")
            .expect(200);
        acknowledged.push((Written::of(&answer).version, Instant::now()));
    }
    cluster.live(acknowledged.last().expect("there were changes").0).await;
    stop.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    for watcher in watchers {
        seen.push(watcher.await.expect("a watcher does not panic"));
    }
    let mut times: Vec<Duration> = acknowledged
        .iter()
        .map(|(version, at)| {
            let last = seen
                .iter()
                .map(|node| node.iter().find(|(v, _)| v >= version).expect("it went live").1)
                .max();
            last.expect("there are nodes").saturating_duration_since(*at)
        })
        .collect();
    times.sort();
    times
}

fn told(what: &str, times: &[Duration]) {
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let [half, most, last] = [at(50), at(99), at(100)];
    eprintln!("{what}: live on all nodes after the acknowledgement: p50 {half:?}, p99 {most:?}, longest {last:?}");
}

#[tokio::test]
async fn each_change_goes_live_on_every_node_and_one_route_of_ten_thousand_costs_little_log() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    cluster.apply(&answering("0")).await;
    let count = rounds(30, 300);
    let small = (1..=count)
        .map(|n| (String::new(), answering(&n.to_string())))
        .collect();
    told("a small document", &times_to_live(&cluster, small).await);

    let (document, _) = many_routes(10_000, 5);
    cluster
        .apply(&format!(
            "{document}      - {{ id: root, path: /, respond: {{ text: root }} }}\n"
        ))
        .await;
    let part = "/gateways/web/routes/changing";
    let change = |n: usize| {
        (
            part.to_owned(),
            format!("{{ path: /changing, respond: {{ text: '{n}' }} }}"),
        )
    };
    // The first changes after a large one take the room that the storage keeps for its own work.
    let count = rounds(20, 300);
    let warm = (0..5).map(|n| change(10_000 + n)).collect();
    times_to_live(&cluster, warm).await;
    let before = log_bytes(cluster.node(1).data());
    let large = (1..=count).map(change).collect();
    told("one route of 10,000", &times_to_live(&cluster, large).await);
    let grown = log_bytes(cluster.node(1).data()).saturating_sub(before);
    let each = grown / count as u64;
    eprintln!("one route of 10,000: the data directory grew by {each} bytes a change");
    assert!(each < 4096, "{grown} bytes for {count} changes");
}

/// All that lies in a data directory.
fn log_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("the data directory");
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => log_bytes(&entry.path()),
        // What is allotted, not what a sparse file seems to be.
        Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

#[tokio::test]
async fn a_strange_change_is_taken_or_refused_and_never_blocks_the_next_good_one() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = Cluster::three(&world).await;
    cluster.apply(&answering("first")).await;
    let mut random = Rng::with_seed(29);
    let mut taken = 0;
    for round in 0..rounds(60, 300) {
        let strange = strange_document(&mut random, &echo);
        let answer = cluster
            .admin(round % 3 + 1)
            .put(&strange, "?wait=all")
            .await
            .expect("an answer");
        match answer.status.as_u16() {
            200 => {
                taken += 1;
                // Whatever it means, a request gets a defined answer.
                let answer = Call::get(cluster.node(1).http(), "/strange/1").answer().await;
                assert!(answer.status.as_u16() < 600);
            }
            422 => {}
            other => panic!("{other}: {}\n{strange}", answer.text()),
        }
        let text = format!("good {round}");
        let written = cluster.admin(1).apply(&answering(&text)).await;
        assert_eq!(written.live.len(), 3, "after\n{strange}");
        for node in cluster.nodes() {
            assert_eq!(Call::get(node.http(), "/").answer().await.text(), text);
        }
    }
    assert!(
        taken > 0,
        "not one strange document was taken: the generator is too strange"
    );
    for node in cluster.nodes() {
        assert_eq!(node.admin().metric("sluice_panics_total", &[]).await, 0.0);
    }
}

/// A document of valid types and strange values.
fn strange_document(random: &mut Rng, echo: &Backend) -> String {
    let alternatives: Vec<String> = (0..10_000).map(|n| format!("a{n}")).collect();
    let regexes = [
        "'regex:'".to_owned(),
        "'regex:^(a+)+$'".to_owned(),
        "'regex:^/((((a*)*)*)*)*$'".to_owned(),
        format!("'regex:^/({})$'", alternatives.join("|")),
        "'regex:^/a{1000}{1000}'".to_owned(),
        "'regex:^/\\w{500}$'".to_owned(),
    ];
    let paths = [
        "/",
        "'/**'",
        "'/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}'",
        "'/strange/{id}'",
        "'//'",
        "'/%2F'",
    ];
    let path = match random.bool() {
        true => regexes[random.usize(..regexes.len())].clone(),
        false => paths[random.usize(..paths.len())].to_owned(),
    };
    let weight = ["0", "1", "65535"][random.usize(..3)];
    let pool = [
        "{ max_idle: 0 }",
        "{ idle: 1ms }",
        "{ max_age: 1ms }",
        "{ max_idle: 1000000 }",
    ][random.usize(..4)];
    let timeout = [
        "{ connect: 1ms }",
        "{ first_byte: 1ms }",
        "{ total: 1ms }",
        "{ idle: 30d }",
    ][random.usize(..4)];
    let failing = [
        "",
        ", retry: { attempts: 1000 }",
        ", retry: { attempts: 10, budget: 100%, on: [connect, 503], backoff: 1ms..3650d }",
        ", health: { active: { path: /healthz, every: 100ms }, passive: { errors: 1, eject_for: 3650d, max_ejected: 100%, panic: 0% } }",
        ", breaker: { consecutive: 1, observers: 1000000, min_requests: 1, window: 100ms, open_for: 1ms, fallback: { upstream: a } }",
        ", breaker: { failure_rate: 0.0001%, probes: 1000000, open_for: 3650d, fallback: { status: 204 } }",
    ][random.usize(..6)];
    let priority = ["0", "-2147483648", "2147483647"][random.usize(..3)];
    let max_body = ["none", "1KiB", "1MiB", "0"][random.usize(..4)];
    let condition = [
        "",
        ", match: { headers: { x: { regex: '' } } }",
        ", match: { query: { q: { present: false } } }",
    ][random.usize(..3)];
    let action = [
        "upstream: a",
        "split: { to: [{ upstream: a, weight: 1, when: '1 / (size(request.path) - size(request.path)) == 1' }] }",
        "split: { to: [{ upstream: a, weight: 65535, when: \"request.path.matches('^(a*)*$') || int(request.id) > 0\" }] }",
        "split: { to: [{ upstream: a, when: '!!!!!!!!!!!!!!!!!!!!!!!!!!true' }] }",
    ][random.usize(..4)];
    let limits = [
        "",
        ", rate_limits: [{ name: l, limit: 0, per: 1m }]",
        ", rate_limits: [{ name: l, limit: 1, per: 0s }]",
        ", rate_limits: [{ name: l, limit: 9007199254740992, per: month, zone: '-14:00', key: \"request.headers['x'] + client.ip\" }]",
        ", rate_limits: [{ name: l, limit: 1, per: 10ms, burst: 1000000000, delay: 30s }, { name: m, limit: 1, per: 31d, dry_run: true }]",
        ", concurrency: [{ name: l, limit: 1000000000, key: \"''\" }]",
    ][random.usize(..6)];
    let hosts = ["['*']", "['*.example.com']", "[]", "['xn--bcher-kva.example']"][random.usize(..4)];
    format!(
        "upstreams:\n  a: {{ targets: [{{ url: '{}', weight: {weight} }}], pool: {pool}, timeout: {timeout}{failing} }}\n\
         gateways:\n  web:\n    hosts: {hosts}\n    routes:\n      - {{ path: {path}, {action}, priority: {priority}, max_body: {max_body}{condition}{limits} }}\n",
        echo.url()
    )
}

#[tokio::test]
async fn round_robin_goes_on_over_changes_that_do_not_touch_it() {
    let world = World::new();
    let mut targets = Vec::new();
    for n in 0..4 {
        targets.push(Backend::fixed(world.service(), &n.to_string()).await);
    }
    let cluster = Cluster::one(&world).await;
    for weights in [[1, 1, 1, 1], [5, 1, 1, 1]] {
        let list: Vec<String> = targets
            .iter()
            .zip(weights)
            .map(|(target, weight)| format!("{{ url: '{}', weight: {weight} }}", target.url()))
            .collect();
        let document = |round: usize| {
            let routes = format!(
                "gateways:\n  web:\n    hosts: ['*']\n    routes:\n      - {{ path: /, upstream: a }}\n      - {{ path: /other, respond: {{ text: '{round}' }} }}\n"
            );
            format!(
                "upstreams:\n  a: {{ balance: round_robin, targets: [{}] }}\n{routes}",
                list.join(", ")
            )
        };
        cluster.apply(&document(0)).await;
        let before: Vec<usize> = targets.iter().map(|target| target.journal().count()).collect();
        let count = 160;
        for round in 1..=count {
            cluster.apply(&document(round)).await;
            Call::get(cluster.node(1).http(), "/").answer().await.expect(200);
        }
        let sum: usize = weights.iter().sum();
        for ((target, weight), before) in targets.iter().zip(weights).zip(before) {
            let share = (target.journal().count() - before) as f64 / count as f64;
            let right = weight as f64 / sum as f64;
            assert!(
                (share - right).abs() < 0.05,
                "weights {weights:?}: {share} instead of {right}"
            );
        }
    }
}

#[tokio::test]
async fn a_bad_part_is_refused_whole_and_takes_nothing_away() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let good = "upstreams:\n  a: { targets: ['http://127.0.0.1:1'] }\ngateways:\n  web:\n    hosts: ['*']\n    routes:\n      - { id: one, path: /one, respond: { text: one } }\n";
    let written = cluster.apply(good).await;
    for (what, from, to) in [
        ("bad indentation", "    hosts:", "   hosts:"),
        ("a tab", "    hosts:", "\thosts:"),
        (
            "a duplicate key",
            "    hosts: ['*']\n",
            "    hosts: ['*']\n    hosts: ['*']\n",
        ),
        ("an unknown field", "respond:", "respnd:"),
        ("an unknown upstream", "respond: { text: one }", "upstream: b"),
        ("a bad regex", "path: /one", "path: 'regex:('"),
        ("a bad template", "text: one", "text: '${params.none}'"),
        (
            "a bad condition",
            "respond: { text: one }",
            "split: { to: [{ upstream: a, weight: 1, when: 'request.nothing' }] }",
        ),
        ("a bad duration", "targets:", "timeout: { connect: 5 }, targets:"),
        ("a port that is none", "127.0.0.1:1'", "127.0.0.1:70000'"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{what}");
        let refused = cluster.admin(2).put(&bad, "").await.expect("an answer").expect(422);
        assert_eq!(refused.code(), "invalid_config");
        let problem = refused.json();
        let errors = problem["errors"].as_array().expect("errors");
        assert!(!errors.is_empty(), "{what}");
        for error in errors {
            assert!(
                error["line"].is_u64() && error["message"].is_string(),
                "{what}: {error}"
            );
        }
    }
    let bad_part = cluster
        .admin(3)
        .put_part("/gateways/web/routes/one", "{ path: 1, respond: 5 }", "")
        .await;
    let refused = bad_part.expect("an answer").expect(422);
    assert!(
        refused.json()["errors"]
            .as_array()
            .is_some_and(|errors| errors.len() >= 2),
        "{}",
        refused.text()
    );

    for n in 1..=3 {
        let answer = cluster.admin(n).get("/v1/config").await.expect("an answer");
        assert_eq!(version_of(&answer), written.version);
    }
    for node in cluster.nodes_mut() {
        node.kill();
    }
    cluster.start_all().await;
    for node in cluster.nodes() {
        assert_eq!(Call::get(node.http(), "/one").answer().await.expect(200).text(), "one");
    }
}

#[tokio::test]
async fn two_things_with_one_name_are_an_error_with_both_places() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    let admin: Admin = cluster.admin(1);
    let upstream = "a: { targets: ['http://127.0.0.1:1'] }";
    let gateway = "{ hosts: [h.example], routes: [{ id: r, path: /x, respond: { text: x } }] }";
    for (what, document) in [
        ("upstream", format!("upstreams:\n  {upstream}\n  {upstream}\n")),
        ("gateway", format!("gateways:\n  web: {gateway}\n  web: {gateway}\n")),
        (
            "route",
            "gateways:\n  web:\n    hosts: ['*']\n    routes:\n      - { id: r, path: /x, respond: { text: x } }\n      - { id: r, path: /y, respond: { text: y } }\n".to_owned(),
        ),
        ("host", format!("gateways:\n  web: {gateway}\n  mobile: {gateway}\n")),
        ("host in another case", format!("gateways:\n  web: {gateway}\n  mobile: {}\n", gateway.replace("h.ex", "H.eX"))),
        (
            "path and method",
            "gateways:\n  web:\n    hosts: ['*']\n    routes:\n      - { id: r, path: '/x/{a}', respond: { text: x } }\n      - { id: s, path: '/x/{b}', respond: { text: y } }\n".to_owned(),
        ),
    ] {
        let refused = admin.put(&document, "").await.expect("an answer").expect(422);
        assert_eq!(refused.code(), "invalid_config", "{what}");
        let text = refused.text();
        let lines = text.matches("\"line\":").count();
        assert!(lines >= 1, "{what}: {text}");
        // The message or a second diagnostic leads to the other place too.
        assert!(lines >= 2 || text.contains("line ") || text.contains("first"), "{what}: {text}");
    }
    assert_eq!(admin.version().await, 0);
    eventually("the node to live on", || async {
        admin.readyz().await.map_err(|error| error.to_string())
    })
    .await;
}
