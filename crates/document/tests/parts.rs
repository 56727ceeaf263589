//! Parts: taking apart, putting together, single parts, differences.
#![allow(clippy::unwrap_used)]

use sluice_document::declared::{Action, Compare, MaxBody, Size};
use sluice_document::{
    ChangeKind, Document, Format, Part, PartKey, decode_part, diff, join, parse, parse_part, print, render_diff, split,
};

const SHOP: &str = r#"
format: 1
upstreams:
  orders:
    targets: ["http://127.0.0.1:9101", { url: "http://127.0.0.1:9102", weight: 2 }]
    timeout: { connect: 1s, try: 1500ms }
gateways:
  web:
    hosts: [shop.example.com, "*.Shop.example.com"]
    expose: [version]
    routes:
      - path: /orders/{id}
        methods: [GET]
        upstream: orders
        max_body: 1MiB
        match:
          headers: { X-Region: eu, x-kind: { prefix: a, not: true }, x-other: { not: { present: true } } }
      - path: /orders/{id}
        methods: [GET]
        upstream: orders
      - path: /old/**
        redirect: { to: "/new/${params.rest}" }
cluster: { stale: { unready_after: never } }
"#;

fn shop() -> Document {
    parse(SHOP, Format::Yaml, None).unwrap().document
}

fn key(text: &str) -> PartKey {
    text.parse().unwrap()
}

#[test]
fn ids_are_derived_and_routes_sorted_by_them() {
    let ids: Vec<_> = shop().gateways["web"]
        .routes
        .iter()
        .map(|route| route.id.clone())
        .collect();
    assert_eq!(ids, ["get-orders-id", "get-orders-id-2", "old-all"]);
}

#[test]
fn conditions_are_read_in_all_their_forms() {
    let route = &shop().gateways["web"].routes[0];
    assert_eq!(route.matches.headers["x-region"].compare, Compare::Exact("eu".into()));
    assert!(route.matches.headers["x-kind"].not);
    let other = &route.matches.headers["x-other"];
    assert_eq!((&other.compare, other.not), (&Compare::Present(true), true));
    assert_eq!(route.max_body, Some(MaxBody::Limit(Size(1 << 20))));
}

#[test]
fn a_document_is_the_join_of_its_parts() {
    let parts = split(&shop());
    let keys: Vec<_> = parts.keys().map(ToString::to_string).collect();
    assert_eq!(
        keys,
        [
            "upstreams/orders",
            "gateways/web",
            "gateways/web/routes/get-orders-id",
            "gateways/web/routes/get-orders-id-2",
            "gateways/web/routes/old-all",
            "cluster"
        ]
    );
    assert_eq!(
        join(parts.iter().map(|(key, text)| (key, text.as_str()))).unwrap(),
        shop()
    );
    for part in parts.keys() {
        assert_eq!(&key(&part.to_string()), part);
    }
}

#[test]
fn what_is_printed_reads_as_the_same_document() {
    for format in [Format::Yaml, Format::Json, Format::Toml] {
        let text = print(&shop(), format).unwrap();
        let again = parse(&text, format, None).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
        assert_eq!(again.document, shop(), "{text}");
    }
}

#[test]
fn yaml_is_printed_as_people_write_it() {
    insta::assert_snapshot!(print(&shop(), Format::Yaml).unwrap());
}

#[test]
fn a_route_that_is_put_gets_the_id_of_its_key() {
    let key = key("gateways/web/routes/get-it");
    let parts = parse_part(&key, "{\"path\": \"/x\", \"upstream\": \"orders\"}", Format::Json).unwrap();
    let [(put, Part::Route(route))] = parts.as_slice() else {
        panic!("{parts:?}")
    };
    assert_eq!((put, route.id.as_str()), (&key, "get-it"));
    assert_eq!(route.action, Action::Upstream("orders".into()));

    let errors = parse_part(&key, "path: /x\nupstream: orders\nid: other\n", Format::Yaml).unwrap_err();
    assert_eq!(errors[0].line, Some(3));
    assert_eq!(errors[0].expected.as_deref(), Some("get-it"));
}

#[test]
fn a_gateway_that_is_put_brings_its_routes() {
    let text = "hosts: [a.example]\nroutes: [{ path: /x, respond: { text: hi } }, { path: /y, upstream: u }]";
    let parts = parse_part(&key("gateways/web"), text, Format::Yaml).unwrap();
    let keys: Vec<_> = parts.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["gateways/web", "gateways/web/routes/x", "gateways/web/routes/y"]);
    assert!(matches!(&parts[0].1, Part::Gateway(gateway) if gateway.routes.is_empty()));
}

#[test]
fn errors_of_a_part_name_its_place_in_the_document() {
    let errors = parse_part(&key("upstreams/orders"), "targets: [5]\ntimeuot: {}", Format::Yaml).unwrap_err();
    let places: Vec<_> = errors.iter().map(|e| (e.path.as_str(), e.line, &*e.code)).collect();
    assert_eq!(
        places,
        [
            ("upstreams.orders.targets[0]", Some(1), "wrong_type"),
            ("upstreams.orders.timeuot", Some(2), "unknown_field")
        ]
    );
}

#[test]
fn an_empty_part_is_refused() {
    for text in ["", "null", "# nothing\n"] {
        let errors = parse_part(&key("gateways/web"), text, Format::Yaml).unwrap_err();
        assert_eq!(errors[0].code, "empty");
    }
}

#[test]
fn a_stored_part_that_is_damaged_says_which_and_why() {
    let error = decode_part(&key("upstreams/a"), "{\"targets\":[{\"url\":1}]}").unwrap_err();
    assert_eq!(error.key, key("upstreams/a"));
    assert!(error.to_string().contains("targets[0].url"), "{error}");
    let (orphan, text) = (
        key("gateways/web/routes/x"),
        "{\"id\":\"x\",\"paths\":[\"/x\"],\"upstream\":\"u\"}",
    );
    assert!(
        join([(&orphan, text)].into_iter())
            .unwrap_err()
            .to_string()
            .contains("no gateway `web`")
    );
}

#[test]
fn texts_that_name_no_part_are_refused() {
    for text in [
        "",
        "upstreams",
        "upstreams/",
        "gateways/a/routes",
        "gateways//routes/x",
        "routes/x",
        "cluster/x",
    ] {
        assert!(text.parse::<PartKey>().is_err(), "{text}");
    }
}

#[test]
fn a_difference_is_told_by_part_and_shown_by_line() {
    let old = split(&shop());
    let text = SHOP
        .replace("weight: 2", "weight: 3")
        .replace("- path: /old/**", "- path: /older/**");
    let new = split(&parse(&text, Format::Yaml, None).unwrap().document);
    let changes = diff(&old, &new);
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.key.to_string(), change.kind))
        .collect();
    assert_eq!(
        told,
        [
            ("upstreams/orders".to_owned(), ChangeKind::Changed),
            ("gateways/web/routes/old-all".to_owned(), ChangeKind::Removed),
            ("gateways/web/routes/older-all".to_owned(), ChangeKind::Added),
        ]
    );
    insta::assert_snapshot!(render_diff(&changes, false));
    assert!(diff(&old, &old).is_empty());
}

#[test]
fn an_ipv4_address_in_ipv6_s_form_is_the_one_that_requests_have() {
    let text = "gateways:\n  web:\n    hosts: [\"*\"]\n    trusted_proxies: [\"::ffff:10.1.2.3/104\", \"::ffff:192.0.2.1\", \"::ffff:0:0/95\", \"fd00::/8\"]\n";
    let document = sluice_document::parse(text, sluice_document::Format::Yaml, None)
        .unwrap()
        .document;
    let trusted: Vec<String> = document.gateways["web"]
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(trusted, ["10.0.0.0/8", "192.0.2.1/32", "::fffe:0:0/95", "fd00::/8"]);
}
