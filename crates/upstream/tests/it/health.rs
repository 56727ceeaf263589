//! Which targets get requests: what requests meet there, and what checks find.

use crate::support::*;
use http::uri::PathAndQuery;
use sluice_upstream::{Active, Balance, Body, HealthRule, Meters, Passive, SendErrorKind, Spec, Targets};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A service that can be told how to answer.
struct Service {
    backend: Backend,
    status: Rc<Cell<u16>>,
}

impl Service {
    async fn new() -> Self {
        let status = Rc::new(Cell::new(200));
        let answers = Rc::clone(&status);
        let backend = Backend::new(move |mut conn| {
            let answers = Rc::clone(&answers);
            async move {
                while let Some(got) = conn.request().await {
                    let (status, line) = (answers.get(), got.line());
                    match status {
                        // It hangs.
                        0 => return std::future::pending().await,
                        // It says nothing and closes.
                        1 => return,
                        _ => {
                            let length = line.len();
                            conn.say(format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{line}"))
                                .await;
                        }
                    }
                }
            }
        })
        .await;
        Self { backend, status }
    }

    /// Requests so far, checks left out.
    fn served(&self) -> usize {
        self.backend
            .lines()
            .iter()
            .filter(|line| !line.contains("healthz"))
            .count()
    }

    fn checks(&self) -> usize {
        self.backend
            .lines()
            .iter()
            .filter(|line| line.contains("healthz"))
            .count()
    }
}

fn of(services: &[&Service], health: HealthRule) -> Spec {
    let urls: Vec<String> = services.iter().map(|service| service.backend.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    Spec {
        health,
        balance: Balance::RoundRobin,
        ..spec(&urls)
    }
}

fn passive(errors: u32, eject_for: Duration) -> HealthRule {
    HealthRule {
        passive: Passive {
            errors,
            eject_for,
            ..Passive::default()
        },
        active: None,
    }
}

fn active(every: Duration) -> HealthRule {
    HealthRule {
        active: Some(Active {
            path: PathAndQuery::from_static("/healthz"),
            every,
            unhealthy_after: 2,
            healthy_after: 2,
        }),
        ..HealthRule::default()
    }
}

fn targets(rig: &Rig) -> Targets {
    rig.health.read().into_iter().next().unwrap_or_default()
}

/// Requests, whatever comes of them.
async fn ask(rig: &Rig, times: usize) {
    for _ in 0..times {
        let _ = rig.send(request("GET", "/", Body::Empty)).await;
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_target_that_fails_in_a_row_is_left_out() {
    for status in [503, 500, 1] {
        on_worker(async move {
            let (bad, good) = (Service::new().await, Service::new().await);
            let rig = Rig::new(of(&[&bad, &good], passive(3, HOUR)));
            bad.status.set(status);
            ask(&rig, 20).await;
            assert_eq!(bad.served(), 3, "{status}");
            let targets = targets(&rig);
            assert_eq!((targets.healthy, targets.ejected, targets.ejections), (1, 1, 1));
        });
    }
}

#[test]
fn a_target_comes_back_by_itself_when_its_time_is_over() {
    on_worker(async {
        let (bad, good) = (Service::new().await, Service::new().await);
        let rig = Rig::new(of(&[&bad, &good], passive(3, 50 * MS)));
        bad.status.set(503);
        ask(&rig, 8).await;
        let before = bad.served();
        bad.status.set(200);
        while bad.served() == before {
            ask(&rig, 1).await;
        }
        assert_eq!(targets(&rig).healthy, 2);
    });
}

#[test]
fn one_good_answer_between_them_and_failures_are_in_no_row() {
    on_worker(async {
        let (flaky, good) = (Service::new().await, Service::new().await);
        let rig = Rig::new(of(&[&flaky, &good], passive(3, HOUR)));
        for i in 0..40 {
            flaky.status.set(if i % 3 == 0 { 200 } else { 503 });
            ask(&rig, 2).await;
        }
        assert_eq!(targets(&rig).ejections, 0);
    });
}

#[test]
fn what_is_no_failure_of_the_target_ejects_nobody() {
    on_worker(async {
        let (one, two) = (Service::new().await, Service::new().await);
        let rig = Rig::new(of(&[&one, &two], passive(2, HOUR)));
        one.status.set(404);
        ask(&rig, 20).await;
        for _ in 0..20 {
            let broken = chunks(vec![Ok("half".into()), Err(sluice_upstream::BodyError::ClientGone)]);
            let _ = rig.send(request("PUT", "/", broken)).await;
        }
        // Who waits no longer.
        one.status.set(0);
        two.status.set(0);
        for _ in 0..20 {
            let _ = tokio::time::timeout(MS, rig.send(request("GET", "/", Body::Empty))).await;
        }
        assert_eq!(targets(&rig).ejections, 0);
    });
}

#[test]
fn not_more_than_a_share_is_ejected_and_of_one_target_none() {
    on_worker(async {
        let services = [
            Service::new().await,
            Service::new().await,
            Service::new().await,
            Service::new().await,
        ];
        let all: Vec<&Service> = services.iter().collect();
        let rig = Rig::new(of(&all, passive(2, HOUR)));
        for service in &services {
            service.status.set(503);
        }
        ask(&rig, 100).await;
        assert_eq!((targets(&rig).ejected, targets(&rig).healthy), (2, 2));
        let alone = Service::new().await;
        let rig = Rig::new(of(&[&alone], passive(1, HOUR)));
        alone.status.set(503);
        ask(&rig, 10).await;
        assert_eq!((targets(&rig).ejected, alone.served()), (0, 10));
    });
}

#[test]
fn with_nobody_left_and_no_panic_there_is_no_target() {
    on_worker(async {
        let (one, two) = (Service::new().await, Service::new().await);
        let mut rule = passive(1, HOUR);
        rule.passive.max_ejected = 1_000_000;
        rule.passive.panic = 0;
        let rig = Rig::new(of(&[&one, &two], rule.clone()));
        one.status.set(503);
        two.status.set(503);
        ask(&rig, 10).await;
        assert_eq!((one.served(), two.served()), (1, 1));
        let Err((error, _)) = rig.send(request("GET", "/", Body::Empty)).await else {
            panic!("answered");
        };
        assert!(matches!(error.kind, SendErrorKind::NoTarget));
        // With the usual one all are used.
        rule.passive.panic = 500_000;
        let mut rig = rig;
        rig.change(|spec| spec.health = rule);
        ask(&rig, 10).await;
        assert_eq!(one.served() + two.served(), 12);
    });
}

#[test]
fn all_workers_of_a_node_leave_out_what_one_has_found() {
    on_worker(async {
        let (bad, good) = (Service::new().await, Service::new().await);
        let spec = Arc::new(of(&[&bad, &good], passive(4, HOUR)).seal());
        let meters = Meters::default();
        let context = context(&meters, 1);
        let rigs = [1, 2].map(|seed| {
            let context = sluice_upstream::WorkerContext {
                seed,
                ..context.clone()
            };
            Rig::of(Arc::clone(&spec), meters.clone(), context)
        });
        bad.status.set(503);
        for _ in 0..20 {
            for rig in &rigs {
                ask(rig, 1).await;
            }
        }
        // Four in a row, whoever met them; one more may have been under way.
        assert_eq!(bad.served(), 4);
    });
}

#[test]
fn an_ejection_outlives_a_change_of_the_upstream() {
    on_worker(async {
        let (bad, good) = (Service::new().await, Service::new().await);
        let mut rig = Rig::new(of(&[&bad, &good], passive(2, HOUR)));
        bad.status.set(503);
        ask(&rig, 10).await;
        let before = bad.served();
        for i in 0..10 {
            rig.change(|spec| spec.timeouts.idle = Duration::from_secs(60 + i));
            ask(&rig, 2).await;
        }
        assert_eq!(bad.served(), before);
        assert_eq!(targets(&rig).ejected, 1);
        // One that is gone is forgotten.
        rig.change(|spec| drop(spec.targets.remove(0)));
        assert_eq!((targets(&rig).healthy, targets(&rig).ejected), (1, 0));
    });
}

#[test]
fn a_target_that_is_well_again_is_used_again() {
    on_worker(async {
        let (one, two) = (Service::new().await, Service::new().await);
        let rig = Rig::new(of(&[&one, &two], active(10 * MS)));
        until("both are known", || targets(&rig).healthy == 2 && one.checks() > 0).await;
        for status in [500, 1, 0, 503] {
            one.status.set(status);
            until("it is out", || targets(&rig).unhealthy == 1).await;
            let before = one.served();
            ask(&rig, 10).await;
            assert_eq!(one.served(), before, "{status}");
            one.status.set(200);
            until("it is back", || targets(&rig).healthy == 2).await;
            ask(&rig, 10).await;
            assert!(one.served() > before);
        }
    });
}

#[test]
fn with_all_unhealthy_all_are_used_and_all_come_back() {
    on_worker(async {
        let (one, two) = (Service::new().await, Service::new().await);
        let rig = Rig::new(of(&[&one, &two], active(10 * MS)));
        one.status.set(500);
        two.status.set(500);
        until("both are out", || targets(&rig).unhealthy == 2).await;
        ask(&rig, 10).await;
        assert!(one.served() > 0 && two.served() > 0);
        one.status.set(200);
        two.status.set(200);
        until("both are back", || targets(&rig).healthy == 2).await;
    });
}

#[test]
fn who_is_found_well_again_is_ejected_no_more() {
    on_worker(async {
        let (one, two) = (Service::new().await, Service::new().await);
        let mut rule = active(10 * MS);
        rule.passive.eject_for = HOUR;
        rule.passive.errors = 1;
        let rig = Rig::new(of(&[&one, &two], rule));
        until("both are known", || targets(&rig).healthy == 2 && one.checks() > 0).await;
        one.status.set(1);
        ask(&rig, 4).await;
        assert_eq!(targets(&rig).ejections, 1);
        until("it is out", || targets(&rig).unhealthy == 1).await;
        one.status.set(200);
        until("it is back", || targets(&rig).healthy == 2).await;
    });
}

#[test]
fn checks_go_by_the_settings_in_force_and_end_with_them() {
    on_worker(async {
        let service = Service::new().await;
        let mut rig = Rig::new(of(&[&service], active(5 * MS)));
        until("it is asked", || service.checks() > 3).await;
        rig.change(|spec| {
            if let Some(active) = &mut spec.health.active {
                active.path = PathAndQuery::from_static("/live");
            }
        });
        until("it is asked for something else", || {
            service.backend.lines().iter().any(|line| line.contains("/live"))
        })
        .await;
        let before = service.checks();
        until("and for that alone", || {
            service
                .backend
                .lines()
                .iter()
                .filter(|line| line.contains("/live"))
                .count()
                > 5
        })
        .await;
        assert!(service.checks() <= before + 1, "one may have been under way");
        rig.change(|spec| spec.health.active = None);
        let lines = service.backend.lines().len();
        tokio::time::sleep(50 * MS).await;
        assert!(service.backend.lines().len() <= lines + 1);
    });
}

#[test]
fn changes_of_what_is_beside_them_make_checks_neither_stop_nor_double() {
    on_worker(async {
        let service = Service::new().await;
        let every = 100 * MS;
        let mut rig = Rig::new(of(&[&service], active(every)));
        let began = tokio::time::Instant::now();
        let mut i = 0;
        while service.checks() < 5 {
            i += 1;
            rig.change(|spec| {
                spec.timeouts.idle = Duration::from_secs(60 + i);
                if let Some(active) = &mut spec.health.active {
                    active.unhealthy_after = 1 + (i % 3) as u32;
                }
            });
            tokio::time::sleep(MS).await;
        }
        // Never more often than asked for; on a slow machine less often.
        assert!(
            began.elapsed() >= 4 * every - 10 * MS,
            "{:?} with {i} changes",
            began.elapsed()
        );
    });
}

#[test]
fn a_target_that_joins_gets_requests_after_its_first_good_check() {
    on_worker(async {
        let (one, two) = (Service::new().await, Service::new().await);
        two.status.set(500);
        let mut rig = Rig::new(of(&[&one], active(10 * MS)));
        until("it is known", || one.checks() > 1).await;
        let joined = two.backend.url();
        rig.change(|spec| spec.targets.extend(sluice_upstream::TargetSpec::parse(&joined, 1)));
        ask(&rig, 10).await;
        assert_eq!(two.served(), 0);
        two.status.set(200);
        until("it is well", || targets(&rig).healthy == 2).await;
        ask(&rig, 10).await;
        assert!(two.served() > 0);
    });
}

#[test]
fn checks_speak_what_the_upstream_speaks_below_the_base_path_by_its_host() {
    on_worker(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let asked = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&asked);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = Rc::clone(&seen);
                tokio::task::spawn_local(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        seen.borrow_mut().push(request.uri().to_string());
                        let answer = http::Response::builder().status(204).body(()).unwrap();
                        respond.send_response(answer, true).unwrap();
                    }
                });
            }
        });
        let mut spec = h2(&[&url]);
        spec.health = active(HOUR);
        spec.host = sluice_upstream::HostPolicy::Literal("o.internal".parse().unwrap());
        let rig = Rig::new(spec);
        until("it is well", || {
            targets(&rig).healthy == 1 && !asked.borrow().is_empty()
        })
        .await;
        assert_eq!(asked.borrow()[0], "http://o.internal/base/healthz");
        assert_eq!(rig.health.opinion("a").await, Some(true));
    });
}

#[test]
fn an_opinion_is_that_of_most_targets() {
    on_worker(async {
        let services = [Service::new().await, Service::new().await, Service::new().await];
        let all: Vec<&Service> = services.iter().collect();
        let rig = Rig::new(of(&all, active(HOUR)));
        until("all are known", || {
            targets(&rig).healthy == 3 && services.iter().all(|one| one.checks() > 0)
        })
        .await;
        assert_eq!(rig.health.opinion("a").await, Some(true));
        services[0].status.set(503);
        assert_eq!(rig.health.opinion("a").await, Some(true));
        services[1].status.set(503);
        assert_eq!(rig.health.opinion("a").await, Some(false));
        assert_eq!(rig.health.opinion("b").await, None);
    });
}
