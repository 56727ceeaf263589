//! Services of HTTP/2 behind a node: those that leave, reset, answer early, and what clients of both versions see of it.

use bytes::Bytes;
use cluster_tests::backend::Journal;
use cluster_tests::http2_service::{
    ALL_STREAMS, CANCEL, DATA, END_STREAM, HEADERS, NO_ERROR, Service, answer, data, frame, go_away, head, reset,
};
use cluster_tests::wire::Wire;
use cluster_tests::{Backend, Cluster, World, eventually, rounds};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A document whose one upstream is these targets, by HTTP/2.
fn document(targets: &[&Backend]) -> String {
    let urls: Vec<String> = targets.iter().map(|target| format!("\"{}\"", target.url())).collect();
    format!(
        "upstreams: {{ a: {{ targets: [{}], protocol: h2c, balance: round_robin }} }}\ngateways: {{ web: {{ hosts: [\"*\"], routes: [{{ id: all, path: '/**', upstream: a }}] }} }}\n",
        urls.join(", ")
    )
}

async fn in_front_of(world: &World, targets: &[&Backend]) -> Cluster {
    let cluster = Cluster::of(1).flags(&["--edge-h2c=true"]).start(world).await;
    cluster.apply(&document(targets)).await;
    cluster
}

/// A client of HTTP/2.
async fn client(at: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(at).await.expect("the node listens");
    let (sender, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

fn post(path: &str) -> http::Request<()> {
    http::Request::post(format!("http://h{path}"))
        .body(())
        .expect("a request")
}

#[tokio::test]
async fn an_idle_connection_that_the_service_just_closed_costs_no_error() {
    for way in ["fin", "reset", "at once"] {
        let world = World::new();
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let service = Backend::scripted(world.service(), move |wire, _, _| {
            let seen = Arc::clone(&seen);
            async move {
                let mut service = Service::open(wire).await?;
                while let Some(frame) = service.frame().await? {
                    if frame.kind != HEADERS {
                        continue;
                    }
                    let count = seen.fetch_add(1, Ordering::Relaxed) + 1;
                    service.say(answer(frame.stream, "ok")).await?;
                    match way {
                        "at once" => return service.close().await,
                        "reset" if count.is_multiple_of(2) => {
                            service.reset();
                            return Ok(());
                        }
                        "fin" if count.is_multiple_of(2) => return service.close().await,
                        _ => {}
                    }
                }
                Ok(())
            }
        })
        .await;
        let cluster = in_front_of(&world, &[&service]).await;
        // One after the other, so that the connection rests in between.
        let load = cluster_tests::Load::on([cluster.node(1).http()]).connections(1).start();
        load.answers(300).await;
        let tally = load.stop().await;
        tally.expect_flawless();
        let replays = cluster.admin(1).metric("sluice_upstream_replaced_total", &[]).await as usize;
        let count = count.load(Ordering::Relaxed);
        assert!(
            count >= tally.good && count <= tally.good + replays,
            "{way}: {count}, {}, {replays}",
            tally.good
        );
    }
}

/// Requests by the number in their path, each served once.
type Served = Arc<Mutex<Vec<String>>>;

/// Goes away at each 50th request of a connection: serves those up to it, does not look at later ones, and closes. With
/// `pair` it announces that first.
async fn leaving(world: &World, served: &Served, pair: bool) -> Backend {
    let served = Arc::clone(served);
    Backend::scripted(world.service(), move |wire, _, _| {
        let served = Arc::clone(&served);
        async move {
            let mut service = Service::open(wire).await?;
            let (mut count, mut open, mut last) = (0, 0, None);
            while let Some(frame) = service.frame().await? {
                if last.is_some_and(|last| frame.stream > last) {
                    continue;
                }
                if frame.kind == HEADERS {
                    count += 1;
                    open += 1;
                    served.lock().expect("no panic").push(frame.fields[":path"].clone());
                    if count == 50 {
                        if pair {
                            service.say(go_away(ALL_STREAMS, NO_ERROR)).await?;
                            tokio::task::yield_now().await;
                        }
                        service.say(go_away(frame.stream, NO_ERROR)).await?;
                        last = Some(frame.stream);
                    }
                }
                if frame.ends() {
                    service.say(answer(frame.stream, "ok")).await?;
                    open -= 1;
                }
                if last.is_some() && open == 0 {
                    return service.close().await;
                }
            }
            Ok(())
        }
    })
    .await
}

#[tokio::test]
async fn a_service_that_goes_away_fails_no_request() {
    let requests = rounds(1_000, 20_000);
    for (targets, pair) in [(1, false), (2, false), (1, true), (2, true)] {
        let world = World::new();
        let served = Served::default();
        let mut services = Vec::new();
        for _ in 0..targets {
            services.push(leaving(&world, &served, pair).await);
        }
        let cluster = in_front_of(&world, &services.iter().collect::<Vec<_>>()).await;
        let at = cluster.node(1).http();
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..16 {
            let next = Arc::clone(&next);
            clients.spawn(async move {
                let mut wire = Wire::connect(at).await.expect("the node listens");
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    if id >= requests {
                        return;
                    }
                    let request = match id % 3 {
                        0 => format!("GET /{id} HTTP/1.1\r\nHost: h\r\n\r\n"),
                        1 => format!("POST /{id} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nwhole"),
                        _ => format!(
                            "POST /{id} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nin\r\n6\r\npieces\r\n0\r\n\r\n"
                        ),
                    };
                    wire.send(request).await.expect("it is taken");
                    let head = wire.head().await.expect("an answer").expect("an answer");
                    let body = wire.body(&head).await.expect("a whole body");
                    assert_eq!((head.status(), body.as_slice()), (200, b"ok".as_slice()), "{id}");
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client failed");
        }
        let served = served.lock().expect("no panic").clone();
        assert_eq!(served.len(), requests, "{targets} {pair}");
        assert_eq!(
            served.iter().collect::<BTreeSet<_>>().len(),
            requests,
            "each was served once"
        );
        let again = cluster
            .admin(1)
            .metric("sluice_upstream_replaced_total", &["why=\"gone_away\""])
            .await;
        eprintln!("{targets} targets, pair {pair}: {requests} requests, 0 failed, {again} sent again");
        assert!(again > 0.0);
    }
}

/// Answers with 200 KB in one write, and `end` behind it.
async fn answering(world: &World, end: fn(u32) -> Vec<u8>) -> Backend {
    Backend::scripted(world.service(), move |wire, _, _| async move {
        let mut service = Service::open(wire).await?;
        while let Some(frame) = service.frame().await? {
            if frame.kind == HEADERS {
                let mut bytes = head(frame.stream, 0, &[(":status", "200")]);
                if frame.fields[":path"] == "/alone" {
                    let alone = [(":status", "200"), ("grpc-status", "8")];
                    bytes = [head(frame.stream, END_STREAM, &alone), reset(frame.stream, NO_ERROR)].concat();
                } else {
                    bytes.extend(data(frame.stream, 0, &vec![b'x'; 200_000]));
                    bytes.extend(end(frame.stream));
                }
                service.say(bytes).await?;
            }
        }
        Ok(())
    })
    .await
}

/// Reads an answer in small pieces, without ending the request before; gives its length, trailers or error.
async fn slowly(
    sender: &h2::client::SendRequest<Bytes>,
    path: &str,
) -> (usize, http::HeaderMap, Result<Option<http::HeaderMap>, h2::Error>) {
    let mut sender = sender.clone().ready().await.expect("the connection lives");
    let (response, mut request) = sender.send_request(post(path), false).expect("it is taken");
    request.send_data(vec![1; 1024].into(), false).expect("it is taken");
    let (head, mut body) = response.await.expect("a head").into_parts();
    let mut length = 0;
    while let Some(bytes) = body.data().await {
        match bytes {
            Ok(bytes) => {
                length += bytes.len();
                tokio::task::yield_now().await;
                let _ = body.flow_control().release_capacity(bytes.len());
            }
            Err(error) => return (length, head.headers, Err(error)),
        }
    }
    (length, head.headers, body.trailers().await)
}

#[tokio::test]
async fn a_reset_behind_a_whole_answer_loses_nothing_and_one_within_it_is_no_end() {
    let world = World::new();
    let whole = answering(&world, |stream| {
        let trailers = [("grpc-status", "0")];
        [head(stream, END_STREAM, &trailers), reset(stream, NO_ERROR)].concat()
    })
    .await;
    let cluster = in_front_of(&world, &[&whole]).await;
    let at = cluster.node(1).http();
    let sender = client(at).await;
    for _ in 0..rounds(40, 500) {
        let (length, _, trailers) = slowly(&sender, "/").await;
        let trailers = trailers.expect("a whole answer").expect("trailers");
        assert_eq!((length, trailers["grpc-status"].as_bytes()), (200_000, b"0".as_slice()));
        let (length, head, trailers) = slowly(&sender, "/alone").await;
        assert!(trailers.is_ok() && length == 0);
        assert_eq!(head["grpc-status"], "8");
    }
    for code in [CANCEL, NO_ERROR] {
        let cut = match code {
            CANCEL => answering(&world, |stream| reset(stream, CANCEL)).await,
            _ => answering(&world, |stream| reset(stream, NO_ERROR)).await,
        };
        cluster.apply(&document(&[&cut])).await;
        let (_, _, end) = slowly(&sender, "/").await;
        assert!(end.is_err_and(|error| error.is_reset()), "an aborted stream");
        let mut wire = Wire::connect(at).await.expect("the node listens");
        wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .expect("it is taken");
        let (bytes, _) = wire.rest_or_reset().await;
        assert!(
            bytes.starts_with(b"HTTP/1.1 200") && !bytes.ends_with(b"0\r\n\r\n"),
            "never a clean end"
        );
    }
}

#[tokio::test]
async fn an_interim_answer_is_never_the_answer() {
    let world = World::new();
    let service = Backend::scripted(world.service(), move |wire, _, _| async move {
        let mut service = Service::open(wire).await?;
        while let Some(frame) = service.frame().await? {
            if !frame.ends() {
                continue;
            }
            let stream = frame.stream;
            for status in ["100", "103", "102", "103"] {
                let fields = [(":status", status), ("link", "</a.css>; rel=preload")];
                service.say(head(stream, 0, &fields)).await?;
            }
            // In two steps, since the client gives no more room than this at once.
            service.say(head(stream, 0, &[(":status", "200")])).await?;
            service.say(data(stream, END_STREAM, &vec![b'x'; 200_000])).await?;
        }
        Ok(())
    })
    .await;
    let cluster = in_front_of(&world, &[&service]).await;
    let at = cluster.node(1).http();
    for (version, method) in [("1.1", "GET"), ("1.1", "PUT"), ("1.0", "GET")] {
        let mut wire = Wire::connect(at).await.expect("the node listens");
        let request =
            format!("{method} /x HTTP/{version}\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        wire.send(request).await.expect("it is taken");
        let (bytes, error) = wire.rest_or_reset().await;
        assert!(error.is_none() && bytes.starts_with(b"HTTP/1."), "{error:?}");
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("HTTP/1.").count(), 1, "no interim answer is passed on");
        assert_eq!(text.matches('x').count() / 1_000, 200);
    }
    let mut sender = client(at).await.ready().await.expect("the connection lives");
    let (response, _) = sender.send_request(post("/x"), true).expect("it is taken");
    assert_eq!(response.await.expect("an answer").status(), 200);
    let dropped = cluster.admin(1).metric("sluice_interim_dropped_total", &[]).await;
    assert_eq!(dropped, 16.0);
}

/// Gives back what comes as it comes, and a status of gRPC at the end.
async fn echoing(world: &World) -> Backend {
    Backend::scripted(world.service(), |wire, journal: Journal, _| async move {
        let mut service = Service::open(wire).await?;
        while let Some(came) = service.frame().await? {
            let stream = came.stream;
            match came.kind {
                HEADERS => {
                    let fields = [(":status", "200"), ("content-type", "application/grpc")];
                    service.say(head(stream, 0, &fields)).await?;
                }
                DATA => service.say(frame(DATA, 0, stream, &came.payload)).await?,
                _ => {}
            }
            if came.ends() {
                service.say(head(stream, END_STREAM, &[("grpc-status", "0")])).await?;
            }
        }
        let _ = journal;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_open_call_outlives_changes_of_its_route_and_its_upstream() {
    let world = World::new();
    let first = echoing(&world).await;
    let second = echoing(&world).await;
    let cluster = in_front_of(&world, &[&first]).await;
    let at = cluster.node(1).http();
    let mut sender = client(at).await.ready().await.expect("the connection lives");
    let mut call = post("/a.Service/Talk");
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().expect("a value"));
    let (response, mut request) = sender.send_request(call, false).expect("it is taken");
    let mut body = response.await.expect("a head").into_body();
    for round in 0..rounds(10, 100) {
        let target = if round % 2 == 0 { &second } else { &first };
        cluster.apply(&document(&[target])).await;
        let message = Bytes::from(format!("message {round}"));
        request.send_data(message.clone(), false).expect("the stream lives");
        let back = body.data().await.expect("the stream lives").expect("the stream lives");
        let _ = body.flow_control().release_capacity(back.len());
        assert_eq!(back, message);
    }
    request.send_data(Bytes::new(), true).expect("the stream lives");
    while let Some(rest) = body.data().await {
        assert!(rest.expect("a clean end").is_empty());
    }
    let trailers = body.trailers().await.expect("a clean end").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    eventually("old configurations are let go of", || async {
        match cluster.admin(1).metric("sluice_snapshots_live", &[]).await {
            live if live <= 2.0 => Ok(()),
            live => Err(format!("{live}")),
        }
    })
    .await;
}
