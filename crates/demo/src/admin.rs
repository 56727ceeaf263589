//! The few calls that the demo makes to its nodes' admin API.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;

const TIME: Duration = Duration::from_secs(20);
const MOST: usize = 4 << 20;

/// One node's admin API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admin<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) token: &'a str,
}

impl Admin<'_> {
    /// Whether it would send traffic there; an unreachable node is not ready.
    pub(crate) async fn is_ready(self) -> bool {
        self.call("GET", "/readyz", None)
            .await
            .is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// The version of the configuration.
    pub(crate) async fn version(self) -> Result<u64, String> {
        let answer = self.call("GET", "/v1/config", None).await?;
        let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let version = tag.and_then(|tag| tag.trim_matches('"').parse().ok());
        version.ok_or_else(|| {
            format!(
                "GET /v1/config answered {} without a version: {}",
                answer.status(),
                text(&answer)
            )
        })
    }

    /// Puts the document, and waits until it is live on all nodes.
    pub(crate) async fn put(self, document: String) -> Result<(), String> {
        let answer = self
            .call("PUT", "/v1/config?wait=all&timeout=10s", Some(document))
            .await?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            status => Err(format!("the sample document was refused ({status}): {}", text(&answer))),
        }
    }

    async fn call(self, method: &str, target: &str, body: Option<String>) -> Result<Response<Bytes>, String> {
        let call = self.exchange(method, target, body);
        match tokio::time::timeout(TIME, call).await {
            Ok(answer) => answer.map_err(|error| format!("{method} {target} at {}: {error}", self.address)),
            Err(_) => Err(format!("{method} {target} at {} took more than {TIME:?}", self.address)),
        }
    }

    async fn exchange(
        self,
        method: &str,
        target: &str,
        body: Option<String>,
    ) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/yaml")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        // The set ends the connection with this call.
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MOST).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

fn text(answer: &Response<Bytes>) -> String {
    String::from_utf8_lossy(answer.body()).into_owned()
}
