//! One request without a body on a connection of its own, of whose answer only the status is of interest.

use crate::spec::Protocol;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fmt::Display;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// No body, on any thread.
struct Nothing;

/// Sends `request`, which has a Host, and waits for the status of its answer. Closes the connection then.
///
/// # Errors
///
/// What the protocol said.
pub(crate) async fn ask(
    stream: TcpStream,
    protocol: Protocol,
    mut request: Request<()>,
) -> Result<StatusCode, Arc<str>> {
    match protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(told)?;
            let mut answer = pin!(sender.send_request(request.map(|()| Nothing)));
            let answer = tokio::select! {
                biased;
                answer = &mut answer => answer,
                // It may have ended with the answer.
                _ = connection => answer.await,
            };
            Ok(answer.map_err(told)?.status())
        }
        Protocol::Http2 => {
            let head = super::http2::take(&mut request).ok_or("the Host is no authority")?;
            let (sender, connection) = h2::client::handshake(stream).await.map_err(told)?;
            let mut answer = pin!(async {
                let mut sender = sender.ready().await?;
                let (answer, _) = sender.send_request(head, true)?;
                answer.await
            });
            let answer = tokio::select! {
                biased;
                answer = &mut answer => answer,
                _ = connection => answer.await,
            };
            Ok(answer.map_err(told)?.status())
        }
    }
}

fn told(error: impl Display) -> Arc<str> {
    error.to_string().into()
}

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}
