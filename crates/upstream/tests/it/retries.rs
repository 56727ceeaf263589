//! What is tried again, where, and how often at most.

use crate::support::*;
use bytes::Bytes;
use sluice_shared_state::breaker::Failures;
use sluice_upstream::{Body, BodyError, Reading, Retried, Retry, SendErrorKind, Spec, Which};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Whatever fails is tried again, so often in all and without a pause.
fn retry(attempts: u32) -> Retry {
    Retry {
        attempts,
        backoff: Duration::from_nanos(1),
        ..Retry::default()
    }
}

fn with(backends: &[&Backend], retry: Retry) -> Spec {
    let urls: Vec<String> = backends.iter().map(|backend| backend.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    Spec { retry, ..spec(&urls) }
}

fn count(of: &[(&'static str, u64)], why: &str) -> u64 {
    of.iter().find(|(known, _)| *known == why).unwrap().1
}

fn retried(reading: &Reading, why: &str) -> u64 {
    count(&reading.retries, why)
}

fn skipped(reading: &Reading, why: &str) -> u64 {
    count(&reading.skipped, why)
}

/// Answers with this status, and the request line.
async fn answering(status: u16) -> Backend {
    Backend::new(move |mut conn| async move {
        while let Some(got) = conn.request().await {
            let body = got.line();
            let length = body.len();
            conn.say(format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}"))
                .await;
        }
    })
    .await
}

/// Reads a request and closes without an answer; with `reset` by RST.
async fn closing(reset: bool) -> Backend {
    Backend::new(move |mut conn| async move {
        let _ = conn.request().await;
        if reset {
            conn.reset();
        }
    })
    .await
}

/// A port on which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_status_that_is_named_is_tried_again_on_another_target() {
    on_worker(async {
        let (bad, good) = (answering(503).await, answering(200).await);
        let rig = Rig::new(with(&[&bad, &good], retry(2)));
        for i in 0..20 {
            let answer = rig.get(&format!("/{i}")).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.text(), format!("GET /{i} HTTP/1.1"));
            assert!(answer.attempts.tries <= 2);
        }
        // The bad one is asked first in about half of the cases, and never twice for one request.
        let asked = bad.lines();
        let mut once = asked.clone();
        once.dedup();
        assert_eq!(asked, once);
        assert_eq!(retried(&rig.reading(), "status"), asked.len() as u64);
        assert!(!asked.is_empty());
        assert_eq!(rig.connections().0, 0, "what was not passed on holds nothing");
    });
}

#[test]
fn an_answer_that_is_the_last_is_passed_on_whole() {
    on_worker(async {
        let (one, two) = (answering(503).await, answering(503).await);
        let rig = Rig::new(with(&[&one, &two], retry(3)));
        let answer = rig.get("/x").await;
        assert_eq!((answer.status, answer.text()), (503, "GET /x HTTP/1.1".into()));
        assert_eq!(answer.attempts.tries, 3);
        assert_eq!(answer.attempts.retried, Some(Retried::Status));
        let counts = [one.lines().len(), two.lines().len()];
        assert!(counts == [1, 2] || counts == [2, 1], "{counts:?}");
    });
}

#[test]
fn a_status_that_is_not_named_is_an_answer_as_any_other() {
    on_worker(async {
        let (bad, good) = (answering(500).await, answering(500).await);
        let rig = Rig::new(with(&[&bad, &good], retry(3)));
        assert_eq!(rig.get("/").await.status, 500);
        assert_eq!(bad.lines().len() + good.lines().len(), 1);
    });
}

#[test]
fn a_request_that_may_not_be_repeated_is_booked_once() {
    on_worker(async {
        for reset in [false, true] {
            for (method, body) in [
                ("POST", Body::Empty),
                ("PATCH", Body::Empty),
                ("POST", Body::Full("x".into())),
            ] {
                let (one, two) = (closing(reset).await, closing(reset).await);
                let rig = Rig::new(with(&[&one, &two], retry(3)));
                let Err((error, attempts)) = rig.send(request(method, "/charge", body)).await else {
                    panic!("{method} was answered");
                };
                assert!(matches!(error.kind, SendErrorKind::Reset), "{method}: {error}");
                assert_eq!(attempts.tries, 1);
                assert_eq!(one.lines().len() + two.lines().len(), 1, "{method}");
                assert_eq!(skipped(&rig.reading(), "method"), 1);
            }
        }
    });
}

#[test]
fn a_status_on_a_post_is_passed_on() {
    on_worker(async {
        let (one, two) = (answering(503).await, answering(200).await);
        let rig = Rig::new(with(&[&one, &two], retry(3)));
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let sent = rig.send(request("POST", "/", Body::Empty)).await;
            statuses.push(sent.map(|answer| answer.status).unwrap_or(0));
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 503]);
    });
}

