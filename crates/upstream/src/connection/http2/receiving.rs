//! The body of an answer, on its way out of a stream.

use super::fault;
use crate::error::BodyError;
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};
use std::task::{Context, Poll, ready};

/// Gives the target room for more as pieces are taken.
#[derive(Debug)]
pub(crate) struct Receiving {
    stream: RecvStream,
    /// What its length says is still to come.
    left: Option<u64>,
    data_over: bool,
}

// === impl Receiving ===

impl Receiving {
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self {
            left: if stream.is_end_stream() { Some(0) } else { length },
            stream,
            data_over: false,
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while !self.data_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    if bytes.is_empty() && !self.stream.is_end_stream() {
                        continue;
                    }
                    self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                // Also a reset that says NO_ERROR: after a whole answer it does not show here.
                Some(Err(error)) => return Poll::Ready(Some(Err(fault::of_answer(&error)))),
                None => self.data_over = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(fault::of_answer(&error)))),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
