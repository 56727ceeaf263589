//! What this node tells the others of itself, and how ready it is.

use crate::census;
use crate::core::{Core, Shared};
use crate::readiness::{Facts, Readiness, judge};
use crate::rfc3339;
use crate::view::{Degraded, ReadyView};
use sluice_document::{Part, PartKey, declared, decode_part};
use sluice_peer::{Peer, Status};
use sluice_shared_store::StoreState;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// A leader is lost when it was not heard, or no majority acknowledged it, for this long.
const LOST: Duration = Duration::from_secs(2);

/// Readiness is looked at this often though nothing changed: ages grow by themselves.
const LOOK: Duration = Duration::from_millis(200);

/// Tells the status whenever it changes, and to whom; ends with the runtime.
pub(crate) async fn tell(core: Shared, ready: watch::Sender<Readiness>) {
    let mut head = core.consensus.watch();
    let mut raft = core.consensus.watch_raft();
    let mut live = core.published.live_changed();
    let mut situation = core.situation.subscribe();
    let mut store = core.shared.state();
    let mut majority = Majority::new();
    loop {
        let view = raft.borrow_and_update().clone();
        if let Some(why) = &view.fault {
            core.disk_failed(why);
        }
        let readiness = judge(&facts(&core, &mut majority));
        let audience: Vec<Peer> = view
            .members
            .iter()
            .filter(|m| m.voter)
            .map(|m| m.node.peer(m.id))
            .collect();
        core.link.set_audience(audience);
        let (live_now, head_now, told) = (
            *live.borrow_and_update(),
            head.borrow_and_update().clone(),
            situation.borrow_and_update().clone(),
        );
        core.link.tell(Status {
            id: core.id,
            name: core.node.name.clone(),
            committed: head_now.version,
            live: live_now.version,
            live_digest: live_now.digest,
            why_not_live: told.not_live.map(|(why, _)| why),
            draining: told.draining,
            ready: readiness.reason.is_none(),
            shared_store: reaches_store(&store.borrow_and_update()),
            level: core.level,
            load: 0.0,
            term: view.term,
            last_log: view.last_log,
        });
        ready.send_if_modified(|before| {
            let differs = *before != readiness;
            *before = readiness;
            differs
        });
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            changed = raft.changed() => if changed.is_err() { return },
            _ = live.changed() => {}
            _ = situation.changed() => {}
            _ = store.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Tells this node's shared state who is there, whenever that changes; ends with the runtime.
pub(crate) async fn count_members(core: Shared) {
    let mut raft = core.consensus.watch_raft();
    let mut heard = core.link.heard_changed();
    let mut store = core.shared.state();
    let mut told = None;
    loop {
        let view = raft.borrow_and_update().clone();
        let own_store = reaches_store(&store.borrow_and_update());
        heard.mark_unchanged();
        let statuses = core.link.heard();
        let now = Instant::now();
        let voter = view.member(core.id).is_some_and(|member| member.voter);
        let members = census::count(&census::Known {
            own: &core.node.name,
            own_store,
            membership: view.members.iter().map(|member| member.node.name.as_str()).collect(),
            told: voter && now.saturating_duration_since(core.started) >= census::LIVE,
            majority: view.has_majority(now, LOST),
            heard: statuses
                .iter()
                .map(|heard| census::Sighting {
                    name: &heard.status.name,
                    age: now.saturating_duration_since(heard.at),
                    draining: heard.status.draining,
                    store: heard.status.shared_store,
                })
                .collect(),
        });
        if told.as_ref() != Some(&members) {
            core.shared.members(members.clone());
            told = Some(members);
        }
        tokio::select! {
            changed = raft.changed() => if changed.is_err() { return },
            _ = heard.changed() => {}
            _ = store.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Whether the shared store is reached; `None` where there is none.
pub(crate) fn reaches_store(state: &StoreState) -> Option<bool> {
    match state {
        StoreState::Memory => None,
        StoreState::Reached | StoreState::Doubted { .. } => Some(true),
        StoreState::Away { .. } => Some(false),
    }
}

/// `/readyz`.
pub(crate) fn ready_view(core: &Core, readiness: &Readiness) -> ReadyView {
    let degraded = readiness.degraded.iter().map(|(what, since, why)| Degraded {
        what: (*what).to_owned(),
        since: rfc3339::of(*since),
        why: why.clone(),
    });
    ReadyView {
        ready: readiness.reason.is_none(),
        reason: readiness.reason.clone(),
        degraded: degraded.collect(),
        version: core.published.live().version,
        name: core.node.name.clone(),
    }
}

/// Since when no leader with a majority is heard.
pub(crate) struct Majority {
    lost_since: Option<Instant>,
}

// === impl Majority ===

impl Majority {
    pub(crate) fn new() -> Self {
        Self { lost_since: None }
    }

    fn look(&mut self, core: &Core, now: Instant) -> Option<Duration> {
        if core.consensus.raft().has_majority(now, LOST) {
            self.lost_since = None;
        } else {
            self.lost_since.get_or_insert(now);
        }
        self.lost_since.map(|since| now.saturating_duration_since(since))
    }
}

fn facts(core: &Core, majority: &mut Majority) -> Facts {
    let now = Instant::now();
    let situation = core.situation.borrow().clone();
    let leaderless_for = majority.look(core, now);
    let (stale_warn, unready_after) = stale(core);
    Facts {
        formed: situation.cluster_id.is_some(),
        waiting_for: situation.waiting_for,
        removed: situation.removed,
        caught_up: situation.caught_up,
        has_leader: leaderless_for.is_none(),
        up: now.saturating_duration_since(core.started),
        stored: core.stored,
        serving: situation.serving,
        draining: situation.draining,
        leaderless_for,
        disk: situation
            .disk
            .map(|(why, since)| (why, now.saturating_duration_since(since))),
        not_live: situation
            .not_live
            .map(|(why, since)| (why, now.saturating_duration_since(since))),
        empty: core.published.live().version == 0,
        stale_warn,
        unready_after,
        store: core.shared.state().borrow().clone(),
        now: SystemTime::now(),
    }
}

/// `cluster.stale` of the newest version.
fn stale(core: &Core) -> (Duration, Option<Duration>) {
    let declared = core.consensus.with_parts(|parts| {
        let entry = parts.get(PartKey::Cluster.to_string().as_str())?;
        match decode_part(&PartKey::Cluster, &entry.value) {
            Ok(Part::Cluster(cluster)) => cluster.stale,
            _ => None,
        }
    });
    let stale = declared.unwrap_or_default();
    let after = match stale.unready_after {
        Some(declared::UnreadyAfter::After(after)) => Some(after.0),
        Some(declared::UnreadyAfter::Never) | None => None,
    };
    (stale.warn.map_or(Duration::from_secs(60), |warn| warn.0), after)
}
