//! A data plane between real clients and real services, over real sockets.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod backend;
mod client;
mod exchange;
mod fields;
mod forwarding;
mod node;
