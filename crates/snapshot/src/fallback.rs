//! What is done with requests while a breaker is open.

use sluice_policy::Respond;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is done with requests while a breaker is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// They are answered so.
    Respond(Arc<Respond>),
    /// They go to the upstream of this name, if its own breaker lets them.
    Upstream(Arc<str>),
}

/// The fallbacks of upstreams that have one, by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fallbacks {
    of: BTreeMap<Arc<str>, Fallback>,
    takes_values: bool,
}

// === impl Fallback ===

impl Fallback {
    /// Whether it asks for values of the request.
    #[must_use]
    pub fn takes_values(&self) -> bool {
        match self {
            Self::Respond(respond) => !respond.is_fixed(),
            Self::Upstream(_) => false,
        }
    }

    /// The upstream that it leads to.
    pub(crate) fn upstream(&self) -> Option<&Arc<str>> {
        match self {
            Self::Respond(_) => None,
            Self::Upstream(name) => Some(name),
        }
    }
}

// === impl Fallbacks ===

impl Fallbacks {
    pub(crate) fn set(&mut self, upstream: &Arc<str>, fallback: Option<Fallback>) {
        match fallback {
            Some(fallback) => drop(self.of.insert(Arc::clone(upstream), fallback)),
            None => drop(self.of.remove(upstream)),
        }
        self.takes_values = self.of.values().any(Fallback::takes_values);
    }

    pub(crate) fn get(&self, upstream: &str) -> Option<&Fallback> {
        self.of.get(upstream)
    }

    /// Whether any asks for values of the request.
    pub(crate) fn take_values(&self) -> bool {
        self.takes_values
    }

    /// Those that lead to what is not there, or in a circle: whose, and why not.
    pub(crate) fn faults(&self, is_there: impl Fn(&str) -> bool) -> Vec<(Arc<str>, String)> {
        let mut faults = Vec::new();
        for (name, fallback) in &self.of {
            let Some(next) = fallback.upstream() else { continue };
            if !is_there(next) {
                faults.push((Arc::clone(name), format!("there is no upstream {next:?}")));
            }
            let mut here = Some(next);
            // A circle that this one is not part of is told by those that are.
            for _ in 0..self.of.len() {
                match here {
                    Some(there) if there == name => {
                        faults.push((Arc::clone(name), format!("it leads back to {name:?}")));
                        break;
                    }
                    Some(there) => here = self.of.get(there).and_then(Fallback::upstream),
                    None => break,
                }
            }
        }
        faults
    }
}
