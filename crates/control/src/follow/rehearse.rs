//! Could this node serve a change? Asked of every healthy member before the change is proposed.

use crate::compile::{TIME, Task};
use crate::core::{Core, Rehearsed, lock};
use crate::wire::{Objection, Prepare, Prepared, WireChange};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The version that a change was made for reaches a member that keeps up within milliseconds. One that still lacks it
/// after this lags behind, and the cluster does not wait for it.
const ARRIVAL: Duration = Duration::from_secs(2);

/// Compiles the change against what this node serves by, and keeps the result: when the change is
/// committed it is published without being compiled again.
pub(crate) async fn rehearse(core: &Core, asked: Prepare) -> Prepared {
    let Prepare {
        base,
        changes,
        within,
        stored,
    } = asked;
    let version = if stored { base } else { base + 1 };
    let within = within.min(TIME);
    let mut head = core.consensus.watch();
    // Where the disk has failed nothing arrives any more: the others are not to wait for it.
    let follows = core.situation.borrow().disk.is_none();
    let arrival = head.wait_for(|head| head.version >= base);
    let arrived = follows
        && timeout(within.min(ARRIVAL), arrival)
            .await
            .is_ok_and(|head| head.is_ok());
    let at = core.consensus.head().version;
    if !arrived || at != base {
        return Prepared::Behind { at };
    }
    let mut concerned: BTreeSet<String> = changes.iter().map(|change| change.key().to_owned()).collect();
    // What is followed may move on between two looks: they must be of one version.
    let (from, at, digest, way) = loop {
        let at = lock(&core.following).version;
        if at == version {
            return Prepared::Ready;
        }
        let Some(before) = core.consensus.delta(at, base) else {
            return Prepared::Behind { at };
        };
        let change = changes.iter().cloned().map(WireChange::into_change);
        let following = lock(&core.following);
        if following.version == at {
            let way = following.digest.net(before.into_iter().chain(change));
            let digest = following.digest.after(&way);
            break (Arc::clone(&following.snapshot), at, digest, way);
        }
    };
    if stored {
        concerned.extend(way.iter().map(|change| change.key.to_string()));
    }
    let task = Task {
        changes: way,
        from,
        version,
        digest,
    };
    let rehearsing = core.rehearsals.begin();
    let compiled = match timeout(within, core.rehearsing.compile(task)).await {
        Ok(compiled) => compiled,
        Err(_) => Err(vec![Objection {
            part: String::new(),
            why: format!("it still compiled after {} s", within.as_secs()),
        }]),
    };
    drop(rehearsing);
    match compiled {
        Ok(snapshot) => {
            let rehearsed = Rehearsed {
                version,
                digest,
                from: at,
                snapshot,
            };
            let before = lock(&core.rehearsed).replace(rehearsed);
            // Written down before the change is proposed, so that no node waits for this on the way from committed to
            // live. If it is never committed, the next version that is turned to takes its place.
            let trial = lock(&core.boot).try_version(version);
            if let Some(record) = trial {
                core.write_boot(record).await;
            }
            // A snapshot that never was served is freed where nobody waits for it.
            tokio::task::spawn_blocking(move || drop(before));
            Prepared::Ready
        }
        Err(objections) => {
            // What this node could not serve before is no reason against a change of other parts.
            let about: Vec<Objection> = objections
                .into_iter()
                .filter(|objection| objection.part.is_empty() || concerned.contains(&objection.part))
                .collect();
            if about.is_empty() {
                Prepared::Ready
            } else {
                Prepared::Refused(about)
            }
        }
    }
}
