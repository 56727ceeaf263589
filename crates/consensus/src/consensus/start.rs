//! Starting Raft on what is stored.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::{Config, Raft, SnapshotPolicy, StepDownPolicy};
use sluice_peer::Link;
use sluice_telemetry::Metrics;
use tokio::sync::watch;

use super::follow::{Meters, follow};
use super::{Consensus, Inner};
use crate::error::StartError;
use crate::member::RaftView;
use crate::raft::{Incoming, LogStore, Machine, Network};
use crate::store::Store;
use crate::timings::Timings;

// === impl Consensus ===

impl Consensus {
    /// Starts Raft on what is stored, over `link`. Must run inside a tokio runtime, which then
    /// carries Raft's tasks. A node that is no member of anything waits to be initialised or let in.
    ///
    /// The calls of [`Service::RAFT`](sluice_peer::Service::RAFT) must be given to
    /// [`handle_call`](Self::handle_call) by whoever serves the link.
    ///
    /// # Errors
    /// [`StartError::Damaged`] before [`Store::renew`]; else the disk's.
    pub async fn start(store: Store, link: Link, metrics: &Metrics, timings: Timings) -> Result<Self, StartError> {
        let config = Arc::new(config(&timings)?);
        let start = store.take_raft()?;
        let timings = Arc::new(timings);
        let network = Network::new(link, Arc::clone(&timings));
        let machine = Machine::new(&start);
        let log = LogStore::new(Arc::clone(&start.mirror), start.writer.clone());
        let raft = Raft::new(start.id.0, config, network.clone(), log, machine)
            .await
            .map_err(|fatal| match start.writer.fault() {
                Some(fault) => StartError::Disk(fault),
                None => StartError::Raft(fatal.to_string()),
            })?;
        let meters = Meters::register(metrics, start.fsync);
        let inner = Arc::new(Inner {
            id: start.id,
            limits: start.limits,
            store,
            raft,
            network,
            timings,
            writer: start.writer,
            published: start.published,
            mirror: start.mirror,
            incoming: Mutex::new(Incoming::default()),
            leader_heard: Mutex::new(None),
            removed: AtomicBool::new(false),
            changing: tokio::sync::Mutex::new(()),
            view: watch::Sender::new(RaftView {
                id: start.id,
                ..RaftView::default()
            }),
            follower: Mutex::new(None),
        });
        inner.look();
        let task = tokio::spawn(follow(Arc::downgrade(&inner), inner.raft.metrics(), meters));
        inner.keep(task.abort_handle());
        let view = inner.view.borrow().clone();
        let alone = matches!(&view.members[..], [only] if only.id == inner.id && only.voter);
        if alone {
            // Nobody else could lead: there is nothing to wait for.
            let _ = inner.raft.trigger().elect(true).await;
        }
        Ok(Self { inner })
    }
}

fn config(timings: &Timings) -> Result<Config, StartError> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let compaction = &timings.compaction;
    let config = Config {
        cluster_name: "sluice".to_owned(),
        heartbeat_interval: ms(timings.heartbeat),
        election_timeout_min: ms(timings.election_min),
        election_timeout_max: ms(timings.election_max),
        max_payload_entries: 256,
        // Who lags behind what the others drop gets a Raft snapshot anyway; whoever is within it
        // gets entries.
        replication_lag_threshold: compaction.entries.saturating_mul(4).max(1024),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(compaction.entries),
        max_in_snapshot_log_to_keep: compaction.keep,
        removed_leader_step_down: StepDownPolicy::After(ms(timings.heartbeat)),
        // A leader that hears no majority must not keep the others from electing one.
        quorum_loss_probe_interval: Some(ms(timings.election_max).saturating_mul(5) / 2),
        enable_pre_vote: Some(true),
        // Who was the leader before a restart asks for votes like anybody else.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map_err(|e| StartError::Timings(e.to_string()))
}
