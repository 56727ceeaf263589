//! One node's control, as the node and its admin API hold it.

use crate::boot_guard::{BootRecord, End};
use crate::change::{self, Actor, ChangeReply, ChangeRequest, Freshness, PartReading, Reading};
use crate::compile::Compiler;
use crate::core::{Core, Shared, Situation, lock};
use crate::digest::Digest;
use crate::events::{self, Board, Listener};
use crate::figures::Figures;
use crate::follow::{self, Following, Pin};
use crate::history;
use crate::leader::{self, reading};
use crate::readiness::{Facts, Readiness, judge};
use crate::refusal::Refusal;
use crate::rehearsals::Rehearsals;
use crate::service::Answering;
use crate::shared::Enforced;
use crate::status;
use crate::tokens::{self, LastUsed};
use crate::trial::{self, TrialOrder};
use crate::view::{ClusterView, MemberOp, ReadyView, TokenRole, TokenView, VersionView};
use crate::wire::{FromLeader, ToLeader};
use crate::{members, membership, wall_clock};
use sluice_consensus::{Boot, Consensus, Node, Store, Timings};
use sluice_document::PartKey;
use sluice_peer::Link;
use sluice_shared_store::SharedStore;
use sluice_snapshot::{NodeContext, Published};
use sluice_telemetry::Metrics;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long an order to the leader may take, beyond what a change waits by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a reading waits until this node has what the leader had.
const FRESH: Duration = Duration::from_secs(2);

/// What a node's control is made of.
#[derive(Debug)]
pub struct Config {
    /// The data directory, opened; renewed if it was damaged.
    pub store: Store,
    /// What was found in it.
    pub boot: Boot,
    /// The link, listening, with the store's incarnation as its identity.
    pub link: Link,
    /// Where the configuration is published.
    pub published: Published,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Where threads of this node write their log.
    pub log: tracing::Dispatch,
    /// Raft's times.
    pub timings: Timings,
    /// What this node has that a configuration may name.
    pub context: NodeContext,
    /// The first voters by name and peer address, this node among them; or empty.
    pub initial: Vec<(String, String)>,
    /// Peer addresses of members to ask to be let in.
    pub join: Vec<String>,
    /// It leaves the cluster when it stops.
    pub ephemeral: bool,
    /// How the last life of this node ended.
    pub end: End,
    /// Where rehearsals are noted.
    pub rehearsals: Rehearsals,
    /// This node's shared state: what people set by hand is told to it, and what they ask is asked of it.
    pub shared: SharedStore,
}

