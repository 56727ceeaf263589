//! The body of an answer on its way to the client, with the record that ends with it.

use crate::exchange::Exchange;
use crate::own_answer::late_status;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use sluice_http_semantics::problem::Code;
use sluice_http_semantics::reserved::clean_trailers;
use sluice_upstream::{Body, BodyError, Which};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What the client's connection reads an answer from.
#[derive(Debug)]
pub(crate) struct Outgoing {
    body: Body,
    exchange: Exchange,
    /// A status may still be told behind the body: that of a gRPC call, to a client of HTTP/2. With HTTP/1.1 trailers
    /// may get lost, and what is left would look whole.
    late_status: bool,
    /// Told at the next call: until then, what came before goes out.
    failed: Option<BodyError>,
}

// === impl Outgoing ===

impl Outgoing {
    /// `version` is the request's.
    pub(crate) fn new(body: Body, mut exchange: Exchange, version: http::Version) -> Self {
        if body.is_end_stream() || exchange.is_head() {
            exchange.whole();
        } else if version == http::Version::HTTP_10 && body.size_hint().exact().is_none() {
            exchange.stream.until_close();
        }
        Self {
            body,
            late_status: version == http::Version::HTTP_2 && exchange.grpc.is_some(),
            exchange,
            failed: None,
        }
    }

    /// What was read last did not reach the client, nor will what is left.
    pub(crate) fn lost(&mut self) {
        self.exchange.lost();
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(failed) = this.failed.take() {
            return Poll::Ready(Some(Err(failed)));
        }
        let mut frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                }
                if let Some(data) = frame.data_ref() {
                    this.exchange.sent(data.len());
                }
                // hyper does not ask again once the end is known.
                if frame.is_trailers() || this.body.is_end_stream() {
                    this.exchange.whole();
                }
            }
            None => this.exchange.whole(),
            Some(Err(BodyError::UpstreamTimeout(Which::Total))) if this.late_status => {
                this.body = Body::Empty;
                this.exchange.ended_by(Code::Deadline);
                let status = late_status(Code::Deadline, "the time for the call is over");
                return Poll::Ready(Some(Ok(Frame::trailers(status))));
            }
            Some(Err(error)) => {
                this.exchange.cut(error);
                this.failed = Some(error.clone());
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
