//! The body of a request on its way from the client: how much, and how fast.

use crate::front::{Received, Stream};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use sluice_http_semantics::reserved::clean_trailers;
use sluice_upstream::BodyError;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A request's body as its connection reads it.
pub(crate) enum Incoming {
    Http1(sluice_upstream::Incoming),
    Http2(Received),
}

/// How long a body may be as slow as it likes.
const GRACE: Duration = Duration::from_secs(5);

/// A request's body with its limits. While nobody wants it, no clock runs.
pub(crate) struct Limited {
    body: Incoming,
    stream: Stream,
    limits: BodyLimits,
    upload: Rc<Upload>,
    patience: Patience,
    over: bool,
}

/// What holds for one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// Bytes that may come in all.
    pub(crate) most: Option<u64>,
    /// Between two pieces.
    pub(crate) idle: Duration,
    /// Bytes a second, on average of the time for which the client was waited for, beyond
    /// [`GRACE`]. 0: any.
    pub(crate) rate: u64,
}

/// How far a body is, for its exchange.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    came: Cell<u64>,
    answered: Cell<bool>,
}

/// How long a client was waited for, and may be. Made of one timer that is left armed.
#[derive(Default)]
struct Patience {
    since: Option<Instant>,
    /// In all, before `since`.
    waited: Duration,
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

// === impl Upload ===

impl Upload {
    /// Bytes that came.
    pub(crate) fn came(&self) -> u64 {
        self.came.get()
    }

    /// The answer has begun. From now on nobody can be told that it is too slow, and both sides may
    /// be in a conversation: only a body that stands still is given up.
    pub(crate) fn answered(&self) {
        self.answered.set(true);
    }
}

// === impl Limited ===

impl Limited {
    pub(crate) fn new(body: Incoming, stream: Stream, limits: BodyLimits, upload: Rc<Upload>) -> Self {
        Self {
            body,
            stream,
            limits,
            upload,
            patience: Patience::default(),
            over: false,
        }
    }

    /// How long the client may be waited for now, counted from the begin of this wait.
    fn left(&self) -> Duration {
        let BodyLimits { idle, rate, .. } = self.limits;
        if rate == 0 || self.upload.answered.get() {
            return idle;
        }
        // Each byte buys its share of a second.
        let bought = Duration::try_from_secs_f64(self.upload.came() as f64 / rate as f64).unwrap_or(Duration::MAX);
        GRACE
            .saturating_add(bought)
            .saturating_sub(self.patience.waited)
            .min(idle)
    }

    fn check(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        if let Some(trailers) = frame.trailers_mut() {
            clean_trailers(trailers);
        }
        if let Some(data) = frame.data_ref() {
            let came = self.upload.came() + data.len() as u64;
            self.upload.came.set(came);
            if let Some(limit) = self.limits.most.filter(|most| came > *most) {
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
                this.patience.ends();
                let Some(frame) = frame else {
                    this.stream.complete();
                    return Poll::Ready(None);
                };
                let frame = frame.and_then(|frame| this.check(frame));
                this.over |= frame.is_err();
                Poll::Ready(Some(frame))
            }
            Poll::Pending => {
                let left = this.left();
                this.patience.poll(cx, left).map(|()| {
                    this.over = true;
                    Some(Err(BodyError::ClientTimeout(left)))
                })
            }
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
    /// Something came.
    fn ends(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing has come yet. Ready once this wait has lasted for `left`.
    fn poll(&mut self, cx: &mut Context<'_>, left: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let at = since + left;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            // It was armed for an earlier wait.
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}
