//! Which targets are well, as one node sees it: one table, read by all of its workers.
//!
//! Of a whole node and not of each worker: five failures in a row are five, whoever met them, and none goes on asking
//! what another knows to be down. Of a node and not of the cluster: how a target can be reached from here says nothing
//! of how others reach it. So each node checks for itself, by one task a target.
//!
//! ```text
//!   worker ──failed, succeeded──▶ Standing ◀──checked── a task for each target, by `reconcile`
//!      ▲                             │
//!      └──mask, made anew when `changes` moves or an ejection ends── Usable
//! ```

mod check;
mod rule;
mod standing;
mod usable;

pub use rule::{Active, HealthRule, Passive};
pub(crate) use standing::Standing;
pub(crate) use usable::Usable;

use crate::resolve::Resolver;
use crate::spec::Spec;
use check::{Check, Watch};
use standing::{At, Verdict};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

/// The health of all targets, of one node. Clones share. Locked when a worker takes a snapshot, when a target's state
/// changes, and at a scrape; never for a request that goes well.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    began: Instant,
    runtime: Handle,
    resolver: Resolver,
    /// What anybody holds: answers under way included.
    upstreams: Mutex<HashMap<Arc<str>, Weak<Upstream>>>,
    /// What the present configuration has.
    present: Mutex<BTreeMap<Arc<str>, Present>>,
}

/// One upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: Arc<str>,
    /// How often anything changed about which targets get requests, but for the end of an ejection.
    changes: AtomicU64,
    ejections: AtomicU64,
    /// Held while it is decided whether one more may be ejected.
    deciding: Mutex<()>,
    targets: Mutex<HashMap<Arc<str>, Weak<Standing>>>,
}

/// An upstream of the present configuration. Its tasks end when it is dropped.
struct Present {
    digest: u64,
    spec: Arc<Spec>,
    upstream: Arc<Upstream>,
    watched: Vec<Watched>,
}

struct Watched {
    url: Arc<str>,
    standing: Arc<Standing>,
    check: Option<(Check, Watch)>,
}

/// The targets of one upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// The upstream.
    pub upstream: Arc<str>,
    /// Those that get requests, as far as is known.
    pub healthy: usize,
    /// Those that failed requests lately.
    pub ejected: usize,
    /// Those that failed their checks.
    pub unhealthy: usize,
    /// How often one was ejected.
    pub ejections: u64,
}

// === impl Health ===

