//! One node, put together.
//!
//! ```text
//!   ports probed ─▶ disk open ─▶ link and admin listen ─▶ workers start (empty snapshot) ─▶ Raft, membership
//!     ─▶ admin API answers ─▶ the stored configuration is turned to
//! ```
//!
//! In this order a node that cannot start says so before it touches anything that others see, and a node whose
//! configuration crashes it can be asked why.

use crate::aborts;
use crate::settings::{Row, Settings};
use sluice_admin::Serving;
use sluice_consensus::{OpenOptions, Store, StoreError, Timings};
use sluice_control::{Config, Control, End};
use sluice_dataplane::{Dataplane, Edge, Listener};
use sluice_peer::{Identity, Link, Secret};
use sluice_shared_store::{Driver, SharedMemory, SharedStore};
use sluice_snapshot::{NodeContext, Published, Snapshot};
use sluice_telemetry::Metrics;
use sluice_telemetry::log::Log;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// How long a node that stops waits for who reads its access log.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How long a node that stops tries to give back what it holds of the limits.
const LEASES: Duration = Duration::from_millis(200);

/// Why a node does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A port for traffic.
    #[error(transparent)]
    Traffic(#[from] sluice_dataplane::BindError),
    /// The workers.
    #[error(transparent)]
    Workers(#[from] sluice_dataplane::StartError),
    /// Limits and breakers.
    #[error(transparent)]
    Shared(#[from] sluice_shared_store::StartError),
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port for other nodes.
    #[error(transparent)]
    Link(#[from] sluice_peer::BindError),
    /// The admin API.
    #[error(transparent)]
    Admin(#[from] sluice_admin::BindError),
    /// Raft, or what is around it.
    #[error(transparent)]
    Control(#[from] sluice_control::StartError),
    /// The cluster token is empty.
    #[error("the cluster token is empty: give all members the same SLUICE_CLUSTER_TOKEN or cluster_token_file")]
    EmptyToken,
    /// The system gives no thread.
    #[error("no thread could be started: {0}; raise the limit of processes")]
    Thread(#[from] std::io::Error),
    /// What opens the data directory broke off.
    #[error("opening the data directory broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// A node that runs. Its tasks live on the runtime on which it was started.
#[derive(Debug)]
pub struct Running {
    control: Control,
    dataplane: Dataplane,
    log: Log,
    turning_away: AbortHandle,
    admin: Serving,
    addresses: Addresses,
    shared: SharedStore,
    _aborts: Option<aborts::Watch>,
}

/// Where a node listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// For traffic: name and address.
    pub traffic: Vec<(String, std::net::SocketAddr)>,
    /// The admin API.
    pub admin: std::net::SocketAddr,
    /// The link between nodes.
    pub peer: std::net::SocketAddr,
}

// === impl Running ===

impl Running {
    /// Starts a node; done once it listens and its admin API answers. Without a Redis it keeps shared state in `memory`,
    /// which others may hold too, or in one of its own.
    ///
    /// # Errors
    /// [`NodeError`]. What was begun is ended again.
    pub async fn start(
        settings: Settings,
        rows: &[Row],
        log: &Log,
        memory: Option<SharedMemory>,
    ) -> Result<Self, NodeError> {
        let bound = Dataplane::bind(traffic(&settings))?;
        let listeners: Vec<String> = settings
            .listen
            .traffic
            .iter()
            .map(|listener| listener.name.clone())
            .collect();
        let (store, boot) = open(&settings).await?;
        let (end, aborts) = match aborts::watch(&settings.data) {
            Ok((end, watch)) => (end, Some(watch)),
            Err(error) => {
                tracing::warn!(%error, "how this process ends cannot be noted in the data directory");
                (End::Otherwise, None)
            }
        };
        let metrics = Metrics::new();
        let admin = sluice_admin::Bound::bind(settings.listen.admin, &settings.data).await?;
        let token = match &settings.cluster_token {
            Some(token) => Some(Secret::new(token.expose().as_bytes()).map_err(|_| NodeError::EmptyToken)?),
            None => None,
        };
        let link = Link::bind(sluice_peer::Config {
            listen: settings.listen.peer,
            identity: identity(&settings, &boot, admin.local_addr()),
            token,
            metrics: metrics.clone(),
            timings: sluice_peer::Timings::default(),
        })
        .await?;
        let addresses = Addresses {
            traffic: bound
                .addresses()
                .map(|(name, address)| (name.to_string(), address))
                .collect(),
            admin: admin.local_addr(),
            peer: link.local_addr(),
        };
        let published = Published::new(settings.workers.get(), Snapshot::empty())?;
        let shared = SharedStore::start(shared_state(&settings, memory, metrics.clone()))?;
        let dataplane = bound.start(&published, &shared, &metrics, log, Handle::current())?;
        let control = Control::start(Config {
            store,
            boot,
            link,
            published,
            metrics: metrics.clone(),
            log: log.dispatch().clone(),
            timings: Timings::default(),
            context: NodeContext { listeners },
            initial: settings
                .initial
                .iter()
                .map(|(name, at)| (name.clone(), at.to_string()))
                .collect(),
            join: settings.join.iter().map(ToString::to_string).collect(),
            ephemeral: settings.ephemeral,
            end,
            rehearsals: aborts.as_ref().map(aborts::Watch::rehearsals).unwrap_or_default(),
            shared: shared.clone(),
        })
        .await?;
        let admin = admin.serve(sluice_admin::Config {
            control: control.clone(),
            metrics,
            token: settings
                .admin_token
                .as_ref()
                .map(|token| Arc::from(token.expose().as_bytes())),
            settings: serde_json::json!({ "settings": rows }),
        });
        control.follow();
        let turning_away = tokio::spawn(turn_away_while_draining(control.clone(), dataplane.clone())).abort_handle();
        Ok(Self {
            control,
            dataplane,
            log: log.clone(),
            turning_away,
            admin,
            addresses,
            shared,
            _aborts: aborts,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Leaves without failing a request: /readyz turns, the balancers are given `edge.drain_delay` to see it, what is
    /// under way is given `edge.drain_timeout`; then the leadership goes to another node, and the disk comes to rest.
    pub async fn stop(self) {
        tracing::info!("draining");
        // The way out has a time for turning clients away of its own: after the balancers have seen it.
        self.turning_away.abort();
        self.control.set_draining(true);
        self.dataplane.drain().await;
        self.dataplane.stop();
        // What it holds of the limits is free for the others at once, instead of when its leases end.
        self.shared.limits().leave(LEASES).await;
        self.control.shutdown().await;
        self.admin.stop();
        let dataplane = self.dataplane;
        // Joins the workers' threads, which have nothing more to do.
        let _ = tokio::task::spawn_blocking(move || dataplane.join()).await;
        let log = self.log;
        let _ = tokio::task::spawn_blocking(move || log.flush(LAST_LINES)).await;
        tracing::info!("stopped");
    }
}

/// An operator's drain of a node that goes on: clients come again elsewhere.
async fn turn_away_while_draining(control: Control, dataplane: Dataplane) {
    loop {
        control.draining_is(true).await;
        dataplane.turn_away(true);
        control.draining_is(false).await;
        dataplane.turn_away(false);
    }
}

/// What shared state is started with.
fn shared_state(settings: &Settings, memory: Option<SharedMemory>, metrics: Metrics) -> sluice_shared_store::Config {
    let driver = match (&settings.redis, memory) {
        (Some(redis), _) => Driver::Redis(redis.clone()),
        (None, Some(memory)) => Driver::Memory(memory),
        (None, None) => {
            tracing::info!("limits and breakers are of this node alone: no redis.url is set");
            Driver::Memory(SharedMemory::default())
        }
    };
    let secret = settings.cluster_token.as_ref();
    sluice_shared_store::Config {
        node: settings.name.clone(),
        cluster: settings.cluster.clone(),
        secret: secret.map_or_else(Vec::new, |token| token.expose().as_bytes().to_vec()),
        driver,
        metrics,
        new_keys_per_second: settings.new_keys,
        keys: sluice_shared_store::Config::KEYS,
    }
}

fn traffic(settings: &Settings) -> sluice_dataplane::Settings {
    let edge = &settings.edge;
    sluice_dataplane::Settings {
        listeners: settings
            .listen
            .traffic
            .iter()
            .map(|listener| Listener {
                name: Arc::from(listener.name.as_str()),
                address: listener.address,
            })
            .collect(),
        workers: settings.workers.get(),
        node: Arc::from(settings.name.as_str()),
        edge: Edge {
            h2c: edge.h2c,
            max_uri: edge.max_uri,
            max_header_bytes: edge.max_header_bytes,
            max_headers: edge.max_headers,
            header_timeout: edge.header_timeout,
            body_idle: edge.body_idle,
            min_rate: edge.min_rate,
            write_stall: edge.write_stall,
            idle: edge.idle,
            max_connections: edge.max_connections,
            per_address: edge.per_address,
            max_memory: edge.max_memory,
            drain_delay: edge.drain_delay,
            drain_timeout: edge.drain_timeout,
        },
        proxy_protocol: edge.proxy_protocol.clone().into(),
    }
}

/// Opens the disk. A damaged log is never cut short in silence: the node becomes another one, and asks the others for
/// what it lost.
async fn open(settings: &Settings) -> Result<(Store, sluice_consensus::Boot), NodeError> {
    let data: PathBuf = settings.data.clone();
    let options = OpenOptions::new(&settings.name, &settings.cluster);
    let opened = tokio::task::spawn_blocking(move || -> Result<_, StoreError> {
        let (store, mut boot) = Store::open(&data, options)?;
        if let Some(damage) = &boot.damage {
            tracing::error!(
                what = damage.what,
                "the disk does not hold what was written to it: this node gives its identity up and asks the other members for a Raft snapshot"
            );
            boot.incarnation = store.renew()?;
        }
        Ok((store, boot))
    });
    Ok(opened.await??)
}

fn identity(settings: &Settings, boot: &sluice_consensus::Boot, admin: std::net::SocketAddr) -> Identity {
    // Of a port that the system chooses the link tells itself.
    let peer = match (settings.listen.peer.port(), &settings.advertise.peer) {
        (0, None) => String::new(),
        _ => settings.reached_by_peers_at(settings.listen.peer).to_string(),
    };
    Identity {
        cluster: settings.cluster.clone(),
        cluster_id: boot.cluster,
        name: settings.name.clone(),
        id: boot.incarnation,
        peer,
        admin: settings.admin_reached_at(admin).to_string(),
        zone: settings.zone.clone(),
        labels: settings.labels.clone(),
        binary: env!("CARGO_PKG_VERSION").to_owned(),
        level: level(),
    }
}

/// The highest feature level that this binary knows.
#[cfg(not(feature = "fault-points"))]
fn level() -> u32 {
    sluice_document::LEVEL
}

/// The same, or that of an older binary which a test plays: `SLUICE_FAULT_POINTS="level=1"`.
#[cfg(feature = "fault-points")]
fn level() -> u32 {
    let points = std::env::var("SLUICE_FAULT_POINTS").unwrap_or_default();
    let played = points
        .split(',')
        .find_map(|point| point.strip_prefix("level=")?.parse().ok());
    played.unwrap_or(sluice_document::LEVEL)
}
