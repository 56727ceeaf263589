//! `gateways.NAME.routes[…]`.

use super::{Decoder, Fields, check_id, fields, limits, message, resilience, split, upstream};
use crate::declared::{Action, Compare, EncodedSlash, FieldMatch, Match, MaxBody, Respond, Rewrite, Route};
use crate::diagnostic::Finding;
use crate::tree::{Kind, Node};
use sluice_http_semantics::host::HostPattern;
use sluice_http_semantics::upgrade::Protocol;

/// Paths, hosts or addresses of one route.
pub(super) const MOST: usize = 100;
/// The longest path pattern, template or regular expression, in bytes.
pub(super) const LONGEST: usize = 4_096;
/// Protocols of one route's `upgrade`.
const MOST_PROTOCOLS: usize = 16;

/// A route. Its id is empty where none is given.
pub(crate) fn route<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Route> {
    let f = d.fields(node, fields::ROUTE, "a route: a map with a path and what to do")?;
    Some(Route {
        paths: paths(d, &f),
        id: d.optional(&f, "id", id).unwrap_or_default(),
        methods: d
            .optional(&f, "methods", |d, node| d.set(node, "a list of methods", MOST, method))
            .unwrap_or_default(),
        hosts: d.optional(&f, "hosts", hosts).unwrap_or_default(),
        matches: d.optional(&f, "match", matches).unwrap_or_default(),
        priority: d
            .optional(&f, "priority", |d, node| {
                d.integer(node, i64::from(i32::MIN), i64::from(i32::MAX))
            })
            .and_then(|priority| i32::try_from(priority).ok()),
        // Stands in where the action is broken, and is never seen.
        action: action(d, &f).unwrap_or(Action::Respond(Respond::default())),
        rewrite: d.optional(&f, "rewrite", rewrite),
        request: d.optional(&f, "request", message::request).unwrap_or_default(),
        response: d.optional(&f, "response", message::response).unwrap_or_default(),
        timeout: d.optional(&f, "timeout", upstream::timeout),
        retry: d.optional(&f, "retry", resilience::retry),
        breaker: d.optional(&f, "breaker", resilience::breaker),
        max_body: d.optional(&f, "max_body", max_body),
        encoded_slash: d.optional(&f, "encoded_slash", |d, node| {
            d.word(
                node,
                &[("pass", EncodedSlash::Pass), ("refuse", EncodedSlash::Refuse)],
                &[],
            )
        }),
        upgrade: d.optional(&f, "upgrade", upgrade),
        rate_limits: d.optional(&f, "rate_limits", limits::rate_limits).unwrap_or_default(),
        concurrency: d.optional(&f, "concurrency", limits::concurrency).unwrap_or_default(),
    })
}

fn paths<'t>(d: &mut Decoder<'t>, f: &Fields<'t>) -> Vec<String> {
    match (f.get("path"), f.get("paths")) {
        (None, None) => d.missing(f, "a route needs a `path` (or several `paths`)", "path"),
        (Some(_), Some(entry)) => {
            let message = "give either `path` or `paths`, not both";
            d.report(Finding::error("one_of", message).at(entry.key_at).found("paths"));
        }
        _ => {}
    }
    let one = d.optional(f, "path", |d, node| pattern(d, node).map(|path| vec![path]));
    let many = d.optional(f, "paths", |d, node| d.set(node, "a list of paths", MOST, pattern));
    one.or(many).unwrap_or_default()
}

fn pattern<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<String> {
    long_text(d, node, "a path like /orders/{id} or /files/**")
}

pub(super) fn long_text<'t>(d: &mut Decoder<'t>, node: &'t Node, expected: &str) -> Option<String> {
    let text = d.filled(node, expected)?;
    if text.len() > LONGEST {
        d.bad(
            node,
            format!("the text has {} bytes; at most {LONGEST} are taken", text.len()),
            expected,
        );
        return None;
    }
    Some(text.to_owned())
}

