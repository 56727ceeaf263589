//! A change's way on the leader: plan, check, rehearse everywhere, propose, wait.

mod check;
mod plan;
mod request;
mod spread;

pub(crate) use plan::{part_version, under};
pub use request::{
    Actor, ChangeReply, ChangeRequest, Freshness, PartReading, Pending, Reading, Target, TrialRequest, Wait,
};
pub(crate) use spread::{Rehearsal, as_warning, look, members, rehearse_everywhere, spread};

use crate::core::{Core, Shared};
use crate::leader::{envelope, propose, reading};
use crate::levels;
use crate::refusal::Refusal;
use crate::trial;
use crate::wire::WireChange;
use check::Checked;
use plan::{Earlier, Plan, plan};
use sha2::{Digest as _, Sha256};
use sluice_consensus::{Activation, Applied, Body, Head, Idempotency};
use sluice_document::Diagnostic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Changes that may wait for their turn.
const QUEUE: usize = 64;

/// How long this leader may take to apply what is committed already.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Leads a change, one at a time.
pub(crate) async fn lead(core: &Shared, request: ChangeRequest) -> Result<ChangeReply, Refusal> {
    let committed = {
        let _place = Place::take(&core.waiting)?;
        let _turn = core.turn.lock().await;
        at_turn(core, &request).await?
    };
    match committed {
        Committed::Nothing(reply) => Ok(reply),
        Committed::Version {
            version,
            changed,
            warnings,
        } => {
            let spread = spread(core, version, request.wait, request.timeout).await;
            Ok(reply(core, version, changed, spread, warnings))
        }
    }
}

pub(crate) enum Committed {
    /// The answer stands already.
    Nothing(ChangeReply),
    Version {
        version: u64,
        changed: Vec<String>,
        warnings: Vec<Diagnostic>,
    },
}

async fn at_turn(core: &Shared, request: &ChangeRequest) -> Result<Committed, Refusal> {
    let consensus = &core.consensus;
    catch_up(core).await?;
    let idempotency = request.idempotency_key.as_ref().map(|key| Idempotency {
        key: key.clone(),
        digest: fingerprint(request),
    });
    if let Some(idempotency) = &idempotency
        && let Some(before) = repeated(core, request, idempotency).await?
    {
        return Ok(before);
    }
    let (head, present) = consensus.parts();
    if let Some(expected) = request.if_version
        && expected != head.version
    {
        return Err(Refusal::VersionConflict {
            expected,
            head: head.version,
        });
    }
    if let Some(open) = trial::open(core, &head) {
        return match request.target {
            Target::Rollback { version } if version == head.active && request.trial.is_none() => {
                end_trial(core, request, &head, idempotency).await
            }
            _ => Err(Refusal::PendingChange { trial: Box::new(open) }),
        };
    }
    let on = trial::named(core, request.trial.on.as_deref())?;
    let earlier = match &request.target {
        Target::Rollback { version } => Some(earlier(core, *version)?),
        _ => None,
    };
    let Plan { changes, original } = plan(&present, &request.target, earlier.as_ref())?;
    if changes.is_empty() {
        return Ok(Committed::Nothing(unchanged(core, head.version)));
    }
    let checked = {
        let (present, changes) = (Arc::clone(&present), changes.clone());
        tokio::task::spawn_blocking(move || check::check(&present, &changes)).await
    };
    let Checked { mut warnings, level } = checked.map_err(|error| Refusal::Internal {
        why: format!("checking the change broke off: {error}"),
    })??;
    let level = match request.trial.is_none() {
        true => level,
        false => level.max(trial::LEVEL),
    };
    levels::allow(core, &head, level, request).await?;
    let asked = Rehearsal::Change {
        base: head.version,
        changes: changes.iter().map(WireChange::of).collect(),
    };
    let objections = rehearse_everywhere(core, asked, on.as_deref()).await;
    if !objections.is_empty() {
        if !request.force {
            return Err(Refusal::invalid(objections));
        }
        warnings.extend(objections.into_iter().map(as_warning));
    }
    let changed: Vec<String> = changes.iter().map(|change| change.key.to_string()).collect();
    if request.dry_run {
        return Ok(Committed::Nothing(would_be(head.version + 1, changed, warnings)));
    }
    let body = Body::Store {
        changes,
        activate: Some(Activation {
            on,
            confirm_by_ms: request.trial.confirm_within.map(trial::confirm_by),
        }),
        original,
    };
    let mut envelope = envelope(head.version, request.actor.clone(), body);
    envelope.level = level;
    envelope.idempotency = idempotency;
    let applied = propose(core, envelope, &request.actor.request_id).await?;
    outcome(core, applied, head.version, changed, warnings)
}

/// Makes sure that this leader has applied all that is committed.
pub(crate) async fn catch_up(core: &Core) -> Result<(), Refusal> {
    let consensus = &core.consensus;
    let index = consensus.read_index().await.map_err(|error| reading(core, &error))?;
    let applied = consensus.wait_applied(index, CATCH_UP).await;
    applied.map_err(|_| Refusal::NoMajority)
}

