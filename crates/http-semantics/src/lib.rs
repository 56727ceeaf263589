//! The rules of HTTP on single messages: what a path, a host, a query and a hop are, which fields belong to whom, and
//! how a refusal is told.
//!
//! ```text
//!   request  ──►  host::Host        whom it is for
//!                 framing           whose framing is not plain goes no further
//!                 http2             what that protocol writes otherwise is made alike
//!                 path::Path        one normalised path, for match and upstream alike
//!                 hop               fields that end at this hop go
//!                 max_forwards      how far a TRACE or OPTIONS may still go
//!                 upgrade           which other protocol it offers to speak
//!                 forwarded         who is behind it, by whom we trust; our own fields are written
//!   answer   ──►  rate_limit        how the limits of its route stand
//!   pattern  ──►  what a route's `path` says
//!   problem  ──►  the codes of our own answers and their JSON
//! ```
//!
//! Owns nothing that lives longer than a message. It must never know a socket, a clock, a source of randomness, a
//! configuration, or which crate carries the message: it takes text, header maps and addresses, and gives values back.

#![forbid(unsafe_code)]

pub mod forwarded;
pub mod framing;
pub mod grpc;
pub mod hop;
pub mod host;
pub mod http2;
pub mod max_forwards;
pub mod path;
pub mod pattern;
pub mod percent;
pub mod problem;
pub mod query;
pub mod rate_limit;
pub mod request_id;
pub mod reserved;
pub mod upgrade;
