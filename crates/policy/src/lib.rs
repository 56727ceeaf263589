//! What may change or answer a request on its way: one module for each kind.
//!
//! ```text
//!   declared (sluice-document) ──► registry ──► compile, all faults at once ──► Policies of a route
//!                                                                               │
//!   request ──► route ──► limits ──► split ──► rewrite ──► query ──► headers ──► upstream ──► headers ──► answer
//!                                └──► respond, redirect ─────────────────────────────────────────►
//! ```
//!
//! A module has the compiled form of what is declared under the same name, the one function that makes it, and what it
//! does to a request. Adding a kind is a module and a line in [`registry`].
//!
//! Owns how values are encoded for the place where they go (a path, a query, a header, HTML), so that no value can
//! become more than a value there. It must never know a socket, a clock, a snapshot, or other routes; what it sees of a
//! request are the parts it changes and [`sluice_expression::Inputs`].

#![forbid(unsafe_code)]

mod concurrency;
mod fault;
pub mod headers;
pub mod limits;
pub mod query;
mod rate_limits;
pub mod redirect;
pub mod registry;
pub mod respond;
pub mod rewrite;
pub mod split;
mod values;

pub use fault::{Fault, FaultKind};
pub use limits::{Limit, Limits};
pub use redirect::Redirect;
pub use registry::{Context, Policies, limits_of_gateway, scope_of};
pub use respond::Respond;
pub use rewrite::Rewrite;
pub use split::Split;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// An answer that the gateway makes without any upstream.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, with `Content-Length` where it may have a body.
    pub headers: HeaderMap,
    /// Empty for HEAD.
    pub body: Bytes,
}
