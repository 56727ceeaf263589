//! The books of a fixed window.

use super::Reply as Answer;
use super::epoch::At;
use crate::rule::Rule;
use std::time::Duration;

/// What is said of a fixed window.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Call {}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Reply {}

/// What is kept.
#[derive(Debug, Default)]
pub struct Count {}

/// The numbers of the limit, as the script gets them.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Numbers {}

// === impl Call ===

impl Call {
    /// Whether it tells all that the node knows.
    #[must_use]
    pub fn declares(&self) -> bool {
        false
    }
}

// === impl Numbers ===

impl Numbers {
    /// Of a limit.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        let _ = rule;
        Self {}
    }
}

/// How long a count is kept after a call.
#[must_use]
pub fn keep(rule: &Rule) -> Duration {
    let _ = rule;
    Duration::ZERO
}

/// One call.
pub fn serve(count: &mut Count, at: &At<'_>, rule: &Rule, call: &Call) -> Answer {
    let _ = (count, at, rule, call);
    Answer::Stale
}
