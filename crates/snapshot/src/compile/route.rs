//! `gateways.NAME.routes.ID`: declared → [`Route`].

use super::{At, resilience};
use crate::budget::Budget;
use crate::conditions::{Compare, Conditions, Test};
use crate::error::OverBudget;
use crate::fallback::Fallback;
use crate::hosts::cover;
use crate::label::Label;
use crate::matcher::{Matcher, Over, sure_prefix};
use crate::methods::Methods;
use crate::route::{Action, Destination, Own, OwnBreaker, OwnTimeouts, Place, Route, Selector, Split};
use http::{HeaderName, Method};
use ipnet::IpNet;
use sluice_document::declared;
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::pattern::Pattern;
use sluice_http_semantics::upgrade::{Allowed, Protocol};
use sluice_policy::{Context, Limit, Limits, Policies, scope_of};
use sluice_upstream::Spec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The body of a request, where the document says nothing.
const MAX_BODY: u64 = 10 << 20;
/// Paths times hosts of one route.
const MOST_ENTRIES: usize = 4096;
/// Bytes of a compiled pair of name and value beside their texts, a quarter.
const PAIR: usize = 40;

/// What a route is compiled with.
pub(super) struct Around<'c> {
    pub(super) gateway: &'c Arc<str>,
    /// The gateway's.
    pub(super) hosts: &'c [HostPattern],
    pub(super) upstream: &'c dyn Fn(&str) -> Option<Arc<Spec>>,
    pub(super) budget: &'c Budget,
    /// The route of the same name before.
    pub(super) before: Option<&'c Route>,
    pub(super) at: At,
    /// The limits of the gateway.
    pub(super) limits: &'c Arc<[Limit]>,
    /// That of the route of the same name before, or a new one.
    pub(super) label: Label,
}

/// Why there is no route.
pub(super) enum RouteError {
    /// All that is wrong with it.
    Faults(Vec<String>),
    OverBudget(OverBudget),
}

/// # Errors
///
/// See [`RouteError`].
pub(super) fn route(around: Around<'_>, declared: &declared::Route) -> Result<Route, RouteError> {
    let mut faults = Vec::new();
    let selector = selector(declared, around.budget, &mut faults)?;
    faults.extend(outside(&selector, around.hosts));
    let id: Arc<str> = declared.id.as_str().into();
    let own = Own {
        timeouts: OwnTimeouts(declared.timeout.unwrap_or_default()),
        retry: declared.retry.clone(),
        breaker: breaker(&around, &id, declared, &mut faults),
    };
    let mut policies = policies(&around, declared, &mut faults);
    let upgrade = upgrade(declared.upgrade.as_deref(), &mut faults);
    let mut towards = |field: &dyn std::fmt::Display, name: &str| {
        let upstream = (around.upstream)(name);
        if upstream.is_none() {
            faults.push(format!("{field}: there is no upstream {name:?}"));
        }
        upstream.map(|upstream| {
            let known = around.before.map(Route::destinations).unwrap_or_default();
            let known = known.iter().find(|known| known.upstream.name == upstream.name);
            own.towards(&upstream, known)
        })
    };
    // Faults of policies are told already.
    let action = match &declared.action {
        declared::Action::Upstream(name) => towards(&"upstream", name).map(Action::Forward),
        declared::Action::Split(split) => {
            let arms = split.to.iter().enumerate();
            let arms: Vec<Option<Destination>> = arms
                .map(|(i, arm)| towards(&format_args!("split.to[{i}].upstream"), &arm.upstream))
                .collect();
            let arms = arms.into_iter().collect::<Option<_>>();
            policies
                .split
                .take()
                .zip(arms)
                .map(|(policy, arms)| Action::Split(Arc::new(Split { policy, arms })))
        }
        declared::Action::Respond(_) => policies
            .respond
            .take()
            .map(|respond| Action::Respond(Arc::new(respond))),
        declared::Action::Redirect(_) => policies
            .redirect
            .take()
            .map(|redirect| Action::Redirect(Arc::new(redirect))),
    };
    let mut own_limits = std::mem::take(&mut policies.limits);
    let longest = action.as_ref().and_then(Action::longest);
    Limit::hold(&mut own_limits, longest, around.at.version);
    Limit::keep(&mut own_limits, around.before.map_or(&[], |before| &*before.own_limits));
    faults.extend(taken(around.limits, &own_limits));
    let limits = Limits::join(around.limits, &own_limits);
    match (action, faults.is_empty()) {
        (Some(action), true) => Ok(Route {
            gateway: Arc::clone(around.gateway),
            id,
            http_route: declared.paths.join(" ").into(),
            weight: weight(&selector, declared, &action) + limits.as_ref().map_or(0, Limits::memory),
            limits: limits.map(Arc::new),
            own_limits: own_limits.into(),
            gateway_limits: Arc::clone(around.limits),
            action,
            rewrite: policies.rewrite.map(Arc::new),
            request_query: policies.request_query.map(Arc::new),
            request_headers: policies.request_headers.map(Arc::new),
            response_headers: policies.response_headers.map(Arc::new),
            max_body: match declared.max_body {
                None => Some(MAX_BODY),
                Some(declared::MaxBody::None) => None,
                Some(declared::MaxBody::Limit(size)) => Some(size.0),
            },
            upgrade,
            label: around.label,
            refuses_encoded_slash: declared.encoded_slash == Some(declared::EncodedSlash::Refuse),
            selector: Arc::new(selector),
            own,
        }),
        _ => Err(RouteError::Faults(faults)),
    }
}

