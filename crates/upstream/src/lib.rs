//! Targets: pools, balancing, tries, health, name resolution, the door to hyper's client connections.
//!
//! Owns: what a worker keeps of the services behind it, and the way of one request to one of them
//! and of its answer back ([`Upstreams::send`]): whether at all ([`Guard`]), to which target, over which connection, for how
//! long, and whether it is tried again ([`Retry`]). Everything of a worker lives on that worker's one
//! thread, without locks; only names ([`Resolver`]), counts ([`Meters`]) and what the node knows of its targets
//! ([`Health`]) are shared.
//!
//! Must never know: routes, gateways, policies, clients, the document. hyper's and h2's
//! connection types are named in `connection` alone.
//!
//! ```text
//!   send ─▶ group ──try──▶ target ──▶ pool ──▶ live connection ─┐ kept
//!    ▲        │ breaker?      │ └────▶ resolve, connect ─────────┤ fresh
//!    │        │ who is well?  │                                  ▼
//!    │        │               └◀── given back at the true end ── exchange ─▶ head
//!    │        └─ one try = one lease = one unit of load           └─▶ answer (body)
//!    └── again, on another target ◀── failed, and may be repeated
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
mod guard;
mod health;
mod meters;
mod multiplexed;
mod outcome;
mod plan;
mod pool;
mod request;
mod resolve;
mod retry;
mod spec;
mod switched;
mod target;
mod timer;
mod tries;
mod upload;
mod upstreams;
mod worker;

pub use answer::Answer;
pub use attempts::{Attempts, Replaced};
pub use body::Body;
pub use connection::Incoming;
pub use error::{BodyError, SendError, SendErrorKind, Which};
pub use guard::Guard;
pub use health::{Active, Health, HealthRule, Passive, Targets};
pub use meters::{Meters, Reading};
pub use plan::Plan;
pub use resolve::{Lookup, REFRESH, Resolver, System};
pub use retry::{Retried, Retry, Skipped};
pub use spec::{Balance, HostPolicy, PoolSpec, Protocol, Scheme, Spec, TargetError, TargetSpec, Timeouts};
pub use switched::{Load, Switched};
pub use upload::Upload;
pub use upstreams::Upstreams;
pub use worker::WorkerContext;
