//! The replicated log: what the nodes of a cluster agree on, and how it survives their disks.
//!
//! Owns: the envelope that every command travels in ([`Envelope`]) and what applying one means
//! (`state`, pure); the data directory with its one file, its lock and its identity ([`Store`]);
//! Raft over the link between nodes, and membership ([`Consensus`]).
//!
//! Must never know: documents, routes, traffic. It keeps text by key and gives every accepted change
//! a number. No openraft type shows at its border.
//!
//! ```text
//!   propose ──▶ openraft ──▶ log (redb, synced) ──▶ a majority has it ──▶ state::apply
//!                  │  ▲                                                      │
//!                  ▼  │ appends, votes, Raft snapshots                       ▼ synced, then shown
//!               peer::Link ◀──────────────▶ other nodes            with_parts, watch, history
//! ```
//!
//! What is shown to readers is on this node's disk: a restart never shows less than was shown.
//! A vote and an entry are synced before they are acknowledged. A write that fails ends Raft on
//! this node until it is started again; reads go on.

#![forbid(unsafe_code)]

mod command;
mod consensus;
mod error;
mod member;
mod raft;
mod record;
mod state;
mod store;
mod timings;

pub use command::{Activation, Applied, Author, Body, Envelope, Idempotency, PartChange};
pub use consensus::Consensus;
pub use error::{
    DiskError, MemberError, PromiseError, ProposeError, Pruned, ReadError, StartError, StoreError, TooLate,
};
pub use member::{Leader, Member, Node, RaftView, Role};
pub use sluice_peer::NodeId;
pub use state::{Entry, Head, HistoryEntry, HistoryLimits, Trial, TrialAct, TrialRecord, TrialStep};
pub use store::{Boot, Damage, OpenOptions, Promise, Store};
pub use timings::{Compaction, Timings};
