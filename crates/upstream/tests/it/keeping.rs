//! How long connections are kept, and what a change of the configuration does to them.

use crate::support::*;
use sluice_upstream::{Body, Plan};
use std::time::Duration;

#[test]
fn what_may_not_be_kept_is_closed() {
    on_worker(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nKeep-Alive: timeout=0\r\n\r\nx",
        ] {
            let backend = Backend::new(move |mut conn| async move {
                while conn.request().await.is_some() {
                    conn.say(answer).await;
                }
            })
            .await;
            let rig = Rig::to(&backend);
            for i in 1..=3 {
                assert_eq!(rig.get("/").await.text(), "x");
                assert_eq!(backend.accepted.get(), i, "{answer}");
                assert_eq!(rig.connections(), (0, 0), "{answer}");
            }
        }
    });
}

#[test]
fn an_answer_that_is_left_unread_closes_its_connection() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while conn.request().await.is_some() {
                conn.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").await;
            }
            conn.rest().await;
        })
        .await;
        let rig = Rig::to(&backend);
        let (answer, _) = rig.start(request("GET", "/", Body::Empty)).await;
        assert_eq!(rig.connections(), (1, 0));
        drop(answer);
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn idle_connections_end_by_time_and_by_what_the_target_told() {
    on_worker(async {
        let backend = Backend::echo().await;
        let mut rig = Rig::to(&backend);
        rig.change(|spec| spec.pool.idle = 20 * MS);
        rig.get("/").await;
        assert_eq!(rig.connections(), (0, 1));
        until("reaped", || rig.connections() == (0, 0)).await;
        rig.get("/").await;
        tokio::time::sleep(30 * MS).await;
        assert!(!rig.get("/").await.attempts.reused);

        let backend = Backend::new(|mut conn| async move {
            while conn.request().await.is_some() {
                conn.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nKeep-Alive: max=9, timeout=1\r\n\r\nx")
                    .await;
            }
        })
        .await;
        let rig = Rig::to(&backend);
        rig.get("/").await;
        assert!(rig.get("/").await.attempts.reused);
        until("reaped", || rig.connections() == (0, 0)).await;
    });
}

#[test]
fn old_connections_are_used_no_more() {
    on_worker(async {
        let backend = Backend::echo().await;
        let mut rig = Rig::to(&backend);
        rig.change(|spec| spec.pool.max_age = 50 * MS);
        let mut fresh = 0;
        while fresh < 3 {
            fresh += usize::from(!rig.get("/").await.attempts.reused);
            tokio::time::sleep(MS).await;
        }
        assert_eq!(backend.accepted.get(), 3);
    });
}

#[test]
fn what_a_burst_left_behind_is_closed_and_what_is_in_use_is_not() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while conn.request().await.is_some() {
                tokio::time::sleep(5 * MS).await;
                conn.say(ok("x")).await;
            }
        })
        .await;
        let mut rig = Rig::to(&backend);
        rig.change(|spec| spec.pool.max_idle = 2);
        let burst = || futures_util::future::join_all((0..10).map(|_| rig.get("/")));
        burst().await;
        burst().await;
        assert_eq!(backend.accepted.get(), 10);
        until("trimmed", || rig.connections() == (0, 2)).await;
        rig.change(|spec| spec.pool.max_idle = 1);
        assert_eq!(rig.connections(), (0, 1));
        rig.change(|spec| spec.pool.max_idle = 0);
        assert_eq!(rig.connections(), (0, 0));
        rig.get("/").await;
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn a_change_keeps_what_stays_closes_what_goes_and_lets_answers_end() {
    on_worker(async {
        let (kept, gone) = (Backend::echo().await, {
            Backend::new(|mut conn| async move {
                while let Some(got) = conn.request().await {
                    if got.line().contains("slow") {
                        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12").await;
                        tokio::time::sleep(50 * MS).await;
                        conn.say("34").await;
                    } else {
                        conn.say(ok("x")).await;
                    }
                }
            })
            .await
        });
        let mut rig = Rig::new(spec(&[&kept.url(), &gone.url()]));
        for _ in 0..4 {
            rig.get("/").await;
        }
        assert_eq!(rig.connections(), (0, 2));
        let old = rig.spec.clone();
        let (slow, _) = {
            let one = rig.start(request("GET", "/slow", Body::Empty)).await;
            if one.1.target.as_deref() == Some(&*gone.url()) {
                one
            } else {
                rig.start(request("GET", "/slow", Body::Empty)).await
            }
        };
        let (to_kept, to_gone) = (kept.accepted.get(), gone.accepted.get());
        rig.change(|spec| {
            spec.targets.pop();
            spec.timeouts.idle = Duration::from_secs(7);
        });
        assert_eq!(rig.connections(), (1, 1));
        use http_body_util::BodyExt;
        assert_eq!(
            &slow.unwrap().into_body().collect().await.unwrap().to_bytes()[..],
            b"1234"
        );
        assert_eq!(rig.connections(), (0, 1));
        for _ in 0..4 {
            assert!(rig.get("/").await.attempts.reused);
        }
        assert_eq!((kept.accepted.get(), gone.accepted.get()), (to_kept, to_gone));

        // A request of the version before still finds its target, and leaves nothing behind.
        let mut seen = 0;
        for _ in 0..8 {
            let mut attempts = Default::default();
            let sent = rig
                .upstreams
                .send(
                    &old,
                    Plan::of(&old),
                    &mut request("GET", "/", Body::Empty),
                    &mut attempts,
                )
                .await;
            assert!(sent.is_ok());
            seen += usize::from(attempts.target.as_deref() == Some(&*gone.url()));
        }
        assert!(seen > 0);
        assert_eq!(rig.connections(), (0, 1));

        rig.upstreams.reconcile(&[]);
        assert!(rig.meters.read().is_empty());
    });
}

#[test]
fn an_unrelated_change_costs_no_connection() {
    on_worker(async {
        let backend = Backend::echo().await;
        let rig = Rig::to(&backend);
        for _ in 0..50 {
            rig.get("/").await;
            let same = std::sync::Arc::new((*rig.spec).clone());
            rig.upstreams.reconcile(&[same]);
        }
        assert_eq!(backend.accepted.get(), 1);
    });
}
