//! One timer for all of a connection's waiting.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

/// Left armed when a wait ends: a request costs no entry in the timer wheel.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Armed>);

#[derive(Debug)]
struct Armed {
    sleep: Pin<Box<Sleep>>,
    /// It was polled since it was set.
    polled: bool,
}

// === impl Timer ===

impl Timer {
    /// Ready at `at`; else the task of `cx` is woken then, and perhaps once before.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let armed = self.0.get_or_insert_with(|| Armed {
            sleep: Box::pin(sleep_until(at)),
            polled: false,
        });
        loop {
            let elapsed = armed.sleep.is_elapsed();
            if elapsed && Instant::now() >= at {
                return Poll::Ready(());
            }
            // Set to an earlier moment it fires once for nothing; to a later one it would be late.
            if elapsed || armed.sleep.deadline() > at {
                armed.sleep.as_mut().reset(at);
                armed.polled = false;
            }
            if armed.polled {
                return Poll::Pending;
            }
            if armed.sleep.as_mut().poll(cx).is_pending() {
                armed.polled = true;
                return Poll::Pending;
            }
        }
    }
}