impl From<OverBudget> for RouteError {
    fn from(what: OverBudget) -> Self {
        Self::OverBudget(what)
    }
}

/// What is wrong with the hosts of a route in a gateway that has these.
pub(super) fn outside(selector: &Selector, gateways: &[HostPattern]) -> Vec<String> {
    let outside = selector.hosts.iter().filter(|host| !cover(gateways, host));
    outside
        .map(|host| format!("hosts: the gateway does not have {host}, so this never gets a request"))
        .collect()
}

/// What is wrong with limits of a route in a gateway that has these.
pub(super) fn taken(gateway: &[Limit], own: &[Limit]) -> Option<String> {
    let name = Limits::named_twice(gateway, own)?;
    Some(format!(
        "rate_limits: the gateway has a limit {name:?} already, and both hold for this route"
    ))
}

fn selector(declared: &declared::Route, budget: &Budget, faults: &mut Vec<String>) -> Result<Selector, OverBudget> {
    let mut places = Vec::with_capacity(declared.paths.len());
    for path in &declared.paths {
        match place(path) {
            Ok(place) if places.iter().any(|known| same(known, &place)) => {
                faults.push(format!("paths: {path:?} is there twice"));
            }
            Ok(place) => places.push(place),
            Err(why) => faults.push(format!("path: {why}")),
        }
    }
    if declared.paths.is_empty() {
        faults.push("path: there is none".to_owned());
    }
    let mut hosts = Vec::with_capacity(declared.hosts.len());
    for host in &declared.hosts {
        match HostPattern::parse(host) {
            Ok(host) if hosts.contains(&host) => faults.push(format!("hosts: {host} is there twice")),
            Ok(host) => hosts.push(host),
            Err(error) => faults.push(format!("hosts: {host:?}: {error}")),
        }
    }
    if places.len().saturating_mul(hosts.len().max(1)) > MOST_ENTRIES {
        faults.push(format!(
            "it has more than {MOST_ENTRIES} pairs of a path and a host; make several routes of it"
        ));
    }
    for method in &declared.methods {
        if Method::from_bytes(method.as_bytes()).is_err() {
            faults.push(format!("methods: {method:?} is no method"));
        }
    }
    Ok(Selector {
        places: places.into(),
        hosts: hosts.into(),
        methods: Methods::new(declared.methods.iter().map(String::as_str)),
        conditions: conditions(&declared.matches, budget, faults)?,
        priority: declared.priority.unwrap_or(0),
    })
}

fn breaker(
    around: &Around<'_>,
    id: &Arc<str>,
    declared: &declared::Route,
    faults: &mut Vec<String>,
) -> Option<Arc<OwnBreaker>> {
    let breaker = declared.breaker.as_ref()?;
    let fallback = resilience::fallback(breaker, &patterns(declared), faults);
    if let Some(name) = fallback.as_ref().and_then(Fallback::upstream)
        && (around.upstream)(name).is_none()
    {
        faults.push(format!("breaker.fallback.upstream: there is no upstream {name:?}"));
    }
    Some(Arc::new(OwnBreaker {
        gateway: Arc::clone(around.gateway),
        route: Arc::clone(id),
        rule: resilience::rule(breaker, around.at.version),
        fallback,
    }))
}

fn upgrade(declared: Option<&[String]>, faults: &mut Vec<String>) -> Allowed {
    let Some(declared) = declared else {
        return Allowed::default();
    };
    let read = |text: &String| {
        Protocol::parse(text)
            .inspect_err(|error| faults.push(format!("upgrade: {text:?}: {error}")))
            .ok()
    };
    Allowed::new(declared.iter().filter_map(read).collect())
}

fn patterns(declared: &declared::Route) -> Vec<Pattern> {
    // What cannot be read is told where the paths are.
    let read = declared.paths.iter().filter_map(|path| Pattern::parse(path).ok());
    read.collect()
}

fn policies(around: &Around<'_>, declared: &declared::Route, faults: &mut Vec<String>) -> Policies {
    let context = Context {
        scope: scope_of(&patterns(declared)),
        gateway: around.gateway,
        version: around.at.version,
        now: around.at.now,
    };
    Policies::compile(declared, &context).unwrap_or_else(|found| {
        faults.extend(found.iter().map(|fault| format!("{}: {}", fault.field, fault.kind)));
        Policies::default()
    })
}