impl Health {
    /// Of a node whose names are looked up by `resolver`. Checks run on `runtime`, which is not a worker's.
    #[must_use]
    pub fn new(runtime: Handle, resolver: Resolver) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            runtime,
            resolver,
            upstreams: Mutex::default(),
            present: Mutex::default(),
        }))
    }

    /// Takes `specs` for the present ones: what they say of checks holds from now on, verdicts on targets that stay are
    /// kept, and those that are gone are forgotten. For one caller, who has them in their order.
    pub fn reconcile(&self, specs: &[Arc<Spec>]) {
        let mut present = lock(&self.0.present);
        let mut before = std::mem::take(&mut *present);
        for spec in specs {
            let old = before.remove(&spec.name);
            let new = match old {
                Some(same) if same.digest == spec.digest => same,
                old => self.present(spec, old),
            };
            present.insert(Arc::clone(&spec.name), new);
        }
    }

    /// How the present targets are, by upstream.
    #[must_use]
    pub fn read(&self) -> Vec<Targets> {
        let now = self.at(Instant::now());
        lock(&self.0.present)
            .values()
            .map(|present| present.read(now))
            .collect()
    }

    /// Asks the targets of an upstream, some of them where there are many, each once, and says whether most are well. Where
    /// the upstream has no checks, a connection is answer enough. None: there is no such upstream. Takes 900 ms at most.
    pub async fn opinion(&self, upstream: &str) -> Option<bool> {
        let checks: Vec<Check> = {
            let present = lock(&self.0.present);
            let spec = &present.get(upstream)?.spec;
            let some = spec
                .targets
                .iter()
                .filter(|target| target.weight > 0)
                .take(check::MOST_ASKED);
            some.map(|target| Check::new(spec, target, &self.0.resolver)).collect()
        };
        let all = checks.len();
        let asked = checks.iter().map(|check| timeout(check::OPINION, check.once()));
        let found = futures_util::future::join_all(asked).await;
        let well = found.iter().filter(|found| matches!(found, Ok(Ok(())))).count();
        Some(well * 2 > all)
    }

    pub(crate) fn at(&self, now: Instant) -> At {
        let since = now.saturating_duration_since(self.0.began);
        // Never 0, which is the end of an ejection that never was.
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// What is known of an upstream's targets. Held for as long as it is needed.
    pub(crate) fn upstream(&self, name: &Arc<str>) -> Arc<Upstream> {
        let mut upstreams = lock(&self.0.upstreams);
        if let Some(known) = upstreams.get(name).and_then(Weak::upgrade) {
            return known;
        }
        upstreams.retain(|_, upstream| upstream.strong_count() > 0);
        let upstream = Arc::new(Upstream {
            name: Arc::clone(name),
            changes: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            deciding: Mutex::default(),
            targets: Mutex::default(),
        });
        upstreams.insert(Arc::clone(name), Arc::downgrade(&upstream));
        upstream
    }

    fn present(&self, spec: &Arc<Spec>, before: Option<Present>) -> Present {
        let (upstream, mut known) = match before {
            Some(Present { upstream, watched, .. }) => (upstream, watched),
            None => (self.upstream(&spec.name), Vec::new()),
        };
        let mut watched = Vec::with_capacity(spec.targets.len());
        for target in &spec.targets {
            let at = known.iter().position(|old| old.url == target.url);
            let (standing, before) = match at.map(|at| known.swap_remove(at)) {
                Some(old) => (old.standing, old.check),
                None => (upstream.standing(&target.url), None),
            };
            let check = spec.health.active.as_ref().map(|active| {
                let check = Check::new(spec, target, &self.0.resolver);
                match before {
                    // It goes on as it does: a change elsewhere must not make it ask more often.
                    Some((old, watch)) if old == check && watch.active == *active => (old, watch),
                    _ => {
                        let (upstream, standing) = (Arc::clone(&upstream), Arc::clone(&standing));
                        let watch = Watch::begin(self, upstream, standing, check.clone(), active.clone());
                        (check, watch)
                    }
                }
            });
            if check.is_none() && standing.unchecked() {
                upstream.changed();
            }
            watched.push(Watched {
                url: Arc::clone(&target.url),
                standing,
                check,
            });
        }
        Present {
            digest: spec.digest,
            spec: Arc::clone(spec),
            upstream,
            watched,
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

// === impl Upstream ===

impl Upstream {
    /// What is known of a target.
    pub(crate) fn standing(&self, url: &Arc<str>) -> Arc<Standing> {
        let mut targets = lock(&self.targets);
        if let Some(known) = targets.get(url).and_then(Weak::upgrade) {
            return known;
        }
        targets.retain(|_, standing| standing.strong_count() > 0);
        let standing = Arc::new(Standing::default());
        targets.insert(Arc::clone(url), Arc::downgrade(&standing));
        standing
    }

    /// How often anything changed about which targets get requests.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Ejects a target whose failures reached their bound, if one more of `targets` may be.
    #[cold]
    pub(crate) fn eject<'s>(
        &self,
        url: &str,
        standing: &Standing,
        now: At,
        passive: &Passive,
        targets: impl Iterator<Item = &'s Standing> + Clone,
    ) {
        let most = passive.most_ejected(targets.clone().count());
        if most == 0 {
            return;
        }
        let _deciding = lock(&self.deciding);
        if standing.is_ejected(now) || targets.filter(|other| other.is_ejected(now)).count() >= most {
            return;
        }
        let length = standing.eject(now, passive);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.changed();
        tracing::warn!(
            upstream = &*self.name,
            target = url,
            ?length,
            "a target fails requests and is ejected"
        );
    }

    /// A check ended.
    fn checked(&self, url: &str, standing: &Standing, found: &Result<(), Arc<str>>, active: &Active) {
        let Some(verdict) = standing.checked(found.is_ok(), active) else {
            return;
        };
        self.changed();
        let upstream = &*self.name;
        match (verdict, found) {
            (Verdict::Unhealthy, Err(why)) => {
                tracing::warn!(upstream, target = url, error = &**why, "a target is unhealthy");
            }
            _ => tracing::info!(upstream, target = url, "a target is healthy"),
        }
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}

// === impl Present ===

impl Present {
    fn read(&self, now: At) -> Targets {
        let mut read = Targets {
            upstream: Arc::clone(&self.upstream.name),
            ejections: self.upstream.ejections.load(Ordering::Relaxed),
            ..Targets::default()
        };
        for watched in &self.watched {
            let count = match watched.standing.verdict() {
                Verdict::Unhealthy => &mut read.unhealthy,
                _ if watched.standing.is_ejected(now) => &mut read.ejected,
                _ => &mut read.healthy,
            };
            *count += 1;
        }
        read
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing between a lock and its end leaves half a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
