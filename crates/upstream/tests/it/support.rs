//! A backend that is scripted byte by byte, and the rig that sends to it. All on one thread.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use sluice_shared_store::{Config, SharedStore};
use sluice_telemetry::Metrics;
use sluice_upstream::{
    Attempts, Balance, Body, BodyError, Health, HealthRule, HostPolicy, Meters, Plan, PoolSpec, Protocol, Reading,
    Resolver, Retry, SendError, SendErrorKind, Spec, TargetSpec, Timeouts, Upstreams, Which, WorkerContext,
};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const MS: Duration = Duration::from_millis(1);

/// Runs a test as a worker runs; a test that hangs fails.
pub fn on_worker(test: impl Future<Output = ()> + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test)
            .await
            .expect("the test hangs")
    });
}

/// Waits for a condition, not for a time.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(MS).await;
    }
    panic!("never: {what}");
}

pub struct Backend {
    pub address: SocketAddr,
    pub accepted: Rc<Cell<usize>>,
    pub journal: Rc<RefCell<Vec<String>>>,
}

/// One connection at the backend.
pub struct Conn {
    pub stream: TcpStream,
    /// The how-manieth connection this is, from 0.
    pub number: usize,
    journal: Rc<RefCell<Vec<String>>>,
    buffer: Vec<u8>,
}

pub struct Got {
    pub head: String,
    pub body: Vec<u8>,
}

impl Got {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Backend {
    pub async fn new<F: Future<Output = ()> + 'static>(script: impl Fn(Conn) -> F + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    pub fn on<F: Future<Output = ()> + 'static>(listener: TcpListener, script: impl Fn(Conn) -> F + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (accepted, journal) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let (count, lines) = (Rc::clone(&accepted), Rc::clone(&journal));
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = count.replace(count.get() + 1);
                let conn = Conn {
                    stream,
                    number,
                    journal: Rc::clone(&lines),
                    buffer: Vec::new(),
                };
                tokio::task::spawn_local(script(conn));
            }
        });
        Self {
            address,
            accepted,
            journal,
        }
    }

    /// Answers everything with 200 and the request line as the body.
    pub async fn echo() -> Self {
        Self::new(|mut conn| async move {
            while let Some(got) = conn.request().await {
                conn.say(&ok(got.line())).await;
            }
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn lines(&self) -> Vec<String> {
        self.journal.borrow().clone()
    }
}

impl Conn {
    /// The next head; None at the end of the connection.
    pub async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
                self.journal.borrow_mut().push(head.lines().next().unwrap().to_owned());
                return Some(head);
            }
            self.fill().await?;
        }
    }

    /// The next request with its body as it was framed, chunks and trailers not taken apart.
    pub async fn request(&mut self) -> Option<Got> {
        let head = self.head().await?;
        let mut got = Got { head, body: Vec::new() };
        if got.field("transfer-encoding").is_some() {
            loop {
                if let Some(end) = self.buffer.windows(5).position(|w| w == b"0\r\n\r\n") {
                    got.body = self.buffer.drain(..end + 5).collect();
                    break;
                }
                // With trailers the last chunk is followed by fields.
                if let Some(last) = self.buffer.windows(5).position(|w| w == b"\r\n0\r\n")
                    && let Some(end) = self.buffer[last + 5..].windows(4).position(|w| w == b"\r\n\r\n")
                {
                    got.body = self.buffer.drain(..last + 5 + end + 4).collect();
                    break;
                }
                self.fill().await?;
            }
        } else if let Some(length) = got.field("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                self.fill().await?;
            }
            got.body = self.buffer.drain(..length).collect();
        }
        Some(got)
    }

    async fn fill(&mut self) -> Option<()> {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Some(())
            }
        }
    }

    /// Whatever came; None at the end of the connection.
    pub async fn some(&mut self) -> Option<Vec<u8>> {
        self.fill().await?;
        Some(std::mem::take(&mut self.buffer))
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Whatever comes until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await.is_some() {}
        std::mem::take(&mut self.buffer)
    }
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub struct Rig {
    pub upstreams: Upstreams,
    pub spec: Arc<Spec>,
    pub timeouts: Timeouts,
    pub meters: Meters,
    pub health: Health,
}

pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Result<Vec<u8>, BodyError>,
    pub trailers: Option<HeaderMap>,
    pub attempts: Attempts,
}

/// Which time-out ended an exchange, before its head or behind it.
pub fn time_out_of(result: Result<Answered, (SendError, Attempts)>) -> Which {
    match result {
        Err((error, _)) => match error.kind {
            SendErrorKind::Timeout(which) => which,
            _ => panic!("{error}"),
        },
        Ok(answer) => match answer.body {
            Err(BodyError::UpstreamTimeout(which)) => which,
            other => panic!("{other:?}"),
        },
    }
}

impl Answered {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone().unwrap()).unwrap()
    }
}

pub fn spec(urls: &[&str]) -> Spec {
    Spec {
        name: "a".into(),
        targets: urls.iter().map(|url| TargetSpec::parse(url, 1).unwrap()).collect(),
        host: HostPolicy::Preserve,
        balance: Balance::RoundRobin,
        protocol: Protocol::Http1,
        timeouts: Timeouts::default(),
        pool: PoolSpec::default(),
        retry: Retry::default(),
        health: HealthRule::default(),
        breaker: None,
        digest: 0,
    }
}

/// Targets that are spoken to by HTTP/2.
pub fn h2(urls: &[&str]) -> Spec {
    Spec {
        protocol: Protocol::Http2,
        ..spec(urls)
    }
}

/// A node's shared state, of itself alone.
pub fn alone() -> SharedStore {
    SharedStore::start(Config::alone("n1", Metrics::new())).unwrap()
}

