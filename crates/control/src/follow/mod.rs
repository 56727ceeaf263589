//! From committed to live: this node turns to the version that the cluster wants, as soon as it
//! hears of it, unless that has crashed it before or cannot be served here.

mod caught_up;
mod rehearse;

pub(crate) use caught_up::catch_up;
pub(crate) use rehearse::rehearse;

use crate::boot_guard::PROVEN_AFTER;
use crate::compile::{Compiler, Task};
use crate::core::{Core, Rehearsed, Shared, lock};
use crate::digest::Digest;
use crate::wire::Objection;
use sluice_consensus::PartChange;
use sluice_snapshot::Snapshot;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep_until;

/// What could not be served is tried again after this time: a file or an address may have come.
const RETRY: Duration = Duration::from_secs(5);

/// So many versions are tried, the newest first, where a start finds one that cannot be served.
const OLDER: u32 = 64;

/// The version that was published last.
pub(crate) struct Following {
    pub(crate) version: u64,
    pub(crate) digest: Digest,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// Follows until the runtime ends.
pub(crate) async fn follow(core: Shared, compiler: Compiler, mut pinned: Option<Pin>) {
    let mut head = core.consensus.watch();
    let mut live = core.published.live_changed();
    let mut awaited: Option<(u64, Instant)> = None;
    loop {
        let wanted = head.borrow_and_update().live_on(&core.node.name);
        if pinned.is_some_and(|pin| wanted > pin.while_head_is) {
            pinned = None;
            let store = core.store.clone();
            match tokio::task::spawn_blocking(move || store.set_pin(None)).await {
                Ok(Ok(())) => tracing::info!("a version newer than the pin was made: the pin is gone"),
                Ok(Err(error)) => tracing::error!(%error, "the pin could not be taken away"),
                Err(error) => tracing::error!(%error, "the pin could not be taken away"),
            }
        }
        let chosen = choose(&core, wanted, pinned.as_ref());
        let at = lock(&core.following).version;
        let mut failed = false;
        if chosen.version != at {
            let heard = Instant::now();
            match turn_to(&core, &compiler, chosen.version).await {
                Ok(()) => awaited = Some((chosen.version, heard)),
                Err(objections) => {
                    failed = true;
                    let why = explain(chosen.version, &objections);
                    tracing::error!(
                        version = chosen.version,
                        why,
                        "this node cannot serve by the version that it should"
                    );
                    not_live(&core, Some(why));
                    if at == 0 {
                        keep_an_older_one(&core, &compiler, chosen.version).await;
                    }
                }
            }
        }
        if !failed {
            not_live(&core, chosen.why);
        }
        core.situate(|situation| situation.serving = true);
        let retry = failed.then(|| Instant::now() + RETRY);
        loop {
            if let Some((version, heard)) = awaited
                && core.published.live().version == version
            {
                core.figures.applied(heard.elapsed());
                awaited = None;
            }
            let proven = proven_at(&core);
            tokio::select! {
                changed = head.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Ok(()) = live.changed() => {}
                () = until(retry) => break,
                () = until(proven) => prove(&core).await,
            }
        }
    }
}

/// A start by an older version, as an operator asked offline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pin {
    /// Which.
    pub(crate) version: u64,
    /// It holds while no version newer than this is wanted.
    pub(crate) while_head_is: u64,
}

struct Chosen {
    version: u64,
    /// Why it is not the one that the cluster wants.
    why: Option<String>,
}

fn choose(core: &Core, wanted: u64, pin: Option<&Pin>) -> Chosen {
    if let Some(pin) = pin
        && pin.version != wanted
    {
        return Chosen {
            version: pin.version,
            why: Some(format!(
                "pinned to version {} by `sluice rescue` until a version newer than {} is made",
                pin.version, pin.while_head_is
            )),
        };
    }
    let version = older_or(core, wanted);
    let why = (version != wanted).then(|| {
        format!("version {wanted} crashed this node again and again within a minute of going live: it serves by version {version} until a newer one is made")
    });
    Chosen { version, why }
}

/// The version itself, or the newest before it that this node may go back to.
fn older_or(core: &Core, version: u64) -> u64 {
    let boot = lock(&core.boot).clone();
    boot.choose(version, |version| core.consensus.may_serve(version, &core.node.name))
}

