//! HTTP/2 to a target, by h2.
//!
//! A connection carries many requests, so nobody of those who wait for it can drive it: it has a
//! task of its own, which ends when nobody holds the connection any more and its streams have
//! ended. A request has none: whoever waits for its head moves its body on as well. Only an answer
//! that begins while its request is still under way gets a task for the rest of the body, since
//! then both directions have to move whether the other does or not.
//!
//! h2 and not hyper's client, which stands on it: that tells nothing of interim answers, takes a
//! reset with NO_ERROR for the end of an answer that was not complete, keeps what is beyond the
//! target's limit of streams in a queue of its own, and needs a task for each request. Every bound
//! that h2 leaves open is set in [`Live::open`].

mod driver;
mod fault;
mod head;
mod keep_alive;
mod pipe;
mod preface;
mod receiving;
mod stream;
mod wire;

pub(crate) use head::{copy, take};
pub(crate) use receiving::Receiving;
pub(crate) use stream::Stream;

use super::Fault;
use crate::body::Body;
use crate::meters::{Gauged, State};
use crate::timer::Timer;
use bytes::Bytes;
use driver::Driver;
use h2::client::{Builder, SendRequest};
use http::Request;
use http_body::Body as _;
use pipe::Pipe;
use sluice_transport::Io;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use wire::{Tap, Wire};

/// The most streams at once on a connection, whatever the target would take.
pub(crate) const STREAMS: usize = 100;

/// What a target may send on a stream before it is taken: a bound of memory for each client that
/// reads slowly.
const WINDOW: u32 = 256 * 1024;

/// What it may send on a connection. Enough for all streams: clients that read slowly hold their
/// own windows, and the others go on.
const CONNECTION_WINDOW: u32 = WINDOW * (STREAMS as u32 + 1);

/// The longest head of an answer, as RFC 9113 §6.5.2 counts.
const HEAD: u32 = 64 * 1024;

/// What of a request's body may lie here before it is written.
const SEND_BUFFER: usize = 64 * 1024;

/// Streams that were reset here, of which late frames are still known for what they are; and how
/// many resets for what the target does wrong end a connection.
const RESETS: usize = 1_000;

/// How much many small frames may cost beyond their bytes, in all streams of a connection that
/// nobody reads from, as h2 counts: 256 for a frame less its bytes. Messages of gRPC are small: with
/// 16 bytes each, all windows may be full of them.
const SMALL_FRAMES: usize = CONNECTION_WINDOW as usize / 16 * (256 - 16);

/// An open connection to a target, shared by its streams. When nobody holds it any more, it is closed.
pub(crate) struct Live {
    sender: RefCell<SendRequest<Bytes>>,
    wire: Rc<Wire>,
    load: Rc<Load>,
    made: Instant,
    rested: Cell<Instant>,
    /// Below 1: shortens its life and rest, so that connections of one moment do not all end at another.
    chance: f32,
    /// No stream begins on it any more.
    tainted: Cell<bool>,
    gauge: RefCell<Gauged>,
    timers: RefCell<Vec<Timer>>,
}

/// What is under way on a connection.
#[derive(Debug, Default)]
struct Load {
    streams: Cell<usize>,
    /// The longest time that the answer of any stream so far may be silent.
    idle: Cell<Duration>,
}

/// What had passed on a connection at some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    received: u64,
    sent: u64,
}

/// The rest of a request's body in a task of its own; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Task(AbortHandle);

// === impl Live ===

