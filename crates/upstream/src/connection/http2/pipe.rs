//! The body of a request, on its way into a stream.

use crate::body::Body;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use http_body::Body as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Moves a body on as fast as the target takes it. Dropped before its end, with all else of the
/// stream, the stream is reset.
pub(crate) struct Pipe {
    stream: SendStream<Bytes>,
    body: Body,
    /// A piece that waits for the target to take it, and whether it is the last.
    held: Option<(Bytes, bool)>,
}

// === impl Pipe ===

impl Pipe {
    pub(super) fn new(stream: SendStream<Bytes>, body: Body) -> Self {
        Self {
            stream,
            body,
            held: None,
        }
    }

    /// Ready when nothing more is to be sent: all is, or the stream does not take more, for a
    /// reason that the answer tells.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            if self.held.is_some() {
                while self.stream.capacity() == 0 {
                    match ready!(self.stream.poll_capacity(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return Poll::Ready(()),
                    }
                }
                // Checked above.
                let Some((bytes, last)) = self.held.take() else {
                    continue;
                };
                if self.stream.send_data(bytes, last).is_err() || last {
                    return Poll::Ready(());
                }
                continue;
            }
            // Room is asked for only with a piece in hand: asked for ahead it would be taken from
            // the window that all streams of the connection share.
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => {
                        let last = self.body.is_end_stream();
                        if bytes.is_empty() && !last {
                            continue;
                        }
                        if bytes.is_empty() {
                            let _ = self.stream.send_data(bytes, true);
                            return Poll::Ready(());
                        }
                        self.stream.reserve_capacity(1);
                        self.held = Some((bytes, last));
                    }
                    Err(frame) => {
                        if let Ok(mut trailers) = frame.into_trailers() {
                            plain(&mut trailers);
                            self.stream.reserve_capacity(0);
                            if self.stream.send_trailers(trailers).is_err() {
                                self.stream.send_reset(Reason::INTERNAL_ERROR);
                            }
                            return Poll::Ready(());
                        }
                    }
                },
                Some(Err(_)) => {
                    // What it was, the body keeps for who asks.
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(());
                }
                None => {
                    let _ = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// Trailers have no fields of a connection (RFC 9113 §8.2.2).
fn plain(trailers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        trailers.remove(name);
    }
    trailers.remove("keep-alive");
    trailers.remove("proxy-connection");
}