fn id<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<String> {
    let id = d.spelt(node, "an id of a-z, 0-9 and `-`")?;
    check_id(d, &id, node.at).then_some(id)
}

fn method<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<String> {
    const EXPECTED: &str = "a method in upper case, like GET";
    let text = d.text(node, EXPECTED)?;
    let upper = text.to_ascii_uppercase();
    if text.len() > 40 || text.parse::<http::Method>().is_err() {
        d.bad(node, "this is no method (RFC 9110 §9.1)", EXPECTED);
        return None;
    }
    if upper == "CONNECT" {
        d.bad(node, "CONNECT is never routed: it is answered with 501", EXPECTED);
        return None;
    }
    if text != upper {
        let finding = Finding::error("bad_value", format!("methods are upper case; did you mean `{upper}`?"));
        d.report(
            finding
                .at(node.at)
                .found(node.describe())
                .expected(EXPECTED)
                .nearest(Some(upper)),
        );
        return None;
    }
    Some(upper)
}

/// Names in their normal form; what is no host is kept as it is and told later.
pub(super) fn hosts<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Vec<String>> {
    d.set(node, "a list of hosts", 10_000, |d, node| {
        let text = d.filled(node, "a host like shop.example.com, *.example.com or *")?;
        Some(HostPattern::parse(text).map_or_else(|_| text.to_owned(), |pattern| pattern.to_string()))
    })
}

fn matches<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Match> {
    let f = d.fields(node, fields::MATCH, "a map with headers, query, client")?;
    let headers = d
        .optional(&f, "headers", |d, node| message::named(d, node, true, field_match))
        .unwrap_or_default();
    let query = d
        .optional(&f, "query", |d, node| message::named(d, node, false, field_match))
        .unwrap_or_default();
    Some(Match {
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect(),
        query: query
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        client: d
            .optional(&f, "client", |d, node| {
                d.set(node, "a list of addresses", 1_000, Decoder::address)
            })
            .unwrap_or_default(),
    })
}

fn field_match<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<FieldMatch> {
    const EXPECTED: &str = "a text, or one of { exact, prefix, regex, present, not }";
    if !matches!(node.kind, Kind::Map(_)) {
        return Some(FieldMatch {
            compare: Compare::Exact(d.spelt(node, EXPECTED)?),
            not: false,
        });
    }
    let f = d.fields(node, fields::FIELD_MATCH, EXPECTED)?;
    let mut found = Vec::new();
    found.extend(
        d.optional(&f, "exact", |d, node| d.spelt(node, "a text"))
            .map(Compare::Exact),
    );
    found.extend(
        d.optional(&f, "prefix", |d, node| d.spelt(node, "a text"))
            .map(Compare::Prefix),
    );
    found.extend(
        d.optional(&f, "regex", |d, node| long_text(d, node, "a regular expression"))
            .map(Compare::Regex),
    );
    found.extend(d.optional(&f, "present", Decoder::truth).map(Compare::Present));
    let named = ["exact", "prefix", "regex", "present"]
        .iter()
        .filter(|name| f.get(name).is_some())
        .count();
    // `not` is either a mark beside the comparison or is written around it.
    let not = d.optional(&f, "not", |d, node| match (&node.kind, named) {
        (Kind::Bool(not), 1..) => Some((None, *not)),
        (Kind::Bool(_), 0) => {
            d.wrong(node, "what it must not be");
            None
        }
        (_, 0) => field_match(d, node).map(|inner| (Some(inner.compare), !inner.not)),
        _ => {
            d.wrong(node, "true or false beside a comparison");
            None
        }
    });
    match (named, not) {
        (0, Some((Some(compare), not))) => Some(FieldMatch { compare, not }),
        (0, _) => {
            if f.get("not").is_none() {
                d.missing(
                    &f,
                    "say what to compare with: one of exact, prefix, regex, present",
                    EXPECTED,
                );
            }
            None
        }
        (1, not) => {
            let compare = found.pop()?;
            Some(FieldMatch {
                compare,
                not: not.is_some_and(|(_, not)| not),
            })
        }
        _ => {
            d.bad(
                node,
                "give one comparison, not several; two conditions are two routes or a regex",
                EXPECTED,
            );
            None
        }
    }
}

