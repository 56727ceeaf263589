//! What a node does before it knows for whom a request is: too many, too slow, and behind a balancer that passes bytes on.

use cluster_tests::document::{answering, with_routes};
use cluster_tests::process::{Process, Start};
use cluster_tests::wire::Wire;
use cluster_tests::{Call, Cluster, Node, World, eventually, program};
use std::net::SocketAddr;
use std::path::Path;

/// A request but for its last two bytes.
const HALF: &str = "GET / HTTP/1.1\r\nHost: h\r\n";

async fn half(to: SocketAddr) -> Wire {
    let mut wire = Wire::connect(to).await.expect("the node listens");
    wire.send(HALF).await.expect("it is taken");
    wire
}

async fn level(node: &Node) -> f64 {
    node.admin().metric("sluice_overload_level", &["descriptors"]).await
}

async fn level_is(node: &Node, wanted: f64) {
    eventually(&format!("the level to be {wanted}"), || async {
        match level(node).await {
            found if found == wanted => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
}

/// Of 600 descriptors 64 are kept back: at 510 requests are shed, at 526 connections are closed.
#[tokio::test]
async fn where_descriptors_run_short_requests_are_shed_then_connections_closed_and_all_is_well_again_afterwards() {
    let world = World::new();
    let plan = Cluster::of(1).open_files(600).flags(&["--edge-header-timeout", "5m"]);
    let cluster = plan.start(&world).await;
    cluster.apply(&answering("on")).await;
    let (node, at) = (cluster.node(1), cluster.node(1).http());
    let open = || async { node.admin().metric("process_open_fds", &[]).await };
    let mut early = half(at).await;
    let mut halves = Vec::new();
    while open().await < 513.0 {
        halves.push(half(at).await);
    }
    level_is(node, 1.0).await;
    // A connection that is there already, and a new one.
    early.send("\r\n").await.expect("it is taken");
    let head = early.head().await.expect("an answer").expect("an answer");
    assert_eq!(
        (head.status(), head.field("retry-after"), head.field("connection")),
        (503, Some("1"), Some("close"))
    );
    let refused = Call::get(at, "/").answer().await.expect(503);
    assert_eq!(refused.code(), "overloaded");
    assert_eq!(refused.json()["retry_after"], 1);
    // Further on, connections are closed, and whoever operates the node is served.
    let closed = || async {
        node.admin()
            .metric("sluice_connections_refused_total", &["overload"])
            .await
    };
    while closed().await == 0.0 {
        if let Ok(mut wire) = Wire::connect(at).await {
            let _ = wire.send(HALF).await;
            halves.push(wire);
        }
    }
    node.admin().readyz().await.expect("an answer").expect(200);
    assert!(open().await < 600.0);
    cluster.apply(&answering("still")).await;
    drop(halves);
    level_is(node, 0.0).await;
    assert_eq!(Call::get(at, "/").answer().await.expect(200).text(), "still");
    assert!(node.log().contains("new requests are answered 503"), "{}", node.log());
}

/// The numbers of a process's descriptors.
fn descriptors(node: &Node) -> Vec<u32> {
    let folder = format!("/proc/{}/fd", node.id());
    let entries = std::fs::read_dir(folder).expect("the process is ours");
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

async fn limit(node: &Node, most: u32) {
    let set = std::process::Command::new(program::neighbour("prlimit"))
        .args(["--pid", &node.id().to_string(), &format!("--nofile={most}:")])
        .status();
    assert!(set.expect("prlimit runs").success());
}

#[tokio::test]
async fn a_node_without_a_descriptor_closes_what_waits_and_accepts_again_once_it_has_some() {
    let world = World::new();
    let cluster = Cluster::of(1)
        .flags(&["--edge-header-timeout", "5m"])
        .start(&world)
        .await;
    cluster.apply(&answering("on")).await;
    let (node, at) = (cluster.node(1), cluster.node(1).http());
    let before: u32 = 4096;
    limit(node, before).await;
    // Until no number is free below the last.
    let mut halves = Vec::new();
    let used = eventually("the descriptors to be without a gap", || async {
        let numbers = descriptors(node);
        match numbers.last() {
            Some(last) if numbers.len() as u32 == last + 1 => Ok(last + 1),
            _ => Err(format!("{numbers:?}")),
        }
    });
    tokio::pin!(used);
    let used = loop {
        tokio::select! {
            used = &mut used => break used,
            wire = half(at) => halves.push(wire),
        }
    };
    // Half heads that came since took numbers beyond.
    let used = used.max(descriptors(node).len() as u32);
    limit(node, used).await;
    // One that the node closes itself meanwhile is given to a client, who keeps it.
    let (mut closed, mut served) = (0, Vec::new());
    while closed < 20 {
        let mut wire = Wire::connect(at).await.expect("the kernel takes it");
        let _ = wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        match wire.head().await {
            Ok(Some(_)) => served.push(wire),
            _ => closed += 1,
        }
        assert!(served.len() < 50, "there are descriptors");
    }
    limit(node, before).await;
    // What waited when there was none yet may still be closed.
    let answer = eventually("it to accept again", || Call::get(at, "/").send()).await;
    assert_eq!(answer.expect(200).text(), "on");
    let closed = node
        .admin()
        .metric("sluice_connections_refused_total", &["descriptors"])
        .await;
    assert!(closed >= 20.0, "{closed}");
    assert!(node.log().contains("no descriptor is left for connections"));
}

#[tokio::test]
async fn half_heads_by_the_thousand_hurt_nobody_else() {
    let world = World::new();
    let count = cluster_tests::rounds(600, 5_000);
    let plan = Cluster::of(1).flags(&["--edge-header-timeout", "3s"]);
    let cluster = plan.start(&world).await;
    cluster.apply(&answering("on")).await;
    let (node, at) = (cluster.node(1), cluster.node(1).http());
    let memory = || async { node.admin().metric("process_resident_memory_bytes", &[]).await / 1e6 };
    let before = memory().await;
    let mut halves = Vec::new();
    for _ in 0..count {
        halves.push(half(at).await);
        if halves.len() % 100 == 0 {
            assert_eq!(Call::get(at, "/").answer().await.expect(200).text(), "on");
        }
    }
    eprintln!(
        "{count} half heads: {before:.0} MB resident before, {:.0} MB with them",
        memory().await
    );
    for mut wire in halves {
        let (answer, _) = wire.rest_or_reset().await;
        assert!(
            answer.starts_with(b"HTTP/1.1 408"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(
        node.admin()
            .metric("sluice_requests_rejected_total", &["client_timeout"])
            .await,
        count as f64
    );
}

/// HAProxy that passes bytes on, at port 8001 with version 1 of the protocol and at 8002 with version 2.
fn passing_on(world: &World, node: SocketAddr) -> (Process, SocketAddr, SocketAddr) {
    let (one, two) = (world.block().at(210, 8001), world.block().at(210, 8002));
    let source = world.block().host(210);
    let config = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         listen one\n  bind {one}\n  server n {node} send-proxy source {source}\n\
         listen two\n  bind {two}\n  server n {node} send-proxy-v2 proxy-v2-options crc32c source {source}\n"
    );
    let file = world.file("passing-on.cfg", config);
    let haproxy = Start::new("haproxy", program::neighbour("haproxy"), world.path("passing-on.log"))
        .args(["-db", "-f"])
        .args([AsRef::<Path>::as_ref(&file)])
        .start()
        .expect("haproxy starts");
    (haproxy, one, two)
}

#[tokio::test]
async fn haproxy_tells_whose_a_connection_is_in_both_versions_and_before_any_protocol() {
    let world = World::new();
    let echo = world.echo("a").await;
    let balancer = world.block().host(210).to_string();
    let cluster = Cluster::of(1)
        .flags(&["--edge-proxy-protocol", &balancer, "--edge-h2c"])
        .start(&world)
        .await;
    let routes = [
        "{ path: /who, respond: { text: '${client.ip}' } }",
        "{ path: /**, upstream: a }",
    ];
    let document = with_routes(&[("a", &echo.url())], &routes);
    cluster
        .apply(&format!("{document}telemetry: {{ access_log: {{ on: all }} }}\n"))
        .await;
    let at = cluster.node(1).http();
    let (_haproxy, one, two) = passing_on(&world, at);
    let client = world.block().host(77);
    for front in [one, two] {
        let who = || Call::get(front, "/who").from(client.into());
        let said = eventually("haproxy to be there", || async { who().send().await }).await;
        assert_eq!(said.text(), client.to_string());
        let path = format!("/seen/{}", front.port());
        let seen = Call::get(front, &path)
            .from(client.into())
            .answer()
            .await
            .expect(200)
            .json();
        let told = serde_json::json!(["x-forwarded-for", client.to_string()]);
        assert!(
            seen["headers"].as_array().is_some_and(|all| all.contains(&told)),
            "{seen}"
        );
        cluster.node(1).says(&format!("\"url.path\":\"{path}\"")).await;
        let log = cluster.node(1).log();
        let line = log.lines().find(|line| line.contains(&path)).expect("it was said");
        assert!(
            line.contains(&format!("\"network.peer.address\":\"{balancer}\"")),
            "{line}"
        );
        assert!(line.contains(&format!("\"client.address\":\"{client}\"")), "{line}");
        // A preface, and settings without any: the answer begins with settings.
        let mut wire = Wire::connect_from(front, client.into()).await.expect("haproxy listens");
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .expect("it is taken");
        let frame = wire.take(9).await.expect("a frame");
        assert_eq!((frame[3], &frame[5..9]), (4, &[0, 0, 0, 0][..]));
    }
    // Everybody else is who connects, and is not read for a header.
    let other = Call::get(at, "/who").from(client.into()).answer().await.expect(200);
    assert_eq!(other.text(), client.to_string());
    let mut liar = Wire::connect_from(at, client.into()).await.expect("the node listens");
    liar.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /who HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .expect("it is taken");
    let head = liar.head().await.expect("an answer").expect("an answer");
    assert_eq!(head.status(), 400);
    // And the balancer has to.
    let mut silent = Wire::connect_from(at, world.block().host(210).into())
        .await
        .expect("the node listens");
    silent
        .send("GET /who HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .expect("it is taken");
    assert_eq!(silent.rest_or_reset().await.0, b"");
    let closed = cluster
        .admin(1)
        .metric("sluice_connections_refused_total", &["proxy"])
        .await;
    assert_eq!(closed, 1.0);
}
