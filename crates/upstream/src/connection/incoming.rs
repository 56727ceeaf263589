//! Bodies as hyper reads them.

use super::fault;
use crate::error::BodyError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A body that hyper reads from a connection. Opaque, so that hyper's own type stays behind the
/// doors.
#[derive(Debug)]
pub struct Incoming {
    body: hyper::body::Incoming,
    from: From,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Client,
    Target,
}

// === impl Incoming ===

impl Incoming {
    /// The body of a client's request: its errors are the client's.
    #[must_use]
    pub fn of_request(body: hyper::body::Incoming) -> Self {
        Self {
            body,
            from: From::Client,
        }
    }

    pub(super) fn of_answer(body: hyper::body::Incoming) -> Self {
        Self {
            body,
            from: From::Target,
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| match this.from {
                From::Client => fault::of_request(&error),
                From::Target => fault::of_answer(&error),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
