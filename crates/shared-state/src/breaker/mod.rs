//! Breakers of the whole cluster: evidence of attempts in, one decision for all nodes out.
//!
//! ```text
//!   worker ──admit, record──▶ BreakerCell ◀──publish, harvest── Desk ──Call──▶ BreakerLedger (in memory, or the same
//!                                                                ▲────Reply────┘  │           as a script of Redis)
//!                                                                └──────Told──────┘ to all nodes
//! ```
//!
//! Workers ask a [`BreakerCell`] before an attempt and tell it how the attempt ended. The node's [`Desk`] collects that
//! and tells the store, where a [`BreakerLedger`] puts the evidence of all nodes together and decides.

mod broken;
mod cell;
mod decide;
mod desk;
mod evidence;
mod ledger;
mod node;
mod probes;
mod rule;
mod shards;
#[cfg(test)]
mod sim;
mod state;
mod wire;

pub use cell::{Admission, BreakerCell, Evidence, Verdict};
pub use desk::{Desk, Step, TICK};
pub use ledger::{BreakerLedger, numbered_together};
pub use node::{Change, Seen};
pub use rule::{BreakerKey, BreakerRule, Failure, Failures};
pub use state::{Cause, Counts, Criterion, Kind, State};
pub use wire::{Answer, Ask, Call, Caller, Hex, Numbers, Opinion, Phase, Reply, Report, Told, Unreadable};
