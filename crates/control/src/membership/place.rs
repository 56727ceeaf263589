//! Whether a node still has a place in the cluster. One that was removed or replaced while it was
//! down hears nothing of it by Raft: nobody calls it any more. So it asks.

use super::enter::{Knock, knock};
use super::{REMOVED, removed};
use crate::core::{Core, Shared};
use crate::leader::reading;
use crate::refusal::Refusal;
use crate::wire::{self, FromLeader, Place, ToLeader};
use sluice_peer::{Lane, NodeId, Patience, Peer, Service};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Without a leader for this long, a member asks.
const UNHEARD: Duration = Duration::from_secs(2);

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What an incarnation is to the cluster, on the leader: as of now, or not at all.
pub(crate) async fn place(core: &Core, id: NodeId) -> Result<Place, Refusal> {
    let index = core.consensus.read_index().await;
    let index = index.map_err(|error| reading(core, &error))?;
    core.consensus
        .wait_applied(index, ANSWER)
        .await
        .map_err(|_| Refusal::NoMajority)?;
    Ok(if core.consensus.raft().member(id).is_some() {
        Place::Member
    } else if core.consensus.records(REMOVED).contains_key(&id.to_string()) {
        Place::Removed
    } else {
        Place::Stranger
    })
}

/// Whether this node leads, and `id` is no member.
pub(crate) fn is_stranger(core: &Core, id: NodeId) -> bool {
    let raft = core.consensus.raft();
    raft.is_leader() && raft.member(id).is_none()
}

/// From when this node is a member until it is none.
pub(super) async fn keep(core: &Shared) {
    while !core.situation.borrow().removed {
        sleep(ROUND).await;
        let raft = core.consensus.raft();
        if raft.is_leader() || raft.has_majority(Instant::now(), UNHEARD) {
            continue;
        }
        let members = raft.members.iter().filter(|member| member.id != core.id);
        let others: BTreeSet<&str> = members
            .map(|member| member.node.peer.as_str())
            .chain(core.initial.iter().map(|(_, address)| address.as_str()))
            .chain(core.join.iter().map(String::as_str))
            .filter(|address| *address != core.node.peer)
            .collect();
        for address in others {
            match ask(core, address).await {
                // It may have heard of its admission by an entry that was never committed.
                Some(Place::Stranger) if knock(core, address).await != Knock::Refused => break,
                Some(Place::Removed | Place::Stranger) => {
                    removed(core);
                    return;
                }
                Some(Place::Member) => break,
                None => {}
            }
        }
    }
}

/// Asks at `address` what this node is to the cluster. `None` where nobody there knows.
pub(super) async fn ask(core: &Core, address: &str) -> Option<Place> {
    let body = wire::encode(&ToLeader::Place { id: core.id }).ok()?;
    let peer = Peer {
        id: None,
        address: address.to_owned(),
    };
    let answer = core
        .link
        .call(&peer, Lane::Control, Service::FORWARD, body, Patience::Total(ANSWER))
        .await;
    match wire::decode(&answer.ok()?) {
        Ok(FromLeader::Place(place)) => Some(place),
        _ => None,
    }
}
