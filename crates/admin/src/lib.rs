//! The admin API: HTTP for people and tools, and who may use it.
//!
//! Owns: the paths, queries, fields and bodies that docs/api.md lists (`api`); bearer tokens and
//! the Unix socket as ways in (`access`); the problem details that a refusal becomes (`problem`);
//! the sockets of the API ([`Bound`]) and the room for connections on them (`room`).
//!
//! Must never know: how a change is carried out, Raft, traffic. It asks [`Control`] and writes down
//! what that says.
//!
//! ```text
//!   TCP (bearer token) ─┐
//!                       ├─▶ access: who, which role ─▶ api::{config, cluster, limits, breakers, events, tokens, health} ─▶ Control
//!   Unix socket (owner) ┘                                              └─ Refusal ─▶ problem+json
//! ```
//!
//! No list of allowed Host names guards it against rebinding: every call that shows or changes
//! anything needs a token, which a foreign page does not have.

#![forbid(unsafe_code)]

mod access;
mod api;
mod flowing;
mod problem;
mod query;
mod room;
mod serve;

pub use serve::{BindError, Bound, Serving};

use sluice_control::Control;
use sluice_telemetry::Metrics;
use std::fmt;
use std::sync::Arc;

/// What the API is made of.
#[derive(Clone)]
pub struct Config {
    /// What it asks.
    pub control: Control,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// One more token with every right, from the settings; `None`: there is none.
    pub token: Option<Arc<[u8]>>,
    /// The node's settings with their origins, as `GET /v1/settings` shows them; no secrets.
    pub settings: serde_json::Value,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}
