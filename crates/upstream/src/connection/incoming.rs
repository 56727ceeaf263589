//! Bodies as they are read from a connection.

use super::fault;
use super::http2::Receiving;
use crate::error::BodyError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A body that is read from a connection. Opaque, so that the types of hyper and h2 stay behind
/// the doors.
#[derive(Debug)]
pub struct Incoming(From);

#[derive(Debug)]
enum From {
    Client(hyper::body::Incoming),
    Target(hyper::body::Incoming),
    Stream(Receiving),
}

// === impl Incoming ===

impl Incoming {
    /// The body of a client's request: its errors are the client's.
    #[must_use]
    pub fn of_request(body: hyper::body::Incoming) -> Self {
        Self(From::Client(body))
    }

    pub(super) fn of_answer(body: hyper::body::Incoming) -> Self {
        Self(From::Target(body))
    }

    pub(crate) fn of_stream(body: Receiving) -> Self {
        Self(From::Stream(body))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            From::Client(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|error| fault::of_request(&error))))
            }
            From::Target(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|error| fault::of_answer(&error))))
            }
            From::Stream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            From::Client(body) | From::Target(body) => body.is_end_stream(),
            From::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            From::Client(body) | From::Target(body) => body.size_hint(),
            From::Stream(body) => body.size_hint(),
        }
    }
}
