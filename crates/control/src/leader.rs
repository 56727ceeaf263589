//! What only the leader does, asked of any node: passed on to it, and answered there.

use crate::change;
use crate::core::{Core, Shared};
use crate::levels;
use crate::membership;
use crate::refusal::Refusal;
use crate::shared;
use crate::trial;
use crate::wire::{self, FromLeader, ToLeader};
use sluice_consensus::{Applied, Author, Body, Envelope, ProposeError};
use sluice_peer::{CallError, Lane, NodeId, Patience, Service};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How long a write waits for a leader to be found before it is refused.
const FIND: Duration = Duration::from_secs(3);

/// Between two tries to reach a leader that does not know itself yet.
const AGAIN: Duration = Duration::from_millis(50);

/// How often a leader looks whether it can lead.
const GIVE_WAY: Duration = Duration::from_millis(250);

/// The longest pause between two times that the lead is given away.
const GIVE_WAY_AT_LAST: Duration = Duration::from_secs(64);

/// Above this size a message goes over the bulk connection.
const SMALL: usize = 64 * 1024;

/// Asks the leader, wherever it is: this node itself, or over the link. `patience` is for the
/// answer, once a leader is found.
pub(crate) async fn ask(core: &Shared, what: ToLeader, patience: Duration) -> Result<FromLeader, Refusal> {
    if let Some(refusal) = core.not_formed() {
        return Err(refusal);
    }
    let deadline = Instant::now() + FIND;
    let mut raft = core.consensus.watch_raft();
    loop {
        let found = timeout(
            deadline.saturating_duration_since(Instant::now()),
            raft.wait_for(|raft| raft.leader.is_some()),
        )
        .await
        .is_ok_and(|found| found.is_ok());
        if !found {
            return Err(no_leader(core));
        }
        let answer = match core.leader() {
            None => serve(core, what.clone()).await,
            Some(leader) => {
                let body = wire::encode(&what)?;
                let lane = if body.len() > SMALL { Lane::Bulk } else { Lane::Control };
                let called = core
                    .link
                    .call(&leader, lane, Service::FORWARD, body, Patience::Total(patience))
                    .await;
                match called {
                    Ok(bytes) => wire::decode(&bytes).map_err(|why| Refusal::Internal { why })?,
                    Err(error) if error.may_have_run() && writes(&what) => return Err(unknown(&what, &error)),
                    Err(error) => {
                        tracing::debug!(%error, "the leader could not be asked");
                        FromLeader::NotLeader { leader: None }
                    }
                }
            }
        };
        match answer {
            FromLeader::NotLeader { .. } => {}
            FromLeader::Refused(refusal) if refusal.may_be_repeated() => {}
            FromLeader::Refused(refusal) => return Err(refusal),
            answer => return Ok(answer),
        }
        if Instant::now() >= deadline {
            return Err(no_leader(core));
        }
        sleep(AGAIN).await;
    }
}

/// Answers for the leader, if this node is it.
pub(crate) async fn serve(core: &Shared, what: ToLeader) -> FromLeader {
    let raft = core.consensus.raft();
    if !raft.is_leader() {
        return FromLeader::NotLeader { leader: raft.leader };
    }
    let answer = match what {
        ToLeader::Change(request) | ToLeader::Try(request) => {
            // Goes on when the asker has gone: what was begun is brought to an end.
            let core = Arc::clone(core);
            match tokio::spawn(async move { change::lead(&core, *request).await }).await {
                Ok(answer) => answer.map(FromLeader::Changed),
                Err(error) => Err(Refusal::Internal {
                    why: format!("the change was broken off: {error}"),
                }),
            }
        }
        ToLeader::Trial(order) => {
            let core = Arc::clone(core);
            match tokio::spawn(async move { trial::lead(&core, order).await }).await {
                Ok(answer) => answer.map(FromLeader::Changed),
                Err(error) => Err(Refusal::Internal {
                    why: format!("it was broken off: {error}"),
                }),
            }
        }
        ToLeader::Record {
            collection,
            key,
            value,
            exists,
            actor,
        } => record(core, collection, key, value, exists, actor)
            .await
            .map(|()| FromLeader::Done),
        ToLeader::Override(order) => shared::lead(core, order).await.map(|()| FromLeader::Done),
        ToLeader::Member { name, op, actor } => membership::change(core, &name, op, &actor)
            .await
            .map(|()| FromLeader::Done),
        ToLeader::Transfer { to, actor } => membership::transfer(core, to.as_deref(), &actor)
            .await
            .map(|()| FromLeader::Done),
        ToLeader::Finalize { actor } => levels::finalize(core, actor).await.map(|()| FromLeader::Done),
        ToLeader::View => Ok(FromLeader::View(crate::members::view(core))),
        ToLeader::Admit { id, node, level } => Ok(FromLeader::Admitted(membership::admit(core, id, node, level).await)),
        ToLeader::Place { id } => membership::place(core, id).await.map(FromLeader::Place),
    };
    answer.unwrap_or_else(FromLeader::Refused)
}

async fn record(
    core: &Core,
    collection: String,
    key: String,
    value: Option<Vec<u8>>,
    exists: Option<bool>,
    actor: change::Actor,
) -> Result<(), Refusal> {
    let _turn = core.turn.lock().await;
    let index = core
        .consensus
        .read_index()
        .await
        .map_err(|error| reading(core, &error))?;
    core.consensus
        .wait_applied(index, Duration::from_secs(5))
        .await
        .map_err(|_| Refusal::NoMajority)?;
    let present = core.consensus.records(&collection).contains_key(&key);
    match exists {
        Some(true) if !present => {
            return Err(Refusal::NotFound {
                what: format!("{collection} {key}"),
            });
        }
        Some(false) if present => {
            return Err(Refusal::Conflict {
                why: format!("there is a {collection} {key} already: revoke it first, or take another name"),
            });
        }
        _ => {}
    }
    let request_id = actor.request_id.clone();
    let body = Body::Record { collection, key, value };
    propose(core, envelope(0, actor, body), &request_id).await.map(|_| ())
}

