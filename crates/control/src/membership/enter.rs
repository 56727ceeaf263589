//! The shell around [`admission`](super::admission): knocking, and opening.

use super::admission::{AtRecord, Candidate, Known, Verdict, decide};
use super::form::{self, Round, belong, wait_for};
use super::{GIVEN_UP, REMOVED, removed};
use crate::core::{Core, Shared, lock};
use crate::leader;
use crate::wire::{self, Admitted, FromLeader, Place, ToLeader};
use sluice_consensus::{MemberError, Node};
use sluice_peer::{Lane, NodeId, Patience, Peer, Service};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Between two rounds of a node that belongs to no cluster.
const ROUND: Duration = Duration::from_millis(200);

/// How long a knock may take: the leader may have to look who answers at an address.
const KNOCK: Duration = Duration::from_secs(5);

/// How long the one on record may take to answer.
const HELLO: Duration = Duration::from_secs(1);

/// Until this node belongs to a cluster: forms one or asks to be let in. Then, until it is in its
/// place: says that it is there.
pub(crate) async fn enter(core: Shared) {
    let mut raft = core.consensus.watch_raft();
    while core.situation.borrow().cluster_id.is_none() {
        // One of the first voters hears of its membership by Raft itself.
        let member = raft.borrow_and_update().member(core.id).is_some();
        if member && let Some(promise) = form::promised(&core) {
            match belong(&core, promise.cluster).await {
                Ok(()) => break,
                Err(why) => wait_for(&core, why),
            }
        }
        let door = match core.initial.is_empty() {
            true if core.join.is_empty() => match form::alone(&core).await {
                Ok(()) => break,
                Err(why) => {
                    wait_for(&core, why);
                    None
                }
            },
            true => None,
            false => match form::round(&core).await {
                Round::Formed => break,
                Round::Join(address) => Some(address),
                Round::Waiting => None,
            },
        };
        let doors: Vec<&str> = door
            .iter()
            .map(String::as_str)
            .chain(core.join.iter().map(String::as_str))
            .collect();
        for address in doors {
            if knock(&core, address).await != Knock::Nobody {
                break;
            }
        }
        tokio::select! {
            () = sleep(ROUND) => {}
            _ = raft.changed() => {}
        }
    }
    take_place(&core).await;
    super::place::keep(&core).await;
}

/// A node that belongs to the cluster but is no member, or takes an old place and is not in it yet, or is reached
/// elsewhere than the membership says, says so until that is mended.
async fn take_place(core: &Shared) {
    let mut raft = core.consensus.watch_raft();
    loop {
        let (in_place, rival) = {
            let raft = raft.borrow_and_update();
            let rival = raft
                .members
                .iter()
                .any(|member| member.node.name == core.node.name && member.id != core.id);
            let recorded = raft.member(core.id).map(|member| &member.node);
            (recorded == Some(&core.node), rival)
        };
        if (in_place && !rival) || core.situation.borrow().removed {
            return;
        }
        if core.consensus.raft().is_leader() {
            // Nobody else could write it down.
            let moved = core.consensus.set_address(core.id, core.node.clone()).await;
            if let Err(error) = moved {
                tracing::debug!(%error, "this node's own address is not written down yet");
            }
        }
        let known: Vec<String> = core
            .consensus
            .raft()
            .members
            .iter()
            .filter(|member| member.id != core.id && member.node.name != core.node.name)
            .map(|member| member.node.peer.clone())
            .chain(
                core.initial
                    .iter()
                    .filter(|(name, _)| *name != core.node.name)
                    .map(|(_, address)| address.clone()),
            )
            .chain(core.join.iter().cloned())
            .collect();
        for address in known {
            if knock(core, &address).await != Knock::Nobody {
                if super::place::ask(core, &address).await == Some(Place::Removed) {
                    removed(core);
                }
                break;
            }
        }
        tokio::select! {
            () = sleep(ROUND) => {}
            _ = raft.changed() => {}
        }
    }
}

/// What came of a knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knock {
    /// It is a member, or becomes one.
    In,
    /// It is not let in.
    Refused,
    /// Nobody there decides.
    Nobody,
}

/// Asks at `address` to be let in.
pub(super) async fn knock(core: &Shared, address: &str) -> Knock {
    let peer = Peer {
        id: None,
        address: address.to_owned(),
    };
    let ask = ToLeader::Admit {
        id: core.id,
        node: core.node.clone(),
        level: core.level,
    };
    let Ok(body) = wire::encode(&ask) else {
        return Knock::Nobody;
    };
    let answer = core
        .link
        .call(&peer, Lane::Control, Service::FORWARD, body, Patience::Total(KNOCK))
        .await;
    let answer = match answer {
        Ok(bytes) => wire::decode(&bytes),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(FromLeader::Admitted(Admitted::In { cluster } | Admitted::CatchingUp { cluster })) => {
            if core.situation.borrow().cluster_id.is_none()
                && let Err(why) = belong(core, cluster).await
            {
                wait_for(core, why);
            }
            Knock::In
        }
        Ok(FromLeader::Admitted(Admitted::Refused { why })) => {
            wait_for(core, format!("not let in: {why}"));
            Knock::Refused
        }
        Ok(FromLeader::Refused(refusal)) => {
            wait_for(core, format!("{address} could not let this node in: {refusal}"));
            Knock::Nobody
        }
        Ok(_) => Knock::Nobody,
        Err(why) => {
            wait_for(core, format!("nobody at {address} to let this node in: {why}"));
            Knock::Nobody
        }
    }
}

