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
use tokio::time::sleep;

/// How long a node may take to hold what was said a moment ago.
const AGREE: Duration = Duration::from_secs(1);

/// A call to the store is given up after 20 ms, and made within a moment after it is wanted.
const HANDED_BACK: Duration = Duration::from_millis(30);

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
    /// Give back what is held of it, and ask the store anew.
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

/// Has all nodes give back what they hold, then one that reaches the store forget the count there. Where there is no
/// store each node forgets its own.
pub(super) async fn reset(core: &Shared, name: &str, key: &str) -> Result<ResetView, Refusal> {
    let (name, key) = (name.to_owned(), key.to_owned());
    let (told, silent) = {
        let (name, key) = (name.clone(), key.clone());
        ask_all(core, &Asked::Forget { name, key }).await
    };
    // What they give back is at the store by then, or never will be: else it would count anew what was forgotten.
    sleep(HANDED_BACK).await;
    let asked = Asked::Reset {
        name: name.clone(),
        key: key.clone(),
    };
    let others: Vec<Member> = others(core)
        .into_iter()
        .filter(|member| told.iter().any(|(name, _)| *name == member.node.name))
        .collect();
    let alone = *core.shared.state().borrow() == StoreState::Memory;
    let mut done = answer(core, asked.clone()).await;
    for member in others {
        if !alone && matches!(done, Told::Reset(_)) {
            break;
        }
        match (ask(core, &member, &asked).await, &done) {
            (Ok(Told::Reset(more)), Told::Reset(counts)) => done = Told::Reset(more.max(*counts)),
            (Ok(told @ Told::Reset(_)), _) => done = told,
            // That it is away says more than that it is not known.
            (Ok(away @ Told::Away { .. }), Told::Unknown) => done = away,
            (Ok(_) | Err(_), _) => {}
        }
    }
    match done {
        Told::Reset(counts) => Ok(ResetView {
            name,
            key,
            counts,
            silent,
        }),
        Told::Away { why } => Err(Refusal::StoreAway { why }),
        _ => Err(Refusal::NotFound {
            what: format!("limit {name}"),
        }),
    }
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
