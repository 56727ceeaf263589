//! Over HTTP/1.1: a kept connection, or a fresh one in its place.

use super::{Course, Exchange, head, of_fault};
use crate::answer::{Answer, Link};
use crate::attempts::Replaced;
use crate::body::Body;
use crate::connection::http1::Live;
use crate::connection::{Failure, Fault, Incoming};
use crate::error::{SendError, SendErrorKind};
use crate::meters::{Gauged, State};
use crate::target::NoConnection;
use crate::worker::Lease;
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use sluice_transport::Io;
use std::rc::Rc;
use std::task::Poll;
use tokio::time::Instant;

// === impl Exchange ===

impl Exchange<'_> {
    /// Sends `request` over a kept connection or a fresh one.
    pub(crate) async fn over_http1(
        &mut self,
        request: &mut Request<Body>,
        lease: Lease,
        now: Instant,
    ) -> Result<Response<Body>, SendError> {
        // What cannot be sent again must not meet a connection that the reactor has not yet seen die.
        let kept = self.target.pool.take(now, !self.idempotent);
        let keep = kept.is_some() && self.idempotent;
        self.course.begin(request.body_mut(), keep);
        let (live, response) = self.run(request, kept).await?;
        self.answer(live, response, lease)
    }

    async fn run(
        &mut self,
        request: &mut Request<Body>,
        kept: Option<Box<Live>>,
    ) -> Result<(Box<Live>, Response<Incoming>), SendError> {
        self.attempts.reused = kept.is_some();
        if let Some(mut live) = kept {
            *request.body_mut() = self.course.source.read().unwrap_or_default();
            match self.attempt(&mut live, request, true).await? {
                Ok(response) => return Ok((live, response)),
                Err(mut failure) => {
                    let Some((why, again)) = self.again(&live, &mut failure) else {
                        return Err(self.failed(live.sent() > 0, failure.fault));
                    };
                    self.attempts.replaced = Some(why);
                    self.attempts.reused = false;
                    self.target.entry.replaced(why);
                    self.course.clock.attempt(Instant::now());
                    *request = again;
                }
            }
        } else {
            *request.body_mut() = self.course.source.read().unwrap_or_default();
        }
        // Apart: it is large, and most requests need no memory for it.
        let mut live = Box::pin(self.connect()).await?;
        match self.attempt(&mut live, request, false).await? {
            Ok(response) => Ok((live, response)),
            Err(failure) => Err(self.failed(live.sent() > 0, failure.fault)),
        }
    }

    async fn attempt(
        &mut self,
        live: &mut Live,
        request: &mut Request<Body>,
        record: bool,
    ) -> Result<Result<Response<Incoming>, Failure>, SendError> {
        self.attempts.tries += 1;
        live.switches = self.attempts.switch;
        let Course { clock, source, .. } = &mut *self.course;
        let result = live
            .exchange(request, record, |timer, cx, writing, sent| {
                match clock.waiting(source.sending(writing, sent), Instant::now) {
                    Some((at, which)) => timer.poll_until(cx, at).map(|()| which),
                    None => Poll::Pending,
                }
            })
            .await;
        self.attempts.interim += live.interims();
        match result {
            Ok(response) => Ok(Ok(response)),
            Err(Ok(failure)) => Ok(Err(failure)),
            Err(Err(which)) => Err(self.told(SendErrorKind::Timeout(which), live.sent() > 0, None)),
        }
    }

    /// The request once more, if a kept connection failed it in a way that allows for that: it was
    /// never written, so it was not acted on; or it may be repeated (RFC 9110 §9.2.2) and no byte
    /// of an answer came (RFC 9112 §9.3.1).
    fn again(&self, live: &Live, failure: &mut Failure) -> Option<(Replaced, Request<Body>)> {
        if let Some(request) = failure.returned.take() {
            return Some((Replaced::Unsent, request));
        }
        if live.received() > 0 {
            return None;
        }
        let why = match failure.fault {
            Fault::Closed(_) | Fault::Reset(_) if live.sent() == 0 => Replaced::Unsent,
            Fault::Closed(_) if self.idempotent => Replaced::Closed,
            Fault::Reset(_) if self.idempotent => Replaced::Reset,
            _ => return None,
        };
        let (head, body) = (live.rewind()?, self.course.source.read()?);
        Some((why, head.map(|()| body)))
    }

    async fn connect(&mut self) -> Result<Box<Live>, SendError> {
        let mut gauge = Gauged::new(Rc::clone(&self.target.entry), State::Connecting);
        let deadline = self.course.clock.connecting(Instant::now());
        let stream = match self.target.connect(deadline).await {
            Ok(stream) => stream,
            Err(failed) => {
                self.attempts.tries += 1;
                let (kind, cause) = match failed {
                    NoConnection::Failed(why) => (SendErrorKind::Connect, Some(why)),
                    NoConnection::TooLate(which) => (SendErrorKind::Timeout(which), None),
                };
                return Err(self.told(kind, false, cause));
            }
        };
        let now = Instant::now();
        self.attempts.connected = Some(now);
        gauge.turn(State::Active);
        let io = Io::tcp(stream, self.worker.context.limits);
        Live::open(io, now, gauge).await.map_err(|fault| {
            let (kind, cause) = of_fault(fault);
            self.told(kind, false, cause)
        })
    }

    /// The answer for the caller, with its connection in the pool or in its body.
    fn answer(
        &mut self,
        mut live: Box<Live>,
        response: Response<Incoming>,
        lease: Lease,
    ) -> Result<Response<Body>, SendError> {
        let now = Instant::now();
        self.attempts.head = Some(now);
        let (mut parts, incoming) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS && self.attempts.switch {
            return self.switched(*live, parts, lease);
        }
        if let Err(why) = head::check(parts.status, &mut parts.headers, &incoming) {
            return Err(self.told(SendErrorKind::Protocol, true, Some(why.into())));
        }
        live.keep_alive = head::keep_alive(&parts.headers);
        // hyper would speak 1.0 on it from now on, which cannot carry a body of unknown length.
        live.tainted |= parts.version == Version::HTTP_10;
        // A version is of one hop (RFC 9110 §2.5): what the target spoke is not what the client is told.
        parts.version = Version::HTTP_11;
        if live.is_free() {
            lease.give_back(live, now);
            return Ok(Response::from_parts(parts, incoming.into()));
        }
        let under_way = self.course.source.under_way();
        if incoming.is_end_stream() || (live.is_over() && under_way.is_none()) {
            return Ok(Response::from_parts(parts, incoming.into()));
        }
        let mut task = None;
        if let Some(upload) = &under_way {
            live.tainted = true;
            if parts.status.is_success() {
                task = live.detach();
            } else {
                // It has judged without the rest.
                upload.stop();
            }
        }
        let link = match task {
            Some(task) => Link::Task(live, task),
            None => Link::Inline(live),
        };
        let answer = Answer::new(incoming, link, lease, self.idle, self.course.clock.total(), under_way);
        Ok(Response::from_parts(parts, Body::Answer(answer)))
    }

    /// The 101 that was asked for, with its connection.
    fn switched(&mut self, live: Live, mut parts: Parts, lease: Lease) -> Result<Response<Body>, SendError> {
        let fault = |why: &str| self.told(SendErrorKind::Protocol, true, Some(why.into()));
        if parts.version != Version::HTTP_11 {
            return Err(fault("101 of another version of HTTP than 1.1"));
        }
        if self.course.source.under_way().is_some() {
            return Err(fault("101 before the request was sent"));
        }
        let switched = live
            .into_switched(lease)
            .ok_or_else(|| fault("101 before the request was sent"))?;
        // They frame nothing here (RFC 9112 §6.1, RFC 9110 §8.6).
        for field in [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER] {
            parts.headers.remove(field);
        }
        Ok(Response::from_parts(parts, Body::Switched(switched)))
    }
}
