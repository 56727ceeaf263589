//! What Raft is doing: followed, shown, and helped along.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, Weak};
use std::time::Instant;

use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{ChangeMembers, RaftMetrics, ServerState};
use sluice_peer::NodeId;
use sluice_telemetry::prometheus_client::metrics::counter::Counter;
use sluice_telemetry::prometheus_client::metrics::gauge::Gauge;
use sluice_telemetry::prometheus_client::metrics::histogram::Histogram;
use sluice_telemetry::{Metrics, names};

use super::Inner;
use crate::member::{Member, RaftView, Role};
use crate::raft::types::Types;

/// What a scrape sees of Raft.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters {
    term: Gauge<u64, AtomicU64>,
    is_leader: Gauge<u64, AtomicU64>,
    last_log: Gauge<u64, AtomicU64>,
    applied: Gauge<u64, AtomicU64>,
    leader_changes: Counter,
}

/// Follows openraft's own view until Raft ends here.
pub(super) async fn follow(
    inner: Weak<Inner>,
    mut changes: WatchReceiverOf<Types, RaftMetrics<Types>>,
    meters: Meters,
) {
    let mut leader = None;
    loop {
        {
            let Some(inner) = inner.upgrade() else { return };
            let view = inner.look();
            meters.show(&view);
            if let Some(now) = view.leader.filter(|now| leader != Some(*now)) {
                if leader.replace(now).is_some() {
                    meters.leader_changes.inc();
                }
                tracing::info!(term = view.term, leader = %inner.called(&view, now), "the cluster has a leader");
            }
            if view.role == Role::Stopped {
                return;
            }
            inner.help(&view).await;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// openraft's instants hide what they are made of.
fn ago(at: &impl openraft::Instant) -> Option<Instant> {
    Instant::now().checked_sub(at.elapsed())
}

// === impl Meters ===

impl Meters {
    pub(super) fn register(metrics: &Metrics, fsync: Histogram) -> Self {
        let meters = Self::default();
        metrics.register(|registry| {
            let mut gauge = |name: names::Name, gauge: &Gauge<u64, AtomicU64>| {
                registry.register(name.stem(), name.help, gauge.clone());
            };
            gauge(names::RAFT_TERM, &meters.term);
            gauge(names::RAFT_IS_LEADER, &meters.is_leader);
            gauge(names::RAFT_LAST_LOG_INDEX, &meters.last_log);
            gauge(names::RAFT_APPLIED_INDEX, &meters.applied);
            let name = names::RAFT_LEADER_CHANGES;
            registry.register(name.stem(), name.help, meters.leader_changes.clone());
            let name = names::RAFT_FSYNC;
            registry.register(name.stem(), name.help, fsync);
        });
        meters
    }

    fn show(&self, view: &RaftView) {
        self.term.set(view.term);
        self.is_leader.set(u64::from(view.is_leader()));
        self.last_log.set(view.last_log);
        self.applied.set(view.applied);
    }
}

// === impl Inner ===

impl Inner {
    /// Takes a new look at Raft, and shows it to whoever follows. That a majority acknowledged
    /// once more is kept, but is no news.
    pub(super) fn look(&self) -> RaftView {
        let mut view = None;
        self.view.send_if_modified(|shown| {
            // Under the lock of what is shown, so that a look taken earlier never covers a later
            // one. A clone at once: holding the borrowed value would hold up Raft.
            let metrics = self.raft.metrics().borrow_watched().clone();
            let seen = self.view_of(&metrics);
            let same = RaftView {
                quorum_acked: shown.quorum_acked,
                ..seen.clone()
            } == *shown;
            shown.clone_from(&seen);
            view = Some(seen);
            !same
        });
        view.unwrap_or_default()
    }

    fn view_of(&self, metrics: &RaftMetrics<Types>) -> RaftView {
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let matched = |id: &u64| {
            let of_self = (*id == self.id.0).then_some(metrics.last_log_index).flatten();
            let replication = metrics.replication.as_ref()?;
            of_self.or_else(|| replication.get(id)?.as_ref().map(|l| l.index))
        };
        let members = membership.nodes().map(|(id, node)| Member {
            id: NodeId(*id),
            node: node.clone(),
            voter: voters.contains(id),
            matched: matched(id),
        });
        let fault = match (&metrics.running_state, self.writer.fault()) {
            (_, Some(fault)) => Some(fault.to_string()),
            (Err(openraft::error::Fatal::Stopped), None) | (Ok(()), None) => None,
            (Err(fatal), None) => Some(fatal.to_string()),
        };
        let stopped = fault.is_some() || metrics.running_state.is_err();
        let role = match metrics.state {
            _ if stopped => Role::Stopped,
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        };
        RaftView {
            id: self.id,
            term: metrics.current_term,
            leader: metrics.current_leader.filter(|_| !stopped).map(NodeId),
            role,
            members: members.collect(),
            joint: membership.get_joint_config().len() > 1,
            members_committed: metrics.membership_config == metrics.committed_membership_config,
            removed: self.removed.load(Ordering::Acquire),
            last_log: metrics.last_log_index.unwrap_or_default(),
            committed: metrics.local_committed.map_or(0, |l| l.index),
            applied: metrics.last_applied.map_or(0, |l| l.index),
            snapshot: metrics.snapshot.map_or(0, |l| l.index),
            purged: metrics.purged.map_or(0, |l| l.index),
            quorum_acked: metrics.last_quorum_acked.as_deref().and_then(ago),
            leader_heard: None,
            fault,
        }
    }

    /// Notes that the leader was heard.
    pub(super) fn heard_leader(&self) {
        let now = Some(Instant::now());
        *self.leader_heard.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Finishes what a leader before left half done, and keeps the log short.
    async fn help(self: &std::sync::Arc<Self>, view: &RaftView) {
        if view.is_leader() && view.joint && view.members_committed {
            let inner = std::sync::Arc::clone(self);
            tokio::spawn(async move {
                // Whoever changes the membership here will finish it himself.
                let Ok(_guard) = inner.changing.try_lock() else { return };
                let nothing = ChangeMembers::AddVoterIds(Default::default());
                if let Err(error) = inner.raft.change_membership(nothing, true).await {
                    tracing::warn!(%error, "a change of voters that was left half done is not finished yet");
                }
            });
        }
        if self.mirror.read().bytes() > self.timings.compaction.bytes {
            let trigger = self.raft.trigger();
            let _ = if view.snapshot < view.applied {
                trigger.snapshot().await
            } else {
                trigger.purge_log(view.snapshot).await
            };
        }
    }

    /// A member's name, for the log.
    fn called(&self, view: &RaftView, id: NodeId) -> String {
        view.member(id)
            .map_or_else(|| id.to_string(), |member| member.node.name.clone())
    }
}
