//! Versions that are tried first: live on some nodes alone until they are promoted, or undone unless they are confirmed.
//!
//! ```text
//!   change with limits ──▶ leader: rehearse where it is to be live ▸ propose ──▶ open: nothing else is changed
//!                                                                                 │
//!            confirm, promote ──▶ leader: in time? ▸ (rehearse on the rest) ──────┤
//!            rollback to what was before, or the deadline by the leader's clock ──┴──▶ a new version, live on all
//! ```
//!
//! No node acts by itself: the limits are in the log, and so is what ends them. The judgement of time is pure
//! (`deadline`).

mod deadline;
mod view;

pub(crate) use deadline::{Deadline, left};
pub(crate) use view::{open, past};

use crate::change::{
    self, Actor, ChangeReply, Committed, Rehearsal, Wait, as_warning, catch_up, outcome, rehearse_everywhere, reply,
    spread,
};
use crate::core::{Core, Shared};
use crate::leader::{envelope, propose};
use crate::refusal::Refusal;
use crate::rfc3339;
use serde::{Deserialize, Serialize};
use sluice_consensus::{Activation, Body, Head, Trial, TrialAct};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::time::{sleep, sleep_until};

/// The feature level of everything here.
pub(crate) const LEVEL: u32 = 2;

/// No trial has less time to be confirmed.
pub const SHORTEST_TRIAL: Duration = Duration::from_secs(1);

/// None has more.
pub const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// Between two tries of a leader to undo what nobody confirmed.
const AGAIN: Duration = Duration::from_millis(250);

/// So many versions back is looked for the last trial, where nobody says which.
const RECENT: usize = 64;

/// What is to become of the version on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialOp {
    /// It is not undone any more; `None`: whichever is open.
    Confirm {
        /// Which.
        version: Option<u64>,
    },
    /// It is live on all nodes.
    Promote {
        /// Which.
        version: u64,
    },
}

/// An order about the version on trial, as it reaches any node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrialOrder {
    /// What.
    pub op: TrialOp,
    /// Goes on though a healthy node refused.
    pub force: bool,
    /// For whom the answer waits once it is committed.
    pub wait: Wait,
    /// For how long.
    pub timeout: Duration,
    /// Who asks.
    pub actor: Actor,
}

/// The wall clock's time at which a trial of this length, begun now, is over.
pub(crate) fn confirm_by(within: Duration) -> u64 {
    let within = within.clamp(SHORTEST_TRIAL, LONGEST_TRIAL);
    rfc3339::now_ms().saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX))
}

/// The nodes that a change names, each once, if all of them are members.
pub(crate) fn named(core: &Core, on: Option<&[String]>) -> Result<Option<Vec<String>>, Refusal> {
    let Some(on) = on else { return Ok(None) };
    let members: BTreeSet<String> = change::members(core)
        .into_iter()
        .map(|member| member.node.name)
        .collect();
    let on: BTreeSet<String> = on.iter().cloned().collect();
    let strangers: Vec<String> = on.difference(&members).cloned().collect();
    if !strangers.is_empty() {
        let members: Vec<String> = members.into_iter().collect();
        return Err(Refusal::NotFound {
            what: format!("member {}; members are {}", strangers.join(", "), members.join(", ")),
        });
    }
    if on.is_empty() {
        return Err(Refusal::Conflict {
            why: "a change that is to be live on no node at all cannot be tried: name one".to_owned(),
        });
    }
    Ok(Some(on.into_iter().collect()))
}

/// Carries an order out, on the leader.
pub(crate) async fn lead(core: &Shared, order: TrialOrder) -> Result<ChangeReply, Refusal> {
    let committed = {
        let _turn = core.turn.lock().await;
        at_turn(core, &order).await?
    };
    match committed {
        Committed::Nothing(reply) => Ok(reply),
        Committed::Version {
            version,
            changed,
            warnings,
        } => {
            let spread = spread(core, version, order.wait, order.timeout).await;
            Ok(reply(core, version, changed, spread, warnings))
        }
    }
}

async fn at_turn(core: &Shared, order: &TrialOrder) -> Result<Committed, Refusal> {
    catch_up(core).await?;
    let head = core.consensus.head();
    let (asked, act) = match order.op {
        TrialOp::Confirm { version } => (version, TrialAct::Confirmed),
        TrialOp::Promote { version } => (Some(version), TrialAct::Promoted),
    };
    let trial = match &head.trial {
        Some(trial) if asked.is_none_or(|version| version == trial.version) => trial,
        _ => return no_trial(core, &head, asked, act),
    };
    let limited = match act {
        TrialAct::Confirmed => trial.confirm_by_ms.is_some(),
        TrialAct::Promoted | TrialAct::Undone => trial.on.is_some(),
    };
    if !limited {
        return no_trial(core, &head, Some(trial.version), act);
    }
    if let Some(by) = trial.confirm_by_ms.filter(|_| is_over(core, &head, trial)) {
        return Err(Refusal::TrialOver {
            version: trial.version,
            why: format!(
                "the time of version {} was over at {}: it is being undone",
                trial.version,
                rfc3339::from_ms(by)
            ),
        });
    }
    let mut warnings = Vec::new();
    let activation = match act {
        TrialAct::Confirmed => Activation {
            on: trial.on.clone(),
            confirm_by_ms: None,
        },
        TrialAct::Promoted | TrialAct::Undone => {
            let stored = Rehearsal::Stored { version: trial.version };
            let objections = rehearse_everywhere(core, stored, None).await;
            if !objections.is_empty() && !order.force {
                return Err(Refusal::invalid(objections));
            }
            warnings.extend(objections.into_iter().map(as_warning));
            Activation {
                on: None,
                confirm_by_ms: trial.confirm_by_ms,
            }
        }
    };
    let body = Body::Activate {
        version: trial.version,
        activation,
    };
    let mut envelope = envelope(head.version, order.actor.clone(), body);
    envelope.level = LEVEL;
    let applied = propose(core, envelope, &order.actor.request_id).await?;
    outcome(core, applied, head.version, Vec::new(), warnings)
}

