//! What a node's `/metrics` tells, as figures that can be subtracted and added.

mod exposition;
mod histogram;
mod node;

pub(crate) use histogram::Histogram;
pub(crate) use node::{Answers, Figures, Upstream};
