//! What is sent again: what the target says that it has not looked at, and nothing else that may
//! not be repeated.

use super::peer::*;
use crate::support::*;
use futures_util::future::join_all;
use sluice_upstream::{Body, BodyError, Replaced, SendErrorKind};
use std::cell::RefCell;
use std::rc::Rc;

type Journal = Rc<RefCell<Vec<String>>>;

fn served(journal: &Journal) -> usize {
    journal.borrow().len()
}

/// Goes away at each `every`th request of a connection: those up to it are served, later ones are
/// not looked at. With `pair`, it announces that first.
async fn leaving(every: usize, pair: bool) -> (Backend, Journal) {
    let journal = Journal::default();
    let lines = Rc::clone(&journal);
    let backend = target(&[], move |mut peer| {
        let journal = Rc::clone(&lines);
        async move {
            let (mut count, mut last) = (0, None);
            let mut open = 0;
            while let Some(frame) = peer.frame().await {
                if last.is_some_and(|last| frame.id > last) {
                    continue;
                }
                if frame.kind == HEADERS {
                    count += 1;
                    open += 1;
                    journal.borrow_mut().push(frame.field("x-id").unwrap().to_owned());
                    if count == every {
                        if pair {
                            peer.say(go_away(ALL_STREAMS, NO_ERROR)).await;
                            tokio::task::yield_now().await;
                        }
                        peer.say(go_away(frame.id, NO_ERROR)).await;
                        last = Some(frame.id);
                    }
                }
                if frame.ends() {
                    peer.say(answer(frame.id, "served")).await;
                    open -= 1;
                }
                if last.is_some() && open == 0 {
                    return peer.close().await;
                }
            }
        }
    })
    .await;
    (backend, journal)
}

async fn through_goaway(targets: usize, pair: bool, requests: usize) {
    let mut all = Vec::new();
    for _ in 0..targets {
        all.push(leaving(50, pair).await);
    }
    let urls: Vec<String> = all.iter().map(|(backend, _)| backend.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let rig = Rc::new(Rig::new(h2(&urls)));
    let next = Rc::new(std::cell::Cell::new(0));
    let client = || {
        let (rig, next) = (Rc::clone(&rig), Rc::clone(&next));
        async move {
            loop {
                let id = next.replace(next.get() + 1);
                if id >= requests {
                    return;
                }
                let mut request = match id % 3 {
                    0 => request("GET", "/", Body::Empty),
                    1 => request("POST", "/", Body::Full("one piece".into())),
                    _ => request("POST", "/", chunks(pieces(&["in ", "pieces"]))),
                };
                request.headers_mut().insert("x-id", id.into());
                let answer = rig.send(request).await.map_err(|(error, _)| error).unwrap();
                assert_eq!((answer.status, answer.text().as_str()), (200, "served"));
            }
        }
    };
    join_all((0..16).map(|_| client())).await;
    let mut ids: Vec<String> = all.iter().flat_map(|(_, journal)| journal.borrow().clone()).collect();
    assert_eq!(ids.len(), requests);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), requests, "each was served once");
    let reading = rig.reading();
    for (why, count) in reading.replaced {
        // One that fell on a connection whose end is known is not even sent.
        let may = ["gone_away", "unsent"].contains(&why);
        assert!(may || count == 0, "{why} {count}");
    }
    assert!(rig.replaced() > 0);
}

/// As many as the case asks for, or a few.
fn requests() -> usize {
    match std::env::var("CLUSTER_TESTS") {
        Ok(form) if form == "full" => 20_000,
        _ => 2_000,
    }
}

#[test]
fn going_away_fails_no_request() {
    on_worker(async {
        through_goaway(1, false, requests()).await;
        through_goaway(2, false, requests()).await;
    });
}

#[test]
fn going_away_in_two_steps_fails_no_request() {
    on_worker(async {
        through_goaway(1, true, requests()).await;
        through_goaway(2, true, requests()).await;
    });
}

