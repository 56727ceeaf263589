//! What workers may take from a moment on, as whoever talks to the store says it.

use crate::limit::cell::Source;
use crate::time::Moment;
use std::time::Duration;

/// What may be taken. Immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Given by [`TokenCell::end`](super::TokenCell::end); set by whoever publishes.
    pub generation: u32,
    /// By whose leave.
    pub source: Source,
    /// From when on so many may have been taken in all of this generation; both grow.
    pub pieces: Vec<Piece>,
    /// Nothing is taken then or later.
    pub ends: Moment,
    /// What becomes of a request for which there is nothing.
    pub otherwise: Otherwise,
    /// What the request wanted by which it is known to be spent. Whoever wants less may have it, and asks.
    pub unit: u32,
    /// When to expect the next token beyond the plan.
    pub next: Moment,
    /// Nudge when no more than so many are left of what may be taken now, and nothing comes. None: there is no more.
    pub low: Option<u64>,
    /// Nudge when requests ask for more than this, in tokens a second…
    pub rising: f64,
    /// … but not before.
    pub rising_from: Moment,
    /// What others have left, as far as this node may count on it.
    pub elsewhere: u64,
    /// The limit, and how long until it is whole again.
    pub whole: (u64, Duration),
    /// How long after a spend its token comes back, at the latest.
    pub comes_back: Duration,
}

/// From when on how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// From when on.
    pub from: Moment,
    /// How many in all, with those before.
    pub total: u64,
}

/// What becomes of a request for which there is no token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Otherwise {
    /// Known to be spent until a moment; after it the store is asked.
    Ask {
        /// Refused until then.
        spent_until: Moment,
        /// After it, it may be overdrawn until so many in all ([`TokenCell::beyond`](super::TokenCell::beyond)).
        overdraft: u64,
        /// The request waits for the store's word. Otherwise it is refused, and only later ones gain by it.
        waits: bool,
    },
    /// The store is away, and the limit closed.
    Closed,
    /// The store is away, and the limit open.
    Open,
}

// === impl Plan ===

impl Plan {
    /// Nothing is known: the store is asked.
    #[must_use]
    pub fn unknown(limit: u64, window: Duration) -> Self {
        Self {
            generation: 0,
            source: Source::Lease,
            pieces: Vec::new(),
            ends: Moment(u64::MAX),
            unit: 1,
            otherwise: Otherwise::Ask {
                spent_until: Moment(0),
                overdraft: 0,
                waits: true,
            },
            next: Moment(0),
            low: None,
            rising: f64::INFINITY,
            rising_from: Moment(0),
            elsewhere: 0,
            whole: (limit, window),
            comes_back: window,
        }
    }

    /// How many may have been taken by now.
    #[must_use]
    pub fn there(&self, now: Moment) -> u64 {
        if now >= self.ends {
            return 0;
        }
        match self.pieces.partition_point(|piece| piece.from <= now) {
            0 => 0,
            past => self.pieces[past - 1].total,
        }
    }

    /// The first piece that is not there yet, and will be.
    #[must_use]
    pub fn after(&self, now: Moment) -> Option<&Piece> {
        self.pieces
            .get(self.pieces.partition_point(|piece| piece.from <= now))
            .filter(|piece| piece.from < self.ends)
    }

    /// How many may be taken in all.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.total)
    }

    pub(super) fn is_rising(&self, now: Moment, rate: Option<f64>) -> bool {
        rate.is_some_and(|rate| rate > self.rising) && now >= self.rising_from
    }
}
