//! From changed parts to the next snapshot.
//!
//! The state before is copied, which costs a handful of counts, and then changed: first all that goes is taken out,
//! then all that comes is put in, so that routes may trade places in one change. Nothing is trusted: what a check of the
//! document finds is found here too, as a fault of its part.

mod changes;
mod gateway;
pub(crate) mod resilience;
mod route;
mod upstream;

pub use changes::Change;

use crate::access_log::AccessLog;
use crate::budget::{Budget, CompileBudget};
use crate::error::{CompileError, Fault, OverBudget};
use crate::gateway::Gateway;
use crate::route::Route;
use crate::router::{BuildError, Stale as StaleSets};
use crate::snapshot::{Body, Snapshot, Stale};
use changes::Sorted;
use route::RouteError;
use sluice_document::PartKey;
use sluice_document::declared::{self, UnreadyAfter};
use sluice_upstream::Spec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// What this node has that documents name.
#[derive(Debug, Clone, Default)]
pub struct NodeContext {
    /// The names of its listeners.
    pub listeners: Vec<String>,
}

/// Compiles `changes` onto `prev`. What they do not touch is shared by both; a change of one route among ten thousand
/// costs what the route costs. Of several changes of one part the last holds.
///
/// Blocks for up to the budget's time: not for a thread that serves.
///
/// # Errors
///
/// [`CompileError`]; `prev` is as it was.
pub fn compile_changes(
    changes: Vec<Change>,
    prev: &Snapshot,
    version: u64,
    digest: [u8; 16],
    context: &NodeContext,
    budget: &CompileBudget,
) -> Result<Snapshot, CompileError> {
    let mut body = Body::clone(&prev.body);
    let budget = Budget::start(budget, body.weight);
    body.version = version;
    body.digest = digest;
    let mut compiler = Compiler {
        body,
        context,
        budget,
        at: At::now(version),
        faults: Vec::new(),
        missing: Vec::new(),
    };
    let changes = Sorted::of(changes, &mut compiler.faults);
    compiler.apply(changes)?;
    compiler.end()
}

/// For which version something is compiled, and when.
#[derive(Debug, Clone, Copy)]
struct At {
    version: u64,
    /// Seconds since the Unix epoch.
    now: i64,
}

struct Compiler<'c> {
    body: Body,
    context: &'c NodeContext,
    budget: Budget,
    at: At,
    faults: Vec<Fault>,
    /// What this node lacks.
    missing: Vec<Fault>,
}

// === impl Compiler ===

