//! `gateways.NAME.routes.ID`: declared → [`Route`].

use super::upstream::retry;
use crate::conditions::{Compare, Conditions, Test};
use crate::label::Label;
use crate::matcher::{Matcher, Over, sure_prefix};
use crate::methods::Methods;
use crate::route::{Action, OwnTimeouts, Place, Route, Selector};
use http::{HeaderName, Method};
use ipnet::IpNet;
use sluice_document::declared;
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::pattern::Pattern;
use sluice_upstream::{Spec, Timeouts};
use std::sync::Arc;

/// The body of a request, where the document says nothing.
const MAX_BODY: u64 = 10 << 20;
/// Paths times hosts of one route.
const MOST_ENTRIES: usize = 4096;

/// What a route is compiled with.
pub(super) struct Around<'c> {
    pub(super) gateway: &'c Arc<str>,
    pub(super) upstream: &'c dyn Fn(&str) -> Option<Arc<Spec>>,
    /// That of the route of the same name before, or a new one.
    pub(super) label: Label,
}

/// # Errors
///
/// All that is wrong with it.
pub(super) fn route(around: Around<'_>, declared: &declared::Route) -> Result<Route, Vec<String>> {
    let mut faults = Vec::new();
    let selector = selector(declared, &mut faults);
    faults.extend(retry(declared.retry.as_ref()).err());
    let own_timeouts = OwnTimeouts(declared.timeout.unwrap_or_default());
    let mut timeouts = own_timeouts.over(Timeouts::default());
    let action = match &declared.action {
        declared::Action::Upstream(name) => match (around.upstream)(name) {
            Some(upstream) => {
                timeouts = own_timeouts.over(upstream.timeouts);
                Some(Action::Forward { upstream })
            }
            None => {
                faults.push(format!("upstream: there is no upstream {name:?}"));
                None
            }
        },
        declared::Action::Redirect(_) | declared::Action::Respond(_) => {
            faults.push("only `upstream` is built yet".to_owned());
            None
        }
    };
    match (action, faults.is_empty()) {
        (Some(action), true) => Ok(Route {
            gateway: Arc::clone(around.gateway),
            id: declared.id.as_str().into(),
            http_route: declared.paths.join(" ").into(),
            action,
            timeouts,
            max_body: match declared.max_body {
                None => Some(MAX_BODY),
                Some(declared::MaxBody::None) => None,
                Some(declared::MaxBody::Limit(size)) => Some(size.0),
            },
            label: around.label,
            refuses_encoded_slash: declared.encoded_slash == Some(declared::EncodedSlash::Refuse),
            weight: weight(&selector, declared),
            selector: Arc::new(selector),
            own_timeouts,
        }),
        _ => Err(faults),
    }
}

fn selector(declared: &declared::Route, faults: &mut Vec<String>) -> Selector {
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
    Selector {
        places: places.into(),
        hosts: hosts.into(),
        methods: Methods::new(declared.methods.iter().map(String::as_str)),
        conditions: conditions(&declared.matches, faults),
        priority: declared.priority.unwrap_or(0),
    }
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

fn conditions(declared: &declared::Match, faults: &mut Vec<String>) -> Conditions {
    let (mut headers, mut query) = (Vec::new(), Vec::new());
    for (name, asked) in &declared.headers {
        match (HeaderName::from_bytes(name.as_bytes()), test(asked)) {
            (Ok(name), Ok(test)) => headers.push((name, test)),
            (Err(_), _) => faults.push(format!("match.headers: {name:?} is no name of a field")),
            (_, Err(why)) => faults.push(format!("match.headers.{name}: {why}")),
        }
    }
    for (name, asked) in &declared.query {
        match test(asked) {
            Ok(test) => query.push((name.as_str().into(), test)),
            Err(why) => faults.push(format!("match.query.{name}: {why}")),
        }
    }
    let mut client: Vec<IpNet> = declared.client.iter().map(IpNet::trunc).collect();
    client.sort_unstable();
    client.dedup();
    Conditions {
        headers: headers.into(),
        query: query.into(),
        client: client.into(),
    }
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
fn weight(selector: &Selector, declared: &declared::Route) -> usize {
    const ENTRY: usize = 400;
    let entries = selector.places.len() * selector.hosts.len().max(1);
    let texts = declared.paths.iter().chain(&declared.hosts).map(String::len);
    size_of::<Route>()
        + size_of::<Selector>()
        + ENTRY * entries
        + 4 * texts.sum::<usize>()
        + selector.conditions.memory()
}
