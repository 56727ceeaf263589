//! Which of two routes comes first where both match: the one rule, but for the path, which the tree's order says.

use crate::route::Route;
use sluice_http_semantics::host::HostPattern;
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

/// A route at one of its paths, for one of its hosts.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) route: Arc<Route>,
    /// Narrower than the gateway's; `None`: the gateway's.
    pub(crate) host: Option<HostPattern>,
    /// Of the path's parameters, in its order.
    pub(crate) names: Arc<[Box<str>]>,
}

/// The order of entries of one path. The lesser is asked first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: Reverse<i32>,
    host: HostRank,
    conditions: Reverse<usize>,
    takes_all_methods: bool,
}

/// An exact host before subdomains, the longer name before the shorter, the gateway's hosts last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Exact,
    Subdomains(Reverse<usize>),
    Gateways,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn priority(&self) -> i32 {
        self.route.selector.priority
    }

    /// Total: two entries of one path are equal only where they are of one route and one host.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.rank()
            .cmp(&other.rank())
            // Nothing is left that could be called more specific; still the order of arrival must not decide.
            .then_with(|| self.route.id.cmp(&other.route.id))
            .then_with(|| self.host.cmp(&other.host))
    }

    /// Whether some requests are for both alike: equal rank, equal conditions, a method in common.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let (mine, others) = (&self.route.selector, &other.route.selector);
        self.rank() == other.rank()
            && self.host == other.host
            && mine.methods.overlap(&others.methods)
            && mine.conditions == others.conditions
    }

    fn rank(&self) -> Rank {
        let selector = &self.route.selector;
        Rank {
            priority: Reverse(selector.priority),
            host: match &self.host {
                Some(HostPattern::Exact(_)) => HostRank::Exact,
                Some(HostPattern::Subdomains(of)) => HostRank::Subdomains(Reverse(of.len())),
                Some(HostPattern::Any) | None => HostRank::Gateways,
            },
            conditions: Reverse(selector.conditions.count()),
            takes_all_methods: selector.methods.takes_all(),
        }
    }
}

/// Entries of one path, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terminal(Vec<Entry>);

// === impl Terminal ===

impl Terminal {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The greatest priority there.
    pub(crate) fn greatest(&self) -> Option<i32> {
        self.0.first().map(Entry::priority)
    }

    /// # Errors
    ///
    /// The route that some requests are for as well.
    pub(crate) fn insert(&mut self, new: Entry) -> Result<(), Arc<Route>> {
        let rank = new.rank();
        let from = self.0.partition_point(|entry| entry.rank() < rank);
        let equals = self.0[from..].iter().take_while(|entry| entry.rank() == rank);
        if let Some(other) = equals.into_iter().find(|entry| entry.conflicts(&new)) {
            return Err(Arc::clone(&other.route));
        }
        let at = self.0.partition_point(|entry| entry.order(&new) == Ordering::Less);
        self.0.insert(at, new);
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.0.retain(|entry| *entry.route.id != *id);
    }

    pub(crate) fn replace(&mut self, with: &Arc<Route>) {
        for entry in &mut self.0 {
            if entry.route.id == with.id {
                entry.route = Arc::clone(with);
            }
        }
    }
}