fn is_over(core: &Core, head: &Head, trial: &Trial) -> bool {
    let now = Instant::now();
    let over = core.deadline.of(trial, head.at_ms, now, rfc3339::now_ms());
    over.is_some_and(|over| over <= now)
}

/// What there is to say to an order about a version that does not wait for it. Who says again what was done is told so;
/// nothing is changed.
fn no_trial(core: &Core, head: &Head, asked: Option<u64>, act: TrialAct) -> Result<Committed, Refusal> {
    let last = || {
        let recent = core.consensus.history(None, RECENT);
        recent
            .into_iter()
            .find(|entry| entry.trial.is_some())
            .map(|entry| entry.version)
    };
    let Some(version) = asked.or_else(last) else {
        return Err(Refusal::Conflict {
            why: "no version is on trial".to_owned(),
        });
    };
    if core.consensus.delta(version, version).is_none()
        && let Err(kept) = core.consensus.parts_at(version)
    {
        return Err(Refusal::no_version(version, &kept));
    }
    let record = core.consensus.trial(version);
    let steps = record.iter().flat_map(|record| &record.steps);
    if let Some(step) = steps.clone().find(|step| step.what == TrialAct::Undone) {
        let why = step.author.why.as_ref().map(|why| format!(" ({why})"));
        return Err(Refusal::TrialOver {
            version,
            why: format!(
                "version {version} was undone at {} by {}{}: version {} has what was live before it; apply it anew",
                rfc3339::from_ms(step.at_ms),
                step.author.who,
                why.unwrap_or_default(),
                step.head
            ),
        });
    }
    if asked.is_some() && steps.clone().any(|step| step.what == act) {
        let spread = change::look(core, version);
        return Ok(Committed::Nothing(reply(core, version, Vec::new(), spread, Vec::new())));
    }
    let open = head.trial.as_ref().filter(|open| open.version == version);
    Err(Refusal::Conflict {
        why: match (open, act) {
            (Some(_), TrialAct::Confirmed) => {
                format!(
                    "version {version} has no deadline and need not be confirmed: promote it, or go back to {}",
                    head.active
                )
            }
            (Some(_), _) => format!("version {version} is live on all nodes already: it waits to be confirmed"),
            (None, _) => format!("version {version} is not on trial"),
        },
    })
}

/// Watches over the deadline of the open trial, and undoes it where this node leads. Ends with the runtime.
pub(crate) async fn watch(core: Shared) {
    let mut head = core.consensus.watch();
    let mut raft = core.consensus.watch_raft();
    loop {
        let leads = raft.borrow_and_update().is_leader();
        let over = {
            let head = head.borrow_and_update();
            // Also on nodes that do not lead: a new leader goes on with what it has counted.
            head.trial
                .as_ref()
                .and_then(|trial| core.deadline.of(trial, head.at_ms, Instant::now(), rfc3339::now_ms()))
        };
        match over.filter(|_| leads) {
            Some(over) if over <= Instant::now() => {
                if let Err(refusal) = undo(&core).await {
                    tracing::warn!(%refusal, "what nobody confirmed could not be undone yet");
                    sleep(AGAIN).await;
                }
            }
            over => tokio::select! {
                changed = head.changed() => if changed.is_err() { return },
                changed = raft.changed() => if changed.is_err() { return },
                () = until(over) => {}
            },
        }
    }
}

/// Brings back what was before a trial whose time is over.
async fn undo(core: &Core) -> Result<(), Refusal> {
    let _turn = core.turn.lock().await;
    catch_up(core).await?;
    let head = core.consensus.head();
    let Some(trial) = head.trial.as_ref().filter(|trial| is_over(core, &head, trial)) else {
        // It was confirmed, or undone by another leader, at the last moment.
        return Ok(());
    };
    let asked_for = core.consensus.history(Some(trial.version + 1), 1);
    let request_id = asked_for
        .into_iter()
        .next()
        .map(|made| made.request_id)
        .unwrap_or_default();
    let actor = Actor {
        who: "the leader".to_owned(),
        from: core.node.name.clone(),
        why: Some(format!("undone: nobody confirmed version {}", trial.version)),
        request_id: request_id.clone(),
    };
    let body = Body::Activate {
        version: head.active,
        activation: Activation::default(),
    };
    let mut envelope = envelope(head.version, actor, body);
    envelope.level = LEVEL;
    let applied = propose(core, envelope, &request_id).await?;
    // Checked against the head a moment ago; should another leader have been faster, the next look finds that.
    outcome(core, applied, head.version, Vec::new(), Vec::new())?;
    tracing::warn!(
        version = trial.version,
        back_to = head.active,
        "nobody confirmed this version in time: what was live before it is live again"
    );
    Ok(())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
