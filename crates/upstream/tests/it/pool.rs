//! Kept connections: used again, replaced when they died, never with somebody else's bytes.

use crate::support::*;
use bytes::Bytes;
use sluice_upstream::{Body, Replaced, SendErrorKind, Which};
use std::cell::Cell;
use std::rc::Rc;
use tokio::net::TcpListener;

#[test]
fn a_connection_is_used_again_and_is_free_as_soon_as_its_answer_is_there() {
    on_worker(async {
        let backend = Backend::echo().await;
        let rig = Rig::to(&backend);
        for i in 0..20 {
            let (answer, attempts) = rig.start(request("GET", "/", Body::Empty)).await;
            assert_eq!(attempts.reused, i > 0);
            assert_eq!(attempts.target.as_deref(), Some(&*backend.url()));
            // The body is small and was there with the head: nobody has to read it first.
            assert_eq!(rig.connections(), (0, 1));
            drop(answer);
        }
        assert_eq!(backend.accepted.get(), 1);
        assert_eq!(backend.lines().len(), 20);
        assert_eq!(rig.replaced(), 0);
    });
}

#[test]
fn the_last_one_given_back_is_the_first_one_taken() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while conn.request().await.is_some() {
                let number = conn.number.to_string();
                tokio::time::sleep(5 * MS).await;
                conn.say(ok(&number)).await;
            }
        })
        .await;
        let rig = Rig::to(&backend);
        let get = || rig.get("/");
        tokio::join!(get(), get(), get());
        assert_eq!(rig.connections(), (0, 3));
        let last = get().await.text();
        for _ in 0..10 {
            assert_eq!(get().await.text(), last);
        }
        assert_eq!(backend.accepted.get(), 3);
    });
}

/// What a backend does to a kept connection before, while or after the second request comes.
#[derive(Clone, Copy, Debug)]
enum Death {
    FinAtOnce,
    RstAtOnce,
    FinAfterHead,
    RstAfterHead,
    RstAfterPartOfHead,
}

const DEATHS: [Death; 5] = [
    Death::FinAtOnce,
    Death::RstAtOnce,
    Death::FinAfterHead,
    Death::RstAfterHead,
    Death::RstAfterPartOfHead,
];

/// Answers the first request of each connection, then dies on the first connections, and counts
/// what it takes for an order.
async fn dying(death: Death, connections: usize) -> Backend {
    use tokio::io::AsyncReadExt;
    Backend::new(move |mut conn| async move {
        if conn.number >= connections {
            while let Some(got) = conn.request().await {
                conn.say(ok(got.line())).await;
            }
            return;
        }
        let got = conn.request().await.unwrap();
        conn.say(ok(got.line())).await;
        match death {
            Death::FinAtOnce => {}
            Death::RstAtOnce => conn.reset(),
            Death::FinAfterHead => {
                conn.request().await;
            }
            Death::RstAfterHead => {
                conn.request().await;
                conn.reset();
            }
            Death::RstAfterPartOfHead => {
                let mut some = [0; 4];
                let _ = conn.stream.read(&mut some).await;
                conn.reset();
            }
        }
    })
    .await
}

#[test]
fn what_may_be_repeated_survives_every_death_of_a_kept_connection() {
    on_worker(async {
        for death in DEATHS {
            for (method, body) in [
                ("GET", Body::Empty),
                ("HEAD", Body::Empty),
                ("DELETE", Body::Empty),
                ("OPTIONS", Body::Empty),
                ("PUT", Body::Full(Bytes::from_static(b"abc"))),
                ("PUT", chunks(vec![Ok("ab".into()), Ok("c".into())])),
            ] {
                let backend = dying(death, 1).await;
                let rig = Rig::to(&backend);
                rig.get("/first").await;
                let answer = rig.send(request(method, "/second", body)).await;
                let answer = answer.unwrap_or_else(|(error, _)| panic!("{death:?} {method}: {error}"));
                assert_eq!(answer.status, 200);
                assert_eq!(
                    answer.attempts.tries,
                    if answer.attempts.replaced.is_some() { 2 } else { 1 }
                );
                assert_eq!(
                    rig.replaced(),
                    u64::from(answer.attempts.replaced.is_some()),
                    "{death:?} {method}"
                );
                assert!(answer.attempts.connected.is_some());
            }
        }
    });
}

