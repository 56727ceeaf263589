//! HTTP/1.1 to a target, by hyper's client connection.
//!
//! A connection has no task of its own. Whoever waits for it drives it: first the exchange that
//! waits for the head, then the body of the answer; in the pool nobody does. That saves two
//! switches of tasks for each request, and what is dropped is closed. Only an answer that begins
//! while its request is still under way gets a task, since then both directions have to move
//! whether the other does or not.

mod head;
mod interim;
mod relay;
mod tap;

use super::{Failure, Fault, Incoming};
use crate::body::Body;
use crate::meters::Gauged;
use crate::switched::Switched;
use crate::timer::Timer;
use crate::worker::Lease;
use bytes::Bytes;
use http::{Request, Response};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use relay::Relay;
use sluice_transport::Io;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
pub(crate) use tap::Writing;
use tap::{Tap, Wire};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How often a driver looks again after something happened while it was inside, before it lets
/// other tasks run.
const ROUNDS: usize = 8;

/// The most that is read from a target at once, about, and the longest head of an answer. What a client does
/// not take is held in pieces of this size: a bound of memory for each client that reads slowly.
const BUFFER: usize = 64 * 1024;

type Connection = http1::Connection<TokioIo<Tap>, Body>;

/// An open connection to a target. Dropping it closes it.
pub(crate) struct Live {
    sender: http1::SendRequest<Body>,
    /// None once it ended, or moved into a task.
    connection: Option<Connection>,
    wire: Rc<Wire>,
    relay: Arc<Relay>,
    waker: Waker,
    /// Left armed between exchanges.
    pub(crate) timer: Timer,
    /// When it was made.
    pub(crate) made: Instant,
    /// When it was last given back.
    pub(crate) rested: Instant,
    /// When it is no longer used from the pool.
    pub(crate) until: Instant,
    /// What the target said about how long it keeps idle connections.
    pub(crate) keep_alive: Option<Duration>,
    /// Never used again, whatever hyper says.
    pub(crate) tainted: bool,
    /// The present request asks to switch protocols: the stream is kept when HTTP is over on it.
    pub(crate) switches: bool,
    /// What is left of it then.
    left: Option<Box<Left>>,
    pub(crate) gauge: Gauged,
}

/// A connection on which HTTP is over.
struct Left {
    io: Io<TcpStream>,
    /// Read, and not looked at.
    early: Bytes,
}

/// A connection's task; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Task(AbortHandle);

// === impl Live ===

