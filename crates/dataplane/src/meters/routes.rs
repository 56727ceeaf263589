//! Durations by route, method and status.

use super::Cells;
use super::tunnels::OfTunnels;
use sluice_snapshot::{Action, Route};
use sluice_telemetry::cells::{Count, Durations, DurationsSum};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// How many pairs of method and status of one route have a histogram of their own; what comes
/// later shares the last, so that a service that invents statuses cannot fill the memory.
const PAIRS: usize = 48;

/// One worker's durations of one route, or of requests without one.
#[derive(Debug)]
pub(crate) struct RouteCells {
    pub(crate) gateway: Arc<str>,
    pub(crate) http_route: Arc<str>,
    pub(crate) id: Arc<str>,
    serial: u64,
    /// The route's newest form; once it is gone from memory, so is the route from every snapshot.
    route: Mutex<Weak<Route>>,
    pairs: [OnceLock<Box<Pair>>; PAIRS],
    tunnels: OnceLock<Box<OfTunnels>>,
    /// Those of the route's split in its newest form.
    arms: Mutex<Vec<Arc<ArmCells>>>,
}

/// One worker's requests of one arm of a split.
#[derive(Debug)]
pub(super) struct ArmCells {
    pub(super) upstream: Arc<str>,
    pub(super) requests: Count,
}

#[derive(Debug)]
struct Pair {
    key: u32,
    durations: Durations,
}

/// A worker's way to its cells, by the route's label.
#[derive(Debug)]
pub(crate) struct Routes {
    cells: Arc<Cells>,
    unmatched: Arc<RouteCells>,
    known: RefCell<Vec<Option<Known>>>,
    epoch: std::cell::Cell<u64>,
}

#[derive(Debug)]
struct Known {
    epoch: u64,
    serial: u64,
    cells: Arc<RouteCells>,
    /// By the index of the arm.
    arms: Box<[Arc<ArmCells>]>,
}

/// The key of what shares the last histogram.
const OVERFLOW: u32 = super::OTHER_STATUS as u32;

/// A method as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Method(u8);

/// Method and status of an answer, as a scrape tells them.
pub(super) type Labels = (&'static str, u16);

// === impl Method ===

const METHODS: [&str; 10] = [
    "_OTHER", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];

impl Method {
    /// Any method that is not one of RFC 9110 or RFC 5789, or was not even read.
    pub(crate) const OTHER: Self = Self(0);

    pub(crate) fn of(method: &http::Method) -> Self {
        let name = method.as_str();
        let at = METHODS.iter().position(|known| *known == name).unwrap_or_default();
        Self(u8::try_from(at).unwrap_or_default())
    }

    fn name(self) -> &'static str {
        METHODS[usize::from(self.0)]
    }
}

// === impl RouteCells ===

impl RouteCells {
    fn new([gateway, http_route, id]: [Arc<str>; 3], serial: u64, route: Weak<Route>) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            http_route,
            id,
            serial,
            route: Mutex::new(route),
            pairs: std::array::from_fn(|_| OnceLock::new()),
            tunnels: OnceLock::new(),
            arms: Mutex::default(),
        })
    }

    /// The route as people know it.
    pub(crate) fn name(&self) -> String {
        format!("route {} of gateway {}", self.id, self.gateway)
    }

    /// Counts one answered request. Only its worker may.
    pub(crate) fn observe(&self, method: Method, status: u16, duration: Duration) {
        let key = u32::from(method.0) << 16 | u32::from(status);
        for (i, slot) in self.pairs.iter().enumerate() {
            let last = i + 1 == PAIRS;
            let pair = slot.get_or_init(|| {
                Box::new(Pair {
                    key: if last { OVERFLOW } else { key },
                    durations: Durations::default(),
                })
            });
            if pair.key == key || last {
                pair.durations.observe(duration);
                return;
            }
        }
    }

    pub(super) fn add_to(&self, sums: &mut BTreeMap<Labels, DurationsSum>) {
        for pair in self.pairs.iter().map_while(OnceLock::get) {
            let method = Method(u8::try_from(pair.key >> 16).unwrap_or_default());
            let status = u16::try_from(pair.key & 0xFFFF).unwrap_or_default();
            pair.durations.add_to(sums.entry((method.name(), status)).or_default());
        }
    }

    /// The cells of its tunnels.
    pub(crate) fn tunnels(&self) -> &OfTunnels {
        self.tunnels.get_or_init(Box::default)
    }

    /// The same, if there was any.
    pub(super) fn had_tunnels(&self) -> Option<&OfTunnels> {
        self.tunnels.get().map(|tunnels| &**tunnels)
    }

    /// The cells of the arms that the route has now; an arm that it had before goes on counting.
    fn arms_of(&self, route: &Route) -> Box<[Arc<ArmCells>]> {
        let Action::Split(split) = &route.action else {
            return Box::default();
        };
        let mut known = self.arms.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<_> = split
            .arms
            .iter()
            .map(|arm| {
                let name = &arm.upstream.name;
                let before = known.iter().find(|cells| cells.upstream == *name);
                before.cloned().unwrap_or_else(|| {
                    Arc::new(ArmCells {
                        upstream: Arc::clone(name),
                        requests: Count::default(),
                    })
                })
            })
            .collect();
        known.clone_from(&now);
        now.into()
    }

    pub(super) fn arms(&self) -> Vec<Arc<ArmCells>> {
        self.arms.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_gone(&self) -> bool {
        let route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        self.serial != UNMATCHED && route.strong_count() == 0
    }
}

