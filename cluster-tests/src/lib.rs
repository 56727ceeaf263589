//! What the scenario tests stand on: real processes, real sockets, real neighbours.
//!
//! Owns the starting and ending of processes, the addresses they get, the clusters made of them, the services behind
//! the gateway, the clients in front of it, and the faults put between them. Every test lives in a [`World`]: a
//! directory that vanishes with it and a block of loopback addresses that nobody else has, so that tests run side by
//! side and each node listens on the ports it would have in production.
//!
//! ```text
//!   Load ──▶ Balancer ──▶ Node n1 ─┐            ┌─▶ Backend (echo, or a script byte by byte)
//!            (HAProxy)    Node n2 ─┼─ Relay ─┐  │
//!                         Node n3 ─┘ (cuts)  └──┘
//! ```
//!
//! Must never know how the gateway works inside: what is tested is the binary, through its ports, its files and its
//! exit codes, so this library uses no crate of the workspace.

#![forbid(unsafe_op_in_unsafe_fn)]

pub mod address;
pub mod admin;
pub mod backend;
pub mod balancer;
pub mod between;
pub mod call;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod document;
pub mod frames;
pub mod http2;
pub mod http2_service;
pub mod load;
pub mod mangle;
pub mod nemesis;
pub mod node;
pub mod offered;
pub mod process;
pub mod program;
pub mod relay;
pub mod store;
pub mod wait;
pub mod wire;
pub mod world;

pub use admin::Admin;
pub use backend::Backend;
pub use call::{Answer, Call};
pub use cluster::Cluster;
pub use command::Command;
pub use load::Load;
pub use node::Node;
pub use wait::{eventually, within};
pub use world::World;

/// Whether the scenarios run at their full length, alone on the machine and with a release binary: then they judge rates and
/// times as well.
pub fn in_full() -> bool {
    rounds(0, 1) == 1
}

/// How often a long scenario repeats itself: `short` as a rule, `full` where `CLUSTER_TESTS=full` asks for the figures
/// that the documentation quotes.
pub fn rounds(short: usize, full: usize) -> usize {
    match std::env::var("CLUSTER_TESTS") {
        Ok(length) if length == "full" => full,
        _ => short,
    }
}
