//! Nodes of one process over real links and real disks: how they change their configuration and who belongs to them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod changes;
mod events;
mod leaving;
mod limits;
mod membership;
mod overrides;
mod trials;
mod world;
