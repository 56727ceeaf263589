//! One call: connect, send, read the whole answer, within its time. Follows no redirects.

use super::{Endpoint, Events, Failure};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CONNECT_TIME: Duration = Duration::from_secs(5);
const TIME: Duration = Duration::from_secs(30);
const MOST: usize = 256 << 20;
const TEXT: usize = 200;

/// A client of one admin API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    token: Option<String>,
}

/// A call to be made.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    time: Duration,
    most: usize,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    endpoint: Endpoint,
}

/// An answer whose head has come.
struct Begun {
    head: http::response::Parts,
    body: Incoming,
    driver: JoinSet<hyper::Result<()>>,
    most: usize,
}

// === impl Call ===

impl Call {
    /// `target` begins with a slash; what stands in it is encoded already.
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            time: TIME,
            most: MOST,
        }
    }

    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    pub(crate) fn post(target: impl Into<String>) -> Self {
        Self::new(Method::POST, target)
    }

    /// A value that cannot be one is left out: callers encode what people typed.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn body(self, media_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
        .header(header::CONTENT_TYPE, media_type)
    }

    /// It has this long in all.
    pub(crate) fn within(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// The answer's body may have so many bytes.
    pub(crate) fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// The node itself may take this long over it.
    pub(crate) fn may_take(self, time: Duration) -> Self {
        Self {
            time: time + TIME,
            ..self
        }
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn new(endpoint: Endpoint, token: Option<String>) -> Self {
        Self { endpoint, token }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    #[cfg(test)]
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Makes the call; every answer but a 2xx is a failure.
    pub(crate) async fn call(&self, call: Call) -> Result<Answer, Failure> {
        let answer = self.exchange(call).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(Failure::of_answer(&self.endpoint, answer.status, &answer.body))
    }

    /// Makes a call that changes something: where the answer is lost, nobody knows whether it did.
    pub(crate) async fn change(&self, call: Call) -> Result<Answer, Failure> {
        self.call(call).await.map_err(|failure| match failure {
            Failure::Broken { .. } | Failure::Late { .. } => Failure::Unknown(Box::new(failure)),
            failure => failure,
        })
    }

    /// Makes the call; any answer that is no redirect will do.
    pub(crate) async fn exchange(&self, call: Call) -> Result<Answer, Failure> {
        let time = call.time;
        let whole = async { self.whole(self.begin(call).await?).await };
        self.in_time(time, whole).await
    }

    /// Makes the call, whose answer is a stream of events.
    pub(crate) async fn follow(&self, call: Call) -> Result<Events, Failure> {
        let begun = self.in_time(call.time, self.begin(call)).await?;
        if begun.head.status.is_success() {
            return Ok(Events::new(self.endpoint.clone(), begun.body, begun.driver));
        }
        let answer = self.in_time(TIME, self.whole(begun)).await?;
        Err(Failure::of_answer(&self.endpoint, answer.status, &answer.body))
    }

    async fn in_time<T>(&self, time: Duration, done: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(time, done).await.unwrap_or_else(|_| {
            Err(Failure::Late {
                endpoint: self.endpoint.clone(),
                time,
            })
        })
    }

    async fn begin(&self, call: Call) -> Result<Begun, Failure> {
        match &self.endpoint {
            Endpoint::Http { authority, .. } => {
                let connect = TcpStream::connect(Endpoint::host_port(authority));
                let stream = self.connected(connect).await?;
                self.begin_over(stream, call).await
            }
            #[cfg(unix)]
            Endpoint::Socket(path) => {
                let stream = self.connected(tokio::net::UnixStream::connect(path)).await?;
                self.begin_over(stream, call).await
            }
            #[cfg(not(unix))]
            Endpoint::Socket(_) => Err(self.unreachable("this system has no Unix sockets: use --admin URL".to_owned())),
        }
    }

    async fn connected<S>(&self, connect: impl Future<Output = std::io::Result<S>>) -> Result<S, Failure> {
        match tokio::time::timeout(CONNECT_TIME, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(error.to_string())),
            Err(_) => Err(self.unreachable(format!("no connection within {} s", CONNECT_TIME.as_secs()))),
        }
    }

    fn unreachable(&self, why: String) -> Failure {
        Failure::Unreachable {
            endpoint: self.endpoint.clone(),
            why,
        }
    }

    fn strange(&self, why: impl Into<String>) -> Failure {
        Failure::Strange {
            endpoint: self.endpoint.clone(),
            why: why.into(),
        }
    }

    async fn begin_over<S>(&self, stream: S, call: Call) -> Result<Begun, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.unreachable(error.to_string()))?;
        // The set ends the connection with this call.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let most = call.most;
        let answer = sender
            .send_request(self.request(call)?)
            .await
            .map_err(|error| self.broken(&error))?;
        let (head, body) = answer.into_parts();
        if head.status.is_redirection() {
            let to = head
                .headers
                .get(header::LOCATION)
                .map(|to| String::from_utf8_lossy(to.as_bytes()));
            return Err(Failure::Redirected {
                endpoint: self.endpoint.clone(),
                to: to.map_or_else(|| "somewhere else".to_owned(), std::borrow::Cow::into_owned),
            });
        }
        Ok(Begun {
            head,
            body,
            driver,
            most,
        })
    }

    async fn whole(&self, begun: Begun) -> Result<Answer, Failure> {
        let Begun {
            head,
            body,
            driver,
            most,
        } = begun;
        // The connection is driven until the body is read.
        let _driver = driver;
        match Limited::new(body, most).collect().await {
            Ok(body) => Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
                endpoint: self.endpoint.clone(),
            }),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(self.strange("its answer has no end")),
            Err(error) => Err(Failure::Broken {
                endpoint: self.endpoint.clone(),
                why: error.to_string(),
            }),
        }
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        if error.is_parse() {
            return self.strange("it does not speak HTTP");
        }
        Failure::Broken {
            endpoint: self.endpoint.clone(),
            why: error.to_string(),
        }
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, Failure> {
        let (host, prefix) = match &self.endpoint {
            Endpoint::Http { authority, prefix } => (authority.as_str(), prefix.as_str()),
            Endpoint::Socket(_) => ("localhost", ""),
        };
        let request = Request::builder()
            .method(call.method)
            .uri(format!("{prefix}{}", call.target));
        let request = request.body(Full::new(call.body));
        let mut request = request.map_err(|error| Failure::Usage(format!("{}: {error}", call.target)))?;
        *request.headers_mut() = call.headers;
        let mut set = |name: HeaderName, value: &str| match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(name == header::AUTHORIZATION);
                request.headers_mut().insert(name, value);
                Ok(())
            }
            Err(_) => Err(Failure::Usage(format!(
                "what is to be sent as {name} holds characters that a header cannot"
            ))),
        };
        set(header::HOST, host)?;
        set(header::USER_AGENT, concat!("sluice/", env!("CARGO_PKG_VERSION")))?;
        if let Some(token) = &self.token {
            set(header::AUTHORIZATION, &format!("Bearer {token}"))?;
        }
        Ok(request)
    }
}

// === impl Answer ===

impl Answer {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Strange {
            endpoint: self.endpoint.clone(),
            why: format!(
                "{error} in {:?}",
                String::from_utf8_lossy(&self.body)
                    .chars()
                    .take(TEXT)
                    .collect::<String>()
            ),
        })
    }

    /// The version that its ETag tells.
    pub(crate) fn version(&self) -> Result<u64, Failure> {
        let tag = self.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let version = tag.and_then(|tag| tag.trim_start_matches("W/").trim_matches('"').parse().ok());
        version.ok_or_else(|| Failure::Strange {
            endpoint: self.endpoint.clone(),
            why: "it tells no version".to_owned(),
        })
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
