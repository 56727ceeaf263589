//! From parts to snapshots: what is refused and how it is told, what is shared, what is bounded.

#![allow(clippy::unwrap_used)]

mod support;

use sluice_document::declared::{self, Document};
use sluice_document::{Part, PartKey, split};
use sluice_http_semantics::upgrade::{Allowed, Protocol};
use sluice_shared_state::Algorithm;
use sluice_snapshot::{
    AccessLog, Action, Change, CompileBudget, CompileError, NodeContext, OverBudget, Snapshot, compile_changes,
};
use std::sync::Arc;
use std::time::Duration;
use support::{Parts, changes, compile, compile_onto, context, document, expect, parts, request};

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
fn every_fault_is_told_with_its_part() {
    let first = compile(SHOP);
    let faulty = vec![
        Change::Delete(PartKey::Upstream("orders".into())),
        Change::Put(
            PartKey::Upstream("users".into()),
            Part::Upstream(declared::Upstream {
                targets: vec![declared::Target {
                    url: "https://a".into(),
                    weight: None,
                }],
                ..Default::default()
            }),
        ),
        changed_route("user", |route| {
            route.action = declared::Action::Upstream("nowhere".into());
            route.paths = vec!["/a/**/b".into(), "regex:(".into(), "regex:a{1000}{1000}".into()];
            route.hosts = vec!["other.example.com".into(), "a..b".into()];
            route.methods = vec!["G T".into()];
        }),
        Change::Put(
            route("none", "x"),
            Part::Route(document(SHOP).gateways["web"].routes[0].clone()),
        ),
        Change::Put(PartKey::Cluster, Part::Upstream(declared::Upstream::default())),
        Change::Put(
            PartKey::Gateway("bare".into()),
            Part::Gateway(declared::Gateway::default()),
        ),
    ];
    let error = compile_onto(&first, faulty).unwrap_err();
    assert!(matches!(error, CompileError::Invalid(_)));
    let told = faults(error);
    for (part, why) in [
        ("upstreams/users: ", "https"),
        ("gateways/web/routes/orders: ", "no upstream \"orders\" any more"),
        ("gateways/web/routes/user: upstream: ", "nowhere"),
        ("gateways/web/routes/user: path: ", "** stands only at the end"),
        ("gateways/web/routes/user: path: ", "\"(\" is no regular expression"),
        ("gateways/web/routes/user: hosts: ", "other.example.com, so this never"),
        ("gateways/web/routes/user: hosts: ", "a..b"),
        ("gateways/web/routes/user: methods: ", "G T"),
        ("gateways/none/routes/x: ", "another part"),
        ("cluster: ", "another part"),
        ("gateways/bare: hosts: ", "none"),
    ] {
        assert!(
            told.iter().any(|line| line.starts_with(part) && line.contains(why)),
            "{part}{why}: {told:#?}"
        );
    }
    assert_eq!(request("GET shop.example.com/orders/1").answer(&first), "orders rest=1");
}

#[test]
fn narrower_hosts_of_a_gateway_are_refused_where_a_route_needs_more() {
    let yaml = SHOP.replace("path: /orders/**,", "path: /orders/**, hosts: [a.shop.example.com],");
    let first = compile(&yaml);
    let narrower = yaml.replace("[shop.example.com, '*.shop.example.com']", "[shop.example.com]");
    let mut gateway = document(&narrower.replace("hosts: [a.shop.example.com],", "")).gateways["web"].clone();
    gateway.routes.clear();
    let change = Change::Put(PartKey::Gateway("web".into()), Part::Gateway(gateway));
    let told = faults(compile_onto(&first, vec![change]).unwrap_err());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("gateways/web/routes/orders: hosts: the gateway does not have a.shop"),
        "{told:?}"
    );
}

#[test]
fn a_listener_that_this_node_lacks_is_not_the_documents_fault() {
    let context = NodeContext {
        listeners: vec!["public".into()],
    };
    let error = compile_changes(
        put(SHOP),
        &Snapshot::empty(),
        1,
        [0; 16],
        &context,
        &CompileBudget::default(),
    );
    let Err(CompileError::Unserveable(faults)) = error else {
        panic!("{error:?}")
    };
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["gateways/partner: listen: this node has no listener \"partner\"; it has public"]
    );
}

