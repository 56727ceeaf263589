//! The scripts of token buckets, fixed windows and concurrency limits, held against the ledger on random histories.
#![allow(clippy::unwrap_used)]

use sluice_shared_state::ledger::wire::{said, served};
use sluice_shared_state::ledger::{Call, From, Header, Ledger, Reply, Request, Script, bucket, look, permits, window};
use sluice_shared_state::{Algorithm, Calendar, KeyId, Mode, Offsets, OnFailure, Rule, RuleId, Scope, StoreTime};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const EPOCH: &str = include_str!("../src/redis/scripts/epoch.lua");
const SHARE: &str = include_str!("../src/redis/scripts/share.lua");
const BUCKET: &str = include_str!("../src/redis/scripts/bucket.lua");
const WINDOW: &str = include_str!("../src/redis/scripts/window.lua");
const LOOK: &str = include_str!("../src/redis/scripts/look.lua");
const PERMITS: &str = include_str!("../src/redis/scripts/permits.lua");

/// A Redis of the test's own, ended with it.
struct Server {
    child: Child,
    connection: redis::Connection,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Another process may take the port in between: then another one is tried.
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = Command::new("redis-server")
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
                .arg("--dir")
                .arg(directory.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).unwrap();
            while child.try_wait().unwrap().is_none() {
                if let Ok(connection) = client.get_connection() {
                    return Self {
                        child,
                        connection,
                        _directory: directory,
                    };
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is random in a history; the same for the same seed.
struct History {
    chance: fastrand::Rng,
    now: u64,
    seqs: [u64; 4],
    epoch: u64,
    /// What each process was last granted: of windows, by name.
    last: [Option<Reply>; 4],
}

impl History {
    fn new(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        Self {
            now: 1_774_700_000_000_000 + chance.u64(0..100_000_000_000),
            chance,
            seqs: [0; 4],
            epoch: 0,
            last: [const { None }; 4],
        }
    }

    fn advance(&mut self) {
        let longest = *self.chance.choice(&[1000, 30_000, 500_000, 3_000_000]).unwrap();
        self.now += self.chance.u64(0..longest);
    }

    fn seq(&mut self, process: usize) -> u64 {
        if self.chance.u8(0..12) > 0 {
            self.seqs[process] += self.chance.u64(1..3);
        }
        self.seqs[process].max(1)
    }

    fn demand(&mut self) -> f64 {
        match self.chance.u8(0..4) {
            0 => 0.0,
            1 => self.chance.f64() * 5.0,
            _ => self.chance.f64() * 3000.0,
        }
    }

    fn small(&mut self) -> u64 {
        if self.chance.bool() { 0 } else { self.chance.u64(0..40) }
    }

    fn call(&mut self, algorithm: &Algorithm, process: usize) -> Call {
        let (seq, waiting) = (self.seq(process), self.small());
        let unit = self.chance.u64(0..3).min(waiting);
        match algorithm {
            Algorithm::TokenBucket { depth, .. } => {
                let (part, ack) = match &self.last[process] {
                    Some(Reply::Bucket(last)) if self.chance.u8(0..5) > 0 => (last.part, seq - 1),
                    _ => ((0.0, 0), self.chance.u64(0..=seq)),
                };
                let (back, over) = (self.chance.f64() * 3.0, self.chance.f64() * 2.0);
                Call::Bucket(bucket::Call {
                    seq,
                    ack,
                    demand: self.demand(),
                    waiting,
                    unit,
                    part,
                    level: self.chance.f64() * f64::from(part.1 as u32),
                    back: (back, back + self.chance.f64() * 2.0),
                    over: (over, over + f64::from(self.chance.u8(0..2))),
                    spent: (self.chance.u64(0..u64::from(*depth) + 5)) as f64,
                })
            }
            Algorithm::Concurrency { .. } => {
                let has = self.small();
                Call::Permits(permits::Call {
                    seq,
                    has,
                    used: self.chance.u64(0..=has),
                    waiting,
                    unit,
                    spare: self.small(),
                })
            }
            _ => {
                let mut told = Vec::new();
                if let Some(Reply::Window(last)) = &self.last[process] {
                    for span in [last.present, last.next] {
                        if self.chance.u8(0..4) > 0 {
                            told.push(window::Told(
                                span.start,
                                self.chance.u64(0..200),
                                self.chance.u64(0..60),
                            ));
                        }
                    }
                }
                if self.chance.u8(0..8) == 0 {
                    let name = *self.chance.choice(&[0, self.now]).unwrap();
                    told.push(window::Told(name, self.chance.u64(0..9), self.chance.u64(0..9)));
                }
                Call::Window(window::Call {
                    seq,
                    demand: self.demand(),
                    waiting,
                    unit,
                    told,
                })
            }
        }
    }
}

fn algorithms(chance: &mut fastrand::Rng) -> [Algorithm; 3] {
    let offsets = Offsets {
        now: *chance.choice(&[0, 3600, -12_600]).unwrap(),
        then: chance.bool().then_some((1_774_746_000, 7200)),
    };
    let calendar = match chance.u8(0..6) {
        0 => Calendar::Minute,
        1 => Calendar::Hour(offsets),
        2 => Calendar::Day(offsets),
        3 => Calendar::Month(offsets),
        _ => Calendar::Every(Duration::from_millis(chance.u64(10..5000))),
    };
    let limit = *chance.choice(&[1, 7, 100, 1000, (1 << 53) - 1]).unwrap();
    [
        Algorithm::TokenBucket {
            limit: chance.u32(1..3000),
            per: Duration::from_millis(*chance.choice(&[100, 1000, 60_000]).unwrap()),
            depth: chance.u32(1..500),
        },
        Algorithm::FixedWindow { limit, calendar },
        Algorithm::Concurrency {
            limit: chance.u32(1..60),
            hold: Duration::from_millis(chance.u64(100..3000)),
        },
    ]
}

fn rule(algorithm: &Algorithm, version: u64) -> Arc<Rule> {
    Arc::new(
        Rule {
            name: "orders".into(),
            scope: Scope::Gateway("web".into()),
            algorithm: algorithm.clone(),
            mode: Mode::Exact,
            on_failure: OnFailure::Local,
            version,
            id: RuleId(0),
        }
        .seal(),
    )
}

fn keep(rule: &Rule) -> Duration {
    match rule.algorithm {
        Algorithm::TokenBucket { .. } => bucket::keep(rule),
        Algorithm::Concurrency { .. } => permits::keep(rule),
        _ => window::keep(rule),
    }
}

#[test]
fn a_script_answers_as_the_ledger_does() {
    let mut server = Server::start();
    let mut answers = 0;
    for seed in 0..40 {
        let mut history = History::new(seed);
        for algorithm in algorithms(&mut history.chance) {
            answers += compare(&mut server, &mut history, &algorithm, seed);
        }
    }
    assert!(answers > 3000, "{answers} answers of their own");
}

// One history of one limit; tells how many calls were answered by the algorithm itself.
fn compare(server: &mut Server, history: &mut History, algorithm: &Algorithm, seed: u64) -> u32 {
    let script = Script::of(algorithm);
    let text = match script {
        Script::Bucket => BUCKET,
        Script::Permits => PERMITS,
        _ => WINDOW,
    };
    let text = [EPOCH, SHARE, text].join("\n");
    let mut ledger = Ledger::default();
    // Redis does not know what it lost; the ledger must not either.
    ledger.lose();
    (history.seqs, history.epoch, history.last) = ([0; 4], 0, [const { None }; 4]);
    redis::cmd("FLUSHALL").exec(&mut server.connection).unwrap();
    let (mut served_last, mut answers) = (history.now, 0);
    for round in 0..60 {
        history.advance();
        if history.chance.u8(0..40) == 0 {
            ledger.lose();
            redis::cmd("FLUSHALL").exec(&mut server.connection).unwrap();
        }
        let numbers = match (algorithm, round > 40) {
            // The limit is lowered.
            (Algorithm::Concurrency { limit, hold }, true) => Algorithm::Concurrency {
                limit: limit / 2 + 1,
                hold: *hold,
            },
            (other, _) => other.clone(),
        };
        let rule = rule(&numbers, if round > 40 { 2 } else { 1 });
        // Keys run out by the server's own clock, which the history does not follow.
        if Duration::from_micros(history.now - served_last) > keep(&rule) {
            redis::cmd("DEL").arg("count").exec(&mut server.connection).unwrap();
        }
        served_last = history.now;
        // Two nodes; of each, two processes.
        let process = history.chance.usize(0..4);
        let header = Header {
            from: From {
                node: u64::MAX - (process as u64) / 2,
                boot: process as u64,
            },
            epoch: history.epoch,
            local: history.chance.u8(0..50) == 0,
            live: history.chance.u32(0..4),
            without: u32::from(history.chance.u8(0..9) == 0),
        };
        let request = Request {
            key: KeyId([1; 16]),
            rule,
            epoch: history.epoch,
            local: false,
            life: process as u64,
            call: history.call(algorithm, process),
        };
        let requests = [request];
        let expected = ledger.serve_as("run", StoreTime(history.now), &header, &requests);
        let answer: Vec<u8> = redis::cmd("EVAL")
            .arg(&text)
            .arg(2)
            .arg(&["epoch", "count"])
            .arg("run")
            .arg(said(&header, &requests))
            .arg(history.now)
            .query(&mut server.connection)
            .unwrap();
        let found = served(script, 1, &answer).unwrap();
        assert_eq!(found, expected, "seed {seed}, round {round}: {requests:?}");
        let seen: Vec<u8> = redis::cmd("EVAL")
            .arg(LOOK)
            .arg(2)
            .arg(&["epoch", "count"])
            .arg("run")
            .arg("")
            .arg(history.now)
            .query(&mut server.connection)
            .unwrap();
        let [Request { key, rule, .. }] = &requests;
        assert_eq!(
            look::read(rule, &seen).unwrap(),
            ledger.look(StoreTime(history.now), *key, rule),
            "seed {seed}, round {round}: what people see"
        );
        history.epoch = expected.epoch;
        if !matches!(expected.replies[0], Reply::Epoch(_) | Reply::Stale) {
            answers += 1;
        }
        history.last[process] = expected.replies.into_iter().next();
    }
    let ttl: i64 = redis::cmd("PTTL").arg("count").query(&mut server.connection).unwrap();
    assert_ne!(ttl, -1, "a count that never runs out");
    answers
}
