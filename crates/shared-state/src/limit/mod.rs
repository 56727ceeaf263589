//! What a node does with a limit: the cell that its workers take tokens from, and the machine that talks to the store.
//!
//! [`Cell`] is shared by all workers of the node and taken from without a lock. [`KeyNode`] belongs to one task, which
//! asks it when a call is due, sends the call, and tells it the reply or that none came; it publishes what may be taken
//! to the cell, and harvests from it what was.

mod alone;
mod bucket;
pub mod cell;
mod demand;
mod node;
mod permits;
mod sliding;
#[cfg(test)]
pub(crate) use sliding::UNTOLD;
mod talk;
mod window;

pub use alone::share;
pub use cell::{Cell, Refusal, Source, Take, Token};
pub use node::{KeyNode, Step, View, Waiters};
