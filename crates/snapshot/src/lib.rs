//! The compiled configuration: router, routes with their policies, upstreams; whole, or errors.
//!
//! Owns: the form in which a version of the configuration is served ([`Snapshot`], [`Gateway`], [`Route`]), the way from
//! changed parts to the next snapshot, the choice of a route for a request,
//! and the hand-over of snapshots to the workers ([`Published`], [`Front`]).
//!
//! Must never know: connections, bodies, how an answer is written, Raft, the admin API, files.
//!
//! ```text
//!   changed parts ─▶ compile_changes(previous) ─▶ Snapshot ─▶ Published ──┬─▶ Front of worker 0 ─▶ gateway ─▶ route
//!                        │ shares what did not change                     ├─▶ Front of worker 1
//!                        └─▶ or every fault, with its part                └─▶ live: what all have taken
//! ```
//!
//! A snapshot never changes. The next one shares with it all that is equal: upstreams, gateways, and the nodes of the
//! routing tree that no changed route touches.

#![forbid(unsafe_code)]

mod access_log;
mod budget;
mod compile;
mod conditions;
mod error;
mod fallback;
mod gateway;
mod hosts;
mod label;
mod matcher;
mod methods;
mod persistent;
mod published;
mod retire;
mod route;
mod router;
mod snapshot;

pub use access_log::AccessLog;
pub use budget::CompileBudget;
pub use compile::{Change, NodeContext, compile_changes};
pub use error::{CompileError, Fault, OverBudget};
pub use fallback::Fallback;
pub use gateway::{Answer, Gateway, Lookup, Params};
pub use label::Label;
pub use methods::{Allow, Methods};
pub use published::{Front, Live, Published, Serial};
pub use route::{Action, Destination, Route, Split};
pub use snapshot::{Snapshot, Stale};
