//! A connection of HTTP/2.
//!
//! Spoken by h2 itself and not by hyper's server above it: a stream whose client takes nothing can be
//! reset, a client that floods can be told so, and what waits for a window waits with us.
//!
//! ```text
//!   Socket ── bytes ──▶ h2 ── requests ──▶ exchange::serve, a task each ──▶ way
//!     │                  ▲                        │
//!     └─▶ Session ◀──────┼────────────────────────┘  frames, windows, cancelled and finished requests
//!            │           │
//!            └──▶ Connection: accepts, idles, pings, drains, ends a flood
//! ```
//!
//! One task for the connection, and one for each stream.

mod body;
mod date;
mod exchange;
mod flood;
mod frames;
mod session;
mod socket;
mod stall;

pub(crate) use body::Received;
pub(super) use date::Date;
pub(crate) use session::Exchanged;

use super::timer::Timer;
use super::{Client, LATE, LONGEST_LIFE, MOST_REQUESTS};
use crate::crew::{Seat, Stage as Life};
use crate::meters::Http2;
use crate::overload::Level;
use crate::settings::Edge;
use crate::worker::{Listed, Worker};
use bytes::Bytes;
use flood::Flood;
use h2::server::{Builder, Handshake, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use session::Session;
use sluice_transport::Io;
use socket::Socket;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a client begins with (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Most streams of a connection at a time.
const MOST_STREAMS: u32 = 100;

/// Most exchanges of a connection at a time. Those of streams that the client has reset are over a moment
/// later than their streams: a client that resets one and opens another is within its rights.
const MOST_EXCHANGES: usize = 2 * MOST_STREAMS as usize;

/// What a client may send unasked, on a stream and in all.
const STREAM_WINDOW: u32 = 64 * 1024 - 1;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What the library may hold of one answer for a socket that is full.
const SEND_BUFFER: usize = 64 * 1024;

/// Of the compression of fields, each way.
const FIELD_TABLE: u32 = 4 * 1024;

/// Streams that a client opens and resets faster than we look at them. As many as may be open: a client
/// that gives up all that it has just asked for is no flood. How often it may is [`flood::Allowance`]'s.
const PENDING_RESETS: usize = MOST_STREAMS as usize;

/// Streams that a client makes us reset, for as long as its connection lives.
const ERROR_RESETS: usize = 100;

/// Streams that were answered early and whose bodies are still under way: how many, and for how long,
/// what comes of them is dropped in silence. Beyond it each piece would count as one of
/// [`ERROR_RESETS`]; a stream costs half a kilobyte meanwhile.
const DRAINING_STREAMS: (usize, Duration) = (MOST_REQUESTS as usize, Duration::from_secs(5));

/// How long a connection may be silent before it is asked for a sign of life, and how long it has then; less where
/// `edge.idle` is less.
const SILENCE: Duration = Duration::from_secs(30);
const ECHO: Duration = Duration::from_secs(10);

/// One connection, as a task.
struct Connection {
    serving: Serving,
    worker: Rc<Worker>,
    client: Rc<Client>,
    session: Rc<Session>,
    timer: Timer,
    /// Since when which frame is incomplete.
    incomplete: Option<(u64, Instant)>,
    /// When the last ping went out that nothing has come after.
    asked: Option<Instant>,
    /// When the client was told that the connection ends.
    closing: Option<Instant>,
    /// It has ended, but for its last words: bounded by the stream's own limits.
    ended: bool,
    /// Requests that the library handed over, and streams that it refused by itself.
    accepted: u64,
    refused: u64,
    _listed: Listed,
    _seat: Seat,
}

enum Serving {
    Handshake(Pin<Box<Handshake<Socket, Bytes>>>),
    Open(Box<Open>),
}

struct Open {
    h2: h2::server::Connection<Socket, Bytes>,
    pings: Option<PingPong>,
}

/// What to do when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Tell the client that no more requests are taken.
    Close,
    /// End a client that is too slow.
    TooSlow,
    /// Ask for a sign of life.
    Ask,
    /// Nobody is there.
    Cut,
}

pub(super) fn builder(edge: &Edge) -> Builder {
    let mut builder = Builder::new();
    // Up to twice as much is read as is taken, so that the answer can say what was wrong.
    let fields = 2 * edge.http2_header_bytes();
    builder
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(fields).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .header_table_size(FIELD_TABLE)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS))
        .max_concurrent_reset_streams(DRAINING_STREAMS.0)
        .reset_stream_duration(DRAINING_STREAMS.1);
    builder
}

