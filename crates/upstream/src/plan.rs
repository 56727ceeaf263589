//! How a request is sent, beside where.

use crate::guard::Guard;
use crate::retry::Retry;
use crate::spec::{Spec, Timeouts};

/// How a request is sent: the route's own where it has it, else the upstream's.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// For how long.
    pub timeouts: &'a Timeouts,
    /// How often.
    pub retry: &'a Retry,
    /// Whether at all.
    pub breaker: Option<&'a Guard>,
    /// The id that the request is known by: what is told of a breaker that it tips. Empty where it has none.
    pub request_id: &'a str,
}

// === impl Plan ===

impl<'a> Plan<'a> {
    /// All of the upstream's own.
    #[must_use]
    pub fn of(spec: &'a Spec) -> Self {
        Self {
            timeouts: &spec.timeouts,
            retry: &spec.retry,
            breaker: spec.breaker.as_deref(),
            request_id: "",
        }
    }

    /// The same for the request of this id.
    #[must_use]
    pub fn for_request(self, request_id: &'a str) -> Self {
        Self { request_id, ..self }
    }

    /// The same within these time-outs.
    #[must_use]
    pub fn within(self, timeouts: &'a Timeouts) -> Self {
        Self { timeouts, ..self }
    }
}
