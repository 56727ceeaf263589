//! Limits and breakers of the whole cluster, as people see them and act on them through any node.
//!
//! ```text
//!   order ──▶ leader ──▶ record of the log ──▶ every node: enforce ▸ Breakers::force      (overrides, until their time is over)
//!   question ──▶ this node, and over the link every other ──▶ gather ▸ merge ──▶ one answer of the cluster
//! ```
//!
//! What an operator says of a breaker is in the log, so that it holds on all nodes, over restarts and changes of the
//! leader; that its time is over each node sees by itself, also without a majority. What is asked is asked of every
//! member at the moment: what they know of each other's limits and breakers would be as old as what they last heard.
//!
//! Pure: `overrides`, `breakers`, `limits`. Around them are shells that ask, write and wait.

mod ask;
mod breakers;
mod enforce;
mod gather;
mod limits;
mod order;
mod overrides;
mod view;

pub(crate) use breakers::report;
pub(crate) use enforce::{Enforced, enforce};
pub(crate) use gather::{Asked, answer};
pub use order::{BreakerAct, BreakerOrder, LONGEST_OVERRIDE, SHORTEST_OVERRIDE};
pub(crate) use order::{lead, order};
pub(crate) use overrides::Stored;
pub use view::{
    BreakerNodeView, BreakerOrdered, BreakerView, BreakersView, CauseView, CountsView, DecisionsView, LimitKeyView,
    LimitNodeView, LimitSeenView, LimitsView, NodeCountsView, OverrideView, RefusalsView, ResetView, RuleView, Silent,
    StandingView, TokensOutView,
};

use crate::core::Shared;
use crate::refusal::Refusal;

/// All breakers, as all nodes act on them.
pub(crate) async fn breakers(core: &Shared) -> BreakersView {
    let (reports, silent) = gather::breakers(core, None).await;
    breakers::merged(&core.node.name, &reports, &core.enforced.overrides(), silent)
}

/// All limits that any node knows, what was decided by them, and with `top` the keys refused most.
pub(crate) async fn limits(core: &Shared, top: usize) -> LimitsView {
    let (reports, silent) = gather::limits(core, top).await;
    limits::merged(&reports, top, silent)
}

/// How the limits of this name stand for a value of their key.
///
/// # Errors
/// [`Refusal::NotFound`] where no node knows such a limit.
pub(crate) async fn limit(core: &Shared, name: &str, key: &str) -> Result<LimitKeyView, Refusal> {
    let (reports, silent) = gather::limit(core, name, key).await;
    match limits::standing(&core.node.name, name, key, &reports, silent) {
        Some(view) => Ok(view),
        None => Err(limits::unknown(name, &gather::limits(core, 0).await.0)),
    }
}

/// Forgets what was spent under the limits of this name for a value of their key, on all nodes.
///
/// # Errors
/// [`Refusal::NotFound`] where no node knows such a limit, [`Refusal::StoreAway`] where none could reset it.
pub(crate) async fn reset(core: &Shared, name: &str, key: &str) -> Result<ResetView, Refusal> {
    match gather::reset(core, name, key).await {
        Ok(reset) => Ok(reset),
        Err(Refusal::NotFound { .. }) => Err(limits::unknown(name, &gather::limits(core, 0).await.0)),
        Err(refusal) => Err(refusal),
    }
}