/// Why control does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Raft does not.
    #[error(transparent)]
    Consensus(#[from] sluice_consensus::StartError),
    /// The system gives no thread to compile on.
    #[error("no thread could be started to compile on: {0}")]
    Thread(#[from] std::io::Error),
}

/// One node's control. Clones are the same; its tasks run on the runtime on which it was started.
#[derive(Clone)]
pub struct Control {
    pub(crate) core: Shared,
    ready: watch::Receiver<Readiness>,
    compiler: Compiler,
    pinned: Option<Pin>,
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

// === impl Control ===

impl Control {
    /// Starts Raft and everything around it but the serving: see [`follow`](Self::follow).
    ///
    /// # Errors
    /// Where Raft or a thread does not start.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config {
            store,
            boot,
            link,
            published,
            metrics,
            log,
            timings,
            context,
            initial,
            join,
            ephemeral,
            end,
            rehearsals,
            shared,
        } = config;
        let identity = link.identity();
        let start = BootRecord::read(&store.boot_record()).start(end);
        if let Some(trial) = start.crashed_on {
            tracing::warn!(
                version = trial.version,
                crashes = trial.crashes,
                kills = trial.kills,
                "this node's last life ended within a minute of its turning to a version"
            );
        }
        if let Some(version) = start.condemned {
            tracing::error!(
                version,
                "this version is passed over: this node ended within a minute of turning to it, {} times by crashing or {} times by being killed",
                crate::CRASHES,
                crate::KILLS
            );
        }
        let rehearsing = Compiler::start("rehearse", context.clone(), log.clone())?;
        let compiler = Compiler::start("compile", context, log)?;
        let pin = store.pin();
        let consensus = Consensus::start(store.clone(), link.clone(), &metrics, timings).await?;
        let head = consensus.head();
        let pinned = pin.map(|version| Pin {
            version,
            while_head_is: head.version,
        });
        let figures = Figures::register(&metrics, &consensus, &published, &identity.name);
        let node = Node {
            name: identity.name.clone(),
            peer: identity.peer.clone(),
            admin: identity.admin.clone(),
            zone: identity.zone.clone(),
            labels: labels(identity.labels.clone(), ephemeral),
        };
        let core = Arc::new(Core {
            cluster: identity.cluster.clone(),
            node,
            id: identity.id,
            binary: identity.binary.clone(),
            level: identity.level,
            initial,
            join,
            ephemeral,
            started: Instant::now(),
            stored: head.version > 0,
            store,
            consensus,
            link: link.clone(),
            following: Mutex::new(Following {
                version: 0,
                digest: Digest::default(),
                snapshot: published.current(),
            }),
            published,
            rehearsing,
            rehearsed: Mutex::new(None),
            rehearsals,
            boot: Mutex::new(start.record.clone()),
            situation: watch::Sender::new(Situation {
                cluster_id: boot.cluster,
                ..Situation::default()
            }),
            turn: tokio::sync::Mutex::new(()),
            waiting: AtomicUsize::new(0),
            admitting: Mutex::new(HashSet::new()),
            used: LastUsed::default(),
            deadline: trial::Deadline::default(),
            board: Board::new(),
            figures,
            shared,
            enforced: Enforced::new(),
        });
        core.write_boot(start.record).await;
        link.serve(Arc::new(Answering(Arc::downgrade(&core))));
        let (told, ready) = watch::channel(judge(&Facts::default()));
        let control = Self {
            core: Arc::clone(&core),
            ready,
            compiler,
            pinned,
            tasks: Arc::default(),
        };
        control.spawn(events::watch(Arc::clone(&core), control.ready.clone()));
        control.spawn(status::tell(Arc::clone(&core), told));
        control.spawn(status::count_members(Arc::clone(&core)));
        control.spawn(leader::give_way(Arc::clone(&core)));
        control.spawn(trial::watch(Arc::clone(&core)));
        control.spawn(crate::shared::enforce(Arc::clone(&core)));
        control.spawn(membership::enter(core));
        control.spawn(wall_clock::watch());
        Ok(control)
    }

    /// From now on this node serves by what the cluster wants. Once, after the admin API is up, so
    /// that a node whose configuration crashes it can be asked why.
    pub fn follow(&self) {
        let follow = follow::follow(Arc::clone(&self.core), self.compiler.clone(), self.pinned);
        self.spawn(follow);
        self.spawn(follow::catch_up(Arc::clone(&self.core)));
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.node.name
    }

    /// The version that this node serves by.
    #[must_use]
    pub fn live_version(&self) -> u64 {
        self.core.published.live().version
    }

    /// Carries a change out, wherever the leader is.
    ///
    /// # Errors
    /// Every [`Refusal`]; after [`Refusal::OutcomeUnknown`] it may have been carried out.
    pub async fn change(&self, request: ChangeRequest) -> Result<ChangeReply, Refusal> {
        let patience = PATIENCE + request.timeout;
        let ask = match request.trial.is_none() {
            true => ToLeader::Change(Box::new(request)),
            false => ToLeader::Try(Box::new(request)),
        };
        match leader::ask(&self.core, ask, patience).await? {
            FromLeader::Changed(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    /// Confirms or promotes the version on trial, wherever the leader is.
    ///
    /// # Errors
    /// Every [`Refusal`]; after [`Refusal::OutcomeUnknown`] it may have been carried out.
    pub async fn trial(&self, order: TrialOrder) -> Result<ChangeReply, Refusal> {
        let patience = PATIENCE + order.timeout;
        match leader::ask(&self.core, ToLeader::Trial(order), patience).await? {
            FromLeader::Changed(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    /// The configuration, of the newest version or an earlier one.
    ///
    /// # Errors
    /// [`Refusal::Pruned`]; where it must be fresh, also without a leader or a majority.
    pub async fn read(&self, version: Option<u64>, freshness: Freshness) -> Result<Reading, Refusal> {
        self.freshen(freshness).await?;
        let (head, present) = self.core.consensus.parts();
        let version = version.unwrap_or(head.version);
        if version == head.version {
            let parts = present.iter().map(|(key, entry)| (&**key, &*entry.value));
            return Ok(Reading {
                version,
                parts: keyed(parts)?,
            });
        }
        let earlier = self
            .core
            .consensus
            .parts_at(version)
            .map_err(|kept| Refusal::no_version(version, &kept))?;
        let parts = earlier.iter().map(|(key, value)| (&**key, &**value));
        Ok(Reading {
            version,
            parts: keyed(parts)?,
        })
    }

    /// One part, a gateway with its routes.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], and as [`read`](Self::read).
    pub async fn read_part(&self, key: &PartKey, freshness: Freshness) -> Result<PartReading, Refusal> {
        self.freshen(freshness).await?;
        let name = key.to_string();
        let (_, present) = self.core.consensus.parts();
        let missing = || Refusal::NotFound {
            what: format!("part {name}"),
        };
        let version = change::part_version(&present, &name).ok_or_else(missing)?;
        let parts = change::under(&present, &name).map(|(key, entry)| (&**key, &*entry.value));
        Ok(PartReading {
            version,
            parts: keyed(parts)?,
        })
    }

    /// The text that an operator applied last, if it was a whole document.
    #[must_use]
    pub fn original(&self) -> Option<Arc<str>> {
        self.core.consensus.original()
    }

    /// The versions before `before` (or all), newest first; with `since` only those made, or tried to an end, within
    /// that time by this node's clock.
    #[must_use]
    pub fn history(&self, before: Option<u64>, since: Option<Duration>, limit: usize) -> Vec<VersionView> {
        history::history(&self.core, before, since, limit)
    }

    /// The cluster, as this node sees it; a node that only receives asks the leader, since nobody
    /// tells it how they are.
    ///
    /// # Errors
    /// Where it must be fresh: without a leader or a majority.
    pub async fn cluster(&self, freshness: Freshness) -> Result<ClusterView, Refusal> {
        self.freshen(freshness).await?;
        let votes = self
            .core
            .consensus
            .raft()
            .member(self.core.id)
            .is_some_and(|member| member.voter);
        if !votes
            && self.core.leader().is_some()
            && let Ok(FromLeader::View(view)) = leader::ask(&self.core, ToLeader::View, FRESH).await
        {
            return Ok(view);
        }
        Ok(members::view(&self.core))
    }

    /// Changes a member.
    ///
    /// # Errors
    /// Every [`Refusal`].
    pub async fn change_member(&self, name: &str, op: MemberOp, actor: Actor) -> Result<(), Refusal> {
        let ask = ToLeader::Member {
            name: name.to_owned(),
            op,
            actor,
        };
        self.done(ask).await
    }

    /// Hands the leadership over, to `to` or to the one who is furthest.
    ///
    /// # Errors
    /// Every [`Refusal`].
    pub async fn transfer(&self, to: Option<String>, actor: Actor) -> Result<(), Refusal> {
        self.done(ToLeader::Transfer { to, actor }).await
    }

    /// Raises the feature level to what all members understand.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] names who holds it back.
    pub async fn finalize_upgrade(&self, actor: Actor) -> Result<(), Refusal> {
        self.done(ToLeader::Finalize { actor }).await
    }

    /// Forms a cluster of the named nodes of the set alone, this one among them.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] says what stands in the way.
    pub async fn form_only(&self, names: &[String]) -> Result<(), Refusal> {
        membership::form_only(&self.core, names).await
    }

    /// This node gets no more traffic from balancers, or gets it again.
    pub fn set_draining(&self, draining: bool) {
        self.core.situate(|situation| situation.draining = draining);
    }

    /// Whether this node is leaving.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.core.situation.borrow().draining
    }

    /// How ready this node is.
    #[must_use]
    pub fn ready(&self) -> ReadyView {
        status::ready_view(&self.core, &self.ready.borrow())
    }

    /// What happens from now on, and before that what happened since the event `last`, or what is now.
    #[must_use]
    pub fn listen(&self, last: Option<&str>) -> Listener {
        self.core
            .board
            .listen(last, |version| events::made(&self.core, version))
    }

    /// Waits until this node is told to drain (or, with `false`, to take part again).
    pub async fn draining_is(&self, draining: bool) {
        let mut situation = self.core.situation.subscribe();
        // The sender lives as long as this does.
        let _ = situation.wait_for(|situation| situation.draining == draining).await;
    }

    /// Whether the rest would keep a majority, be heard and live, if this node stopped now.
    ///
    /// # Errors
    /// Why not.
    pub fn safe_to_stop(&self) -> Result<(), String> {
        let view = members::view(&self.core);
        let voters: Vec<_> = view
            .nodes
            .iter()
            .filter(|node| node.role == crate::Role::Voter)
            .collect();
        let rest: Vec<_> = voters.iter().filter(|node| node.name != self.core.node.name).collect();
        let voting = rest.len() < voters.len();
        let fit = rest
            .iter()
            .filter(|node| node.reachable && !node.draining && node.live == Some(node.wanted));
        let (fit, needed) = (fit.count(), voters.len() / 2 + 1);
        match (voting, fit >= needed) {
            (false, _)
                if view
                    .nodes
                    .iter()
                    .any(|node| node.reachable && node.name != self.core.node.name) =>
            {
                Ok(())
            }
            (false, _) => Err("no other node is heard".to_owned()),
            (true, true) => Ok(()),
            (true, false) => Err(format!(
                "without this node {fit} voters would be heard and live, and {needed} of {} are a majority",
                voters.len()
            )),
        }
    }

    /// Makes a token, which is shown this once.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] for a name that is taken or unfit.
    pub async fn create_token(&self, name: &str, role: TokenRole, actor: Actor) -> Result<String, Refusal> {
        if !tokens::is_name(name) {
            return Err(Refusal::Conflict {
                why: format!("{name:?} cannot name a token: 1 to 64 letters, digits and any of -_.@"),
            });
        }
        let (token, stored) = tokens::make(role).map_err(|why| Refusal::Internal { why })?;
        let value = serde_json::to_vec(&stored).map_err(|error| Refusal::Internal { why: error.to_string() })?;
        self.done(ToLeader::Record {
            collection: tokens::COLLECTION.to_owned(),
            key: name.to_owned(),
            value: Some(value),
            exists: Some(false),
            actor,
        })
        .await?;
        Ok(token)
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn revoke_token(&self, name: &str, actor: Actor) -> Result<(), Refusal> {
        self.done(ToLeader::Record {
            collection: tokens::COLLECTION.to_owned(),
            key: name.to_owned(),
            value: None,
            exists: Some(true),
            actor,
        })
        .await
    }

    /// All tokens, by name.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenView> {
        tokens::list(&self.core.consensus.records(tokens::COLLECTION), &self.core.used)
    }

    /// Whose token it is, and what it may do.
    #[must_use]
    pub fn authenticate(&self, token: &str) -> Option<(String, TokenRole)> {
        let found = tokens::find(&self.core.consensus.records(tokens::COLLECTION), token)?;
        self.core.used.now(&found.0);
        Some(found)
    }

    /// Stops: says that it leaves, hands the leadership over, leaves the cluster if it is
    /// ephemeral, and marks the stop as a clean one.
    pub async fn shutdown(&self) {
        self.set_draining(true);
        if self.core.ephemeral {
            let actor = Actor {
                who: self.core.node.name.clone(),
                why: Some("ephemeral".to_owned()),
                ..Actor::default()
            };
            let leave = self.change_member(&self.core.node.name, MemberOp::Remove, actor);
            if let Ok(Err(refusal)) = tokio::time::timeout(FRESH, leave).await {
                tracing::warn!(%refusal, "this ephemeral node could not leave the cluster");
            }
        }
        let record = lock(&self.core.boot).stop();
        self.core.write_boot(record).await;
        self.core.consensus.shutdown(true).await;
        self.core.link.shutdown().await;
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }

    /// A task that ends with this node.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).push(tokio::spawn(task).abort_handle());
    }

    async fn done(&self, what: ToLeader) -> Result<(), Refusal> {
        match leader::ask(&self.core, what, PATIENCE).await? {
            FromLeader::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn freshen(&self, freshness: Freshness) -> Result<(), Refusal> {
        if freshness == Freshness::Local {
            return Ok(());
        }
        if let Some(refusal) = self.core.not_formed() {
            return Err(refusal);
        }
        let consensus = &self.core.consensus;
        let index = consensus
            .read_index()
            .await
            .map_err(|error| reading(&self.core, &error))?;
        consensus
            .wait_applied(index, FRESH)
            .await
            .map_err(|_| Refusal::NoMajority)
    }
}

/// The membership tells everybody that a node is ephemeral.
fn labels(mut labels: BTreeMap<String, String>, ephemeral: bool) -> BTreeMap<String, String> {
    if ephemeral {
        labels.insert(membership::EPHEMERAL.to_owned(), "true".to_owned());
    }
    labels
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("node", &self.core.node.name)
            .finish_non_exhaustive()
    }
}

fn keyed<'a>(parts: impl Iterator<Item = (&'a str, &'a str)>) -> Result<BTreeMap<PartKey, String>, Refusal> {
    parts
        .map(|(key, value)| match key.parse() {
            Ok(key) => Ok((key, value.to_owned())),
            Err(_) => Err(Refusal::Internal {
                why: format!("part {key} is of a kind that this node does not know: is its binary older?"),
            }),
        })
        .collect()
}

fn unexpected(answer: &FromLeader) -> Refusal {
    Refusal::Internal {
        why: format!("the leader answered something else than was asked: {answer:?}"),
    }
}
