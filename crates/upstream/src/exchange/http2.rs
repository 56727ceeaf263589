//! Over HTTP/2: a stream on a connection that others share.

use super::{Course, Exchange, head, of_fault};
use crate::answer::{Answer, Link};
use crate::attempts::Replaced;
use crate::body::Body;
use crate::clock::Deadline;
use crate::connection::http2::{self, Live, Receiving, Stream, Task};
use crate::connection::{Fault, Incoming};
use crate::error::{SendError, SendErrorKind};
use crate::meters::{Gauged, State};
use crate::multiplexed::{NotOpened, Opening, Slot};
use crate::target::{NoConnection, Target};
use crate::worker::{Lease, Worker};
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use sluice_transport::Io;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

/// How often a request is sent once more at most, each time because the target has said that it did
/// not look at it.
const MOST_REPLACED: u32 = 8;

/// How often a connection is made for a request at most that ends before a stream was begun on it.
const MOST_OPENED: u32 = 3;

/// A connection that rested at least this long is used only after what came meanwhile was read.
const LOOK_AFTER: Duration = Duration::from_millis(5);

/// The most fields of an answer's head.
const MOST_FIELDS: usize = 100;

// === impl Exchange ===

impl Exchange<'_> {
    /// Sends `request` on a stream of a connection that is open, or of a fresh one.
    pub(crate) async fn over_http2(
        &mut self,
        request: &mut Request<Body>,
        lease: Lease,
    ) -> Result<Response<Body>, SendError> {
        self.course.begin(request.body_mut(), true);
        let Some(head) = http2::take(request) else {
            let cause = "the Host is no authority".into();
            return Err(self.told(SendErrorKind::Unfit, false, Some(cause)));
        };
        let mut replaced = 0;
        loop {
            let mut slot = self.slot().await?;
            let body = self.course.source.read().unwrap_or_default();
            self.attempts.tries += 1;
            let fault = match slot.send(http2::copy(&head), body) {
                Ok(stream) => match self.attempt_on_stream(&mut slot, stream).await? {
                    Ok((response, stream)) => return self.answer_of_stream(response, stream, slot, lease),
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            let why = self.again_on_stream(&slot, &fault, replaced);
            // Whatever it was, the body has to be there from its start.
            let Some(why) = why.filter(|_| self.course.source.read().is_some()) else {
                return Err(self.failed(slot.wrote(), fault));
            };
            replaced += 1;
            self.attempts.replaced = Some(why);
            self.target.entry.replaced(why);
            self.course.clock.attempt(Instant::now());
        }
    }

    /// A place on a connection, which is made where there is none with room.
    async fn slot(&mut self) -> Result<Slot, SendError> {
        self.attempts.reused = true;
        let (mut looked, mut opened) = (false, 0);
        let mut deadline: Option<Deadline> = None;
        loop {
            let now = Instant::now();
            if let Some(live) = self.target.multiplexed.choose(now) {
                let rested = live.streams() == 0 && now.saturating_duration_since(live.rested()) >= LOOK_AFTER;
                if rested && self.attempts.reused && !std::mem::replace(&mut looked, true) {
                    // Lets the reactor run, and the connection's task read what the reactor found: its end,
                    // perhaps.
                    yield_now().await;
                    continue;
                }
                return Ok(Slot::take(&live, self.worker, self.target, self.idle));
            }
            self.attempts.reused = false;
            if opened == MOST_OPENED {
                let cause = "each connection ended before a stream began on it".into();
                return Err(self.told(SendErrorKind::Reset, false, Some(cause)));
            }
            let deadline = *deadline.get_or_insert_with(|| self.course.clock.connecting(now));
            let opening = match self.target.multiplexed.opening() {
                Some(opening) => opening,
                None => open(self.worker, self.target, deadline),
            };
            let result = match deadline {
                None => opening.done().await,
                Some((at, which)) => match timeout_at(at, opening.done()).await {
                    Ok(result) => result,
                    Err(_) => Err(NotOpened {
                        kind: SendErrorKind::Timeout(which),
                        cause: None,
                    }),
                },
            };
            if let Err(NotOpened { kind, cause }) = result {
                self.attempts.tries += 1;
                return Err(self.told(kind, false, cause));
            }
            opened += u32::from(opening.ended_at_once());
            self.attempts.connected = Some(Instant::now());
        }
    }

    async fn attempt_on_stream(
        &mut self,
        slot: &mut Slot,
        mut stream: Stream,
    ) -> Result<Result<(Response<Receiving>, Stream), Fault>, SendError> {
        let Course { clock, source, .. } = &mut *self.course;
        let result = poll_fn(|cx| {
            if let Poll::Ready(answer) = stream.poll_head(cx) {
                return Poll::Ready(Ok(answer));
            }
            match clock.waiting(source.moving(), Instant::now) {
                Some((at, which)) => slot.poll_until(cx, at).map(|()| Err(which)),
                None => Poll::Pending,
            }
        })
        .await;
        self.attempts.interim += stream.interims;
        match result {
            Ok(Ok(response)) => Ok(Ok((response, stream))),
            Ok(Err(fault)) => Ok(Err(fault)),
            Err(which) => {
                slot.timed_out();
                Err(self.told(SendErrorKind::Timeout(which), slot.wrote(), None))
            }
        }
    }

    /// Why the request may be sent once more, if it may: the target has said that it did not look at
    /// it; it was never written; or a connection that was in use before ended without any answer,
    /// and the request may be repeated (RFC 9110 §9.2.2).
    fn again_on_stream(&self, slot: &Slot, fault: &Fault, replaced: u32) -> Option<Replaced> {
        if replaced == MOST_REPLACED || self.course.source.failed().is_some() {
            return None;
        }
        match fault {
            Fault::GoneAway(_) => Some(Replaced::GoneAway),
            Fault::Refused(_) => Some(Replaced::Refused),
            Fault::Closed(_) | Fault::Reset(_) if !slot.wrote() => Some(Replaced::Unsent),
            // A head or an interim answer would have come before the end.
            _ if !self.attempts.reused || !self.idempotent || self.attempts.interim > 0 => None,
            Fault::Closed(_) => Some(Replaced::Closed),
            Fault::Reset(_) => Some(Replaced::Reset),
            _ => None,
        }
    }

    /// The answer for the caller, with its stream in its body.
    fn answer_of_stream(
        &mut self,
        response: Response<Receiving>,
        mut stream: Stream,
        slot: Slot,
        lease: Lease,
    ) -> Result<Response<Body>, SendError> {
        self.attempts.head = Some(Instant::now());
        let (mut parts, receiving) = response.into_parts();
        let incoming = Incoming::of_stream(receiving);
        let faulty = match head::check(parts.status, &mut parts.headers, &incoming) {
            Ok(()) if parts.headers.len() > MOST_FIELDS => Some("more than 100 fields"),
            checked => checked.err(),
        };
        if let Some(why) = faulty {
            return Err(self.told(SendErrorKind::Protocol, true, Some(why.into())));
        }
        parts.version = Version::HTTP_11;
        let bare = self.head || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bare || incoming.is_end_stream() {
            return Ok(Response::from_parts(parts, Body::Empty));
        }
        let under_way = self.course.source.under_way();
        let mut task = None;
        if let Some(pipe) = stream.pipe.take() {
            if parts.status.is_success() {
                task = Some(Task::of(pipe));
            } else if let Some(upload) = &under_way {
                // It has judged without the rest.
                upload.stop();
            }
        }
        let link = Link::Stream(slot, task);
        let answer = Answer::new(incoming, link, lease, self.idle, self.course.clock.total(), under_way);
        Ok(Response::from_parts(parts, Body::Answer(answer)))
    }
}

/// Makes a connection in a task of its own: who asked for it may leave, and others wait for it too.
fn open(worker: &Rc<Worker>, target: &Rc<Target>, deadline: Deadline) -> Rc<Opening> {
    let opening = target.multiplexed.open();
    let (worker, target) = (Rc::clone(worker), Rc::clone(target));
    tokio::task::spawn_local(async move {
        let opened = connect(&worker, &target, deadline).await;
        target.multiplexed.opened(opened);
        worker.sweep_soon();
    });
    opening
}

async fn connect(worker: &Rc<Worker>, target: &Rc<Target>, deadline: Deadline) -> Result<Rc<Live>, NotOpened> {
    let mut gauge = Gauged::new(Rc::clone(&target.entry), State::Connecting);
    let stream = target.connect(deadline).await.map_err(|failed| match failed {
        NoConnection::Failed(why) => NotOpened {
            kind: SendErrorKind::Connect,
            cause: Some(why),
        },
        NoConnection::TooLate(which) => NotOpened {
            kind: SendErrorKind::Timeout(which),
            cause: None,
        },
    })?;
    gauge.turn(State::Idle);
    let io = Io::tcp(stream, worker.context.limits);
    let ended = {
        let target = Rc::downgrade(target);
        move || {
            if let Some(target) = target.upgrade() {
                target.multiplexed.forget_dead();
            }
        }
    };
    let opening = Live::open(io, Instant::now(), worker.chance_share(), gauge, ended);
    let opened = match deadline {
        None => opening.await,
        Some((at, which)) => timeout_at(at, opening).await.map_err(|_| NotOpened {
            kind: SendErrorKind::Timeout(which),
            cause: Some("the target did not send its settings: does it speak HTTP/2?".into()),
        })?,
    };
    let live = opened.map_err(|fault| {
        let (kind, cause) = of_fault(fault);
        NotOpened { kind, cause }
    })?;
    if live.most_streams() == 0 {
        return Err(NotOpened {
            kind: SendErrorKind::Connect,
            cause: Some("the target takes no streams".into()),
        });
    }
    Ok(live)
}
