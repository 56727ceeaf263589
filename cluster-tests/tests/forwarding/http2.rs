//! The same rules for a client of HTTP/2, whose streams share a connection.

use cluster_tests::backend::digest;
use cluster_tests::document::with_routes;
use cluster_tests::frames::{END_HEADERS, END_STREAM, Frames, Kind, Literal, fields, frame, request};
use cluster_tests::http2::{Http2, whole};
use cluster_tests::{Backend, Cluster, World, rounds};
use http::Request;

async fn in_front_of(world: &World, service: &Backend, route: &str) -> Cluster {
    let cluster = Cluster::of(1).flags(&["--edge-h2c"]).start(world).await;
    cluster
        .apply(&with_routes(
            &[("a", &service.url())],
            &[route, "{ path: '/**', upstream: a, max_body: none }"],
        ))
        .await;
    cluster
}

#[tokio::test]
async fn an_early_refusal_ends_its_stream_and_the_others_go_on() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = in_front_of(&world, &echo, "{ path: /up, upstream: a, max_body: 1MiB }").await;
    let client = Http2::connect(cluster.node(1).http()).await.expect("HTTP/2");
    let upload = bytes::Bytes::from(vec![b'x'; 8 << 20]);
    let count = rounds(64, 2_000);
    for round in 0..count.div_ceil(64) {
        let mut streams = tokio::task::JoinSet::new();
        for n in 0..64 {
            let (client, upload) = (client.clone(), upload.clone());
            let mut request = Request::post("http://h/up");
            if n % 2 == 0 {
                request = request.header("content-length", upload.len());
            }
            let request = request.body(whole(upload)).expect("a request");
            streams.spawn(async move { client.ask(request).await });
        }
        // Beside them, on the same connection.
        let other = client
            .get(&format!("/beside/{round}"))
            .await
            .expect("an answer")
            .expect(200);
        assert_eq!(other.json()["target"], format!("/beside/{round}"));
        for answer in streams.join_all().await {
            let answer = answer.expect("a whole answer").expect(413);
            assert_eq!(answer.code(), "body_too_large");
        }
    }
    assert!(!client.is_closed());
}

#[tokio::test]
async fn an_interim_answer_is_never_the_answer_of_a_stream() {
    let world = World::new();
    let body = vec![b'y'; 300_000];
    let expected = digest(&body);
    let service = Backend::scripted(world.service(), move |mut wire, journal, _| {
        let body = body.clone();
        async move {
            while let Some(head) = wire.head().await? {
                wire.body(&head).await?;
                journal.note(&head);
                let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
                wire.send(format!(
                    "HTTP/1.1 100 Continue\r\n\r\n{early}HTTP/1.1 102 Processing\r\n\r\n"
                ))
                .await?;
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
    let cluster = in_front_of(&world, &service, "{ path: /own, respond: { text: own } }").await;
    let client = Http2::connect(cluster.node(1).http()).await.expect("HTTP/2");
    let put = Request::put("http://h/x")
        .header("expect", "100-continue")
        .body(whole("hello"));
    for request in [put, Request::get("http://h/x").body(whole(""))] {
        let answer = client
            .ask(request.expect("a request"))
            .await
            .expect("an answer")
            .expect(200);
        assert_eq!(digest(&answer.body), expected);
    }
    let counted = cluster
        .admin(1)
        .metric("http_server_request_duration_seconds_count", &["status_code=\"1"])
        .await;
    assert_eq!(counted, 0.0);
    assert_eq!(cluster.admin(1).metric("sluice_interim_dropped_total", &[]).await, 6.0);
}

#[tokio::test]
async fn a_body_of_a_stream_ends_once_whatever_frame_ends_it() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = in_front_of(&world, &echo, "{ path: /own, respond: { text: own } }").await;
    let at = cluster.node(1).http();
    let other = Http2::connect(at).await.expect("HTTP/2");
    let mut frames = Frames::open(at, &[]).await.expect("the node listens");
    // Room for all the answers.
    let window = frame(Kind::WindowUpdate, 0, 0, &(1u32 << 20).to_be_bytes());
    frames.write.send(&window).await.expect("it is taken");
    let ten = b"0123456789";
    for round in 0..200u32 {
        let stream = 2 * round + 1;
        let mut head = request("POST", "/p");
        if round % 5 == 2 {
            head.extend(fields(&[("content-length", "10")], Literal::Plain));
        }
        let mut bytes = frame(Kind::Headers, END_HEADERS, stream, &head);
        let parts: &[(&[u8], u8)] = match round % 5 {
            0 | 2 => &[(ten, 0), (b"", END_STREAM)],
            1 => &[(b"", END_STREAM)],
            3 => &[(ten, 0)],
            _ => &[(ten, 0), (b"", 0), (ten, END_STREAM)],
        };
        for (part, flags) in parts {
            bytes.extend(frame(Kind::Data, *flags, stream, part));
        }
        if round % 5 == 3 {
            let trailers = fields(&[("x-sum", "1")], Literal::Plain);
            bytes.extend(frame(Kind::Headers, END_HEADERS | END_STREAM, stream, &trailers));
        }
        frames.write.send(&bytes).await.expect("it is taken");
        // A request of another client, on the connections that the service has from the same pool.
        let answer = other.get(&format!("/g{round}")).await.expect("an answer").expect(200);
        assert_eq!(answer.json()["target"], format!("/g{round}"));
        loop {
            let came = frames.read.next().await.expect("the connection holds");
            if came.stream == stream && came.flags & END_STREAM != 0 {
                assert_eq!(came.kind, Kind::Data as u8, "{round}: {came:?}");
                break;
            }
        }
    }
    assert_eq!(echo.journal().broken(), Vec::<String>::new());
    let seen = echo.journal().requests();
    let posts: Vec<_> = seen.iter().filter(|head| head.method() == "POST").collect();
    assert_eq!((posts.len(), seen.len()), (200, 400));
    for (round, head) in posts.iter().enumerate() {
        let framed = (head.field("content-length"), head.field("transfer-encoding"));
        let expected = if round % 5 == 2 {
            (Some("10"), None)
        } else {
            (None, Some("chunked"))
        };
        assert_eq!(framed, expected, "{head:?}");
    }
}
