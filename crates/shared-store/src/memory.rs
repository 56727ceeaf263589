//! The store in this process: the ledgers themselves.

use crate::backend::{NEWS, News, Partition, Reach};
use sluice_shared_state::breaker::{self, BreakerLedger};
use sluice_shared_state::ledger::look::Looked;
use sluice_shared_state::ledger::{Header, Ledger, Request, Served};
use sluice_shared_state::{KeyId, Rule, StoreTime};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// How often what has run out is forgotten, at the most.
const SWEEP: Duration = Duration::from_secs(1);

/// The state of the nodes of one process: what Redis is to those of many. Clones are the same.
#[derive(Debug, Clone)]
pub struct SharedMemory(Arc<Inner>);

/// A node's way to it.
#[derive(Debug)]
pub(crate) struct Memory {
    shared: SharedMemory,
    reach: watch::Sender<Reach>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    /// The wall clock at `began`. It goes on steadily from there, whatever the wall clock does.
    epoch: StoreTime,
    limits: Mutex<Limits>,
    breakers: Mutex<BreakerLedger>,
    news: broadcast::Sender<News>,
}

#[derive(Debug, Default)]
struct Limits {
    ledger: Ledger,
    swept: Duration,
}

// === impl SharedMemory ===

impl SharedMemory {
    /// The store's clock.
    fn now(&self) -> StoreTime {
        let since = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        StoreTime(self.0.epoch.0.saturating_add(since))
    }
}

impl Default for SharedMemory {
    /// Without any count.
    fn default() -> Self {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(Arc::new(Inner {
            began: Instant::now(),
            epoch: StoreTime(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)),
            limits: Mutex::default(),
            breakers: Mutex::default(),
            news: broadcast::Sender::new(NEWS),
        }))
    }
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(shared: SharedMemory) -> Self {
        Self {
            shared,
            reach: watch::Sender::new(Reach::Reached),
        }
    }

    pub(crate) fn limits(&self, header: &Header, requests: &[Request]) -> Served {
        let inner = &self.shared.0;
        let mut limits = inner.limits.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: the ledger's time never goes back.
        let now = self.shared.now();
        let served = limits.ledger.serve(now, header, requests);
        let since = inner.began.elapsed();
        if since.saturating_sub(limits.swept) >= SWEEP {
            limits.swept = since;
            limits.ledger.sweep(now);
        }
        served
    }

    /// One count, for people.
    pub(crate) fn look(&self, key: KeyId, rule: &Rule) -> Looked {
        let limits = self.shared.0.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.ledger.look(self.shared.now(), key, rule)
    }

    /// Forgets a count. Tells whether there was one.
    pub(crate) fn forget(&self, key: KeyId) -> bool {
        let mut limits = self.shared.0.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.ledger.forget(key)
    }

    pub(crate) fn breakers(&self, home: Partition, call: &breaker::Call) -> breaker::Reply {
        let mut ledger = self.shared.0.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: the ledger's time never goes back, and changes are published in their order.
        let now = self.shared.now();
        // It lives once, as the process does.
        let (reply, published) = ledger.serve(now, "memory", call);
        if !published.is_empty() {
            ledger.sweep(now);
        }
        for told in published {
            self.publish(home, told.encode().into());
        }
        reply
    }

    /// Tells all nodes that share this memory.
    pub(crate) fn publish(&self, partition: Partition, message: Arc<[u8]>) {
        // Nobody listens: nobody misses it.
        let _ = self.shared.0.news.send(News::Message(partition, message));
    }

    pub(crate) fn news(&self) -> broadcast::Receiver<News> {
        self.shared.0.news.subscribe()
    }

    pub(crate) fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.subscribe()
    }
}
