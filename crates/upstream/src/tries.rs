//! The tries of one request: which target each goes to, what it says of that target, whether another one follows.

use crate::attempts::Attempts;
use crate::body::Body;
use crate::connection::http2;
use crate::error::{SendError, SendErrorKind};
use crate::exchange::{Course, Exchange};
use crate::group::Group;
use crate::guard::Trial;
use crate::outcome::{Outcome, status};
use crate::plan::Plan;
use crate::retry::{self, Retried, Skipped};
use crate::spec::Protocol;
use crate::worker::{Lease, Worker};
use http::{Request, Response};
use sluice_shared_state::breaker::{BreakerCell, Failure};
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::{Instant, sleep};

/// The places of targets that a request was sent to, in that order.
type Tried = SmallVec<[usize; 4]>;

/// What came of a request.
type Sent = Result<Response<Body>, SendError>;

/// A request, through all of its tries.
struct Asked<'r> {
    request: &'r mut Request<Body>,
    attempts: &'r mut Attempts,
    course: Course,
    tried: Tried,
}

// === impl Group ===

impl Group {
    /// Sends `request` as often as `plan` says. Where its breaker refuses it, it stays as it is.
    pub(crate) async fn send(
        &self,
        worker: &Rc<Worker>,
        plan: Plan<'_>,
        request: &mut Request<Body>,
        attempts: &mut Attempts,
    ) -> Sent {
        let started = Instant::now();
        attempts.started = Some(started);
        let trial = self.admit(worker, &plan, started).inspect_err(|_| {
            let cell = plan.breaker.map(|guard| guard.cell(worker.context.shared.breakers()));
            attempts.opened_by = cell.and_then(BreakerCell::cause);
        })?;
        let once = plan.retry.attempts <= 1 || trial.as_ref().is_some_and(Trial::is_probe);
        let mut asked = Asked {
            request,
            attempts,
            course: Course::new(plan.timeouts, started),
            tried: Tried::new(),
        };
        let sent = match once {
            true => self.try_once(worker, &mut asked, trial, started).await,
            // Apart: what is needed for another try is large, and most requests have one.
            false => Box::pin(self.try_often(worker, plan, &mut asked, trial, started)).await,
        };
        if asked.attempts.interim > 0 {
            self.entry.interim.add(asked.attempts.interim.into());
        }
        sent
    }

    async fn try_often(
        &self,
        worker: &Rc<Worker>,
        plan: Plan<'_>,
        asked: &mut Asked<'_>,
        mut trial: Option<Trial<'_>>,
        mut now: Instant,
    ) -> Sent {
        self.budget.borrow_mut().came(plan.retry.budget);
        // Each target gets its own Host and base path.
        let head = http2::copy(asked.request);
        let idempotent = head.method().is_idempotent();
        asked.course.keeps = idempotent;
        let mut tries = 0;
        loop {
            let sent = self.try_once(worker, asked, trial, now).await;
            tries += 1;
            let Some(why) = repeatable(&sent, &plan, asked.attempts) else {
                return sent;
            };
            if tries >= plan.retry.attempts {
                return sent;
            }
            let pause = plan.retry.pause(tries, worker.chance_share());
            now = Instant::now();
            // What the target has not seen it has not acted on.
            let unseen = sent.as_ref().is_err_and(|error| !error.sent);
            let skipped = if !idempotent && !unseen {
                Some(Skipped::Method)
            } else if !asked.course.repeats() {
                Some(Skipped::Body)
            } else if !asked.course.clock.allows(now + pause) {
                Some(Skipped::Time)
            } else if !self.budget.borrow_mut().take(now) {
                Some(Skipped::Budget)
            } else {
                None
            };
            if let Some(skipped) = skipped {
                self.entry.skipped(skipped);
                return sent;
            }
            sleep(pause).await;
            now = Instant::now();
            trial = match self.admit(worker, &plan, now) {
                // A probe is a first try: what is let through then is to say whether the service is well.
                Ok(trial) if trial.as_ref().is_none_or(|trial| !trial.is_probe()) => trial,
                _ => {
                    self.entry.skipped(Skipped::Breaker);
                    return sent;
                }
            };
            self.entry.retried(why);
            asked.attempts.retried = Some(why);
            // Lets go of its connection first: one that was answered early still waits for the rest.
            drop(sent);
            asked.course.again(asked.request, &head, now);
        }
    }

    /// One try, which says what it has to say of the target and to the breaker.
    async fn try_once(
        &self,
        worker: &Rc<Worker>,
        asked: &mut Asked<'_>,
        trial: Option<Trial<'_>>,
        now: Instant,
    ) -> Sent {
        let Asked {
            request,
            attempts,
            course,
            tried,
        } = asked;
        let whatever = trial.as_ref().is_some_and(Trial::is_probe);
        let Some(place) = self.choose(worker, tried, whatever, now) else {
            return Err(SendError::of(SendErrorKind::NoTarget));
        };
        tried.push(place);
        let target = &self.targets[place];
        attempts.target = Some(Arc::clone(&target.spec.url));
        (attempts.connected, attempts.head) = (None, None);
        let lease = Lease::new(worker, target);
        let idle = course.clock.idle();
        let mut exchange = Exchange::new(worker, target, attempts, course, idle);
        let sent = match exchange.prepare(request, &self.spec) {
            Err(unfit) => Err(unfit),
            Ok(()) => match self.spec.protocol {
                Protocol::Http1 => exchange.over_http1(request, lease, now).await,
                // Apart: the future of the one is not to be as large as that of the other.
                Protocol::Http2 => Box::pin(exchange.over_http2(request, lease)).await,
            },
        };
        let ended = match &sent {
            Ok(_) => attempts.head.unwrap_or_else(Instant::now),
            Err(_) => Instant::now(),
        };
        let told = sent.as_ref().map_or(0, |response| response.status().as_u16());
        self.entry.observe(told, ended.saturating_duration_since(now));
        let outcome = Outcome::of(&sent, attempts);
        self.judge(worker, place, outcome, trial.as_ref(), ended);
        if let Some(trial) = trial {
            trial.ended(outcome, ended);
        }
        sent
    }

    fn admit<'g>(&self, worker: &'g Worker, plan: &Plan<'g>, now: Instant) -> Result<Option<Trial<'g>>, SendError> {
        let Some(guard) = plan.breaker else { return Ok(None) };
        guard
            .admit(&worker.context.shared, plan.request_id, now)
            .map(Some)
            .map_err(|left| SendError::of(SendErrorKind::BreakerOpen(left)))
    }
}

/// Why it is to be tried again, if it is.
fn repeatable(sent: &Sent, plan: &Plan<'_>, attempts: &Attempts) -> Option<Retried> {
    let failure = match sent {
        Ok(response) => Failure::Status(status(response, attempts.grpc)),
        Err(error) => retry::failure(error)?,
    };
    plan.retry.on.counts(failure).then(|| failure.into())
}
