//! What all parts of one link share.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use crate::assembly::Violation;
use crate::dialled::Dialled;
use crate::guest::Guests;
use crate::identity::{Identity, Peer};
use crate::line::{Lines, Reach};
use crate::link::Serve;
use crate::porch::{Porch, Throttle};
use crate::secret::Secret;
use crate::status::{Board, Status, Told};
use crate::timings::Timings;
use crate::tls::Tls;
use crate::whereabouts::Whereabouts;
use crate::wire::{End, Side, Wire};
use crate::{Lane, codec};

/// One link. Locks are held for a moment each; where two are held, the side of a connection is the
/// outer one.
pub(crate) struct Shared {
    pub(crate) tls: Tls,
    pub(crate) secret: Option<Secret>,
    pub(crate) timings: Timings,
    pub(crate) local: SocketAddr,
    pub(crate) lines: Lines,
    pub(crate) heard: watch::Sender<u64>,
    pub(crate) tell_now: Notify,
    pub(crate) board: Mutex<Board>,
    pub(crate) guests: Mutex<Guests>,
    pub(crate) porch: Mutex<Porch<AbortHandle>>,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) voice: Mutex<Voice>,
    whereabouts: Mutex<Whereabouts>,
    identity: RwLock<Arc<Identity>>,
    serve: RwLock<Option<Arc<dyn Serve>>>,
    phase: watch::Sender<Phase>,
    runtime: Handle,
    /// Each task holds a clone: the receiver's end is the end of all tasks.
    alive: Mutex<Option<mpsc::Sender<Infallible>>>,
}

/// Our own status, and whom it is told.
pub(crate) struct Voice {
    pub(crate) status: Option<Status>,
    pub(crate) audience: Arc<[Peer]>,
    /// A random number of this process.
    boot: u64,
    sequence: u64,
}

/// A link's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// Nobody new is let in, nobody is called; answers under way go out.
    Leaving,
    Over,
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(
        tls: Tls,
        secret: Option<Secret>,
        timings: Timings,
        local: SocketAddr,
        identity: Identity,
        alive: mpsc::Sender<Infallible>,
    ) -> Self {
        Self {
            tls,
            secret,
            timings,
            local,
            lines: Lines::default(),
            heard: watch::Sender::new(0),
            tell_now: Notify::new(),
            board: Mutex::default(),
            guests: Mutex::new(Guests::new()),
            porch: Mutex::new(Porch::new()),
            throttle: Mutex::new(Throttle::new(Instant::now())),
            voice: Mutex::new(Voice {
                status: None,
                audience: Arc::new([]),
                boot: fastrand::u64(..),
                sequence: 0,
            }),
            whereabouts: Mutex::default(),
            identity: RwLock::new(Arc::new(identity)),
            serve: RwLock::new(None),
            phase: watch::Sender::new(Phase::Running),
            runtime: Handle::current(),
            alive: Mutex::new(Some(alive)),
        }
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn server(&self) -> Option<Arc<dyn Serve>> {
        self.serve.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_server(&self, serve: Arc<dyn Serve>) {
        *self.serve.write().unwrap_or_else(PoisonError::into_inner) = Some(serve);
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes on to `phase`, never back.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let onward = *now < phase;
            *now = phase.max(*now);
            onward
        });
    }

    pub(crate) fn is_leaving(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }

    /// Runs a task of the link; `None` once the link is ending.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let alive = lock(&self.alive).clone()?;
        let task = self.runtime.spawn(async move {
            let _alive = alive;
            work.await;
        });
        Some(task.abort_handle())
    }

    /// From now on no task is begun.
    pub(crate) fn spawn_no_more(&self) {
        lock(&self.alive).take();
    }

    /// We belong to this cluster from now on.
    pub(crate) fn set_cluster_id(&self, id: u128) {
        let ours = {
            let mut identity = self.identity.write().unwrap_or_else(PoisonError::into_inner);
            let mut ours = Identity::clone(&identity);
            ours.cluster_id = Some(id);
            *identity = Arc::new(ours);
            Arc::clone(&identity)
        };
        for connection in self.lines.connections() {
            let theirs = connection.theirs();
            self.reintroduce(&connection.wire, &ours, &theirs);
        }
        for wire in lock(&self.guests).all() {
            let theirs = wire.look(|side| Arc::clone(side.theirs()));
            self.reintroduce(&wire, &ours, &theirs);
        }
    }

    /// A connection that we dialled stands; `told` is the cluster id that our greeting told.
    pub(crate) fn dialled(&self, connection: &Dialled, told: Option<u128>, lane: Lane) {
        self.catch_up(&connection.wire, &connection.theirs(), told);
        if lane == Lane::Control {
            self.tell_now.notify_one();
        }
    }

    /// A connection to `to`: where it was last met, or else where it is on record.
    pub(crate) fn reach(self: &Arc<Self>, to: &Peer, lane: Lane) -> Reach {
        let elsewhere = to.id.and_then(|id| lock(&self.whereabouts).elsewhere(id, &to.address));
        if let Some(address) = elsewhere {
            match self.lines.to(&address).reach(self, lane, false) {
                Reach::Down(_) => {}
                reach => return reach,
            }
        }
        self.lines.to(&to.address).reach(self, lane, false)
    }

    /// Somebody new is connected. Tells it of a cluster id that was set while it was greeted.
    pub(crate) fn catch_up<S: Side>(&self, wire: &Wire<S>, theirs: &Identity, told: Option<u128>) {
        lock(&self.whereabouts).met(theirs);
        let ours = self.identity();
        if ours.cluster_id != told {
            self.reintroduce(wire, &ours, theirs);
        }
    }

    fn reintroduce<S: Side>(&self, wire: &Wire<S>, ours: &Identity, theirs: &Identity) {
        if !ours.tag().agrees_with(&theirs.tag()) {
            wire.end(End::lost(
                "it belongs to another cluster than the one that this node has joined",
            ));
        } else if let Some(id) = ours.cluster_id {
            wire.with(|side| side.out().cluster(id));
        }
    }

    /// Whether somebody who now belongs to a cluster may still talk to us.
    pub(crate) fn check_cluster(&self, theirs: &Identity) -> Result<(), Violation> {
        if self.identity().tag().agrees_with(&theirs.tag()) {
            Ok(())
        } else {
            Err(Violation::OtherCluster)
        }
    }

    /// Somebody told their status.
    pub(crate) fn note(&self, told: Told, theirs: Arc<Identity>) {
        if lock(&self.board).note(told, theirs, Instant::now()) {
            self.heard.send_modify(|n| *n += 1);
        }
    }

    /// Our status, encoded for the next telling, and whom to tell.
    pub(crate) fn next_telling(&self) -> Option<(Vec<u8>, Arc<[Peer]>)> {
        let mut voice = lock(&self.voice);
        let status = voice.status.clone()?;
        voice.sequence += 1;
        let told = Told {
            boot: voice.boot,
            sequence: voice.sequence,
            status,
        };
        match codec::encode(&told) {
            Ok(encoded) => Some((encoded, Arc::clone(&voice.audience))),
            Err(error) => {
                tracing::error!(%error, "this node's status cannot be told");
                None
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks of a link guard is whole between two statements: a panic leaves no half.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