#[test]
fn what_no_target_has_seen_is_tried_again_whatever_it_is() {
    on_worker(async {
        let good = answering(200).await;
        let dead = nobody().await;
        let mut spec = with(&[&good], retry(2));
        spec.targets.extend(sluice_upstream::TargetSpec::parse(&dead, 1));
        let rig = Rig::new(spec);
        for i in 0..8 {
            let body = chunks(pieces(&["on", "ly ", "once"]));
            let answer = rig
                .send(request("POST", &format!("/{i}"), body))
                .await
                .map_err(|(error, _)| error);
            assert_eq!(answer.unwrap().status, 200);
        }
        assert_eq!(good.lines().len(), 8);
        assert!(retried(&rig.reading(), "connect") >= 2);
    });
}

#[test]
fn a_reset_is_tried_again_with_the_body_from_its_start() {
    on_worker(async {
        for reset in [false, true] {
            let bad = closing(reset).await;
            let good = mirror().await;
            let rig = Rig::new(with(&[&bad, &good], retry(2)));
            for _ in 0..4 {
                let body = chunks(pieces(&["the ", "whole ", "body"]));
                let answer = rig
                    .send(request("PUT", "/x", body))
                    .await
                    .map_err(|(error, _)| error)
                    .unwrap();
                let text = answer.text();
                let (_, sent) = text.split_once("\r\n\r\n").unwrap();
                let lines: Vec<&str> = sent.lines().collect();
                // As chunks, in whichever pieces.
                let sent: String = lines.iter().skip(1).step_by(2).copied().collect();
                assert_eq!(sent, "the whole body", "{text}");
            }
            assert!(retried(&rig.reading(), "reset") >= 1);
        }
    });
}

#[test]
fn a_body_that_is_longer_than_what_is_kept_is_sent_once() {
    on_worker(async {
        let refuses = || {
            Backend::new(|mut conn| async move {
                while conn.request().await.is_some() {
                    conn.say("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n").await;
                }
            })
        };
        for (length, tries) in [(60 * 1024, 2), (70 * 1024, 1)] {
            let (one, two) = (refuses().await, refuses().await);
            let rig = Rig::new(with(&[&one, &two], retry(2)));
            let body = chunks(vec![
                Ok(Bytes::from(vec![b'x'; length / 2])),
                Ok(Bytes::from(vec![b'x'; length / 2])),
            ]);
            let answer = rig
                .send(request("PUT", "/", body))
                .await
                .map_err(|(error, _)| error)
                .unwrap();
            assert_eq!((answer.status, answer.attempts.tries), (503, tries), "{length}");
            assert_eq!(skipped(&rig.reading(), "body"), u64::from(tries == 1));
        }
    });
}

#[test]
fn an_early_refusal_is_tried_again_while_the_client_still_sends() {
    on_worker(async {
        let early = Backend::new(|mut conn| async move {
            let _ = conn.head().await;
            conn.say("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n").await;
            conn.rest().await;
        })
        .await;
        let good = mirror().await;
        let mut spec = with(&[&early, &good], retry(2));
        spec.balance = sluice_upstream::Balance::RoundRobin;
        let rig = Rig::new(spec);
        for _ in 0..2 {
            let body = chunks(pieces(&["a", "b", "c", "d", "e", "f"]));
            let answer = rig
                .send(request("PUT", "/x", body))
                .await
                .map_err(|(error, _)| error)
                .unwrap();
            assert_eq!(answer.status, 200);
            let text = answer.text();
            let sent: String = text.rsplit("\r\n\r\n").collect();
            for piece in ["a", "b", "c", "d", "e", "f"] {
                assert!(sent.contains(piece), "{text}");
            }
        }
        assert_eq!(retried(&rig.reading(), "status"), 1);
    });
}

