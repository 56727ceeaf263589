//! gRPC from end to end: a client of HTTP/2, the gateway, a service of HTTP/2.

use super::decent::{Answer, decent, read};
use super::requests::h2c;
use crate::node::{Node, run, until};
use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A service, and what it saw.
#[derive(Clone, Default)]
struct Service {
    accepted: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<HeaderMap>>>,
    resets: Arc<Mutex<Vec<Reason>>>,
}

impl Service {
    async fn new() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Self::default();
        let seen = service.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                seen.accepted.fetch_add(1, Ordering::SeqCst);
                let seen = seen.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(seen.clone().serve(request, respond));
                    }
                });
            }
        });
        (service, address)
    }

    async fn serve(self, request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
        self.heads.lock().unwrap().push(request.headers().clone());
        let head = || {
            Response::builder()
                .header("content-type", "application/grpc")
                .body(())
                .unwrap()
        };
        match request.uri().path() {
            "/a.Service/Fails" => {
                let mut head = head();
                head.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
                head.headers_mut()
                    .insert("grpc-message", HeaderValue::from_static("no%20such"));
                respond.send_response(head, true).unwrap();
            }
            "/a.Service/Down" => {
                let mut head = head();
                head.headers_mut().insert("grpc-status", HeaderValue::from_static("14"));
                respond.send_response(head, true).unwrap();
            }
            "/a.Service/Silent" => {
                let reason = poll_fn(|cx| respond.poll_reset(cx)).await;
                self.resets.lock().unwrap().extend(reason.ok());
            }
            "/a.Service/Stops" => {
                let mut stream = respond.send_response(head(), false).unwrap();
                stream.send_data(Bytes::from_static(b"first"), false).unwrap();
                let reason = poll_fn(|cx| stream.poll_reset(cx)).await;
                self.resets.lock().unwrap().extend(reason.ok());
            }
            _ => {
                let mut stream = respond.send_response(head(), false).unwrap();
                let mut came = request.into_body();
                while let Some(Ok(message)) = came.data().await {
                    let _ = came.flow_control().release_capacity(message.len());
                    stream.send_data(message, false).unwrap();
                }
                let trailers = [("grpc-status", "0"), ("grpc-message", "")];
                let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                let _ = stream.send_trailers(trailers.into_iter().collect());
            }
        }
    }

    fn resets(&self) -> Vec<Reason> {
        self.resets.lock().unwrap().clone()
    }

    fn last(&self, name: &str) -> Option<String> {
        let heads = self.heads.lock().unwrap();
        let value = heads.last()?.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }
}