/// Decides about a node at the door, on the leader.
pub(crate) async fn admit(core: &Shared, id: NodeId, node: Node, level: u32) -> Admitted {
    let Some(cluster) = core.situation.borrow().cluster_id else {
        return Admitted::Refused {
            why: "this node belongs to no cluster itself".to_owned(),
        };
    };
    if core.consensus.records(REMOVED).contains_key(&id.to_string()) {
        return Admitted::Refused {
            why: format!(
                "{} was removed from the cluster: to join anew it needs an empty data directory",
                node.name
            ),
        };
    }
    let needed = core.consensus.head().level;
    if level < needed {
        return Admitted::Refused {
            why: format!(
                "the cluster is at feature level {needed}, and the binary of {} understands {level} only: update it",
                node.name
            ),
        };
    }
    let known: Vec<Known> = core
        .consensus
        .raft()
        .members
        .into_iter()
        .map(|member| Known {
            id: member.id,
            name: member.node.name,
            peer: member.node.peer,
            voter: member.voter,
        })
        .collect();
    let candidate = Candidate {
        id,
        name: node.name.clone(),
        peer: node.peer.clone(),
    };
    let old = known
        .iter()
        .find(|member| member.name == candidate.name && member.id != id);
    let (at_record, authorised) = match old {
        Some(old) => (at_record(core, &old.peer, id).await, given_up(core, &old.name, old.id)),
        None => (AtRecord::Nobody, false),
    };
    match (decide(&known, &candidate, at_record, authorised), old) {
        // A replacement that stopped halfway goes on.
        (Verdict::In, Some(old)) => replace(core, cluster, old.id, id, node),
        (Verdict::In, None) => match core.consensus.set_address(id, node.clone()).await {
            Ok(()) => Admitted::In { cluster },
            Err(error) => Admitted::Refused {
                why: format!("where {} is now could not be written down: {error}", node.name),
            },
        },
        (Verdict::Replace { old }, _) => replace(core, cluster, old, id, node),
        (Verdict::Enter, _) => match core.consensus.add_learner(id, node.clone()).await {
            Ok(()) => {
                tracing::info!(name = node.name, %id, "a node was let in as a learner");
                Admitted::In { cluster }
            }
            Err(error) => Admitted::Refused { why: error.to_string() },
        },
        (Verdict::Refuse(why), _) => {
            tracing::warn!(name = node.name, %id, why, "a node was not let in");
            Admitted::Refused { why }
        }
    }
}

fn replace(core: &Shared, cluster: u128, old: NodeId, new: NodeId, node: Node) -> Admitted {
    // One task a newcomer; it asks again until it is in its place, so that a new leader goes on.
    if lock(&core.admitting).insert(new) {
        tracing::info!(name = node.name, %old, %new, "a new incarnation takes its old place once it has caught up");
        let core = Arc::clone(core);
        tokio::spawn(async move {
            let name = node.name.clone();
            match core.consensus.replace(old, new, node).await {
                Ok(()) => tracing::info!(name, %new, "the new incarnation is in its place"),
                Err(MemberError::Behind { .. } | MemberError::InProgress) => {}
                Err(error) => tracing::warn!(name, %error, "the new incarnation could not take its place yet"),
            }
            lock(&core.admitting).remove(&new);
        });
    }
    Admitted::CatchingUp { cluster }
}

async fn at_record(core: &Core, address: &str, candidate: NodeId) -> AtRecord {
    match core.link.hello(address, HELLO).await {
        Ok(identity) if identity.id == candidate => AtRecord::Candidate,
        Ok(_) => AtRecord::Another,
        Err(_) => AtRecord::Nobody,
    }
}

fn given_up(core: &Core, name: &str, id: NodeId) -> bool {
    let records = core.consensus.records(GIVEN_UP);
    records
        .get(name)
        .is_some_and(|record| record.as_slice() == id.0.to_be_bytes())
}

/// The leader lets in; anybody else passes the knock on.
pub(crate) async fn pass_on(core: &Shared, what: ToLeader) -> FromLeader {
    match leader::ask(core, what, KNOCK).await {
        Ok(answer) => answer,
        Err(refusal) => FromLeader::Refused(refusal),
    }
}
