//! Breakers of the whole cluster: evidence of attempts in, one decision for all nodes out.
//!
//! Workers ask a [`BreakerCell`] before an attempt and tell it how the attempt ended.

#![allow(dead_code, reason = "the machine that harvests cells is not here yet")]

mod cell;
mod probes;
mod rule;
mod shards;
mod state;

pub use cell::{Admission, BreakerCell, Evidence, Verdict};
pub use rule::{BreakerKey, BreakerRule, Failure, Failures};
pub use state::{Cause, Counts, Criterion, Kind, State, Trace};
