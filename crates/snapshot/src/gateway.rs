//! A gateway, ready to choose a route for a request.

use crate::methods::Allow;
use crate::persistent::Map;
use crate::route::Route;
use crate::router::Router;
use http::{HeaderMap, Method};
use ipnet::IpNet;
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::path::Path;
use sluice_policy::Limit;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

/// A front for one kind of client. Immutable, shared between snapshots where nothing of it changed.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Unique in the document.
    pub name: Arc<str>,
    /// Whether answers carry `Sluice-Version`.
    pub expose_version: bool,
    /// Whether answers carry `Sluice-Node`.
    pub expose_node: bool,
    /// Whose forwarding fields are believed.
    pub trusted: Vec<IpNet>,
    /// What requests to all its routes together have to pass.
    pub(crate) limits: Arc<[Limit]>,
    pub(crate) hosts: Arc<[HostPattern]>,
    /// Names of listeners.
    pub(crate) listen: Arc<[Arc<str>]>,
    pub(crate) routes: Map<Arc<str>, Arc<Route>>,
    pub(crate) router: Router,
    /// Bytes of all but the routes, about.
    pub(crate) weight: usize,
}

/// What a request is known by when its route is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'r> {
    /// As [`Host::parse_authority`](sluice_http_semantics::host::Host::parse_authority) gives it.
    pub host: &'r str,
    /// Normalised: the same that the upstream will see.
    pub path: &'r Path<'r>,
    /// As sent.
    pub method: &'r Method,
    /// As sent.
    pub headers: &'r HeaderMap,
    /// As sent, without the question mark.
    pub query: Option<&'r str>,
    /// Who asks, after the gateway's `trusted` had their say.
    pub client: IpAddr,
    /// Who sends it is one of the gateway's `trusted`. What an untrusted peer says of others in `headers`, no
    /// condition sees.
    pub trusted: bool,
}

/// What a gateway has for a request.
#[derive(Debug)]
pub enum Answer<'s, 'r> {
    /// This route takes it.
    Route {
        /// The first of those that match, by rank.
        route: &'s Arc<Route>,
        /// What the path's parameters took.
        params: Params<'s, 'r>,
    },
    /// Nothing matches: 404.
    NoRoute,
    /// Only the method is wrong: 405.
    MethodNotAllowed {
        /// The methods with which the same request would have been taken.
        allow: Allow<'s>,
    },
    /// The route takes it, but not with this `%2F` in its path: 400.
    EncodedSlash {
        /// The route.
        route: &'s Arc<Route>,
    },
}

/// What a path's parameters took: pieces of the normalised path, still percent-encoded.
#[derive(Debug, Clone, Default)]
pub struct Params<'s, 'r> {
    pub(crate) names: &'s [Box<str>],
    pub(crate) values: SmallVec<[&'r str; 6]>,
}

// === impl Gateway ===

impl Gateway {
    /// The route that takes a request, by the rule of docs/routing.md. Allocates nothing, but where a pattern has more
    /// than six parameters or more than eight regular expressions match at once.
    pub fn route<'s, 'r>(&'s self, lookup: &'r Lookup<'r>) -> Answer<'s, 'r> {
        self.router.route(lookup)
    }

    /// The route of this id.
    #[must_use]
    pub fn route_named(&self, id: &str) -> Option<&Arc<Route>> {
        self.routes.get(id)
    }

    /// All routes, in no order that means anything.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }
}

// === impl Params ===

impl<'r> Params<'_, 'r> {
    /// What the parameter of this name took; `rest` is what `/**` took, without the slash before it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'r str> {
        let at = self.names.iter().position(|known| **known == *name)?;
        self.values.get(at).copied()
    }

    /// All, in the pattern's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'r str)> {
        self.names.iter().map(|name| &**name).zip(self.values.iter().copied())
    }
}
