//! What workers take from.

pub mod bucket;
pub mod demand;
pub mod permits;
pub mod spans;
pub mod spends;
#[cfg(test)]
mod stress;
pub mod tokens;
mod word;

use crate::rule::{Algorithm, Rule};
use crate::time::Moment;
use bucket::BucketCell;
use permits::PermitCell;
use spans::SpanCell;
use std::time::Duration;
use tokens::TokenCell;

/// One count on one node.
#[derive(Debug)]
pub struct Cell(Form);

/// In which form a count is kept for workers.
#[derive(Debug)]
pub enum Form {
    /// Tokens that may be used from some moments on: sliding windows.
    Tokens(TokenCell),
    /// Tokens that may be used each within its window: fixed windows.
    Spans(SpanCell),
    /// A bucket that fills.
    Bucket(BucketCell),
    /// Places that are given back.
    Permits(PermitCell),
}

/// What came of taking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// There it is.
    Taken(Token),
    /// Known to be spent: no call would help.
    Refused(Refusal),
    /// Nobody on this node knows: the store has to be asked, or the request must be judged by itself when it is away.
    Unknown,
}

/// What was taken, for giving it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// How many.
    pub cost: u32,
    /// By whose leave.
    pub source: Source,
    /// Of which plan of the cell, of which window, or of which grant.
    pub generation: u32,
    /// When.
    pub taken: Moment,
}

/// Whose leave a token was taken by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A lease.
    Lease,
    /// The node's own account, or an overdraft.
    Local,
    /// The store is away, and the limit is open then.
    Open,
    /// The store gave it to a request that waited.
    Store,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Spent; one token comes after about so long.
    Spent(Duration),
    /// The store is away, and the limit is closed then.
    NoStore,
}

/// What is answered where a lease has nothing left. Of all forms but sliding windows'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// The store may have more.
    Ask,
    /// It had nothing when it was last asked, and will not be asked before then.
    Spent {
        /// See there.
        until: Moment,
    },
    /// The store is away, and all are admitted.
    Open,
    /// The store is away, and none is.
    Closed,
}

// === impl Cell ===

impl Cell {
    /// The empty cell of a limit.
    #[must_use]
    pub fn new(rule: &Rule, now: Moment) -> Self {
        Self(match rule.algorithm {
            Algorithm::SlidingWindow { .. } => Form::Tokens(TokenCell::new(rule, now)),
            Algorithm::FixedWindow { .. } => Form::Spans(SpanCell::new(rule)),
            Algorithm::TokenBucket { .. } => Form::Bucket(BucketCell::new(rule)),
            Algorithm::Concurrency { .. } => Form::Permits(PermitCell::new(rule)),
        })
    }

    /// Its form, for the machine that publishes to it.
    #[must_use]
    pub fn form(&self) -> &Form {
        &self.0
    }

    /// Takes `cost` tokens or none. Never blocks; a handful of atomic operations. The flag says that whoever talks to
    /// the store should look at this key now; it is raised once until he has looked.
    pub fn take(&self, now: Moment, cost: u32) -> (Take, bool) {
        match &self.0 {
            Form::Tokens(cell) => cell.take(now, cost),
            Form::Spans(cell) => cell.take(now, cost),
            Form::Bucket(cell) => cell.take(now, cost),
            Form::Permits(cell) => cell.take(now, cost),
        }
    }

    /// As [`take`](Self::take), for a request that asked before and has waited since: it is no further demand.
    pub fn take_again(&self, now: Moment, cost: u32) -> (Take, bool) {
        match &self.0 {
            Form::Tokens(cell) => cell.take_again(now, cost),
            // These count who waits when he is told.
            Form::Spans(_) | Form::Bucket(_) | Form::Permits(_) => self.take(now, cost),
        }
    }

    /// A request asks that could not [`take`](Self::take), for its worker did not have the cell yet: it is demand all the
    /// same.
    pub fn asked(&self, now: Moment, cost: u32) {
        if let Form::Tokens(cell) = &self.0 {
            cell.demand().asked(now, cost);
        }
    }

    /// Whether a [`take`](Self::take) would succeed now. For requests that have to pass several limits: look at all, then
    /// take from all.
    #[must_use]
    pub fn peek(&self, now: Moment, cost: u32) -> Take {
        match &self.0 {
            Form::Tokens(cell) => cell.peek(now, cost),
            Form::Spans(cell) => cell.peek(now, cost),
            Form::Bucket(cell) => cell.peek(now, cost),
            Form::Permits(cell) => cell.peek(now, cost),
        }
    }

    /// Gives back what was taken and not used; of a concurrency limit, the place that was held.
    pub fn give_back(&self, now: Moment, token: Token) {
        match &self.0 {
            Form::Tokens(cell) => cell.give_back(now, token),
            Form::Spans(cell) => cell.give_back(now, token),
            Form::Bucket(cell) => cell.give_back(now, token),
            Form::Permits(cell) => cell.give_back(now, token),
        }
    }

    /// Tokens that the last grant gave to a request that waits, for giving them back should it be refused after all; places
    /// of a concurrency limit, which are in use as if they had been taken. None where they cannot be given back: a bucket
    /// may have been full again meanwhile, so that a token more would be too many.
    #[must_use]
    pub fn instant(&self, now: Moment, cost: u32) -> Option<Token> {
        match &self.0 {
            Form::Tokens(cell) => Some(cell.instant(now, cost)),
            Form::Spans(cell) => cell.instant(now, cost),
            Form::Bucket(_) => None,
            Form::Permits(cell) => Some(cell.instant(now, cost)),
        }
    }

    /// The key was forgotten, and nobody publishes to this cell any more: whoever still has it finds that nothing is known,
    /// whatever was the case. What the cell had must have gone back before.
    pub fn forget(&self) {
        match &self.0 {
            Form::Tokens(cell) => cell.forget(),
            Form::Spans(cell) => cell.forget(),
            Form::Bucket(cell) => cell.forget(),
            Form::Permits(cell) => cell.forget(),
        }
    }

    /// What is left as far as this node can say, and how long until the count is whole again or, where nothing is left,
    /// until the next token.
    #[must_use]
    pub fn standing(&self, now: Moment) -> (u64, Duration) {
        match &self.0 {
            Form::Tokens(cell) => cell.standing(now),
            Form::Spans(cell) => cell.standing(now),
            Form::Bucket(cell) => cell.standing(now),
            Form::Permits(cell) => cell.standing(now),
        }
    }
}
