//! A route, ready to serve.

use crate::conditions::Conditions;
use crate::label::Label;
use crate::methods::Methods;
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::pattern::Segment;
use sluice_http_semantics::upgrade::Allowed;
use sluice_policy::{Redirect, Respond, Rewrite, headers, query};
use sluice_upstream::{Spec, Timeouts};
use std::sync::Arc;

/// What to do with a request that was matched. Immutable, shared between snapshots where nothing of it changed; a
/// stream may hold it on its own, long after its snapshot is gone.
#[derive(Debug, Clone)]
pub struct Route {
    /// The name of its gateway.
    pub gateway: Arc<str>,
    /// Unique in its gateway.
    pub id: Arc<str>,
    /// The pattern as declared, for `http.route`; of several patterns all, separated by a space.
    pub http_route: Arc<str>,
    /// What it does.
    pub action: Action,
    /// How the path changes on its way upstream.
    pub rewrite: Option<Arc<Rewrite>>,
    /// Changes to the query, after `rewrite`.
    pub request_query: Option<Arc<query::Transform>>,
    /// Changes to the fields of the request.
    pub request_headers: Option<Arc<headers::Transform>>,
    /// Changes to the fields of the answer.
    pub response_headers: Option<Arc<headers::Transform>>,
    /// The route's own where it has them, else its upstream's, else the defaults.
    pub timeouts: Timeouts,
    /// Bytes that a request's body may have; `None`: any number.
    pub max_body: Option<u64>,
    /// What its requests may switch to.
    pub upgrade: Allowed,
    /// The number of its cells in metrics.
    pub label: Label,
    /// Whether any `%2F` in a path is refused, and not only one that hides a dot segment.
    pub(crate) refuses_encoded_slash: bool,
    /// What it matches.
    pub(crate) selector: Arc<Selector>,
    /// The time-outs that it has of its own.
    pub(crate) own_timeouts: OwnTimeouts,
    /// Bytes, about.
    pub(crate) weight: usize,
}

/// What a route does with a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// Forwards it to a target of this upstream.
    Forward {
        /// The same one in all routes of the snapshot that name it.
        upstream: Arc<Spec>,
    },
    /// Answers with a fixed message.
    Respond(Arc<Respond>),
    /// Answers with a redirect.
    Redirect(Arc<Redirect>),
}

/// What a route matches.
#[derive(Debug)]
pub(crate) struct Selector {
    /// In the document's order, each once.
    pub(crate) places: Box<[Place]>,
    /// Narrower than the gateway's; empty: the gateway's.
    pub(crate) hosts: Box<[HostPattern]>,
    pub(crate) methods: Methods,
    pub(crate) conditions: Conditions,
    pub(crate) priority: i32,
}

/// Where a path of a route stands in the router.
#[derive(Debug)]
pub(crate) enum Place {
    Tree {
        segments: Box<[Segment]>,
        /// Of the parameters.
        names: Arc<[Box<str>]>,
    },
    Regex {
        /// What all paths begin with that it matches.
        prefix: Arc<str>,
        text: Arc<str>,
        /// None.
        names: Arc<[Box<str>]>,
    },
}

/// Each over the upstream's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OwnTimeouts(pub(crate) sluice_document::declared::RouteTimeout);

// === impl Route ===

impl Route {
    /// The upstream that it forwards to.
    #[must_use]
    pub fn upstream(&self) -> Option<&Arc<Spec>> {
        match &self.action {
            Action::Forward { upstream } => Some(upstream),
            Action::Respond(_) | Action::Redirect(_) => None,
        }
    }

    /// The same with its upstream as it is now.
    pub(crate) fn with_upstream(&self, upstream: &Arc<Spec>) -> Self {
        Self {
            action: Action::Forward {
                upstream: Arc::clone(upstream),
            },
            timeouts: self.own_timeouts.over(upstream.timeouts),
            ..self.clone()
        }
    }
}

// === impl Place ===

impl Place {
    pub(crate) fn names(&self) -> &Arc<[Box<str>]> {
        match self {
            Self::Tree { names, .. } | Self::Regex { names, .. } => names,
        }
    }
}

// === impl OwnTimeouts ===

impl OwnTimeouts {
    pub(crate) fn over(self, rest: Timeouts) -> Timeouts {
        let Self(own) = self;
        Timeouts {
            connect: own.connect.map_or(rest.connect, |own| own.0),
            attempt: own.attempt.map(|own| own.0).or(rest.attempt),
            first_byte: own.first_byte.map_or(rest.first_byte, |own| own.0),
            idle: own.idle.map_or(rest.idle, |own| own.0),
            total: own.total.map(|own| own.0).or(rest.total),
            tunnel: own.tunnel.map_or(rest.tunnel, |own| own.0),
        }
    }
}
