//! Routes by themselves.

use super::{Checker, limits, resilience, text, urls};
use crate::declared::{Action, Compare, FieldMatch, HeaderChanges, Payload, Redirect, Respond, Rewrite, Route, Split};
use crate::decode::Step;
use crate::diagnostic::Finding;
use crate::tree::shorten;
use sluice_expression::Scope;
use sluice_http_semantics::path::Path;
use sluice_http_semantics::pattern::{Pattern, Segment};
use std::collections::BTreeMap;

/// Combinations of path, method and host of one route: what the search for conflicts costs.
const MOST_COMBINATIONS: usize = 1_000;

/// Checks a route and gives its patterns; `None` where one is broken. The checker stands at the route.
pub(super) fn check<'d>(c: &mut Checker<'d>, route: &'d Route) -> Option<Vec<Pattern>> {
    let patterns = paths(c, route);
    c.within(Step::Key("hosts"), |c| {
        for (i, host) in route.hosts.iter().enumerate().filter(|(_, host)| !host.is_empty()) {
            c.within(Step::Index(i), |c| text::host(c, host));
        }
    });
    let combinations = [&route.paths, &route.methods, &route.hosts].map(|list| list.len().max(1));
    if combinations.iter().product::<usize>() > MOST_COMBINATIONS {
        let message = format!(
            "a route has at most {MOST_COMBINATIONS} combinations of path, method and host; make several routes"
        );
        c.report(Finding::error("out_of_range", message));
        return None;
    }
    c.within(Step::Key("match"), |c| {
        conditions(c, "headers", &route.matches.headers);
        conditions(c, "query", &route.matches.query);
    });
    let scope = patterns.as_deref().map(scope);
    let scope = scope.as_ref();
    match &route.action {
        Action::Upstream(_) => {}
        Action::Split(action) => c.within(Step::Key("split"), |c| split(c, action, scope)),
        Action::Redirect(action) => c.within(Step::Key("redirect"), |c| redirect(c, action, scope)),
        Action::Respond(action) => c.within(Step::Key("respond"), |c| respond(c, action, scope)),
    }
    if let Some(change) = &route.rewrite {
        c.within(Step::Key("rewrite"), |c| rewrite(c, change, patterns.as_deref(), scope));
    }
    c.within(Step::Key("request"), |c| {
        c.within(Step::Key("headers"), |c| headers(c, &route.request.headers, scope));
        c.within(Step::Key("query"), |c| query(c, &route.request.query, scope));
    });
    c.within(Step::Key("response"), |c| {
        c.within(Step::Key("headers"), |c| headers(c, &route.response.headers, scope))
    });
    // What it leaves out is its upstream's.
    let own = route
        .timeout
        .as_ref()
        .filter(|own| own.attempt.is_some() && own.first_byte.is_some());
    resilience::retry(c, route.retry.as_ref(), own);
    resilience::breaker(c, route.breaker.as_ref(), scope);
    limits::of_route(c, route, scope);
    without_effect(c, route);
    patterns
}

fn paths<'d>(c: &mut Checker<'d>, route: &'d Route) -> Option<Vec<Pattern>> {
    let mut patterns: Vec<Pattern> = Vec::new();
    let mut sound = !route.paths.is_empty();
    c.within(Step::Key("paths"), |c| {
        for (i, path) in route.paths.iter().enumerate() {
            if path.is_empty() {
                sound = false;
                continue;
            }
            c.within(Step::Index(i), |c| match text::path(c, path) {
                None => sound = false,
                Some(pattern) => {
                    if let Some(other) = patterns.iter().find(|other| shape(other) == shape(&pattern)) {
                        let message = format!("the route has the same path as `{other}` already");
                        c.report(Finding::error("duplicate", message).found(shorten(path)));
                    }
                    patterns.push(pattern);
                }
            });
        }
    });
    sound.then_some(patterns)
}

/// The pattern without the names of its parameters: equal for patterns that take the same paths.
pub(super) fn shape(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Regex(expression) => format!("regex:{expression}"),
        Pattern::Tree { segments } => segments.iter().fold(String::new(), |mut shape, segment| {
            shape.push('/');
            match segment {
                Segment::Literal(literal) => shape.push_str(literal),
                Segment::Param(_) => shape.push_str("{}"),
                Segment::Rest => shape.push_str("**"),
            }
            shape
        }),
    }
}

/// The parameters that all of the paths have.
fn scope(patterns: &[Pattern]) -> Scope {
    let mut all = patterns
        .iter()
        .map(|pattern| pattern.params().map(str::to_owned).collect::<Vec<_>>());
    let first = all.next().unwrap_or_default();
    Scope {
        params: all.fold(first, |known, more| {
            known.into_iter().filter(|name| more.contains(name)).collect()
        }),
    }
}

fn conditions<'d>(c: &mut Checker<'d>, kind: &'static str, conditions: &'d BTreeMap<String, FieldMatch>) {
    c.within(Step::Key(kind), |c| {
        for (name, condition) in conditions {
            c.within(Step::Key(name), |c| {
                if let Compare::Regex(expression) = &condition.compare {
                    c.within(Step::Key("regex"), |c| text::regex(c, expression));
                }
            });
        }
    });
}

fn split<'d>(c: &mut Checker<'d>, split: &'d Split, scope: Option<&Scope>) {
    c.within(Step::Key("to"), |c| {
        for (i, arm) in split.to.iter().enumerate() {
            if let Some(when) = &arm.when {
                c.within(Step::Index(i), |c| {
                    c.within(Step::Key("when"), |c| text::condition(c, when, scope));
                });
            }
        }
    });
}

