//! Shared state as a node holds it.

use crate::backend::Backend;
use crate::breakers::Breakers;
use crate::clock::Clock;
use crate::config::{Config, Driver};
use crate::limits::{Limiter, Limits};
use crate::memory::Memory;
use crate::redis::Redis;
use crate::store_metrics::StoreMetrics;
use sluice_shared_state::Moment;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::watch;

/// A node's shared state. Clones are the same; its tasks live on the runtime on which it was started.
#[derive(Debug, Clone)]
pub struct SharedStore {
    clock: Clock,
    limits: Limits,
    breakers: Breakers,
    state: watch::Sender<StoreState>,
}

/// Why shared state cannot be started: what its settings name is not there or contradicts itself. A Redis that cannot
/// be reached is no reason.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error("{0}")]
    Settings(String),
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreState {
    /// There is none: this node counts for itself alone, or with the others of its process.
    Memory,
    /// In use.
    Reached,
    /// In use, but what is kept there may vanish.
    Doubted {
        /// When that was found.
        since: SystemTime,
        /// Why, and what to do, for people.
        why: String,
    },
    /// Not asked, since when and why. Of a store in several parts: one of them at least.
    Away {
        /// When it was found away.
        since: SystemTime,
        /// What is wrong, for people.
        why: String,
    },
}

/// Who is there, by what members tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Names of those whose status was heard within 5 s and who are not draining; this node among them.
    pub live: Vec<String>,
    /// How many of these do not reach the store.
    pub without_store: usize,
}

// === impl SharedStore ===

impl SharedStore {
    /// Starts it. Needs a tokio runtime. Returns at once: the store need not be there.
    ///
    /// # Errors
    ///
    /// [`StartError`] where settings cannot be used.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let metrics = Arc::new(StoreMetrics::new(&config.metrics));
        let state = watch::Sender::new(StoreState::Memory);
        let backend = match &config.driver {
            Driver::Memory(shared) => {
                metrics.up(true);
                Backend::Memory(Memory::new(shared.clone()))
            }
            Driver::Redis(settings) if settings.urls.is_empty() => {
                return Err(StartError::Settings("there is no redis.url".to_owned()));
            }
            Driver::Redis(settings) => {
                Backend::Redis(Redis::start(settings, &config.cluster, clock, metrics, state.clone()))
            }
        };
        let backend = Arc::new(backend);
        Ok(Self {
            breakers: Breakers::start(&config, clock, Arc::clone(&backend)),
            limits: Limits::start(&config, clock, backend),
            clock,
            state,
        })
    }

    /// This node's clock, as all of shared state counts it.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// That moment on this node's clock; its beginning where it was before that.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Moment {
        self.clock.at(instant.into())
    }

    /// For one worker, which takes it onto its thread.
    #[must_use]
    pub fn limiter(&self) -> Limiter {
        self.limits.limiter()
    }

    /// All limits of this node, for people and for whoever wires it.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// All breakers of this node.
    #[must_use]
    pub fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    /// How the store is, now and later.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    /// Who is there. Told at each change.
    pub fn members(&self, members: Members) {
        self.breakers.members(&members);
        self.limits.members(members);
    }
}
