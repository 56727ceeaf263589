//! A version of the configuration, compiled.

use crate::gateway::Gateway;
use crate::label::Labels;
use crate::persistent::Map;
use crate::retire::Retire;
use sluice_upstream::Spec;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

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
    pub(crate) gateways: Map<Arc<str>, Arc<Gateway>>,
    /// In the order of their names.
    pub(crate) upstreams: Arc<[Arc<Spec>]>,
    pub(crate) labels: Labels,
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

    /// The gateway of this name.
    #[must_use]
    pub fn gateway_named(&self, name: &str) -> Option<&Arc<Gateway>> {
        self.body.gateways.get(name)
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
            .field("gateways", &self.body.gateways.len())
            .field("upstreams", &self.body.upstreams.len())
            .finish_non_exhaustive()
    }
}
