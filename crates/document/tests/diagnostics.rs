//! What is said of bad documents: each with its place, what was found, what was expected, all at once.
#![allow(clippy::unwrap_used)]

use sluice_document::{Diagnostic, Format, Severity, parse, parse_files};

fn told(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for d in diagnostics {
        let line = d
            .line
            .map_or("-".to_owned(), |line| format!("{line}:{}", d.column.unwrap_or(0)));
        let kind = if d.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        out.push_str(&format!(
            "{line} {kind} {} at `{}`\n    {}\n",
            d.code, d.path, d.message
        ));
        for (what, value) in [("found", &d.found), ("expected", &d.expected), ("nearest", &d.nearest)] {
            if let Some(value) = value {
                out.push_str(&format!("    {what}: {value}\n"));
            }
        }
        if let Some(excerpt) = &d.excerpt {
            out.push_str(&format!("    | {excerpt}\n"));
        }
    }
    out
}

fn errors(text: &str) -> String {
    told(&parse(text, Format::Yaml, None).unwrap_err())
}

/// A route in a gateway with everything around it.
fn route(fields: &str) -> String {
    let path = if fields.starts_with("path") { "" } else { "path: /x, " };
    let action = if ["upstream:", "respond:", "redirect:", "split:"]
        .iter()
        .any(|a| fields.contains(a))
    {
        ""
    } else {
        "upstream: a, "
    };
    format!(
        "upstreams: {{ a: {{ targets: [\"http://127.0.0.1:9101\"] }} }}\n\
         gateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ {path}{action}{fields} }}\n"
    )
}

fn routes(list: &str) -> String {
    let list: String = list
        .trim()
        .lines()
        .map(|line| format!("      {}\n", line.trim()))
        .collect();
    format!(
        "upstreams: {{ a: {{ targets: [\"http://127.0.0.1:9101\"] }} }}\n\
         gateways:\n  web:\n    hosts: [\"shop.example.com\", \"*.example.net\"]\n    routes:\n{list}"
    )
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    insta::assert_snapshot!(errors(
        r#"
format: 2
upstreams:
  orders:
    tagrets: ["http://127.0.0.1:9101"]
    balance: roundrobin
    timeout: { connect: 5, try: 1 fortnight }
    tls: { verify: false }
  Orders:
    targets: ["http://127.0.0.1:70000", "https://a.internal", 5, { url: "ftp://x", weight: 70000 }]
  empty:
gateways:
  web:
    hosts: ["shop.example.com:8080", "a..b", "*.*.c", "shop.example.com", "SHOP.example.com."]
    expose: [versoin]
    listen: []
    trusted_proxies: ["10.0.0.0/33"]
    auth: []
    routes:
      - path: orders/{id}
        methods: [get]
        upstream: ordres
        max_body: 10MB
      - paths: ["/a", "/a", "/b/**/c", "/{x}/{x}"]
        upstream: orders
        redirect: { to: "/x", status: 200 }
        match: { headers: { "X Y": a, A: a, a: b }, client: [nowhere] }
      - upstream: orders
      - path: /x
      - { path: /y, split: { to: [] } }
      - a route
telemetry: { access_log: { on: everything }, traces: {} }
consumer: {}
"#
    ));
}

