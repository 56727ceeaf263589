//! A change's way on the leader: plan, check, rehearse everywhere, propose, wait.

mod check;
mod plan;
mod request;
mod spread;

pub(crate) use plan::{part_version, under};
pub use request::{Actor, ChangeReply, ChangeRequest, Freshness, PartReading, Pending, Reading, Target, Wait};
pub(crate) use spread::spread;

use crate::core::{Core, Shared};
use crate::leader::{envelope, propose, reading};
use crate::levels;
use crate::refusal::Refusal;
use crate::wire::WireChange;
use check::Checked;
use plan::{Earlier, Plan, plan};
use sha2::{Digest as _, Sha256};
use sluice_consensus::{Activation, Applied, Body, Idempotency};
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
            Ok(ChangeReply {
                version,
                changed,
                live: spread.live,
                pending: spread.pending,
                warnings,
            })
        }
    }
}

enum Committed {
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
    let index = consensus.read_index().await.map_err(|error| reading(core, &error))?;
    consensus
        .wait_applied(index, CATCH_UP)
        .await
        .map_err(|_| Refusal::NoMajority)?;
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
    levels::allow(core, &head, level, request).await?;
    let asked: Vec<WireChange> = changes.iter().map(WireChange::of).collect();
    let objections = spread::rehearse_everywhere(core, head.version, asked).await;
    if !objections.is_empty() {
        if !request.force {
            return Err(Refusal::invalid(objections));
        }
        warnings.extend(objections.into_iter().map(spread::as_warning));
    }
    let changed: Vec<String> = changes.iter().map(|change| change.key.to_string()).collect();
    if request.dry_run {
        let mut reply = unchanged(core, head.version + 1);
        (reply.changed, reply.warnings) = (changed, warnings);
        (reply.live, reply.pending) = (Vec::new(), Vec::new());
        return Ok(Committed::Nothing(reply));
    }
    let body = Body::Store {
        changes,
        activate: Some(Activation::default()),
        original,
    };
    let mut envelope = envelope(head.version, request.actor.clone(), body);
    envelope.level = level;
    envelope.idempotency = idempotency;
    let applied = propose(core, envelope, &request.actor.request_id).await?;
    outcome(core, applied, head.version, changed, warnings)
}

fn outcome(
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
        Applied::NoSuchVersion { .. } | Applied::Record => Err(Refusal::Internal {
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
    let spread = spread::look(core, version);
    ChangeReply {
        version,
        changed: Vec::new(),
        live: spread.live,
        pending: spread.pending,
        warnings: Vec::new(),
    }
}

/// What a repetition must have in common with the first.
fn fingerprint(request: &ChangeRequest) -> [u8; 32] {
    // Serialising these plain types into memory cannot fail; two failures would be told apart by
    // nothing, and one of them refused: the safe side.
    let asked = serde_json::to_vec(&(&request.target, request.if_version)).unwrap_or_default();
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
