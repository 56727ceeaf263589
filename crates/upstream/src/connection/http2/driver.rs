//! A connection's task: moves its frames, and asks a silent target whether it is still there.

use super::Load;
use super::keep_alive::{KeepAlive, Step};
use super::wire::{Tap, Wire};
use crate::timer::Timer;
use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// Ends with the connection. Dropping it closes that.
pub(super) struct Driver {
    connection: Connection<Tap, Bytes>,
    wire: Rc<Wire>,
    load: Rc<Load>,
    keep_alive: KeepAlive,
    ping: Option<PingPong>,
    timer: Timer,
}

// === impl Driver ===

impl Driver {
    pub(super) fn new(mut connection: Connection<Tap, Bytes>, wire: Rc<Wire>, load: Rc<Load>, now: Instant) -> Self {
        Self {
            ping: connection.ping_pong(),
            connection,
            wire,
            load,
            keep_alive: KeepAlive::new(now),
            timer: Timer::default(),
        }
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        Pin::new(&mut self.connection).poll(cx).map(|ended| match ended {
            Ok(()) => "the connection was closed".into(),
            Err(error) => error.to_string().into(),
        })
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let why = loop {
            if let Poll::Ready(why) = this.poll_connection(cx) {
                break why;
            }
            if let Some(ping) = &mut this.ping {
                let _ = ping.poll_pong(cx);
            }
            let (streams, idle) = (this.load.streams.get(), this.load.idle.get());
            match this
                .keep_alive
                .step(Instant::now(), this.wire.received(), streams, idle)
            {
                Step::Wait(at) => match this.timer.poll_until(cx, at) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => {}
                },
                Step::Ping => {
                    if let Some(ping) = &mut this.ping {
                        let _ = ping.send_ping(Ping::opaque());
                    }
                }
                Step::Dead => break "the target does not answer pings".into(),
            }
        };
        this.wire.end(why);
        Poll::Ready(())
    }
}