#[test]
fn protocols_to_switch_to_are_checked() {
    let told = |upgrade: &str| {
        let result = parse(&route(&format!("upgrade: {upgrade}")), Format::Yaml, None);
        let errors = result.map_or_else(|errors| errors, |parsed| parsed.warnings);
        let each = errors.iter().map(|error| (error.code.to_string(), error.path.clone()));
        each.collect::<Vec<_>>()
    };
    for fine in ["[]", "[websocket]", "[WebSocket, SPDY/3.1, tcp]"] {
        assert_eq!(told(fine), [], "{fine}");
    }
    let at = |place: &str| format!("gateways.web.routes[0].upgrade{place}");
    for (bad, code, place) in [
        ("websocket", "wrong_type", ""),
        ("[h2c]", "bad_value", "[0]"),
        ("[websocket, TLS/1.0]", "bad_value", "[1]"),
        ("['a b']", "bad_value", "[0]"),
        ("['']", "bad_value", "[0]"),
        ("[a/b/c]", "bad_value", "[0]"),
        ("[tcp, tcp]", "duplicate", "[1]"),
        ("[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]", "bad_value", ""),
    ] {
        assert_eq!(told(bad), [(code.to_owned(), at(place))], "{bad}");
    }
    let idle = parse(&route("respond: { text: x }, upgrade: [websocket]"), Format::Yaml, None);
    let warnings = idle.unwrap().warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.code == "no_effect" && warning.path == at(""))
    );
}

#[test]
fn a_document_that_says_nothing_is_refused() {
    for text in ["", "null", "~", "---\n", "# only words\n", "{}"] {
        let errors = parse(text, Format::Yaml, None).unwrap_err();
        assert_eq!((errors.len(), &*errors[0].code), (1, "empty"), "{text:?}");
    }
    for (text, format) in [
        ("", Format::Json),
        ("null", Format::Json),
        ("{}", Format::Json),
        ("", Format::Toml),
    ] {
        assert_eq!(parse(text, format, None).unwrap_err()[0].code, "empty", "{text:?}");
    }
    for text in ["[]", "5", "words", "- upstreams"] {
        assert_eq!(
            parse(text, Format::Yaml, None).unwrap_err()[0].code,
            "wrong_type",
            "{text:?}"
        );
    }
    assert!(errors("upstreams:\n").contains("`upstreams` has no value"));
    assert!(parse("format: 1", Format::Yaml, None).is_ok());
}

