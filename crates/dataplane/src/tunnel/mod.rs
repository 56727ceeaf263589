//! A connection whose protocol was switched: bytes between a client and a service, both ways.
//!
//! ```text
//!   101 ─▶ open ─▶ ┌ up:   client ──▶ service ┐ each Pipe by itself: bytes, then FIN for FIN
//!                  └ down: client ◀── service ┘
//!          both have ended ─▶ over             one is reset, or takes nothing for 30 s ─▶ both are reset
//!          idle, or drained ─▶ last words, FIN to both, read on for a while, over
//! ```
//!
//! A tunnel is a task of its own. It holds two sockets, the names and cells of its route, and its
//! place among the connections of the worker and of its target: nothing of HTTP, and nothing of a
//! configuration. It stays whatever becomes of its route and upstream.

mod clock;
mod frames;
mod pipe;
mod record;

use crate::access_log::Parted;
use crate::crew::{Seat, Stage};
use crate::front::{Client, Timer};
use crate::meters::{Direction, RouteCells, TunnelEnd};
use crate::worker::{Listed, Worker};
use bytes::Bytes;
use clock::{Clock, Due, Now};
use frames::To;
use pipe::{Broken, Pipe};
use record::Record;
use sluice_shared_store::Held;
use sluice_transport::Io;
use sluice_upstream::{Load, Switched};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The most that is read at once, and so the most that a direction holds whose other side does not take it.
const BUFFER: usize = 16 * 1024;

/// What a 101 leaves for the tunnel that begins behind it.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) service: Box<Switched>,
    /// As the service named it.
    pub(crate) protocol: Box<str>,
    /// The protocol is that of RFC 6455, so that its frames are known.
    pub(crate) websocket: bool,
    /// Without a byte in either direction.
    pub(crate) idle: Duration,
    /// The same once one side has closed.
    pub(crate) half_closed: Duration,
    pub(crate) route: Arc<RouteCells>,
    /// Of the request that asked for it.
    pub(crate) id: Box<str>,
    /// The URL of the target.
    pub(crate) target: Arc<str>,
    /// For its line in the access log, where it has one.
    pub(crate) parted: Option<Box<Parted>>,
    /// Its places of concurrency limits, which it keeps as long as it lives.
    pub(crate) held: Held,
}

/// A client's connection as HTTP left it.
pub(crate) struct Left {
    pub(crate) io: Io<TcpStream>,
    /// What the client had sent right behind its request.
    pub(crate) early: Bytes,
    pub(crate) listed: Listed,
    pub(crate) seat: Seat,
}

/// A buffer that the tunnels of a worker share, made for the first of them.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Box<[u8]>);

struct Tunnel {
    client: Io<TcpStream>,
    service: Io<TcpStream>,
    up: Pipe,
    down: Pipe,
    phase: Phase,
    clock: Clock,
    now: Now,
    timer: Timer,
    record: Record,
    _listed: Listed,
    _seat: Seat,
    _load: Load,
    _held: Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until both sides have ended.
    Flowing,
    /// The last words are written.
    Ending,
    /// FIN is sent to both, and what they still say is dropped for a while, so that no reset overtakes
    /// what they have not yet read.
    Lingering,
}

/// Begins a tunnel, in a task of its own.
pub(crate) fn open(worker: &Rc<Worker>, client: &Rc<Client>, left: Left, mut opening: Box<Opening>) {
    let now = Instant::now();
    let record = Record::begin(Rc::clone(worker), Rc::clone(client), &mut opening, now);
    let Switched { io, early, load } = *opening.service;
    tokio::task::spawn_local(Tunnel {
        client: left.io,
        service: io,
        up: Pipe::new(left.early, opening.websocket),
        down: Pipe::new(early, opening.websocket),
        phase: Phase::Flowing,
        clock: Clock {
            idle: opening.idle,
            half_closed: opening.half_closed,
            // The rest is for the last words and their answers.
            grace: worker.edge().drain_timeout / 2,
        },
        now: Now {
            moved: now,
            half_closed: false,
            closing: None,
        },
        timer: Timer::default(),
        record,
        _listed: left.listed,
        _seat: left.seat,
        _load: load,
        _held: opening.held,
    });
}

// === impl Buffer ===

impl Buffer {
    fn get(&mut self) -> &mut [u8] {
        if self.0.is_empty() {
            self.0 = vec![0; BUFFER].into();
        }
        &mut self.0
    }
}

// === impl Tunnel ===

