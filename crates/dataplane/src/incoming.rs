//! The body of a request on its way from the client: how much, and how fast.

use crate::front::{Received, Stream};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use sluice_http_semantics::reserved::clean_trailers;
use sluice_upstream::BodyError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A request's body as its connection reads it.
pub(crate) enum Incoming {
    Http1(sluice_upstream::Incoming),
    Http2(Received),
}

/// A request's body with its limits. While nobody wants it, no clock runs.
pub(crate) struct Limited {
    body: Incoming,
    stream: Stream,
    /// Bytes that may come in all.
    limit: Option<u64>,
    came: u64,
    patience: Patience,
    over: bool,
}

/// How long a client may keep us waiting. Made of one timer that is left armed.
struct Patience {
    limit: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Incoming ===

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

// === impl Limited ===

impl Limited {
    /// At most `limit` bytes, with at most `idle` between them.
    pub(crate) fn new(body: Incoming, stream: Stream, limit: Option<u64>, idle: Duration) -> Self {
        Self {
            body,
            stream,
            limit,
            came: 0,
            patience: Patience {
                limit: idle,
                since: None,
                timer: None,
            },
            over: false,
        }
    }

    fn check(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        if let Some(trailers) = frame.trailers_mut() {
            clean_trailers(trailers);
        }
        if let Some(data) = frame.data_ref() {
            self.came += data.len() as u64;
            if let Some(limit) = self.limit.filter(|limit| self.came > *limit) {
                self.over = true;
                return Err(BodyError::TooLarge { limit });
            }
        }
        if frame.is_trailers() || self.body.is_end_stream() {
            self.stream.complete();
        }
        Ok(frame)
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.patience.since = None;
                let Some(frame) = frame else {
                    this.stream.complete();
                    return Poll::Ready(None);
                };
                let frame = frame.and_then(|frame| this.check(frame));
                this.over |= frame.is_err();
                Poll::Ready(Some(frame))
            }
            Poll::Pending => this.patience.poll(cx).map(|limit| {
                this.over = true;
                Some(Err(BodyError::ClientTimeout(limit)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Patience ===

impl Patience {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let at = since + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(self.limit);
            }
            // It was armed for an earlier wait.
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}
