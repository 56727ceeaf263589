//! The limits of a route: what a request has to pass once its route is known, and before anything else is made of it.
//!
//! Which keys a request has is read while it is as it came. Most are decided at once; where the node does not know a key
//! yet, or a token is on its way, the request waits for the verdict before it is sent, never on the way to its route.

use super::asked::Asked;
use crate::own_answer::{Refusal, Spent};
use crate::worker::Worker;
use http::{HeaderMap, HeaderValue};
use sluice_http_semantics::problem::Code;
use sluice_http_semantics::rate_limit::{RATE_LIMIT, RATE_LIMIT_POLICY};
use sluice_policy::limits::Stand;
use sluice_policy::{Limit, Limits};
use sluice_shared_store::{Ask, Decision, Held, Outcome, Source, Standing, Verdict, Waiting};
use smallvec::SmallVec;
use std::sync::Arc;

/// Limits of one route for which no room is allocated.
const FEW: usize = 4;

/// What the limits of its route made of a request. Its places of concurrency limits are given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Passage {
    limits: Arc<Limits>,
    standings: SmallVec<[Standing; 2]>,
    /// By its place among the limits.
    refused: Option<usize>,
    held: Held,
}

/// A verdict that is not known yet. Dropping it takes the request back.
pub(super) struct Pending {
    limits: Arc<Limits>,
    waiting: Waiting,
}

/// What is known of a request whose keys were read.
pub(super) enum Asking {
    Known(Box<Passage>),
    Pending(Box<Pending>),
}

/// Takes from all limits of a route, or from none.
pub(super) fn ask(worker: &Worker, limits: &Arc<Limits>, asked: &Asked<'_>) -> Asking {
    let mut text = worker.keys.borrow_mut();
    text.clear();
    let mut ends = SmallVec::<[usize; FEW]>::new();
    for limit in limits.iter() {
        limit.key(asked, asked.client, &mut text);
        ends.push(text.len());
    }
    let mut start = 0;
    let asks = limits.iter().zip(ends).map(|(limit, end)| {
        let value = &text[start..end];
        start = end;
        Ask {
            rule: &limit.rule,
            value,
            cost: limit.cost,
            patience: limit.patience,
            dry_run: limit.dry_run,
        }
    });
    let asks: SmallVec<[Ask<'_>; FEW]> = asks.collect();
    let limits = Arc::clone(limits);
    match worker.limiter.decide(&asks) {
        Decision::Ready(verdict) => Asking::Known(Box::new(Passage::of(limits, verdict))),
        Decision::Wait(waiting) => Asking::Pending(Box::new(Pending { limits, waiting })),
    }
}

// === impl Pending ===

impl Pending {
    /// Waits for the verdict: 20 ms at most, or as long as a limit lets a request wait.
    pub(super) async fn verdict(mut self: Box<Self>) -> Box<Passage> {
        let verdict = (&mut self.waiting).await;
        Box::new(Passage::of(self.limits, verdict))
    }
}

// === impl Passage ===

impl Passage {
    fn of(limits: Arc<Limits>, verdict: Verdict) -> Self {
        let refused = position(&limits, &verdict.standings, false);
        let passage = Self {
            limits,
            standings: verdict.standings,
            refused,
            held: verdict.held,
        };
        if let Some(limit) = passage.would_refuse() {
            tracing::debug!(limit, "a limit on trial would have refused a request");
        }
        passage
    }

    /// Why the request goes no further, if it does not.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let at = self.refused?;
        let (limit, standing) = (self.limits.iter().nth(at)?, self.standings.get(at)?);
        let code = match standing.outcome {
            Outcome::NoStore => Code::LimitStore,
            _ if limit.is_in_flight() => Code::TooManyInFlight,
            _ => Code::RateLimited,
        };
        let name = &limit.rule.name;
        let detail = match code {
            Code::LimitStore => format!("where the limit {name} is counted cannot be reached, and it is closed then"),
            Code::TooManyInFlight => format!("as many requests are under way as the limit {name} allows"),
            _ => format!("the limit {name} is spent"),
        };
        let spent = Spent {
            name: Arc::clone(name),
            limit: limit.number(),
            scope: limit.scope().to_string(),
        };
        let retry_after = retry_after(standing.reset, limit, fastrand::u64);
        Some(Refusal::limited(code, detail, retry_after, spent))
    }

    /// The name of the limit that refused.
    pub(crate) fn refused_by(&self) -> Option<&str> {
        self.name(self.refused?)
    }

    /// The name of a limit that would have refused, if it were not on trial.
    pub(crate) fn would_refuse(&self) -> Option<&str> {
        self.name(position(&self.limits, &self.standings, true)?)
    }

    fn name(&self, at: usize) -> Option<&str> {
        self.limits.iter().nth(at).map(|limit| &*limit.rule.name)
    }

    /// Tells how the limits stand. What the service told of limits of its own goes: clients see one set of them.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let Some(policy) = self.limits.policy() else { return };
        headers.insert(RATE_LIMIT_POLICY, policy.clone());
        match self.standing() {
            Some(standing) => drop(headers.insert(RATE_LIMIT, standing)),
            None => drop(headers.remove(RATE_LIMIT)),
        }
    }

    fn standing(&self) -> Option<HeaderValue> {
        let stands = self.standings.iter().map(|standing| Stand {
            remaining: match standing.source {
                // As much as anybody wants.
                Source::Open => u64::MAX,
                _ => standing.remaining,
            },
            reset: standing.reset,
            uncounted: standing.source == Source::Open,
        });
        self.limits.standing(stands, self.refused)
    }

    /// The places of concurrency limits, for whoever goes on when the exchange is over.
    pub(super) fn take_held(&mut self) -> Held {
        std::mem::take(&mut self.held)
    }
}

/// The first limit that refuses, among those that are on trial or among the others.
fn position(limits: &Limits, standings: &[Standing], dry_run: bool) -> Option<usize> {
    let all = limits.iter().zip(standings);
    all.into_iter()
        .position(|(limit, standing)| limit.dry_run == dry_run && standing.outcome.refuses())
}

/// When to come back: what is known, and up to a fifth more, so that not all who were refused come at once; but within
/// the window, after which there is something in any case. `random` draws from a range.
fn retry_after(reset: u64, limit: &Limit, random: impl FnOnce(std::ops::RangeInclusive<u64>) -> u64) -> u64 {
    use sluice_http_semantics::rate_limit::Quota;
    let reset = reset.max(1);
    let later = reset.saturating_add(random(0..=reset / 5));
    match limit.quota {
        Quota::Requests { seconds, .. } => later.min(seconds.max(reset)),
        Quota::InFlight { .. } => later,
    }
}