#[test]
fn a_replaced_request_is_the_same_request() {
    on_worker(async {
        let heads = Rc::new(std::cell::RefCell::new(Vec::new()));
        let seen = Rc::clone(&heads);
        let backend = Backend::new(move |mut conn| {
            let heads = Rc::clone(&seen);
            async move {
                while let Some(got) = conn.request().await {
                    heads.borrow_mut().push((got.head.clone(), got.body));
                    if conn.number == 0 && heads.borrow().len() == 2 {
                        return;
                    }
                    conn.say(ok("x")).await;
                }
            }
        })
        .await;
        let rig = Rig::to(&backend);
        rig.get("/first").await;
        let body = chunks(vec![Ok("hello ".into()), Ok(vec![b'x'; 50_000].into())]);
        let mut request = request("PUT", "/a%20b?c=d%2F", body);
        request.headers_mut().append("x-two", "1".parse().unwrap());
        request.headers_mut().append("x-two", "2".parse().unwrap());
        let answer = rig.send(request).await.map_err(|(error, _)| error).unwrap();
        assert_eq!(answer.attempts.replaced, Some(Replaced::Closed));
        let heads = heads.borrow();
        assert_eq!(heads.len(), 3);
        let sorted = |head: &str| {
            let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&heads[1].0), sorted(&heads[2].0));
        let payload = |body: &[u8]| body.iter().filter(|b| b.is_ascii_lowercase()).count();
        assert_eq!(payload(&heads[1].1), payload(&heads[2].1));
    });
}

#[test]
fn a_post_is_never_booked_twice_however_the_connection_dies() {
    on_worker(async {
        for (i, length) in (0..500).zip([Some("0"), None, Some("3")].into_iter().cycle()) {
            let death = DEATHS[i % DEATHS.len()];
            let backend = dying(death, 1).await;
            let rig = Rig::to(&backend);
            rig.get("/first").await;
            let method = if i % 4 == 0 { "PATCH" } else { "POST" };
            let body = if length == Some("3") {
                Body::Full(Bytes::from_static(b"abc"))
            } else {
                Body::Empty
            };
            let mut request = request(method, "/charge", body);
            if let Some(length) = length {
                request.headers_mut().insert("content-length", length.parse().unwrap());
            }
            let result = rig.send(request).await;
            let booked = backend.lines().iter().filter(|line| line.contains("/charge")).count();
            assert!(booked <= 1, "{death:?}: {booked}");
            match (death, result) {
                // Dead before the request: proven unprocessed, so it may go on a fresh one.
                (Death::FinAtOnce | Death::RstAtOnce, result) => {
                    assert_eq!(result.map_err(|(error, _)| error).unwrap().status, 200);
                    assert_eq!(booked, 1);
                }
                (_, Err((error, attempts))) => {
                    assert!(matches!(error.kind, SendErrorKind::Reset), "{death:?} {error}");
                    assert!(error.sent);
                    assert_eq!(attempts.tries, 1);
                }
                (death, Ok(answer)) => panic!("{death:?}: {}", answer.text()),
            }
        }
    });
}

#[test]
fn only_one_replacement_is_made_and_it_is_fresh() {
    on_worker(async {
        // Every connection dies with its second request; the fresh one with its first.
        let backend = Backend::new(|mut conn| async move {
            if conn.number < 3 {
                conn.request().await;
                tokio::time::sleep(5 * MS).await;
                conn.say(ok("x")).await;
            }
            conn.request().await;
        })
        .await;
        let rig = Rig::to(&backend);
        tokio::join!(rig.get("/"), rig.get("/"), rig.get("/"));
        assert_eq!(rig.connections(), (0, 3));
        let Err((error, attempts)) = rig.send(request("GET", "/second", Body::Empty)).await else {
            panic!()
        };
        assert!(matches!(error.kind, SendErrorKind::Reset));
        assert_eq!((attempts.tries, attempts.replaced), (2, Some(Replaced::Closed)));
        assert!(!attempts.reused);
        assert_eq!(backend.accepted.get(), 4);
        assert_eq!(backend.lines().iter().filter(|line| line.contains("second")).count(), 2);
        assert_eq!(rig.connections(), (0, 2));
    });
}