/// Compiles what differs, publishes it, and remembers that this is tried.
async fn turn_to(core: &Core, compiler: &Compiler, version: u64) -> Result<(), Vec<Objection>> {
    let began = Instant::now();
    let trial = lock(&core.boot).try_version(version);
    if let Some(record) = trial {
        core.write_boot(record).await;
    }
    let (served, at) = {
        let following = lock(&core.following);
        (Arc::clone(&following.snapshot), following.version)
    };
    let Way { changes, from_nothing } = way(core, at, version)?;
    // Only this task moves what is followed, so the digest belongs to `at` still.
    let (from, digest) = match from_nothing {
        true => (Arc::new(Snapshot::empty()), Digest::default().after(&changes)),
        false => (served, lock(&core.following).digest.after(&changes)),
    };
    let rehearsed = lock(&core.rehearsed).take();
    let snapshot = match rehearsed {
        Some(Rehearsed {
            version: v,
            digest: d,
            from,
            snapshot,
        }) if (v, d, from) == (version, digest, at) => snapshot,
        _ => {
            let task = Task {
                changes: changes.clone(),
                from,
                version,
                digest,
            };
            compiler.compile(task).await?
        }
    };
    core.published.publish(snapshot);
    {
        let mut following = lock(&core.following);
        if from_nothing {
            following.digest = Digest::default();
        }
        following.digest.advance(&changes);
        following.version = version;
        following.snapshot = core.published.current();
    }
    let limits: Vec<_> = core.published.current().limits().cloned().collect();
    core.shared.limits().declare(&limits);
    tracing::info!(version, took_ms = began.elapsed().as_millis(), "turned to a version");
    Ok(())
}

/// A node that cannot serve a version keeps the last one. After a start there is none to keep: the
/// newest stored one that can be served is taken again.
async fn keep_an_older_one(core: &Core, compiler: &Compiler, not: u64) {
    let mut version = not;
    for _ in 0..OLDER {
        version = older_or(core, version.saturating_sub(1));
        if version == 0 {
            return;
        }
        if turn_to(core, compiler, version).await.is_ok() {
            tracing::warn!(version, "this node serves by an older version meanwhile");
            return;
        }
    }
}

/// What leads from one version to another.
struct Way {
    changes: Vec<PartChange>,
    /// It starts from nothing, not from the version served.
    from_nothing: bool,
}

fn way(core: &Core, at: u64, to: u64) -> Result<Way, Vec<Objection>> {
    if let Some(changes) = core.consensus.delta(at, to) {
        return Ok(Way {
            changes,
            from_nothing: false,
        });
    }
    let parts = core.consensus.parts_at(to).map_err(|pruned| {
        vec![Objection {
            part: String::new(),
            why: pruned.to_string(),
        }]
    })?;
    let put = |(key, value)| PartChange {
        key,
        value: Some(value),
    };
    Ok(Way {
        changes: parts.into_iter().map(put).collect(),
        from_nothing: true,
    })
}

fn not_live(core: &Core, why: Option<String>) {
    core.situate(|situation| {
        situation.not_live = match (&situation.not_live, why) {
            (Some((old, since)), Some(why)) if *old == why => Some((why, *since)),
            (_, Some(why)) => Some((why, Instant::now())),
            (_, None) => None,
        };
    });
}

fn explain(version: u64, objections: &[Objection]) -> String {
    let mut why = format!("version {version} cannot be served here: ");
    for (n, objection) in objections.iter().take(3).enumerate() {
        if n > 0 {
            why.push_str("; ");
        }
        if !objection.part.is_empty() {
            why.push_str(&objection.part);
            why.push_str(": ");
        }
        why.push_str(&objection.why);
    }
    if objections.len() > 3 {
        why.push_str(&format!("; and {} more", objections.len() - 3));
    }
    why
}

/// When the version on trial will have been live for long enough.
fn proven_at(core: &Core) -> Option<Instant> {
    let trial = lock(&core.boot).trial?;
    let live = core.published.live();
    (live.version == trial.version).then(|| live.since + PROVEN_AFTER)
}

async fn prove(core: &Core) {
    let version = core.published.live().version;
    let record = lock(&core.boot).prove(version);
    if let Some(record) = record {
        core.write_boot(record).await;
        tracing::info!(version, "this version has proved itself here");
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
