//! How long a client may leave an answer waiting that it asked for.

use crate::front::LAST_BYTES;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// What a client has to take in the time of a stall, where so much waits for it. A window that is opened byte by byte holds an answer, and all that stands behind it, as
/// one that is closed does.
const LEAST: usize = 4 * 1024;

/// The clock of one piece of a body. Nothing is made of it until the piece has to wait.
#[derive(Debug)]
pub(super) struct Stall {
    limit: Duration,
    since: Option<Instant>,
    /// What was taken since.
    took: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The client did not take enough in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stalled;

// === impl Stall ===

impl Stall {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            took: 0,
            timer: None,
        }
    }

    /// The client took bytes.
    pub(super) fn took(&mut self, bytes: usize) {
        self.took += bytes;
        if self.took >= LEAST {
            self.took = 0;
            self.since = None;
        }
    }

    /// Waits, for the client's window and for `last_byte`, by which all of the answer was to be with
    /// the client.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, last_byte: Option<Instant>) -> Poll<Stalled> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let mut at = since + self.limit;
        if let Some(last) = last_byte {
            at = at.min(last + LAST_BYTES);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Stalled)
    }
}