fn redirect<'d>(c: &mut Checker<'d>, redirect: &'d Redirect, scope: Option<&Scope>) {
    c.within(Step::Key("to"), |c| {
        if let Some(template) = text::template(c, &redirect.to, scope) {
            urls::location(c, &template, &redirect.to);
        }
    });
}

pub(super) fn respond<'d>(c: &mut Checker<'d>, respond: &'d Respond, scope: Option<&Scope>) {
    match &respond.payload {
        None => {}
        Some(Payload::Text(body)) => c.within(Step::Key("text"), |c| drop(text::template(c, body, scope))),
        Some(Payload::Html(body)) => c.within(Step::Key("html"), |c| drop(text::template(c, body, scope))),
        Some(Payload::Json(body)) => c.within(Step::Key("json"), |c| text::json(c, body, scope)),
    }
    c.within(Step::Key("headers"), |c| values(c, &respond.headers, scope));
}

fn rewrite(c: &mut Checker<'_>, rewrite: &Rewrite, patterns: Option<&[Pattern]>, scope: Option<&Scope>) {
    match rewrite {
        Rewrite::StripPrefix(prefix) => c.within(Step::Key("strip_prefix"), |c| strip_prefix(c, prefix, patterns)),
        Rewrite::Path(path) => c.within(Step::Key("path"), |c| {
            if let Some(template) = text::template(c, path, scope) {
                urls::path(c, &template, path);
            }
        }),
    }
}

fn strip_prefix(c: &mut Checker<'_>, prefix: &str, patterns: Option<&[Pattern]>) {
    const EXPECTED: &str = "whole segments like /api or /api/v1";
    let read = match Pattern::parse(prefix) {
        Ok(Pattern::Tree { segments }) if segments.iter().all(|s| matches!(s, Segment::Literal(_))) => segments,
        Ok(_) => {
            let finding = Finding::error("bad_value", "a prefix is written out: it has no parameters and no `**`");
            return c.report(finding.found(shorten(prefix)).expected(EXPECTED));
        }
        Err(error) => {
            let finding = Finding::error("bad_path", error.to_string());
            return c.report(finding.found(shorten(prefix)).expected(EXPECTED));
        }
    };
    let front = match read.as_slice() {
        [front @ .., Segment::Literal(last)] if last.is_empty() => front,
        all => all,
    };
    if front.is_empty() {
        let finding = Finding::error("bad_value", "this prefix strips nothing");
        return c.report(finding.found(shorten(prefix)).expected(EXPECTED));
    }
    if Path::normalize(prefix).is_ok_and(|normal| normal.as_str() != prefix) {
        let finding = Finding::error(
            "bad_value",
            "write the prefix in its normal form, as paths are compared",
        );
        return c.report(
            finding
                .found(shorten(prefix))
                .expected(shape(&Pattern::Tree { segments: read.clone() })),
        );
    }
    let fits = |pattern: &Pattern| match pattern {
        Pattern::Regex(_) => true,
        Pattern::Tree { segments } => {
            let mut rest = false;
            front.iter().enumerate().all(|(i, wanted)| match segments.get(i) {
                Some(Segment::Rest) => {
                    rest = true;
                    true
                }
                Some(Segment::Param(_)) => true,
                Some(literal) => literal == wanted,
                None => rest,
            })
        }
    };
    if let Some(other) = patterns.unwrap_or_default().iter().find(|pattern| !fits(pattern)) {
        let message = format!(
            "no request to `{other}` begins with `{}`, so nothing is stripped there",
            shorten(prefix)
        );
        c.report(Finding::warning("no_effect", message).found(shorten(prefix)));
    }
}

fn values<'d>(c: &mut Checker<'d>, values: &'d BTreeMap<String, String>, scope: Option<&Scope>) {
    for (name, value) in values {
        c.within(Step::Key(name), |c| {
            text::changed_header(c, name);
            text::header_value(c, value, scope);
        });
    }
}

fn headers<'d>(c: &mut Checker<'d>, changes: &'d HeaderChanges, scope: Option<&Scope>) {
    c.within(Step::Key("set"), |c| values(c, &changes.set, scope));
    c.within(Step::Key("add"), |c| values(c, &changes.add, scope));
    c.within(Step::Key("remove"), |c| {
        for (i, name) in changes.remove.iter().enumerate() {
            c.within(Step::Index(i), |c| text::changed_header(c, name));
        }
    });
}

fn query<'d>(c: &mut Checker<'d>, changes: &'d HeaderChanges, scope: Option<&Scope>) {
    for (key, values) in [("set", &changes.set), ("add", &changes.add)] {
        c.within(Step::Key(key), |c| {
            for (name, value) in values {
                c.within(Step::Key(name), |c| text::template(c, value, scope));
            }
        });
    }
}

/// Fields that only a request to an upstream has a use for.
fn without_effect<'d>(c: &mut Checker<'d>, route: &'d Route) {
    let does = match &route.action {
        Action::Upstream(_) | Action::Split(_) => return,
        Action::Redirect(_) => "redirects",
        Action::Respond(_) => "answers by itself",
    };
    let given = [
        ("rewrite", route.rewrite.is_some()),
        ("request", !route.request.is_empty()),
        ("timeout", route.timeout.is_some()),
        ("retry", route.retry.is_some()),
        ("breaker", route.breaker.is_some()),
        ("upgrade", route.upgrade.is_some()),
    ];
    for (name, _) in given.into_iter().filter(|(_, given)| *given) {
        let message = format!("`{name}` has no effect on a route that {does}");
        c.within(Step::Key(name), |c| c.report(Finding::warning("no_effect", message)));
    }
}
