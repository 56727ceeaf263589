//! What is known to bring HTTP/2 servers down, on a running node: it keeps its memory, it lives, and others are served.
//!
//! `cargo test … -- --nocapture` prints the figures of each. Memory is that of the whole process, measured while the
//! attack lasts and after it; a build with assertions needs more of both than a release.

use cluster_tests::document::with_routes;
use cluster_tests::frames::{
    ACK, CANCEL, COMPRESSION_ERROR, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, Frames, Kind,
    Literal, NEWEST_ENTRY, PROTOCOL_ERROR, STREAM_CLOSED, fields, frame, get, request, setting,
};
use cluster_tests::http2::Http2;
use cluster_tests::{Backend, Cluster, Load, World, eventually, rounds};
use std::net::SocketAddr;
use std::time::Duration;

/// No attack may cost the process more than this. The largest of them holds 800 answers.
const MOST_MEMORY: u64 = 160 << 20;

/// Nor may its log grow by what clients send, but for the access log, which has a line for each request.
const MOST_LOG: usize = 16 << 10;

/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;

/// Makes a frame for a stream.
type FrameOf = fn(u32) -> Vec<u8>;

struct Target {
    cluster: Cluster,
    service: Backend,
    _world: World,
}

/// Resident bytes, and milliseconds of processor time.
#[derive(Debug, Clone, Copy)]
struct Use {
    memory: u64,
    cpu: u64,
}

impl Target {
    async fn new() -> Self {
        let world = World::new();
        let service = Backend::scripted(world.service(), |mut wire, journal, _| async move {
            let block = vec![b'x'; 64 * 1024];
            while let Some(head) = wire.head().await? {
                wire.body(&head).await?;
                journal.note(&head);
                match head.target() {
                    "/long" => {
                        wire.send(format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                            block.len() * 64
                        ))
                        .await?;
                        for _ in 0..4 {
                            wire.send(&block).await?;
                        }
                    }
                    _ => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?,
                }
            }
            Ok(())
        })
        .await;
        let cluster = Cluster::of(1).flags(&["--edge-h2c"]).start(&world).await;
        let routes = [
            "{ path: '/own', respond: { text: own } }",
            // Hundreds of connections at once wait at the service, which is of one thread.
            "{ path: '/**', upstream: a, max_body: none, timeout: { connect: 20s } }",
        ];
        cluster.apply(&with_routes(&[("a", &service.url())], &routes)).await;
        Self {
            cluster,
            service,
            _world: world,
        }
    }

    fn http(&self) -> SocketAddr {
        self.cluster.node(1).http()
    }

    fn uses(&self) -> Use {
        let id = self.cluster.node(1).id();
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).expect("the process lives");
        let pages: u64 = read("statm")
            .split(' ')
            .nth(1)
            .expect("pages")
            .parse()
            .expect("a number");
        let stat = read("stat");
        // Behind the name, which stands in brackets, utime and stime are the 12th and 13th.
        let (_, rest) = stat.rsplit_once(')').expect("a name");
        let ticks: u64 = rest
            .split(' ')
            .skip(12)
            .take(2)
            .map(|text| text.parse::<u64>().expect("ticks"))
            .sum();
        Use {
            memory: pages * 4096,
            cpu: ticks * 10,
        }
    }

    async fn ended(&self, why: &str) -> f64 {
        let why = format!("why=\"{why}\"");
        self.cluster.admin(1).metric("sluice_http2_ended_total", &[&why]).await
    }

    /// Runs `attack` on `connections` at a time, with others on the node meanwhile, and holds the node to its bounds.
    /// Gives what each connection came to.
    async fn under<F, A, T>(&self, name: &str, connections: usize, attack: A) -> Vec<T>
    where
        A: Fn(SocketAddr) -> F,
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let every = Duration::from_millis(5);
        let load = Load::on([self.http()])
            .paths(["/own", "/x"])
            .connections(2)
            .every(every);
        let (one, two) = (load.clone().start(), load.http2(2).start());
        one.answers(20).await;
        two.answers(20).await;
        let before = self.uses();
        let began = std::time::Instant::now();
        let mut attackers = tokio::task::JoinSet::new();
        for _ in 0..connections {
            attackers.spawn(attack(self.http()));
        }
        let (mut came, mut most) = (Vec::new(), before.memory);
        let mut look = cluster_tests::wait::beat(Duration::from_millis(20));
        while !attackers.is_empty() {
            tokio::select! {
                Some(one) = attackers.join_next() => came.push(one.expect("no panic")),
                _ = look.tick() => most = most.max(self.uses().memory),
            }
        }
        let took = began.elapsed();
        one.answers(20).await;
        two.answers(20).await;
        let after = self.uses();
        most = most.max(after.memory);
        let (one, two) = (one.stop().await, two.stop().await);
        eprintln!(
            "{name}: {connections} connections, {took:.1?}; memory {} MiB before, {} at most, {} after; processor {} ms; others: {} answers of HTTP/1.1 (longest gap {:.0?}), {} of HTTP/2 ({:.0?})",
            before.memory >> 20,
            most >> 20,
            after.memory >> 20,
            after.cpu - before.cpu,
            one.good,
            one.longest_gap,
            two.good,
            two.longest_gap,
        );
        one.expect_flawless();
        two.expect_flawless();
        assert!(most - before.memory < MOST_MEMORY, "{name}: {before:?}, {most} at most");
        let log = self.cluster.node(1).log();
        let of_ours: usize = log
            .lines()
            .filter(|line| !line.contains("\"target\":\"access\""))
            .map(str::len)
            .sum();
        assert!(of_ours < MOST_LOG, "{name}: {of_ours} bytes of log");
        eventually("the connections to be over", || async {
            let admin = self.cluster.admin(1);
            let open = admin.metric("sluice_http2_connections", &[]).await;
            let active = admin.metric("sluice_connections", &["state=\"active\""]).await;
            let upstream = admin.metric("sluice_upstream_connections", &["state=\"active\""]).await;
            if open + active + upstream == 0.0 {
                Ok(())
            } else {
                Err(format!("{open} open, {active} active, {upstream} at the service"))
            }
        })
        .await;
        came
    }
}

