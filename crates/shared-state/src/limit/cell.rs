//! What workers take from.

use crate::time::Moment;
use std::time::Duration;

/// One count on one node.
#[derive(Debug, Default)]
pub struct Cell {}

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
    /// Of which plan of the cell.
    pub generation: u32,
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
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Spent; one token comes after about so long.
    Spent(Duration),
    /// The store is away, and the limit is closed then.
    NoStore,
}

// === impl Cell ===

impl Cell {
    /// Takes `cost` tokens or none. Never blocks; a handful of atomic operations. The flag says that whoever talks to
    /// the store should look at this key now.
    pub fn take(&self, now: Moment, cost: u32) -> (Take, bool) {
        let _ = (now, cost);
        (Take::Unknown, false)
    }

    /// Whether a [`take`](Self::take) would succeed now. For requests that have to pass several limits: look at all, then
    /// take from all.
    #[must_use]
    pub fn peek(&self, now: Moment, cost: u32) -> Take {
        let _ = (now, cost);
        Take::Unknown
    }

    /// Gives back what was taken and not used; of a concurrency limit, the place that was held.
    pub fn give_back(&self, now: Moment, token: Token) {
        let _ = (now, token);
    }

    /// What is left as far as this node can say, and how long until the count is whole again or, where nothing is left,
    /// until the next token.
    #[must_use]
    pub fn standing(&self, now: Moment) -> (u64, Duration) {
        let _ = now;
        (0, Duration::ZERO)
    }
}
