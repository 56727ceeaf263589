//! How many connections there are, who waits for one, and when they end.

use super::peer::*;
use crate::support::*;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use sluice_upstream::{Balance, Body, Protocol, SendErrorKind};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const MAX_CONCURRENT_STREAMS: u16 = 3;

/// Answers when `many` requests are there, on all connections together, and each one after that.
async fn gathering(settings: &'static [(u16, u32)], many: usize) -> Backend {
    let (come, all) = (Rc::new(Cell::new(0)), Rc::new(tokio::sync::Notify::new()));
    target(settings, move |mut peer| {
        let (come, all) = (Rc::clone(&come), Rc::clone(&all));
        async move {
            let mut waiting = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    asked = peer.request() => {
                        let Some(asked) = asked else { return };
                        come.set(come.get() + 1);
                        waiting.push(asked.id);
                        if come.get() >= many {
                            all.notify_waiters();
                        }
                    }
                    () = all.notified(), if come.get() < many => {}
                }
                if come.get() >= many {
                    for id in waiting.drain(..) {
                        peer.say(answer(id, "done")).await;
                    }
                }
            }
        }
    })
    .await
}

async fn at_once(rig: &Rig, requests: usize) {
    let asked = (0..requests).map(|_| rig.send(request("GET", "/", Body::Empty)));
    for answer in join_all(asked).await {
        assert_eq!(answer.map_err(|(error, _)| error).unwrap().text(), "done");
    }
}

#[test]
fn all_requests_of_a_moment_share_the_connection_that_is_made_for_the_first() {
    on_worker(async {
        let backend = gathering(&[], 100).await;
        let rig = Rig::h2(&backend);
        at_once(&rig, 100).await;
        at_once(&rig, 100).await;
        assert_eq!((backend.accepted.get(), rig.connections()), (1, (0, 1)));
    });
}

#[test]
fn streams_are_counted_against_the_target_s_limit_and_ours() {
    on_worker(async {
        let backend = gathering(&[(MAX_CONCURRENT_STREAMS, 2)], 7).await;
        let rig = Rig::h2(&backend);
        at_once(&rig, 7).await;
        assert_eq!(
            (backend.accepted.get(), rig.connections(), rig.replaced()),
            (4, (0, 4), 0)
        );
        let backend = gathering(&[(MAX_CONCURRENT_STREAMS, 1_000)], 101).await;
        let rig = Rig::h2(&backend);
        at_once(&rig, 101).await;
        assert_eq!(backend.accepted.get(), 2);
    });
}

#[test]
fn a_target_that_takes_no_streams_is_told_as_such() {
    on_worker(async {
        let backend = echo(&[(MAX_CONCURRENT_STREAMS, 0)]).await;
        let rig = Rig::h2(&backend);
        let (error, _) = rig.send(request("GET", "/", Body::Empty)).await.err().unwrap();
        assert!(matches!(error.kind, SendErrorKind::Connect) && !error.sent, "{error}");
        assert_eq!(backend.accepted.get(), 1);
        until("the connection is given up", || rig.connections() == (0, 0)).await;
    });
}

#[test]
fn a_target_that_leaves_at_once_is_not_called_for_ever() {
    on_worker(async {
        let backend = target(&[], |mut peer| async move {
            peer.say(go_away(0, NO_ERROR)).await;
        })
        .await;
        let rig = Rig::h2(&backend);
        let (error, _) = rig.send(request("POST", "/", Body::Empty)).await.err().unwrap();
        assert!(matches!(error.kind, SendErrorKind::Reset), "{error}");
        assert!(backend.accepted.get() <= 12, "{}", backend.accepted.get());
    });
}