#[test]
fn what_the_client_breaks_is_not_tried_again() {
    on_worker(async {
        let (one, two) = (mirror().await, mirror().await);
        let rig = Rig::new(with(&[&one, &two], retry(3)));
        let body = chunks(vec![Ok("half".into()), Err(BodyError::ClientGone)]);
        let Err((error, attempts)) = rig.send(request("PUT", "/", body)).await else {
            panic!("answered");
        };
        assert!(matches!(error.kind, SendErrorKind::ClientBody(_)));
        assert_eq!(attempts.tries, 1);
    });
}

/// Heads and bodies after so long each; what is asked first is slow.
fn slow_first(head: Duration) -> impl Future<Output = Backend> {
    let asked = Rc::new(Cell::new(0));
    Backend::new(move |mut conn| {
        let asked = Rc::clone(&asked);
        async move {
            while conn.request().await.is_some() {
                if asked.replace(asked.get() + 1) == 0 {
                    tokio::time::sleep(head).await;
                }
                conn.say(ok("whole")).await;
            }
        }
    })
}

#[test]
fn a_try_that_is_too_slow_gives_way_to_one_that_answers_at_once() {
    on_worker(async {
        let slow = slow_first(Duration::from_secs(600)).await;
        let mut spec = with(&[&slow], retry(2));
        spec.timeouts.attempt = Some(300 * MS);
        let rig = Rig::new(spec);
        let answer = rig.get("/").await;
        assert_eq!((answer.status, answer.text()), (200, "whole".into()));
        assert_eq!((answer.attempts.tries, slow.lines().len()), (2, 2));
        assert_eq!(retried(&rig.reading(), "timeout"), 1);
    });
}

#[test]
fn an_answer_that_has_begun_is_neither_cut_nor_tried_again() {
    on_worker(async {
        let dies = Backend::new(|mut conn| async move {
            let _ = conn.request().await;
            conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
            tokio::time::sleep(300 * MS).await;
            conn.reset();
        })
        .await;
        let mut spec = with(&[&dies], retry(3));
        spec.timeouts.attempt = Some(200 * MS);
        let rig = Rig::new(spec);
        let answer = rig.get("/").await;
        assert_eq!(answer.status, 200);
        assert!(
            matches!(answer.body, Err(BodyError::UpstreamReset(_))),
            "{:?}",
            answer.body
        );
        assert_eq!(dies.lines().len(), 1);
    });
}

#[test]
fn all_tries_share_the_time_to_the_first_byte() {
    on_worker(async {
        let silent = Backend::new(|mut conn| async move { while conn.request().await.is_some() {} }).await;
        let mut spec = with(&[&silent], retry(10));
        spec.timeouts.attempt = Some(40 * MS);
        spec.timeouts.first_byte = 100 * MS;
        let rig = Rig::new(spec);
        let Err((error, _)) = rig.send(request("GET", "/", Body::Empty)).await else {
            panic!("answered");
        };
        assert!(
            matches!(error.kind, SendErrorKind::Timeout(Which::FirstByte)),
            "{error}"
        );
        assert!((2..=3).contains(&silent.lines().len()));
    });
}

#[test]
fn a_pause_for_which_there_is_no_time_ends_the_request_with_what_it_has() {
    on_worker(async {
        let bad = answering(503).await;
        let mut spec = with(&[&bad], retry(2));
        spec.retry.backoff = Duration::from_secs(3_600);
        spec.retry.most_backoff = Duration::from_secs(3_600);
        spec.timeouts.first_byte = 500 * MS;
        let rig = Rig::new(spec);
        assert_eq!(rig.get("/").await.status, 503);
        assert_eq!(skipped(&rig.reading(), "time"), 1);
    });
}

#[test]
fn the_budget_bounds_what_a_failing_upstream_gets() {
    on_worker(async {
        let bad = answering(503).await;
        let rig = Rig::new(with(&[&bad], retry(2)));
        for _ in 0..300 {
            rig.get("/").await;
        }
        let asked = bad.lines().len();
        // A fifth, and what was saved up; what a slow machine adds by time is one a second.
        assert!((300 + 60..300 + 60 + 40).contains(&asked), "{asked}");
        assert!(skipped(&rig.reading(), "budget") > 200);
    });
}

