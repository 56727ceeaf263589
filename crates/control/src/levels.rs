//! The feature level: what every node of the cluster understands.
//!
//! A part or an order that older binaries do not know needs a level; the cluster takes it only once it has been raised
//! there, which an operator says (`upgrade finalize`) after the last node was updated, since there is no way back: a
//! node of an older binary is let in no more. A cluster without a configuration has nothing to fall back to, so its
//! first change raises it to what its members have in common.

use crate::change::{Actor, ChangeRequest};
use crate::core::Core;
use crate::leader::{envelope, propose};
use crate::refusal::Refusal;
use sluice_consensus::{Body, Head};

/// A member, as far as levels go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Knows {
    pub(crate) name: String,
    /// The highest level that its binary knows; none where the node is not heard.
    pub(crate) level: Option<u32>,
}

/// Why a level is not common to all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCommon {
    #[error("{} cannot be heard, so what its binary understands is not known: start or remove it", .0.join(", "))]
    Unheard(Vec<String>),
    #[error("{} understands level {level} only: update it first", .names.join(", "))]
    Older { names: Vec<String>, level: u32 },
}

/// The level that all understand.
pub(crate) fn common(members: &[Knows]) -> Result<u32, NotCommon> {
    let silent: Vec<String> = members
        .iter()
        .filter(|member| member.level.is_none())
        .map(|member| member.name.clone())
        .collect();
    if !silent.is_empty() {
        return Err(NotCommon::Unheard(silent));
    }
    Ok(members.iter().filter_map(|member| member.level).min().unwrap_or(1))
}

/// To which level a cluster can be raised from `now`, up to `wanted`.
pub(crate) fn raised(now: u32, wanted: u32, members: &[Knows]) -> Result<u32, NotCommon> {
    if wanted <= now {
        return Ok(now);
    }
    let common = common(members)?;
    if common > now {
        return Ok(common.min(wanted));
    }
    let older = members.iter().filter(|member| member.level == Some(common));
    Err(NotCommon::Older {
        names: older.map(|member| member.name.clone()).collect(),
        level: common,
    })
}

/// Whether a change that needs `needed` may be made now. Raises a cluster that has no configuration yet.
pub(crate) async fn allow(core: &Core, head: &Head, needed: u32, request: &ChangeRequest) -> Result<(), Refusal> {
    if needed <= head.level && (head.version > 0 || request.dry_run) {
        return Ok(());
    }
    let refused = Refusal::LevelTooLow {
        needed,
        cluster: head.level,
    };
    if head.version > 0 {
        return Err(refused);
    }
    match raised(head.level, core.level, &known(core)) {
        // What the change does not need by itself is worth no refusal.
        Ok(to) if needed <= head.level && to > head.level => propose_level(core, to, request.actor.clone()).await,
        _ if needed <= head.level => Ok(()),
        Ok(to) if to >= needed && request.dry_run => Ok(()),
        Ok(to) if to >= needed => propose_level(core, to, request.actor.clone()).await,
        Ok(_) => Err(refused),
        Err(why) => Err(Refusal::Conflict {
            why: format!("{refused}; {why}"),
        }),
    }
}

/// Raises the cluster to what all of its members understand. On the leader.
pub(crate) async fn finalize(core: &Core, actor: Actor) -> Result<(), Refusal> {
    let _turn = core.turn.lock().await;
    let now = core.consensus.head().level;
    let to = raised(now, core.level, &known(core)).map_err(|why| Refusal::Conflict {
        why: format!("the cluster stays at feature level {now}: {why}"),
    })?;
    if to == now {
        return Ok(());
    }
    propose_level(core, to, actor).await
}

async fn propose_level(core: &Core, to: u32, actor: Actor) -> Result<(), Refusal> {
    tracing::info!(level = to, who = actor.who, "the cluster's feature level rises");
    let request_id = actor.request_id.clone();
    let raised = propose(core, envelope(0, actor, Body::Level(to)), &request_id).await?;
    tracing::debug!(?raised, "the log answered");
    Ok(())
}

/// What each member understands.
pub(crate) fn known(core: &Core) -> Vec<Knows> {
    let members = core.consensus.raft().members.into_iter();
    members
        .map(|member| Knows {
            level: match member.id == core.id {
                true => Some(core.level),
                false => core.heard(member.id).map(|heard| heard.status.level),
            },
            name: member.node.name,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(levels: &[Option<u32>]) -> Vec<Knows> {
        let levels = levels.iter().enumerate();
        levels
            .map(|(n, level)| Knows {
                name: format!("n{n}"),
                level: *level,
            })
            .collect()
    }

    #[test]
    fn a_cluster_is_raised_to_what_all_understand() {
        assert_eq!(raised(1, 3, &members(&[Some(3), Some(2), Some(3)])), Ok(2));
        assert_eq!(raised(1, 2, &members(&[Some(3), Some(3)])), Ok(2));
    }

    #[test]
    fn who_holds_it_back_is_named() {
        let older = NotCommon::Older {
            names: vec!["n1".to_owned()],
            level: 1,
        };
        assert_eq!(raised(1, 2, &members(&[Some(2), Some(1)])), Err(older));
        let unheard = NotCommon::Unheard(vec!["n0".to_owned()]);
        assert_eq!(raised(1, 2, &members(&[None, Some(2)])), Err(unheard));
    }

    #[test]
    fn where_nothing_is_to_be_raised_nobody_needs_to_be_heard() {
        assert_eq!(raised(2, 2, &members(&[None, Some(1)])), Ok(2));
    }
}
