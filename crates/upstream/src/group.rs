//! One upstream on one worker: its targets, which is next, and the way of a request to it.

use crate::answer::{Answer, Link};
use crate::attempts::{Attempts, Replaced};
use crate::balance::{Balancer, Stays};
use crate::body::Body;
use crate::clock::{Clock, Sending};
use crate::connection::{Failure, Fault, Incoming, Live, Writing};
use crate::error::{BodyError, SendError, SendErrorKind, Which};
use crate::meters::{Entry, Gauged, State};
use crate::request::prepare;
use crate::spec::{Spec, Timeouts};
use crate::target::{NoConnection, Target};
use crate::upload;
use crate::worker::{Lease, Worker};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as _;
use sluice_transport::Io;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Group {
    pub(crate) spec: Arc<Spec>,
    pub(crate) targets: Box<[Rc<Target>]>,
    /// Of the last reconcile that knew it.
    pub(crate) round: Cell<u64>,
    balancer: RefCell<Balancer>,
    entry: Rc<Entry>,
}

/// A request's body, as often as it can be had.
enum Source {
    Empty,
    Full(Bytes),
    Stream(Rc<upload::Shared>),
}

/// One request under way.
struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    target: &'a Rc<Target>,
    attempts: &'a mut Attempts,
    clock: Clock,
    source: Source,
    idempotent: bool,
}

// === impl Group ===

impl Group {
    /// What `before` knew of the same targets stays. With `detached`, for a spec that is no longer
    /// the present one, nothing is kept.
    pub(crate) fn new(spec: &Arc<Spec>, worker: &Worker, before: Option<&Self>, detached: bool, now: Instant) -> Self {
        let context = &worker.context;
        let entry = before.map_or_else(|| context.meters.enter(&spec.name), |before| Rc::clone(&before.entry));
        let mut stays = Vec::with_capacity(spec.targets.len());
        let mut targets: Vec<Rc<Target>> = Vec::with_capacity(spec.targets.len());
        for target in &spec.targets {
            let was = before.and_then(|before| before.targets.iter().position(|old| old.spec.url == target.url));
            stays.push(was.map(|was| Stays { was }));
            let twin = targets.iter().find(|twin| twin.spec.url == target.url);
            targets.push(match (twin, before, was) {
                (Some(twin), ..) => Rc::clone(twin),
                (None, Some(before), Some(was)) => {
                    let target = Rc::clone(&before.targets[was]);
                    if !detached {
                        target.pool.set(spec.pool, now);
                    }
                    target
                }
                _ => Rc::new(Target::new(
                    target,
                    spec.pool,
                    detached,
                    Rc::clone(&entry),
                    &context.resolver,
                )),
            });
        }
        let weights: Vec<u16> = spec.targets.iter().map(|target| target.weight).collect();
        // One that serves a single request begins anywhere, or all its like would begin alike.
        let turns = before.filter(|_| !detached).map(|before| before.balancer.borrow());
        let balancer = Balancer::new(
            spec.balance,
            &weights,
            turns.as_deref().map(|turns| (turns, &stays[..])),
            |below| worker.chance_wide(below),
        );
        Self {
            spec: Arc::clone(spec),
            targets: targets.into(),
            round: Cell::new(0),
            balancer: RefCell::new(balancer),
            entry,
        }
    }

    /// Closes what is kept for targets that `after` does not have.
    pub(crate) fn retire(&self, after: Option<&Self>) {
        for target in &self.targets {
            let stays = after.is_some_and(|after| after.targets.iter().any(|other| Rc::ptr_eq(other, target)));
            if !stays {
                target.pool.close();
            }
        }
    }

    pub(crate) async fn send(
        &self,
        worker: &Rc<Worker>,
        timeouts: &Timeouts,
        request: &mut Request<Body>,
        attempts: &mut Attempts,
    ) -> Result<Response<Body>, SendError> {
        let started = Instant::now();
        attempts.started = Some(started);
        let result = self.exchange(worker, timeouts, request, attempts, started).await;
        let (status, now) = match &result {
            Ok(response) => (response.status().as_u16(), attempts.head),
            Err(_) => (0, None),
        };
        let now = now.unwrap_or_else(Instant::now);
        self.entry.observe(status, now.saturating_duration_since(started));
        if attempts.interim > 0 {
            self.entry.interim.add(attempts.interim.into());
        }
        result
    }

