//! A version of the configuration, compiled.

use crate::access_log::AccessLog;
use crate::fallback::{Fallback, Fallbacks};
use crate::gateway::Gateway;
use crate::hosts::Hosts;
use crate::label::Labels;
use crate::persistent::Map;
use crate::retire::Retire;
use crate::route::Destination;
use sluice_shared_state::Rule;
use sluice_upstream::{Guard, Spec};
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

/// A version of the configuration, compiled for serving. Immutable; shares with the one before all that is equal.
///
/// The last holder may be a worker in the middle of a request: a snapshot that was published leaves its freeing to the
/// thread that [`Published`](crate::Published) keeps for that.
pub struct Snapshot {
    pub(crate) body: Arc<Body>,
    pub(crate) retire: OnceLock<Retire>,
}

/// What is shared and copied; a copy costs a handful of counts.
#[derive(Default, Clone)]
pub(crate) struct Body {
    pub(crate) version: u64,
    pub(crate) digest: [u8; 16],
    /// The slot of each gateway.
    pub(crate) names: Map<Arc<str>, usize>,
    pub(crate) gateways: Arc<Vec<Option<Arc<Gateway>>>>,
    /// By the listener's name; a node has few.
    pub(crate) listeners: Vec<(Arc<str>, Hosts)>,
    /// In the order of their names.
    pub(crate) upstreams: Arc<Vec<Arc<Spec>>>,
    pub(crate) fallbacks: Arc<Fallbacks>,
    pub(crate) stale: Stale,
    pub(crate) access_log: AccessLog,
    /// Bytes of routes, gateways and upstreams, about.
    pub(crate) weight: usize,
    pub(crate) labels: Labels,
}

/// What a node does that no longer hears of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// It says so after this long.
    pub warn: Duration,
    /// Its `/readyz` turns to 503 after this long; `None`: never.
    pub unready_after: Option<Duration>,
}

static NOTHING: LazyLock<Arc<Body>> = LazyLock::new(Arc::default);

// === impl Snapshot ===

impl Snapshot {
    /// Version 0: no gateway, no upstream; nothing is served.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Body::default())
    }

    pub(crate) fn of(body: Body) -> Self {
        Self {
            body: Arc::new(body),
            retire: OnceLock::new(),
        }
    }

    /// The number of the configuration.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.body.version
    }

    /// Of the configuration's content; equal on all nodes that have the version.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        self.body.digest
    }

    /// All upstreams, by name.
    #[must_use]
    pub fn upstreams(&self) -> &[Arc<Spec>] {
        &self.body.upstreams
    }

    /// The upstream of this name.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Option<&Arc<Spec>> {
        let upstreams = &self.body.upstreams;
        let at = upstreams.binary_search_by(|spec| (*spec.name).cmp(name)).ok()?;
        upstreams.get(at)
    }

    /// All breakers: of upstreams, and of routes that have their own, one for each upstream that they go to. Looks at
    /// every route.
    pub fn breakers(&self) -> impl Iterator<Item = &Guard> {
        let of_upstreams = self.upstreams().iter().filter_map(|spec| spec.breaker.as_deref());
        let routes = self.gateways().flat_map(|gateway| gateway.routes());
        let of_routes = routes.flat_map(|route| route.destinations().iter().filter_map(Destination::own_breaker));
        of_upstreams.chain(of_routes)
    }

    /// What is done with requests while the breaker of this upstream is open.
    pub(crate) fn fallback(&self, upstream: &str) -> Option<&Fallback> {
        self.body.fallbacks.get(upstream)
    }

    /// Whether any of those asks for values of the request.
    pub(crate) fn fallbacks_take_values(&self) -> bool {
        self.body.fallbacks.take_values()
    }

    /// The gateway that a host has on a listener: that of the very name, else of the longest `*.` that fits, else of
    /// `*`. `host` as [`Host`](sluice_http_semantics::host::Host) reads it. `None`: 404.
    #[must_use]
    pub fn gateway(&self, listener: &str, host: &str) -> Option<&Arc<Gateway>> {
        let (_, hosts) = self.body.listeners.iter().find(|(name, _)| **name == *listener)?;
        self.body.gateways.get(hosts.find(host)?)?.as_ref()
    }

    /// The gateway of this name.
    #[must_use]
    pub fn gateway_named(&self, name: &str) -> Option<&Arc<Gateway>> {
        self.body.gateways.get(*self.body.names.get(name)?)?.as_ref()
    }

    /// All gateways, in no order that means anything.
    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.body.gateways.iter().flatten()
    }

    /// What all limits count, each once: those of gateways, and their routes' own.
    pub fn limits(&self) -> impl Iterator<Item = &Arc<Rule>> {
        let limits = self.gateways().flat_map(|gateway| {
            let own = gateway.routes.values().flat_map(|route| route.own_limits.iter());
            gateway.limits.iter().chain(own)
        });
        limits.map(|limit| &limit.rule)
    }

    /// What `cluster.stale` says.
    #[must_use]
    pub fn stale(&self) -> Stale {
        self.body.stale
    }

    /// Which exchanges have a line in the access log.
    #[must_use]
    pub fn access_log(&self) -> AccessLog {
        self.body.access_log
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Some(retire) = self.retire.take() {
            retire.free(std::mem::replace(&mut self.body, Arc::clone(&NOTHING)));
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.body.version)
            .field("gateways", &self.body.names.len())
            .field("upstreams", &self.body.upstreams.len())
            .finish_non_exhaustive()
    }
}

// === impl Stale ===

impl Default for Stale {
    /// 1 m, and never.
    fn default() -> Self {
        Self {
            warn: Duration::from_secs(60),
            unready_after: None,
        }
    }
}
