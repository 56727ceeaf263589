//! What the admin API asks of limits and breakers.

use super::{BreakerOrder, BreakerOrdered, BreakersView, LimitKeyView, LimitsView, ResetView};
use crate::control::Control;
use crate::refusal::Refusal;

// === impl Control ===

impl Control {
    /// All breakers, as all nodes act on them. Costs a call to every member, of which a silent one takes 2 s at most.
    pub async fn breakers(&self) -> BreakersView {
        super::breakers(&self.core).await
    }

    /// Sets a breaker by hand on all nodes, or lets it decide again, wherever the leader is. Who does not hold it
    /// within a second is told.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a breaker that no node has, with the names that there are; and every refusal of a write.
    pub async fn order_breaker(&self, order: BreakerOrder) -> Result<BreakerOrdered, Refusal> {
        super::order(&self.core, order).await
    }

    /// All limits, and so many of the keys that all nodes refused most of late; 0: not asked for. Costs as [`breakers`](Self::breakers).
    pub async fn limits(&self, top: usize) -> LimitsView {
        super::limits(&self.core, top).await
    }

    /// How the limits of a name stand for a value of their key. The store is asked once by each node.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a limit that no node knows, with the names that there are.
    pub async fn limit(&self, name: &str, key: &str) -> Result<LimitKeyView, Refusal> {
        super::limit(&self.core, name, key).await
    }

    /// Forgets, on all nodes, what was spent under the limits of a name for a value of their key.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] as above, [`Refusal::StoreAway`] where no node reaches the store.
    pub async fn reset_limit(&self, name: &str, key: &str) -> Result<ResetView, Refusal> {
        super::reset(&self.core, name, key).await
    }
}
