//! From the parts of a document to snapshots that serve.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod allocation;
mod compile;
mod naive;
mod published;
mod resilience;
mod routing;
mod support;
