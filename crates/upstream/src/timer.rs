//! One timer for all time-outs of a connection, one after the other.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

/// Stays armed when a wait ends; the next wait re-arms it only if it has to end earlier. So a busy
/// connection touches the timer wheel once in the length of its time-out, not once a request.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

// === impl Timer ===

impl Timer {
    /// Ready at `deadline`; else the task of `cx` is woken then, and perhaps once before.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        // A task that has used up its turn is told by every timer that there is time left: a target that
        // never stops sending would never be too late.
        if !has_budget_remaining() && Instant::now() >= deadline {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