/// Goes back to what is live beside an open trial. What that is every node has served, so nobody is asked.
async fn end_trial(
    core: &Core,
    request: &ChangeRequest,
    head: &Head,
    idempotency: Option<Idempotency>,
) -> Result<Committed, Refusal> {
    let changes = core.consensus.delta(head.version, head.active).unwrap_or_default();
    let changed: Vec<String> = changes.iter().map(|change| change.key.to_string()).collect();
    if request.dry_run {
        return Ok(Committed::Nothing(would_be(head.version + 1, changed, Vec::new())));
    }
    let body = Body::Activate {
        version: head.active,
        activation: Activation::default(),
    };
    let mut envelope = envelope(head.version, request.actor.clone(), body);
    envelope.level = trial::LEVEL;
    envelope.idempotency = idempotency;
    let applied = propose(core, envelope, &request.actor.request_id).await?;
    outcome(core, applied, head.version, changed, Vec::new())
}

pub(crate) fn outcome(
    core: &Core,
    applied: Applied,
    base: u64,
    changed: Vec<String>,
    warnings: Vec<Diagnostic>,
) -> Result<Committed, Refusal> {
    match applied {
        Applied::Version(version) => Ok(Committed::Version {
            version,
            changed,
            warnings,
        }),
        Applied::Same(version) => Ok(Committed::Nothing(unchanged(core, version))),
        Applied::Repeated { version, changed } => Ok(Committed::Version {
            version,
            changed: changed.iter().map(|key| key.to_string()).collect(),
            warnings,
        }),
        Applied::WrongBase { head } => Err(Refusal::VersionConflict { expected: base, head }),
        Applied::KeyReuse => Err(Refusal::IdempotencyReuse),
        Applied::LevelTooLow { cluster } => Err(Refusal::LevelTooLow {
            needed: cluster + 1,
            cluster,
        }),
        Applied::TrialOpen { version } => match trial::open(core, &core.consensus.head()) {
            Some(open) => Err(Refusal::PendingChange { trial: Box::new(open) }),
            None => Err(Refusal::Conflict {
                why: format!("version {version} was on trial: try again"),
            }),
        },
        Applied::NotNewest { .. } | Applied::NoSuchVersion { .. } | Applied::Record => Err(Refusal::Internal {
            why: "the log answered something else than was asked".to_owned(),
        }),
    }
}

/// Whether the same was asked before. The log itself knows: a command for a version that cannot be
/// is refused unless its key was used.
async fn repeated(
    core: &Core,
    request: &ChangeRequest,
    idempotency: &Idempotency,
) -> Result<Option<Committed>, Refusal> {
    let body = Body::Store {
        changes: Vec::new(),
        activate: None,
        original: None,
    };
    let mut probe = envelope(u64::MAX, request.actor.clone(), body);
    probe.idempotency = Some(idempotency.clone());
    match propose(core, probe, &request.actor.request_id).await? {
        Applied::WrongBase { .. } => Ok(None),
        applied => outcome(core, applied, u64::MAX, Vec::new(), Vec::new()).map(Some),
    }
}

fn earlier(core: &Core, version: u64) -> Result<Earlier, Refusal> {
    let found = core.consensus.parts_at(version);
    found.map_err(|kept| Refusal::no_version(version, &kept))
}

fn unchanged(core: &Core, version: u64) -> ChangeReply {
    reply(core, version, Vec::new(), spread::look(core, version), Vec::new())
}

fn would_be(version: u64, changed: Vec<String>, warnings: Vec<Diagnostic>) -> ChangeReply {
    ChangeReply {
        version,
        changed,
        live: Vec::new(),
        pending: Vec::new(),
        warnings,
        trial: None,
    }
}

pub(crate) fn reply(
    core: &Core,
    version: u64,
    changed: Vec<String>,
    spread: spread::Spread,
    warnings: Vec<Diagnostic>,
) -> ChangeReply {
    ChangeReply {
        version,
        changed,
        live: spread.live,
        pending: spread.pending,
        warnings,
        trial: trial::open(core, &core.consensus.head()).filter(|open| open.version == version),
    }
}

/// What a repetition must have in common with the first.
fn fingerprint(request: &ChangeRequest) -> [u8; 32] {
    // Serialising these plain types into memory cannot fail; two failures would be told apart by
    // nothing, and one of them refused: the safe side.
    let asked = match request.trial.is_none() {
        true => serde_json::to_vec(&(&request.target, request.if_version)),
        false => serde_json::to_vec(&(&request.target, request.if_version, &request.trial)),
    };
    let asked = asked.unwrap_or_default();
    Sha256::digest(&asked).into()
}

/// A place in the queue.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, Refusal> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(waiting);
        // One is at its turn, the others wait.
        if before > QUEUE {
            Err(Refusal::Busy { waiting: before - 1 })
        } else {
            Ok(place)
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