pub fn context(meters: &Meters, seed: u64) -> WorkerContext {
    let runtime = tokio::runtime::Handle::current();
    let resolver = Resolver::system(runtime.clone());
    WorkerContext {
        meters: meters.clone(),
        health: Health::new(runtime, resolver.clone()),
        shared: alone(),
        resolver,
        limits: sluice_transport::Limits::default(),
        seed,
    }
}

impl Rig {
    pub fn new(spec: Spec) -> Self {
        let spec = Arc::new(spec.seal());
        let meters = Meters::default();
        Self::of(spec, meters.clone(), context(&meters, 7))
    }

    /// On a node that has been made.
    pub fn of(spec: Arc<Spec>, meters: Meters, context: WorkerContext) -> Self {
        let health = context.health.clone();
        let upstreams = Upstreams::new(context);
        upstreams.reconcile(&[Arc::clone(&spec)]);
        health.reconcile(&[Arc::clone(&spec)]);
        Self {
            health,
            upstreams,
            timeouts: spec.timeouts,
            spec,
            meters,
        }
    }

    pub fn to(backend: &Backend) -> Self {
        Self::new(spec(&[&backend.url()]))
    }

    /// By HTTP/2.
    pub fn h2(backend: &Backend) -> Self {
        Self::new(h2(&[&backend.url()]))
    }

    /// Another configuration of the same upstream.
    pub fn change(&mut self, change: impl FnOnce(&mut Spec)) {
        let mut spec = (*self.spec).clone();
        change(&mut spec);
        self.spec = Arc::new(spec.seal());
        self.timeouts = self.spec.timeouts;
        self.upstreams.reconcile(&[Arc::clone(&self.spec)]);
        self.health.reconcile(&[Arc::clone(&self.spec)]);
    }

    pub async fn start(&self, mut request: Request<Body>) -> (Result<Response<Body>, SendError>, Attempts) {
        let mut attempts = Attempts::default();
        let result = self
            .upstreams
            .send(
                &self.spec,
                Plan::of(&self.spec).within(&self.timeouts),
                &mut request,
                &mut attempts,
            )
            .await;
        (result, attempts)
    }

    pub async fn send(&self, request: Request<Body>) -> Result<Answered, (SendError, Attempts)> {
        let (result, attempts) = self.start(request).await;
        let response = match result {
            Ok(response) => response,
            Err(error) => return Err((error, attempts)),
        };
        let (head, body) = response.into_parts();
        let (body, trailers) = match body.collect().await {
            Ok(all) => {
                let trailers = all.trailers().cloned();
                (Ok(all.to_bytes().to_vec()), trailers)
            }
            Err(error) => (Err(error), None),
        };
        Ok(Answered {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            trailers,
            attempts,
        })
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send(request("GET", path, Body::Empty))
            .await
            .map_err(|(error, _)| error)
            .unwrap()
    }

    pub async fn get_with(&self, path: &str, body: Body) -> Answered {
        self.send(request("GET", path, body))
            .await
            .map_err(|(error, _)| error)
            .unwrap()
    }

    pub fn reading(&self) -> Reading {
        self.meters.read().into_iter().next().unwrap_or_default()
    }

    /// (active, idle)
    pub fn connections(&self) -> (i64, i64) {
        let reading = self.reading();
        (reading.active, reading.idle)
    }

    pub fn replaced(&self) -> u64 {
        self.reading().replaced.iter().map(|(_, count)| count).sum()
    }
}

pub fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "shop.example")
        .body(body)
        .unwrap()
}

/// A body of unknown length in pieces, with a pause of the task between them.
pub fn chunks(pieces: Vec<Result<Bytes, BodyError>>) -> Body {
    Body::boxed(Pieces {
        pieces: pieces.into(),
        paused: false,
        endless: false,
        trailers: None,
    })
}

/// As [`chunks`], but after the last piece the client falls silent.
pub fn endless(pieces: Vec<Result<Bytes, BodyError>>) -> Body {
    Body::boxed(Pieces {
        pieces: pieces.into(),
        paused: false,
        endless: true,
        trailers: None,
    })
}

pub fn with_trailers(pieces: Vec<Result<Bytes, BodyError>>, trailers: HeaderMap) -> Body {
    Body::boxed(Pieces {
        pieces: pieces.into(),
        paused: false,
        endless: false,
        trailers: Some(trailers),
    })
}

struct Pieces {
    pieces: std::collections::VecDeque<Result<Bytes, BodyError>>,
    paused: bool,
    endless: bool,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        use http_body::Frame;
        use std::task::Poll;
        let this = self.get_mut();
        this.paused = !this.paused;
        if this.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match this.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(piece.map(Frame::data))),
            None if this.endless => Poll::Pending,
            None => Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }
}

pub fn pieces(pieces: &[&'static str]) -> Vec<Result<Bytes, BodyError>> {
    pieces
        .iter()
        .map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
        .collect()
}

/// Answers each request with what it got, head and body, as it was framed.
pub async fn mirror() -> Backend {
    Backend::new(|mut conn| async move {
        while let Some(got) = conn.request().await {
            let body = String::from_utf8_lossy(&got.body).into_owned();
            conn.say(ok(&format!("{}{body}", got.head))).await;
        }
    })
    .await
}

/// Answers the first request with fixed bytes and keeps the connection; further ones by `next`.
pub async fn saying(answer: impl AsRef<[u8]> + Clone + 'static) -> Backend {
    Backend::new(move |mut conn| {
        let answer = answer.clone();
        async move {
            while let Some(got) = conn.request().await {
                if got.line().contains("/next") {
                    conn.say(ok("next")).await;
                } else {
                    conn.say(&answer).await;
                }
            }
        }
    })
    .await
}
