//! The shell around [`forming`](super::forming): asks, promises, begins.

use super::forming::{self, Promise, Seen, Standing, Step};
use crate::core::{Core, Shared};
use crate::refusal::Refusal;
use crate::wire::{self, Formed, Forming};
use futures_util::future::join_all;
use sluice_consensus::{MemberError, Node};
use sluice_peer::{Identity, Lane, NodeId, Patience, Peer, Service};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one node may take to say where it stands.
const ASK: Duration = Duration::from_secs(1);

/// What one round of forming came to.
pub(super) enum Round {
    /// This node belongs to a cluster now.
    Formed,
    /// A cluster exists: ask there to be let in, at this address.
    Join(String),
    /// Not yet.
    Waiting,
}

/// One round: looks at all of the set and does the next step.
pub(super) async fn round(core: &Shared) -> Round {
    let expected: Vec<String> = core.initial.iter().map(|(name, _)| name.clone()).collect();
    let others = see(core, &core.initial).await;
    let promised = promised(core);
    match forming::step((&core.node.name, core.id), &expected, promised.as_ref(), &others) {
        Step::Join { by } => Round::Join(address(core, &by).unwrap_or_default()),
        Step::Wait(what) => {
            wait_for(core, what);
            Round::Waiting
        }
        Step::Collect => {
            match collect(core, &core.initial).await {
                Ok(()) => {}
                Err(why) => wait_for(core, why),
            }
            Round::Waiting
        }
        Step::Begin { members } => match begin(core, &members, promised).await {
            Ok(()) => Round::Formed,
            Err(why) => {
                wait_for(core, why);
                Round::Waiting
            }
        },
    }
}

/// A cluster of this node alone.
pub(super) async fn alone(core: &Shared) -> Result<(), String> {
    let own = promise_to_oneself(core).await?;
    let members = BTreeMap::from([(core.node.name.clone(), core.id)]);
    begin(core, &members, Some(own)).await
}

/// `members form --only`: forms of the named nodes, which must all answer and be empty, though
/// others of the set are missing; refused if any of the set that answers belongs to a cluster.
pub(crate) async fn form_only(core: &Shared, names: &[String]) -> Result<(), Refusal> {
    let conflict = |why: String| Refusal::Conflict { why };
    if let Some(id) = core.situation.borrow().cluster_id {
        return Err(conflict(format!(
            "this node belongs to the cluster {id:032x} already: its members are changed by promote, remove and replace"
        )));
    }
    if !names.iter().any(|name| *name == core.node.name) {
        return Err(conflict(format!(
            "say this on one of the nodes that shall form; this one is {}",
            core.node.name
        )));
    }
    let unknown: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| address(core, name).is_none() && *name != core.node.name)
        .collect();
    if !unknown.is_empty() {
        return Err(conflict(format!(
            "{} stand not in this node's `initial`",
            unknown.join(", ")
        )));
    }
    let others = see(core, &core.initial).await;
    for (name, seen) in &others {
        match seen {
            Seen::Answers(Standing::Member { cluster, .. }) => {
                return Err(conflict(format!(
                    "{name} belongs to the cluster {cluster:032x}: it must not become two; this node waits to be let in"
                )));
            }
            Seen::Silent(why) if names.contains(name) => {
                return Err(conflict(format!("{name} does not answer: {why}")));
            }
            _ => {}
        }
    }
    let set: Vec<(String, String)> = core
        .initial
        .iter()
        .filter(|(name, _)| names.contains(name))
        .cloned()
        .collect();
    collect(core, &set).await.map_err(conflict)?;
    let mut members = BTreeMap::from([(core.node.name.clone(), core.id)]);
    let own = promised(core);
    for (name, seen) in see(core, &set).await {
        match seen {
            Seen::Answers(Standing::Promised { id, promise, .. }) if Some(&promise) == own.as_ref() => {
                members.insert(name, id);
            }
            _ => return Err(conflict(format!("{name} has not given its promise to this node"))),
        }
    }
    begin(core, &members, own).await.map_err(conflict)
}

/// Answers for this node.
pub(crate) async fn answer(core: &Shared, from: &Identity, asked: Forming) -> Formed {
    match asked {
        Forming::Standing => Formed::Standing(standing(core)),
        Forming::Promise(promise) => {
            let member_of = core.situation.borrow().cluster_id;
            if promise.former != from.id {
                return Formed::Refused {
                    why: "a promise is asked for by the one who forms".to_owned(),
                };
            }
            if let Err(why) = forming::may_promise(member_of, promised(core).as_ref(), &promise) {
                return Formed::Refused { why };
            }
            match keep(core, promise).await {
                Ok(()) => Formed::Promised { id: core.id },
                Err(why) => Formed::Refused { why },
            }
        }
        Forming::FormOnly { names } => match form_only(core, &names).await {
            Ok(()) => Formed::Promised { id: core.id },
            Err(refusal) => Formed::Refused {
                why: refusal.to_string(),
            },
        },
    }
}

/// This node belongs to `cluster` from now on: synced, then told.
pub(super) async fn belong(core: &Core, cluster: u128) -> Result<(), String> {
    let store = core.store.clone();
    let kept = tokio::task::spawn_blocking(move || store.set_cluster_id(cluster)).await;
    kept.map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    core.link.set_cluster_id(cluster);
    core.situate(|situation| {
        situation.cluster_id = Some(cluster);
        situation.waiting_for = None;
    });
    tracing::info!(cluster = format!("{cluster:032x}"), "this node belongs to a cluster");
    Ok(())
}