fn place(path: &str) -> Result<Place, String> {
    let pattern = Pattern::parse(path).map_err(|error| format!("{path:?}: {error}"))?;
    let names = pattern.params().map(Into::into).collect();
    Ok(match pattern {
        Pattern::Tree { segments } => Place::Tree {
            segments: segments.into(),
            names,
        },
        Pattern::Regex(text) => Place::Regex {
            prefix: sure_prefix(&text).map_err(|error| error.to_string())?.into(),
            text: text.into(),
            names,
        },
    })
}

/// Whether two places take the same paths, as far as that can be seen.
fn same(a: &Place, b: &Place) -> bool {
    use sluice_http_semantics::pattern::Segment::{Literal, Param, Rest};
    match (a, b) {
        (Place::Tree { segments: a, .. }, Place::Tree { segments: b, .. }) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|pair| match pair {
                    (Literal(a), Literal(b)) => a == b,
                    (Param(_), Param(_)) | (Rest, Rest) => true,
                    _ => false,
                })
        }
        (Place::Regex { text: a, .. }, Place::Regex { text: b, .. }) => a == b,
        _ => false,
    }
}

fn conditions(declared: &declared::Match, budget: &Budget, faults: &mut Vec<String>) -> Result<Conditions, OverBudget> {
    let (mut headers, mut query) = (Vec::new(), Vec::new());
    // Expressions are what grows: they are counted as they are made, and not when the route is done.
    let mut memory = 0;
    let mut made = |test: &Result<Test, String>| {
        memory += test.as_ref().map_or(0, Test::memory);
        budget.room_for(memory)?;
        budget.time_is_left()
    };
    for (name, asked) in &declared.headers {
        let test = test(asked);
        made(&test)?;
        match (HeaderName::from_bytes(name.as_bytes()), test) {
            (Ok(name), Ok(test)) => headers.push((name, test)),
            (Err(_), _) => faults.push(format!("match.headers: {name:?} is no name of a field")),
            (_, Err(why)) => faults.push(format!("match.headers.{name}: {why}")),
        }
    }
    for (name, asked) in &declared.query {
        let test = test(asked);
        made(&test)?;
        match test {
            Ok(test) => query.push((name.as_str().into(), test)),
            Err(why) => faults.push(format!("match.query.{name}: {why}")),
        }
    }
    let mut client: Vec<IpNet> = declared.client.iter().map(IpNet::trunc).collect();
    client.sort_unstable();
    client.dedup();
    Ok(Conditions {
        headers: headers.into(),
        query: query.into(),
        client: client.into(),
    })
}

fn test(declared: &declared::FieldMatch) -> Result<Test, String> {
    let compare = match &declared.compare {
        declared::Compare::Exact(text) => Compare::Exact(text.as_str().into()),
        declared::Compare::Prefix(text) => Compare::Prefix(text.as_str().into()),
        declared::Compare::Regex(text) => Compare::Regex {
            text: text.as_str().into(),
            matcher: Matcher::new(&[text], Over::Values)
                .map_err(|error| error.map_or_else(|| format!("{text:?} is too large"), |error| error.to_string()))?,
        },
        declared::Compare::Present(there) => Compare::Present(*there),
    };
    Ok(Test {
        compare,
        not: declared.not,
    })
}

/// Bytes, about: nodes and entries of the router with it.
fn weight(selector: &Selector, declared: &declared::Route, action: &Action) -> usize {
    const ENTRY: usize = 400;
    const BREAKER: usize = 1024;
    let entries = selector.places.len() * selector.hosts.len().max(1);
    let texts = declared.paths.iter().chain(&declared.hosts).map(String::len);
    let changes = changes(&declared.request) + changes(&declared.response);
    let split = match action {
        Action::Split(split) => split.policy.memory() + size_of_val(&*split.arms),
        _ => 0,
    };
    let action = match &declared.action {
        declared::Action::Upstream(_) | declared::Action::Split(_) => 0,
        declared::Action::Redirect(redirect) => redirect.to.len(),
        declared::Action::Respond(respond) => {
            let payload = respond.payload.as_ref().map_or(0, |payload| match payload {
                declared::Payload::Text(text) | declared::Payload::Html(text) => text.len(),
                declared::Payload::Json(value) => value.to_string().len(),
            });
            payload + pairs(&respond.headers)
        }
    };
    // A guard, a rule and a cell, for each way out.
    let breaker = declared.breaker.as_ref().map_or(0, |_| BREAKER);
    let fixed = size_of::<Route>() + size_of::<Selector>() + ENTRY * entries + breaker;
    fixed + 4 * (texts.sum::<usize>() + changes + action) + selector.conditions.memory() + split
}

fn changes(declared: &declared::MessageChanges) -> usize {
    let of = |changes: &declared::HeaderChanges| {
        pairs(&changes.set) + pairs(&changes.add) + changes.remove.iter().map(|name| PAIR + name.len()).sum::<usize>()
    };
    of(&declared.headers) + of(&declared.query)
}

fn pairs(declared: &BTreeMap<String, String>) -> usize {
    let pairs = declared.iter().map(|(name, value)| PAIR + name.len() + value.len());
    pairs.sum()
}
