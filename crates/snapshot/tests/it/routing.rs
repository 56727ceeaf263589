//! Which route takes a request: the rule of docs/routing.md, by example.

use crate::support::{changes, compile, compile_onto, expect, parts, request};

/// One gateway for any host, with these routes.
fn with_routes(routes: &str) -> String {
    format!(
        "upstreams: {{ a: {{ targets: ['http://127.0.0.1:9101'] }} }}\ngateways:\n  web:\n    hosts: ['*']\n    routes:\n{}",
        routes
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| format!("      - {{ {line}, upstream: a }}\n"))
            .collect::<String>()
    )
}

#[test]
fn a_literal_wins_over_a_parameter_in_whatever_order_they_come() {
    let (tenant, all) = (
        "id: one, path: '/lang/{tenant}/{lang}'",
        "id: all, path: '/lang/{tenant}/all'",
    );
    let answers = "
        GET h/lang/42/all -> all tenant=42
        GET h/lang/42/de -> one tenant=42 lang=de";
    for (first, second) in [(tenant, all), (all, tenant)] {
        expect(&compile(&with_routes(&format!("{first}\n{second}"))), answers);
        let (before, after) = (
            parts(&with_routes(first)),
            parts(&with_routes(&format!("{second}\n{first}"))),
        );
        let snapshot = compile(&with_routes(first));
        expect(&compile_onto(&snapshot, changes(&before, &after)).unwrap(), answers);
    }
}