#[test]
fn each_expression_that_is_too_large_is_told_and_many_are_taken() {
    let mut yaml = String::from(
        "upstreams: { a: { targets: ['http://127.0.0.1:9101'] } }\ngateways:\n  web:\n    hosts: ['*']\n    routes:\n",
    );
    for i in 0..2_000 {
        let prefix = ["", "/api/v1", "/shop"][i % 3];
        yaml.push_str(&format!(
            "      - {{ id: r{i}, path: 'regex:^{prefix}/x{i}[a-f]+$', upstream: a }}\n"
        ));
    }
    let snapshot = compile(&yaml);
    expect(
        &snapshot,
        "
        GET h/x0a -> r0
        GET h/x1998fff -> r1998
        GET h/api/v1/x1000ab -> r1000
        GET h/shop/x1001ab -> r1001
        GET h/shop/x1000ab -> 404",
    );
    let mut known = parts(&yaml);
    let mut next = yaml.replace(
        "id: r7, path: 'regex:^/api/v1/x7[a-f]+$'",
        "id: r7, path: 'regex:^/api/v1/y7$'",
    );
    let snapshot = compile_onto(&snapshot, changes(&known, &parts(&next))).unwrap();
    expect(
        &snapshot,
        "
        GET h/api/v1/y7 -> r7
        GET h/api/v1/x7a -> 404
        GET h/api/v1/x10a -> r10",
    );
    known = parts(&next);
    next = next.replace("'regex:^/x9[a-f]+$'", "'regex:^/(x9[a-f]{900}){900}$'");
    let document = {
        // As if it had come past every check.
        let mut checked = document(&yaml);
        let route = checked
            .gateways
            .get_mut("web")
            .unwrap()
            .routes
            .iter_mut()
            .find(|route| route.id == "r9")
            .unwrap();
        route.paths = vec!["regex:^/(x9[a-f]{900}){900}$".into()];
        checked
    };
    assert!(next.contains("{900}"));
    let told = faults(compile_onto(&snapshot, changes(&known, &split(&document))).unwrap_err());
    assert!(
        told.iter()
            .any(|line| line.starts_with("gateways/web/routes/r9: path: ") && line.contains("automaton")),
        "{told:?}"
    );
}

#[test]
fn time_and_memory_are_bounded() {
    let mut large = Document {
        upstreams: document(SHOP).upstreams,
        ..Document::default()
    };
    let mut gateway = document(SHOP).gateways["web"].clone();
    let template = gateway.routes[0].clone();
    gateway.routes = (0..2_000)
        .map(|i| declared::Route {
            id: format!("r{i}"),
            paths: vec![format!("/p{i}/**")],
            ..template.clone()
        })
        .collect();
    large.gateways.insert("web".into(), gateway);
    let all = || changes(&Parts::new(), &split(&large));
    let within = |budget| compile_changes(all(), &Snapshot::empty(), 1, [0; 16], &context(), &budget);
    let nothing = CompileBudget {
        time: Duration::ZERO,
        ..CompileBudget::default()
    };
    let Err(CompileError::OverBudget {
        what: OverBudget::Time(_),
    }) = within(nothing)
    else {
        panic!("time")
    };
    let small = CompileBudget {
        max_bytes: 200_000,
        ..CompileBudget::default()
    };
    let Err(CompileError::OverBudget {
        what: OverBudget::Bytes { needed, limit },
    }) = within(small)
    else {
        panic!("memory")
    };
    assert!(needed > limit && limit == 200_000);
    within(CompileBudget::default()).unwrap();
}

#[test]
fn expressions_are_counted_while_they_are_made() {
    let conditions = (0..40).map(|i| (format!("x{i}"), format!("{i}[a-f]{{400}}[0-9]{{400}}")));
    let regex = |text| declared::FieldMatch {
        compare: declared::Compare::Regex(text),
        not: false,
    };
    let by_fields = changed_route("user", |route| {
        route.matches.query = conditions.map(|(name, text)| (name, regex(text))).collect();
    });
    let by_paths = changed_route("user", |route| {
        route.paths = (0..40)
            .map(|i| format!("regex:^/{i}[a-f]{{400}}[0-9]{{400}}$"))
            .collect();
    });
    let first = compile(SHOP);
    for change in [by_fields, by_paths] {
        let within = |max_bytes| {
            let budget = CompileBudget {
                max_bytes,
                ..CompileBudget::default()
            };
            compile_changes(vec![change.clone()], &first, 2, [0; 16], &context(), &budget)
        };
        let error = within(400_000).unwrap_err();
        let CompileError::OverBudget {
            what: OverBudget::Bytes { needed, .. },
        } = error
        else {
            panic!("{error}")
        };
        assert!(needed < 4_000_000, "given up early: {needed}");
        within(1 << 30).unwrap();
    }
}

