//! Connections of one worker to one target that carry many streams each.
//!
//! One connection is opened, and another when its streams are used up; who comes while one is being
//! opened waits for that one.

use crate::body::Body;
use crate::connection::Fault;
use crate::connection::http2::{Live, Mark, Stream};
use crate::error::SendErrorKind;
use crate::spec::PoolSpec;
use crate::target::Target;
use crate::timer::Timer;
use crate::worker::Worker;
use http::Request;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Default)]
pub(crate) struct Multiplexed {
    /// The first with room is taken: the fewest connections carry the load, and the last ones come to rest.
    open: RefCell<Vec<Rc<Live>>>,
    opening: RefCell<Option<Rc<Opening>>>,
    spec: Cell<PoolSpec>,
    closed: Cell<bool>,
}

/// A connection that is being made, for all who wait for it.
#[derive(Default)]
pub(crate) struct Opening {
    result: RefCell<Option<Result<Weak<Live>, NotOpened>>>,
    done: Notify,
}

/// One request's place on a connection, with a timer for its time-outs. Dropping it makes room for
/// another.
pub(crate) struct Slot {
    live: Rc<Live>,
    worker: Rc<Worker>,
    target: Rc<Target>,
    timer: Timer,
    begun: Mark,
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(crate) struct NotOpened {
    pub(crate) kind: SendErrorKind,
    pub(crate) cause: Option<Arc<str>>,
}

// === impl Multiplexed ===

impl Multiplexed {
    /// `closed` keeps nothing beyond the last stream.
    pub(crate) fn new(spec: PoolSpec, closed: bool) -> Self {
        Self {
            spec: Cell::new(spec),
            closed: Cell::new(closed),
            ..Self::default()
        }
    }

    /// New bounds, at once also for those that are open.
    pub(crate) fn set(&self, spec: PoolSpec, now: Instant) {
        self.spec.set(spec);
        self.sweep(now);
    }

    /// Closes what rests, lets go of what is under way, and keeps nothing more.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.open.take();
    }

    /// A connection with room for one more stream. Lets go of those that take none any more: their
    /// streams hold them to the end.
    pub(crate) fn choose(&self, now: Instant) -> Option<Rc<Live>> {
        let spec = self.spec.get();
        let mut open = self.open.borrow_mut();
        open.retain(|live| live.takes_more() && !self.is_past(&spec, live, now));
        open.iter().find(|live| live.has_room()).cloned()
    }

    /// Who is opening one.
    pub(crate) fn opening(&self) -> Option<Rc<Opening>> {
        self.opening.borrow().clone()
    }

    /// The caller opens one, and says what came of it by [`Multiplexed::opened`].
    pub(crate) fn open(&self) -> Rc<Opening> {
        let opening = Rc::new(Opening::default());
        *self.opening.borrow_mut() = Some(Rc::clone(&opening));
        opening
    }

    /// What came of the opening; wakes all who wait for it.
    pub(crate) fn opened(&self, result: Result<Rc<Live>, NotOpened>) {
        let result = result.map(|live| {
            let weak = Rc::downgrade(&live);
            self.open.borrow_mut().push(live);
            weak
        });
        if let Some(opening) = self.opening.take() {
            *opening.result.borrow_mut() = Some(result);
            opening.done.notify_waiters();
        }
    }

    /// A stream ended. Says whether connections are kept that rest.
    pub(crate) fn freed(&self, live: &Rc<Live>, now: Instant) -> bool {
        if live.streams() > 0 {
            return false;
        }
        let spec = self.spec.get();
        let stays = !self.closed.get() && spec.max_idle > 0 && live.takes_more() && !self.is_past(&spec, live, now);
        if !stays {
            self.open.borrow_mut().retain(|other| !Rc::ptr_eq(other, live));
        }
        stays
    }

    /// Forgets connections that ended by themselves.
    pub(crate) fn forget_dead(&self) {
        self.open.borrow_mut().retain(|live| live.takes_more());
    }

    /// Closes what rested too long or is too old, and what rests beyond the bound. Says whether any is left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let spec = self.spec.get();
        let mut open = self.open.borrow_mut();
        let mut rest = 0;
        open.retain(|live| {
            if !live.takes_more() || self.is_past(&spec, live, now) {
                return false;
            }
            rest += usize::from(live.streams() == 0);
            live.streams() > 0 || rest <= spec.max_idle
        });
        !open.is_empty()
    }

    /// Whether no stream begins on it any more. Both bounds are shortened by up to a tenth by chance.
    fn is_past(&self, spec: &PoolSpec, live: &Live, now: Instant) -> bool {
        let by_chance = |bound: Duration| bound.saturating_sub(bound.mul_f32(live.chance() / 10.0));
        let spent = |since: Instant, bound: Duration| now.saturating_duration_since(since) >= by_chance(bound);
        spent(live.made(), spec.max_age) || (live.streams() == 0 && spent(live.rested(), spec.idle))
    }
}

// === impl Opening ===

impl Opening {
    /// Waits for what comes of it.
    pub(crate) async fn done(&self) -> Result<(), NotOpened> {
        loop {
            let done = self.done.notified();
            if let Some(result) = &*self.result.borrow() {
                return result.clone().map(|_| ());
            }
            done.await;
        }
    }

    /// Whether the connection came about, and takes no stream already.
    pub(crate) fn ended_at_once(&self) -> bool {
        match &*self.result.borrow() {
            Some(Ok(live)) => live.upgrade().is_none_or(|live| !live.takes_more()),
            _ => false,
        }
    }
}

// === impl Slot ===

impl Slot {
    /// The caller has seen that there is room.
    pub(crate) fn take(live: &Rc<Live>, worker: &Rc<Worker>, target: &Rc<Target>, idle: Duration) -> Self {
        let (timer, begun) = live.begin(idle);
        Self {
            live: Rc::clone(live),
            worker: Rc::clone(worker),
            target: Rc::clone(target),
            timer,
            begun,
        }
    }

    /// Sends `head` and what `body` gives.
    pub(crate) fn send(&self, head: Request<()>, body: Body) -> Result<Stream, Fault> {
        self.live.send(head, body)
    }

    /// Ready at `deadline`; else the task of `cx` is woken then.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.timer.poll_until(cx, deadline)
    }

    /// Whether any of the request may have been written.
    pub(crate) fn wrote(&self) -> bool {
        self.live.wrote_since(self.begun)
    }

    /// A time-out ran off.
    pub(crate) fn timed_out(&self) {
        self.live.gave_up_since(self.begun);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.live.end(std::mem::take(&mut self.timer));
        if self.target.multiplexed.freed(&self.live, self.live.rested()) {
            self.worker.sweep_soon();
        }
    }
}