#[test]
fn the_more_specific_path_is_asked_first_segment_by_segment() {
    let snapshot = compile(&with_routes(
        "
        id: rest, path: /**
        id: orders, path: /orders
        id: orders-rest, path: /orders/**
        id: order, path: '/orders/{id}'
        id: latest, path: /orders/latest
        id: lines, path: '/orders/{id}/lines'
        id: any-lines, path: '/{what}/{id}/lines'
        id: latest-rest, path: /orders/latest/**
        id: slash, path: /orders/",
    ));
    expect(
        &snapshot,
        "
        GET h/ -> rest rest=
        GET h/x -> rest rest=x
        GET h/orders -> orders
        GET h/orders/ -> slash
        GET h/orders/7 -> order id=7
        GET h/orders/7/ -> orders-rest rest=7/
        GET h/orders/latest -> latest
        GET h/orders/latest/ -> latest-rest rest=
        GET h/orders/latest/lines -> latest-rest rest=lines
        GET h/orders/7/lines -> lines id=7
        GET h/carts/7/lines -> any-lines what=carts id=7
        GET h/carts/7/line -> rest rest=carts/7/line",
    );
}

#[test]
fn a_rest_takes_its_own_place_and_all_below() {
    let snapshot = compile(&with_routes("id: r, path: /orders/**"));
    expect(
        &snapshot,
        "
        GET h/orders -> r rest=
        GET h/orders/ -> r rest=
        GET h/orders/a -> r rest=a
        GET h/orders/a/b/ -> r rest=a/b/
        GET h/orders/a%2Fb -> r rest=a%2Fb
        GET h/ordersx -> 404
        GET h/ -> 404",
    );
}

#[test]
fn an_encoded_character_is_part_of_its_segment() {
    let snapshot = compile(&with_routes("id: u, path: '/test/{id}/update'"));
    expect(
        &snapshot,
        "
        GET h/test/contains%20space/update -> u id=contains%20space
        GET h/test/%7Euser/update -> u id=~user
        GET h/test/a%3ab/update -> u id=a%3Ab
        GET h/test/a%2fb/update -> u id=a%2Fb
        GET h/test//update -> 404
        GET h/test/a/b/update -> 404",
    );
}

#[test]
fn after_a_miss_the_next_candidate_is_asked() {
    let snapshot = compile(&with_routes(
        "
        id: post, path: /a/b, methods: [POST]
        id: header, path: /a/b, match: { headers: { x-canary: '1' } }
        id: query, path: '/a/{x}', match: { query: { v: '2' } }
        id: client, path: '/{x}/b', match: { client: [10.0.0.0/8] }
        id: host, path: /a/**, hosts: [other]
        id: last, path: /**, methods: [GET, PUT]",
    ));
    expect(
        &snapshot,
        "
        POST h/a/b -> post
        GET h/a/b?v=2 -> query x=b
        GET h/a/b?v=%32 -> query x=b
        GET h/a/b?v=3 -> last rest=a/b
        GET other/a/b -> host rest=b
        GET h/a/b -> last rest=a/b
        DELETE h/a/b -> 405 GET, HEAD, POST, PUT
        DELETE h/a/c -> 405 GET, HEAD, PUT
        DELETE other/a/c -> host rest=c",
    );
    assert_eq!(request("GET h/a/b").with("x-canary", "1").answer(&snapshot), "header");
    assert_eq!(
        request("GET h/a/b").with("x-canary", "0").answer(&snapshot),
        "last rest=a/b"
    );
    let ours = request("GET h/a/b").from("10.1.2.3");
    assert_eq!(ours.answer(&snapshot), "client x=a");
    assert_eq!(
        request("GET h/a/b").from("::ffff:10.1.2.3").answer(&snapshot),
        "client x=a"
    );
}

#[test]
fn each_comparison_does_what_it_says() {
    let snapshot = compile(&with_routes(
        "
        id: exact, path: /exact, match: { headers: { x: a } }
        id: prefix, path: /prefix, match: { headers: { x: { prefix: ab } } }
        id: regex, path: /regex, match: { headers: { x: { regex: '^[0-9]+$' } } }
        id: present, path: /present, match: { headers: { x: { present: true } } }
        id: absent, path: /absent, match: { headers: { x: { present: false } } }
        id: not, path: /not, match: { headers: { x: { not: { exact: a } } } }",
    ));
    for (path, values, right) in [
        ("exact", &["a"][..], true),
        ("exact", &["b", "a"], true),
        ("exact", &["A"], false),
        ("exact", &[], false),
        ("prefix", &["abc"], true),
        ("prefix", &["a"], false),
        ("regex", &["x", "12"], true),
        ("regex", &["12x"], false),
        ("present", &[""], true),
        ("present", &[], false),
        ("absent", &[], true),
        ("absent", &["a"], false),
        ("not", &["b"], true),
        ("not", &[], true),
        ("not", &["b", "a"], false),
    ] {
        let sent = values
            .iter()
            .fold(request(&format!("GET h/{path}")), |sent, value| sent.with("x", value));
        let answer = sent.answer(&snapshot);
        assert_eq!(answer, if right { path } else { "404" }, "{path} {values:?}");
    }
}

#[test]
fn priority_goes_before_all_else() {
    let snapshot = compile(&with_routes(
        "
        id: exact, path: /a/b
        id: param, path: '/a/{x}', priority: 1
        id: rest, path: /**, priority: 5, methods: [POST]
        id: regex, path: 'regex:^/a/', priority: 7, methods: [DELETE]
        id: low, path: /a/b/c, priority: -1
        id: under, path: /a/b/**",
    ));
    expect(
        &snapshot,
        "
        GET h/a/b -> param x=b
        POST h/a/b -> rest rest=a/b
        DELETE h/a/b -> regex
        GET h/a/b/c -> under rest=c",
    );
}

#[test]
fn at_one_path_host_then_conditions_then_methods_then_ids_decide() {
    let snapshot = compile(&with_routes(
        "
        id: z-host, path: /a, hosts: [x.shop]
        id: sub, path: /a, hosts: ['*.shop']
        id: long-sub, path: /a, hosts: ['*.y.shop']
        id: two, path: /a, match: { query: { p: '1', q: '1' } }
        id: one-p, path: /a, match: { query: { p: '1' } }
        id: one-q, path: /a, match: { query: { q: '1' } }
        id: get, path: /a, methods: [GET]
        id: all, path: /a",
    ));
    expect(
        &snapshot,
        "
        GET x.shop/a?p=1&q=1 -> z-host
        GET y.shop/a?p=1 -> sub
        GET z.y.shop/a?p=1 -> long-sub
        GET h/a?p=1&q=1 -> two
        GET h/a?p=1 -> one-p
        GET h/a?q=1 -> one-q
        GET h/a?p=1&q=2 -> one-p
        GET h/a?p=2&q=2 -> get
        POST h/a -> all",
    );
}

#[test]
fn expressions_come_after_segments_and_are_asked_by_the_same_rule() {
    let snapshot = compile(&with_routes(
        "
        id: param, path: '/v1/{x}', methods: [GET]
        id: rx-b, path: 'regex:^/v[0-9]+/'
        id: rx-a, path: 'regex:/b$'
        id: rx-get, path: 'regex:^/v1/', methods: [PUT]
        id: rx-sure, path: 'regex:^/deep/er/[0-9]+$'",
    ));
    expect(
        &snapshot,
        "
        GET h/v1/b -> param x=b
        POST h/v1/b -> rx-a
        PUT h/v1/b -> rx-get
        POST h/v1/c -> rx-b
        GET h/v22/c/d -> rx-b
        GET h/x/b -> rx-a
        GET h/deep/er/12 -> rx-sure
        GET h/deep/er/12/ -> 404
        GET h/deep/er -> 404
        GET h/x -> 404",
    );
}

#[test]
fn get_takes_head_unless_head_is_declared_elsewhere() {
    let snapshot = compile(&with_routes(
        "
        id: get, path: /a, methods: [GET]
        id: post, path: /a, methods: [POST]
        id: get-b, path: /b, methods: [GET]
        id: head-b, path: /b, methods: [HEAD]
        id: get-c, path: /c/d, methods: [GET]
        id: all-c, path: /c/**
        id: get-e, path: /e/f, methods: [GET]
        id: head-e, path: /e/**, methods: [HEAD]
        id: all-e, path: '/e/{x}'
        id: post-g, path: /g, methods: [POST]",
    ));
    expect(
        &snapshot,
        "
        HEAD h/a -> get
        PUT h/a -> 405 GET, HEAD, POST
        GET h/b -> get-b
        HEAD h/b -> head-b
        HEAD h/c/d -> get-c
        HEAD h/c/e -> all-c rest=e
        HEAD h/e/f -> all-e x=f
        HEAD h/e/f/g -> head-e rest=f/g
        HEAD h/g -> 405 POST",
    );
}

#[test]
fn an_encoded_slash_is_the_routes_to_refuse() {
    let snapshot = compile(&with_routes(
        "
        id: pass, path: '/p/{x}'
        id: refuse, path: '/r/{x}', encoded_slash: refuse",
    ));
    expect(
        &snapshot,
        "
        GET h/p/a%2Fb -> pass x=a%2Fb
        GET h/r/a%2Fb -> 400 refuse
        GET h/p/a%2F..%2Fb -> 400 pass
        GET h/r/ab -> refuse x=ab
        GET h/n/a%2F..%2Fb -> 404",
    );
}

#[test]
fn the_narrowest_host_alone_decides_the_gateway() {
    let mut yaml = String::from(
        "
upstreams: { a: { targets: ['http://127.0.0.1:9101'] } }
gateways:
  catch: { hosts: ['*'], routes: [ { id: c, path: 'regex:^/(?:[a-z0-9-]+/)*(?:[a-z0-9-]*)$', upstream: a } ] }
  wild: { hosts: ['*.shop.example.com'], routes: [ { id: b, path: /**, upstream: a } ] }
  exact: { hosts: [a.shop.example.com], routes: [ { id: a, path: /, upstream: a } ] }
",
    );
    for _ in 0..2 {
        expect(
            &compile(&yaml),
            "
            GET a.shop.example.com/ -> a
            GET bb.shop.example.com/ -> b rest=
            GET x.a.shop.example.com/ -> b rest=
            GET shop.example.com/ -> c
            GET example.net/ -> c
            GET a.shop.example.com/deep/path -> 404",
        );
        for i in 0..150 {
            yaml.push_str(&format!("  more{i}: {{ hosts: [h{i}.example.org], routes: [] }}\n"));
        }
    }
}

#[test]
fn a_host_that_nobody_has_meets_no_gateway() {
    let snapshot = compile(
        "
upstreams: { a: { targets: ['http://127.0.0.1:9101'] } }
gateways:
  web: { hosts: [h], routes: [ { id: r, path: /, upstream: a } ] }
  partner: { hosts: [p], listen: [partner], routes: [ { id: r, path: /, upstream: a } ] }
",
    );
    expect(
        &snapshot,
        "
        GET h/ -> r
        GET p/ -> 404 no gateway
        GET x/ -> 404 no gateway",
    );
    assert_eq!(&*snapshot.gateway("partner", "p").unwrap().name, "partner");
}