/// The serial of the cells of requests that matched no route.
const UNMATCHED: u64 = u64::MAX;

// === impl Routes ===

impl Routes {
    pub(crate) fn new(cells: &Arc<Cells>) -> Self {
        let unmatched = cells.enter(UNMATCHED, || {
            RouteCells::new(["", "", ""].map(Into::into), UNMATCHED, Weak::new())
        });
        Self {
            cells: Arc::clone(cells),
            unmatched,
            known: RefCell::default(),
            epoch: std::cell::Cell::new(0),
        }
    }

    /// Another snapshot was taken: routes may be in a new form.
    pub(crate) fn renew(&self) {
        self.epoch.set(self.epoch.get() + 1);
    }

    /// The cells of requests that match no route.
    pub(crate) fn unmatched(&self) -> &Arc<RouteCells> {
        &self.unmatched
    }

    /// The cells of `route`.
    pub(crate) fn of(&self, route: &Arc<Route>) -> Arc<RouteCells> {
        let index = route.label.index();
        if let Some(Some(known)) = self.known.borrow().get(index)
            && known.epoch == self.epoch.get()
            && known.serial == route.label.serial()
        {
            return Arc::clone(&known.cells);
        }
        self.look_up(index, route)
    }

    /// Counts a request that goes to this arm of the route's split.
    pub(crate) fn chosen(&self, route: &Arc<Route>, arm: usize) {
        let index = route.label.index();
        // Of two snapshots in use at once the other may have been looked up last: names tell.
        let name = route.destinations().get(arm).map(|arm| &arm.upstream.name);
        let count = || {
            let known = self.known.borrow();
            let known = known.get(index)?.as_ref()?;
            let same = known.serial == route.label.serial();
            let cells = known
                .arms
                .get(arm)
                .filter(|cells| same && Some(&cells.upstream) == name)?;
            cells.requests.add(1);
            Some(())
        };
        if count().is_none() {
            self.look_up(index, route);
            count();
        }
    }

    #[cold]
    fn look_up(&self, index: usize, route: &Arc<Route>) -> Arc<RouteCells> {
        let serial = route.label.serial();
        let cells = self.cells.enter(serial, || {
            let names = [&route.gateway, &route.http_route, &route.id].map(Arc::clone);
            RouteCells::new(names, serial, Arc::downgrade(route))
        });
        *cells.route.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(route);
        let mut known = self.known.borrow_mut();
        if known.len() <= index {
            known.resize_with(index + 1, || None);
        }
        known[index] = Some(Known {
            epoch: self.epoch.get(),
            serial,
            arms: cells.arms_of(route),
            cells: Arc::clone(&cells),
        });
        cells
    }
}

// === impl Cells ===

impl Cells {
    fn enter(&self, serial: u64, make: impl FnOnce() -> Arc<RouteCells>) -> Arc<RouteCells> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        match routes.binary_search_by_key(&serial, |cells| cells.serial) {
            Ok(at) => Arc::clone(&routes[at]),
            Err(at) => {
                let cells = make();
                routes.insert(at, Arc::clone(&cells));
                cells
            }
        }
    }

    /// The cells of all routes that still exist; those of others are forgotten.
    pub(super) fn routes(&self) -> Vec<Arc<RouteCells>> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|cells| !cells.is_gone());
        routes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Arc<RouteCells> {
        RouteCells::new(["web", "/a", "get-a"].map(Into::into), 1, Weak::new())
    }

    #[test]
    fn durations_are_kept_by_method_and_status() {
        let cells = cells();
        let (get, own) = (Method::of(&http::Method::GET), Method::OTHER);
        cells.observe(get, 200, Duration::from_millis(1));
        cells.observe(get, 200, Duration::from_millis(1));
        cells.observe(own, 200, Duration::from_millis(1));
        cells.observe(get, 404, Duration::from_millis(1));
        let mut sums = BTreeMap::new();
        cells.add_to(&mut sums);
        let counts: Vec<_> = sums.iter().map(|(labels, sum)| (*labels, sum.count())).collect();
        assert_eq!(counts, [(("GET", 200), 2), (("GET", 404), 1), (("_OTHER", 200), 1)]);
    }

    #[test]
    fn invented_statuses_share_one_histogram() {
        let cells = cells();
        for status in 200..400 {
            cells.observe(Method::OTHER, status, Duration::ZERO);
        }
        let mut sums = BTreeMap::new();
        cells.add_to(&mut sums);
        assert_eq!(sums.len(), PAIRS);
        assert_eq!(
            sums[&("_OTHER", super::super::OTHER_STATUS)].count(),
            200 - PAIRS as u64 + 1
        );
    }

    #[test]
    fn methods_beyond_the_known_ones_are_one() {
        assert_eq!(Method::of(&http::Method::CONNECT).name(), "CONNECT");
        for method in ["PURGE", "get", "_OTHER"] {
            let method = http::Method::from_bytes(method.as_bytes());
            assert_eq!(method.as_ref().map(Method::of).ok(), Some(Method::OTHER));
        }
    }
}
