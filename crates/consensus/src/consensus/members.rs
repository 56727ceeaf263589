//! Who belongs to the cluster: one change at a time, on the leader.
//!
//! A new member is a learner first, and votes only when it has what the others have: a majority must
//! not come to depend on a node that is still empty. A change of voters goes through two memberships
//! at once (Raft's joint consensus); it is finished by whoever leads, should this node fall.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, ForwardReason, InitializeError, RaftError};
use sluice_peer::NodeId;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Consensus, Inner};
use crate::error::MemberError;
use crate::member::{Node, RaftView};
use crate::raft::Request;
use crate::raft::types::Types;

type Changes = ChangeMembers<u64, Node>;

// === impl Consensus ===

impl Consensus {
    /// Makes a new cluster of these members, all voters. On one node, once.
    ///
    /// # Errors
    /// [`MemberError::AlreadyInitialised`] on a node that has a vote or a log;
    /// [`MemberError::Unknown`] where this node is not among them.
    pub async fn initialise(&self, members: BTreeMap<NodeId, Node>) -> Result<(), MemberError> {
        let members: BTreeMap<u64, Node> = members.into_iter().map(|(id, node)| (id.0, node)).collect();
        match self.inner.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Err(MemberError::AlreadyInitialised),
            Err(RaftError::APIError(InitializeError::NotInMembers(_))) => Err(MemberError::Unknown(self.inner.id)),
            Err(RaftError::Fatal(_)) => Err(self.inner.ended()),
        }
    }

    /// Lets a node in as a learner, and returns when that is committed; it then catches up. On the
    /// leader. A node that is a member already is told to have these facts from now on.
    ///
    /// # Errors
    /// [`MemberError::NameTaken`] where another incarnation of the name is a member.
    pub async fn add_learner(&self, id: NodeId, node: Node) -> Result<(), MemberError> {
        self.alone(move |inner| async move {
            let view = inner.leading()?;
            let taken = view.members.iter().find(|m| m.node.name == node.name && m.id != id);
            if let Some(taken) = taken {
                return Err(MemberError::NameTaken {
                    name: node.name,
                    id: taken.id,
                });
            }
            inner.let_in(&view, id, node).await
        })
        .await
    }

    /// Makes a learner a voter once it has caught up. On the leader.
    ///
    /// # Errors
    /// [`MemberError::Behind`] after [`Timings::catch_up`](crate::Timings::catch_up).
    pub async fn promote(&self, id: NodeId) -> Result<(), MemberError> {
        self.alone(move |inner| async move {
            let view = inner.leading()?;
            let member = view.member(id).ok_or(MemberError::Unknown(id))?;
            if member.voter {
                return Ok(());
            }
            inner.catch_up(id).await?;
            inner.change(Changes::AddVoterIds(BTreeSet::from([id.0]))).await
        })
        .await
    }

    /// Makes a voter a learner. On the leader.
    ///
    /// # Errors
    /// [`MemberError::LastVoter`].
    pub async fn demote(&self, id: NodeId) -> Result<(), MemberError> {
        self.alone(move |inner| async move {
            let view = inner.leading()?;
            let member = view.member(id).ok_or(MemberError::Unknown(id))?;
            if !member.voter {
                return Ok(());
            }
            not_the_last(&view, id)?;
            inner.change(Changes::RemoveVoters(BTreeSet::from([id.0]))).await
        })
        .await
    }

    /// Removes a member, and tells it so if it answers. On the leader, which may remove itself.
    ///
    /// # Errors
    /// [`MemberError::LastVoter`].
    pub async fn remove(&self, id: NodeId) -> Result<(), MemberError> {
        self.alone(move |inner| async move {
            let view = inner.leading()?;
            let member = view.member(id).ok_or(MemberError::Unknown(id))?;
            let ids = BTreeSet::from([id.0]);
            if member.voter {
                not_the_last(&view, id)?;
            }
            if member.voter && id == inner.id {
                // In one go: as a learner it would soon lead no more.
                return inner.change_to(Changes::RemoveVoters(ids), false).await;
            }
            if member.voter {
                // In two steps, so that it still hears that it does not vote any more, and raises
                // no elections.
                inner.change(Changes::RemoveVoters(ids.clone())).await?;
            }
            inner.change(Changes::RemoveNodes(ids)).await?;
            inner.tell_removed(id, &member.node).await;
            Ok(())
        })
        .await
    }

    /// Puts a new incarnation in the place of an old one: learner first, voter (if the old one was)
    /// when caught up, and then the old one goes. On the leader. Said again, it goes on where it
    /// stopped.
    ///
    /// # Errors
    /// [`MemberError::Behind`], as by [`promote`](Self::promote).
    pub async fn replace(&self, old: NodeId, new: NodeId, node: Node) -> Result<(), MemberError> {
        self.alone(move |inner| async move {
            let view = inner.leading()?;
            let replaced = view.member(old).ok_or(MemberError::Unknown(old))?;
            let taken = view
                .members
                .iter()
                .find(|m| m.node.name == node.name && m.id != old && m.id != new);
            if let Some(taken) = taken {
                return Err(MemberError::NameTaken {
                    name: node.name,
                    id: taken.id,
                });
            }
            inner.let_in(&view, new, node).await?;
            inner.catch_up(new).await?;
            let gone = BTreeSet::from([old.0]);
            if replaced.voter {
                let both = vec![
                    Changes::AddVoterIds(BTreeSet::from([new.0])),
                    Changes::RemoveVoters(gone.clone()),
                ];
                inner.change(Changes::Batch(both)).await?;
            }
            inner.change(Changes::RemoveNodes(gone)).await?;
            inner.tell_removed(old, &replaced.node).await;
            Ok(())
        })
        .await
    }

    /// Changes what the membership says of a node: its addresses, zone, labels. On the leader.
    ///
    /// # Errors
    /// [`MemberError::Unknown`].
    pub async fn set_address(&self, id: NodeId, node: Node) -> Result<(), MemberError> {
        self.alone(move |inner| async move {
            let view = inner.leading()?;
            let member = view.member(id).ok_or(MemberError::Unknown(id))?;
            if member.node == node {
                return Ok(());
            }
            inner.change(Changes::SetNodes(BTreeMap::from([(id.0, node)]))).await
        })
        .await
    }

    /// Hands the lead over, to `to` or to the voter that has most of the log; returns when another
    /// node leads. On the leader.
    ///
    /// # Errors
    /// [`MemberError::NotAVoter`]; [`MemberError::NoMajority`] where nobody else could lead;
    /// [`MemberError::OutcomeUnknown`] after [`Timings::handover`](crate::Timings::handover).
    pub async fn transfer(&self, to: Option<NodeId>) -> Result<(), MemberError> {
        let inner = &self.inner;
        let view = inner.leading()?;
        let to = match to {
            Some(to) => to,
            None => {
                let others = view.members.iter().filter(|m| m.voter && m.id != inner.id);
                others.max_by_key(|m| m.matched).ok_or(MemberError::NoMajority)?.id
            }
        };
        if to == inner.id {
            return Ok(());
        }
        let voter = view.member(to).ok_or(MemberError::Unknown(to))?.voter;
        if !voter {
            return Err(MemberError::NotAVoter(to));
        }
        let mut views = inner.view.subscribe();
        inner
            .raft
            .trigger()
            .transfer_leader(to.0)
            .await
            .map_err(|_| inner.ended())?;
        let another = views.wait_for(|view| view.leader.is_some_and(|now| now != inner.id));
        match timeout(inner.timings.handover, another).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(MemberError::Shutdown),
            Err(_) => Err(MemberError::OutcomeUnknown),
        }
    }

    /// Runs one change of the membership, alone, and to its end although the caller may go.
    async fn alone<F, W>(&self, work: W) -> Result<(), MemberError>
    where
        W: FnOnce(Arc<Inner>) -> F + Send + 'static,
        F: Future<Output = Result<(), MemberError>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move {
            let Ok(_guard) = inner.changing.try_lock() else {
                return Err(MemberError::InProgress);
            };
            work(Arc::clone(&inner)).await
        });
        task.await.unwrap_or(Err(MemberError::OutcomeUnknown))
    }
}

