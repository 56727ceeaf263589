//! Nodes over real sockets: those that belong together, and others.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod hostile;
mod nodes;
mod talking;