#[test]
fn a_refused_stream_is_sent_again_whatever_its_method() {
    on_worker(async {
        let backend = target(&[], |mut peer| async move {
            let mut refused = 0;
            while let Some(frame) = peer.frame().await {
                if frame.kind == HEADERS && refused < 2 {
                    refused += 1;
                    peer.say(reset(frame.id, REFUSED_STREAM)).await;
                } else if frame.ends() {
                    peer.say(answer(frame.id, "done")).await;
                }
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        let answer = rig.send(request("POST", "/", chunks(pieces(&["a", "b"])))).await;
        let answer = answer.map_err(|(error, _)| error).unwrap();
        assert_eq!((answer.text().as_str(), answer.attempts.tries), ("done", 3));
        assert_eq!(answer.attempts.replaced, Some(Replaced::Refused));
        assert_eq!((rig.replaced(), backend.accepted.get()), (2, 1));
    });
}

#[test]
fn a_target_that_refuses_for_ever_is_given_up() {
    on_worker(async {
        let backend = target(&[], |mut peer| async move {
            while let Some(asked) = peer.request().await {
                peer.say(reset(asked.id, REFUSED_STREAM)).await;
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        let (error, attempts) = rig.send(request("GET", "/", Body::Empty)).await.err().unwrap();
        assert!(matches!(error.kind, SendErrorKind::Reset), "{error}");
        assert_eq!((attempts.tries, rig.connections()), (9, (0, 1)));
    });
}

#[test]
fn a_body_that_is_gone_is_not_sent_again() {
    on_worker(async {
        let journal = Journal::default();
        let lines = Rc::clone(&journal);
        let backend = target(&[], move |mut peer| {
            let journal = Rc::clone(&lines);
            async move {
                let asked = peer.request().await.unwrap();
                journal.borrow_mut().push("asked".to_owned());
                let mut came = 0;
                while came <= 64 * 1024 {
                    came += peer.frame().await.unwrap().payload.len();
                }
                peer.say(reset(asked.id, REFUSED_STREAM)).await;
                peer.rest().await;
            }
        })
        .await;
        let rig = Rig::h2(&backend);
        let piece = || Ok(vec![b'x'; 32 * 1024].into());
        let long = endless(vec![piece(), piece(), piece()]);
        let (error, _) = rig.send(request("POST", "/", long)).await.err().unwrap();
        assert!(matches!(error.kind, SendErrorKind::Reset), "{error}");
        assert_eq!(served(&journal), 1);
    });
}

/// Reads a request on a connection that has served one before, and ends it without an answer.
async fn dying(how: &'static str) -> (Backend, Journal) {
    let journal = Journal::default();
    let lines = Rc::clone(&journal);
    let backend = target(&[], move |mut peer| {
        let journal = Rc::clone(&lines);
        async move {
            while let Some(asked) = peer.request().await {
                let line = format!("{} {}", asked.field(":method").unwrap(), asked.field(":path").unwrap());
                journal.borrow_mut().push(line);
                if asked.field(":path") == Some("/next") || (how != "RST_STREAM" && peer.number() > 0) {
                    peer.say(answer(asked.id, "done")).await;
                    continue;
                }
                match how {
                    "FIN" => return,
                    "RST" => return peer.reset(),
                    // It may have looked at the request.
                    "GOAWAY" => {
                        peer.say(go_away(asked.id, INTERNAL_ERROR)).await;
                        return;
                    }
                    _ => peer.say(reset(asked.id, INTERNAL_ERROR)).await,
                }
            }
        }
    })
    .await;
    (backend, journal)
}

#[test]
fn a_request_that_may_have_been_looked_at_is_repeated_only_if_it_may_be() {
    on_worker(async {
        for how in ["FIN", "RST", "GOAWAY", "RST_STREAM"] {
            for (method, repeated) in [("GET", true), ("PUT", true), ("POST", false), ("PATCH", false)] {
                let (backend, journal) = dying(how).await;
                let rig = Rig::h2(&backend);
                rig.get("/next").await;
                let result = rig.send(request(method, "/", Body::Empty)).await;
                // A reset stream is an answer of a kind: its connection lives.
                let repeated = repeated && how != "RST_STREAM";
                assert_eq!(result.is_ok(), repeated, "{how} {method}");
                if let Err((error, _)) = result {
                    assert!(matches!(error.kind, SendErrorKind::Reset) && error.sent, "{error}");
                }
                let times = journal.borrow().iter().filter(|line| line.ends_with(" /")).count();
                assert_eq!(times, if repeated { 2 } else { 1 }, "{how} {method}");
                assert_eq!(backend.accepted.get(), times, "{how} {method}");
            }
        }
    });
}

#[test]
fn a_fresh_connection_that_dies_is_not_replaced() {
    on_worker(async {
        let (backend, journal) = dying("FIN").await;
        let rig = Rig::h2(&backend);
        let (error, _) = rig.send(request("GET", "/", Body::Empty)).await.err().unwrap();
        assert!(matches!(error.kind, SendErrorKind::Reset), "{error}");
        assert_eq!((served(&journal), backend.accepted.get()), (1, 1));
    });
}

#[test]
fn a_connection_that_died_at_rest_costs_no_error() {
    on_worker(async {
        for goodbye in [false, true] {
            for method in ["GET", "POST"] {
                let backend = target(&[], move |mut peer| async move {
                    let asked = peer.request().await.unwrap();
                    peer.say(answer(asked.id, "done")).await;
                    if goodbye {
                        peer.say(go_away(asked.id, NO_ERROR)).await;
                    }
                })
                .await;
                let rig = Rig::h2(&backend);
                for _ in 0..20 {
                    let answer = rig.send(request(method, "/", Body::Empty)).await;
                    assert_eq!(answer.map_err(|(error, _)| error).unwrap().text(), "done");
                    tokio::time::sleep(6 * MS).await;
                }
                assert_eq!(backend.accepted.get(), 20);
            }
        }
    });
}

/// An answer of 200 KB in one write, and what comes behind it.
async fn answering(end: fn(u32) -> Vec<u8>) -> Backend {
    target(&[], move |mut peer| async move {
        while let Some(asked) = peer.request().await {
            let id = asked.id;
            let mut bytes = head(id, 0, &[(":status", "200"), ("content-type", "application/grpc")]);
            bytes.extend(data(id, 0, &vec![b'x'; 200_000]));
            bytes.extend(end(id));
            peer.say(bytes).await;
        }
    })
    .await
}

/// A request whose client has not ended its side, read with a rest after each piece.
async fn read_slowly(rig: &Rig) -> (usize, Option<http::HeaderMap>, Option<BodyError>) {
    use http_body_util::BodyExt;
    let open = endless(vec![Ok(vec![1; 1024].into())]);
    let (response, _) = rig.start(request("POST", "/", open)).await;
    let mut body = response.unwrap().into_body();
    let (mut length, mut trailers) = (0, None);
    loop {
        tokio::task::yield_now().await;
        match body.frame().await {
            None => return (length, trailers, None),
            Some(Err(error)) => return (length, trailers, Some(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => length += data.len(),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    }
}

#[test]
fn a_reset_that_says_no_error_after_a_whole_answer_loses_nothing() {
    on_worker(async {
        let status = |id| {
            let trailers = head(id, END_STREAM, &[("grpc-status", "0"), ("grpc-message", "")]);
            [trailers, reset(id, NO_ERROR)].concat()
        };
        let backend = answering(status).await;
        let rig = Rig::h2(&backend);
        for _ in 0..500 {
            let (length, trailers, error) = read_slowly(&rig).await;
            assert!(error.is_none(), "{error:?}");
            assert_eq!(
                (length, &trailers.unwrap()["grpc-status"]),
                (200_000, &"0".parse().unwrap())
            );
        }
        assert_eq!((backend.accepted.get(), rig.replaced()), (1, 0));
        assert_eq!(rig.connections(), (0, 1));

        let ended = answering(|id| [frame(DATA, END_STREAM, id, b""), reset(id, NO_ERROR)].concat()).await;
        let rig = Rig::h2(&ended);
        let (length, _, error) = read_slowly(&rig).await;
        assert!(length == 200_000 && error.is_none(), "{error:?}");

        let alone = target(&[], |mut peer| async move {
            while let Some(asked) = peer.request().await {
                let head = head(asked.id, END_STREAM, &[(":status", "200"), ("grpc-status", "8")]);
                peer.say([head, reset(asked.id, NO_ERROR)].concat()).await;
            }
        })
        .await;
        let rig = Rig::h2(&alone);
        for _ in 0..500 {
            let open = endless(vec![Ok(vec![1; 1024].into())]);
            let (response, _) = rig.start(request("POST", "/", open)).await;
            assert_eq!(response.unwrap().headers()["grpc-status"], "8");
        }
    });
}

#[test]
fn a_reset_within_an_answer_is_never_its_clean_end() {
    on_worker(async {
        for code in [CANCEL, NO_ERROR, INTERNAL_ERROR] {
            let backend = answering(match code {
                CANCEL => |id| reset(id, CANCEL),
                NO_ERROR => |id| reset(id, NO_ERROR),
                _ => |id| reset(id, INTERNAL_ERROR),
            })
            .await;
            let rig = Rig::h2(&backend);
            let (length, trailers, error) = read_slowly(&rig).await;
            assert!(length <= 200_000 && trailers.is_none());
            assert!(matches!(error, Some(BodyError::UpstreamReset(_))), "{error:?}");
            assert_eq!((rig.connections(), rig.replaced()), ((0, 1), 0));
        }
    });
}
