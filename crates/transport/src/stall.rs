//! A clock that runs only while a write waits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the peer has taken nothing.
///
/// The timer is made at the first wait and left armed afterwards: a wait that ends and begins
/// again costs a comparison, not a new entry in the timer wheel.
#[derive(Debug)]
pub(crate) struct Stall {
    limit: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Stall ===

impl Stall {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            timer: None,
        }
    }

    /// The peer took something.
    pub(crate) fn progress(&mut self) {
        self.since = None;
    }

    /// The peer takes nothing now. Ready once that has lasted for the limit; else the task of `cx`
    /// is woken when it has.
    pub(crate) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = match self.since {
            Some(since) => since,
            None => *self.since.insert(Instant::now()),
        };
        let deadline = since + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // An earlier wait left the timer at an earlier moment: it fires once for nothing.
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
