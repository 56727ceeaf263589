//! One HTTP request on a connection of its own, and its whole answer.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    to: SocketAddr,
    from: Option<IpAddr>,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    bound: Duration,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers, where it had some.
    pub trailers: Option<HeaderMap>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("no connection to {to}: {why}")]
    Connect {
        /// The address called.
        to: SocketAddr,
        /// The system's word.
        why: std::io::Error,
    },
    /// The request is none that can be written.
    #[error("not a request: {0}")]
    Request(#[from] http::Error),
    /// The exchange broke.
    #[error("the exchange broke: {0}")]
    Exchange(#[from] hyper::Error),
    /// It took too long.
    #[error("no whole answer of {to} within {bound:?}")]
    TooLong {
        /// The address called.
        to: SocketAddr,
        /// How long it was waited for.
        bound: Duration,
    },
}

impl Call {
    /// `METHOD target` to an address. The Host is the address until [`Call::host`] says otherwise.
    pub fn new(method: Method, to: SocketAddr, target: impl Into<String>) -> Self {
        Self {
            to,
            from: None,
            method,
            target: target.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            bound: Duration::from_secs(30),
        }
    }

    /// A GET.
    pub fn get(to: SocketAddr, target: impl Into<String>) -> Self {
        Self::new(Method::GET, to, target)
    }

    /// A POST with a body.
    pub fn post(to: SocketAddr, target: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, to, target).body(body)
    }

    /// Sets the Host.
    pub fn host(self, host: &str) -> Self {
        self.header("host", host)
    }

    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: http::HeaderName = name.parse().expect("a field name");
        self.headers.append(name, value.parse().expect("a field value"));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends from this local address.
    pub fn from(mut self, from: IpAddr) -> Self {
        self.from = Some(from);
        self
    }

    /// Waits at most this long for the whole answer; 30 s if never said.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Sends it on a fresh connection and reads the whole answer.
    ///
    /// # Errors
    /// No connection, a broken exchange, or too long a wait.
    pub async fn send(self) -> Result<Answer, CallError> {
        let (to, bound) = (self.to, self.bound);
        tokio::time::timeout(bound, self.exchange())
            .await
            .unwrap_or(Err(CallError::TooLong { to, bound }))
    }

    /// [`Call::send`], for a test in which there must be an answer.
    pub async fn answer(self) -> Answer {
        let line = format!("{} {} at {}", self.method, self.target, self.to);
        match self.send().await {
            Ok(answer) => answer,
            Err(error) => panic!("{line}: {error}"),
        }
    }

    async fn exchange(self) -> Result<Answer, CallError> {
        let stream = connect(self.to, self.from)
            .await
            .map_err(|why| CallError::Connect { to: self.to, why })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let answer = async {
            let mut request = Request::builder()
                .method(self.method)
                .uri(&self.target)
                .body(Full::new(self.body))?;
            let own_host = http::HeaderValue::from_str(&self.to.to_string()).map_err(http::Error::from)?;
            *request.headers_mut() = self.headers;
            request.headers_mut().entry(http::header::HOST).or_insert(own_host);
            Answer::read(sender.send_request(request).await?).await
        }
        .await;
        driver.abort();
        answer
    }
}

impl Answer {
    /// Reads the body and trailers of a response.
    ///
    /// # Errors
    /// The message was not whole.
    pub async fn read(response: http::Response<hyper::body::Incoming>) -> Result<Self, CallError> {
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        Ok(Self {
            status: head.status,
            headers: head.headers,
            body: collected.to_bytes(),
            trailers,
        })
    }

    /// A field's value as text; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics with the text where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} with a body that is no JSON ({error}): {}", self.status, self.text()))
    }

    /// Panics with the whole answer unless the status is this.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?}\n{}", self.headers, self.text());
        self
    }

    /// The `code` of a problem document; empty where the answer is none.
    pub fn code(&self) -> String {
        if self.header("content-type") != "application/problem+json" {
            return String::new();
        }
        self.json()["code"].as_str().unwrap_or("").to_owned()
    }
}

/// Connects, from a local address where one is given.
///
/// # Errors
/// The system's.
pub async fn connect(to: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
