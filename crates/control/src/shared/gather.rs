//! One question to every member at once, and what they say.

use super::breakers::{self, BreakersReport};
use super::limits::{self, LimitReport, LimitsReport};
use super::view::{ResetView, Silent};
use crate::core::{Core, Shared};
use crate::refusal::Refusal;
use crate::wire;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sluice_consensus::Member;
use sluice_peer::{Lane, Patience, Service};
use sluice_shared_state::BreakerKey;
use sluice_shared_store::StoreState;
use std::time::Duration;

/// How long a node may take to hold what was said a moment ago.
const AGREE: Duration = Duration::from_secs(1);

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asked of a node about its share of the cluster's limits and breakers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// Its breakers; first it waits a moment for what is awaited.
    Breakers { awaited: Option<Awaited> },
    /// The limits that it knows, and so many of the keys that it refused most.
    Limits { top: usize },
    /// How the limits of this name stand for a value of their key.
    Limit { name: String, key: String },
    /// Forget in the store what was spent.
    Reset { name: String, key: String },
    /// Another node did: ask the store anew.
    Forget { name: String, key: String },
}

/// An order about a breaker that was made a moment ago.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Awaited {
    pub(crate) key: BreakerKey,
    /// Who said it; nothing where it was released.
    pub(crate) request_id: Option<String>,
}

/// What a node says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    Breakers(BreakersReport),
    Limits(LimitsReport),
    Limit(LimitReport),
    /// So many counts were forgotten.
    Reset(usize),
    /// No limit of the name is known here.
    Unknown,
    /// The store does not answer here.
    Away {
        why: String,
    },
    /// Done.
    Forgotten,
}

/// Answers for this node.
pub(crate) async fn answer(core: &Core, asked: Asked) -> Told {
    let store = &core.shared;
    match asked {
        Asked::Breakers { awaited } => {
            let agrees = match &awaited {
                None => true,
                Some(Awaited { key, request_id }) => core.enforced.agree(key, request_id.as_deref(), AGREE).await,
            };
            Told::Breakers(BreakersReport {
                node: core.node.name.clone(),
                agrees,
                breakers: breakers::report(store),
            })
        }
        Asked::Limits { top } => Told::Limits(limits::report(&core.node.name, store, top)),
        Asked::Limit { name, key } => limits::look(&core.node.name, store, &name, &key).await,
        Asked::Reset { name, key } => limits::reset(store, &name, &key).await,
        Asked::Forget { name, key } => {
            limits::forget(store, &name, &key);
            Told::Forgotten
        }
    }
}

pub(super) async fn breakers(core: &Shared, awaited: Option<Awaited>) -> (Vec<BreakersReport>, Vec<Silent>) {
    let (told, silent) = ask_all(core, &Asked::Breakers { awaited }).await;
    let report = |told| match told {
        Told::Breakers(report) => Some(report),
        _ => None,
    };
    (told.into_iter().filter_map(|(_, told)| report(told)).collect(), silent)
}

pub(super) async fn limits(core: &Shared, top: usize) -> (Vec<LimitsReport>, Vec<Silent>) {
    let (told, silent) = ask_all(core, &Asked::Limits { top }).await;
    let report = |told| match told {
        Told::Limits(report) => Some(report),
        _ => None,
    };
    (told.into_iter().filter_map(|(_, told)| report(told)).collect(), silent)
}

pub(super) async fn limit(core: &Shared, name: &str, key: &str) -> (Vec<LimitReport>, Vec<Silent>) {
    let asked = Asked::Limit {
        name: name.to_owned(),
        key: key.to_owned(),
    };
    let (told, silent) = ask_all(core, &asked).await;
    let report = |told| match told {
        Told::Limit(report) => Some(report),
        _ => None,
    };
    (told.into_iter().filter_map(|(_, told)| report(told)).collect(), silent)
}