impl Tunnel {
    fn poll_life(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.record.client().wire.watch(cx.waker());
        loop {
            let stage = self.record.worker().orders().stage;
            if stage == Stage::Ended {
                return Poll::Ready(());
            }
            if self.phase == Phase::Lingering {
                return self.poll_linger(cx);
            }
            match self.poll_pipes(cx) {
                Poll::Ready(Ok(())) => {
                    let flowing = self.phase == Phase::Flowing;
                    if flowing {
                        self.record.ended(TunnelEnd::Closed);
                    }
                    self.phase = Phase::Lingering;
                    // Both have said their last, unless one was not listened to.
                    if flowing && !self.up.given_up() && !self.down.given_up() {
                        return Poll::Ready(());
                    }
                    continue;
                }
                Poll::Ready(Err(end)) => {
                    self.reset(end);
                    return Poll::Ready(());
                }
                // A side that does not take its last words is its stream's to give up.
                Poll::Pending if self.phase == Phase::Ending => return Poll::Pending,
                Poll::Pending => {}
            }
            if stage == Stage::Closing && self.now.closing.is_none() {
                self.now.closing = Some(Instant::now());
            }
            let Some((at, due)) = self.clock.due(self.now) else {
                return Poll::Pending;
            };
            ready!(self.timer.poll_until(cx, at));
            self.end(due);
        }
    }

    /// Ready when both directions are over, or with why none goes on.
    fn poll_pipes(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelEnd>> {
        let worker = Rc::clone(self.record.worker());
        let mut buffer = worker.tunnel_buffer.borrow_mut();
        let buffer = buffer.get();
        let up = self.up.poll(cx, &mut self.client, &mut self.service, buffer);
        let down = self.down.poll(cx, &mut self.service, &mut self.client, buffer);
        let moved = [self.up.take_moved(), self.down.take_moved()];
        if moved != [0, 0] {
            self.now.moved = Instant::now();
            self.record.moved(Direction::ToUpstream, moved[0]);
            self.record.moved(Direction::ToClient, moved[1]);
        }
        let ended = [self.up.has_ended(), self.down.has_ended()];
        if ended != [false, false] && !self.now.half_closed {
            self.now.half_closed = true;
            self.now.moved = Instant::now();
        }
        let (client, service) = (TunnelEnd::ClientReset, TunnelEnd::UpstreamReset);
        let up = settle(cx, up, &mut self.up, ended[1], &mut self.service, [client, service])?;
        let down = settle(cx, down, &mut self.down, ended[0], &mut self.client, [service, client])?;
        match up && down {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Time is over: the last words are said where they can be, then both sides are closed.
    fn end(&mut self, due: Due) {
        self.record.ended(match due {
            Due::Idle => TunnelEnd::Idle,
            Due::Drained => TunnelEnd::Drained,
        });
        self.up.end(to_service(), due == Due::Drained);
        self.down.end(To::Client, due == Due::Drained);
        self.phase = Phase::Ending;
    }

    /// A reset is passed on, and one who takes nothing is not waited for.
    fn reset(&mut self, end: TunnelEnd) {
        if self.phase == Phase::Flowing {
            self.record.ended(end);
        }
        self.phase = Phase::Lingering;
        for io in [&self.client, &self.service] {
            let _ = io.get_ref().set_zero_linger();
        }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // One that fails is over too.
        let client = Pin::new(&mut self.client).poll_shutdown(cx).is_ready();
        let service = Pin::new(&mut self.service).poll_shutdown(cx).is_ready();
        match client && service {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Future for Tunnel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        catch_unwind(AssertUnwindSafe(|| this.poll_life(cx))).unwrap_or_else(|panic| {
            let route = this.record.route_name();
            this.record.worker().panicked(&route, &*panic);
            Poll::Ready(())
        })
    }
}

impl Drop for Tunnel {
    /// A worker that ends waits for nobody: the last words go out if they fit into the sockets.
    fn drop(&mut self) {
        if self.phase == Phase::Flowing {
            for (pipe, io, to) in [
                (&self.up, &self.service, to_service()),
                (&self.down, &self.client, To::Client),
            ] {
                if let Some(last) = pipe.last_word(to) {
                    let _ = io.get_ref().try_write(&last);
                }
            }
        }
    }
}

/// What the end of one direction means: whether it is over, or that all is.
fn settle(
    cx: &mut Context<'_>,
    polled: Poll<Result<(), Broken>>,
    pipe: &mut Pipe,
    other_ended: bool,
    to: &mut Io<TcpStream>,
    [from, into]: [TunnelEnd; 2],
) -> Result<bool, TunnelEnd> {
    match polled {
        Poll::Pending => Ok(false),
        Poll::Ready(Ok(())) => {
            if pipe.close() {
                // Of the socket itself: closing its wrapper would read on, and drop what comes.
                let _ = Pin::new(to.get_mut()).poll_shutdown(cx);
            }
            Ok(true)
        }
        Poll::Ready(Err(Broken::From)) => Err(from),
        Poll::Ready(Err(Broken::To(error))) if error.kind() == io::ErrorKind::TimedOut => Err(TunnelEnd::Stalled),
        Poll::Ready(Err(Broken::To(_))) if other_ended => {
            // It had said all that it had to say, and is gone: what it is still told is dropped.
            pipe.give_up();
            Ok(true)
        }
        Poll::Ready(Err(Broken::To(_))) => Err(into),
    }
}

/// To the service go frames of a client, which are masked (RFC 6455 §5.3).
fn to_service() -> To {
    To::Service(fastrand::u32(..).to_ne_bytes())
}
