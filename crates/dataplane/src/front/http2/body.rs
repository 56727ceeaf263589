//! The body of a request on a stream.

use super::session::Exchanged;
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use sluice_upstream::BodyError;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// What a client sends on its stream. A reset is an error whatever its code: what came before it is
/// not the whole.
pub(crate) struct Received {
    stream: RecvStream,
    exchanged: Rc<Exchanged>,
    stage: Stage,
    /// What is still to come, where the request told its length. The library holds the client to it.
    rest: Option<u64>,
}

enum Stage {
    /// Nobody has asked for it yet.
    Unwanted,
    Data,
    Trailers,
    Over,
}

// === impl Received ===

impl Received {
    pub(super) fn new(stream: RecvStream, exchanged: Rc<Exchanged>, length: Option<u64>) -> Self {
        Self {
            stream,
            exchanged,
            stage: Stage::Unwanted,
            rest: length,
        }
    }

    fn failed(&mut self, error: &h2::Error) -> BodyError {
        self.stage = Stage::Over;
        if error.is_library() {
            BodyError::ClientMalformed(error.to_string().into())
        } else {
            BodyError::ClientGone
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            match this.stage {
                Stage::Unwanted => {
                    this.exchanged.want();
                    this.stage = Stage::Data;
                }
                Stage::Data => match ready!(this.stream.poll_data(cx)) {
                    // An empty piece says nothing, and would be the end of a chunked body.
                    Some(Ok(bytes)) if bytes.is_empty() => {}
                    Some(Ok(bytes)) => {
                        // Whoever reads slowly asks late: until then the client has no new window.
                        let _ = this.stream.flow_control().release_capacity(bytes.len());
                        if let Some(rest) = &mut this.rest {
                            *rest = rest.saturating_sub(bytes.len() as u64);
                        }
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(this.failed(&error)))),
                    None => this.stage = Stage::Trailers,
                },
                Stage::Trailers => match ready!(this.stream.poll_trailers(cx)) {
                    Ok(trailers) => {
                        this.stage = Stage::Over;
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                    Err(error) => return Poll::Ready(Some(Err(this.failed(&error)))),
                },
                Stage::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Over) || self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
