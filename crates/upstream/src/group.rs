//! One upstream on one worker: its targets, and which is next.

use crate::attempts::Attempts;
use crate::balance::{Balancer, Stays};
use crate::body::Body;
use crate::clock::Clock;
use crate::error::{SendError, SendErrorKind};
use crate::exchange::Exchange;
use crate::meters::Entry;
use crate::spec::{Protocol, Spec, Timeouts};
use crate::target::Target;
use crate::worker::{Lease, Worker};
use http::{Request, Response};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

pub(crate) struct Group {
    pub(crate) spec: Arc<Spec>,
    pub(crate) targets: Box<[Rc<Target>]>,
    /// Of the last reconcile that knew it.
    pub(crate) round: Cell<u64>,
    balancer: RefCell<Balancer>,
    entry: Rc<Entry>,
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
        // What speaks another protocol is another target.
        let same = before.filter(|before| before.spec.protocol == spec.protocol);
        for target in &spec.targets {
            let was = same.and_then(|same| same.targets.iter().position(|old| old.spec.url == target.url));
            stays.push(was.map(|was| Stays { was }));
            let twin = targets.iter().find(|twin| twin.spec.url == target.url);
            targets.push(match (twin, before, was) {
                (Some(twin), ..) => Rc::clone(twin),
                (None, Some(before), Some(was)) => {
                    let target = Rc::clone(&before.targets[was]);
                    if !detached {
                        target.set(spec.pool, now);
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
                target.close();
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
        let clock = Clock::new(timeouts, started);
        let mut exchange = Exchange::new(worker, target, attempts, clock, timeouts.idle);
        exchange.prepare(request, &self.spec)?;
        match self.spec.protocol {
            Protocol::Http1 => exchange.over_http1(request, lease, started).await,
            // Apart: the future of the one is not to be as large as that of the other.
            Protocol::Http2 => Box::pin(exchange.over_http2(request, lease)).await,
        }
    }
}
