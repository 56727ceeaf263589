//! The data plane as the node holds it: started, told to go, asked how it is.

use crate::bind::{BindError, Bound};
use crate::crew::{Crew, Orders, OrdersSender, Stage};
use crate::health;
use crate::meters::{Cells, Collect};
use crate::overload::{TICK, Watch};
use crate::settings::{MaxMemory, Settings};
use crate::worker::{Begin, begin};
use sluice_shared_store::SharedStore;
use sluice_snapshot::Published;
use sluice_telemetry::Metrics;
use sluice_telemetry::log::Log;
use sluice_telemetry::process::{Limits, Usage};
use sluice_upstream::{Health, Meters, Resolver};
use std::fmt;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::sync::{mpsc, watch};

/// Why the workers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gave no thread or no runtime.
    #[error("worker {worker} cannot be started: {source}; raise the limits of processes and open files")]
    Worker {
        /// Its number, from 0.
        worker: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A running data plane. Clones are the same one; it goes on when all are dropped, until
/// [`Dataplane::stop`] or [`Dataplane::drain`].
#[derive(Clone)]
pub struct Dataplane(Arc<Shared>);

struct Shared {
    crew: Arc<Crew>,
    orders: OrdersSender,
    measures: Vec<RuntimeMetrics>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// When the load was asked for last, and how long each worker had been busy until then.
    asked: Mutex<(Instant, Duration, f32)>,
}

/// How often the load is measured anew; who asks more often gets the same again.
const MEASURE: Duration = Duration::from_millis(50);

// === impl Bound ===

impl Bound {
    /// Starts the workers: from now on connections are served, by what `published` has.
    ///
    /// `published` is for as many workers as the settings say. `metrics` gets all that
    /// docs/metrics.md says of traffic. Limits and breakers are asked through `shared`. `log` hears what workers say. `runtime`, which is not a
    /// worker's, looks up the names of targets.
    ///
    /// # Errors
    ///
    /// [`StartError`]; what was started by then ends again.
    pub fn start(
        self,
        published: &Published,
        shared: &SharedStore,
        metrics: &Metrics,
        log: &Log,
        runtime: Handle,
    ) -> Result<Dataplane, StartError> {
        let workers = self.settings.workers;
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let mut sockets: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let mut settings = self.settings;
        for (listener, declared) in self.listeners.into_iter().zip(&mut settings.listeners) {
            declared.address = listener.address;
            for (of_worker, socket) in sockets.iter_mut().zip(listener.sockets) {
                of_worker.push(socket);
            }
        }
        let crew = Crew::new(settings, inboxes);
        let (orders, receiver) = watch::channel(Orders::default());
        let upstreams = Meters::default();
        let resolver = Resolver::system(runtime.clone());
        let health = Health::new(runtime.clone(), resolver.clone());
        let (ready, standing) = sync_channel(workers);
        let cells: Vec<_> = (0..workers)
            .map(|_| Cells::new(crew.settings.listeners.len()))
            .collect();
        let mut threads = Vec::with_capacity(workers);
        let mut failed = None;
        for (index, (sockets, inbox)) in sockets.into_iter().zip(receivers).enumerate() {
            let parts = Begin {
                index,
                crew: Arc::clone(&crew),
                cells: Arc::clone(&cells[index]),
                published: published.clone(),
                shared: shared.clone(),
                upstreams: upstreams.clone(),
                resolver: resolver.clone(),
                health: health.clone(),
                log: log.clone(),
                orders: receiver.clone(),
            };
            let begun = log
                .lines()
                .and_then(|lines| begin(parts, sockets, inbox, lines, ready.clone()));
            match begun {
                Ok(thread) => threads.push(thread),
                Err(source) => failed = Some(StartError::Worker { worker: index, source }),
            }
        }
        drop(ready);
        let mut measures = Vec::with_capacity(workers);
        for (worker, stands) in standing.iter().enumerate() {
            match stands {
                Ok(measure) => measures.push(measure),
                Err(source) => failed = Some(StartError::Worker { worker, source }),
            }
        }
        let dataplane = Dataplane(Arc::new(Shared {
            crew,
            orders,
            measures,
            threads: Mutex::new(threads),
            asked: Mutex::new((Instant::now(), Duration::ZERO, 0.0)),
        }));
        if let Some(failed) = failed {
            dataplane.stop();
            return Err(failed);
        }
        let collect = Collect {
            workers: cells,
            listeners: dataplane
                .0
                .crew
                .settings
                .listeners
                .iter()
                .map(|one| Arc::clone(&one.name))
                .collect(),
            upstreams,
            health: health.clone(),
            crew: Arc::clone(&dataplane.0.crew),
            log: log.clone(),
        };
        runtime.spawn(watch_overload(Arc::downgrade(&dataplane.0)));
        let ended = || receiver.clone();
        let breakers = shared.breakers();
        runtime.spawn(health::keep(
            health.clone(),
            breakers.clone(),
            published.clone(),
            ended(),
        ));
        runtime.spawn(health::opine(health, breakers.clone(), ended()));
        metrics.register(|registry| registry.register_collector(Box::new(collect)));
        Ok(dataplane)
    }
}

/// Looks at what the process uses, and tells the workers what follows, until the data plane is over.
async fn watch_overload(dataplane: Weak<Shared>) {
    let Some(memory) = dataplane.upgrade().map(|shared| shared.crew.settings.edge.max_memory) else {
        return;
    };
    let limits = Limits::read();
    let memory = match memory {
        MaxMemory::Found => limits.memory,
        MaxMemory::Bytes(bytes) => Some(bytes),
        MaxMemory::Unbounded => None,
    };
    let mut watch = Watch::new(memory, &limits);
    loop {
        let Some(shared) = dataplane.upgrade() else { return };
        if shared.orders.borrow().stage == Stage::Ended {
            return;
        }
        let (usage, connections) = (Usage::read(), shared.crew.connections());
        watch.look(&usage, |changed| changed.say());
        shared.crew.room.tell(&watch, &usage, connections);
        let level = watch.level();
        shared
            .orders
            .send_if_modified(|orders| std::mem::replace(&mut orders.level, level) != level);
        drop(shared);
        tokio::time::sleep(TICK).await;
    }
}

// === impl Dataplane ===

impl Dataplane {
    /// Takes the ports of `settings`, one socket for each worker and address. Nothing is served
    /// yet.
    ///
    /// # Errors
    ///
    /// [`BindError`]: a port in use, not of this machine, not allowed. No socket stays open then.
    pub fn bind(settings: Settings) -> Result<Bound, BindError> {
        Bound::new(settings)
    }

    /// With `true`, for a node that is not ready: everything is served as well as it can be, but
    /// each answer ends its connection, so that clients and balancers come again elsewhere.
    pub fn turn_away(&self, turn_away: bool) {
        self.0
            .orders
            .send_if_modified(|orders| std::mem::replace(&mut orders.turn_away, turn_away) != turn_away);
    }

    /// Goes, without failing a request that need not fail: for `drain_delay` all is as ever, while
    /// balancers learn that the node is going. Then idle connections are closed, answers end
    /// theirs, and what waits in the listeners' queues is still taken before they close. What is
    /// then still under way has `drain_timeout`. Ready when the workers are gone.
    ///
    /// Dropping the future within the delay takes it all back; later, what was begun stays so.
    /// Needs a tokio runtime with time, which is not a worker's.
    pub async fn drain(&self) {
        let edge = &self.0.crew.settings.edge;
        tokio::time::sleep(edge.drain_delay).await;
        self.advance(Stage::Closing);
        let empty = async {
            loop {
                let moved = self.0.crew.moved.notified();
                if self.0.crew.is_empty() {
                    return;
                }
                moved.await;
            }
        };
        let _ = tokio::time::timeout(edge.drain_timeout, empty).await;
        self.stop();
        let this = self.clone();
        let _ = tokio::task::spawn_blocking(move || this.join()).await;
    }

    /// Ends now: all connections are closed, whatever is on them. Returns at once.
    pub fn stop(&self) {
        self.advance(Stage::Ended);
    }

    /// Waits for the workers' threads to end. Blocks.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// How busy the workers are: 0 idle, 1 all of them all the time. Over the time since the last
    /// call, at least 50 ms.
    #[must_use]
    pub fn load(&self) -> f32 {
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now - asked.0;
        if passed < MEASURE {
            return asked.2;
        }
        let busy: Duration = self
            .0
            .measures
            .iter()
            .map(|measure| measure.worker_total_busy_duration(0))
            .sum();
        let share = busy.saturating_sub(asked.1).as_secs_f32() / passed.as_secs_f32();
        let load = (share / self.0.measures.len().max(1) as f32).min(1.0);
        *asked = (now, busy, load);
        load
    }

    /// Open connections of clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.crew.connections()
    }

    fn advance(&self, stage: Stage) {
        self.0.orders.send_if_modified(|orders| {
            let later = orders.stage < stage;
            orders.stage = orders.stage.max(stage);
            later
        });
    }
}

impl fmt::Debug for Dataplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataplane")
            .field("workers", &self.0.crew.members.len())
            .field("connections", &self.connections())
            .field("orders", &*self.0.orders.borrow())
            .finish_non_exhaustive()
    }
}
