//! A worker's life: accept, read, route, policies in order, forward, answer.
//!
//! Owns: the ports that clients come in by ([`Bound`]), the workers and their threads
//! ([`Dataplane`]), who may connect and which worker serves whom, a request's way from its head to
//! the last byte of its answer, the tunnel behind a switch of protocols, the limits that hold before
//! a route is known ([`Edge`]), what is shed before memory or descriptors run out, answers of the
//! gateway's own, the record of each request with its line in the access log, and the end of it all
//! without a failed request.
//!
//! Must never know: the document, Raft, the admin API, how a snapshot comes to be. It meets
//! `control` only in what `snapshot` publishes. hyper's connection types are named in `front`
//! alone; all else sees `http`'s heads and the bodies of `upstream`.
//!
//! ```text
//!   worker = one thread, one runtime ─────────────────────────────────────────────────────────┐
//!   │ accept ──▶ admission ──▶ front (hyper) ──▶ way ──▶ snapshot: gateway, route             │
//!   │    │  more than its share                  │        │ refuse, respond, redirect         │
//!   │    └────────▶ another worker's inbox       │        ▼                                   │
//!   │                                            │     upstreams.send ──▶ target              │
//!   │                                            │        │ 101 ──▶ tunnel                    │
//!   │ orders: serve, close, end                  └ exchange record: begun with the head,      │
//!   │                                              finished in Drop ──▶ cells ──▶ scrape      │
//!   └─────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing that a request touches is shared with another worker, save the one number that says
//! whether a newer snapshot was published, and what is read, without a lock, of limits, breakers and targets.

#![forbid(unsafe_code)]

mod access_log;
mod admission;
mod bind;
mod crew;
mod dataplane;
mod exchange;
mod fault_points;
mod front;
mod health;
mod incoming;
mod meters;
mod outgoing;
mod overload;
mod own_answer;
mod settings;
mod tunnel;
mod way;
mod worker;

pub use bind::{BindError, Bound};
pub use dataplane::{Dataplane, StartError};
pub use settings::{Edge, Listener, MaxMemory, Settings};
