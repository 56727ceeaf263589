//! Which target gets a request, and how its name becomes an address.

use crate::support::*;
use futures_util::future::BoxFuture;
use sluice_upstream::{
    Balance, Body, Lookup, Meters, Plan, Resolver, SendErrorKind, Spec, TargetSpec, Upstreams, Which,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

fn weighted(backends: &[(&Backend, u16)], balance: Balance) -> Spec {
    let mut spec = spec(&[]);
    spec.targets = backends
        .iter()
        .map(|(backend, weight)| TargetSpec::parse(&backend.url(), *weight).unwrap())
        .collect();
    spec.balance = balance;
    spec
}

#[test]
fn round_robin_goes_on_though_the_configuration_changes_before_each_request() {
    on_worker(async {
        let backends = [
            Backend::echo().await,
            Backend::echo().await,
            Backend::echo().await,
            Backend::echo().await,
        ];
        for weights in [[1, 1, 1, 1], [5, 1, 1, 1]] {
            let pairs: Vec<_> = backends.iter().zip(weights).collect();
            let meters = Meters::default();
            // Several workers, as several nodes would: each with a start of its own.
            let workers: Vec<_> = (0..4).map(|seed| Upstreams::new(context(&meters, seed))).collect();
            let mut counts = BTreeMap::<Arc<str>, usize>::new();
            for i in 0..400u32 {
                let worker = &workers[i as usize % workers.len()];
                let mut changed = weighted(&pairs, Balance::RoundRobin);
                changed.timeouts.idle = Duration::from_secs(60 + u64::from(i));
                let spec = Arc::new(changed.seal());
                worker.reconcile(&[Arc::clone(&spec)]);
                let mut attempts = Default::default();
                worker
                    .send(
                        &spec,
                        Plan::of(&spec),
                        &mut request("GET", "/", Body::Empty),
                        &mut attempts,
                    )
                    .await
                    .unwrap();
                *counts.entry(attempts.target.unwrap()).or_default() += 1;
            }
            let total: u16 = weights.iter().sum();
            for (backend, weight) in &pairs {
                let share = counts[&*backend.url()] as f64 / 400.0;
                let expected = f64::from(*weight) / f64::from(total);
                assert!((share - expected).abs() < 0.03, "{weights:?} {counts:?}");
            }
        }
        // 4 workers, 2 sets of them, no connection lost by a change.
        assert!(backends.iter().all(|backend| backend.accepted.get() <= 8));
    });
}

#[test]
fn the_busy_target_gets_less() {
    on_worker(async {
        let slow = Backend::new(|mut conn| async move {
            while conn.request().await.is_some() {
                tokio::time::sleep(50 * MS).await;
                conn.say(ok("slow")).await;
            }
        })
        .await;
        let quick = Backend::echo().await;
        let rig = Rig::new(weighted(&[(&slow, 1), (&quick, 1)], Balance::LeastRequest));
        let client = || async {
            for _ in 0..30 {
                rig.get("/").await;
            }
        };
        tokio::join!(client(), client(), client(), client());
        assert!(slow.lines().len() < 40, "{}", slow.lines().len());
        assert_eq!(slow.lines().len() + quick.lines().len(), 120);
    });
}

#[test]
fn an_answer_under_way_counts_as_load_to_its_end() {
    on_worker(async {
        let half = || {
            Backend::new(|mut conn| async move {
                while conn.request().await.is_some() {
                    conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
                }
            })
        };
        let (one, two) = (half().await, half().await);
        let rig = Rig::new(weighted(&[(&one, 1), (&two, 1)], Balance::LeastRequest));
        let mut held = Vec::new();
        for _ in 0..10 {
            held.push(rig.start(request("GET", "/", Body::Empty)).await);
        }
        assert_eq!((one.lines().len(), two.lines().len()), (5, 5));
        assert_eq!(rig.connections(), (10, 0));
        drop(held);
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn weight_zero_gets_nothing_and_all_zero_is_no_target() {
    on_worker(async {
        let (one, two) = (Backend::echo().await, Backend::echo().await);
        for balance in [Balance::RoundRobin, Balance::LeastRequest] {
            let mut rig = Rig::new(weighted(&[(&one, 0), (&two, 1)], balance));
            for _ in 0..20 {
                rig.get("/").await;
            }
            assert!(one.lines().is_empty());
            rig.change(|spec| spec.targets.iter_mut().for_each(|target| target.weight = 0));
            let Err((error, attempts)) = rig.send(request("GET", "/", Body::Empty)).await else {
                panic!()
            };
            assert!(matches!(error.kind, SendErrorKind::NoTarget));
            assert_eq!((attempts.tries, attempts.target), (0, None));
            rig.change(|spec| spec.targets.clear());
            assert!(rig.send(request("GET", "/", Body::Empty)).await.is_err());
        }
    });
}

#[test]
fn a_change_of_weights_keeps_the_connections() {
    on_worker(async {
        let (one, two) = (Backend::echo().await, Backend::echo().await);
        let mut rig = Rig::new(weighted(&[(&one, 1), (&two, 1)], Balance::RoundRobin));
        for weight in 1..20 {
            rig.change(|spec| spec.targets[1].weight = weight);
            for _ in 0..4 {
                rig.get("/").await;
            }
        }
        assert!(one.accepted.get() <= 1 && two.accepted.get() == 1);
    });
}

#[test]
fn one_target_down_is_one_try_and_no_more() {
    on_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let down = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let up = Backend::echo().await;
        let rig = Rig::new(spec(&[&down, &up.url()]));
        let mut failed = 0;
        for _ in 0..10 {
            if let Err((error, attempts)) = rig.send(request("GET", "/", Body::Empty)).await {
                assert!(matches!(error.kind, SendErrorKind::Connect));
                assert_eq!(attempts.tries, 1);
                failed += 1;
            }
        }
        assert_eq!(failed, 5);
    });
}

#[test]
fn a_name_is_resolved_by_the_system() {
    on_worker(async {
        let backend = Backend::echo().await;
        let rig = Rig::new(spec(&[&format!("http://localhost:{}", backend.address.port())]));
        for _ in 0..3 {
            // Where the system gives ::1 too, nobody listens there and the next address is taken.
            assert_eq!(rig.get("/").await.status, 200);
        }
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[derive(Clone)]
struct Table(Arc<Mutex<Result<Vec<IpAddr>, String>>>);

impl Table {
    fn new(addresses: &[u8]) -> Self {
        let table = Self(Arc::new(Mutex::new(Ok(Vec::new()))));
        table.set(Ok(addresses));
        table
    }

    fn set(&self, addresses: Result<&[u8], &str>) {
        *self.0.lock().unwrap() = addresses
            .map(|last| last.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect())
            .map_err(str::to_owned);
    }
}

impl Lookup for Table {
    fn lookup(&self, _: Arc<str>) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let answer = self.0.lock().unwrap().clone().map_err(std::io::Error::other);
        Box::pin(std::future::ready(answer))
    }
}

/// Listens on one port of several loopback addresses.
async fn cluster(last: &[u8]) -> (u16, Vec<Backend>) {
    'port: loop {
        let first = TcpListener::bind((IpAddr::from([127, 0, 0, last[0]]), 0))
            .await
            .unwrap();
        let port = first.local_addr().unwrap().port();
        let mut listeners = vec![first];
        for last in &last[1..] {
            match TcpListener::bind((IpAddr::from([127, 0, 0, *last]), port)).await {
                Ok(listener) => listeners.push(listener),
                Err(_) => continue 'port,
            }
        }
        let echo = |listener| {
            Backend::on(listener, |mut conn| async move {
                while let Some(got) = conn.request().await {
                    conn.say(ok(got.line())).await;
                }
            })
        };
        return (port, listeners.into_iter().map(echo).collect());
    }
}

fn named(table: &Table, port: u16, refresh: Duration) -> Rig {
    let meters = Meters::default();
    let mut context = context(&meters, 1);
    context.resolver = Resolver::new(tokio::runtime::Handle::current(), refresh, table.clone());
    let mut spec = spec(&[&format!("http://orders.internal:{port}")]);
    spec.pool.max_idle = 0;
    let spec = Arc::new(spec.seal());
    Rig::of(spec, meters, context)
}

#[test]
fn all_addresses_of_a_name_get_their_share_and_a_dead_one_costs_no_request() {
    on_worker(async {
        let (port, backends) = cluster(&[2, 3]).await;
        let table = Table::new(&[2, 3, 4]);
        let rig = named(&table, port, Duration::from_secs(30));
        for _ in 0..30 {
            let answer = rig.get("/").await;
            assert_eq!(answer.attempts.tries, 1);
        }
        let counts: Vec<_> = backends.iter().map(|backend| backend.accepted.get()).collect();
        assert!(counts.iter().all(|count| (8..=22).contains(count)), "{counts:?}");
    });
}

#[test]
fn a_name_that_changes_is_followed_and_one_that_fails_keeps_its_addresses() {
    on_worker(async {
        let (port, backends) = cluster(&[2, 3]).await;
        let table = Table::new(&[2]);
        let rig = named(&table, port, 5 * MS);
        rig.get("/").await;
        assert_eq!(backends[0].accepted.get(), 1);
        table.set(Err("the resolver is down"));
        for _ in 0..5 {
            tokio::time::sleep(5 * MS).await;
            rig.get("/").await;
        }
        table.set(Ok(&[3]));
        while backends[1].accepted.get() == 0 {
            rig.get("/").await;
            tokio::time::sleep(MS).await;
        }
    });
}

#[test]
fn a_name_that_is_not_known_is_told_and_asked_for_again() {
    on_worker(async {
        let (port, _backends) = cluster(&[2]).await;
        let table = Table::new(&[]);
        table.set(Err("no such host"));
        let rig = named(&table, port, Duration::from_secs(600));
        let Err((error, _)) = rig.send(request("GET", "/", Body::Empty)).await else {
            panic!()
        };
        assert!(matches!(error.kind, SendErrorKind::Connect));
        assert!(error.to_string().contains("orders.internal: no such host"), "{error}");
        table.set(Ok(&[2]));
        while rig.send(request("GET", "/", Body::Empty)).await.is_err() {
            tokio::time::sleep(20 * MS).await;
        }
    });
}

struct Silent;

impl Lookup for Silent {
    fn lookup(&self, _: Arc<str>) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_resolver_that_says_nothing_ends_by_the_connect_time_out() {
    on_worker(async {
        let meters = Meters::default();
        let mut context = context(&meters, 1);
        context.resolver = Resolver::new(tokio::runtime::Handle::current(), Duration::from_secs(30), Silent);
        let spec = Arc::new(spec(&["http://orders.internal"]).seal());
        let mut rig = Rig::of(spec, meters, context);
        rig.timeouts.connect = 20 * MS;
        let Err((error, _)) = rig.send(request("GET", "/", Body::Empty)).await else {
            panic!()
        };
        assert!(matches!(error.kind, SendErrorKind::Timeout(Which::Connect)));
    });
}
