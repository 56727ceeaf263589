//! The cluster as this node sees it.

use crate::core::Core;
use crate::status;
use crate::trial;
use crate::view::{ClusterView, NodeView, Role};
use sluice_consensus::{Head, Member};
use std::time::{Duration, Instant};

/// A leader that no majority acknowledged for this long is none.
const MAJORITY: Duration = Duration::from_secs(2);

/// Made from the membership, from what was heard, and from what this node knows of itself.
pub(crate) fn view(core: &Core) -> ClusterView {
    let raft = core.consensus.raft();
    let head = core.consensus.head();
    let situation = core.situation.borrow().clone();
    let mut nodes: Vec<NodeView> = raft.members.iter().map(|member| node(core, &head, member)).collect();
    nodes.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let leads = raft.has_majority(Instant::now(), MAJORITY);
    ClusterView {
        name: core.cluster.clone(),
        id: situation.cluster_id.map(|id| format!("{id:032x}")),
        term: raft.term,
        leader: raft.leader().filter(|_| leads).map(|leader| leader.node.name),
        version: head.version,
        active: head.active,
        trial: trial::open(core, &head),
        level: head.level,
        answered_by: core.node.name.clone(),
        forming: situation.waiting_for.filter(|_| situation.cluster_id.is_none()),
        nodes,
    }
}

fn node(core: &Core, head: &Head, member: &Member) -> NodeView {
    let mut view = NodeView {
        name: member.node.name.clone(),
        id: member.id.to_string(),
        role: if member.voter { Role::Voter } else { Role::Learner },
        peer: member.node.peer.clone(),
        admin: member.node.admin.clone(),
        zone: member.node.zone.clone(),
        binary: None,
        level: None,
        committed: None,
        wanted: head.live_on(&member.node.name),
        live: None,
        why_not_live: None,
        reachable: false,
        draining: false,
        shared_store: None,
    };
    if member.id == core.id {
        let situation = core.situation.borrow();
        view.binary = Some(core.binary.clone());
        view.level = Some(core.level);
        view.committed = Some(head.version);
        view.live = Some(core.published.live().version);
        view.why_not_live = situation.not_live.as_ref().map(|(why, _)| why.clone());
        view.reachable = true;
        view.draining = situation.draining;
        view.shared_store = status::reaches_store(&core.shared.state().borrow());
    } else if let Some(heard) = core.heard(member.id) {
        view.binary = Some(heard.identity.binary.clone());
        view.level = Some(heard.status.level);
        view.committed = Some(heard.status.committed);
        view.live = Some(heard.status.live);
        view.why_not_live = heard.status.why_not_live;
        view.reachable = true;
        view.draining = heard.status.draining;
        view.shared_store = heard.status.shared_store;
    }
    view
}