#[test]
fn a_request_is_not_repeated_once_a_byte_of_an_answer_came() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            conn.request().await;
            conn.say(ok("x")).await;
            conn.request().await;
            conn.say("HTTP/1.1 2").await;
        })
        .await;
        let rig = Rig::to(&backend);
        rig.get("/first").await;
        let Err((error, attempts)) = rig.send(request("GET", "/second", Body::Empty)).await else {
            panic!()
        };
        assert!(
            matches!(error.kind, SendErrorKind::Reset | SendErrorKind::Protocol),
            "{error}"
        );
        assert_eq!((attempts.tries, attempts.replaced), (1, None));
    });
}

#[test]
fn a_body_too_long_to_keep_is_not_sent_twice() {
    on_worker(async {
        let backend = dying(Death::FinAfterHead, 1).await;
        let rig = Rig::to(&backend);
        rig.get("/first").await;
        let body = chunks(vec![Ok(vec![0; 60_000].into()), Ok(vec![0; 6_000].into())]);
        let Err((error, _)) = rig.send(request("PUT", "/second", body)).await else {
            panic!()
        };
        assert!(matches!(error.kind, SendErrorKind::Reset), "{error}");
        assert_eq!(backend.lines().len(), 2);
    });
}

#[test]
fn connections_that_died_in_the_pool_are_found_before_use() {
    on_worker(async {
        for rst in [false, true] {
            let go = Rc::new(Cell::new(false));
            let told = Rc::clone(&go);
            let backend = Backend::new(move |mut conn| {
                let go = Rc::clone(&told);
                async move {
                    while let Some(got) = conn.request().await {
                        tokio::time::sleep(5 * MS).await;
                        conn.say(ok(got.line())).await;
                        if conn.number < 5 {
                            until("go", || go.get()).await;
                            if rst {
                                conn.reset();
                            }
                            return;
                        }
                    }
                }
            })
            .await;
            let rig = Rig::to(&backend);
            let get = || rig.get("/");
            tokio::join!(get(), get(), get(), get(), get());
            assert_eq!(rig.connections(), (0, 5));
            go.set(true);
            tokio::time::sleep(30 * MS).await;
            let answer = rig
                .send(request("POST", "/charge", Body::Empty))
                .await
                .map_err(|(error, _)| error)
                .unwrap();
            assert_eq!((answer.attempts.tries, answer.attempts.replaced), (1, None));
            assert_eq!(rig.connections(), (0, 1));
        }
    });
}

#[test]
fn bytes_that_nobody_asked_for_never_become_an_answer() {
    on_worker(async {
        let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
        let cases: Vec<(&str, String, String, &str)> = vec![
            (
                "HEAD",
                "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n".into(),
                "x".repeat(20),
                "",
            ),
            (
                "GET",
                "HTTP/1.1 204 No Content\r\n\r\n".into(),
                "eleven byte".into(),
                "",
            ),
            (
                "GET",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".into(),
                "12345".into(),
                "",
            ),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345".into(),
                "6789".into(),
                "12345",
            ),
            ("GET", ok("12345"), evil.into(), "12345"),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n".into(),
                evil.into(),
                "ab",
            ),
        ];
        for (method, answer, surplus, body) in cases {
            for later in [false, true] {
                let (say, more, said) = (answer.clone(), surplus.clone(), Rc::new(Cell::new(false)));
                let all_said = Rc::clone(&said);
                let backend = Backend::new(move |mut conn| {
                    let (say, more, said) = (say.clone(), more.clone(), Rc::clone(&said));
                    async move {
                        while let Some(got) = conn.request().await {
                            if !got.line().contains("/first") {
                                conn.say(ok(got.line())).await;
                            } else if later {
                                conn.say(&say).await;
                                tokio::time::sleep(20 * MS).await;
                                conn.say(&more).await;
                                said.set(true);
                            } else {
                                conn.say(format!("{say}{more}")).await;
                            }
                        }
                    }
                })
                .await;
                let rig = Rig::to(&backend);
                let first = rig
                    .send(request(method, "/first", Body::Empty))
                    .await
                    .map_err(|(error, _)| error)
                    .unwrap();
                assert_eq!(first.text(), body, "{answer}");
                if later {
                    until("the surplus lies in the socket", || all_said.get()).await;
                }
                let next = rig.get("/next").await;
                assert_eq!(next.text(), "GET /next HTTP/1.1", "{answer}");
                assert!(!next.attempts.reused);
                assert_eq!(backend.accepted.get(), 2);
            }
        }
    });
}