/// That each connection was ended by the node, for one of these reasons. Where a client wrote on, a reset of its socket
/// may have taken the reason away.
fn expect_ended(name: &str, came: &[(usize, Option<u32>)], many: usize, reasons: &[u32]) {
    for (sent, code) in came {
        match code {
            Some(code) => assert!(reasons.contains(code), "{name}: ended by {code}"),
            None => assert!(*sent < many, "{name}: the connection outlived {sent}"),
        }
    }
    assert!(came.iter().any(|(_, code)| code.is_some()), "{name}: {came:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset() {
    // CVE-2023-44487: streams opened and reset as fast as the socket takes them.
    let target = Target::new().await;
    let many = rounds(20_000, 1_000_000);
    let came = target
        .under("rapid reset", 8, move |at| async move {
            let frames = Frames::open(at, &[]).await.expect("the node listens");
            frames
                .flood(many, |n| {
                    let stream = 2 * n as u32 + 1;
                    let mut bytes = get(stream, "/x");
                    bytes.extend(frame(Kind::RstStream, 0, stream, &CANCEL.to_be_bytes()));
                    bytes
                })
                .await
        })
        .await;
    expect_ended("rapid reset", &came, many, &[ENHANCE_YOUR_CALM]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset_of_requests_that_are_under_way() {
    // The same, slow enough that each request gets to the service: what each costs is a connection there.
    let target = Target::new().await;
    let came = target
        .under("rapid reset, one by one", 4, |at| async move {
            let mut frames = Frames::open(at, &[]).await.expect("the node listens");
            let mut sent = 0u32;
            while sent < 1_000 {
                let stream = 2 * sent + 1;
                if frames.write.send(&get(stream, "/long")).await.is_err() {
                    break;
                }
                // The head has come, and more of the body than the window takes is still to come.
                let mut came = frames.read.next().await;
                while came
                    .as_ref()
                    .is_some_and(|came| (came.kind, came.stream) != (Kind::Headers as u8, stream))
                {
                    came = frames.read.next().await;
                }
                if came.is_none() {
                    break;
                }
                let reset = frame(Kind::RstStream, 0, stream, &CANCEL.to_be_bytes());
                if frames.write.send(&reset).await.is_err() {
                    break;
                }
                sent += 1;
            }
            sent
        })
        .await;
    assert!(came.iter().all(|sent| *sent < 1_000), "{came:?}");
    assert_eq!(target.ended("cancels").await, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuation_flood() {
    // CVE-2024-27316: fields that never end, in frames that are decoded as they come, or that are empty.
    let target = Target::new().await;
    for (name, payload) in [("full", vec![0u8; 16_000]), ("empty", Vec::new())] {
        // 0x00: a literal with an empty name would be refused at once; a name of 127 bytes and more is none yet.
        let block = fields(&[("x", &"a".repeat(payload.len().saturating_sub(10)))], Literal::Plain);
        let came = target
            .under(&format!("continuation flood, {name}"), 8, move |at| {
                let block = if payload.is_empty() { Vec::new() } else { block.clone() };
                async move {
                    let mut frames = Frames::open(at, &[]).await.expect("the node listens");
                    let head = frame(Kind::Headers, END_STREAM, 1, &request("GET", "/x"));
                    frames.write.send(&head).await.expect("it is taken");
                    frames.flood(100_000, |_| frame(Kind::Continuation, 0, 1, &block)).await
                }
            })
            .await;
        expect_ended(
            name,
            &came,
            100_000,
            &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR],
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hpack_bomb() {
    // CVE-2026-49975: one entry of the table, and one byte for each time that it is meant.
    let target = Target::new().await;
    let entry = fields(&[("x-bomb", &"b".repeat(4_000))], Literal::Indexed);
    let many = rounds(200, 5_000);
    let came = target
        .under("HPACK bomb", 8, move |at| {
            let entry = entry.clone();
            async move {
                let mut frames = Frames::open(at, &[]).await.expect("the node listens");
                let mut first = request("GET", "/own");
                first.extend(&entry);
                let first = frame(Kind::Headers, END_HEADERS | END_STREAM, 1, &first);
                frames.write.send(&first).await.expect("it is taken");
                frames
                    .flood(many, |n| {
                        let mut block = request("GET", "/own");
                        // 15,000 of them would be 60 MB.
                        block.resize(block.len() + 15_000, NEWEST_ENTRY);
                        frame(Kind::Headers, END_HEADERS | END_STREAM, 2 * n as u32 + 3, &block)
                    })
                    .await
            }
        })
        .await;
    expect_ended("HPACK bomb", &came, many, &[ENHANCE_YOUR_CALM]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_small_on_the_wire_and_pinned_by_shut_windows() {
    // The same with as much as the limits let through, on streams whose answers nobody takes.
    let target = Target::new().await;
    let entry = fields(&[("x-bomb", &"b".repeat(3_900))], Literal::Indexed);
    target
        .under("small requests, pinned", 4, move |at| {
            let entry = entry.clone();
            async move {
                let mut frames = Frames::open(at, &setting(INITIAL_WINDOW, 0))
                    .await
                    .expect("the node listens");
                let mut first = request("GET", "/long");
                first.extend(&entry);
                let mut bytes = frame(Kind::Headers, END_HEADERS | END_STREAM, 1, &first);
                for n in 1..100 {
                    let mut block = request("GET", "/long");
                    block.extend([NEWEST_ENTRY; 3]);
                    bytes.extend(frame(Kind::Headers, END_HEADERS | END_STREAM, 2 * n + 1, &block));
                }
                frames.write.send(&bytes).await.expect("it is taken");
                let mut heads = 0;
                while heads < 100 {
                    let frame = frames.read.next().await.expect("the connection holds");
                    heads += u32::from(frame.kind == Kind::Headers as u8);
                }
                // Long enough for all that would be read ahead.
                cluster_tests::wait::pass(Duration::from_millis(300)).await;
            }
        })
        .await;
    assert!(target.service.journal().count_of("GET /long") > 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_ask_for_nothing() {
    let target = Target::new().await;
    let toggle = [setting(INITIAL_WINDOW, 0), setting(INITIAL_WINDOW, 1 << 20)];
    let floods: [(&str, Vec<u8>); 7] = [
        ("PING flood", frame(Kind::Ping, 0, 0, &[0; 8])),
        ("flood of answers to no PING", frame(Kind::Ping, ACK, 0, &[0; 8])),
        (
            "SETTINGS flood",
            [
                frame(Kind::Settings, 0, 0, &toggle[0]),
                frame(Kind::Settings, 0, 0, &toggle[1]),
            ]
            .concat(),
        ),
        ("empty DATA flood", frame(Kind::Data, 0, 1, &[])),
        ("PRIORITY flood", frame(Kind::Priority, 0, 3, &[0; 5])),
        (
            "WINDOW_UPDATE flood",
            frame(Kind::WindowUpdate, 0, 1, &1u32.to_be_bytes()),
        ),
        ("flood of unknown frames", frame(Kind::Unknown, 0, 0, &[])),
    ];
    let many = rounds(2_000, 100_000);
    for (name, flood) in floods {
        let flood = flood.repeat(20);
        let came = target
            .under(name, 8, move |at| {
                let flood = flood.clone();
                async move {
                    let mut frames = Frames::open(at, &[]).await.expect("the node listens");
                    let upload = frame(Kind::Headers, END_HEADERS, 1, &request("POST", "/x"));
                    frames.write.send(&upload).await.expect("it is taken");
                    frames.flood(many, |_| flood.clone()).await
                }
            })
            .await;
        expect_ended(name, &came, many, &[ENHANCE_YOUR_CALM]);
    }
    assert!(target.ended("flood").await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_whose_answers_nobody_reads() {
    // The answers fill the socket, and then nothing more is read.
    let target = Target::new().await;
    target
        .under("PING flood, never read", 8, |at| async move {
            let mut frames = Frames::open(at, &[]).await.expect("the node listens");
            let flood = frame(Kind::Ping, 0, 0, &[0; 8]).repeat(1_000);
            for _ in 0..200 {
                let sending = tokio::time::timeout(Duration::from_millis(100), frames.write.send(&flood));
                if !matches!(sending.await, Ok(Ok(()))) {
                    break;
                }
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_you_reset() {
    // CVE-2025-8671: requests that are right, and then a frame that makes the server reset them.
    let target = Target::new().await;
    let kinds: [(&str, FrameOf); 3] = [
        ("a window of nothing", |stream| {
            frame(Kind::WindowUpdate, 0, stream, &[0; 4])
        }),
        ("a window too wide", |stream| {
            let wide = frame(Kind::WindowUpdate, 0, stream, &(u32::MAX >> 1).to_be_bytes());
            wide.repeat(2)
        }),
        ("DATA after the end", |stream| {
            frame(Kind::Data, END_STREAM, stream, b"x")
        }),
    ];
    let many = rounds(5_000, 100_000);
    for (name, bad) in kinds {
        let came = target
            .under(&format!("MadeYouReset, {name}"), 8, move |at| async move {
                let frames = Frames::open(at, &[]).await.expect("the node listens");
                frames
                    .flood(many, |n| {
                        let stream = 2 * n as u32 + 1;
                        let mut bytes = get(stream, "/long");
                        bytes.extend(bad(stream));
                        bytes
                    })
                    .await
            })
            .await;
        expect_ended(
            name,
            &came,
            many,
            &[ENHANCE_YOUR_CALM, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED],
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_one_byte_and_windows_that_shut_again() {
    let target = Target::new().await;
    target
        .under("windows of one byte", 8, |at| async move {
            let mut frames = Frames::open(at, &setting(INITIAL_WINDOW, 1))
                .await
                .expect("the node listens");
            let bytes: Vec<u8> = (0..100).flat_map(|n| get(2 * n + 1, "/long")).collect();
            frames.write.send(&bytes).await.expect("it is taken");
            frames
                .flood(rounds(300, 10_000), |n| {
                    let stream = 2 * (n as u32 % 100) + 1;
                    frame(Kind::WindowUpdate, 0, stream, &1u32.to_be_bytes())
                })
                .await
        })
        .await;
    target
        .under("windows that open and shut", 8, |at| async move {
            let mut frames = Frames::open(at, &setting(INITIAL_WINDOW, 0))
                .await
                .expect("the node listens");
            let bytes: Vec<u8> = (0..100).flat_map(|n| get(2 * n + 1, "/long")).collect();
            frames.write.send(&bytes).await.expect("it is taken");
            frames
                .flood(100, |n| {
                    frame(
                        Kind::Settings,
                        0,
                        0,
                        &setting(INITIAL_WINDOW, if n % 2 == 0 { 10_000 } else { 0 }),
                    )
                })
                .await
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_half_of_something() {
    let target = Target::new().await;
    let half = get(1, "/x");
    target
        .under("half of a preface, a frame, a head", rounds(60, 600), move |at| {
            let half = half.clone();
            async move {
                let part = fastrand::usize(0..3);
                let mut frames = Frames::open(at, &[]).await.expect("the node listens");
                let _ = match part {
                    0 => frames.write.send(&half[..5]).await,
                    1 => frames.write.send(&half[..20]).await,
                    _ => {
                        frames
                            .write
                            .send(&frame(Kind::Headers, END_STREAM, 1, &request("GET", "/x")))
                            .await
                    }
                };
                cluster_tests::wait::pass(Duration::from_millis(300)).await;
            }
        })
        .await;
    // Nobody who behaves is any the worse.
    let decent = Http2::connect(target.http()).await.expect("HTTP/2");
    assert_eq!(decent.get("/own").await.expect("an answer").text(), "own");
}
