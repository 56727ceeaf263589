//! How a change reaches the nodes: asked of all before it is proposed, and watched until it is live.

use super::request::{Pending, Wait};
use crate::core::{Core, HEALTHY, Shared};
use crate::follow::rehearse;
use crate::wire::{self, Objection, Prepare, Prepared, WireChange};
use futures_util::future::join_all;
use sluice_consensus::Member;
use sluice_document::{Diagnostic, Severity};
use sluice_peer::{CallError, Lane, Patience, Service};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::{sleep_until, timeout_at};

/// How long a member may take to say whether it could serve a change.
const REHEARSAL: Duration = Duration::from_secs(10);

/// Above this size a rehearsal goes over the bulk connection.
const SMALL: usize = 64 * 1024;

/// How far a version has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) live: Vec<String>,
    pub(crate) pending: Vec<Pending>,
    /// Healthy members among the pending.
    pub(crate) awaited: usize,
}

/// What members are asked whether they could serve it.
pub(crate) enum Rehearsal {
    /// These changes of the newest version.
    Change { base: u64, changes: Vec<WireChange> },
    /// The newest version, which is live on others already.
    Stored { version: u64 },
}

/// Waits as the caller wishes, and says how far the version has come then.
pub(crate) async fn spread(core: &Core, version: u64, wait: Wait, within: Duration) -> Spread {
    if wait == Wait::Majority {
        return look(core, version);
    }
    let deadline = tokio::time::Instant::now() + within;
    let (mut heard, mut own) = (core.link.heard_changed(), core.published.live_changed());
    let mut situation = core.situation.subscribe();
    loop {
        let spread = look(core, version);
        if spread.awaited == 0 || tokio::time::Instant::now() >= deadline {
            return spread;
        }
        // A member that falls silent is news by its silence, which wakes nobody.
        let silence = tokio::time::Instant::now() + HEALTHY;
        tokio::select! {
            _ = heard.changed() => {}
            _ = own.changed() => {}
            _ = situation.changed() => {}
            () = sleep_until(deadline.min(silence)) => {}
        }
    }
}

/// How far a version has come, now.
pub(crate) fn look(core: &Core, version: u64) -> Spread {
    let mut spread = Spread::default();
    let head = core.consensus.head();
    for member in members(core) {
        let name = member.node.name.clone();
        if head.live_on(&name) < version {
            // It is on trial elsewhere.
            continue;
        }
        let (live, why, healthy) = if member.id == core.id {
            let situation = core.situation.borrow();
            let why = situation.not_live.as_ref().map(|(why, _)| why.clone());
            (core.published.live().version, why, !situation.draining)
        } else {
            match core.heard(member.id) {
                Some(heard) => {
                    let why = match heard.status.draining {
                        true => Some("it is draining".to_owned()),
                        false => heard.status.why_not_live,
                    };
                    (heard.status.live, why, !heard.status.draining)
                }
                None => (0, Some("it is not heard".to_owned()), false),
            }
        };
        if live >= version {
            spread.live.push(name);
        } else {
            spread.awaited += usize::from(healthy);
            let why = why.unwrap_or_else(|| "it has not turned to it yet".to_owned());
            spread.pending.push(Pending { name, why });
        }
    }
    spread
}

/// Asks every healthy member that this is for (all, or those named), whether it could serve it. This one first. Gives
/// what they object, with the node's name.
pub(crate) async fn rehearse_everywhere(core: &Shared, what: Rehearsal, on: Option<&[String]>) -> Vec<Diagnostic> {
    let (base, changes, stored) = match what {
        Rehearsal::Change { base, changes } => (base, changes, false),
        Rehearsal::Stored { version } => (version, Vec::new(), true),
    };
    let asked = Prepare {
        base,
        changes,
        within: REHEARSAL,
        stored,
    };
    // What is tried on some nodes must not be able to break the others.
    let meant = |name: &str| on.is_none_or(|on| on.iter().any(|one| one == name));
    // A change that breaks the one who compiles it breaks one node, not all at once.
    if meant(&core.node.name) {
        let own = objections(&core.node.name, rehearse(core, asked.clone()).await);
        if !own.is_empty() {
            return own;
        }
    }
    let others: Vec<Member> = members(core)
        .into_iter()
        .filter(|member| member.id != core.id && meant(&member.node.name))
        .filter(|member| core.heard(member.id).is_some_and(|heard| !heard.status.draining))
        .collect();
    let Ok(body) = wire::encode(&asked) else {
        return Vec::new();
    };
    let answers = others.iter().map(|member| ask(core, member, body.clone()));
    join_all(answers).await.into_iter().flatten().collect()
}

async fn ask(core: &Core, member: &Member, body: Vec<u8>) -> Vec<Diagnostic> {
    let lane = if body.len() > SMALL { Lane::Bulk } else { Lane::Control };
    let peer = member.node.peer(member.id);
    let began = Instant::now();
    let call = core
        .link
        .call(&peer, lane, Service::PREPARE, body, Patience::Total(REHEARSAL));
    tokio::pin!(call);
    // Who falls silent meanwhile is left out, and not waited for.
    let answer = loop {
        let next = tokio::time::Instant::now() + HEALTHY;
        match timeout_at(next, &mut call).await {
            Ok(answer) => break answer,
            Err(_) if core.heard(member.id).is_none() => return Vec::new(),
            Err(_) => {}
        }
    };
    let name = &member.node.name;
    match answer {
        Ok(bytes) => match wire::decode(&bytes) {
            Ok(prepared) => objections(name, prepared),
            Err(why) => vec![objection(
                name,
                Objection {
                    part: String::new(),
                    why,
                },
            )],
        },
        Err(CallError::TooLate) => {
            let why = format!("it still compiled after {} s", began.elapsed().as_secs());
            vec![objection(
                name,
                Objection {
                    part: String::new(),
                    why,
                },
            )]
        }
        Err(error) => {
            tracing::warn!(node = name, %error, "a member could not be asked whether it could serve a change: it is left out");
            Vec::new()
        }
    }
}

/// The members, one of each name: during a replacement the new one.
pub(crate) fn members(core: &Core) -> Vec<Member> {
    let mut by_name: BTreeMap<String, Member> = BTreeMap::new();
    for member in core.consensus.raft().members {
        let newer = by_name
            .get(&member.node.name)
            .is_none_or(|other| other.voter && !member.voter);
        if newer {
            by_name.insert(member.node.name.clone(), member);
        }
    }
    by_name.into_values().collect()
}

fn objections(node: &str, prepared: Prepared) -> Vec<Diagnostic> {
    match prepared {
        Prepared::Ready => Vec::new(),
        Prepared::Refused(objections) => objections.into_iter().map(|one| objection(node, one)).collect(),
        Prepared::Behind { at } => {
            tracing::warn!(
                node,
                at,
                "a member lags behind and cannot say whether it could serve a change: it is left out"
            );
            Vec::new()
        }
    }
}

fn objection(node: &str, objection: Objection) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: "not_serveable".into(),
        message: format!("node {node} cannot serve this: {}", objection.why),
        file: None,
        line: None,
        column: None,
        path: objection.part,
        found: None,
        expected: None,
        nearest: None,
        excerpt: None,
    }
}

/// The same as a warning, of a change that was forced.
pub(crate) fn as_warning(diagnostic: Diagnostic) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        ..diagnostic
    }
}
