//! Connections: those that die, those that are switched, and what is never sent twice.

use crate::{OK, in_front_of, raw};
use cluster_tests::backend::digest;
use cluster_tests::document::with_routes;
use cluster_tests::wire::{Head, Wire};
use cluster_tests::{Backend, Call, Cluster, World, eventually};
use std::io;
use std::net::SocketAddr;

#[tokio::test]
async fn an_idle_connection_that_the_service_just_closed_costs_no_error() {
    // The service ends each connection right after an answer, in three ways, and never says so beforehand.
    for way in ["fin", "reset", "at once"] {
        let world = World::new();
        let service = Backend::scripted(world.service(), move |mut wire, journal, _| async move {
            while let Some(head) = wire.head().await? {
                journal.note(&head);
                wire.send(OK).await?;
                match way {
                    "at once" => return wire.finish().await,
                    "reset" if journal.count() % 2 == 0 => {
                        wire.reset();
                        return Ok(());
                    }
                    "fin" if journal.count() % 2 == 0 => return wire.finish().await,
                    _ => {}
                }
            }
            Ok(())
        })
        .await;
        let cluster = in_front_of(&world, &service).await;
        let load = cluster_tests::Load::on([cluster.node(1).http()]).connections(4).start();
        load.answers(400).await;
        let tally = load.stop().await;
        tally.expect_flawless();
        let replays = cluster.admin(1).metric("sluice_upstream_replaced_total", &[]).await as usize;
        let seen = service.journal().count();
        assert!(
            seen >= tally.good && seen <= tally.good + replays,
            "{way}: {seen}, {}, {replays}",
            tally.good
        );
    }
}