    async fn exchange(
        &self,
        worker: &Rc<Worker>,
        timeouts: &Timeouts,
        request: &mut Request<Body>,
        attempts: &mut Attempts,
        started: Instant,
    ) -> Result<Response<Body>, SendError> {
        let place = self
            .balancer
            .borrow_mut()
            .next(|place| self.targets[place].busy.get(), |below| worker.chance(below))
            .ok_or(SendError {
                kind: SendErrorKind::NoTarget,
                sent: false,
                target: None,
                cause: None,
            })?;
        let target = &self.targets[place];
        attempts.target = Some(Arc::clone(&target.spec.url));
        let lease = Lease::new(worker, target);
        if let Err(error) = prepare(request, &self.spec, &target.spec, attempts.bare_path) {
            return Err(told(
                target,
                SendErrorKind::Protocol,
                false,
                Some(error.to_string().into()),
            ));
        }
        let idempotent = request.method().is_idempotent();
        // What cannot be sent again must not meet a connection that the reactor has not yet seen die.
        let kept = target.pool.take(started, !idempotent);
        let source = Source::new(std::mem::take(request.body_mut()), kept.is_some() && idempotent);
        let clock = Clock::new(timeouts, started);
        let mut exchange = Exchange {
            worker,
            target,
            attempts,
            clock,
            source,
            idempotent,
        };
        let (live, response) = exchange.run(request, kept).await?;
        exchange.answer(live, response, lease, timeouts.idle)
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    async fn run(
        &mut self,
        request: &mut Request<Body>,
        kept: Option<Box<Live>>,
    ) -> Result<(Box<Live>, Response<Incoming>), SendError> {
        self.attempts.reused = kept.is_some();
        if let Some(mut live) = kept {
            *request.body_mut() = self.source.read().unwrap_or_default();
            match self.attempt(&mut live, request, true).await? {
                Ok(response) => return Ok((live, response)),
                Err(mut failure) => {
                    let Some((why, again)) = self.again(&live, &mut failure) else {
                        return Err(self.failed(&live, failure.fault));
                    };
                    self.attempts.replaced = Some(why);
                    self.attempts.reused = false;
                    self.target.entry.replaced(why);
                    self.clock.attempt(Instant::now());
                    *request = again;
                }
            }
        } else {
            *request.body_mut() = self.source.read().unwrap_or_default();
        }
        // Apart: it is large, and most requests need no memory for it.
        let mut live = Box::pin(self.connect()).await?;
        match self.attempt(&mut live, request, false).await? {
            Ok(response) => Ok((live, response)),
            Err(failure) => Err(self.failed(&live, failure.fault)),
        }
    }

    async fn attempt(
        &mut self,
        live: &mut Live,
        request: &mut Request<Body>,
        record: bool,
    ) -> Result<Result<Response<Incoming>, Failure>, SendError> {
        self.attempts.tries += 1;
        let (clock, source) = (&mut self.clock, &self.source);
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
            Err(Err(which)) => Err(told(self.target, SendErrorKind::Timeout(which), live.sent() > 0, None)),
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
        let (head, body) = (live.rewind()?, self.source.read()?);
        Some((why, head.map(|()| body)))
    }

    async fn connect(&mut self) -> Result<Box<Live>, SendError> {
        let mut gauge = Gauged::new(Rc::clone(&self.target.entry), State::Connecting);
        let deadline = self.clock.connecting(Instant::now());
        let stream = match self.target.connect(deadline).await {
            Ok(stream) => stream,
            Err(failed) => {
                self.attempts.tries += 1;
                let (kind, cause) = match failed {
                    NoConnection::Failed(why) => (SendErrorKind::Connect, Some(why)),
                    NoConnection::TooLate(which) => (SendErrorKind::Timeout(which), None),
                };
                return Err(told(self.target, kind, false, cause));
            }
        };
        let now = Instant::now();
        self.attempts.connected = Some(now);
        gauge.turn(State::Active);
        let io = Io::tcp(stream, self.worker.context.limits);
        Live::open(io, now, gauge).await.map_err(|fault| {
            let (kind, cause) = of_fault(fault);
            told(self.target, kind, false, cause)
        })
    }

    fn failed(&self, live: &Live, fault: Fault) -> SendError {
        let (kind, cause) = match self.source.failed() {
            Some(error) => (SendErrorKind::ClientBody(error), None),
            None => of_fault(fault),
        };
        told(self.target, kind, live.sent() > 0, cause)
    }

    /// The answer for the caller, with its connection in the pool or in its body.
    fn answer(
        self,
        mut live: Box<Live>,
        response: Response<Incoming>,
        lease: Lease,
        idle: Duration,
    ) -> Result<Response<Body>, SendError> {
        let now = Instant::now();
        self.attempts.head = Some(now);
        let (mut head, incoming) = response.into_parts();
        if let Err(why) = check(head.status, &mut head.headers, &incoming) {
            return Err(told(self.target, SendErrorKind::Protocol, true, Some(why.into())));
        }
        live.keep_alive = keep_alive(&head.headers);
        // hyper would speak 1.0 on it from now on, which cannot carry a body of unknown length.
        live.tainted |= head.version == Version::HTTP_10;
        // A version is of one hop (RFC 9110 §2.5): what the target spoke is not what the client is told.
        head.version = Version::HTTP_11;
        if live.is_free() {
            lease.give_back(live, now);
            return Ok(Response::from_parts(head, incoming.into()));
        }
        let under_way = self.source.under_way();
        if incoming.is_end_stream() || (live.is_over() && under_way.is_none()) {
            return Ok(Response::from_parts(head, incoming.into()));
        }
        let mut task = None;
        if let Some(upload) = &under_way {
            live.tainted = true;
            if head.status.is_success() {
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
        let answer = Answer::new(incoming, link, lease, idle, self.clock.total(), under_way);
        Ok(Response::from_parts(head, Body::Answer(answer)))
    }
}

// === impl Source ===

impl Source {
    /// With `keep`, a stream can be had again while it is short enough.
    fn new(body: Body, keep: bool) -> Self {
        match body {
            body if body.is_end_stream() => Self::Empty,
            Body::Full(bytes) => Self::Full(bytes),
            body => Self::Stream(upload::Shared::new(body, keep)),
        }
    }

    /// From the start. None if that is gone.
    fn read(&self) -> Option<Body> {
        match self {
            Self::Empty => Some(Body::Empty),
            Self::Full(bytes) => Some(Body::Full(bytes.clone())),
            Self::Stream(shared) => shared.read().map(Body::Upload),
        }
    }

    /// Who is waited for.
    fn sending(&self, writing: Writing, sent: u64) -> Sending {
        match (writing, self) {
            (Writing::Blocked, _) => Sending::Target(sent),
            (Writing::Free, Self::Stream(shared)) if !shared.done() => Sending::Client,
            (Writing::Free | Writing::Broken, _) => Sending::Done,
        }
    }

    /// The stream, if the client has not sent all of it.
    fn under_way(&self) -> Option<Rc<upload::Shared>> {
        match self {
            Self::Stream(shared) if !shared.done() => Some(Rc::clone(shared)),
            _ => None,
        }
    }

    fn failed(&self) -> Option<BodyError> {
        match self {
            Self::Stream(shared) => shared.failed(),
            Self::Empty | Self::Full(_) => None,
        }
    }
}

/// Whether an answer may be passed on. Makes its length say what its body is: where the length is
/// not known, none may be told (RFC 9112 §6.3), and a length told twice is told once.
fn check(status: StatusCode, headers: &mut HeaderMap, incoming: &Incoming) -> Result<(), &'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("101 without having been asked");
    }
    if status == StatusCode::NO_CONTENT {
        // It has none (RFC 9110 §8.6), whatever the request was.
        headers.remove(CONTENT_LENGTH);
    }
    if incoming.is_end_stream() {
        return Ok(());
    }
    match incoming.size_hint().exact() {
        Some(length) => {
            let mut told = headers.get_all(CONTENT_LENGTH).iter();
            let plain = told
                .next()
                .is_some_and(|told| told.as_bytes().iter().all(u8::is_ascii_digit));
            if !plain || told.next().is_some() {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        None => {
            let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
            let first = codings.next().map(|coding| coding.as_bytes().trim_ascii());
            if codings.next().is_some() || first.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
                return Err("a transfer coding other than chunked");
            }
            headers.remove(CONTENT_LENGTH);
        }
    }
    Ok(())
}

/// `Keep-Alive: timeout=5` of an answer.
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let told = headers.get(&KEEP_ALIVE)?.to_str().ok()?;
    told.split(',').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok();
        name.trim()
            .eq_ignore_ascii_case("timeout")
            .then_some(Duration::from_secs(seconds?))
    })
}

fn of_fault(fault: Fault) -> (SendErrorKind, Option<Arc<str>>) {
    match fault {
        Fault::Closed(why) | Fault::Reset(why) => (SendErrorKind::Reset, Some(why)),
        Fault::Protocol(why) => (SendErrorKind::Protocol, Some(why)),
        Fault::Stalled => (SendErrorKind::Timeout(Which::Idle), None),
        Fault::Short => {
            let short = BodyError::Other("the body ended before the length that its head declared".into());
            (SendErrorKind::ClientBody(short), None)
        }
    }
}

fn told(target: &Target, kind: SendErrorKind, sent: bool, cause: Option<Arc<str>>) -> SendError {
    SendError {
        kind,
        sent,
        target: Some(Arc::clone(&target.spec.url)),
        cause,
    }
}