impl Live {
    /// Opens the door on a fresh stream, and waits for the target's settings: before them nobody
    /// knows whether it speaks HTTP/2 at all. `ended` is called when the connection is over.
    pub(crate) async fn open(
        io: Io<TcpStream>,
        now: Instant,
        chance: f32,
        gauge: Gauged,
        ended: impl FnOnce() + 'static,
    ) -> Result<Rc<Self>, Fault> {
        let (tap, wire) = Tap::new(io);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(STREAMS)
            .max_concurrent_reset_streams(RESETS)
            .max_local_error_reset_streams(Some(RESETS))
            .data_frame_budget(SMALL_FRAMES);
        let handshake = builder.handshake(tap).await;
        let (sender, connection) = handshake.map_err(|error| fault::of_request(&error))?;
        let load = Rc::new(Load::default());
        let driver = Driver::new(connection, Rc::clone(&wire), Rc::clone(&load), now);
        tokio::task::spawn_local(async move {
            driver.await;
            ended();
        });
        let settings = poll_fn(|cx| wire.poll_settings(cx)).await;
        settings.map_err(|why| match wire.received() {
            0 => Fault::Closed(why),
            _ => Fault::Protocol(why),
        })?;
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            wire,
            load,
            made: now,
            rested: Cell::new(now),
            chance,
            tainted: Cell::new(false),
            gauge: RefCell::new(gauge),
            timers: RefCell::default(),
        }))
    }

    /// Whether streams may begin on it, now or when others have ended.
    pub(crate) fn takes_more(&self) -> bool {
        !self.tainted.get() && !self.wire.is_over() && !self.is_going_away()
    }

    /// Whether one may begin now.
    pub(crate) fn has_room(&self) -> bool {
        self.streams() < self.most_streams()
    }

    /// Streams that it takes at once.
    pub(crate) fn most_streams(&self) -> usize {
        self.sender.borrow().current_max_send_streams().min(STREAMS)
    }

    /// Streams under way.
    pub(crate) fn streams(&self) -> usize {
        self.load.streams.get()
    }

    pub(crate) fn made(&self) -> Instant {
        self.made
    }

    /// When its last stream ended; means nothing while there are any.
    pub(crate) fn rested(&self) -> Instant {
        self.rested.get()
    }

    pub(crate) fn chance(&self) -> f32 {
        self.chance
    }

    /// A stream is about to begin whose answer may be silent for `idle`. The caller has seen that
    /// there is room.
    pub(crate) fn begin(&self, idle: Duration) -> (Timer, Mark) {
        self.load.idle.set(self.load.idle.get().max(idle));
        let streams = self.streams();
        if streams == 0 {
            self.gauge.borrow_mut().turn(State::Active);
        }
        self.load.streams.set(streams + 1);
        (self.timers.borrow_mut().pop().unwrap_or_default(), self.mark())
    }

    /// A stream that had begun is over. `timer` is left armed, for another.
    pub(crate) fn end(&self, timer: Timer) {
        self.timers.borrow_mut().push(timer);
        let streams = self.streams() - 1;
        self.load.streams.set(streams);
        if streams == 0 {
            self.rested.set(Instant::now());
            self.gauge.borrow_mut().turn(State::Idle);
        }
    }

    /// Whether anything was written since `mark`.
    pub(crate) fn wrote_since(&self, mark: Mark) -> bool {
        self.wire.sent() != mark.sent
    }

    /// A stream that began at `mark` was given up: where the target has said nothing at all since,
    /// on any stream, none begins on this connection any more.
    pub(crate) fn gave_up_since(&self, mark: Mark) {
        if self.wire.received() == mark.received {
            self.tainted.set(true);
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            received: self.wire.received(),
            sent: self.wire.sent(),
        }
    }

    /// Sends `head` and what `body` gives, on a stream of its own.
    pub(crate) fn send(&self, head: Request<()>, body: Body) -> Result<Stream, Fault> {
        let ends = body.is_end_stream();
        // A clone, since h2 makes one sender wait for its own last stream to be written.
        let mut sender = self.sender.borrow().clone();
        let (response, stream) = sender
            .send_request(head, ends)
            .map_err(|error| fault::of_request(&error))?;
        let pipe = (!ends).then(|| Pipe::new(stream, body));
        Ok(Stream::new(response, pipe))
    }

    /// Whether the target has said that it takes no more streams, or the connection failed.
    fn is_going_away(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(self.sender.borrow_mut().poll_ready(&mut cx), Poll::Ready(Ok(())))
    }
}

// === impl Task ===

impl Task {
    /// Moves the rest of a body on, whoever waits for what.
    pub(crate) fn of(mut pipe: Pipe) -> Self {
        let task = tokio::task::spawn_local(async move { poll_fn(|cx| pipe.poll(cx)).await });
        Self(task.abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