impl Compiler<'_> {
    fn apply(&mut self, changes: Sorted) -> Result<(), CompileError> {
        if let Some(cluster) = changes.cluster {
            self.body.stale = stale(cluster.unwrap_or_default());
        }
        if let Some(telemetry) = changes.telemetry {
            self.body.access_log = AccessLog::of(telemetry.unwrap_or_default());
        }
        let changed = self.upstreams(changes.upstreams)?;
        let put = changes.gateways.iter().filter(|(_, declared)| declared.is_some());
        let put: Vec<String> = put.map(|(name, _)| name.clone()).collect();
        let gone = self.gateways(changes.gateways)?;
        let mut stale = BTreeMap::new();
        self.routes(changes.routes, &gone, &mut stale)?;
        self.forward_to(&changed)?;
        self.fallbacks_lead_somewhere(&changed);
        self.hosts_of_routes(&put)?;
        self.limits_of_routes(&put)?;
        self.no_route_is_left_over(&gone);
        self.build(stale)
    }

    /// Gives back the names of those that are other than before.
    fn upstreams(
        &mut self,
        changes: BTreeMap<String, Option<declared::Upstream>>,
    ) -> Result<BTreeSet<Arc<str>>, OverBudget> {
        let mut changed = BTreeSet::new();
        if changes.is_empty() {
            return Ok(changed);
        }
        let mut all: BTreeMap<Arc<str>, Arc<Spec>> = self
            .body
            .upstreams
            .iter()
            .map(|spec| (Arc::clone(&spec.name), Arc::clone(spec)))
            .collect();
        for (name, declared) in changes {
            self.budget.time_is_left()?;
            let old = all.get(name.as_str());
            let new = match declared
                .map(|declared| upstream::upstream(&name, &declared, self.body.version))
                .transpose()
            {
                Ok(new) => new,
                Err(why) => {
                    self.fault(PartKey::Upstream(name), why);
                    continue;
                }
            };
            let (mut new, fallback) = match new {
                Some((new, fallback)) => (Some(new), fallback),
                None => (None, None),
            };
            let key: Arc<str> = name.as_str().into();
            if fallback.as_ref() != self.body.fallbacks.get(&key) {
                Arc::make_mut(&mut self.body.fallbacks).set(&key, fallback);
            }
            // A breaker that is as it was keeps its version, and what is known of it.
            if let (Some(new), Some(old)) = (&mut new, old)
                && let (Some(breaker), Some(known)) = (&new.breaker, &old.breaker)
                && known.is_like(breaker)
            {
                new.breaker = Some(Arc::clone(known));
            }
            if old.map(|old| old.digest) == new.as_ref().map(|new| new.digest) {
                continue;
            }
            self.budget.shrink(old.map_or(0, |old| upstream::weight(old)));
            self.budget.grow(new.as_ref().map_or(0, upstream::weight))?;
            let name = key;
            match new {
                Some(new) => drop(all.insert(Arc::clone(&name), Arc::new(new))),
                None => drop(all.remove(&name)),
            }
            changed.insert(name);
        }
        self.body.upstreams = Arc::new(all.into_values().collect());
        Ok(changed)
    }

    /// Gives back the slots of those that are to go.
    fn gateways(
        &mut self,
        changes: BTreeMap<String, Option<declared::Gateway>>,
    ) -> Result<BTreeSet<usize>, OverBudget> {
        let mut gone = BTreeSet::new();
        for name in changes.keys() {
            if let Some(slot) = self.body.names.get(name.as_str()).copied() {
                self.withdraw_hosts(slot);
            }
        }
        for (name, declared) in changes {
            self.budget.time_is_left()?;
            let Some(declared) = declared else {
                gone.extend(self.body.names.get(name.as_str()));
                continue;
            };
            let before = self.body.names.get(name.as_str()).copied();
            let old = before.and_then(|slot| self.body.gateways[slot].as_deref());
            match gateway::gateway(&name, &declared, old, self.at) {
                Ok(new) => self.put_gateway(before, new)?,
                Err(why) => self.fault(PartKey::Gateway(name), why),
            }
        }
        Ok(gone)
    }

    fn withdraw_hosts(&mut self, slot: usize) {
        let Some(old) = self.body.gateways[slot].clone() else {
            return;
        };
        for (name, hosts) in &mut self.body.listeners {
            if old.listen.contains(name) {
                for host in old.hosts.iter() {
                    hosts.remove(host);
                }
            }
        }
        self.body.listeners.retain(|(_, hosts)| !hosts.is_empty());
    }

    fn put_gateway(&mut self, before: Option<usize>, new: Gateway) -> Result<(), OverBudget> {
        let part = || PartKey::Gateway(new.name.to_string());
        for listener in new.listen.iter() {
            if !self.context.listeners.iter().any(|known| **known == **listener) {
                let known = self.context.listeners.join(", ");
                self.missing.push(Fault {
                    part: part(),
                    why: format!("listen: this node has no listener {listener:?}; it has {known}"),
                });
            }
        }
        let gateways = Arc::make_mut(&mut self.body.gateways);
        let slot = before.unwrap_or_else(|| {
            let free = gateways.iter().position(Option::is_none);
            free.unwrap_or_else(|| {
                gateways.push(None);
                gateways.len() - 1
            })
        });
        for listener in new.listen.iter() {
            let at = self.body.listeners.iter().position(|(name, _)| name == listener);
            let at = at.unwrap_or_else(|| {
                self.body
                    .listeners
                    .push((Arc::clone(listener), crate::hosts::Hosts::default()));
                self.body.listeners.len() - 1
            });
            for host in new.hosts.iter() {
                if let Err(other) = self.body.listeners[at].1.insert(host, slot) {
                    let other = gateways[other].as_ref().map_or("", |other| &other.name);
                    self.faults.push(Fault {
                        part: part(),
                        why: format!("hosts: {host} is on the listener {listener} of the gateway {other:?} already"),
                    });
                }
            }
        }
        self.budget.shrink(gateways[slot].as_ref().map_or(0, |old| old.weight));
        self.budget.grow(new.weight)?;
        self.body.names.insert(Arc::clone(&new.name), slot);
        gateways[slot] = Some(Arc::new(new));
        Ok(())
    }

    fn routes(
        &mut self,
        changes: BTreeMap<String, BTreeMap<String, Option<declared::Route>>>,
        gone: &BTreeSet<usize>,
        stale: &mut BTreeMap<usize, StaleSets>,
    ) -> Result<(), OverBudget> {
        let upstreams = Arc::clone(&self.body.upstreams);
        let upstream = |name: &str| {
            let at = upstreams.binary_search_by(|spec| (*spec.name).cmp(name)).ok()?;
            upstreams.get(at).cloned()
        };
        for (name, changes) in changes {
            let slot = self.body.names.get(name.as_str()).copied();
            let Some((slot, gateway)) = slot.and_then(|slot| Some((slot, self.body.gateways[slot].clone()?))) else {
                for (id, declared) in changes {
                    if declared.is_some() {
                        let part = PartKey::Route {
                            gateway: name.clone(),
                            id,
                        };
                        self.fault(part, vec![format!("there is no gateway {name:?}")]);
                    }
                }
                continue;
            };
            // The slot is emptied meanwhile, so that the gateway is changed in place once it is this snapshot's own.
            Arc::make_mut(&mut self.body.gateways)[slot] = None;
            let mut gateway = Arc::unwrap_or_clone(gateway);
            let stale = stale.entry(slot).or_default();
            let mut old = BTreeMap::new();
            for id in changes.keys() {
                if let Some(route) = gateway.routes.remove(id.as_str()) {
                    gateway.router.remove(&route, stale);
                    self.budget.shrink(route.weight);
                    old.insert(Arc::clone(&route.id), route);
                }
            }
            let (name, hosts) = (Arc::clone(&gateway.name), Arc::clone(&gateway.hosts));
            let limits = Arc::clone(&gateway.limits);
            for (id, declared) in changes {
                self.budget.time_is_left()?;
                let Some(declared) = declared else { continue };
                let before = old.get(id.as_str());
                let label = before.map(|route| route.label.clone());
                let around = route::Around {
                    before: before.map(|route| &**route),
                    gateway: &name,
                    hosts: &hosts,
                    upstream: &upstream,
                    budget: &self.budget,
                    at: self.at,
                    limits: &limits,
                    label: label.unwrap_or_else(|| self.body.labels.give()),
                };
                let part = PartKey::Route {
                    gateway: name.to_string(),
                    id,
                };
                if gone.contains(&slot) {
                    self.fault(
                        part,
                        vec![format!("the gateway {name:?} is deleted in the same change")],
                    );
                    continue;
                }
                match route::route(around, &declared) {
                    Ok(route) => self.put_route(part, &mut gateway, route, stale)?,
                    Err(RouteError::Faults(why)) => self.fault(part, why),
                    Err(RouteError::OverBudget(what)) => return Err(what),
                }
            }
            Arc::make_mut(&mut self.body.gateways)[slot] = Some(Arc::new(gateway));
        }
        Ok(())
    }

    fn put_route(
        &mut self,
        part: PartKey,
        gateway: &mut Gateway,
        route: Route,
        stale: &mut StaleSets,
    ) -> Result<(), OverBudget> {
        let route = Arc::new(route);
        self.budget.grow(route.weight)?;
        if let Err(other) = gateway.router.insert(&route, stale) {
            let why = format!(
                "the route {:?} has the same path, methods, hosts, conditions and priority; some requests are for both",
                other.id
            );
            self.fault(part, vec![why]);
        }
        gateway.routes.insert(Arc::clone(&route.id), route);
        Ok(())
    }

    /// Gives the routes that forward to changed upstreams what those are now.
    fn forward_to(&mut self, changed: &BTreeSet<Arc<str>>) -> Result<(), OverBudget> {
        if changed.is_empty() {
            return Ok(());
        }
        let specs: BTreeMap<_, _> = self
            .body
            .upstreams
            .iter()
            .map(|spec| (Arc::clone(&spec.name), spec))
            .collect();
        for slot in Arc::make_mut(&mut self.body.gateways).iter_mut().flatten() {
            self.budget.time_is_left()?;
            let touched = slot.routes.values().filter(|route| {
                let mut known = route.destinations().iter().map(|known| &known.upstream);
                known.any(|known| {
                    changed.contains(&known.name) && specs.get(&known.name).is_none_or(|spec| !Arc::ptr_eq(spec, known))
                })
            });
            let touched: Vec<Arc<Route>> = touched.cloned().collect();
            if touched.is_empty() {
                continue;
            }
            let gateway = Arc::make_mut(slot);
            for route in touched {
                match route.with_upstreams(self.at.version, |name| specs.get(name).copied()) {
                    Ok(route) => {
                        let route = Arc::new(route);
                        gateway.router.replace(&route);
                        gateway.routes.insert(Arc::clone(&route.id), route);
                    }
                    Err(name) => self.faults.push(Fault {
                        part: PartKey::Route {
                            gateway: gateway.name.to_string(),
                            id: route.id.to_string(),
                        },
                        why: format!("upstream: there is no upstream {name:?} any more"),
                    }),
                }
            }
        }
        Ok(())
    }

    fn fallbacks_lead_somewhere(&mut self, changed: &BTreeSet<Arc<str>>) {
        let upstreams = &self.body.upstreams;
        let is_there = |name: &str| upstreams.binary_search_by(|spec| (*spec.name).cmp(name)).is_ok();
        let faults = self.body.fallbacks.faults(is_there);
        self.faults.extend(faults.into_iter().map(|(name, why)| Fault {
            part: PartKey::Upstream(name.to_string()),
            why: format!("breaker.fallback.upstream: {why}"),
        }));
        let gone: Vec<&Arc<str>> = changed.iter().filter(|name| !is_there(name)).collect();
        if gone.is_empty() {
            return;
        }
        for gateway in self.body.gateways.iter().flatten() {
            for route in gateway.routes.values() {
                let own = route.own.breaker.as_ref().and_then(|own| own.fallback.as_ref());
                if let Some(name) = own.and_then(|own| own.upstream()).filter(|name| gone.contains(name)) {
                    self.faults.push(Fault {
                        part: PartKey::Route {
                            gateway: gateway.name.to_string(),
                            id: route.id.to_string(),
                        },
                        why: format!("breaker.fallback.upstream: there is no upstream {name:?} any more"),
                    });
                }
            }
        }
    }

    /// Looks again at the routes of gateways that may have other hosts now.
    fn hosts_of_routes(&mut self, gateways: &[String]) -> Result<(), OverBudget> {
        let body = &self.body;
        let slots = gateways.iter().filter_map(|name| body.names.get(name.as_str()));
        for gateway in slots.filter_map(|slot| body.gateways[*slot].as_ref()) {
            self.budget.time_is_left()?;
            for route in gateway.routes.values() {
                let outside = route::outside(&route.selector, &gateway.hosts);
                self.faults.extend(outside.into_iter().map(|why| Fault {
                    part: PartKey::Route {
                        gateway: gateway.name.to_string(),
                        id: route.id.to_string(),
                    },
                    why,
                }));
            }
        }
        Ok(())
    }

    /// Gives the routes of gateways that may have other limits now what those are.
    fn limits_of_routes(&mut self, gateways: &[String]) -> Result<(), OverBudget> {
        for name in gateways {
            self.budget.time_is_left()?;
            let slot = self.body.names.get(name.as_str()).copied();
            let Some(gateway) = slot.and_then(|slot| self.body.gateways[slot].clone()) else {
                continue;
            };
            let touched = gateway.routes.values();
            let touched = touched.filter(|route| !Arc::ptr_eq(&route.gateway_limits, &gateway.limits));
            let touched: Vec<Arc<Route>> = touched.cloned().collect();
            let slot = slot.and_then(|slot| Arc::make_mut(&mut self.body.gateways)[slot].as_mut());
            let Some(slot) = slot.filter(|_| !touched.is_empty()) else {
                continue;
            };
            // Held here as well, it would be copied for the change.
            drop(gateway);
            let gateway = Arc::make_mut(slot);
            for route in touched {
                if let Some(why) = route::taken(&gateway.limits, &route.own_limits) {
                    self.faults.push(Fault {
                        part: PartKey::Route {
                            gateway: gateway.name.to_string(),
                            id: route.id.to_string(),
                        },
                        why,
                    });
                }
                self.budget.shrink(route.weight);
                let route = Arc::new(route.under(&gateway.limits));
                self.budget.grow(route.weight)?;
                gateway.router.replace(&route);
                gateway.routes.insert(Arc::clone(&route.id), route);
            }
        }
        Ok(())
    }

    fn no_route_is_left_over(&mut self, gone: &BTreeSet<usize>) {
        for slot in gone {
            let gateways = Arc::make_mut(&mut self.body.gateways);
            let Some(old) = gateways[*slot].take() else { continue };
            for id in old.routes.iter().map(|(id, _)| id) {
                self.faults.push(Fault {
                    part: PartKey::Route {
                        gateway: old.name.to_string(),
                        id: id.to_string(),
                    },
                    why: format!("its gateway {:?} is gone", old.name),
                });
            }
            self.body.names.remove(&old.name);
            self.budget.shrink(old.weight + old.router.memory());
        }
    }

    fn build(&mut self, stale: BTreeMap<usize, StaleSets>) -> Result<(), CompileError> {
        for (slot, stale) in stale {
            let Some(gateway) = &mut Arc::make_mut(&mut self.body.gateways)[slot] else {
                continue;
            };
            let gateway = Arc::make_mut(gateway);
            let before = gateway.router.memory();
            match gateway.router.build(stale, &self.budget) {
                Ok(()) => {}
                Err(BuildError::OverBudget(what)) => return Err(what.into()),
                Err(BuildError::Refused(refused)) => {
                    self.faults.extend(refused.into_iter().map(|(route, error)| Fault {
                        part: PartKey::Route {
                            gateway: route.gateway.to_string(),
                            id: route.id.to_string(),
                        },
                        why: format!("path: {error}"),
                    }))
                }
            }
            self.budget.shrink(before);
            self.budget.grow(gateway.router.memory())?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<Snapshot, CompileError> {
        self.faults.sort_unstable();
        self.faults.dedup();
        if !self.faults.is_empty() {
            return Err(CompileError::Invalid(self.faults));
        }
        if !self.missing.is_empty() {
            return Err(CompileError::Unserveable(self.missing));
        }
        self.budget.room_for(0)?;
        self.body.weight = self.budget.weight();
        Ok(Snapshot::of(self.body))
    }

    fn fault(&mut self, part: PartKey, why: Vec<String>) {
        self.faults.extend(why.into_iter().map(|why| Fault {
            part: part.clone(),
            why,
        }));
    }
}

// === impl At ===

impl At {
    fn now(version: u64) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        Self { version, now }
    }
}

fn stale(declared: declared::Cluster) -> Stale {
    let declared = declared.stale.unwrap_or_default();
    Stale {
        warn: declared.warn.map_or(Stale::default().warn, |warn| warn.0),
        unready_after: match declared.unready_after {
            None | Some(UnreadyAfter::Never) => None,
            Some(UnreadyAfter::After(time)) => Some(time.0),
        },
    }
}