impl Live {
    /// Opens the door on a fresh stream.
    pub(crate) async fn open(io: Io<TcpStream>, now: Instant, gauge: Gauged) -> Result<Box<Self>, Fault> {
        let (tap, wire) = Tap::new(io);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let handshake = builder.handshake(TokioIo::new(tap)).await;
        let (sender, connection) = handshake.map_err(|error| Fault::of(&error))?;
        let relay = Arc::new(Relay::default());
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            wire,
            waker: Waker::from(Arc::clone(&relay)),
            relay,
            timer: Timer::default(),
            made: now,
            rested: now,
            until: now,
            keep_alive: None,
            tainted: false,
            switches: false,
            left: None,
            gauge,
        }))
    }

    /// Sends `request`, which is taken out of its place, and waits for the head of its answer. `expired` is asked whenever there is
    /// nothing to do but to wait, and told how the writing goes and how much was written; its `E`
    /// ends the wait.
    ///
    /// With `record`, the head can be had back from [`Live::rewind`] if this fails.
    ///
    /// Dropping the future leaves the connection in the middle of an exchange: drop it too.
    pub(crate) async fn exchange<E>(
        &mut self,
        request: &mut Request<Body>,
        record: bool,
        mut expired: impl FnMut(&mut Timer, &mut Context<'_>, Writing, u64) -> Poll<E>,
    ) -> Result<Response<Incoming>, Result<Failure, E>> {
        self.wire.begin(record);
        let mut answer = pin!(self.sender.try_send_request(std::mem::take(request)));
        let result = std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = self.drive(cx, |cx| answer.as_mut().poll(cx)) {
                return Poll::Ready(Ok(result));
            }
            // The relay's waker, since a timer outlives the exchange and the task that waits now.
            let mut inner = Context::from_waker(&self.waker);
            expired(&mut self.timer, &mut inner, self.wire.writing(), self.wire.sent()).map(Err)
        })
        .await;
        match result {
            Ok(Ok(response)) => Ok(response.map(Incoming::of_answer)),
            Ok(Err(mut error)) => {
                let returned = error.take_message();
                Err(Ok(Failure {
                    fault: Fault::of(&error.into_error()),
                    returned,
                }))
            }
            Err(expired) => Err(Err(expired)),
        }
    }

    /// Polls `look` and the connection in turn, until `look` is ready or neither moves.
    pub(crate) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.relay.drive(cx.waker());
        self.relay.enter();
        let mut inner = Context::from_waker(&self.waker);
        let mut again = true;
        for _ in 0..ROUNDS {
            if let Poll::Ready(found) = look(&mut inner) {
                self.relay.leave();
                return Poll::Ready(found);
            }
            let Some(connection) = &mut self.connection else {
                again = false;
                break;
            };
            let over = Pin::new(connection).poll(&mut inner).is_ready();
            if over {
                // What it still had to say lies with whom `look` asks.
                let ended = self.connection.take();
                if self.switches {
                    self.left = ended.map(Left::of);
                }
            }
            again = over || self.relay.noted();
            if !again {
                break;
            }
        }
        self.relay.leave_to_wait();
        if again {
            // Others first; the note that asked for this was taken above.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the exchange is over, answer and request, and the connection takes another.
    pub(crate) fn is_free(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready() && !self.tainted
    }

    /// Whether nothing more comes or goes.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.is_none()
    }

    /// Lets a connection whose answer is read, but whose end was not yet seen, come to its end.
    pub(crate) fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_free() {
            let _: Poll<()> = self.drive(cx, |_| Poll::Pending);
        }
        self.is_free()
    }

    /// For the pool: nobody drives.
    pub(crate) fn rest(&mut self) {
        self.relay.rest();
    }

    /// For a connection from the pool: whether it can still be used. `probe` asks the kernel, which
    /// costs a system call and sees what the reactor has not yet seen.
    pub(crate) fn revive(&mut self, probe: bool) -> bool {
        if probe {
            self.wire.probe();
        } else if !self.relay.stirred() {
            return true;
        }
        self.relay.enter();
        let mut inner = Context::from_waker(&self.waker);
        let over = match &mut self.connection {
            Some(connection) => Pin::new(connection).poll(&mut inner).is_ready(),
            None => true,
        };
        self.relay.leave_resting();
        if over {
            self.connection = None;
        }
        self.is_free()
    }

    /// Whether anything happened on it in the pool.
    pub(crate) fn stirred(&self) -> bool {
        self.relay.stirred()
    }

    /// The connection in a task of its own, for the rest of its life.
    pub(crate) fn detach(&mut self) -> Option<Task> {
        let connection = self.connection.take()?;
        self.tainted = true;
        let task = tokio::task::spawn_local(async move {
            // How it ended is told to who reads the answer.
            let _ = connection.await;
        });
        Some(Task(task.abort_handle()))
    }

    /// The stream, once the answer was a 101. None where HTTP is not over on it: the target switched
    /// before it had the whole request.
    pub(crate) fn into_switched(self, lease: Lease) -> Option<Box<Switched>> {
        let left = self.left?;
        Some(Switched::new(left.io, left.early, lease, self.gauge))
    }

    /// The head of the request that just failed, if it was recorded and written.
    pub(crate) fn rewind(&self) -> Option<Request<()>> {
        head::read(&self.wire.recorded())
    }

    /// Ready at `deadline`; else whoever drives is woken then.
    pub(crate) fn poll_until(&mut self, deadline: Instant) -> Poll<()> {
        self.timer.poll_until(&mut Context::from_waker(&self.waker), deadline)
    }

    /// Bytes of the answer so far.
    pub(crate) fn received(&self) -> u64 {
        self.wire.received()
    }

    /// Bytes of the request that the kernel took so far.
    pub(crate) fn sent(&self) -> u64 {
        self.wire.sent()
    }

    /// Interim answers of this exchange.
    pub(crate) fn interims(&self) -> u32 {
        self.wire.interims()
    }
}

// === impl Left ===

impl Left {
    fn of(connection: Connection) -> Box<Self> {
        let parts = connection.into_parts();
        Box::new(Self {
            io: parts.io.into_inner().into_io(),
            early: parts.read_buf,
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
