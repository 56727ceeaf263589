//! A connection of HTTP/1.1.
//!
//! One task, which polls hyper and sees to what hyper does not: clients that are slow or idle,
//! clients that left, the worker's orders, panics. All of a connection's waiting shares one timer.

use super::tap::Tap;
use super::timer::Timer;
use super::wire::{Left as Leaving, Stage};
use super::{Client, LAST_BYTES, LATE, Stream, http2};
use crate::crew::{Seat, Stage as Life};
use crate::incoming::Incoming;
use crate::outgoing::Outgoing;
use crate::overload::Level;
use crate::settings::Edge;
use crate::tunnel::{self, Left};
use crate::way;
use crate::worker::{Listed, Worker};
use bytes::Bytes;
use hyper::body::{Body as _, Incoming as Read};
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use sluice_http_semantics::problem::Code;
use sluice_transport::Io;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite as _, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// hyper's own limit, and the only one for which its parser does not allocate.
const USUAL_HEADERS: usize = 100;

/// The least that hyper reads of a head.
const LEAST_BUFFER: usize = 8 * 1024;

/// The most that hyper gathers, of a request before it is parsed and of an answer before it waits
/// for the client. With the pieces that a target's connection reads it is what a client that takes
/// nothing costs, times ten thousand of them.
const BUFFER: usize = 64 * 1024;

/// How long a client that has closed its sending side is left in peace before it is asked whether
/// it still listens, and how often it is looked after from then on.
const PATIENCE: Duration = Duration::from_secs(1);

/// How soon after asking an answer that the client is gone can be expected.
const ECHO: Duration = Duration::from_millis(100);

/// One connection, as a task.
struct Driver<S: HttpService<Read>> {
    serving: Serving<S>,
    worker: Rc<Worker>,
    client: Rc<Client>,
    timer: Timer,
    /// When a client that closed its sending side is looked after next.
    look: Option<Instant>,
    /// It was asked whether it still listens.
    asked: bool,
    /// The last answer did not fit into the socket at once.
    slow: bool,
    closing: bool,
    /// Until they go on with the connection to another protocol.
    places: Option<(Listed, Seat)>,
}

enum Serving<S: HttpService<Read>> {
    Http(Box<http1::Connection<TokioIo<Tap>, S>>),
    /// A last word without hyper.
    Farewell(Pin<Box<dyn Future<Output = ()>>>),
    Over,
}

/// What to do when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Close what waits for a request.
    Close,
    /// Tell the client that it was too slow.
    TooSlow,
    /// See whether the client is still there.
    Look,
    /// Break the answer off.
    Cut,
}

pub(super) fn builder(edge: &Edge) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.half_close(true);
    builder.max_header_size(edge.max_header_bytes.max(LEAST_BUFFER));
    builder.max_buf_size(BUFFER.max(edge.max_header_bytes));
    if edge.max_headers != USUAL_HEADERS {
        builder.max_headers(edge.max_headers);
    }
    builder
}

/// Serves a connection to its end, in a task of its own.
pub(super) fn serve(worker: &Rc<Worker>, stream: TcpStream, client: Rc<Client>, seat: Seat) {
    let io = Io::tcp(stream, worker.door.limits);
    let tap = Tap::new(io, Rc::clone(&client), Rc::clone(worker));
    let service = {
        let (worker, client) = (Rc::clone(worker), Rc::clone(&client));
        service_fn(move |request: http::Request<Read>| {
            client.wire.begin(request.version(), !request.body().is_end_stream());
            let stream = Stream::Http1(Rc::clone(&client.wire));
            way::answer(
                Rc::clone(&worker),
                Rc::clone(&client),
                stream,
                request.map(|body| Incoming::Http1(sluice_upstream::Incoming::of_request(body))),
            )
        })
    };
    let connection = worker.door.http1.serve_connection(TokioIo::new(tap), service);
    tokio::task::spawn_local(Driver {
        serving: Serving::Http(Box::new(connection)),
        timer: Timer::default(),
        look: None,
        asked: false,
        slow: false,
        closing: false,
        places: Some((worker.list(&client), seat)),
        worker: Rc::clone(worker),
        client,
    });
}

// === impl Driver ===