/// The promise that this node has given.
pub(super) fn promised(core: &Core) -> Option<Promise> {
    let given = core.store.promised()?;
    let first = core.initial.iter().map(|(name, _)| name).min();
    Some(Promise {
        cluster: given.cluster_id,
        former: given.founder,
        former_name: first.unwrap_or(&core.node.name).clone(),
    })
}

pub(super) fn wait_for(core: &Core, what: String) {
    let news = core.situation.borrow().waiting_for.as_ref() != Some(&what);
    if news {
        tracing::info!(what, "this node belongs to no cluster yet");
        core.situate(|situation| situation.waiting_for = Some(what));
    }
}

fn standing(core: &Core) -> Standing {
    let name = core.node.name.clone();
    match (core.situation.borrow().cluster_id, promised(core)) {
        (Some(cluster), _) => Standing::Member { cluster, name },
        (None, Some(promise)) => Standing::Promised {
            id: core.id,
            name,
            promise,
        },
        (None, None) => Standing::Empty {
            id: core.id,
            name,
            initial: core.initial.iter().map(|(name, _)| name.clone()).collect(),
        },
    }
}

async fn see(core: &Core, set: &[(String, String)]) -> BTreeMap<String, Seen> {
    let others = set.iter().filter(|(name, _)| *name != core.node.name);
    let looks = others.map(|(name, address)| async move {
        let seen = match say(core, address, &Forming::Standing).await {
            Ok(Formed::Standing(standing)) => Seen::Answers(standing),
            Ok(_) => Seen::Silent("it answered something else".to_owned()),
            Err(why) => Seen::Silent(why),
        };
        (name.clone(), seen)
    });
    join_all(looks).await.into_iter().collect()
}

/// Promises oneself and asks the others of `set` for theirs.
async fn collect(core: &Core, set: &[(String, String)]) -> Result<(), String> {
    let own = promise_to_oneself(core).await?;
    let others = set.iter().filter(|(name, _)| *name != core.node.name);
    let asked = others.map(|(name, address)| {
        let ask = Forming::Promise(own.clone());
        async move {
            match say(core, address, &ask).await {
                Ok(Formed::Promised { .. }) => Ok(()),
                Ok(Formed::Refused { why }) => Err(format!("{name} does not promise: {why}")),
                Ok(Formed::Standing(_)) => Err(format!("{name} answered something else")),
                Err(why) => Err(format!("{name}: {why}")),
            }
        }
    });
    join_all(asked).await.into_iter().collect()
}

async fn promise_to_oneself(core: &Core) -> Result<Promise, String> {
    let own = match promised(core) {
        Some(own) => own,
        None => {
            let mut random = [0; 16];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| "the system gives no random bytes".to_owned())?;
            Promise {
                cluster: u128::from_be_bytes(random),
                former: core.id,
                former_name: core.node.name.clone(),
            }
        }
    };
    keep(core, own.clone()).await?;
    Ok(own)
}

async fn keep(core: &Core, promise: Promise) -> Result<(), String> {
    let store = core.store.clone();
    let kept = sluice_consensus::Promise {
        cluster_id: promise.cluster,
        founder: promise.former,
    };
    let kept = tokio::task::spawn_blocking(move || store.promise(&kept)).await;
    kept.map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

async fn begin(core: &Shared, members: &BTreeMap<String, NodeId>, own: Option<Promise>) -> Result<(), String> {
    let Some(own) = own else {
        return Err("this node has not promised itself".to_owned());
    };
    let mut nodes = BTreeMap::new();
    for (name, id) in members {
        let node = match *id == core.id {
            true => core.node.clone(),
            false => {
                let address = address(core, name).ok_or_else(|| format!("{name} stands not in `initial`"))?;
                let theirs = core
                    .link
                    .hello(&address, ASK)
                    .await
                    .map_err(|error| format!("{name}: {error}"))?;
                if theirs.id != *id {
                    return Err(format!("{name} is another node than the one that promised"));
                }
                node_of(&theirs, &address)
            }
        };
        nodes.insert(*id, node);
    }
    match core.consensus.initialise(nodes).await {
        Ok(()) | Err(MemberError::AlreadyInitialised) => {}
        Err(error) => return Err(error.to_string()),
    }
    belong(core, own.cluster).await
}

/// What the membership says of a node that introduced itself.
pub(crate) fn node_of(theirs: &Identity, address: &str) -> Node {
    Node {
        name: theirs.name.clone(),
        peer: if theirs.peer.is_empty() {
            address.to_owned()
        } else {
            theirs.peer.clone()
        },
        admin: theirs.admin.clone(),
        zone: theirs.zone.clone(),
        labels: theirs.labels.clone(),
    }
}

fn address(core: &Core, name: &str) -> Option<String> {
    core.initial
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, address)| address.clone())
}

async fn say(core: &Core, address: &str, what: &Forming) -> Result<Formed, String> {
    let peer = Peer {
        id: None,
        address: address.to_owned(),
    };
    let body = wire::encode(what).map_err(|refusal| refusal.to_string())?;
    let said = core
        .link
        .call(&peer, Lane::Control, Service::FORM, body, Patience::Total(ASK))
        .await;
    wire::decode(&said.map_err(|error| error.to_string())?)
}
