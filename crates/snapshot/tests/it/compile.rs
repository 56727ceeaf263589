//! From parts to snapshots: what is made of them, and what is shared with the snapshot before.

mod bounds;
mod limits;
mod refused;
mod split;

use crate::support::{Parts, changes, compile, compile_onto, document, expect, parts, request};
use sluice_document::{Part, PartKey, declared};
use sluice_http_semantics::upgrade::{Allowed, Protocol};
use sluice_snapshot::{AccessLog, Action, Change, CompileError, Snapshot};
use std::sync::Arc;
use std::time::Duration;

const SHOP: &str = "
upstreams:
  orders: { targets: ['http://127.0.0.1:9101'], timeout: { connect: 2s, first_byte: 5s } }
  users: { targets: ['http://127.0.0.1:9102/base', { url: 'http://b.internal:9103', weight: 3 }], balance: round_robin }
gateways:
  web:
    hosts: [shop.example.com, '*.shop.example.com']
    expose: [version]
    routes:
      - { id: orders, path: /orders/**, upstream: orders, timeout: { first_byte: 1s }, max_body: 1MiB }
      - { id: user, path: '/users/{id}', upstream: users, max_body: none }
  partner:
    hosts: ['*']
    listen: [partner]
    trusted_proxies: [10.0.0.0/8]
    routes:
      - { id: user, path: '/users/{id}', upstream: users }
";

fn put(yaml: &str) -> Vec<Change> {
    changes(&Parts::new(), &parts(yaml))
}

/// Onto the shop: what of it is other in the text with `from` replaced by `to`.
fn edited(from: &str, to: &str) -> (Snapshot, Result<Snapshot, CompileError>) {
    assert!(SHOP.contains(from));
    let first = compile(SHOP);
    let next = compile_onto(&first, changes(&parts(SHOP), &parts(&SHOP.replace(from, to))));
    (first, next)
}

/// The faults as `part: why`.
fn faults(error: CompileError) -> Vec<String> {
    match error {
        CompileError::Invalid(faults) | CompileError::Unserveable(faults) => {
            faults.iter().map(ToString::to_string).collect()
        }
        CompileError::OverBudget { what } => panic!("{what}"),
    }
}

fn route(gateway: &str, id: &str) -> PartKey {
    PartKey::Route {
        gateway: gateway.into(),
        id: id.into(),
    }
}

/// The route of the shop, changed.
fn changed_route(id: &str, change: impl FnOnce(&mut declared::Route)) -> Change {
    let document = document(SHOP);
    let mut declared = document.gateways["web"]
        .routes
        .iter()
        .find(|route| route.id == id)
        .unwrap()
        .clone();
    change(&mut declared);
    Change::Put(route("web", id), Part::Route(declared))
}

#[test]
fn what_a_route_lets_through_and_how_long_it_may_be_idle_is_compiled() {
    let snapshot = compile(
        "
upstreams: { a: { targets: ['http://127.0.0.1:1'], timeout: { tunnel: 10m } } }
gateways:
  web:
    hosts: ['*']
    routes:
      - { id: none, path: /none, upstream: a, upgrade: [] }
      - { id: some, path: /some, upstream: a, upgrade: [SPDY/3.1], timeout: { tunnel: 5m } }
      - { id: usual, path: /usual, upstream: a }
",
    );
    let allowed = |names: &[&str]| Allowed::new(names.iter().map(|name| Protocol::parse(name).unwrap()).collect());
    let web = snapshot.gateway_named("web").unwrap();
    for (id, names, minutes) in [
        ("none", &[][..], 10),
        ("some", &["SPDY/3.1"][..], 5),
        ("usual", &["websocket"][..], 10),
    ] {
        let route = web.route_named(id).unwrap();
        let idle = route.destinations()[0].timeouts.tunnel;
        assert_eq!(
            (&route.upgrade, idle),
            (&allowed(names), Duration::from_secs(60 * minutes)),
            "{id}"
        );
    }
}

#[test]
fn declared_values_become_what_is_served() {
    let snapshot = compile(SHOP);
    assert_eq!(snapshot.version(), 1);
    let names: Vec<&str> = snapshot.upstreams().iter().map(|spec| &*spec.name).collect();
    assert_eq!(names, ["orders", "users"]);
    let web = snapshot.gateway("public", "shop.example.com").unwrap();
    assert_eq!((&*web.name, web.expose_version, web.expose_node), ("web", true, false));
    let orders = web.route_named("orders").unwrap();
    assert_eq!(
        (
            orders.destinations()[0].timeouts.connect,
            orders.destinations()[0].timeouts.first_byte
        ),
        (Duration::from_secs(2), Duration::from_secs(1))
    );
    assert_eq!((orders.max_body, &*orders.http_route), (Some(1 << 20), "/orders/**"));
    assert!(Arc::ptr_eq(
        &orders.destinations()[0].upstream,
        &snapshot.upstreams()[0]
    ));
    let user = web.route_named("user").unwrap();
    assert_eq!(
        (user.max_body, user.destinations()[0].timeouts.first_byte),
        (None, Duration::from_secs(30))
    );
    let partner = snapshot.gateway("partner", "anything").unwrap();
    assert_eq!(
        (partner.trusted.len(), partner.route_named("user").unwrap().max_body),
        (1, Some(10 << 20))
    );
    assert_eq!(snapshot.upstreams()[1].targets[1].weight, 3);
}

#[test]
fn what_did_not_change_is_the_same_object() {
    let (first, next) = edited("path: /orders/**", "path: /orders2/**");
    let next = next.unwrap();
    for spec in [0, 1] {
        assert!(Arc::ptr_eq(&first.upstreams()[spec], &next.upstreams()[spec]));
    }
    let gateway = |snapshot: &Snapshot, name| Arc::clone(snapshot.gateway_named(name).unwrap());
    assert!(Arc::ptr_eq(&gateway(&first, "partner"), &gateway(&next, "partner")));
    let (old, new) = (gateway(&first, "web"), gateway(&next, "web"));
    assert!(Arc::ptr_eq(
        old.route_named("user").unwrap(),
        new.route_named("user").unwrap()
    ));
    assert_eq!(request("GET shop.example.com/orders/1").answer(&first), "orders rest=1");
    assert_eq!(request("GET shop.example.com/orders/1").answer(&next), "404");
}

#[test]
fn a_changed_upstream_reaches_every_route_that_forwards_to_it() {
    let (first, next) = edited("connect: 2s", "connect: 3s");
    let next = next.unwrap();
    assert!(Arc::ptr_eq(&first.upstreams()[1], &next.upstreams()[1]));
    let orders = next.gateway_named("web").unwrap().route_named("orders").unwrap();
    assert!(Arc::ptr_eq(&orders.destinations()[0].upstream, &next.upstreams()[0]));
    assert_eq!(
        (
            orders.destinations()[0].timeouts.connect,
            orders.destinations()[0].timeouts.first_byte
        ),
        (Duration::from_secs(3), Duration::from_secs(1))
    );
    assert_eq!(request("GET shop.example.com/orders/1").answer(&next), "orders rest=1");
}

#[test]
fn what_a_route_does_is_compiled_with_the_parameters_of_its_paths() {
    const ROUTES: &str = "
gateways:
  web:
    hosts: ['*']
    routes:
      - { id: gone, path: /gone, respond: { status: 410, json: { gone: true } } }
      - { id: moved, path: '/old/{id}', redirect: { to: '/new/${params.id}' } }
      - id: made
        path: /v1/**
        respond: { text: '${params.rest}' }
        response: { headers: { set: { x-rest: '${params.rest}' } } }
";
    let snapshot = compile(ROUTES);
    let web = snapshot.gateway_named("web").unwrap();
    let action = |id| &web.route_named(id).unwrap().action;
    assert!(matches!(action("gone"), Action::Respond(_)));
    assert!(matches!(action("moved"), Action::Redirect(_)));
    let made = web.route_named("made").unwrap();
    assert!(made.response_headers.is_some() && made.request_headers.is_none() && made.rewrite.is_none());
    let mut route = document(ROUTES).gateways["web"]
        .routes
        .iter()
        .find(|route| route.id == "moved")
        .unwrap()
        .clone();
    route.action = declared::Action::Redirect(declared::Redirect {
        to: "/new/${params.nobody}".into(),
        status: Some(200),
    });
    let change = Change::Put(
        PartKey::Route {
            gateway: "web".into(),
            id: route.id.clone(),
        },
        Part::Route(route),
    );
    let told = faults(compile_onto(&snapshot, vec![change]).unwrap_err());
    assert!(
        told.len() == 2
            && told
                .iter()
                .all(|line| line.starts_with("gateways/web/routes/moved: redirect.")),
        "{told:?}"
    );
}

#[test]
fn labels_follow_the_names_of_routes() {
    let (first, next) = edited("path: /orders/**", "path: /orders2/**");
    let next = next.unwrap();
    let label = |snapshot: &Snapshot, gateway, id| {
        let gateway = snapshot.gateway_named(gateway).unwrap();
        let label = &gateway.route_named(id).unwrap().label;
        (label.index(), label.serial())
    };
    assert_eq!(label(&first, "web", "orders"), label(&next, "web", "orders"));
    let mut all = [
        label(&next, "web", "orders"),
        label(&next, "web", "user"),
        label(&next, "partner", "user"),
    ];
    all.sort_unstable();
    assert_eq!(all.iter().map(|label| label.0).collect::<Vec<_>>(), [0, 1, 2]);
    let freed = label(&next, "web", "orders");
    let without = compile_onto(&next, vec![Change::Delete(route("web", "orders"))]).unwrap();
    drop((first, next));
    let add = changed_route("orders", |_| ());
    let again = compile_onto(&without, vec![add]).unwrap();
    let given = label(&again, "web", "orders");
    assert_eq!(given.0, freed.0);
    assert_ne!(given.1, freed.1);
}

#[test]
fn routes_may_trade_their_paths_in_one_change() {
    let first = compile(SHOP);
    let swapped = vec![
        changed_route("orders", |route| route.paths = vec!["/users/{id}".into()]),
        changed_route("user", |route| route.paths = vec!["/orders/**".into()]),
    ];
    expect(
        &compile_onto(&first, swapped).unwrap(),
        "
        GET shop.example.com/users/1 -> orders id=1
        GET shop.example.com/orders/1 -> user rest=1",
    );
}

#[test]
fn gateways_may_trade_their_hosts_and_go_with_their_routes() {
    let first = compile(SHOP);
    let taken = Part::Gateway(declared::Gateway {
        hosts: vec!["shop.example.com".into()],
        ..Default::default()
    });
    let change = vec![Change::Put(PartKey::Gateway("partner".into()), taken)];
    let told = faults(compile_onto(&first, change).unwrap_err());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("shop.example.com is on the listener public of the gateway \"web\""),
        "{told:?}"
    );
    let traded = SHOP
        .replace("hosts: [shop.example.com, '*.shop.example.com']", "hosts: [x]")
        .replace("hosts: ['*']\n    listen: [partner]", "hosts: [shop.example.com]");
    let next = compile_onto(&first, changes(&parts(SHOP), &parts(&traded))).unwrap();
    expect(
        &next,
        "
        GET shop.example.com/users/1 -> user id=1
        GET shop.example.com/orders/1 -> 404
        GET x/orders/1 -> orders rest=1
        GET a.shop.example.com/orders/1 -> 404 no gateway",
    );
    let gone = vec![Change::Delete(PartKey::Gateway("web".into()))];
    let told = faults(compile_onto(&next, gone).unwrap_err());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("gateways/web/routes/orders: its gateway"),
        "{told:?}"
    );
    let gone = ["orders", "user"].map(|id| Change::Delete(route("web", id)));
    let gone = gone.into_iter().chain([Change::Delete(PartKey::Gateway("web".into()))]);
    let next = compile_onto(&next, gone.collect()).unwrap();
    expect(&next, "GET x/orders/1 -> 404 no gateway");
    assert_eq!(next.gateways().count(), 1);
    compile_onto(&next, put(SHOP)).unwrap();
}

#[test]
fn the_access_log_is_what_the_document_says_and_errors_where_it_says_nothing() {
    let first = compile(SHOP);
    assert_eq!(first.access_log(), AccessLog::Errors);
    for (word, log) in [
        ("off", AccessLog::Off),
        ("errors", AccessLog::Errors),
        ("all", AccessLog::All),
    ] {
        let with = format!("{SHOP}telemetry: {{ access_log: {{ on: {word} }} }}\n");
        let next = compile_onto(&first, changes(&parts(SHOP), &parts(&with))).unwrap();
        assert_eq!(next.access_log(), log);
        let gone = compile_onto(&next, vec![Change::Delete(PartKey::Telemetry)]).unwrap();
        assert_eq!(gone.access_log(), AccessLog::Errors);
    }
}