impl<S> Driver<S>
where
    S: HttpService<Read, ResBody = Outgoing, Error = Infallible>,
{
    fn poll_serving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connection = match &mut self.serving {
            Serving::Http(connection) => connection,
            Serving::Farewell(farewell) => return farewell.as_mut().poll(cx),
            Serving::Over => return Poll::Ready(()),
        };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(connection).poll(cx)));
        match polled {
            Ok(polled) => match ready!(polled) {
                Ok(()) => self.ended(cx),
                Err(error) => self.failed(&error, cx),
            },
            Err(panic) => {
                // Not within a request's way, which catches its own: within a body.
                self.worker.panicked("a body", &*panic);
                Poll::Ready(())
            }
        }
    }

    /// HTTP is over on the connection, by hyper's word.
    fn ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((mut io, early)) = self.take_io() else {
            return Poll::Ready(());
        };
        if let Some(opening) = self.client.wire.switched.borrow_mut().take()
            && let Some((listed, seat)) = self.places.take()
        {
            let left = Left {
                io,
                early,
                listed,
                seat,
            };
            tunnel::open(&self.worker, &self.client, left, opening);
            return Poll::Ready(());
        }
        // hyper leaves it open where a request had asked to switch, whatever became of that.
        let polled = Pin::new(&mut io).poll_shutdown(cx);
        if polled.is_pending() {
            self.serving = Serving::Farewell(Box::pin(async move {
                let _ = io.shutdown().await;
            }));
        }
        polled.map(drop)
    }

    fn failed(&mut self, error: &hyper::Error, cx: &mut Context<'_>) -> Poll<()> {
        if error.is_parse_version_h2() {
            if self.worker.edge().h2c && self.client.wire.requests() == 0 {
                self.switch();
                return Poll::Ready(());
            }
            return self.farewell(Code::BadRequest, cx);
        }
        if error.is_user() {
            self.cut();
        }
        Poll::Ready(())
    }

    /// Goes on with HTTP/2, whose preface is all that was read.
    fn switch(&mut self) {
        if let (Some((io, read)), Some((listed, seat))) = (self.take_io(), self.places.take()) {
            let (worker, client) = (Rc::clone(&self.worker), Rc::clone(&self.client));
            http2::serve(worker, client, io, read, listed, seat);
        }
    }

    /// Breaks an answer off so that it does not look whole.
    fn cut(&mut self) {
        if self.client.wire.until_close.get()
            && let Some((io, _)) = self.take_io()
        {
            // Without a length a plain close would look like the end of a whole answer.
            let _ = io.get_ref().set_zero_linger();
        }
    }

    /// Answers in hyper's place, and closes.
    fn farewell(&mut self, code: Code, cx: &mut Context<'_>) -> Poll<()> {
        let Some((mut io, _)) = self.take_io() else {
            return Poll::Ready(());
        };
        let bytes = self.worker.refuse_unread(&self.client, code);
        let mut farewell = Box::pin(async move {
            if io.write_all(&bytes).await.is_ok() {
                let _ = io.shutdown().await;
            }
        });
        let polled = farewell.as_mut().poll(cx);
        self.serving = Serving::Farewell(farewell);
        polled
    }

    /// The stream, and what was read of it and not looked at.
    fn take_io(&mut self) -> Option<(Io<TcpStream>, Bytes)> {
        match std::mem::replace(&mut self.serving, Serving::Over) {
            Serving::Http(connection) => {
                let parts = connection.into_parts();
                // What is empty may still hold the memory that it was read into.
                let early = parts.read_buf;
                let early = if early.is_empty() { Bytes::new() } else { early };
                Some((parts.io.into_inner().into_io(), early))
            }
            _ => None,
        }
    }

    /// Lets hyper end the connection with the answer that is due, or now.
    fn close(&mut self) {
        self.closing = true;
        if let Serving::Http(connection) = &mut self.serving {
            Pin::new(connection.as_mut()).graceful_shutdown();
        }
    }

    fn deadline(&mut self) -> Option<(Instant, Then)> {
        let (wire, edge) = (&*self.client.wire, self.worker.edge());
        if matches!(self.serving, Serving::Farewell(_)) {
            // Bounded by the stream's own limits.
            return None;
        }
        match wire.stage() {
            // hyper is ending it, within the stream's own limits.
            Stage::Idle if self.closing => None,
            Stage::Idle if wire.owed.get() => {
                // A client that does not take its answer is the stream's to give up.
                self.slow = true;
                None
            }
            Stage::Idle => {
                if std::mem::take(&mut self.slow) {
                    wire.end(Instant::now());
                }
                let patience = match self.worker.orders() {
                    orders if orders.stage > Life::Serving || orders.level > Level::Calm => LATE.min(edge.idle),
                    _ => edge.idle,
                };
                Some((wire.since() + patience, Then::Close))
            }
            Stage::Head(timed) => {
                if !timed {
                    wire.head_waits(Instant::now());
                }
                Some((wire.since() + edge.header_timeout, Then::TooSlow))
            }
            Stage::Request => {
                // Whoever reads the answer from the target ends it in time, and what was read before goes
                // out; a client that does not take it keeps it no longer than that.
                let cut = wire.last_byte.get().map(|at| (at + LAST_BYTES, Then::Cut));
                if wire.left.get() != Leaving::Fin {
                    self.look = None;
                    return cut;
                }
                let look = *self.look.get_or_insert_with(|| Instant::now() + PATIENCE);
                cut.filter(|(at, _)| *at <= look).or(Some((look, Then::Look)))
            }
        }
    }

    /// After the end of patience with a client that may be gone.
    fn look(&mut self) {
        let wire = &self.client.wire;
        let ask = !self.asked && wire.may_probe();
        if ask {
            self.asked = true;
            wire.probe.set(true);
        }
        self.look = Some(Instant::now() + if ask { ECHO } else { PATIENCE });
    }

    /// Whether the end of the worker is the end of this connection too, once its answer is out.
    fn may_close(&self) -> bool {
        let wire = &self.client.wire;
        match wire.stage() {
            // It waited in the listener's queue, and may have a request with it.
            Stage::Idle => wire.requests() > 0,
            Stage::Head(_) => false,
            Stage::Request => true,
        }
    }
}

impl<S> Future for Driver<S>
where
    S: HttpService<Read, ResBody = Outgoing, Error = Infallible>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.client.wire.watch(cx.waker());
        loop {
            let stage = this.worker.orders().stage;
            if stage == Life::Ended {
                return Poll::Ready(());
            }
            if this.poll_serving(cx).is_ready() {
                return Poll::Ready(());
            }
            if this.client.wire.left.get() == Leaving::Gone && this.client.wire.is_unread() {
                // Dropping the connection drops the request, and that ends it at the target.
                return Poll::Ready(());
            }
            if stage == Life::Closing && !this.closing && this.may_close() {
                this.close();
                continue;
            }
            let Some((at, then)) = this.deadline() else {
                return Poll::Pending;
            };
            ready!(this.timer.poll_until(cx, at));
            match then {
                Then::Close => this.close(),
                Then::Look => this.look(),
                Then::Cut => {
                    this.cut();
                    return Poll::Ready(());
                }
                Then::TooSlow => {
                    if this.farewell(Code::ClientTimeout, cx).is_ready() {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}