#[test]
fn what_is_not_well_formed_is_told_with_its_place() {
    let mut out = String::new();
    for (text, format) in [
        ("upstreams:\n  a:\n\ttargets: []\n", Format::Yaml),
        ("upstreams:\n  a: [\n", Format::Yaml),
        ("upstreams:\n   a: {}\n  b: {}\n", Format::Yaml),
        ("a: 1\n---\nb: 2\n", Format::Yaml),
        ("a: !custom x\n", Format::Yaml),
        ("a: *nothing\n", Format::Yaml),
        ("? [a, b]\n: c\n", Format::Yaml),
        ("{\"a\": 1,}", Format::Json),
        ("{\"a\": 01}", Format::Json),
        ("{'a': 1}", Format::Json),
        ("{\"a\": \"\\x\"}", Format::Json),
        ("{\"a\": 1} x", Format::Json),
        ("{\"a\": ", Format::Json),
        ("[upstreams\n", Format::Toml),
        ("a = 1\nb = \n", Format::Toml),
    ] {
        let errors = parse(text, format, None).unwrap_err();
        assert!(errors.iter().all(|e| e.line.is_some()), "{text:?}");
        out.push_str(&format!("{format} {text:?}\n{}", told(&errors)));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn a_name_that_stands_twice_is_told_with_both_places() {
    let mut out = String::new();
    for (text, format) in [
        ("upstreams:\n  a: {}\n  b: {}\n  a: {}\n", Format::Yaml),
        ("upstreams: {}\ngateways: {}\nupstreams: {}\n", Format::Yaml),
        ("{\n\"upstreams\": {\"a\": {},\n\"a\": {}}}", Format::Json),
        (
            "[upstreams.a]\ntargets = []\n[upstreams.b]\n[upstreams.a]\n",
            Format::Toml,
        ),
        ("x: &x { a: 1 }\ny: &y { a: 2 }\nz: { <<: [*x, *y] }\n", Format::Yaml),
        ("x: &x { a: 1 }\nz: { <<: [*x, *x] }\n", Format::Yaml),
    ] {
        let errors = parse(text, format, None).unwrap_err();
        out.push_str(&format!("{format} {text:?}\n{}", told(&errors)));
    }
    out.push_str(&errors(&routes(
        "- { path: /x, upstream: a, id: one }\n- { path: /y, upstream: a, id: one }",
    )));
    insta::assert_snapshot!(out);
}

#[test]
fn two_gateways_with_one_host_on_one_listener_are_both_named() {
    let text = "gateways:\n  a: { hosts: [x.example, y.example] }\n  b:\n    hosts: [z.example, Y.example]\n  \
                c: { hosts: [y.example], listen: [partner] }\n";
    insta::assert_snapshot!(errors(text));
}

#[test]
fn routes_that_conflict_are_both_named() {
    insta::assert_snapshot!(errors(&routes(
        "- { path: \"/orders/{id}\", upstream: a, methods: [GET, PUT] }
         - { path: \"/orders/{number}\", upstream: a, methods: [PUT, DELETE] }
         - { path: \"/orders/{id}\", upstream: a, id: all }
         - { path: \"/orders/{id}\", upstream: a, id: conditional, match: { headers: { x-a: b } } }
         - { path: \"/orders/{id}\", upstream: a, id: first, priority: 1, methods: [PUT] }
         - { path: \"/orders/{id}\", upstream: a, id: host, hosts: [\"*.example.net\"] }
         - { path: \"/orders/{id}\", upstream: a, id: narrow, hosts: [\"x.example.net\"] }
         - { path: \"/orders/{id}\", upstream: a, id: again, hosts: [\"x.example.net\", \"y.example.net\"] }"
    )));
}

#[test]
fn routes_that_never_get_a_request_are_warned_of() {
    let text = routes(
        "- { path: /admin/**, upstream: a, priority: 5, match: { headers: { x-a: { present: true } } } }
         - { path: /admin/users, upstream: a, match: { headers: { x-a: b } } }
         - { path: /admin/users, upstream: a, id: without }
         - { path: /shop/**, upstream: a, priority: 9, methods: [GET, POST] }
         - { paths: [\"/shop/{id}\", /shop, /other], upstream: a, methods: [POST] }
         - { path: /shop/x, upstream: a }
         - { path: \"regex:^/shop/y$\", upstream: a, methods: [GET] }
         - { path: \"/hosts/{x}\", upstream: a, priority: 1, hosts: [\"*.example.net\"] }
         - { path: /hosts/a, upstream: a, hosts: [\"b.example.net\"] }
         - { path: /hosts/b, upstream: a }",
    );
    insta::assert_snapshot!(told(&parse(&text, Format::Yaml, None).unwrap().warnings));
}

#[test]
fn a_literal_beside_a_parameter_is_no_cause_for_a_word() {
    let text =
        routes("- { path: \"/lang/{tenant}/{lang}\", upstream: a }\n- { path: \"/lang/{tenant}/all\", upstream: a }");
    assert_eq!(parse(&text, Format::Yaml, None).unwrap().warnings, []);
}

#[test]
fn what_goes_into_messages_is_checked() {
    let mut out = String::new();
    for fields in [
        r#"path: "/x/{id}", rewrite: { path: "/v2/${params.di}" }"#,
        r#"path: "/x/{id}", rewrite: { path: "v2/${params.id}" }"#,
        r#"paths: ["/x/{id}", "/y/{name}"], rewrite: { path: "/v2/${params.id}" }"#,
        r#"path: /x/**, rewrite: { strip_prefix: "/{x}" }"#,
        r#"path: /x/**, rewrite: { strip_prefix: x }"#,
        r#"path: /x/**, rewrite: { strip_prefix: /x, path: /y }"#,
        r#"path: "/x/{id}", redirect: { to: "/a b" }"#,
        r#"redirect: { to: "${nothing.at.all" }"#,
        r#"redirect: { to: "//elsewhere.example/" }"#,
        r#"redirect: { to: "${request.query}" }"#,
        r#"redirect: { to: "javascript:alert" }"#,
        r#"redirect: { to: "https://${request.query['next']}/" }"#,
        r#"path: "/x/{id}", redirect: { to: "https://example.com${params.id}" }"#,
        r#"path: "/x/{id}", redirect: { to: "http${params.id}://a/" }"#,
        r#"path: "/x/{id}", rewrite: { path: "/v2/{id}" }"#,
        r#"path: "/x/{id}", rewrite: { path: "/a/../b" }"#,
        r#"request: { headers: { set: { Content-Length: 5, X-Ok: "${request.path}" }, remove: [Host, connection] } }"#,
        r#"request: { headers: { set: { X-A: "a\nb" }, add: { X-B: "é" } } }"#,
        r#"response: { headers: { set: { Sluice-Version: 5 } } }"#,
        r#"response: { query: { set: {} }, pick: [id] }"#,
        r#"respond: { text: a, json: {}, status: 700 }"#,
        r#"respond: { status: 204, text: a }"#,
        r#"respond: { json: { a: ["${params.x}"] } }"#,
        r#"match: { headers: { x-a: { regex: "(" } }, query: { q: { exact: a, prefix: b } } }"#,
        r#"match: { headers: { x-a: {} }, query: { q: { not: true } } }"#,
        r#"path: "regex:^(a+){1000}{1000}$""#,
        r#"hosts: [elsewhere.example], methods: [CONNECT]"#,
        r#"retry: { attempts: 11, on: [302] }, encoded_slash: maybe, priority: 1.5"#,
        r#"id: Get_It, max_body: -1"#,
    ] {
        let text = route(fields).replace("\"*\"]", "shop.example.com]");
        let errors = parse(&text, Format::Yaml, None).unwrap_err();
        let told = told(&errors)
            .lines()
            .filter(|line| !line.starts_with("    |"))
            .map(|l| format!("{l}\n"))
            .collect::<String>();
        out.push_str(&format!("{fields}\n{told}\n"));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn what_is_done_when_targets_fail_is_checked() {
    let mut out = String::new();
    for fields in [
        "retry: { attempts: 0 }",
        "retry: { attempts: 11, on: [conect, 200, 1.5, 503, \"503\"], budget: 0%, backoff: 250ms..25ms }",
        "retry: { on: [], budget: 120%, backoff: 25ms, backof: 1 }",
        "retry: { budget: 0.00000001, backoff: 0ms..1s }",
        "health: { active: { every: 0s, unhealthy_after: 0, healthy_after: 0 } }",
        "health: { active: { path: healthz, every: 5ms } }",
        "health: { active: { path: \"/a b\" }, pasive: {} }",
        "health: { passive: { errors: 0, eject_for: 0s, max_ejected: -1, panic: 1.5 } }",
        "breaker: { failure_rate: 0, slow_rate: 2, min_requests: 0, probes: 0, observers: 0, consecutive: 0 }",
        "breaker: { window: 0s, open_for: 0s, max_open_for: 1 }",
        "breaker: { slow_rate: 50%, failures: [404, timout] }",
        "breaker: { slow_after: 1s, open_for: 5s, max_open_for: 1s, window: 2h }",
        "breaker: { fallback: { upstream: b, status: 503 } }",
        "breaker: { fallback: { upstrem: b } }",
        "breaker: { fallback: { upstream: orderz } }",
        "breaker: { fallback: { upstream: orders } }",
        "breaker: { fallback: { text: \"${params.id}\", status: 204 } }",
        "breaker: { fallback: later }",
    ] {
        let text = format!("upstreams: {{ orders: {{ targets: [\"http://127.0.0.1:9101\"], {fields} }} }}\n");
        let told = errors(&text)
            .lines()
            .filter(|line| !line.starts_with("    |"))
            .map(|l| format!("{l}\n"))
            .collect::<String>();
        out.push_str(&format!("{fields}\n{told}\n"));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn a_fallback_never_leads_back() {
    let upstream = |name: &str, to: &str| {
        let breaker = match to {
            "" => String::new(),
            to => format!(", breaker: {{ fallback: {{ upstream: {to} }} }}"),
        };
        format!("  {name}: {{ targets: [\"http://127.0.0.1:9101\"]{breaker} }}\n")
    };
    let document = |upstreams: &[(&str, &str)], route: &str| {
        let upstreams: String = upstreams.iter().map(|(name, to)| upstream(name, to)).collect();
        format!(
            "upstreams:\n{upstreams}gateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - {{ path: /x, upstream: a{route} }}\n"
        )
    };
    let chain = [("a", "b"), ("b", "c"), ("c", "")];
    assert!(parse(&document(&chain, ""), Format::Yaml, None).is_ok());
    insta::assert_snapshot!(
        [
            errors(&document(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")], "")),
            errors(&document(&chain, ", breaker: { fallback: { upstream: a } }")),
            errors(&document(&chain, ", breaker: { fallback: { upstream: e } }")),
        ]
        .join("\n")
    );
}

#[test]
fn tries_that_do_not_fit_into_their_time_are_warned_of() {
    let warned = |fields: &str| {
        let text = format!("upstreams: {{ a: {{ targets: [\"http://127.0.0.1:9101\"], {fields} }} }}\n");
        told(&parse(&text, Format::Yaml, None).unwrap().warnings)
    };
    assert_eq!(warned("retry: { attempts: 3 }, timeout: { try: 10s }"), "");
    insta::assert_snapshot!(
        [
            warned("retry: { attempts: 4 }, timeout: { try: 10s }"),
            warned("retry: { attempts: 2, on: [timeout] }"),
        ]
        .join("\n")
    );
}

#[test]
fn targets_of_redirects_and_rewritten_paths_may_begin_with_values_that_cannot_lead_elsewhere() {
    for fields in [
        r#"redirect: { to: "${request.scheme}://www.example.com${request.path}?${request.query}" }"#,
        r#"redirect: { to: "https://${request.host}:8443/x#part" }"#,
        r#"path: "/x/{id}", redirect: { to: "https://${params.id}.example.com/${request.query['next']}" }"#,
        r#"redirect: { to: "${request.path}/" }"#,
        r#"rewrite: { path: "${request.path}/more?a=b" }"#,
        r#"response: { headers: { set: { X-A: "é" } } }"#,
    ] {
        assert_eq!(
            parse(&route(fields), Format::Yaml, None).unwrap().warnings,
            [],
            "{fields}"
        );
    }
}

#[test]
fn fields_without_effect_are_warned_of() {
    let text = route(r#"path: /a/**, respond: { text: hi }, rewrite: { strip_prefix: /b }, timeout: { total: 1s }"#);
    insta::assert_snapshot!(told(&parse(&text, Format::Yaml, None).unwrap().warnings));
}

#[test]
fn a_folder_of_files_is_one_document() {
    let (a, b) = (
        "upstreams:\n  a: { targets: [\"http://127.0.0.1:1\"] }\n",
        "[gateways.web]\nhosts = ['*']\n",
    );
    let more = "{\"gateways\": {\"api\": {\"hosts\": [\"api.example\"], \"routes\": [{\"path\": \"/\", \"upstream\": \"a\"}]}}}";
    let files = [
        ("a.yaml", a, Format::Yaml),
        ("b.toml", b, Format::Toml),
        ("c.json", more, Format::Json),
    ];
    let document = parse_files(&files).unwrap().document;
    assert_eq!(document.gateways.keys().collect::<Vec<_>>(), ["api", "web"]);

    let again = "upstreams:\n  b: { targets: [\"http://127.0.0.1:1\"] }\n\n  a: { targets: [] }\n";
    let files = [
        ("a.yaml", a, Format::Yaml),
        ("again.yaml", again, Format::Yaml),
        ("bad.json", "{", Format::Json),
    ];
    insta::assert_snapshot!(told(&parse_files(&files).unwrap_err()));
    assert!(parse_files::<&str, &str>(&[]).is_err());
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let deep = |open: &str, close: &str, n| format!("{}{}", open.repeat(n), close.repeat(n));
    for (text, format) in [
        (deep("[", "]", 100_000), Format::Json),
        (deep("{\"a\":", "}", 100), Format::Json),
        (deep("[", "]", 100), Format::Yaml),
        (format!("a = {}", deep("[", "]", 70)), Format::Toml),
    ] {
        let errors = parse(&text, format, None).unwrap_err();
        assert_eq!(errors[0].code, "too_deep", "{format} {errors:?}");
    }
    let bomb = (0..12).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
        let alias = format!("*a{i}, ").repeat(9);
        text + &format!("a{}: &a{} [{}]\n", i + 1, i + 1, alias.trim_end_matches(", "))
    });
    assert_eq!(parse(&bomb, Format::Yaml, None).unwrap_err()[0].code, "too_large");
    let copies = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(900), "*a,".repeat(200));
    assert_eq!(parse(&copies, Format::Yaml, None).unwrap_err()[0].code, "too_large");
    let large = " ".repeat(sluice_document::MAX_BYTES + 1);
    assert_eq!(parse(&large, Format::Json, None).unwrap_err()[0].code, "too_large");
}

#[test]
fn aliases_and_merge_keys_are_followed() {
    let text = "upstreams:\n  a: &base { targets: [\"http://127.0.0.1:1\"], timeout: { try: 1s } }\n  \
                b: { <<: *base, timeout: { try: 2s } }\n";
    let document = parse(text, Format::Yaml, None).unwrap().document;
    assert_eq!(document.upstreams["b"].targets, document.upstreams["a"].targets);
    assert_eq!(
        document.upstreams["b"].timeout.unwrap().attempt.unwrap().to_string(),
        "2s"
    );
}

#[test]
fn a_terminal_shows_the_line_and_the_place_in_it() {
    let text = "upstreams:\n  orders:\n    tagrets: [\"http://127.0.0.1:9101\"]\n    timeout: { connect: 5 }\n";
    let errors = parse(text, Format::Yaml, Some("shop.yaml")).unwrap_err();
    insta::assert_snapshot!(sluice_document::render(&errors, &[("shop.yaml", text)], false));
    let nothing: &[(&str, &str)] = &[];
    assert!(sluice_document::render(&errors, nothing, false).contains("tagrets: [\"http://127.0.0.1:9101\"]"));
    assert!(sluice_document::render(&errors, &[("shop.yaml", text)], true).contains('\u{1b}'));
    assert_eq!(sluice_document::render(&[], nothing, true), "");
}

#[test]
fn a_route_behind_an_equal_that_asks_for_less_is_warned_of() {
    let text = routes(
        "- { path: /**, upstream: a }
         - { path: \"regex:^/v[0-9]+/\", upstream: a }
         - { path: /x, upstream: a, id: named, hosts: [\"shop.example.com\", \"*.example.net\"] }
         - { path: /x, upstream: a, id: unnamed, methods: [GET] }
         - { path: /y, upstream: a, id: a, match: { headers: { x-a: { present: true } } } }
         - { path: /y, upstream: a, id: b, match: { headers: { x-a: b } } }
         - { path: /z, upstream: a, id: c, match: { client: [10.0.0.0/8] } }
         - { path: /z, upstream: a, id: d, match: { client: [10.1.0.0/16, 10.2.0.1] } }
         - { path: /z, upstream: a, id: b-first, match: { client: [10.3.0.0/16] } }",
    );
    insta::assert_snapshot!(told(&parse(&text, Format::Yaml, None).unwrap().warnings));
}

#[test]
fn a_split_that_cannot_be_is_told_with_its_place() {
    let wrong = [
        "split: {}",
        "split: { to: [] }",
        "split: { to: [{ upstream: a, weight: 0 }] }",
        "split: { to: [{ upstream: a, when: \"true\" }] }",
        "split: { to: [{ upstream: a }, { upstream: a, weight: 2 }] }",
        "split: { to: [{ upstream: a, weight: 65536 }, { weight: 1 }, { upstream: 5 }, a] }",
        "split: { to: [{ upstream: a }, { upstream: aa, weight: 2 }] }",
        "split: { to: [{ upstream: a, weigth: 2 }], stiky: { cookie: x } }",
        "split: { to: [{ upstream: a }], sticky: { cookie: \"a b\" } }",
        "split: { to: [{ upstream: a }], sticky: {} }",
        "split: { to: [{ upstream: a, when: \"\" }] }",
        "split: { to: [{ upstream: a, weight: 1, when: \"request.heders['x'] == '1' && request.path.startWith('/')\" }] }",
        "split: { to: [{ upstream: a, weight: 1, when: \"request.path =\" }] }",
        "split: { to: [{ upstream: a, weight: 1, when: \"request.path\" }] }",
        "split: { to: [{ upstream: a }] }, respond: { text: x }",
    ];
    let all: String = wrong
        .iter()
        .map(|fields| format!("{fields}\n{}", errors(&route(fields))))
        .collect();
    insta::assert_snapshot!(all);
}

#[test]
fn limits_that_cannot_be_are_told_with_their_place() {
    let limits = [
        "{ limit: 0, per: 1m }",
        "{ name: a, limit: 10, per: 5ms }",
        "{ name: b, limit: 10, per: 40d }",
        "{ name: c, limit: 10, per: minuet }",
        "{ name: d, limit: 10, per: minute, burst: 5 }",
        "{ name: e, limit: 10, per: day, algorithm: token_bucket }",
        "{ name: f, limit: 10, per: 1m, burst: 0 }",
        "{ name: g, limit: 10, per: 1m, cost: 11 }",
        "{ name: h, limit: 10, per: 1m, burst: 3, cost: 4 }",
        "{ name: i, limit: 10, per: 1m, zone: UTC }",
        "{ name: j, limit: 10, per: day, zone: Europe/Berlim }",
        "{ name: k, limit: 2000000000, per: 1m }",
        "{ name: l, limit: 10, per: 1m, algorithm: sliding_window, burst: 4 }",
        "{ name: m, limit: 10, per: 1m, delay: 1h, mode: fats, on_failure: opened }",
        "{ name: n, limit: 10, per: 1m, groups: { gold: 100 } }",
        "{ name: a b, limit: 10, per: 1m }",
    ];
    let list = limits.map(|limit| format!("          - {limit}\n")).concat();
    let text = format!(
        "upstreams: {{ a: {{ targets: [\"http://127.0.0.1:9101\"] }} }}\n\
         gateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - path: /x\n        upstream: a\n        rate_limits:\n{list}        \
         concurrency: [{{ name: z, limit: 0 }}, {{ name: y }}, 5]\n"
    );
    insta::assert_snapshot!(errors(&text));
}

#[test]
fn limits_with_one_name_and_keys_that_are_none_are_told_with_their_place() {
    let text = "upstreams: { a: { targets: [\"http://127.0.0.1:9101\"] } }
gateways:
  web:
    hosts: [\"*\"]
    rate_limits:
      - { name: clients, limit: 10, per: 1m, key: params.id }
      - { name: all, limit: 10, per: 1m, key: client.id }
    concurrency: [{ name: clients, limit: 5, key: \"request.method == 'GET'\" }]
    routes:
      - path: /x/{id}
        upstream: a
        rate_limits: [{ name: ids, limit: 5, per: 1s, key: params.di + ':' + claims.sub }, { name: all, limit: 1, per: 1s }]
        concurrency: [{ name: ids, limit: 1, key: params.id }]
";
    insta::assert_snapshot!(errors(text));
}
