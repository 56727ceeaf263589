//! What the log says of breakers, held here: told to this node's breakers, and taken back when its time is over.

use super::order::recorded;
use super::overrides::{COLLECTION, LEVEL, Looked, Overrides, Stored, read};
use crate::change::{Actor, catch_up};
use crate::core::{Core, Shared};
use crate::leader::{envelope, propose};
use crate::refusal::Refusal;
use crate::rfc3339;
use sluice_consensus::Body;
use sluice_shared_state::BreakerKey;
use sluice_shared_store::Forced;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

/// Between two tries of a leader to take away what is over.
const AGAIN: Duration = Duration::from_secs(1);

/// The overrides that this node holds.
#[derive(Debug)]
pub(crate) struct Enforced(watch::Sender<Overrides>);

// === impl Enforced ===

impl Enforced {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Overrides::default()))
    }

    /// Those that hold now.
    pub(crate) fn overrides(&self) -> Overrides {
        self.0.borrow().clone()
    }

    /// Changes of them.
    pub(crate) fn changed(&self) -> watch::Receiver<Overrides> {
        self.0.subscribe()
    }

    /// Waits until what holds for a breaker is what this request said (without one: nothing), but not for longer than
    /// `within`. Whether it does.
    pub(crate) async fn agree(&self, key: &BreakerKey, request_id: Option<&str>, within: Duration) -> bool {
        let mut changes = self.0.subscribe();
        let agreed = changes.wait_for(|overrides| overrides.agrees(key, request_id));
        matches!(timeout(within, agreed).await, Ok(Ok(_)))
    }
}

/// Holds what the log says until the runtime ends; where this node leads, takes away what is over.
pub(crate) async fn enforce(core: Shared) {
    let mut head = core.consensus.watch();
    let mut raft = core.consensus.watch_raft();
    let mut pause: Option<Instant> = None;
    loop {
        head.mark_unchanged();
        let leads = raft.borrow_and_update().is_leader();
        let records = core.consensus.records(COLLECTION);
        let mut looked = Looked::default();
        core.enforced.0.send_if_modified(|overrides| {
            looked = overrides.look(&records, Instant::now(), rfc3339::now_ms());
            // After the breakers, so that who waits for it finds it done.
            looked
                .tell
                .iter()
                .for_each(|(key, what)| tell(&core, key, what.as_ref()));
            !looked.tell.is_empty()
        });
        let may = pause.is_none_or(|pause| pause <= Instant::now());
        if leads && may && !looked.over.is_empty() {
            pause = None;
            if let Err(refusal) = take_away(&core, &looked.over).await {
                tracing::debug!(%refusal, "overrides of breakers that are over stay in the log for now");
                pause = Some(Instant::now() + AGAIN);
            }
            continue;
        }
        let again = pause.filter(|_| leads && !looked.over.is_empty());
        let wake = looked.next.into_iter().chain(again).min();
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            changed = raft.changed() => if changed.is_err() { return },
            () = until(wake) => {}
        }
    }
}

fn tell(core: &Core, key: &BreakerKey, what: Option<&(Stored, Duration)>) {
    let breaker = super::overrides::record_key(key);
    match what {
        Some((stored, left)) => tracing::warn!(
            breaker,
            open = stored.open,
            who = stored.who,
            why = stored.why,
            left_s = left.as_secs(),
            "a breaker was set by hand"
        ),
        None => tracing::info!(breaker, "a breaker decides by itself again"),
    }
    let forced = what.map(|(stored, left)| Forced {
        open: stored.open,
        until: SystemTime::now() + *left,
        who: stored.who.clone(),
        why: stored.why.clone(),
    });
    core.shared.breakers().force(key, forced);
}

/// Takes records away whose time is over, as long as they hold what was seen.
async fn take_away(core: &Core, over: &[(String, Stored)]) -> Result<(), Refusal> {
    let _turn = core.turn.lock().await;
    catch_up(core).await?;
    for (key, stored) in over {
        let records = core.consensus.records(COLLECTION);
        if records.get(key).and_then(|record| read(record)).as_ref() != Some(stored) {
            continue;
        }
        let actor = Actor {
            who: "the leader".to_owned(),
            from: core.node.name.clone(),
            why: Some("its time is over".to_owned()),
            request_id: stored.request_id.clone(),
        };
        let body = Body::Record {
            collection: COLLECTION.to_owned(),
            key: key.clone(),
            value: None,
        };
        let mut envelope = envelope(0, actor, body);
        envelope.level = LEVEL;
        recorded(propose(core, envelope, &stored.request_id).await?)?;
    }
    Ok(())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
