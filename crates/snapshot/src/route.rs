//! A route, ready to serve.

use crate::compile::resilience;
use crate::conditions::Conditions;
use crate::fallback::Fallback;
use crate::label::Label;
use crate::methods::{Allow, Methods};
use crate::snapshot::Snapshot;
use sluice_document::declared;
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::pattern::Segment;
use sluice_http_semantics::upgrade::Allowed;
use sluice_policy::{self as policy, Limit, Limits, Redirect, Respond, Rewrite, headers, query};
use sluice_shared_state::{BreakerKey, BreakerRule};
use sluice_upstream::{Guard, Plan, Retry, Spec, Timeouts};
use std::sync::Arc;
use std::time::Duration;

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
    /// What its requests have to pass: the limits of its gateway, then its own.
    pub limits: Option<Arc<Limits>>,
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
    /// What it has of its own over what its upstreams have.
    pub(crate) own: Own,
    /// Of `limits`, those that are its own and those of its gateway.
    pub(crate) own_limits: Arc<[Limit]>,
    /// See there; the same as the gateway's.
    pub(crate) gateway_limits: Arc<[Limit]>,
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
    /// The route's own over the upstream's, where it has any.
    retry: Option<Arc<Retry>>,
    /// The route's own, which stands in place of the upstream's.
    breaker: Option<Arc<Guard>>,
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

/// What a route has over what its upstreams have.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) timeouts: OwnTimeouts,
    pub(crate) retry: Option<declared::Retry>,
    pub(crate) breaker: Option<Arc<OwnBreaker>>,
}

/// A route's own breaker, of which each of its upstreams has one.
#[derive(Debug)]
pub(crate) struct OwnBreaker {
    pub(crate) gateway: Arc<str>,
    pub(crate) route: Arc<str>,
    pub(crate) rule: BreakerRule,
    pub(crate) fallback: Option<Fallback>,
}

/// Each over the upstream's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OwnTimeouts(pub(crate) declared::RouteTimeout);

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
        self.action.destinations()
    }

    /// Whether what is done with its requests where a breaker is open asks for values of them.
    #[must_use]
    pub fn falls_back_by_values(&self, snapshot: &Snapshot, destination: &Destination) -> bool {
        let own = self.own.breaker.as_deref().and_then(|own| own.fallback.as_ref());
        let guarded = destination.breaker.is_some() || destination.upstream.breaker.is_some();
        guarded && (own.is_some_and(Fallback::takes_values) || snapshot.fallbacks_take_values())
    }

    /// What is done with its requests while the breaker in front of `destination` is open; none: they are refused.
    #[must_use]
    pub fn fallback<'s>(&'s self, snapshot: &'s Snapshot, destination: &Destination) -> Option<&'s Fallback> {
        match (&self.own.breaker, &destination.breaker) {
            (Some(own), Some(_)) => own.fallback.as_ref(),
            _ => snapshot.fallback(&destination.upstream.name),
        }
    }

    /// To an upstream that is not its own, with the breaker that this one has.
    #[must_use]
    pub fn fall_back_to(&self, upstream: &Arc<Spec>) -> Destination {
        Destination {
            breaker: None,
            ..self.own.towards(upstream, None)
        }
    }

    /// The same under the limits that its gateway has now.
    pub(crate) fn under(&self, gateway: &Arc<[Limit]>) -> Self {
        let limits = Limits::join(gateway, &self.own_limits);
        let memory = |limits: Option<&Limits>| limits.map_or(0, Limits::memory);
        Self {
            weight: self.weight.saturating_sub(memory(self.limits.as_deref())) + memory(limits.as_ref()),
            limits: limits.map(Arc::new),
            gateway_limits: Arc::clone(gateway),
            ..self.clone()
        }
    }

    /// The same with its upstreams as they are in this version.
    ///
    /// # Errors
    ///
    /// The name of one that is not there any more.
    pub(crate) fn with_upstreams<'s>(
        &self,
        version: u64,
        now: impl Fn(&str) -> Option<&'s Arc<Spec>>,
    ) -> Result<Self, Arc<str>> {
        let renewed = |destination: &Destination| {
            let name = &destination.upstream.name;
            let upstream = now(name).ok_or_else(|| Arc::clone(name))?;
            Ok(self.own.towards(upstream, Some(destination)))
        };
        let action = match &self.action {
            Action::Forward(destination) => Action::Forward(renewed(destination)?),
            Action::Split(split) => Action::Split(Arc::new(Split {
                policy: split.policy.clone(),
                arms: split.arms.iter().map(renewed).collect::<Result<_, Arc<str>>>()?,
            })),
            action @ (Action::Respond(_) | Action::Redirect(_)) => action.clone(),
        };
        let mut own_limits = self.own_limits.to_vec();
        Limit::hold(&mut own_limits, action.longest(), version);
        let mut route = Self { action, ..self.clone() };
        if own_limits != *self.own_limits {
            route.own_limits = own_limits.into();
            route.limits = Limits::join(&route.gateway_limits, &route.own_limits).map(Arc::new);
        }
        Ok(route)
    }
}

// === impl Action ===

impl Action {
    fn destinations(&self) -> &[Destination] {
        match self {
            Self::Forward(destination) => std::slice::from_ref(destination),
            Self::Split(split) => &split.arms,
            Self::Respond(_) | Self::Redirect(_) => &[],
        }
    }

    /// How long a request lasts at most, wherever it goes. None where nothing bounds it.
    pub(crate) fn longest(&self) -> Option<Duration> {
        let totals = self.destinations().iter().map(|destination| destination.timeouts.total);
        totals.collect::<Option<Vec<_>>>()?.into_iter().max()
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

// === impl Destination ===

impl Destination {
    /// The breaker that the route has in place of the upstream's.
    pub(crate) fn own_breaker(&self) -> Option<&Guard> {
        self.breaker.as_deref()
    }

    /// How requests are sent there.
    #[must_use]
    pub fn plan(&self) -> Plan<'_> {
        Plan {
            timeouts: &self.timeouts,
            retry: self.retry.as_deref().unwrap_or(&self.upstream.retry),
            breaker: self.breaker.as_deref().or(self.upstream.breaker.as_deref()),
            request_id: "",
        }
    }
}

// === impl Own ===

impl Own {
    /// `before` is what it was towards the same upstream: what is equal is shared with it.
    pub(crate) fn towards(&self, upstream: &Arc<Spec>, before: Option<&Destination>) -> Destination {
        let timeouts = self.timeouts.over(upstream.timeouts);
        let guard = self.breaker.as_deref().map(|own| own.in_front_of(upstream, &timeouts));
        let known = before.and_then(|before| before.breaker.as_ref());
        Destination {
            upstream: Arc::clone(upstream),
            timeouts,
            retry: self
                .retry
                .as_ref()
                .map(|own| Arc::new(resilience::retry(own, &upstream.retry))),
            breaker: guard.map(|guard| match known {
                Some(known) if known.is_like(&guard) => Arc::clone(known),
                _ => Arc::new(guard),
            }),
        }
    }
}

// === impl OwnBreaker ===

impl OwnBreaker {
    fn in_front_of(&self, upstream: &Spec, timeouts: &Timeouts) -> Guard {
        let key = BreakerKey {
            upstream: Arc::clone(&upstream.name),
            route: Some((Arc::clone(&self.gateway), Arc::clone(&self.route))),
        };
        Guard::new(key, resilience::for_timeouts(&self.rule, timeouts))
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
