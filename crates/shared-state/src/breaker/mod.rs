//! Breakers of the whole cluster: evidence of attempts in, one decision for all nodes out.

mod cell;
mod rule;

pub use cell::{Admission, BreakerCell, Evidence, Verdict};
pub use rule::{BreakerKey, BreakerRule, Failure, Failures};
