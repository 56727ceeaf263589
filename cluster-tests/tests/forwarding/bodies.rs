//! Bodies and trailers: framed once, streamed both ways, never where none may be.

use crate::{OK, in_front_of, raw};
use cluster_tests::backend::answer_of;
use cluster_tests::document::with_routes;
use cluster_tests::wire::Wire;
use cluster_tests::{Backend, Call, Cluster, World, eventually};
use std::time::Duration;

#[tokio::test]
async fn a_chunked_body_ends_once_and_nothing_stands_between_two_requests() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = in_front_of(&world, &echo).await;
    let at = cluster.node(1).http();
    for round in 0..50 {
        let (head, _) = raw(
            at,
            "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n6;ext=1\r\nefghij\r\n0\r\n\r\n",
        )
        .await;
        assert_eq!(head.status(), 200, "{round}");
        let (head, body) = raw(at, format!("GET /g{round} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let told: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            (head.status(), told["target"].as_str()),
            (200, Some(format!("/g{round}").as_str()))
        );
    }
    let (_, body) = raw(
        at,
        "POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabcdefghij",
    )
    .await;
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")["length"],
        10
    );
    let seen = echo.journal().requests();
    let with_length = seen.iter().find(|head| head.target() == "/l").expect("it came");
    assert_eq!(
        (
            with_length.field("content-length"),
            with_length.field("transfer-encoding")
        ),
        (Some("10"), None)
    );
    assert_eq!(echo.journal().broken(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_where_none_may_be_does_not_poison_the_next_answer() {
    let world = World::new();
    let service = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        while let Some(head) = wire.head().await? {
            journal.note(&head);
            let (answer, surplus) = match head.target() {
                "/head" => ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", "surplus surplus surp"),
                "/204" => ("HTTP/1.1 204 No Content\r\n\r\n", "surplus sur"),
                "/304" => ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "surpl"),
                "/long" => ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst", "plus"),
                _ => {
                    wire.send(answer_of("a", &head, b"", &[])).await?;
                    return wire.finish().await;
                }
            };
            wire.send(answer).await?;
            if head.field("x-late").is_some() {
                cluster_tests::wait::pass(Duration::from_millis(50)).await;
            }
            wire.send(surplus).await?;
        }
        Ok(())
    })
    .await;
    let cluster = in_front_of(&world, &service).await;
    let at = cluster.node(1).http();
    for late in [false, true] {
        for (number, (method, path, status, body)) in [
            ("HEAD", "/head", 200, ""),
            ("GET", "/204", 204, ""),
            ("GET", "/304", 304, ""),
            ("GET", "/long", 200, "first"),
        ]
        .into_iter()
        .enumerate()
        {
            let mut call = Call::new(method.parse().expect("a method"), at, path);
            if late {
                call = call.header("x-late", "1");
            }
            let answer = call.answer().await;
            assert_eq!(
                (answer.status.as_u16(), answer.text().as_str()),
                (status, body),
                "{path}, late: {late}"
            );
            // What comes without having been asked for ends the connection.
            let journal = service.journal();
            eventually("the connection to be given up", || async {
                let open = journal.connections() - journal.ended();
                if open == 0 {
                    Ok(())
                } else {
                    Err(format!("{open} open after {path}, late: {late}"))
                }
            })
            .await;
            let next = format!("/next-{number}-{late}");
            let answer = Call::get(at, &next).answer().await;
            assert_eq!(answer.status, 200, "after {path}, late: {late}: {}", answer.text());
            assert_eq!(answer.json()["target"], next, "after {path}, late: {late}");
        }
    }
}

#[tokio::test]
async fn once_an_answer_has_begun_no_time_out_of_a_try_cuts_it() {
    let world = World::new();
    let service = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        while let Some(head) = wire.head().await? {
            journal.note(&head);
            let beat = |part: u64| cluster_tests::wait::pass(Duration::from_millis(part));
            match head.target() {
                "/slow-body" => {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await?;
                    for _ in 0..8 {
                        beat(100).await;
                        wire.send("x").await?;
                    }
                }
                "/slow-head" => {
                    beat(2_000).await;
                    wire.send(OK).await?;
                }
                "/slow-once" => {
                    if journal.count_of("GET /slow-once") == 1 {
                        beat(2_000).await;
                    }
                    wire.send(OK).await?;
                }
                _ => {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
                        .await?;
                    beat(50).await;
                    wire.reset();
                    return Ok(());
                }
            }
        }
        Ok(())
    })
    .await;
    let cluster = Cluster::one(&world).await;
    let timeout = "timeout: { connect: 1s, try: 300ms, first_byte: 5s }";
    let retry = "retry: { attempts: 2, on: [timeout, 503], backoff: 1ms..1ms }";
    let routes = [
        format!("{{ path: '/**', upstream: a, {timeout}, {retry} }}"),
        format!("{{ path: /slow-head, upstream: a, {timeout} }}"),
    ];
    cluster.apply(&with_routes(&[("a", &service.url())], &routes)).await;
    let at = cluster.node(1).http();
    assert_eq!(
        Call::get(at, "/slow-body").answer().await.expect(200).text(),
        "xxxxxxxx"
    );
    assert_eq!(
        Call::get(at, "/slow-head").answer().await.expect(504).code(),
        "upstream_timeout"
    );
    assert_eq!(Call::get(at, "/slow-once").answer().await.expect(200).text(), "ok");
    let cut = Call::get(at, "/dies").send().await;
    assert!(cut.is_err(), "an answer that was cut must not look whole: {cut:?}");
    let tries = ["/slow-body", "/slow-once", "/dies"].map(|path| service.journal().count_of(&format!("GET {path}")));
    assert_eq!(tries, [1, 2, 1]);
}