#[tokio::test]
async fn a_post_is_never_sent_twice_whatever_its_body() {
    let retry = "retry: { attempts: 3, on: [reset, 502, 503] }";
    for (reset, retry) in [(false, ""), (true, ""), (false, retry), (true, retry)] {
        let world = World::new();
        // Answers the first request of a connection, books the second and ends without a word.
        let service = Backend::scripted(world.service(), move |mut wire, journal, _| async move {
            let mut served = 0;
            while let Some(head) = wire.head().await? {
                wire.body(&head).await?;
                journal.note(&head);
                if head.target().starts_with("/warm") || (served == 0 && head.method() == "GET") {
                    wire.send(OK).await?;
                    served += 1;
                    continue;
                }
                if reset {
                    wire.reset();
                } else {
                    wire.finish().await?;
                }
                return Ok(());
            }
            Ok(())
        })
        .await;
        let cluster = Cluster::one(&world).await;
        let route = format!("{{ path: '/**', upstream: a, {retry} }}");
        cluster.apply(&with_routes(&[("a", &service.url())], &[route])).await;
        let at = cluster.node(1).http();
        for (name, method, length) in [
            ("post-0", "POST", "Content-Length: 0\r\n"),
            ("post-none", "POST", ""),
            ("patch", "PATCH", "Content-Length: 0\r\n"),
        ] {
            raw(at, "GET /warm HTTP/1.1\r\nHost: h\r\n\r\n").await;
            let (head, _) = raw(at, format!("{method} /{name} HTTP/1.1\r\nHost: h\r\n{length}\r\n")).await;
            assert_eq!(head.status(), 502, "{name}");
            assert_eq!(service.journal().count_of(&format!("{method} /{name}")), 1, "{name}");
        }
        raw(at, "GET /warm HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let (head, _) = raw(at, "GET /get HTTP/1.1\r\nHost: h\r\n\r\n").await;
        // A GET that fell on the dying connection has been given a fresh one.
        assert_eq!(head.status(), 200);
        // A PUT may be repeated, and ends as the last try does.
        let (head, _) = raw(at, "PUT /put HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(head.status(), 502);
        let booked = service.journal().count_of("PUT /put");
        match retry {
            // The dying connection and a fresh one, at most.
            "" => assert!((1..=2).contains(&booked), "{booked}"),
            _ => assert!((3..=4).contains(&booked), "{booked}"),
        }
    }
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = Cluster::one(&world).await;
    let routes = ["{ path: /up, upstream: a, max_body: 1MiB }"];
    cluster.apply(&with_routes(&[("a", &echo.url())], &routes)).await;
    let at = cluster.node(1).http();
    let tries = cluster_tests::rounds(40, 2_000);
    let (mut whole, mut broken) = (0, Vec::new());
    for round in 0..tries.div_ceil(8) {
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..8 {
            clients.spawn(blocking_upload(at, (round + client) % 2 == 0));
        }
        while let Some(result) = clients.join_next().await {
            match result.expect("no panic") {
                Ok(()) => whole += 1,
                Err(error) => broken.push(error.to_string()),
            }
        }
    }
    assert!(broken.len() * 1_000 <= whole, "{whole} whole, but {broken:?}");
    assert_eq!(echo.journal().count_of("POST /up") - chunked_beginnings(&echo), 0);
}

/// Requests without a length have begun at the service before they grew too large; those with one never get there.
fn chunked_beginnings(echo: &Backend) -> usize {
    echo.journal()
        .requests()
        .iter()
        .filter(|head| head.field("content-length").is_none())
        .count()
}

/// Sends 8 MiB, and reads only when the writing has ended or failed.
async fn blocking_upload(at: SocketAddr, with_length: bool) -> io::Result<()> {
    let mut wire = Wire::connect(at).await?;
    let block = vec![b'x'; 64 * 1024];
    let blocks = 128;
    let framing = match with_length {
        true => format!("Content-Length: {}", block.len() * blocks),
        false => "Transfer-Encoding: chunked".to_owned(),
    };
    wire.send(format!("POST /up HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n"))
        .await?;
    for _ in 0..blocks {
        let sent = match with_length {
            true => wire.send(&block).await,
            false => {
                let mut chunk = format!("{:x}\r\n", block.len()).into_bytes();
                chunk.extend_from_slice(&block);
                chunk.extend_from_slice(b"\r\n");
                wire.send(chunk).await
            }
        };
        if sent.is_err() {
            break;
        }
    }
    let head = wire.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let body = wire.body(&head).await?;
    let problem: serde_json::Value = serde_json::from_slice(&body)?;
    if head.status() == 413 && problem["code"] == "body_too_large" {
        return Ok(());
    }
    Err(io::Error::other(format!("{}: {problem}", head.status())))
}

#[tokio::test]
async fn an_interim_answer_is_never_the_answer() {
    let world = World::new();
    let body = vec![b'y'; 300_000];
    let expected = digest(&body);
    let service = Backend::scripted(world.service(), move |mut wire, journal, _| {
        let body = body.clone();
        async move {
            while let Some(head) = wire.head().await? {
                journal.note(&head);
                let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
                if head.field("expect").is_some() {
                    wire.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
                    wire.body(&head).await?;
                    wire.send(early).await?;
                    wire.send("HTTP/1.1 102 Processing\r\n\r\n").await?;
                } else {
                    wire.body(&head).await?;
                    wire.send(format!("{early}{early}")).await?;
                }
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await?;
                for part in body.chunks(30_000) {
                    wire.send(format!("{:x}\r\n", part.len())).await?;
                    wire.send(part).await?;
                    wire.send("\r\n").await?;
                }
                wire.send("0\r\n\r\n").await?;
            }
            Ok(())
        }
    })
    .await;
    let cluster = in_front_of(&world, &service).await;
    let at = cluster.node(1).http();

    let mut wire = Wire::connect(at).await.expect("the node listens");
    let head = "PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    wire.send(head).await.expect("it is taken");
    let interim = wire.head().await.expect("an answer").expect("an answer");
    assert_eq!(interim.status(), 100);
    wire.send("hello").await.expect("it is taken");
    let (last, body) = final_answer(&mut wire).await;
    assert_eq!((last.status(), digest(&body)), (200, expected.clone()));

    let mut wire = Wire::connect(at).await.expect("the node listens");
    wire.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .expect("it is taken");
    let (last, body) = final_answer(&mut wire).await;
    assert_eq!((last.status(), digest(&body)), (200, expected.clone()));

    // A client of HTTP/1.0 gets no interim answer at all.
    let mut wire = Wire::connect(at).await.expect("the node listens");
    wire.send("GET /x HTTP/1.0\r\nHost: h\r\n\r\n")
        .await
        .expect("it is taken");
    let head = wire.head().await.expect("an answer").expect("an answer");
    assert_eq!(head.status(), 200);
    assert_eq!(digest(&wire.rest().await.expect("a whole body")), expected);

    let counted = cluster
        .admin(1)
        .metric("http_server_request_duration_seconds_count", &["status_code=\"1"])
        .await;
    assert_eq!(counted, 0.0);
}

async fn final_answer(wire: &mut Wire) -> (Head, Vec<u8>) {
    loop {
        let head = wire.head().await.expect("an answer").expect("an answer");
        if head.status() >= 200 {
            let body = wire.body(&head).await.expect("a whole body");
            return (head, body);
        }
    }
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_a_502() {
    let world = World::new();
    let service = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        if let Some(head) = wire.head().await? {
            journal.note(&head);
            wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                .await?;
            wire.head().await?;
        }
        Ok(())
    })
    .await;
    let cluster = in_front_of(&world, &service).await;
    let refused = Call::get(cluster.node(1).http(), "/").answer().await.expect(502);
    assert_eq!(refused.code(), "upstream_protocol");
    Call::get(cluster.node(1).http(), "/").answer().await.expect(502);
    assert_eq!(service.journal().connections(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_is_told_to_the_service() {
    let world = World::new();
    let service = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        if let Some(head) = wire.head().await? {
            // No answer: only the end of the connection brings this on.
            wire.rest_or_reset().await;
            journal.note(&head);
        }
        Ok(())
    })
    .await;
    let cluster = in_front_of(&world, &service).await;
    let mut wire = Wire::connect(cluster.node(1).http()).await.expect("the node listens");
    wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .expect("it is taken");
    eventually("the service to have the request", || async {
        if service.journal().connections() == 1 {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    wire.reset();
    eventually("the service to be told", || async {
        if service.journal().count() == 1 {
            Ok(())
        } else {
            Err("it still waits")
        }
    })
    .await;
}
