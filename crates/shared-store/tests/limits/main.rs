//! Limits of several nodes in one process, over a store in memory, and over a Redis of the test's own.
//!
//! Where tokio's time stands still, no wait is given up because the machine had something else to do.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod cluster;
mod offered;
mod others;
mod people;
mod redis;
mod server;
mod several;
mod shared;
