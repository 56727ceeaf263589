//! The IO type under every connection, and the sockets that listeners stand on.
//!
//! Owns: what every byte stream of Sluice does alike, whoever speaks on it: bytes are counted, a
//! peer that does not take what is written to it is given up, a close leaves the peer the time to
//! read the last answer ([`Io`]); what a balancer says of a connection before the client speaks
//! ([`announced`], [`proxy_protocol`]); and how a port is taken so that the kernel spreads
//! connections over the workers and a second process on the same port is told ([`listen`]).
//!
//! Must never know: HTTP, hyper, routes, targets, configuration. [`Io`] is generic over the stream
//! below it, so that TLS can stand between it and the socket.

#![forbid(unsafe_code)]

mod announced;
mod io;
mod linger;
mod listen;
mod peek;
pub mod proxy_protocol;
mod stall;

pub use announced::{NotAnnounced, announced};
pub use io::{Handle, Io, Limits};
pub use listen::{BACKLOG, ListenError, listen};
pub use peek::{Peeked, peek};