/// A service of HTTP/2 that answers with this status once it has the whole request, and notes what it had: method and body.
async fn h2_answering(status: u16) -> (String, Rc<RefCell<Vec<(String, String)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let journal = Rc::new(RefCell::new(Vec::new()));
    let notes = Rc::clone(&journal);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let notes = Rc::clone(&notes);
            tokio::task::spawn_local(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let notes = Rc::clone(&notes);
                    tokio::task::spawn_local(async move {
                        let method = request.method().to_string();
                        let (mut body, mut had) = (request.into_body(), Vec::new());
                        while let Some(Ok(piece)) = body.data().await {
                            had.extend_from_slice(&piece);
                        }
                        notes.borrow_mut().push((method, String::from_utf8(had).unwrap()));
                        let answer = http::Response::builder().status(status).body(()).unwrap();
                        let mut stream = respond.send_response(answer, false).unwrap();
                        let _ = stream.send_data(Bytes::from_static(b"answer"), true);
                    });
                }
            });
        }
    });
    (url, journal)
}

#[test]
fn streams_are_tried_again_as_requests_of_http1_are() {
    on_worker(async {
        let ((bad, refused), (good, served)) = (h2_answering(503).await, h2_answering(200).await);
        let mut spec = h2(&[&bad, &good]);
        spec.retry = retry(2);
        spec.health.passive.max_ejected = 0;
        let rig = Rig::new(spec);
        for _ in 0..6 {
            let body = chunks(pieces(&["the ", "whole ", "body"]));
            let answer = rig.send(request("PUT", "/x", body)).await.map_err(|(error, _)| error);
            assert_eq!(answer.unwrap().status, 200);
        }
        assert!(!refused.borrow().is_empty());
        let whole = ("PUT".to_owned(), "the whole body".to_owned());
        assert!(
            refused
                .borrow()
                .iter()
                .chain(&*served.borrow())
                .all(|had| *had == whole)
        );
        served.borrow_mut().clear();
        refused.borrow_mut().clear();
        for _ in 0..6 {
            let _ = rig.send(request("POST", "/x", Body::Empty)).await;
        }
        assert_eq!(served.borrow().len() + refused.borrow().len(), 6, "a POST is sent once");
        assert!(skipped(&rig.reading(), "method") > 0);
    });
}

#[test]
fn without_retries_one_try_is_made() {
    on_worker(async {
        let (bad, good) = (answering(503).await, answering(503).await);
        let rig = Rig::new(with(&[&bad, &good], Retry::default()));
        assert_eq!(rig.get("/").await.attempts.tries, 1);
        let reading = rig.reading();
        assert!(reading.skipped.iter().all(|(_, count)| *count == 0));
    });
}

#[test]
fn each_target_gets_its_own_host_and_base_path() {
    on_worker(async {
        let bad = answering(503).await;
        let good = mirror().await;
        let mut spec = spec(&[&format!("{}/one", bad.url()), &format!("{}/two", good.url())]);
        spec.retry = retry(2);
        spec.host = sluice_upstream::HostPolicy::Target;
        let rig = Rig::new(spec);
        for _ in 0..2 {
            let answer = rig.get("/x?y=1").await.text();
            assert!(answer.starts_with("GET /two/x?y=1 HTTP/1.1"), "{answer}");
            assert!(answer.contains(&format!("host: {}", good.address)), "{answer}");
        }
        assert_eq!(bad.lines(), ["GET /one/x?y=1 HTTP/1.1"]);
    });
}

#[test]
fn only_what_is_named_is_tried_again() {
    on_worker(async {
        let named = |connect, reset| Failures {
            connect,
            reset,
            timeout: false,
            statuses: Vec::new(),
        };
        for (on, tries) in [(named(true, false), 1), (named(false, true), 2)] {
            let (one, two) = (closing(false).await, closing(false).await);
            let rig = Rig::new(with(&[&one, &two], Retry { on, ..retry(2) }));
            let Err((_, attempts)) = rig.send(request("GET", "/", Body::Empty)).await else {
                panic!("answered");
            };
            assert_eq!(attempts.tries, tries);
        }
    });
}
