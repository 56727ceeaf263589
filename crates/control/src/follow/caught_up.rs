//! When a start is over: this node has seen, and serves by, what the leader had committed.

use crate::core::{Shared, lock};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between two questions to a leader that could not answer.
const AGAIN: Duration = Duration::from_millis(100);

/// How long applying what the leader has may take before it is asked anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends when this node has caught up.
pub(crate) async fn catch_up(core: Shared) {
    let mut situation = core.situation.subscribe();
    if situation
        .wait_for(|situation| situation.cluster_id.is_some())
        .await
        .is_err()
    {
        return;
    }
    let mut raft = core.consensus.watch_raft();
    loop {
        if raft.wait_for(|raft| raft.leader.is_some()).await.is_err() {
            return;
        }
        if let Ok(index) = core.consensus.read_index().await
            && core.consensus.wait_applied(index, PATIENCE).await.is_ok()
        {
            break;
        }
        sleep(AGAIN).await;
    }
    // It serves by what it has applied, or it has said why it cannot.
    let wanted = core.consensus.head().live_on(&core.node.name);
    let mut live = core.published.live_changed();
    loop {
        let at = lock(&core.following).version;
        let serves = core.published.live().version >= wanted.min(at) && at >= wanted;
        if serves || core.situation.borrow().not_live.is_some() {
            break;
        }
        tokio::select! {
            _ = live.changed() => {}
            _ = situation.changed() => {}
            // The published version may have moved without either of them.
            _ = timeout(AGAIN, std::future::pending::<()>()) => {}
        }
    }
    core.situate(|situation| situation.caught_up = true);
    tracing::info!(version = wanted, "caught up with the leader");
}
