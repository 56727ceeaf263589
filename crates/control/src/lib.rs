//! A change's way through the cluster, and the cluster's own life.
//!
//! Owns: what is asked of the configuration and whether it may be (`change`); what becomes of a version
//! that is tried first (`trial`); which version this
//! node serves by, and that no version can keep it down (`follow`, `boot_guard`); how nodes form a
//! cluster, enter it and leave it (`membership`); who may operate it (`tokens`); what is said of breakers
//! by hand, and what all nodes know of limits and breakers (`shared`); what is told of all that: status,
//! readiness, views, events.
//!
//! Must never know: HTTP, routes, requests, how a log is kept, how bytes cross the link.
//!
//! ```text
//!   any node ──▶ leader: turn ▸ plan ▸ check ▸ rehearse on every healthy node ▸ propose
//!                                                        │                        │ a majority has it on disk
//!                             rehearse: compile, keep ◀──┘                        ▼
//!                                        │                          every node: follow
//!                                        └──────────────────────────▶ publish ▸ workers swap ▸ live ▸ told to all
//! ```
//!
//! Pure and tested by value: `boot_guard`, `census`, `readiness`, `trial::deadline`, `events::picture`,
//! `membership::forming`, `membership::admission`, `change::plan`, `digest`, `shared::{overrides, breakers, limits}`.
//! Around them are shells that ask, write and wait.

#![forbid(unsafe_code)]

mod boot_guard;
mod census;
mod change;
mod compile;
mod control;
mod core;
mod digest;
mod events;
#[cfg(feature = "fault-points")]
mod fault_points;
mod figures;
mod follow;
mod history;
mod leader;
mod levels;
mod members;
mod membership;
mod readiness;
mod refusal;
mod rehearsals;
mod rfc3339;
mod service;
mod shared;
mod status;
mod tokens;
mod trial;
mod view;
mod wall_clock;
mod wire;

pub use boot_guard::{BootRecord, CRASHES, End, KILLS, PROVEN_AFTER};
pub use change::{
    Actor, ChangeReply, ChangeRequest, Freshness, PartReading, Pending, Reading, Target, TrialRequest, Wait,
};
pub use control::{Config, Control, StartError};
pub use events::{Event, Hears, Listener};
pub use refusal::Refusal;
pub use rehearsals::{Rehearsals, Rehearsing};
pub use shared::{
    BreakerAct, BreakerNodeView, BreakerOrder, BreakerOrdered, BreakerView, BreakersView, CauseView, CountsView,
    DecisionsView, LONGEST_OVERRIDE, LimitKeyView, LimitNodeView, LimitSeenView, LimitsView, NodeCountsView,
    OverrideView, RefusalsView, ResetView, RuleView, SHORTEST_OVERRIDE, Silent, StandingView, TokensOutView,
};
pub use trial::{LONGEST_TRIAL, SHORTEST_TRIAL, TrialOp, TrialOrder};
pub use view::{
    ClusterView, Degraded, MemberOp, NodeView, OpenTrial, PastTrial, ReadyView, Role, TokenRole, TokenView,
    TrialOutcome, TrialStepView, VersionView,
};