/// Has one node that reaches the store forget the count there, and all others what they think of it. Where there is no
/// store each node forgets its own.
pub(super) async fn reset(core: &Shared, name: &str, key: &str) -> Result<ResetView, Refusal> {
    let (name, key) = (name.to_owned(), key.to_owned());
    let reset = Asked::Reset {
        name: name.clone(),
        key: key.clone(),
    };
    let mut by = core.node.name.clone();
    let mut done = answer(core, reset.clone()).await;
    for member in others(core) {
        if matches!(done, Told::Reset(_)) {
            break;
        }
        match ask(core, &member, &reset).await {
            Ok(told @ Told::Reset(_)) => (by, done) = (member.node.name, told),
            // That it is away says more than that it is not known.
            Ok(away @ Told::Away { .. }) => done = away,
            Ok(_) | Err(_) => {}
        }
    }
    let mut counts = match done {
        Told::Reset(counts) => counts,
        Told::Away { why } => return Err(Refusal::StoreAway { why }),
        _ => {
            return Err(Refusal::NotFound {
                what: format!("limit {name}"),
            });
        }
    };
    let alone = *core.shared.state().borrow() == StoreState::Memory;
    let rest = match alone {
        true => reset,
        false => Asked::Forget {
            name: name.clone(),
            key: key.clone(),
        },
    };
    let rest_of = others(core).into_iter().filter(|member| member.node.name != by);
    let told = join_all(rest_of.map(|member| {
        let rest = rest.clone();
        async move {
            let told = ask(core, &member, &rest).await;
            (member.node.name, told)
        }
    }));
    let mut silent = Vec::new();
    for (node, told) in told.await {
        match told {
            Ok(Told::Reset(more)) => counts = counts.max(more),
            Ok(_) => {}
            Err(why) => silent.push(Silent { name: node, why }),
        }
    }
    if by != core.node.name {
        answer(
            core,
            Asked::Forget {
                name: name.clone(),
                key: key.clone(),
            },
        )
        .await;
    }
    Ok(ResetView {
        name,
        key,
        counts,
        silent,
    })
}

/// This node's answer, then the others' by name.
async fn ask_all(core: &Shared, asked: &Asked) -> (Vec<(String, Told)>, Vec<Silent>) {
    let members = others(core);
    let others = join_all(members.iter().map(|member| ask(core, member, asked)));
    let (own, others) = tokio::join!(answer(core, asked.clone()), others);
    let (mut told, mut silent) = (vec![(core.node.name.clone(), own)], Vec::new());
    for (member, answer) in members.into_iter().zip(others) {
        let name = member.node.name;
        match answer {
            Ok(answer) => told.push((name, answer)),
            Err(why) => silent.push(Silent { name, why }),
        }
    }
    (told, silent)
}

async fn ask(core: &Core, member: &Member, asked: &Asked) -> Result<Told, String> {
    // Members tell their status to voters; another has to try.
    let votes = core.consensus.raft().member(core.id).is_some_and(|own| own.voter);
    if votes && core.heard(member.id).is_none() {
        return Err("it is not heard".to_owned());
    }
    let body = wire::encode(asked).map_err(|refusal| refusal.to_string())?;
    // Lists may be long: heartbeats have a connection of their own.
    let lane = match asked {
        Asked::Breakers { .. } | Asked::Limits { .. } => Lane::Bulk,
        Asked::Limit { .. } | Asked::Reset { .. } | Asked::Forget { .. } => Lane::Control,
    };
    let peer = member.node.peer(member.id);
    let answer = core
        .link
        .call(&peer, lane, Service::SHARED, body, Patience::Total(PATIENCE))
        .await;
    wire::decode(&answer.map_err(|error| error.to_string())?)
}

fn others(core: &Core) -> Vec<Member> {
    let mut others: Vec<Member> = core.consensus.raft().members;
    others.retain(|member| member.id != core.id);
    others.sort_by(|a, b| a.node.name.cmp(&b.node.name));
    others
}
