//! The script of sliding windows and its books, held against each other: random histories run through both, and every
//! answer is the same, to the last token and the last bit of every share.

use fastrand::Rng;
use redis::Script;
use sluice_shared_state::ledger::sliding::{Call, Declared, Reply as Sliding, Told};
use sluice_shared_state::ledger::{self, From, Header, Ledger, Reply, Request, Served, look, wire};
use sluice_shared_state::{Algorithm, KeyId, Mode, OnFailure, Rule, RuleId, Scope, StoreTime};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const EPOCH: &str = include_str!("../src/redis/scripts/epoch.lua");
const SLIDING: &str = include_str!("../src/redis/scripts/sliding.lua");

/// A redis-server, ended when dropped.
struct Server {
    child: Child,
    connection: redis::Connection,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port of loopback")
            .port();
        let child = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "redis-server does not listen"
            );
            std::thread::yield_now();
        }
        let connection = redis::Client::open(format!("redis://127.0.0.1:{port}/"))
            .and_then(|client| client.get_connection())
            .expect("it listens");
        Self { child, connection }
    }

    fn flush(&mut self) {
        redis::cmd("FLUSHALL").exec(&mut self.connection).expect("it is there");
    }

    fn forget(&mut self, key: &KeyId) {
        redis::cmd("DEL")
            .arg(format!("sl:{{test:0}}:l:{key}"))
            .exec(&mut self.connection)
            .expect("it is there");
    }

    /// What the script answers.
    fn serve(&mut self, script: &Script, run: &str, now: StoreTime, header: &Header, requests: &[Request]) -> Served {
        let mut call = script.prepare_invoke();
        call.key("sl:{test:0}:e");
        for request in requests {
            call.key(format!("sl:{{test:0}}:l:{}", request.key));
        }
        let answer: Vec<u8> = call
            .arg(run)
            .arg(wire::said(header, requests))
            .arg(now.0)
            .invoke(&mut self.connection)
            .expect("the script runs");
        wire::served(ledger::Script::Sliding, requests.len(), &answer).expect("its answer can be read")
    }
}

