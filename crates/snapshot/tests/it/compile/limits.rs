//! Which limits a route has, and what becomes of them in a change.

use super::{faults, route};
use crate::support::{changes, compile, compile_onto, document, parts};
use sluice_document::{Part, PartKey, declared};
use sluice_shared_state::Algorithm;
use sluice_snapshot::{Change, CompileError, Snapshot};
use std::sync::Arc;

const LIMITED: &str = "
upstreams: { a: { targets: ['http://127.0.0.1:9101'] } }
gateways:
  web:
    hosts: ['*']
    rate_limits: [{ name: clients, limit: 600, per: 1m }]
    concurrency: [{ name: at-once, limit: 50, key: \"'all'\" }]
    routes:
      - { id: orders, path: '/orders/{id}', upstream: a, rate_limits: [{ name: orders, limit: 100, per: 1s, key: params.id }] }
      - { id: plain, path: /plain, respond: { text: ok } }
";

/// The limits of a route: name, version, number.
fn limits(snapshot: &Snapshot, id: &str) -> Vec<(String, u64, u64)> {
    let gateway = snapshot.gateway("public", "a").unwrap();
    let limits = gateway.route_named(id).unwrap().limits.clone();
    let all = limits.iter().flat_map(|limits| limits.iter());
    all.map(|limit| (limit.rule.name.to_string(), limit.rule.version, limit.number()))
        .collect()
}

fn told(limits: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    let limits = limits.iter();
    limits
        .map(|(name, version, number)| ((*name).to_owned(), *version, *number))
        .collect()
}

/// Onto the limited document: what of it is other with `from` replaced by `to`.
fn limited(from: &str, to: &str) -> (Snapshot, Result<Snapshot, CompileError>) {
    assert!(LIMITED.contains(from));
    let first = compile(LIMITED);
    let changed = changes(&parts(LIMITED), &parts(&LIMITED.replace(from, to)));
    let next = compile_onto(&first, changed);
    (first, next)
}

#[test]
fn a_route_has_the_limits_of_its_gateway_before_its_own() {
    let (first, next) = limited("limit: 600", "limit: 700");
    let v = first.version();
    let all = told(&[("clients", v, 600), ("at-once", v, 50), ("orders", v, 100)]);
    assert_eq!(limits(&first, "orders"), all);
    assert_eq!(limits(&first, "plain"), all[..2]);
    // What did not change is as old as it was, and the rest of the route is untouched.
    let next = next.unwrap();
    let all = told(&[("clients", v + 1, 700), ("at-once", v, 50), ("orders", v, 100)]);
    assert_eq!(limits(&next, "orders"), all);
    assert_eq!(limits(&next, "plain"), all[..2]);
    let rule = |snapshot: &Snapshot, id: &str, at: usize| {
        let gateway = snapshot.gateway("public", "a").unwrap();
        let limits = gateway.route_named(id).unwrap().limits.clone().unwrap();
        Arc::clone(&limits.iter().nth(at).unwrap().rule)
    };
    assert!(Arc::ptr_eq(&rule(&first, "orders", 2), &rule(&next, "orders", 2)));
    assert!(
        Arc::ptr_eq(&rule(&next, "plain", 0), &rule(&next, "orders", 0)),
        "one rule for all routes"
    );
    assert_eq!(
        rule(&first, "plain", 0).id,
        rule(&next, "plain", 0).id,
        "it keeps its count"
    );
}

#[test]
fn a_route_that_changes_otherwise_keeps_its_limits() {
    let (first, next) = limited("upstream: a, rate", "upstream: a, max_body: 1MiB, rate");
    let next = next.unwrap();
    assert_eq!(limits(&next, "orders"), limits(&first, "orders"));
    let (_, next) = limited("    hosts: ['*']", "    hosts: ['*', b.example]");
    assert_eq!(limits(&next.unwrap(), "orders"), limits(&first, "orders"));
}

#[test]
fn what_is_under_way_is_held_for_as_long_as_the_route_and_its_upstreams_let_it_last() {
    const FROM: &str = "upstream: a, rate_limits: [{ name: orders, limit: 100, per: 1s, key: params.id }]";
    let document = |a: &str, b: &str, own: &str| {
        let to = format!("{own}, concurrency: [{{ name: few, limit: 4 }}]");
        LIMITED
            .replace(FROM, &to)
            .replace(
                "upstreams: { ",
                &format!("upstreams: {{ b: {{ targets: ['http://127.0.0.1:9102']{b} }}, "),
            )
            .replace("9101'] }", &format!("9101']{a} }}"))
    };
    let held = |snapshot: &Snapshot| {
        let gateway = snapshot.gateway("public", "a").unwrap();
        let limits = gateway.route_named("orders").unwrap().limits.clone().unwrap();
        let rule = limits.iter().last().unwrap().rule.clone();
        match rule.algorithm {
            Algorithm::Concurrency { hold, .. } => (hold.as_secs(), rule.version),
            _ => panic!("{rule:?}"),
        }
    };
    let five = ", timeout: { total: 5s }";
    let nine = ", timeout: { total: 9s }";
    let both = "split: { to: [{ upstream: a, weight: 1 }, { upstream: b, weight: 1 }] }";
    for (a, b, own, seconds) in [
        ("", nine, "upstream: a", 60),
        (five, nine, "upstream: a", 5),
        (five, nine, "upstream: a, timeout: { total: 7s }", 7),
        ("", "", "upstream: a, timeout: { total: 7s }", 7),
        (five, nine, both, 9),
        (five, "", both, 60),
        (five, nine, "respond: { text: ok }", 60),
    ] {
        assert_eq!(held(&compile(&document(a, b, own))).0, seconds, "{a} {b} {own}");
    }
    // Of an upstream that changes the routes to it hear, and of one that changes otherwise they keep what they had.
    let first = compile(&document(five, "", "upstream: a"));
    let v = first.version();
    let next = |to: &str| {
        let to = document(to, "", "upstream: a");
        compile_onto(&first, changes(&parts(&document(five, "", "upstream: a")), &parts(&to))).unwrap()
    };
    assert_eq!(held(&next(nine)), (9, v + 1));
    assert_eq!(held(&next(", timeout: { total: 5s, idle: 3s }")), (5, v));
}

#[test]
fn limits_come_and_go_with_their_gateway() {
    let (_, next) = limited(
        "    rate_limits: [{ name: clients, limit: 600, per: 1m }]\n    concurrency: [{ name: at-once, limit: 50, key: \"'all'\" }]\n",
        "",
    );
    let next = next.unwrap();
    assert_eq!(limits(&next, "plain"), []);
    assert_eq!(limits(&next, "orders").len(), 1);
    let gateway = next.gateway("public", "a").unwrap();
    assert!(gateway.route_named("plain").unwrap().limits.is_none());
}

#[test]
fn two_limits_of_one_name_are_a_fault_whoever_came_last() {
    for (from, to) in [("name: clients", "name: orders"), ("name: orders", "name: clients")] {
        // Past the check of the document, which finds it as well.
        let declared = document(LIMITED);
        let gateway = declared.gateways["web"].clone();
        let mut routes = gateway.routes.clone();
        let mut bare = declared::Gateway {
            routes: Vec::new(),
            ..gateway
        };
        let change = match from {
            "name: clients" => {
                bare.rate_limits[0].name = "orders".to_owned();
                Change::Put(PartKey::Gateway("web".into()), Part::Gateway(bare))
            }
            _ => {
                let at = routes.iter().position(|route| route.id == "orders").unwrap();
                routes[at].rate_limits[0].name = "clients".to_owned();
                Change::Put(route("web", "orders"), Part::Route(routes.swap_remove(at)))
            }
        };
        let error = compile_onto(&compile(LIMITED), vec![change]).unwrap_err();
        let told = faults(error).concat();
        assert!(
            told.contains("gateways/web/routes/orders") && told.contains("already"),
            "{to}: {told}"
        );
    }
}
