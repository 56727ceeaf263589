//! What is done when targets fail, compiled: defaults, what a route has over its upstreams, what stays as it was.

use crate::support::{changes, compile, compile_onto, parts};
use sluice_shared_state::breaker::Failure;
use sluice_snapshot::{CompileError, Destination, Fallback, Route, Snapshot};
use std::sync::Arc;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn document(upstreams: &str, route: &str) -> String {
    format!(
        "upstreams:\n  a: {{ targets: ['http://127.0.0.1:1'] {upstreams} }}\n  b: {{ targets: ['http://127.0.0.1:2'] }}\n\
         gateways:\n  web:\n    hosts: ['*']\n    routes:\n      - {{ id: r, path: '/r/{{id}}', upstream: a {route} }}\n"
    )
}

fn route(snapshot: &Snapshot) -> Arc<Route> {
    Arc::clone(snapshot.gateway_named("web").unwrap().route_named("r").unwrap())
}

fn only(route: &Route) -> &Destination {
    &route.destinations()[0]
}

/// Another document onto the first.
fn onto(snapshot: &Snapshot, before: &str, after: &str) -> Result<Snapshot, CompileError> {
    compile_onto(snapshot, changes(&parts(before), &parts(after)))
}

#[test]
fn what_is_not_said_is_as_the_reference_promises() {
    let snapshot = compile(&document(
        ", breaker: {}, health: { active: { path: '/healthz?x=1' } }",
        "",
    ));
    let route = route(&snapshot);
    let plan = only(&route).plan();
    assert_eq!((plan.retry.attempts, plan.retry.budget), (1, 200_000));
    assert_eq!(
        (plan.retry.backoff.as_millis(), plan.retry.most_backoff.as_millis()),
        (25, 250)
    );
    let spec = snapshot.upstream("a").unwrap();
    let passive = spec.health.passive;
    assert_eq!((passive.errors, passive.eject_for), (5, 10 * S));
    assert_eq!((passive.max_ejected, passive.panic), (500_000, 500_000));
    let active = spec.health.active.as_ref().unwrap();
    assert_eq!((active.path.as_str(), active.every), ("/healthz?x=1", 5 * S));
    assert_eq!((active.unhealthy_after, active.healthy_after), (3, 2));
    let rule = plan.breaker.unwrap().rule();
    assert_eq!(
        (rule.failure_rate, rule.slow_rate, rule.consecutive),
        (Some(0.5), None, None)
    );
    assert_eq!((rule.window, rule.min_requests), (10 * S, 20));
    assert_eq!((rule.open_for, rule.max_open_for), (5 * S, 50 * S));
    assert_eq!((rule.probes, rule.observers, rule.probe_timeout), (1, 2, 30 * S));
    for status in [500, 502, 503, 504] {
        assert!(rule.failures.counts(Failure::Status(status)));
    }
    assert!(!rule.failures.counts(Failure::Status(501)) && rule.failures.counts(Failure::Connect));
    let plain = compile(&document("", ""));
    assert!(plain.upstream("a").unwrap().breaker.is_none());
}

#[test]
fn a_route_has_its_retries_field_by_field_and_its_breaker_whole() {
    let upstreams = ", retry: { attempts: 3, budget: 10%, on: [503, connect] }, breaker: { consecutive: 9, open_for: 7s }, timeout: { try: 2s }";
    let snapshot = compile(&document(
        upstreams,
        ", retry: { attempts: 2 }, breaker: { window: 1m }",
    ));
    let route = route(&snapshot);
    let plan = only(&route).plan();
    assert_eq!((plan.retry.attempts, plan.retry.budget), (2, 100_000));
    assert!(plan.retry.on.connect && !plan.retry.on.reset && plan.retry.on.statuses == [503]);
    let guard = plan.breaker.unwrap();
    let key = guard.key();
    assert_eq!(
        (
            &*key.upstream,
            key.route.as_ref().map(|(gateway, id)| (&**gateway, &**id))
        ),
        ("a", Some(("web", "r")))
    );
    assert_eq!(
        (guard.rule().window, guard.rule().open_for, guard.rule().consecutive),
        (60 * S, 5 * S, None)
    );
    assert_eq!(guard.rule().probe_timeout, 2 * S);
    assert_eq!(
        snapshot.upstream("a").unwrap().breaker.as_ref().unwrap().key().route,
        None
    );
}