/// Serves a connection to its end, in a task of its own. `before` was read of it, preface and all.
pub(super) fn serve(
    worker: Rc<Worker>,
    client: Rc<Client>,
    io: Io<TcpStream>,
    before: Bytes,
    listed: Listed,
    seat: Seat,
) {
    let cells = Arc::clone(&worker.cells);
    let session = Session::new(Rc::clone(&client.wire), cells, client.place, Instant::now());
    worker.cells.listeners[client.place].http2.add(1);
    let socket = Socket::new(io, before, Rc::clone(&session));
    let handshake = worker.door.http2.handshake(socket);
    tokio::task::spawn_local(Connection {
        serving: Serving::Handshake(Box::pin(handshake)),
        worker,
        client,
        session,
        timer: Timer::default(),
        incomplete: None,
        asked: None,
        closing: None,
        ended: false,
        accepted: 0,
        refused: 0,
        _listed: listed,
        _seat: seat,
    });
}

// === impl Connection ===

impl Connection {
    /// Ready at the end of the connection.
    fn poll_serving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.serving {
                Serving::Handshake(handshake) => match ready!(handshake.as_mut().poll(cx)) {
                    Ok(mut h2) => {
                        if self.closing.is_some() {
                            h2.graceful_shutdown();
                        }
                        let pings = h2.ping_pong();
                        self.serving = Serving::Open(Box::new(Open { h2, pings }));
                    }
                    Err(error) => return self.over(Some(&error)),
                },
                Serving::Open(open) => match ready!(open.h2.poll_accept(cx)) {
                    Some(Ok((request, respond))) => self.accept(request, respond),
                    Some(Err(error)) => return self.over(Some(&error)),
                    None => return self.over(None),
                },
            }
        }
    }

    fn over(&self, error: Option<&h2::Error>) -> Poll<()> {
        if let Some(error) = error {
            tracing::debug!(%error, client = %self.client.forwarded.address(), "a connection of HTTP/2 ended");
        }
        Poll::Ready(())
    }

    fn accept(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        self.client.wire.count();
        self.accepted += 1;
        // The library counts a stream no more once it was reset: we count exchanges.
        if self.session.open() >= MOST_EXCHANGES {
            self.worker.cells.http2_ended(Http2::Refused, 1);
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        let exchanged = Exchanged::new(Rc::clone(&self.session));
        let (worker, client) = (Rc::clone(&self.worker), Rc::clone(&self.client));
        tokio::task::spawn_local(exchange::serve(worker, client, exchanged, request, respond));
    }

    /// Whether the client is to go elsewhere with its next request. It had one here: a connection that is sent
    /// away before its first is one on which nothing can be asked, and the next may be no better.
    fn turns_away(&self) -> bool {
        let (orders, requests) = (self.worker.orders(), self.client.wire.requests());
        let ends = orders.ends_connections() || orders.stage >= Life::Closing;
        (ends && requests > 0)
            || requests >= MOST_REQUESTS
            || (self.session.open() > 0 && self.client.made.elapsed() >= LONGEST_LIFE)
    }

    /// Tells the client that no more requests are taken; those that are on their way still are.
    fn close(&mut self) {
        self.closing = Some(Instant::now());
        if let Serving::Open(open) = &mut self.serving {
            open.h2.graceful_shutdown();
        }
    }

    /// Ends the connection of a client that has us do too much or is too slow.
    fn calm(&mut self, why: Http2) {
        self.worker.cells.http2_ended(why, 1);
        tracing::debug!(?why, client = %self.client.forwarded.address(), "a connection of HTTP/2 was ended");
        self.end(Reason::ENHANCE_YOUR_CALM);
    }

    /// Ends the connection and all of its streams.
    fn end(&mut self, reason: Reason) {
        self.ended = true;
        if let Serving::Open(open) = &mut self.serving {
            open.h2.abrupt_shutdown(reason);
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        self.asked = Some(Instant::now());
        if let Serving::Open(open) = &mut self.serving
            && let Some(pings) = &mut open.pings
        {
            // The library wants the last answer taken before it asks again. A ping that is still under way asks
            // as well.
            let _ = pings.poll_pong(cx);
            let _ = pings.send_ping(Ping::opaque());
        }
    }

    /// Counts what the library refused in our place: what is no request, and what is too many.
    fn count_refused(&mut self) {
        let refused = self.session.opened() - self.accepted;
        // Fields that are incomplete may become a request.
        if self.incomplete.is_none() && refused > self.refused {
            self.worker.cells.http2_ended(Http2::Refused, refused - self.refused);
            self.refused = refused;
        }
    }

    /// Whether no stream is open, nor the end of an answer still to be written.
    fn is_quiet(&self) -> bool {
        let flushed = match &self.serving {
            Serving::Handshake(_) => true,
            Serving::Open(open) => !open.h2.has_streams(),
        };
        flushed && self.session.open() == 0
    }

    fn deadline(&mut self) -> Option<(Instant, Then)> {
        if self.ended {
            return None;
        }
        let (session, edge) = (&*self.session, self.worker.edge());
        let (silence, echo) = (SILENCE.min(edge.idle / 2), ECHO.min(edge.idle));
        let mut all = [None; 3];
        self.incomplete = session.incomplete().map(|frame| match self.incomplete {
            Some((same, since)) if same == frame => (same, since),
            _ => (frame, Instant::now()),
        });
        if let Some((_, since)) = self.incomplete {
            all[0] = Some((since + edge.header_timeout, Then::TooSlow));
        }
        let heard = session.heard();
        self.asked = self.asked.filter(|asked| *asked > heard);
        all[1] = Some(match self.asked {
            Some(asked) => (asked + echo, Then::Cut),
            None => (heard + silence, Then::Ask),
        });
        if self.is_quiet() {
            let since = session.idle_since();
            let orders = self.worker.orders();
            let late = orders.stage > Life::Serving || orders.level > Level::Calm;
            let patience = if late { LATE.min(edge.idle) } else { edge.idle };
            all[2] = Some(match self.closing {
                // The client has to say that it heard of the end, and could have asked for more until then.
                Some(closing) if orders.stage >= Life::Closing => (closing.max(since) + LATE, Then::Cut),
                Some(closing) => (closing.max(since) + echo, Then::Cut),
                None => (since + patience, Then::Close),
            });
        }
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.client.wire.watch(cx.waker());
        loop {
            if this.worker.orders().stage == Life::Ended {
                return Poll::Ready(());
            }
            if this.poll_serving(cx).is_ready() {
                return Poll::Ready(());
            }
            if let Some(flood) = this.session.take_flood() {
                this.calm(match flood {
                    Flood::Frames => Http2::Flood,
                    Flood::Cancels => Http2::Cancels,
                });
                continue;
            }
            if let Some(fault) = this.session.take_fault() {
                tracing::debug!(?fault, client = %this.client.forwarded.address(), "a frame of HTTP/2 was wrong");
                this.end(fault.reason());
                continue;
            }
            if this.closing.is_none() && !this.ended && this.turns_away() {
                this.close();
                continue;
            }
            let deadline = this.deadline();
            this.count_refused();
            let Some((at, then)) = deadline else {
                return Poll::Pending;
            };
            ready!(this.timer.poll_until(cx, at));
            match then {
                Then::Close => this.close(),
                Then::Ask => this.ask(cx),
                Then::TooSlow => this.calm(Http2::Slow),
                Then::Cut => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.cells.listeners[self.client.place].http2.add(-1);
    }
}
