//! WebSockets and event streams: changes leave them alone, and a node that goes says so.

use cluster_tests::document::with_routes;
use cluster_tests::wire::{Head, Wire};
use cluster_tests::{Backend, Cluster, Node, World, eventually, rounds};
use std::io;
use std::net::SocketAddr;
use tokio::sync::watch;
use tokio::task::JoinSet;

const ASK: &str = "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// How many are opened at once.
const AT_ONCE: usize = 100;

/// Echoes what comes through a socket, and sends every beat to whoever asked for events.
async fn service(world: &World, beats: watch::Receiver<u64>) -> Backend {
    Backend::scripted(world.service(), move |mut wire, journal, _| {
        let mut beats = beats.clone();
        async move {
            let Some(head) = wire.head().await? else { return Ok(()) };
            journal.note(&head);
            if head.field("upgrade").is_some() {
                wire.send(SWITCH).await?;
                return wire.echo().await;
            }
            wire.send(EVENTS).await?;
            while beats.changed().await.is_ok() {
                let beat = *beats.borrow_and_update();
                wire.send(event(beat)).await?;
            }
            Ok(())
        }
    })
    .await
}

/// An event as one chunk.
fn event(beat: u64) -> String {
    let text = format!("data: {beat:06}\n\n");
    format!("{:X}\r\n{text}\r\n", text.len())
}

async fn socket(at: SocketAddr) -> io::Result<Wire> {
    let mut wire = Wire::connect(at).await?;
    wire.send(ASK).await?;
    expect(&wire.head().await?, 101)?;
    Ok(wire)
}

async fn events(at: SocketAddr) -> io::Result<Wire> {
    let mut wire = Wire::connect(at).await?;
    wire.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n").await?;
    expect(&wire.head().await?, 200)?;
    Ok(wire)
}

fn expect(head: &Option<Head>, status: u16) -> io::Result<()> {
    match head.as_ref().map(Head::status) {
        Some(found) if found == status => Ok(()),
        found => Err(io::Error::other(format!("{found:?} instead of {status}"))),
    }
}

async fn many<F: Future<Output = io::Result<Wire>> + Send + 'static>(count: usize, open: impl Fn() -> F) -> Vec<Wire> {
    let mut wires = Vec::with_capacity(count);
    while wires.len() < count {
        let mut opening = JoinSet::new();
        for _ in 0..AT_ONCE.min(count - wires.len()) {
            opening.spawn(open());
        }
        wires.extend(opening.join_all().await.into_iter().map(|wire| wire.expect("a stream")));
    }
    wires
}

/// Each socket says a word and hears it, each stream hears the next beat.
async fn all_live(sockets: &mut [Wire], streams: &mut [Wire], beats: &watch::Sender<u64>) {
    beats.send_modify(|beat| *beat += 1);
    let beat = *beats.borrow();
    let word = format!("word {beat:06}");
    for socket in sockets.iter_mut() {
        socket.send(&word).await.expect("the socket is open");
    }
    for socket in sockets {
        let heard = socket.take(word.len()).await.expect("the socket is open");
        assert_eq!(heard, word.as_bytes());
    }
    for stream in streams {
        let heard = stream.take(event(beat).len()).await.expect("the stream is open");
        assert_eq!(heard, event(beat).as_bytes());
    }
}

/// Resident memory of a node's process, in KiB.
fn resident(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).expect("the node runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok()).expect("a size in kB")
}

/// Waits until node 1 counts so many tunnels: each is one right after its 101 is out.
async fn counted(cluster: &Cluster, count: usize) {
    let admin = cluster.admin(1);
    eventually(&format!("{count} tunnels"), || async {
        match admin.metric("sluice_connections", &["state=\"tunnel\""]).await {
            found if found == count as f64 => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_sockets_and_event_streams_outlive_every_change() {
    let (count, changes) = (rounds(20, 1_000), rounds(100, 10_000));
    let world = World::new();
    let (beats, beat) = watch::channel(0);
    let service = service(&world, beat).await;
    let cluster = Cluster::one(&world).await;
    let url = service.url();
    let document = |change: usize| {
        let streams =
            format!("{{ id: streams, path: /**, upstream: a, priority: {change}, timeout: {{ idle: 10m }} }}");
        let other = format!("{{ id: other, path: /other, respond: {{ text: 'change {change}' }} }}");
        // Now and then what the streams came by is gone altogether.
        match change % 10 {
            9 => with_routes::<&str>(&[], &[&other]),
            _ => with_routes(&[("a", &url)], &[streams, other]),
        }
    };
    cluster.apply(&document(0)).await;
    let at = cluster.node(1).http();
    let mut sockets = many(count, || socket(at)).await;
    let mut streams = many(count, || events(at)).await;
    all_live(&mut sockets, &mut streams, &beats).await;

    let mut memory = Vec::new();
    for change in 1..=changes {
        cluster.apply(&document(change)).await;
        if change % (changes / 10) == 0 {
            all_live(&mut sockets, &mut streams, &beats).await;
            let live = cluster.admin(1).metric("sluice_snapshots_live", &[]).await;
            assert!(live <= 4.0, "{live} configurations are in memory");
            memory.push(resident(cluster.node(1)));
        }
    }
    eprintln!("{count} sockets, {count} event streams, {changes} changes; resident KiB at each tenth: {memory:?}");
    counted(&cluster, count).await;
    assert_eq!(service.journal().ended(), 0);
    // The history grows until its bound, in the first thousand changes.
    let (first, last) = (memory[memory.len() / 2], memory[memory.len() - 1]);
    assert!(last <= first + first / 4, "memory grows: {memory:?}");
    drop((sockets, streams));
    counted(&cluster, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_socket_costs_little_memory() {
    // Two descriptors each, and a process may have 20,000 here.
    let count = rounds(300, 9_000);
    let world = World::new();
    let (_beats, beat) = watch::channel(0);
    let service = service(&world, beat).await;
    let cluster = Cluster::one(&world).await;
    let route = "{ path: /**, upstream: a }";
    cluster.apply(&with_routes(&[("a", &service.url())], &[route])).await;
    let at = cluster.node(1).http();
    // What is made for the first ones is no one's own.
    let warm = many(AT_ONCE, || socket(at)).await;
    counted(&cluster, warm.len()).await;
    let before = resident(cluster.node(1));
    let sockets = many(count, || socket(at)).await;
    counted(&cluster, count + warm.len()).await;
    let after = resident(cluster.node(1));
    let each = (after.saturating_sub(before)) * 1024 / count as u64;
    eprintln!("{count} idle sockets: {each} bytes each, from {before} to {after} KiB resident");
    assert!(each < 16 * 1024, "{each} bytes each");
    drop((sockets, warm));
}

#[tokio::test]
async fn a_node_that_goes_says_so_to_its_sockets() {
    let world = World::new();
    let (_beats, beat) = watch::channel(0);
    let service = service(&world, beat).await;
    let mut cluster = Cluster::of(1)
        .flags(&["--edge-drain-delay", "100ms", "--edge-drain-timeout", "2s"])
        .start(&world)
        .await;
    let route = "{ path: /**, upstream: a }";
    cluster.apply(&with_routes(&[("a", &service.url())], &[route])).await;
    let mut socket = socket(cluster.node(1).http()).await.expect("a socket");
    cluster.node(1).running().signal(libc::SIGTERM);
    let (last, reset) = socket.rest_or_reset().await;
    assert_eq!((last.as_slice(), reset.is_some()), (&[0x88, 2, 0x03, 0xe9][..], false));
    drop(socket);
    let status = cluster.node_mut(1).end().await;
    assert!(status.success(), "{status}");
}
