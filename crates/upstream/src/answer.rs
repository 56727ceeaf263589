//! The body of an answer that is still under way, and its connection.

use crate::clock::{Deadline, after, earlier};
use crate::connection::{Incoming, http1, http2};
use crate::error::{BodyError, Which};
use crate::multiplexed::Slot;
use crate::upload::Shared;
use crate::worker::Lease;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Gives its connection back at its true end, trailers included; dropped before, it closes it.
/// Opaque; made by `send`.
pub struct Answer {
    incoming: Incoming,
    link: Link,
    lease: Option<Lease>,
    idle: Duration,
    total: Deadline,
    /// Since when the target is waited for. Stands still while nobody asks: a slow client is not
    /// the target's fault.
    since: Option<Instant>,
    upload: Option<Rc<Shared>>,
}

pub(crate) enum Link {
    /// Driven from here.
    Inline(Box<http1::Live>),
    /// In a task of its own, which moves the request's body on meanwhile.
    Task(
        Box<http1::Live>,
        #[expect(dead_code, reason = "ends the task when dropped")] http1::Task,
    ),
    /// A stream among others, and what moves the request's body on meanwhile.
    Stream(
        Slot,
        #[expect(dead_code, reason = "ends the task when dropped")] Option<http2::Task>,
    ),
    /// Gone; what is left to read has arrived.
    Over,
}

// === impl Answer ===

impl Answer {
    pub(crate) fn new(
        incoming: Incoming,
        link: Link,
        lease: Lease,
        idle: Duration,
        total: Deadline,
        upload: Option<Rc<Shared>>,
    ) -> Box<Self> {
        Box::new(Self {
            incoming,
            link,
            lease: Some(lease),
            idle,
            total,
            since: None,
            upload,
        })
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // A target that always has something more is never waited for, but its time is over all the same.
        if let Some((at, which)) = self.total
            && Instant::now() >= at
            && !matches!(self.link, Link::Over)
        {
            self.end();
            return Poll::Ready(Some(Err(BodyError::UpstreamTimeout(which))));
        }
        let incoming = &mut self.incoming;
        let polled = match &mut self.link {
            Link::Inline(live) => live.drive(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)),
            Link::Task(..) | Link::Stream(..) | Link::Over => Pin::new(incoming).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.since = None;
                // hyper's server asks no more once the end is known, so the end is acted on here.
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.finish(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish(cx);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.end();
                // A request's body that fails ends the connection, and with it the answer.
                let client = self.upload.as_ref().and_then(|upload| upload.failed());
                Poll::Ready(Some(Err(client.unwrap_or(error))))
            }
            Poll::Pending => self
                .poll_expired(cx)
                .map(|which| Some(Err(BodyError::UpstreamTimeout(which)))),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Which> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some((at, which)) = earlier(after(since, self.idle, Which::Idle), self.total) else {
            return Poll::Pending;
        };
        let expired = match &mut self.link {
            Link::Inline(live) => live.poll_until(at),
            Link::Task(live, _) => live.timer.poll_until(cx, at),
            Link::Stream(slot, _) => slot.poll_until(cx, at),
            Link::Over => Poll::Pending,
        };
        if expired.is_ready() {
            self.end();
        }
        expired.map(|()| which)
    }

    /// All of the answer is there.
    fn finish(&mut self, cx: &mut Context<'_>) {
        let lease = self.lease.take();
        if let (Link::Inline(mut live), Some(lease)) = (std::mem::replace(&mut self.link, Link::Over), lease)
            && live.settle(cx)
        {
            lease.give_back(live, Instant::now());
        }
    }

    /// Nothing more comes.
    fn end(&mut self) {
        self.link = Link::Over;
        self.lease = None;
    }
}
