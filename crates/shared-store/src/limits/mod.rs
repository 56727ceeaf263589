//! Limits as workers ask for them.

use sluice_shared_state::{Moment, Rule};
use smallvec::SmallVec;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// One limit that a request has to pass.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Which.
    pub rule: &'a Arc<Rule>,
    /// The value of its key.
    pub value: &'a str,
    /// Tokens; at least 1, at most [`Rule::most`].
    pub cost: u32,
    /// How long the request may be held back instead of refused.
    pub patience: Duration,
    /// Counted, and never refused.
    pub dry_run: bool,
}

/// What became of a request at its limits.
#[derive(Debug)]
pub enum Decision {
    /// Known at once.
    Ready(Verdict),
    /// Known soon: 20 ms at most where the store is asked, the patience where a token is on its way.
    Wait(Waiting),
}

/// All limits of a request have had their say. Where one refuses, none was charged.
#[derive(Debug, Default)]
pub struct Verdict {
    /// One for each [`Ask`], in their order.
    pub standings: SmallVec<[Standing; 2]>,
    /// Places of concurrency limits, given back when dropped. Empty where the request was refused.
    pub held: Held,
}

/// How one limit stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the request may pass.
    pub outcome: Outcome,
    /// What this node can still say is left; never above the limit.
    pub remaining: u64,
    /// Whole seconds: to the next token where nothing is left, else to the end of the window (a bucket: until it is
    /// full). At least 1.
    pub reset: u64,
    /// Who knew.
    pub source: Source,
}

/// What a limit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Passed, and charged.
    Admitted,
    /// It would have passed; another limit refused, and it was not charged.
    Spared,
    /// Spent: come again after `reset`.
    Spent,
    /// The store is away, and the limit is `closed` then.
    NoStore,
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A lease of this node.
    Lease,
    /// The store, for this request.
    Store,
    /// This node by itself, while the store is away or learns.
    Local,
    /// Nobody: the store is away, and the limit is `open` then.
    Open,
}

/// Places of concurrency limits; given back when dropped, whoever ends the request.
#[derive(Debug, Default)]
pub struct Held {}

/// A decision that is not known yet. Dropping it takes the request back: what was granted for it is returned.
#[derive(Debug)]
pub struct Waiting {
    verdict: Option<Verdict>,
}

/// What one worker asks its limits through. Lives on the worker's thread.
#[derive(Debug)]
pub struct Limiter {
    began: Instant,
}

// === impl Limiter ===

impl Limiter {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began }
    }

    /// This node's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Takes from all limits, or from none. Does not block, and locks nothing that another worker locks, where this
    /// worker knows the keys.
    #[must_use]
    pub fn decide(&self, asks: &[Ask<'_>]) -> Decision {
        let standing = Standing {
            outcome: Outcome::Admitted,
            remaining: 0,
            reset: 1,
            source: Source::Local,
        };
        Decision::Ready(Verdict {
            standings: asks.iter().map(|_| standing).collect(),
            held: Held::default(),
        })
    }
}

// === impl Waiting ===

impl Future for Waiting {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Verdict> {
        Poll::Ready(self.verdict.take().unwrap_or_default())
    }
}

// === impl Verdict ===

impl Verdict {
    /// The first limit that refuses, by its place among the asks. A dry run refuses nothing.
    #[must_use]
    pub fn refused(&self, asks: &[Ask<'_>]) -> Option<usize> {
        self.standings
            .iter()
            .zip(asks)
            .position(|(standing, ask)| !ask.dry_run && matches!(standing.outcome, Outcome::Spent | Outcome::NoStore))
    }
}
