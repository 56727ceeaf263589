//! The sample services: small, honest HTTP servers on loopback.

use crate::ports::Ports;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A client that sends no head keeps its connection no longer than this.
const HEAD_TIME: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const MOST_BODY: usize = 16 << 20;

/// A sample service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Orders, first of two.
    Orders1,
    /// Orders, second of two.
    Orders2,
    /// Users.
    Users,
    /// Tells what it was sent.
    Echo,
    /// `/slow/MS` answers after so many milliseconds.
    Slow,
    /// Every third answer is a 503.
    Flaky,
}

/// The services of one demo; they end when this is dropped.
#[derive(Debug)]
pub struct Services {
    tasks: JoinSet<()>,
}

// === impl Service ===

impl Service {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Orders1,
        Self::Orders2,
        Self::Users,
        Self::Echo,
        Self::Slow,
        Self::Flaky,
    ];

    /// Its number, from 1: the place of its port.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16 + 1
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Orders1 => "orders-1",
            Self::Orders2 => "orders-2",
            Self::Users => "users",
            Self::Echo => "echo",
            Self::Slow => "slow",
            Self::Flaky => "flaky",
        }
    }
}

// === impl Services ===

impl Services {
    /// Starts all of them.
    ///
    /// # Errors
    /// The service and the address that is not free.
    pub async fn start(ports: Ports) -> Result<Self, (Service, SocketAddr, io::Error)> {
        let mut tasks = JoinSet::new();
        for service in Service::ALL {
            let address = ports.service(service.number());
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| (service, address, error))?;
            tasks.spawn(accept(service, listener));
        }
        Ok(Self { tasks })
    }

    /// Ends them, and every connection to them.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(service: Service, listener: TcpListener) {
    let count = Arc::new(AtomicU64::new(0));
    // The set ends its tasks with this one.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: others must close first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let count = Arc::clone(&count);
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(service, Arc::clone(&count), request));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
            // A client that leaves in the middle is its own affair.
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    service: Service,
    count: Arc<AtomicU64>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let Ok(body) = Limited::new(body, MOST_BODY)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
    else {
        return Ok(reply(
            StatusCode::BAD_REQUEST,
            &json!({"error": "the body did not come whole"}),
        ));
    };
    let (status, value) = match service {
        Service::Orders1 | Service::Orders2 => orders(service, &head.method, &segments, &body),
        Service::Users => users(&segments),
        Service::Echo => (StatusCode::OK, echo(&head, &body)),
        Service::Slow => {
            let ms = segments.last().and_then(|ms| ms.parse().ok()).unwrap_or(500);
            let time = Duration::from_millis(ms).min(LONGEST_WAIT);
            tokio::time::sleep(time).await;
            (StatusCode::OK, json!({"waited_ms": time.as_millis() as u64}))
        }
        Service::Flaky => match count.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({"error": "one of three of my answers is this"}),
            ),
            n => (StatusCode::OK, json!({"fine": true, "in_a_row": n + 1})),
        },
    };
    Ok(reply(status, &value))
}

fn reply(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut text = value.to_string();
    text.push('\n');
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn orders(service: Service, method: &http::Method, segments: &[&str], body: &[u8]) -> (StatusCode, Value) {
    let order = |id: u64| json!({"id": id, "status": if id.is_multiple_of(2) { "shipped" } else { "paid" }, "total": 9.5 + id as f64});
    match (method.as_str(), segments) {
        ("GET" | "HEAD", ["orders"]) => (
            StatusCode::OK,
            json!({"served_by": service.name(), "orders": [order(1), order(2), order(3)]}),
        ),
        ("GET" | "HEAD", ["orders", id]) => match id.parse() {
            Ok(id) if id < 1_000_000 => {
                let mut order = order(id);
                order["served_by"] = service.name().into();
                (StatusCode::OK, order)
            }
            _ => (
                StatusCode::NOT_FOUND,
                json!({"error": "no such order", "served_by": service.name()}),
            ),
        },
        ("POST", ["orders"]) => match serde_json::from_slice::<Value>(body) {
            Ok(order) => (
                StatusCode::CREATED,
                json!({"served_by": service.name(), "created": order}),
            ),
            Err(error) => (StatusCode::BAD_REQUEST, json!({"error": format!("not JSON: {error}")})),
        },
        _ => (
            StatusCode::NOT_FOUND,
            json!({"error": "not here", "served_by": service.name()}),
        ),
    }
}

fn users(segments: &[&str]) -> (StatusCode, Value) {
    match segments {
        ["users", id] => (
            StatusCode::OK,
            json!({"id": id, "name": format!("User {id}"), "segment": "gold"}),
        ),
        _ => (StatusCode::NOT_FOUND, json!({"error": "not here"})),
    }
}

fn echo(head: &http::request::Parts, body: &[u8]) -> Value {
    let mut headers = serde_json::Map::new();
    for name in head.headers.keys() {
        let values = head.headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.to_string(), values.join(", ").into());
    }
    json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body_bytes": body.len(),
        "body": String::from_utf8_lossy(&body[..body.len().min(1024)]),
    })
}
