//! A decent client of HTTP/2: one connection with prior knowledge, many requests at a time.

use crate::call::{Answer, CallError, connect};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

/// Any body that a test writes.
pub type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection. Clones share it.
#[derive(Debug, Clone)]
pub struct Http2 {
    to: SocketAddr,
    sender: SendRequest<Body>,
}

impl Http2 {
    /// Connects.
    ///
    /// # Errors
    /// No connection, or none that speaks HTTP/2.
    pub async fn connect(to: SocketAddr) -> Result<Self, CallError> {
        let stream = connect(to, None).await.map_err(|why| CallError::Connect { to, why })?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { to, sender })
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// A request and its whole answer.
    ///
    /// # Errors
    /// The stream was reset, the connection is over, or it took too long.
    pub async fn ask(&self, request: Request<Body>) -> Result<Answer, CallError> {
        let mut sender = self.sender.clone();
        let exchange = async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            Answer::read(response).await
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::TooLong {
                to: self.to,
                bound: PATIENCE,
            }),
        }
    }

    /// A GET of the host `h`.
    ///
    /// # Errors
    /// As for [`Http2::ask`].
    pub async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.ask(Request::get(format!("http://h{path}")).body(whole(""))?).await
    }
}

/// A body that is there at once.
pub fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}
