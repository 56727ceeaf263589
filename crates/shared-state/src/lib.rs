//! Limits, leases and breakers of the whole cluster: the protocols, and the cells that workers read.
//!
//! Owns: what a limit and a breaker are ([`Rule`], [`BreakerRule`]), under which key they are counted ([`KeyId`]); what
//! the store does with a call ([`ledger`]), what a node does with the reply ([`limit`]), how evidence of failures
//! becomes a decision ([`breaker`]); and the cells by which a node's workers take tokens and ask breakers without a
//! lock.
//!
//! Must never know: sockets, clocks, threads, Redis, the document, requests. Time and events are arguments, effects are
//! return values, so that all of it runs in simulated time exactly as it runs in a node.
//!
//! ```text
//!   worker ──take──▶ Cell ◀──plan, harvest── KeyNode ──Request──▶ Ledger (in memory, or the same as a script of Redis)
//!                                               ▲──────Reply──────┘
//! ```

#![forbid(unsafe_code)]

pub mod breaker;
pub mod guard;
pub mod ledger;
pub mod limit;

mod broken;
mod key;
mod rule;
#[cfg(test)]
mod sim;
mod time;

pub use breaker::{BreakerKey, BreakerRule};
pub use key::{KeyId, RuleId, Salt};
pub use rule::{Algorithm, Calendar, Mode, Offsets, OnFailure, Rule, Scope};
pub use time::{Moment, StoreTime};