#[test]
fn nobody_waits_for_a_target_that_is_not_there_longer_than_for_its_refusal() {
    on_worker(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let rig = Rig::new(h2(&[&url]));
        let asked = (0..20).map(|_| rig.send(request("GET", "/", Body::Empty)));
        for result in join_all(asked).await {
            let (error, attempts) = result.err().unwrap();
            assert!(matches!(error.kind, SendErrorKind::Connect) && !error.sent, "{error}");
            assert_eq!(attempts.tries, 1);
        }
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn who_asked_for_a_connection_may_leave_and_others_get_it() {
    on_worker(async {
        let backend = gathering(&[], 1).await;
        let rig = Rc::new(Rig::h2(&backend));
        let first = tokio::task::spawn_local({
            let rig = Rc::clone(&rig);
            async move { rig.get("/").await.status }
        });
        tokio::task::yield_now().await;
        first.abort();
        at_once(&rig, 1).await;
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn a_connection_at_rest_ends_by_its_idle_time_and_an_old_one_takes_no_more_streams() {
    on_worker(async {
        // The clock goes by the waits alone.
        tokio::time::pause();
        let backend = gathering(&[], 1).await;
        let mut rig = Rig::h2(&backend);
        rig.change(|spec| spec.pool.idle = 20 * MS);
        at_once(&rig, 1).await;
        assert_eq!(rig.connections(), (0, 1));
        until("it ends", || rig.connections() == (0, 0)).await;
        rig.change(|spec| {
            spec.pool.idle = Duration::from_secs(60);
            spec.pool.max_age = 20 * MS;
        });
        at_once(&rig, 1).await;
        tokio::time::sleep(25 * MS).await;
        at_once(&rig, 1).await;
        assert_eq!(backend.accepted.get(), 3);
        rig.change(|spec| spec.pool.max_idle = 0);
        at_once(&rig, 1).await;
        until("none is kept", || rig.connections() == (0, 0)).await;
    });
}

#[test]
fn a_change_that_takes_a_target_away_leaves_its_streams_alone() {
    on_worker(async {
        let (go, gone) = (Rc::new(tokio::sync::Notify::new()), Rc::new(Cell::new(false)));
        let (wait, told) = (Rc::clone(&go), Rc::clone(&gone));
        let backend = target(&[], move |mut peer| {
            let (wait, told) = (Rc::clone(&wait), Rc::clone(&told));
            async move {
                let asked = peer.request().await.unwrap();
                peer.say(head(asked.id, 0, &[(":status", "200")])).await;
                wait.notified().await;
                peer.say(frame(DATA, END_STREAM, asked.id, b"late")).await;
                peer.rest().await;
                told.set(true);
            }
        })
        .await;
        let other = echo(&[]).await;
        let mut rig = Rig::h2(&backend);
        let (response, _) = rig.start(request("GET", "/", Body::Empty)).await;
        let url = other.url();
        rig.change(|spec| spec.targets = h2(&[&url]).targets);
        assert_eq!(rig.get("/other").await.text(), "/other");
        assert!(!gone.get());
        go.notify_one();
        let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "late");
        until("the connection ends with its last stream", || gone.get()).await;
    });
}

#[test]
fn another_protocol_is_another_target() {
    on_worker(async {
        // By what it reads first.
        let backend = Backend::new(|mut conn| async move {
            let some = conn.some().await.unwrap();
            if some.starts_with(b"GET / HTTP/1.1\r\n") {
                conn.say(ok("http/1.1")).await;
            }
            conn.rest().await;
        })
        .await;
        let mut rig = Rig::to(&backend);
        assert_eq!(rig.get("/").await.text(), "http/1.1");
        assert_eq!(rig.connections(), (0, 1));
        rig.change(|spec| {
            spec.protocol = Protocol::Http2;
            spec.timeouts.connect = 30 * MS;
        });
        assert_eq!(rig.connections(), (0, 0));
        let (error, _) = rig.send(request("GET", "/", Body::Empty)).await.err().unwrap();
        assert!(matches!(error.kind, SendErrorKind::Timeout(_)), "{error}");
    });
}

#[test]
fn the_less_busy_target_is_chosen_by_its_streams() {
    on_worker(async {
        let busy = gathering(&[], 1_000).await;
        let free = gathering(&[], 1_000).await;
        let rig = Rc::new({
            let mut spec = h2(&[&busy.url(), &free.url()]);
            spec.balance = Balance::LeastRequest;
            Rig::new(spec)
        });
        let counts = Rc::new(Cell::new((0u32, 0u32)));
        let busy_url = busy.url();
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let (rig, counts, busy_url) = (Rc::clone(&rig), Rc::clone(&counts), busy_url.clone());
                tokio::task::spawn_local(async move {
                    let mut attempts = sluice_upstream::Attempts::default();
                    let mut asked = request("GET", "/", Body::Empty);
                    let sent = rig.upstreams.send(
                        &rig.spec,
                        sluice_upstream::Plan::of(&rig.spec),
                        &mut asked,
                        &mut attempts,
                    );
                    let _ = tokio::time::timeout(200 * MS, sent).await;
                    let (a, b) = counts.get();
                    let chosen = attempts.target.as_deref() == Some(busy_url.as_str());
                    counts.set(if chosen { (a + 1, b) } else { (a, b + 1) });
                })
            })
            .collect();
        join_all(tasks).await;
        let (a, b) = counts.get();
        assert_eq!(a + b, 200);
        assert!(a.abs_diff(b) < 40, "{a} {b}");
    });
}
