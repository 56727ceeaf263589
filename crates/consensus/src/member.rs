//! The members of a cluster, as Raft knows them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_peer::{NodeId, Peer};

/// What the membership says of a node. It changes only by an entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The name by which people know it. One incarnation of a name is a member at a time, save for
    /// the moment of a replacement.
    pub name: String,
    /// Where its link is reached: `host:port`.
    pub peer: String,
    /// Where its admin API is reached: `host:port`.
    pub admin: String,
    /// Where it stands.
    pub zone: Option<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
}

/// A member as seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its incarnation.
    pub id: NodeId,
    /// What the membership says of it.
    pub node: Node,
    /// Whether it votes.
    pub voter: bool,
    /// The last entry that it is known to have on disk; told on the leader alone.
    pub matched: Option<u64>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its incarnation.
    pub id: NodeId,
    /// What the membership says of it.
    pub node: Node,
}

/// A node's part in Raft at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Receives the log, does not vote; also a node that is no member yet, or no more.
    #[default]
    Learner,
    /// Votes and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads, or believes so: see [`RaftView::has_majority`].
    Leader,
    /// Raft has ended here, by a shutdown or a disk that failed.
    Stopped,
}

/// Raft as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftView {
    /// This node.
    pub id: NodeId,
    /// The term.
    pub term: u64,
    /// Who leads, as far as is known.
    pub leader: Option<NodeId>,
    /// What this node does.
    pub role: Role,
    /// All members, by id.
    pub members: Vec<Member>,
    /// Whether two memberships are in force at once: a change of voters is under way.
    pub joint: bool,
    /// Whether the membership shown is committed.
    pub members_committed: bool,
    /// Whether this node was told that it is no member any more.
    pub removed: bool,
    /// The index of the last entry of this node's log.
    pub last_log: u64,
    /// The last entry known to be committed.
    pub committed: u64,
    /// The last entry applied here.
    pub applied: u64,
    /// The last entry that a stored or received Raft snapshot holds.
    pub snapshot: u64,
    /// The last entry dropped from the log.
    pub purged: u64,
    /// On the leader: when the newest message was sent that a majority has acknowledged.
    pub quorum_acked: Option<Instant>,
    /// On a follower: when the leader was last heard.
    pub leader_heard: Option<Instant>,
    /// Why Raft has ended here, if it has.
    pub fault: Option<String>,
}

// === impl Node ===

impl Node {
    /// How it is called, if it is still the one that the membership means.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Peer {
        Peer {
            id: Some(id),
            address: self.peer.clone(),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.peer)
    }
}

// === impl RaftView ===

impl RaftView {
    /// The member of this id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|m| m.id == id)
    }

    /// The newest member of this name: of two, during a replacement, the learner.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Member> {
        let of_name = || self.members.iter().filter(|m| m.node.name == name);
        of_name().find(|m| !m.voter).or_else(|| of_name().next())
    }

    /// Who leads, with its addresses.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        let member = self.member(self.leader?)?;
        Some(Leader {
            id: member.id,
            node: member.node.clone(),
        })
    }

    /// Whether, as far as this node can know, a majority stands behind the leader: on the leader
    /// itself a majority acknowledged it, elsewhere it was heard, not longer than `within` before
    /// `now`. A leader that was cut off goes on believing for a while; this does not. Who is the only
    /// voter, and leads, is a majority, and has nobody who would acknowledge it.
    #[must_use]
    pub fn has_majority(&self, now: Instant, within: Duration) -> bool {
        if self.is_leader() && self.votes_alone() {
            return true;
        }
        let heard = match self.role {
            Role::Leader => self.quorum_acked,
            Role::Follower | Role::Learner => self.leader_heard.filter(|_| self.leader.is_some()),
            Role::Candidate | Role::Stopped => None,
        };
        heard.is_some_and(|at| now.saturating_duration_since(at) <= within)
    }

    /// Whether this node is the only one that votes.
    #[must_use]
    pub fn votes_alone(&self) -> bool {
        let mut voters = self.members.iter().filter(|member| member.voter);
        voters.next().is_some_and(|voter| voter.id == self.id) && voters.next().is_none()
    }

    /// Whether this node leads, or believes so.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader_among(voters: &[u64], learners: &[u64]) -> RaftView {
        let member = |(id, voter): (&u64, bool)| Member {
            id: NodeId(*id),
            node: Node {
                name: format!("n{id}"),
                ..Node::default()
            },
            voter,
            matched: None,
        };
        let voters = voters.iter().zip(std::iter::repeat(true));
        RaftView {
            id: NodeId(1),
            leader: Some(NodeId(1)),
            role: Role::Leader,
            members: voters
                .chain(learners.iter().zip(std::iter::repeat(false)))
                .map(member)
                .collect(),
            ..RaftView::default()
        }
    }

    #[test]
    fn a_leader_that_votes_alone_is_a_majority_though_nobody_acknowledges_it() {
        let (now, within) = (Instant::now(), Duration::ZERO);
        assert!(leader_among(&[1], &[]).has_majority(now, within));
        assert!(leader_among(&[1], &[2, 3]).has_majority(now, within));
        assert!(!leader_among(&[1, 2], &[]).has_majority(now, within));
        assert!(
            !leader_among(&[2], &[1]).has_majority(now, within),
            "it left the voters"
        );
        let silent = RaftView {
            role: Role::Candidate,
            ..leader_among(&[1], &[])
        };
        assert!(!silent.has_majority(now, within), "it does not lead yet");
    }
}