impl Server {
    /// What people are shown of a count.
    fn look(&mut self, key: &KeyId, now: StoreTime, rule: &Rule) -> look::Looked {
        let answer: Vec<u8> = Script::new(include_str!("../src/redis/scripts/look.lua"))
            .key("sl:{test:0}:e")
            .key(format!("sl:{{test:0}}:l:{key}"))
            .arg("run")
            .arg("")
            .arg(now.0)
            .invoke(&mut self.connection)
            .expect("the script runs");
        look::read(rule, &answer).expect("its answer can be read")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process would remember.
#[derive(Clone)]
struct Process {
    from: From,
    epoch: u64,
    seq: u64,
    ack: u64,
    /// Tokens heard of before the stream, and the stream with the moments of its spends.
    first: u64,
    stream: Vec<(u64, u64, u8)>,
    /// Roughly what it holds.
    held: u64,
    /// It owes the store all it knows.
    owes: bool,
}

fn rule(limit: u32, window: Duration, fast: bool, version: u64) -> Arc<Rule> {
    Arc::new(
        Rule {
            name: "held".into(),
            scope: Scope::Gateway("g".into()),
            algorithm: Algorithm::SlidingWindow { limit, window },
            mode: if fast { Mode::Fast } else { Mode::Exact },
            on_failure: OnFailure::Local,
            version,
            id: RuleId(0),
        }
        .seal(),
    )
}

/// One history. Returns how many answers granted something, so that a test can see that it saw any.
fn history(server: &mut Server, script: &Script, seed: u64) -> usize {
    let mut rng = Rng::with_seed(seed);
    server.flush();
    let mut books = Ledger::default();
    // Redis does not know what it lost; the books must not either.
    books.lose();
    let limits = [1, 3, 10, 300, 1000, 1_000_000];
    let windows = [10, 50, 333, 1000, 10_000, 60_000, 3_600_000, 31 * 86_400_000];
    let limit = limits[rng.usize(..limits.len())];
    let window = Duration::from_millis(windows[rng.usize(..windows.len())]);
    let fast = rng.bool();
    let mut version = 1;
    let mut now = 1_790_000_000_000_000 + rng.u64(..1_000_000_000);
    let keys = 1 + rng.usize(..3);
    let mut processes: Vec<Vec<Process>> = (0..1 + rng.u64(..4))
        .map(|node| {
            let process = Process {
                from: From {
                    node,
                    boot: rng.u64(..),
                },
                epoch: 0,
                seq: 0,
                ack: 0,
                first: 0,
                stream: Vec::new(),
                held: 0,
                owes: false,
            };
            vec![process; keys]
        })
        .collect();
    let mut run = "first".to_owned();
    let mut granted = 0;
    for round in 0..120 {
        now += match rng.u8(..10) {
            0 => rng.u64(..2 * window.as_micros() as u64),
            1..4 => rng.u64(..700_000),
            _ => rng.u64(..window.as_micros() as u64 / 20),
        };
        if rng.u8(..60) == 0 {
            run = format!("run {round}");
        }
        if rng.u8(..40) == 0 {
            version += 1;
        }
        // Now and then a node still has the numbers of before.
        let (said_limit, said_version) = if version > 1 && rng.u8(..4) == 0 {
            (limit, version - 1)
        } else {
            (limit + (version as u32 - 1) * (limit / 10 + 1), version)
        };
        let rule = rule(said_limit, window, fast, said_version);
        let node = rng.usize(..processes.len());
        let came_back = rng.u8(..40) == 0;
        let mut requests = Vec::new();
        let mut asked = Vec::new();
        for (key, process) in processes[node].iter_mut().enumerate() {
            if rng.u8(..4) == 0 {
                continue;
            }
            asked.push(key);
            requests.push(Request {
                key: KeyId([key as u8; 16]),
                rule: Arc::clone(&rule),
                epoch: process.epoch,
                local: came_back && rng.bool(),
                life: key as u64,
                call: ledger::Call::Sliding(said(process, now, limit, window, &mut rng)),
            });
        }
        // Time passes faster here than at the server: what has run out is taken away.
        books.sweep(StoreTime(now));
        for key in asked.iter().map(|key| KeyId([*key as u8; 16])) {
            if books.sliding(key).is_none() {
                server.forget(&key);
            }
        }
        let header = Header {
            from: processes[node][0].from,
            epoch: processes[node][0].epoch,
            local: came_back,
            live: rng.u32(..5),
            without: rng.u32(..10).saturating_sub(7),
        };
        let expected = books.serve_as(&run, StoreTime(now), &header, &requests);
        let found = server.serve(script, &run, StoreTime(now), &header, &requests);
        assert_eq!(
            found, expected,
            "seed {seed}, round {round}: {limit} in {window:?}, {header:?}, {requests:#?}"
        );
        for &key in &asked {
            let key = KeyId([key as u8; 16]);
            let now = StoreTime(now);
            assert_eq!(
                server.look(&key, now, &rule),
                books.look(now, key, &rule),
                "seed {seed}, round {round}: what people see"
            );
        }
        for (key, reply) in asked.into_iter().zip(expected.replies) {
            let process = &mut processes[node][key];
            process.epoch = expected.epoch;
            match reply {
                Reply::Epoch(_) => process.owes = true,
                // Some replies are lost.
                _ if rng.u8(..6) == 0 => {}
                Reply::Sliding(Sliding::Granted(grant)) => {
                    process.ack = process.seq;
                    process.first += process.stream.drain(..).map(|(_, tokens, _)| tokens).sum::<u64>();
                    process.owes = false;
                    process.held += grant.pieces.iter().map(|(_, tokens)| tokens).sum::<u64>();
                    granted += usize::from(!grant.pieces.is_empty() || grant.instant > 0);
                }
                _ => {}
            }
        }
    }
    granted
}

/// A call that a process could make.
fn said(process: &mut Process, now: u64, limit: u32, window: Duration, rng: &mut Rng) -> Call {
    // A few are repeated, as if the network had.
    process.seq += u64::from(rng.u8(..12) != 0);
    for _ in 0..rng.u8(..4) {
        let more = u64::from(rng.u8(..3) == 0);
        let tokens = rng.u64(..=process.held / 2 + more);
        if tokens > 0 {
            let when = now - rng.u64(..window.as_micros() as u64 / 2);
            let kind = [Told::SPENT, Told::SPENT, Told::SPENT, Told::OWN, Told::BACK, Told::FAR][rng.usize(..6)];
            process.stream.push((when, tokens, kind));
            process.held = process.held.saturating_sub(tokens);
        }
    }
    let mut call = Call {
        seq: process.seq,
        ack: process.ack,
        first: process.first,
        stream: process
            .stream
            .iter()
            .map(|(when, tokens, kind)| Told(now.saturating_sub(*when), *tokens, *kind))
            .collect(),
        demand: match rng.u8(..5) {
            0 => 0.0,
            1 => f64::from(rng.u32(..10)),
            _ => rng.f64() * 3.0 * f64::from(limit) / window.as_secs_f64(),
        },
        waiting: if rng.bool() {
            rng.u64(..=u64::from(limit).min(20))
        } else {
            0
        },
        unit: 1 + rng.u64(..10) / 8,
        declare: None,
        unused: rng.u64(..8).saturating_sub(4),
    };
    if process.owes || rng.u8(..50) == 0 {
        let parts = rng.u64(..5);
        let spent: Vec<(u64, u64)> = (0..parts)
            .rev()
            .map(|part| {
                (
                    part * window.as_micros() as u64 / 6,
                    1 + rng.u64(..=u64::from(limit) / 8),
                )
            })
            .collect();
        let held = rng.u64(..=u64::from(limit) / 8);
        let reserve = held + spent.iter().map(|(_, tokens)| tokens).sum::<u64>();
        (call.stream, call.first) = (Vec::new(), 0);
        process.stream.clear();
        (process.first, process.held) = (0, held);
        call.declare = Some(Declared { spent, held, reserve });
    }
    call
}

#[test]
fn script_and_books_answer_alike() {
    let mut server = Server::start();
    let script = Script::new(&format!("{EPOCH}\n{SLIDING}"));
    let seeds = std::env::var("SLUICE_HISTORIES")
        .ok()
        .and_then(|many| many.parse().ok())
        .unwrap_or(60);
    let granted: usize = (0..seeds).map(|seed| history(&mut server, &script, seed)).sum();
    assert!(granted > seeds as usize * 10, "{granted} grants");
}

#[test]
fn every_key_of_the_store_ends_by_itself() {
    let mut server = Server::start();
    let script = Script::new(&format!("{EPOCH}\n{SLIDING}"));
    history(&mut server, &script, 1);
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query(&mut server.connection)
        .expect("it is there");
    assert!(keys.len() > 1, "{keys:?}");
    for key in keys {
        let left: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query(&mut server.connection)
            .expect("it is there");
        assert!(left > 0, "{key}");
    }
}
