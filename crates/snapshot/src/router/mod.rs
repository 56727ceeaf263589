//! From a request to its route: all candidates in the order of one rule, until one takes the request.
//!
//! docs/routing.md states the rule. The tree gives candidates most specific path first, the expressions come after it,
//! and a subtree is passed over where none of its routes has the priority to change the answer.

mod rank;
mod regexes;
mod search;
mod tree;

pub(crate) use regexes::{BuildError, Stale};

use crate::budget::Budget;
use crate::gateway::{Answer, Lookup, Params};
use crate::route::{Place, Route};
use rank::Entry;
use regexes::Regexes;
use search::Search;
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::path::EncodedSlash;
use std::sync::Arc;
use tree::Node;

/// All routes of a gateway by what they match. A copy shares all until it is changed, and then all but the way to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Router {
    tree: Arc<Node>,
    regexes: Regexes,
}

// === impl Router ===

impl Router {
    pub(crate) fn route<'s, 'r>(&'s self, lookup: &'r Lookup<'r>) -> Answer<'s, 'r> {
        let path = lookup.path.as_str();
        // `*` asks for no resource.
        let Some(below) = path.strip_prefix('/') else {
            return Answer::NoRoute;
        };
        let mut search = Search::new(lookup);
        self.tree.search(Some(below), &mut search);
        self.regexes.search(path, &mut search);
        match search.end() {
            Ok(found) => {
                let route = &found.entry.route;
                let refused = match lookup.path.encoded_slash() {
                    EncodedSlash::None => false,
                    EncodedSlash::Harmless => route.refuses_encoded_slash,
                    EncodedSlash::HidesDotSegment => true,
                };
                if refused {
                    return Answer::EncodedSlash { route };
                }
                Answer::Route {
                    route,
                    params: Params {
                        names: &found.entry.names,
                        values: found.params,
                    },
                }
            }
            Err(allow) if allow.is_empty() => Answer::NoRoute,
            Err(allow) => Answer::MethodNotAllowed { allow },
        }
    }

    /// # Errors
    ///
    /// Another route that takes the same requests. The router is of no use then.
    pub(crate) fn insert(&mut self, route: &Arc<Route>, stale: &mut Stale) -> Result<(), Arc<Route>> {
        let selector = &route.selector;
        for place in &selector.places {
            // Once without a host of its own, or once for each that it has.
            let one = selector.hosts.is_empty().then_some(&HostPattern::Any);
            for host in one.into_iter().chain(&selector.hosts) {
                let entry = Entry {
                    route: Arc::clone(route),
                    // To name any host is to name none.
                    host: Some(host).filter(|host| **host != HostPattern::Any).cloned(),
                    names: Arc::clone(place.names()),
                };
                match place {
                    Place::Tree { segments, .. } => Arc::make_mut(&mut self.tree).insert(segments, entry)?,
                    Place::Regex { prefix, text, .. } => self.regexes.insert(prefix, text, entry, stale)?,
                }
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, route: &Route, stale: &mut Stale) {
        for place in &route.selector.places {
            match place {
                Place::Tree { segments, .. } => Arc::make_mut(&mut self.tree).remove(segments, &route.id),
                Place::Regex { prefix, text, .. } => self.regexes.remove(prefix, text, &route.id, stale),
            }
        }
    }

    /// Puts `route` in the place of one with its id and its very selector.
    pub(crate) fn replace(&mut self, route: &Arc<Route>) {
        for place in &route.selector.places {
            match place {
                Place::Tree { segments, .. } => Arc::make_mut(&mut self.tree).replace(segments, route),
                Place::Regex { prefix, text, .. } => self.regexes.replace(prefix, text, route),
            }
        }
    }

    /// Ends a change.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. The router is of no use then.
    pub(crate) fn build(&mut self, stale: Stale, budget: &Budget) -> Result<(), BuildError> {
        self.regexes.build(stale, budget)
    }

    /// Bytes of what was compiled from expressions.
    pub(crate) fn memory(&self) -> usize {
        self.regexes.memory()
    }
}