#[tokio::test]
async fn trailers_pass_to_a_client_that_takes_them() {
    let world = World::new();
    let service = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        while let Some(head) = wire.head().await? {
            journal.note(&head);
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")
                .await?;
            wire.send("3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n").await?;
        }
        Ok(())
    })
    .await;
    let cluster = in_front_of(&world, &service).await;
    let mut wire = Wire::connect(cluster.node(1).http()).await.expect("the node listens");
    wire.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: trailers\r\n\r\n")
        .await
        .expect("it is taken");
    let head = wire.head().await.expect("an answer").expect("an answer");
    let (body, trailers) = wire.body_and_trailers(&head).await.expect("a whole body");
    assert_eq!(
        (body.as_slice(), trailers),
        (b"abc".as_slice(), vec![("x-sum".to_owned(), "6".to_owned())])
    );
}

#[tokio::test]
async fn bodies_stream_both_ways_and_are_never_gathered() {
    let world = World::new();
    let service = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        while let Some(head) = wire.head().await? {
            journal.note(&head);
            // An answer to each piece, before the next has been sent.
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await?;
            for _ in 0..3 {
                let piece = wire.take(9).await?;
                assert_eq!(piece, b"4\r\nping\r\n");
                wire.send("4\r\npong\r\n").await?;
            }
            wire.take(5).await?;
            wire.send("0\r\n\r\n").await?;
        }
        Ok(())
    })
    .await;
    let cluster = in_front_of(&world, &service).await;
    let mut wire = Wire::connect(cluster.node(1).http()).await.expect("the node listens");
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .expect("it is taken");
    let head = wire.head().await.expect("an answer").expect("an answer");
    assert_eq!(head.status(), 200);
    for _ in 0..3 {
        wire.send("4\r\nping\r\n").await.expect("it is taken");
        assert_eq!(wire.take(9).await.expect("an answer to the piece"), b"4\r\npong\r\n");
    }
    wire.send("0\r\n\r\n").await.expect("it is taken");
    assert_eq!(wire.take(5).await.expect("the end"), b"0\r\n\r\n");
}

#[tokio::test]
async fn ambiguous_framing_never_makes_two_requests_of_one() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = in_front_of(&world, &echo).await;
    let at = cluster.node(1).http();
    for (name, framing) in [
        ("both", "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 50\r\n"),
        ("plus", "Content-Length: +5\r\n"),
        ("gzip", "Transfer-Encoding: gzip, chunked\r\n"),
        ("identity", "Transfer-Encoding: identity, chunked\r\n"),
        (
            "nominated",
            "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "nominated length",
            "Connection: content-length\r\nContent-Length: 5\r\n",
        ),
        ("obs-fold", "X-A: 1\r\n 2\r\nTransfer-Encoding: chunked\r\n"),
        ("space", "Transfer-Encoding : chunked\r\n"),
    ] {
        let before = echo.journal().count_of("GET /smuggled");
        let mut wire = Wire::connect(at).await.expect("the node listens");
        let request = format!(
            "POST /outer HTTP/1.1\r\nHost: h\r\n{framing}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\nX-End: 1\r\n\r\n"
        );
        wire.send(request).await.expect("it is taken");
        wire.finish().await.expect("it is taken");
        let (answers, _) = wire.rest_or_reset().await;
        let statuses = String::from_utf8_lossy(&answers).matches("HTTP/1.1 ").count();
        let after = echo.journal().count_of("GET /smuggled");
        // Nobody can name a length away: the second request is honest pipelining.
        let honest = name.starts_with("nominated");
        if !honest {
            assert_eq!(after, before, "{name}: {}", String::from_utf8_lossy(&answers));
        }
        assert!(statuses >= 1, "{name}: no answer at all");
    }
    assert_eq!(echo.journal().broken(), Vec::<String>::new());
}