fn document(address: SocketAddr, more: &str) -> String {
    format!(
        "upstreams:
  a: {{ targets: [\"http://{address}\"], protocol: h2c }}
  gone: {{ targets: [\"http://127.0.0.1:1\"], protocol: h2c }}
  none: {{ targets: [{{ url: \"http://{address}\", weight: 0 }}], protocol: h2c }}
gateways:
  web:
    hosts: [\"*\"]
    routes:
      - {{ path: /a.Service/**, upstream: a, max_body: 1KiB {more} }}
      - {{ path: /gone/**, upstream: gone }}
      - {{ path: /none/**, upstream: none }}
      - {{ path: /limited/**, upstream: gone, rate_limits: [{{ name: calls, limit: 1, per: 1h, on_failure: local }}] }}
"
    )
}

fn call(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://a.example{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn status(answer: &Answer) -> String {
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    answer.field("grpc-status").unwrap().to_owned()
}

#[test]
fn calls_of_all_forms_pass_and_share_a_connection() {
    run(async {
        let (service, address) = Service::new().await;
        let node = Node::edge(&document(address, ""), h2c());
        let client = decent(node.address()).await;
        for pieces in [&[b"one" as &[u8]][..], &[b"one", b"two", b"three"]] {
            let asked = call("/a.Service/Echo", &[("grpc-timeout", "10S")]);
            let answer = client.send(asked, pieces).await.unwrap();
            assert_eq!(answer.body, pieces.concat());
            assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        }
        assert_eq!(service.last("te").as_deref(), Some("trailers"));
        assert_eq!(service.last("grpc-timeout").as_deref(), Some("10S"));
        let answer = client.ask(call("/a.Service/Fails", &[])).await.unwrap();
        assert_eq!(
            (answer.field("grpc-status"), answer.field("grpc-message")),
            (Some("5"), Some("no%20such"))
        );
        assert_eq!(service.accepted.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn both_sides_speak_at_once() {
    run(async {
        let (_, address) = Service::new().await;
        let node = Node::edge(&document(address, ""), h2c());
        let client = decent(node.address()).await;
        let (answer, mut ask) = client.begin(call("/a.Service/Echo", &[])).await.unwrap();
        let mut answer = answer.await.unwrap().into_body();
        for i in 0..30u8 {
            ask.send_data(vec![i; 20].into(), false).unwrap();
            let back = answer.data().await.unwrap().unwrap();
            answer.flow_control().release_capacity(back.len()).unwrap();
            assert_eq!(back, vec![i; 20]);
        }
        ask.send_data(Bytes::new(), true).unwrap();
        assert!(answer.data().await.is_none_or(|last| last.unwrap().is_empty()));
        assert_eq!(answer.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn a_breaker_counts_calls_by_their_statuses_and_refuses_them_by_one() {
    run(async {
        let (service, address) = Service::new().await;
        let breaker = ", breaker: { consecutive: 3, observers: 1, open_for: 1h, fallback: { text: for people } }";
        let node = Node::edge(&document(address, breaker), h2c());
        let client = decent(node.address()).await;
        for _ in 0..5 {
            // What is wrong with the request, and how long its client waits, says nothing of the service.
            let answer = client.ask(call("/a.Service/Fails", &[])).await.unwrap();
            assert_eq!(answer.field("grpc-status"), Some("5"));
            let answer = client
                .ask(call("/a.Service/Silent", &[("grpc-timeout", "20m")]))
                .await
                .unwrap();
            assert_eq!(status(&answer), "4");
        }
        let refused = loop {
            let answer = client.ask(call("/a.Service/Down", &[])).await.unwrap();
            assert_eq!(status(&answer), "14");
            if answer.field("grpc-message").is_some() {
                break answer;
            }
        };
        assert!(refused.field("grpc-message").unwrap().starts_with("breaker_open: "));
        let before = service.heads.lock().unwrap().len();
        let answer = client.ask(call("/a.Service/Echo", &[])).await.unwrap();
        assert_eq!(status(&answer), "14");
        assert_eq!(service.heads.lock().unwrap().len(), before);
    });
}

#[test]
fn a_refusal_is_a_status_of_grpc() {
    run(async {
        let (_, address) = Service::new().await;
        let node = Node::edge(&document(address, ""), h2c());
        let client = decent(node.address()).await;
        for (path, told, code) in [
            ("/nowhere", "12", "no_route"),
            ("/gone/x", "14", "upstream_connect"),
            ("/none/x", "14", "no_target"),
        ] {
            let answer = client.ask(call(path, &[])).await.unwrap();
            assert_eq!(status(&answer), told, "{path}");
            assert_eq!(answer.field("content-type"), Some("application/grpc+proto"));
            assert!(answer.field("grpc-message").unwrap().starts_with(&format!("{code}: ")));
            assert!(answer.field("x-request-id").is_some());
            assert_eq!(
                node.metric(&format!("sluice_requests_rejected_total{{code=\"{code}\"}}")),
                1.0
            );
        }
        let answer = client
            .send(call("/a.Service/Silent", &[]), &[&[b'x'; 2_000]])
            .await
            .unwrap();
        assert_eq!(status(&answer), "8");
        // A limit, of which the fields tell as ever.
        assert_eq!(status(&client.ask(call("/limited/x", &[])).await.unwrap()), "14");
        let limited = client.ask(call("/limited/x", &[])).await.unwrap();
        assert_eq!(status(&limited), "8");
        assert!(limited.field("grpc-message").unwrap().starts_with("rate_limited: "));
        assert!(limited.field("ratelimit").unwrap().starts_with("\"calls\";r=0;t="));
        // What is no call is told as ever.
        let plain = Request::post("http://a.example/nowhere").body(()).unwrap();
        assert_eq!(client.ask(plain).await.unwrap().code(), "no_route");
        let mut old = node.client().await;
        let answer = old
            .ask("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!((answer.status, answer.field("grpc-status")), (200, Some("12")));
    });
}

#[test]
fn the_client_s_deadline_ends_the_call_and_its_stream() {
    run(async {
        let (service, address) = Service::new().await;
        let node = Node::edge(&document(address, ""), h2c());
        let client = decent(node.address()).await;
        let answer = client
            .send(call("/a.Service/Silent", &[("grpc-timeout", "60m")]), &[b"one"])
            .await;
        let answer = answer.unwrap();
        assert_eq!(status(&answer), "4");
        assert!(answer.field("grpc-message").unwrap().starts_with("deadline: "));
        assert_eq!(service.last("grpc-timeout").as_deref(), Some("60m"));
        until("the stream is reset", || service.resets() == [Reason::CANCEL]).await;
        // After the head it is told by trailers.
        let answer = client
            .send(call("/a.Service/Stops", &[("grpc-timeout", "60m")]), &[b"one"])
            .await;
        let answer = answer.unwrap();
        assert_eq!(answer.text(), "first");
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "4");
        until("the stream is reset", || service.resets() == [Reason::CANCEL; 2]).await;
        assert_eq!(node.metric("sluice_requests_rejected_total{code=\"deadline\"}"), 2.0);
        // One that is none bounds nothing.
        let answer = client
            .send(call("/a.Service/Echo", &[("grpc-timeout", "soon")]), &[b"one"])
            .await;
        assert_eq!(answer.unwrap().trailers.unwrap()["grpc-status"], "0");
    });
}

#[test]
fn a_route_s_total_is_the_deadline_where_it_is_shorter() {
    run(async {
        let (service, address) = Service::new().await;
        let node = Node::edge(&document(address, ", timeout: { total: 80ms }"), h2c());
        let client = decent(node.address()).await;
        for asked in ["1H", "60000m"] {
            let answer = client
                .send(call("/a.Service/Silent", &[("grpc-timeout", asked)]), &[b"one"])
                .await;
            assert_eq!(status(&answer.unwrap()), "4");
            assert_eq!(service.last("grpc-timeout").as_deref(), Some("80000000n"));
        }
        let answer = client.send(call("/a.Service/Silent", &[]), &[b"one"]).await;
        assert_eq!(status(&answer.unwrap()), "4");
        assert_eq!(service.last("grpc-timeout"), None);
    });
}

#[test]
fn a_call_that_is_cancelled_is_cancelled_at_the_service() {
    run(async {
        let (service, address) = Service::new().await;
        let node = Node::edge(&document(address, ""), h2c());
        let client = decent(node.address()).await;
        for (path, begun) in [("/a.Service/Silent", false), ("/a.Service/Stops", true)] {
            let before = service.resets().len();
            let (answer, mut ask) = client.begin(call(path, &[])).await.unwrap();
            ask.send_data(Bytes::from_static(b"one"), false).unwrap();
            if begun {
                let mut answer = answer.await.unwrap().into_body();
                assert_eq!(answer.data().await.unwrap().unwrap(), "first");
                ask.send_reset(Reason::CANCEL);
            } else {
                until("it is at the service", || service.heads.lock().unwrap().len() == 1).await;
                ask.send_reset(Reason::CANCEL);
            }
            until("it is cancelled", || service.resets().len() == before + 1).await;
        }
        assert_eq!(service.resets(), [Reason::CANCEL; 2]);
        let (answer, mut ask) = client.begin(call("/a.Service/Echo", &[])).await.unwrap();
        ask.send_data(Bytes::from_static(b"one"), true).unwrap();
        assert_eq!(
            read(answer.await.unwrap()).await.unwrap().trailers.unwrap()["grpc-status"],
            "0"
        );
        assert_eq!(service.accepted.load(Ordering::SeqCst), 1);
    });
}
