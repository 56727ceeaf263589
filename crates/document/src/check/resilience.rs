//! `retry` and `breaker`, of upstreams and routes, and where fallbacks lead.

use super::{Checker, names, route};
use crate::declared::{Breaker, Document, Failure, Fallback, Retry, Timeout};
use crate::decode::Step;
use crate::diagnostic::Finding;
use sluice_expression::Scope;

/// The time-out of `first_byte`, where the document says nothing.
const FIRST_BYTE: std::time::Duration = std::time::Duration::from_secs(30);

/// The checker stands at what has the `retry` and the `timeout`.
pub(super) fn retry<'d>(c: &mut Checker<'d>, retry: Option<&'d Retry>, timeout: Option<&Timeout>) {
    let Some(retry) = retry else { return };
    let Some(attempts) = retry.attempts.filter(|attempts| *attempts > 1) else {
        return;
    };
    let attempt = timeout.and_then(|timeout| timeout.attempt);
    let first_byte = timeout
        .and_then(|timeout| timeout.first_byte)
        .map_or(FIRST_BYTE, |own| own.0);
    match attempt {
        // A route's may be its upstream's.
        None if timeout.is_some() && retry.on.as_deref().is_some_and(|on| on == [Failure::Timeout]) => {
            let message =
                "without a `timeout.try` the first try has all the time there is, and no other one follows a time-out";
            c.within(Step::Key("retry"), |c| {
                c.within(Step::Key("on"), |c| c.report(Finding::warning("no_effect", message)));
            });
        }
        Some(attempt) if attempt.0.saturating_mul(attempts) > first_byte => {
            let message = format!(
                "{attempts} tries of {attempt} do not fit into `timeout.first_byte`, which ends them all after {}",
                crate::declared::Duration(first_byte)
            );
            c.within(Step::Key("retry"), |c| {
                c.within(Step::Key("attempts"), |c| {
                    c.report(Finding::warning("no_effect", message))
                });
            });
        }
        _ => {}
    }
}

/// The checker stands at what has the `breaker`.
pub(super) fn breaker<'d>(c: &mut Checker<'d>, breaker: Option<&'d Breaker>, scope: Option<&Scope>) {
    let Some(Breaker {
        fallback: Some(Fallback::Respond(respond)),
        ..
    }) = breaker
    else {
        return;
    };
    c.within(Step::Key("breaker"), |c| {
        c.within(Step::Key("fallback"), |c| route::respond(c, respond, scope));
    });
}

/// Steps to a fallback's upstream.
const FALLBACK: [Step<'static>; 3] = [Step::Key("breaker"), Step::Key("fallback"), Step::Key("upstream")];

/// Fallbacks of upstreams lead to upstreams that are there, and never back. The checker stands at `upstreams`.
pub(super) fn fallbacks<'d>(c: &mut Checker<'d>, document: &'d Document) {
    for name in document.upstreams.keys() {
        let Some(next) = follows(document, name) else { continue };
        let at = [&[Step::Key(name)][..], &FALLBACK].concat();
        names::reference(c, document, next, &at);
        // Each of a loop is told once, by itself.
        let mut way = vec![name.as_str()];
        let mut here = Some(next);
        while let Some(there) = here.filter(|there| !way.contains(there)) {
            way.push(there);
            here = follows(document, there);
        }
        if here == Some(name.as_str()) {
            let message = match way.as_slice() {
                [_] => "an upstream cannot be its own fallback".to_owned(),
                way => format!("fallbacks lead in a circle: {} → {name}", way.join(" → ")),
            };
            c.report_at(Finding::error("fallback_loop", message).found(next), &at);
        }
    }
}

/// A route's fallback leads to another upstream. The checker stands at the gateway.
pub(super) fn fallback_of_route<'d>(
    c: &mut Checker<'d>,
    document: &'d Document,
    breaker: Option<&'d Breaker>,
    targets: &[&str],
    at: &[Step<'d>],
) {
    let Some(name) = breaker.and_then(upstream_of) else {
        return;
    };
    let at = [at, &FALLBACK].concat();
    names::reference(c, document, name, &at);
    if targets.contains(&name) {
        let message = format!("the route goes to `{name}` already: no request can fall back to where it came from");
        c.report_at(Finding::error("fallback_loop", message).found(name), &at);
    }
}

fn follows<'d>(document: &'d Document, name: &str) -> Option<&'d str> {
    document.upstreams.get(name)?.breaker.as_ref().and_then(upstream_of)
}

fn upstream_of(breaker: &Breaker) -> Option<&str> {
    match &breaker.fallback {
        Some(Fallback::Upstream(name)) => Some(name),
        _ => None,
    }
}
