//! Targets: pools, balancing, name resolution, the door to hyper's client connections.
//!
//! Owns: what a worker keeps of the services behind it, and the way of one request to one of them
//! and of its answer back ([`Upstreams::send`]): which target, over which connection, for how
//! long, and whether it may be sent once more. Everything of a worker lives on that worker's one
//! thread, without locks; only names ([`Resolver`]) and counts ([`Meters`]) are shared.
//!
//! Must never know: routes, gateways, policies, clients, the document. hyper's and h2's
//! connection types are named in `connection` alone.
//!
//! ```text
//!   send ─▶ group ──balance──▶ target ──▶ pool ──▶ live connection ─┐ kept
//!             │                  │ └────▶ resolve, connect ─────────┤ fresh
//!             │                  │                                  ▼
//!             │                  └◀── given back at the true end ── exchange ─▶ head
//!             └─ one request = one lease = one unit of load          └─▶ answer (body)
//! ```

#![forbid(unsafe_code)]

mod answer;
mod attempts;
mod balance;
mod body;
mod clock;
mod connection;
mod error;
mod exchange;
mod group;
mod meters;
mod multiplexed;
mod pool;
mod request;
mod resolve;
mod spec;
mod switched;
mod target;
mod timer;
mod upload;
mod upstreams;
mod worker;

pub use answer::Answer;
pub use attempts::{Attempts, Replaced};
pub use body::Body;
pub use connection::Incoming;
pub use error::{BodyError, SendError, SendErrorKind, Which};
pub use meters::{Meters, Reading};
pub use resolve::{Lookup, REFRESH, Resolver, System};
pub use spec::{Balance, HostPolicy, PoolSpec, Protocol, Scheme, Spec, TargetError, TargetSpec, Timeouts};
pub use switched::{Load, Switched};
pub use upload::Upload;
pub use upstreams::Upstreams;
pub use worker::WorkerContext;
