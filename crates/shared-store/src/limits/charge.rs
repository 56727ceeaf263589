//! Tokens in hand.

use crate::clock::Clock;
use sluice_shared_state::limit::{Cell, Token};
use smallvec::SmallVec;
use std::sync::Arc;

/// Tokens that were taken for a request; given back when dropped, unless they were spent.
#[derive(Debug)]
pub(super) struct Charge {
    clock: Clock,
    cell: Arc<Cell>,
    /// None: nothing can be given back.
    token: Option<Token>,
}

/// Places of concurrency limits; given back when dropped, whoever ends the request.
#[derive(Debug, Default)]
pub struct Held(SmallVec<[Charge; 1]>);

// === impl Charge ===

impl Charge {
    pub(super) fn new(clock: Clock, cell: &Arc<Cell>, token: Option<Token>) -> Self {
        Self {
            clock,
            cell: Arc::clone(cell),
            token,
        }
    }

    pub(super) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// The request passed: there is nothing to give back any more.
    pub(super) fn spend(mut self) {
        self.token = None;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            self.cell.give_back(self.clock.now(), token);
        }
    }
}

// === impl Held ===

impl Held {
    /// How many places are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn hold(&mut self, charge: Charge) {
        self.0.push(charge);
    }
}