#[test]
fn no_connection_is_told_with_its_address() {
    on_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let rig = Rig::new(spec(&[&format!("http://{address}")]));
        let Err((error, attempts)) = rig.send(request("POST", "/", Body::Empty)).await else {
            panic!()
        };
        assert!(matches!(error.kind, SendErrorKind::Connect));
        assert!(!error.sent);
        assert_eq!(attempts.tries, 1);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert_eq!(rig.connections(), (0, 0));
        let reading = rig.reading();
        assert_eq!(reading.connecting, 0);
        assert_eq!((reading.durations[0].0, reading.durations[0].1.count()), (0, 1));
    });
}

#[test]
fn a_listener_that_does_not_accept_ends_by_the_connect_time_out_or_the_head_s() {
    on_worker(async {
        // A queue of one that is full: further connects hang.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into())
            .unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut rig = Rig::new(spec(&[&format!("http://{address}")]));
        rig.timeouts.connect = 50 * MS;
        rig.timeouts.first_byte = 200 * MS;
        let mut connect = 0;
        for _ in 0..4 {
            let Err((error, _)) = rig.send(request("GET", "/", Body::Empty)).await else {
                panic!()
            };
            match error.kind {
                SendErrorKind::Timeout(Which::Connect) => connect += 1,
                SendErrorKind::Timeout(Which::FirstByte) => {}
                kind => panic!("{kind:?}"),
            }
        }
        assert!(connect > 0);
    });
}

#[test]
fn a_kept_connection_closed_just_as_it_is_used_costs_no_error() {
    on_worker(async {
        // The backend closes after a moment of silence; the client asks at about that moment.
        let backend = Backend::new(|mut conn| async move {
            let pause = 20 * MS + (conn.number as u32 % 5) * MS / 5;
            while let Ok(Some(got)) = tokio::time::timeout(pause, conn.request()).await {
                conn.say(ok(got.line())).await;
            }
            if conn.number % 2 == 0 {
                conn.reset();
            }
        })
        .await;
        let rig = Rig::to(&backend);
        let mut answers = 0;
        for i in 0..150u32 {
            assert_eq!(rig.get("/").await.status, 200);
            answers += 1;
            tokio::time::sleep(19 * MS + (i % 16) * MS / 5).await;
        }
        let booked = backend.lines().len() as u64;
        assert!(
            (answers..=answers + rig.replaced()).contains(&booked),
            "{booked} {}",
            rig.replaced()
        );
    });
}

#[test]
fn a_backend_that_closes_after_each_answer_without_saying_so_costs_no_error() {
    on_worker(async {
        for rst in [false, true] {
            let backend = Backend::new(move |mut conn| async move {
                if let Some(got) = conn.request().await {
                    conn.say(ok(got.line())).await;
                    tokio::task::yield_now().await;
                }
                if rst {
                    conn.reset();
                }
            })
            .await;
            let rig = Rig::to(&backend);
            for _ in 0..200 {
                let (answer, _) = rig.start(request("GET", "/", Body::Empty)).await;
                assert_eq!(answer.unwrap().status(), 200);
            }
            assert_eq!(backend.lines().len(), 200);
        }
    });
}
