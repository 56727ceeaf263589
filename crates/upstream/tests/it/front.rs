//! Behind a real HTTP/1.1 server on the same thread, as in a worker: requests of many clients,
//! bodies that stream from one connection to the other.

use crate::support::*;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_transport::{Io, Limits};
use sluice_upstream::{Attempts, Body, Incoming, Plan};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A gateway without a gateway's rules.
async fn front(rig: Rc<Rig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let rig = Rc::clone(&rig);
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let rig = Rc::clone(&rig);
                    async move {
                        let mut request = request.map(|body| Body::from(Incoming::of_request(body)));
                        request.headers_mut().remove("transfer-encoding");
                        let mut attempts = Attempts::default();
                        let sent = rig
                            .upstreams
                            .send(&rig.spec, Plan::of(&rig.spec), &mut request, &mut attempts)
                            .await;
                        let mut response = sent.unwrap_or_else(|error| {
                            http::Response::builder()
                                .status(502)
                                .body(Body::Full(error.to_string().into()))
                                .unwrap()
                        });
                        response.headers_mut().remove("transfer-encoding");
                        Ok::<_, std::convert::Infallible>(response)
                    }
                });
                let io = TokioIo::new(Io::tcp(stream, Limits::default()));
                let _ = http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    address
}

/// Answers with the length and the sum of the body that it got.
async fn summing() -> Backend {
    Backend::new(|mut conn| async move {
        while let Some(got) = conn.request().await {
            let chunked = got.field("transfer-encoding").is_some();
            let sum: u64 = got.body.iter().map(|byte| u64::from(*byte)).sum();
            let length = if chunked {
                "chunked".to_owned()
            } else {
                got.body.len().to_string()
            };
            conn.say(ok(&format!("{length} {sum}"))).await;
        }
    })
    .await
}

async fn answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length: ")
                        .map(|n| n.parse::<usize>().unwrap())
                })
                .unwrap();
            while bytes.len() < end + 4 + length {
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
            }
            return (head, bytes[end + 4..].to_vec());
        }
        assert!(
            stream.read_buf(&mut bytes).await.unwrap() > 0,
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn many_clients_share_few_connections_and_nobody_gets_another_s_answer() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                if got.line().contains('7') {
                    tokio::time::sleep(MS).await;
                }
                conn.say(ok(got.line())).await;
            }
        })
        .await;
        let rig = Rc::new(Rig::to(&backend));
        let address = front(Rc::clone(&rig)).await;
        let client = |number: usize| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for i in 0..50 {
                stream
                    .write_all(format!("GET /{number}/{i} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                    .await
                    .unwrap();
                let (_, body) = answer(&mut stream).await;
                assert_eq!(body, format!("GET /{number}/{i} HTTP/1.1").as_bytes());
            }
        };
        futures_util::future::join_all((0..40).map(client)).await;
        assert_eq!(backend.lines().len(), 2_000);
        assert!(backend.accepted.get() <= 40, "{}", backend.accepted.get());
        assert_eq!(rig.replaced(), 0);
        assert_eq!(rig.connections().0, 0);
    });
}

#[test]
fn bodies_stream_through_in_every_size_and_framing() {
    on_worker(async {
        let backend = summing().await;
        let address = front(Rc::new(Rig::to(&backend))).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for size in [0usize, 1, 5, 8_191, 8_192, 65_536, 65_537, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|i| (i % 7) as u8).collect();
            let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
            for method in ["POST", "PUT", "GET"] {
                let head = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap();
                let (_, got) = answer(&mut stream).await;
                assert_eq!(String::from_utf8(got).unwrap(), format!("{size} {sum}"), "{method}");
            }
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            for chunk in body.chunks(10_000) {
                stream
                    .write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                    .await
                    .unwrap();
                stream.write_all(chunk).await.unwrap();
                stream.write_all(b"\r\n").await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
            let (_, got) = answer(&mut stream).await;
            assert!(got.starts_with(b"chunked "));
        }
        assert_eq!(backend.accepted.get(), 1);
    });
}

#[test]
fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    on_worker(async {
        let backend = Backend::new(|mut conn| async move {
            conn.head().await;
            conn.say("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
                .await;
        })
        .await;
        let address = front(Rc::new(Rig::to(&backend))).await;
        let mut whole = 0;
        for _ in 0..50 {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut read, mut write) = stream.into_split();
            write
                .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
                .await
                .unwrap();
            let _ = write.write_all(&vec![0; 900_000]).await;
            let mut got = Vec::new();
            let _ = read.read_to_end(&mut got).await;
            let got = String::from_utf8_lossy(&got).into_owned();
            whole += usize::from(got.starts_with("HTTP/1.1 413") && got.ends_with("large"));
        }
        assert!(whole >= 49, "{whole}");
    });
}

#[test]
fn a_client_that_leaves_ends_its_request_at_the_backend() {
    on_worker(async {
        let gone = Rc::new(std::cell::Cell::new(0));
        let count = Rc::clone(&gone);
        let backend = Backend::new(move |mut conn| {
            let gone = Rc::clone(&count);
            async move {
                let got = conn.request().await.unwrap();
                if got.line().contains("body") {
                    conn.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").await;
                }
                conn.rest().await;
                gone.set(gone.get() + 1);
            }
        })
        .await;
        let rig = Rc::new(Rig::to(&backend));
        let address = front(Rc::clone(&rig)).await;
        for (i, path) in ["/wait", "/body"].into_iter().enumerate() {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream
                .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                .await
                .unwrap();
            until("the backend has it", || backend.lines().len() == i + 1).await;
            if path == "/body" {
                assert!(stream.read(&mut [0; 1000]).await.unwrap() > 0);
            }
            drop(stream);
            until("the backend sees it leave", || gone.get() == i + 1).await;
        }
        assert_eq!(rig.connections(), (0, 0));
    });
}

#[test]
fn a_cut_answer_is_a_cut_answer_for_the_client() {
    on_worker(async {
        for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
            let backend = Backend::new(move |mut conn| async move {
                conn.request().await;
                conn.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\npart\r\n"))
                    .await;
                tokio::time::sleep(5 * MS).await;
                conn.reset();
            })
            .await;
            let address = front(Rc::new(Rig::to(&backend))).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut got = Vec::new();
            let _ = stream.read_to_end(&mut got).await;
            let got = String::from_utf8_lossy(&got).into_owned();
            assert!(got.starts_with("HTTP/1.1 200"), "{got}");
            assert!(!got.ends_with("0\r\n\r\n"), "{got}");
        }
    });
}