#[test]
fn what_a_snapshot_weighs_is_given_back_when_its_parts_go() {
    let yaml = SHOP.replace("path: /orders/**", "paths: [/orders/**, 'regex:^/o[0-9]+/']");
    let mut snapshot = compile(&yaml);
    let all = parts(&yaml);
    for _ in 0..50 {
        snapshot = compile_onto(&snapshot, changes(&all, &Parts::new())).unwrap();
        assert_eq!((snapshot.gateways().count(), snapshot.upstreams().len()), (0, 0));
        let tight = CompileBudget {
            max_bytes: 0,
            ..CompileBudget::default()
        };
        compile_changes(Vec::new(), &snapshot, 1, [0; 16], &context(), &tight).unwrap();
        snapshot = compile_onto(&snapshot, changes(&Parts::new(), &all)).unwrap();
    }
}

#[test]
fn a_pattern_as_deep_as_there_are_needs_little_stack() {
    let yaml = format!(
        "upstreams: {{ a: {{ targets: ['http://127.0.0.1:9101'] }} }}\ngateways:\n  web:\n    hosts: ['*']\n    routes:\n      - {{ id: deep, path: '{}', upstream: a }}\n      - {{ id: rest, path: /**, upstream: a }}\n",
        (0..63).map(|i| format!("/{{p{i}}}")).collect::<String>()
    );
    let snapshot = compile(&yaml);
    let thread = std::thread::Builder::new().stack_size(128 << 10);
    let answers = thread
        .spawn(move || {
            let path = |segments: usize| request(&format!("GET h{}", "/a".repeat(segments)));
            let mut answers = Vec::new();
            for segments in [63, 2_000] {
                let answer = path(segments).answer(&snapshot);
                answers.push(answer.split(' ').next().unwrap().to_owned());
            }
            answers
        })
        .unwrap();
    assert_eq!(answers.join().unwrap(), ["deep", "rest"]);
}

const SPLIT: &str = "
upstreams:
  a: { targets: ['http://127.0.0.1:1'], timeout: { connect: 2s } }
  b: { targets: ['http://127.0.0.1:2'] }
gateways:
  web:
    hosts: ['*']
    routes:
      - { id: all, path: /**, timeout: { try: 3s }, split: { to: [{ upstream: a }, { upstream: b, weight: 2 }] } }
";

#[test]
fn each_arm_of_a_split_has_its_upstream_with_the_routes_time_outs_over_it() {
    let old = parts(SPLIT);
    let first = compile(SPLIT);
    let of = |snapshot: &Snapshot| {
        let route = snapshot
            .gateway_named("web")
            .unwrap()
            .route_named("all")
            .unwrap()
            .clone();
        let Action::Split(split) = &route.action else {
            panic!("{route:?}")
        };
        split.arms.to_vec()
    };
    let arms = of(&first);
    let told = |arm: &sluice_snapshot::Destination| {
        (
            arm.upstream.name.to_string(),
            arm.timeouts.connect,
            arm.timeouts.attempt,
        )
    };
    let second = Duration::from_secs;
    assert_eq!(told(&arms[0]), ("a".to_owned(), second(2), Some(second(3))));
    assert_eq!(told(&arms[1]), ("b".to_owned(), second(1), Some(second(3))));
    let new = parts(&SPLIT.replace("connect: 2s", "connect: 4s"));
    let next = compile_onto(&first, changes(&old, &new)).unwrap();
    assert_eq!(of(&next)[0].timeouts.connect, second(4));
    assert!(Arc::ptr_eq(&of(&next)[1].upstream, &arms[1].upstream));
    assert!(Arc::ptr_eq(&of(&next)[0].upstream, &next.upstreams()[0]));
}

#[test]
fn an_upstream_that_a_split_names_is_not_deleted() {
    let first = compile(SPLIT);
    let gone = Change::Delete(PartKey::Upstream("b".into()));
    let told = faults(compile_onto(&first, vec![gone]).unwrap_err());
    assert_eq!(
        told,
        ["gateways/web/routes/all: upstream: there is no upstream \"b\" any more"]
    );
    let mut route = document(SPLIT).gateways["web"].routes[0].clone();
    route.action = declared::Action::Split(declared::Split {
        to: vec![declared::Arm {
            upstream: "nowhere".into(),
            weight: Some(0),
            when: Some("nope".into()),
        }],
        sticky: None,
    });
    let key = PartKey::Route {
        gateway: "web".into(),
        id: "all".into(),
    };
    let told = faults(compile_onto(&first, vec![Change::Put(key, Part::Route(route))]).unwrap_err());
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.iter()
            .all(|line| line.starts_with("gateways/web/routes/all: split.to")),
        "{told:?}"
    );
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