// === impl Inner ===

impl Inner {
    /// The view of a leader, or who leads instead.
    fn leading(&self) -> Result<RaftView, MemberError> {
        let view = self.look();
        if view.role == crate::member::Role::Stopped {
            return Err(self.ended());
        }
        if view.is_leader() {
            return Ok(view);
        }
        Err(MemberError::NotLeader {
            leader: view.leader().map(Box::new),
        })
    }

    async fn let_in(&self, view: &RaftView, id: NodeId, node: Node) -> Result<(), MemberError> {
        let nodes = BTreeMap::from([(id.0, node)]);
        match view.member(id) {
            Some(member) if member.node == nodes[&id.0] => Ok(()),
            Some(_) => self.change(Changes::SetNodes(nodes)).await,
            None => self.change(Changes::AddNodes(nodes)).await,
        }
    }

    /// Waits until a member has all that this node has now.
    async fn catch_up(&self, id: NodeId) -> Result<(), MemberError> {
        let needs = self.look().last_log;
        let deadline = Instant::now() + self.timings.catch_up;
        let mut views = self.view.subscribe();
        loop {
            let view = views.borrow_and_update().clone();
            let has = view
                .member(id)
                .ok_or(MemberError::Unknown(id))?
                .matched
                .unwrap_or_default();
            if has >= needs {
                return Ok(());
            }
            if !view.is_leader() {
                return Err(MemberError::NotLeader {
                    leader: view.leader().map(Box::new),
                });
            }
            match timeout_at(deadline, views.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(MemberError::Shutdown),
                Err(_) => return Err(MemberError::Behind { id, has, needs }),
            }
        }
    }

