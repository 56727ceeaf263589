//! What is refused, and how it is told.

use super::{SHOP, changed_route, faults, put, route};
use crate::support::{compile, compile_onto, document, request};
use sluice_document::{Part, PartKey, declared};
use sluice_snapshot::{Change, CompileBudget, CompileError, NodeContext, Snapshot, compile_changes};

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