fn action<'t>(d: &mut Decoder<'t>, f: &Fields<'t>) -> Option<Action> {
    const ACTIONS: [&str; 4] = ["upstream", "split", "redirect", "respond"];
    let given: Vec<_> = ACTIONS.into_iter().filter_map(|name| f.get(name)).collect();
    match given.as_slice() {
        [] if f.planned.contains(&"aggregate") => {}
        [] => d.missing(
            f,
            "a route needs something to do: one of upstream, split, redirect, respond",
            "upstream",
        ),
        [_] => {}
        [first, second, ..] => {
            let message = format!("a route does one thing: `{}` and `{}` are two", first.key, second.key);
            d.report(
                Finding::error("one_of", message)
                    .at(second.key_at)
                    .other(first.key_at)
                    .found(&*second.key),
            );
        }
    }
    let upstream = d
        .optional(f, "upstream", |d, node| d.spelt(node, "the name of an upstream"))
        .map(Action::Upstream);
    let split = d.optional(f, "split", split::split).map(Action::Split);
    let redirect = d.optional(f, "redirect", message::redirect).map(Action::Redirect);
    let respond = d.optional(f, "respond", message::respond).map(Action::Respond);
    upstream.or(split).or(redirect).or(respond)
}

fn rewrite<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Rewrite> {
    const EXPECTED: &str = "{ strip_prefix } or { path }";
    let f = d.fields(node, fields::REWRITE, EXPECTED)?;
    let strip = d.optional(&f, "strip_prefix", |d, node| {
        long_text(d, node, "a path prefix like /api")
    });
    let path = d.optional(&f, "path", |d, node| long_text(d, node, "a path, a text with ${…}"));
    match (f.get("strip_prefix"), f.get("path")) {
        (None, None) => d.missing(&f, "say how the path changes: strip_prefix or path", EXPECTED),
        (Some(_), Some(entry)) => {
            let message = "give either `strip_prefix` or `path`, not both";
            d.report(Finding::error("one_of", message).at(entry.key_at).found("path"));
        }
        _ => {}
    }
    strip.map(Rewrite::StripPrefix).or(path.map(Rewrite::Path))
}

fn max_body<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<MaxBody> {
    match &node.kind {
        Kind::Text(text) if text == "none" => Some(MaxBody::None),
        _ => d.size(node).map(MaxBody::Limit),
    }
}

/// Unlike other lists this one may be empty, which says something else than leaving it out.
fn upgrade<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Vec<String>> {
    const EXPECTED: &str = "a list of protocols, as [websocket]; [] allows none";
    match &node.kind {
        Kind::List(items) if items.is_empty() => Some(Vec::new()),
        _ => d.set(node, EXPECTED, MOST_PROTOCOLS, protocol),
    }
}

fn protocol<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<String> {
    const EXPECTED: &str = "a protocol like websocket or SPDY/3.1";
    let text = d.filled(node, EXPECTED)?;
    match Protocol::parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            d.bad(node, error.to_string(), EXPECTED);
            None
        }
    }
}

/// Stands in for a route of which nothing could be read.
pub(super) fn broken() -> Route {
    Route {
        id: String::new(),
        paths: Vec::new(),
        methods: Vec::new(),
        hosts: Vec::new(),
        matches: Match::default(),
        priority: None,
        action: Action::Respond(Respond::default()),
        rewrite: None,
        request: Default::default(),
        response: Default::default(),
        timeout: None,
        retry: None,
        breaker: None,
        max_body: None,
        encoded_slash: None,
        upgrade: None,
        rate_limits: Vec::new(),
        concurrency: Vec::new(),
    }
}
