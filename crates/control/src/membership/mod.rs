//! How nodes become members, and how members go.

pub(crate) mod admission;
mod enter;
mod form;
pub(crate) mod forming;
mod place;

pub(crate) use enter::{admit, enter, pass_on};
pub(crate) use form::{answer, form_only};
pub(crate) use place::{is_stranger, place};

use crate::change::Actor;
use crate::core::{Core, Shared};
use crate::refusal::Refusal;
use crate::view::MemberOp;
use crate::wire::{self, ToMember};
use sluice_consensus::{Body, Member, MemberError};
use sluice_peer::{Lane, Patience, Service};
use std::time::Duration;

/// Records of incarnations that an operator has given up, by name.
pub(crate) const GIVEN_UP: &str = "given_up";

/// Records of incarnations that were removed: they are not let in again.
pub(crate) const REMOVED: &str = "removed";

/// The label of a node that never votes.
pub(crate) const EPHEMERAL: &str = "sluice.ephemeral";

/// A member that lives is heard again within this time.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a member may take to answer an order.
const ORDER: Duration = Duration::from_secs(2);

/// Carries an operator's order out, on the leader.
pub(crate) async fn change(core: &Shared, name: &str, op: MemberOp, actor: &Actor) -> Result<(), Refusal> {
    let member = member(core, name)?;
    tracing::info!(
        name,
        ?op,
        who = actor.who,
        request_id = actor.request_id,
        "a member is changed"
    );
    match op {
        MemberOp::Promote if member.node.labels.contains_key(EPHEMERAL) => Err(Refusal::Conflict {
            why: format!(
                "{name} is ephemeral: it only receives, and never votes; a node that shall vote is started without `ephemeral` and with an empty data directory"
            ),
        }),
        MemberOp::Promote => core
            .consensus
            .promote(member.id)
            .await
            .map_err(|e| refused(core, &e, actor)),
        MemberOp::Remove => {
            let record = Body::Record {
                collection: REMOVED.to_owned(),
                key: member.id.to_string(),
                value: Some(member.node.name.clone().into_bytes()),
            };
            let envelope = crate::leader::envelope(0, actor.clone(), record);
            crate::leader::propose(core, envelope, &actor.request_id).await?;
            core.consensus
                .remove(member.id)
                .await
                .map_err(|e| refused(core, &e, actor))?;
            // It may be gone for good: then there is nobody to tell.
            let _ = order(core, &member, ToMember::Removed).await;
            Ok(())
        }
        MemberOp::Replace => {
            if !falls_silent(core, member.id).await {
                return Err(Refusal::Conflict {
                    why: format!(
                        "{name} lives (id {} at {}): stop it before another takes its place, or remove it",
                        member.id, member.node.peer
                    ),
                });
            }
            let record = Body::Record {
                collection: GIVEN_UP.to_owned(),
                key: name.to_owned(),
                value: Some(member.id.0.to_be_bytes().to_vec()),
            };
            let envelope = crate::leader::envelope(0, actor.clone(), record);
            crate::leader::propose(core, envelope, &actor.request_id)
                .await
                .map(|_| ())
        }
        MemberOp::Drain => order(core, &member, ToMember::Drain { draining: true }).await,
        MemberOp::Undrain => order(core, &member, ToMember::Drain { draining: false }).await,
    }
}

/// Hands the leadership over, on the leader.
pub(crate) async fn transfer(core: &Core, to: Option<&str>, actor: &Actor) -> Result<(), Refusal> {
    let to = to.map(|name| member(core, name)).transpose()?.map(|member| member.id);
    core.consensus.transfer(to).await.map_err(|e| refused(core, &e, actor))
}

/// Carries out what a member was told.
pub(crate) fn obey(core: &Core, order: &ToMember) {
    match order {
        ToMember::Drain { draining } => core.situate(|situation| situation.draining = *draining),
        ToMember::Removed => removed(core),
    }
}

/// This node has heard that it is no member any more.
fn removed(core: &Core) {
    let before = core.situation.send_replace({
        let situation = core.situation.borrow().clone();
        crate::core::Situation {
            removed: true,
            ..situation
        }
    });
    if !before.removed {
        tracing::warn!(
            "this node was removed from the cluster or replaced: it serves its last version, not ready, until it is stopped; with an empty data directory it can join anew"
        );
    }
}

/// Whether a member that was heard a moment ago is heard no more: who was just killed is told from
/// who lives by a little patience.
async fn falls_silent(core: &Core, id: sluice_peer::NodeId) -> bool {
    if id == core.id {
        return false;
    }
    let deadline = tokio::time::Instant::now() + SILENCE;
    while core.heard(id).is_some() {
        if tokio::time::Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(SILENCE / 20).await;
    }
    true
}

async fn order(core: &Core, member: &Member, order: ToMember) -> Result<(), Refusal> {
    if member.id == core.id {
        obey(core, &order);
        return Ok(());
    }
    let body = wire::encode(&order)?;
    let peer = member.node.peer(member.id);
    let told = core
        .link
        .call(&peer, Lane::Control, Service::MEMBERS, body, Patience::Total(ORDER))
        .await;
    told.map(|_| ()).map_err(|error| Refusal::Conflict {
        why: format!("{} could not be told: {error}", member.node.name),
    })
}

fn member(core: &Core, name: &str) -> Result<Member, Refusal> {
    core.consensus
        .raft()
        .named(name)
        .cloned()
        .ok_or_else(|| Refusal::NotFound {
            what: format!("member {name}"),
        })
}

fn refused(core: &Core, error: &MemberError, actor: &Actor) -> Refusal {
    match error {
        MemberError::NotLeader { .. } | MemberError::Shutdown => crate::leader::no_leader(core),
        MemberError::OutcomeUnknown => Refusal::OutcomeUnknown {
            why: error.to_string(),
            request_id: actor.request_id.clone(),
        },
        MemberError::NoMajority => Refusal::NoMajority,
        MemberError::Disk(error) => Refusal::Degraded { why: error.to_string() },
        MemberError::Unknown(id) => Refusal::NotFound {
            what: format!("member {id}"),
        },
        MemberError::LastVoter(id) => Refusal::Conflict {
            why: format!("{} is the last voter: promote another member first", core.name_of(*id)),
        },
        MemberError::Behind { id, has, needs } => Refusal::Conflict {
            why: format!(
                "{} has not caught up ({has} of {needs} entries): it stays a learner; say promote again when it can be reached",
                core.name_of(*id)
            ),
        },
        MemberError::NotAVoter(id) => Refusal::Conflict {
            why: format!("{} does not vote and cannot lead: promote it first", core.name_of(*id)),
        },
        MemberError::NameTaken { .. } | MemberError::InProgress | MemberError::AlreadyInitialised => {
            Refusal::Conflict { why: error.to_string() }
        }
    }
}