/// An envelope of this moment, of the first feature level.
pub(crate) fn envelope(base: u64, actor: change::Actor, body: Body) -> Envelope {
    Envelope {
        base,
        request_id: actor.request_id,
        author: Author {
            who: actor.who,
            from: actor.from,
            why: actor.why,
        },
        at_ms: crate::rfc3339::now_ms(),
        trace: None,
        level: 1,
        idempotency: None,
        body,
    }
}

/// Proposes, and says why there is no answer.
pub(crate) async fn propose(core: &Core, envelope: Envelope, request_id: &str) -> Result<Applied, Refusal> {
    let result = core.consensus.propose(envelope).await;
    result.map(|(applied, _)| applied).map_err(|error| match error {
        ProposeError::NotLeader { .. } | ProposeError::Shutdown => no_leader(core),
        ProposeError::NoMajority => Refusal::NoMajority,
        ProposeError::OutcomeUnknown => Refusal::OutcomeUnknown {
            why: "whether the change was made is not known".to_owned(),
            request_id: request_id.to_owned(),
        },
        ProposeError::TooLarge { .. } => Refusal::Conflict { why: error.to_string() },
        ProposeError::Disk(error) => {
            core.disk_failed(&error.to_string());
            // Nothing was done. Where others can lead, the change waits a moment for one of them.
            match rivals(core).is_empty() {
                true => Refusal::Degraded { why: error.to_string() },
                false => Refusal::NoLeader {
                    why: format!("{} led and makes no more changes ({error})", core.node.name),
                },
            }
        }
    })
}

/// A leader that follows and votes still, and makes no more changes because its disk is full, would
/// stand in everybody's way: it gives the lead away, each time after a longer pause.
pub(crate) async fn give_way(core: Shared) {
    let mut pause = GIVE_WAY;
    for turn in 0usize.. {
        sleep(pause).await;
        if !core.consensus.store().is_disk_full() {
            continue;
        }
        core.disk_failed("it is full: the reserve for this case was used");
        if !core.consensus.raft().is_leader() {
            continue;
        }
        // Another one each time: whose disk is full as well gives it on.
        let rivals = rivals(&core);
        let Some(to) = rivals.get(turn % rivals.len().max(1)) else {
            continue;
        };
        match core.consensus.transfer(Some(*to)).await {
            Ok(()) => {
                // Where all disks are full it would go round and round.
                pause = (pause * 2).min(GIVE_WAY_AT_LAST);
                tracing::warn!(to = core.name_of(*to), "the lead was given away: the disk is full here");
            }
            Err(error) => tracing::warn!(%error, "the lead could not be given away, and the disk is full here"),
        }
    }
}

/// The other voters that are heard.
fn rivals(core: &Core) -> Vec<NodeId> {
    let members = core.consensus.raft().members.into_iter();
    members
        .filter(|member| member.voter && member.id != core.id && core.heard(member.id).is_some())
        .map(|member| member.id)
        .collect()
}

/// Why there is no index to read by.
pub(crate) fn reading(core: &Core, error: &sluice_consensus::ReadError) -> Refusal {
    use sluice_consensus::ReadError;
    match error {
        ReadError::NoLeader => no_leader(core),
        ReadError::NoMajority => Refusal::NoMajority,
        ReadError::Shutdown => Refusal::Degraded { why: error.to_string() },
    }
}

/// What is known about there being no leader.
pub(crate) fn no_leader(core: &Core) -> Refusal {
    let raft = core.consensus.raft();
    let voters: Vec<(NodeId, &str)> = raft
        .members
        .iter()
        .filter(|member| member.voter)
        .map(|member| (member.id, member.node.name.as_str()))
        .collect();
    let silent: Vec<&str> = voters
        .iter()
        .filter(|(id, _)| *id != core.id && core.heard(*id).is_none())
        .map(|(_, name)| *name)
        .collect();
    let why = match silent.as_slice() {
        [] => format!("{} voters, an election is under way", voters.len()),
        silent => format!("of {} voters, {} cannot be heard here", voters.len(), silent.join(", ")),
    };
    Refusal::NoLeader { why }
}

fn writes(what: &ToLeader) -> bool {
    match what {
        ToLeader::Change(request) | ToLeader::Try(request) => !request.dry_run,
        // A level that was raised already is raised again for nothing.
        ToLeader::View | ToLeader::Admit { .. } | ToLeader::Place { .. } | ToLeader::Finalize { .. } => false,
        ToLeader::Trial(_)
        | ToLeader::Override(_)
        | ToLeader::Record { .. }
        | ToLeader::Member { .. }
        | ToLeader::Transfer { .. } => true,
    }
}

fn unknown(what: &ToLeader, error: &CallError) -> Refusal {
    let request_id = match what {
        ToLeader::Change(request) | ToLeader::Try(request) => &request.actor.request_id,
        ToLeader::Trial(order) => &order.actor.request_id,
        ToLeader::Override(order) => &order.actor.request_id,
        ToLeader::Record { actor, .. } | ToLeader::Member { actor, .. } | ToLeader::Transfer { actor, .. } => {
            &actor.request_id
        }
        ToLeader::View | ToLeader::Admit { .. } | ToLeader::Place { .. } | ToLeader::Finalize { .. } => "",
    };
    Refusal::OutcomeUnknown {
        why: format!("the leader did not say what came of it ({error})"),
        request_id: request_id.to_owned(),
    }
}
