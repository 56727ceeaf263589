//! One request on a connection, up to the head of its answer.

use super::fault;
use super::pipe::Pipe;
use super::receiving::Receiving;
use crate::connection::Fault;
use h2::client::ResponseFuture;
use http::Response;
use http::header::CONTENT_LENGTH;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Dropping it resets the stream, unless both sides have ended it.
pub(crate) struct Stream {
    response: ResponseFuture,
    /// The body of the request, until it is sent.
    pub(crate) pipe: Option<Pipe>,
    /// Interim answers so far.
    pub(crate) interims: u32,
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(response: ResponseFuture, pipe: Option<Pipe>) -> Self {
        Self {
            response,
            pipe,
            interims: 0,
        }
    }

    /// Sends the body on meanwhile.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Receiving>, Fault>> {
        if let Some(pipe) = &mut self.pipe
            && pipe.poll(cx).is_ready()
        {
            self.pipe = None;
        }
        while let Poll::Ready(Some(Ok(_))) = self.response.poll_informational(cx) {
            self.interims = self.interims.saturating_add(1);
        }
        let answer = ready!(Pin::new(&mut self.response).poll(cx));
        Poll::Ready(match answer {
            Ok(response) => {
                // h2 has seen to it that they are one number, and that the body is as long.
                let length = response.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                Ok(response.map(|stream| Receiving::new(stream, length)))
            }
            Err(error) => Err(fault::of_request(&error)),
        })
    }
}