    /// Voters that go become learners.
    async fn change(&self, changes: Changes) -> Result<(), MemberError> {
        self.change_to(changes, true).await
    }

    /// Others than those named stay what they are. A change that a leader before began is awaited.
    async fn change_to(&self, changes: Changes, retain: bool) -> Result<(), MemberError> {
        let deadline = Instant::now() + self.timings.write;
        let mut views = self.view.subscribe();
        loop {
            views.mark_unchanged();
            let work = self.raft.change_membership(changes.clone(), retain);
            let refused = match timeout_at(deadline, work).await {
                Err(_) => return Err(MemberError::OutcomeUnknown),
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => self.not_changed(error),
            };
            let over = timeout_at(deadline, views.changed());
            match refused {
                MemberError::InProgress if matches!(over.await, Ok(Ok(()))) => {}
                refused => return Err(refused),
            }
        }
    }

    fn not_changed(&self, error: RaftError<Types, ClientWriteError<Types>>) -> MemberError {
        let error = match error {
            RaftError::Fatal(_) => return self.ended(),
            RaftError::APIError(error) => error,
        };
        match error {
            ClientWriteError::ForwardToLeader(to) if to.reason == ForwardReason::LeaseExpired => {
                MemberError::NoMajority
            }
            ClientWriteError::ForwardToLeader(to) => MemberError::NotLeader {
                leader: super::leader_of(to),
            },
            ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
            ) => MemberError::InProgress,
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::EmptyMembership(_)) => {
                MemberError::LastVoter(self.id)
            }
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(unknown)) => {
                MemberError::Unknown(NodeId(unknown.node_id))
            }
            ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_) => MemberError::OutcomeUnknown,
        }
    }

    /// openraft leaves it to us: a removed node gets no entry that says so.
    async fn tell_removed(&self, id: NodeId, node: &Node) {
        let way = self.network.way(id, node);
        if let Err(error) = way
            .ask(&Request::Removed, self.timings.heartbeat.saturating_mul(5))
            .await
        {
            tracing::info!(member = node.name, %error, "a removed member could not be told");
        }
    }

    pub(super) fn ended(&self) -> MemberError {
        match self.writer.fault() {
            Some(fault) => MemberError::Disk(fault),
            None => MemberError::Shutdown,
        }
    }
}

fn not_the_last(view: &RaftView, id: NodeId) -> Result<(), MemberError> {
    let others = view.members.iter().any(|m| m.voter && m.id != id);
    others.then_some(()).ok_or(MemberError::LastVoter(id))
}
