//! A route, ready to serve.

use crate::conditions::Conditions;
use crate::label::Label;
use crate::methods::{Allow, Methods};
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::pattern::Segment;
use sluice_http_semantics::upgrade::Allowed;
use sluice_policy::{self as policy, Redirect, Respond, Rewrite, headers, query};
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
    Forward(Destination),
    /// Forwards it to a target of one of several.
    Split(Arc<Split>),
    /// Answers with a fixed message.
    Respond(Arc<Respond>),
    /// Answers with a redirect.
    Redirect(Arc<Redirect>),
}

/// Where a route forwards to.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The same one in all routes of the snapshot that name it.
    pub upstream: Arc<Spec>,
    /// The route's own where it has them, else the upstream's, else the defaults.
    pub timeouts: Timeouts,
}

/// Several destinations.
#[derive(Debug)]
pub struct Split {
    /// Chooses an arm by its index.
    pub policy: policy::Split,
    /// In the order of the document.
    pub arms: Box<[Destination]>,
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
    /// The methods that it names, as the field `Allow` has them; none where it takes all.
    #[must_use]
    pub fn allow(&self) -> Allow<'_> {
        let mut allow = Allow::default();
        allow.add(&self.selector.methods);
        allow
    }

    /// All that it may forward to; of a split, in the order of its arms.
    #[must_use]
    pub fn destinations(&self) -> &[Destination] {
        match &self.action {
            Action::Forward(destination) => std::slice::from_ref(destination),
            Action::Split(split) => &split.arms,
            Action::Respond(_) | Action::Redirect(_) => &[],
        }
    }

    /// The same with its upstreams as they are now.
    ///
    /// # Errors
    ///
    /// The name of one that is not there any more.
    pub(crate) fn with_upstreams<'s>(&self, now: impl Fn(&str) -> Option<&'s Arc<Spec>>) -> Result<Self, Arc<str>> {
        let renewed = |destination: &Destination| {
            let name = &destination.upstream.name;
            let upstream = now(name).ok_or_else(|| Arc::clone(name))?;
            Ok(self.own_timeouts.towards(upstream))
        };
        let action = match &self.action {
            Action::Forward(destination) => Action::Forward(renewed(destination)?),
            Action::Split(split) => Action::Split(Arc::new(Split {
                policy: split.policy.clone(),
                arms: split.arms.iter().map(renewed).collect::<Result<_, Arc<str>>>()?,
            })),
            action @ (Action::Respond(_) | Action::Redirect(_)) => action.clone(),
        };
        Ok(Self { action, ..self.clone() })
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
    pub(crate) fn towards(self, upstream: &Arc<Spec>) -> Destination {
        Destination {
            upstream: Arc::clone(upstream),
            timeouts: self.over(upstream.timeouts),
        }
    }

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
