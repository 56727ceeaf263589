//! Names, metrics, logs: how a node is seen from outside.
//!
//! Owns: the name, kind, labels and help of every metric ([`names`]); the registry of one node
//! ([`Metrics`]); cells that one thread writes and a scrape reads ([`cells`]); the facts of the
//! process, and what it may use at most ([`process`]); the form of log lines, and their way out,
//! which nobody waits for ([`log`]).
//!
//! Must never know: what a request, a document or a cluster is. Whoever counts registers here and
//! keeps its own cells. Nothing here is global: each node of a process holds a [`Metrics`] of its
//! own; only `main` makes a log subscriber the process's.
//!
//! ```text
//!   worker ──writes──▶ cells ◀──reads── collector ◀──scrape── Metrics::encode ◀── /metrics
//! ```

#![forbid(unsafe_code)]

pub mod cells;
pub mod log;
mod metrics;
pub mod names;
pub mod process;

pub use metrics::Metrics;
pub use prometheus_client;
