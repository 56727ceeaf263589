//! What all parts of one node's control share.

use crate::boot_guard::BootRecord;
use crate::compile::Compiler;
use crate::events::Board;
use crate::figures::Figures;
use crate::follow::Following;
use crate::refusal::Refusal;
use crate::rehearsals::Rehearsals;
use crate::shared::Enforced;
use crate::tokens::LastUsed;
use crate::trial::Deadline;
use sluice_consensus::{Consensus, Node, Store};
use sluice_peer::{Heard, Link, NodeId, Peer};
use sluice_shared_store::SharedStore;
use sluice_snapshot::{Published, Snapshot};
use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A member is healthy while it was heard within this time and is not leaving.
pub(crate) const HEALTHY: Duration = Duration::from_millis(500);

/// One node's control. Locks are held for a moment each, never two at a time.
pub(crate) struct Core {
    pub(crate) cluster: String,
    pub(crate) node: Node,
    pub(crate) id: NodeId,
    pub(crate) binary: String,
    /// The highest feature level that the binary knows.
    pub(crate) level: u32,
    pub(crate) initial: Vec<(String, String)>,
    pub(crate) join: Vec<String>,
    pub(crate) ephemeral: bool,
    pub(crate) started: Instant,
    /// A configuration was on the disk when this process started.
    pub(crate) stored: bool,
    pub(crate) store: Store,
    pub(crate) consensus: Consensus,
    pub(crate) link: Link,
    pub(crate) published: Published,
    pub(crate) rehearsing: Compiler,
    pub(crate) following: Mutex<Following>,
    pub(crate) rehearsed: Mutex<Option<Rehearsed>>,
    pub(crate) rehearsals: Rehearsals,
    pub(crate) boot: Mutex<BootRecord>,
    pub(crate) situation: watch::Sender<Situation>,
    /// Held by the change that is at its turn, on the leader.
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) waiting: AtomicUsize,
    /// Incarnations whose admission is under way here.
    pub(crate) admitting: Mutex<HashSet<NodeId>>,
    pub(crate) used: LastUsed,
    /// When the open trial ends unless it is confirmed.
    pub(crate) deadline: Deadline,
    pub(crate) board: Board,
    pub(crate) figures: Figures,
    pub(crate) shared: SharedStore,
    /// What operators said of breakers.
    pub(crate) enforced: Enforced,
}

/// What this node knows of its own situation, beyond Raft.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Situation {
    pub(crate) cluster_id: Option<u128>,
    /// Why it does not belong to a cluster yet.
    pub(crate) waiting_for: Option<String>,
    pub(crate) draining: bool,
    pub(crate) removed: bool,
    /// It has once served by what the leader had committed.
    pub(crate) caught_up: bool,
    /// The first choice of a version has been made.
    pub(crate) serving: bool,
    /// Why it does not serve by the version that it should, and since when.
    pub(crate) not_live: Option<(String, Instant)>,
    /// What is broken about the disk, and since when.
    pub(crate) disk: Option<(String, Instant)>,
}

/// A change that was compiled before it was proposed, to be served when it is committed.
pub(crate) struct Rehearsed {
    pub(crate) version: u64,
    pub(crate) digest: [u8; 16],
    /// The version that it was compiled against: what it shares is only held alive by that.
    pub(crate) from: u64,
    pub(crate) snapshot: Snapshot,
}

// === impl Core ===

impl Core {
    /// Changes the situation, and wakes who waits for it if it is another.
    pub(crate) fn situate(&self, change: impl FnOnce(&mut Situation)) {
        self.situation.send_if_modified(|situation| {
            let before = situation.clone();
            change(situation);
            *situation != before
        });
    }

    /// What was heard of this node within [`HEALTHY`].
    pub(crate) fn heard(&self, id: NodeId) -> Option<Heard> {
        let now = Instant::now();
        let fresh = |heard: &Heard| heard.status.id == id && now.saturating_duration_since(heard.at) <= HEALTHY;
        self.link.heard().into_iter().find(fresh)
    }

    /// How the leader is called, if another node leads.
    pub(crate) fn leader(&self) -> Option<Peer> {
        let leader = self.consensus.raft().leader()?;
        (leader.id != self.id).then(|| leader.node.peer(leader.id))
    }

    /// How a member is called for messages.
    pub(crate) fn name_of(&self, id: NodeId) -> String {
        let raft = self.consensus.raft();
        raft.member(id)
            .map_or_else(|| id.to_string(), |member| member.node.name.clone())
    }

    pub(crate) fn not_formed(&self) -> Option<Refusal> {
        let situation = self.situation.borrow();
        situation.cluster_id.is_none().then(|| Refusal::NotFormed {
            why: situation
                .waiting_for
                .clone()
                .unwrap_or_else(|| "it has only just started".to_owned()),
        })
    }

    /// Writes the record that guards against versions that crash. A failure is told and survived:
    /// the guard would then know less, and Raft has ended by the same failure.
    pub(crate) async fn write_boot(&self, record: BootRecord) {
        *lock(&self.boot) = record.clone();
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || store.set_boot_record(&record.bytes())).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.disk_failed(&error.to_string()),
            Err(error) => tracing::error!(%error, "the boot record was not written"),
        }
    }

    pub(crate) fn disk_failed(&self, why: &str) {
        if self.situation.borrow().disk.is_none() {
            tracing::error!(
                why,
                "the disk failed: this node makes no changes until it has room, or another disk, and is started again"
            );
        }
        self.situate(|situation| {
            situation.disk.get_or_insert_with(|| (why.to_owned(), Instant::now()));
        });
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is whole between two statements: a panic leaves no half.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clone of what all share, for a task.
pub(crate) type Shared = Arc<Core>;