#[test]
fn a_breaker_that_stays_as_it_is_keeps_its_version_and_what_is_known_of_it() {
    let first_text = document(", breaker: { consecutive: 5 }", ", breaker: { consecutive: 3 }");
    let first = compile(&first_text);
    let other_text = document(
        ", breaker: { consecutive: 5 }, pool: { max_idle: 1 }",
        ", breaker: { consecutive: 3 }, max_body: 1MiB",
    );
    let other = onto(&first, &first_text, &other_text).unwrap();
    assert!(other.version() > first.version());
    let of_upstream = |snapshot: &Snapshot| Arc::clone(snapshot.upstream("a").unwrap().breaker.as_ref().unwrap());
    assert!(Arc::ptr_eq(&of_upstream(&first), &of_upstream(&other)));
    let of_route = |snapshot: &Snapshot| only(&route(snapshot)).plan().breaker.unwrap().rule().version;
    assert_eq!(of_route(&first), of_route(&other));
    let changed_text = other_text
        .replace("consecutive: 5", "consecutive: 6")
        .replace("consecutive: 3", "consecutive: 4");
    let changed = onto(&other, &other_text, &changed_text).unwrap();
    assert_eq!(of_upstream(&changed).rule().version, changed.version());
    assert_eq!(of_route(&changed), changed.version());
}

#[test]
fn a_fallback_is_the_route_s_own_or_that_of_where_it_goes() {
    let text = document(
        ", breaker: { fallback: { upstream: b } }",
        ", breaker: { fallback: { text: '${params.id}' } }",
    );
    let snapshot = compile(&text);
    let own = route(&snapshot);
    assert!(matches!(
        own.fallback(&snapshot, only(&own)),
        Some(Fallback::Respond(_))
    ));
    assert!(own.falls_back_by_values(&snapshot, only(&own)));
    let plain_text = document(", breaker: { fallback: { upstream: b } }", "");
    let plain = onto(&snapshot, &text, &plain_text).unwrap();
    let route = route(&plain);
    let Some(Fallback::Upstream(name)) = route.fallback(&plain, only(&route)) else {
        panic!("no way out");
    };
    let spec = plain.upstream(name).unwrap();
    assert_eq!(&*spec.name, "b");
    assert!(!route.falls_back_by_values(&plain, only(&route)));
    let to = route.fall_back_to(spec);
    assert!(to.plan().breaker.is_none() && route.fallback(&plain, &to).is_none());
    // A change of the answer alone is a change.
    let other_text = document(", breaker: { fallback: { status: 503 } }", "");
    let other = onto(&plain, &plain_text, &other_text).unwrap();
    assert!(matches!(
        route.fallback(&other, only(&route)),
        Some(Fallback::Respond(_))
    ));
    let none = onto(&other, &other_text, &document(", breaker: {}", "")).unwrap();
    assert!(route.fallback(&none, only(&route)).is_none());
}

#[test]
fn a_fallback_to_nowhere_is_refused_also_where_a_change_leaves_it_behind() {
    for (upstreams, fields, part) in [
        (", breaker: { fallback: { upstream: b } }", "", "upstreams/a"),
        ("", ", breaker: { fallback: { upstream: b } }", "gateways/web/routes/r"),
    ] {
        let text = document(upstreams, fields);
        let snapshot = compile(&text);
        let before = parts(&text);
        let mut after = before.clone();
        after.retain(|key, _| key.to_string() != "upstreams/b");
        let Err(CompileError::Invalid(faults)) = compile_onto(&snapshot, changes(&before, &after)) else {
            panic!("taken");
        };
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].part.to_string(), part);
        assert!(
            faults[0].why.contains("there is no upstream \"b\""),
            "{}",
            faults[0].why
        );
    }
}

#[test]
fn fallbacks_that_lead_in_a_circle_are_refused() {
    let text = document(", breaker: { fallback: { upstream: b } }", "");
    let snapshot = compile(&text);
    let (before, mut after) = (parts(&text), parts(&text));
    let back = r#"{"targets":[{"url":"http://127.0.0.1:2"}],"breaker":{"fallback":{"upstream":"a"}}}"#;
    for (key, part) in &mut after {
        if key.to_string() == "upstreams/b" {
            *part = back.to_owned();
        }
    }
    let Err(CompileError::Invalid(faults)) = compile_onto(&snapshot, changes(&before, &after)) else {
        panic!("taken");
    };
    assert_eq!(faults.len(), 2, "each of both is told");
}
