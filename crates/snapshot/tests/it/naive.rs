//! The router beside a matcher that is too simple to be wrong: every route at every path is looked at, what matches is
//! sorted by the rule as docs/routing.md states it, and the first wins. Over generated documents and requests.

use crate::support::{Parts, Request, changes, compile_onto};
use http::Method;
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use regex_automata::meta::Regex;
use sluice_document::declared::{
    Action, Compare, Document, FieldMatch, Gateway, Match, MessageChanges, Route, Target, Upstream,
};
use sluice_document::{Severity, check, join, split};
use sluice_snapshot::Snapshot;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// What can be compared: smaller first.
type Rank = (
    Reverse<i32>,
    Vec<u8>,
    (u8, Reverse<usize>),
    Reverse<usize>,
    bool,
    String,
    String,
);

const EXPRESSIONS: [&str; 6] = ["^/a/", "b$", "^/a/b/[a-c]+$", "^/(?:a|b)/?", "/c/", "^/b/c"];

// === the naive matcher ===

fn answer(gateway: &Gateway, request: &Request) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut candidates: Vec<(Rank, &Route, String)> = Vec::new();
    for route in &gateway.routes {
        let own: Vec<Option<&str>> = match route.hosts.is_empty() {
            true => vec![None],
            false => route.hosts.iter().map(|host| Some(host.as_str())).collect(),
        };
        for (pattern, host) in route
            .paths
            .iter()
            .flat_map(|path| own.iter().map(move |host| (path, *host)))
        {
            let Some((kinds, params)) = take(pattern, path) else {
                continue;
            };
            if host.is_none_or(|host| host_holds(host, &request.host)) && holds(&route.matches, request, query) {
                let matches = &route.matches;
                let conditions = matches.headers.len() + matches.query.len() + usize::from(!matches.client.is_empty());
                let host = host.unwrap_or("*");
                let host_rank = match (host, host.strip_prefix("*.")) {
                    ("*", _) => (2, Reverse(0)),
                    (_, Some(name)) => (1, Reverse(name.len())),
                    _ => (0, Reverse(0)),
                };
                let rank = (
                    Reverse(route.priority.unwrap_or(0)),
                    kinds,
                    host_rank,
                    Reverse(conditions),
                    route.methods.is_empty(),
                    route.id.clone(),
                    host.to_owned(),
                );
                candidates.push((rank, route, params));
            }
        }
    }
    candidates.sort_by(|a, b| a.0.cmp(&b.0));
    let names = |route: &Route, method: &str| route.methods.iter().any(|named| named == method);
    let head_declared = candidates.iter().any(|(_, route, _)| names(route, "HEAD"));
    let method = request.method.as_str();
    let taken = candidates.iter().find(|(_, route, _)| {
        route.methods.is_empty() || names(route, method) || (method == "HEAD" && names(route, "GET") && !head_declared)
    });
    if let Some((_, route, params)) = taken {
        return format!("{}{params}", route.id);
    }
    let mut allow: BTreeSet<&str> = BTreeSet::new();
    for (_, route, _) in &candidates {
        allow.extend(route.methods.iter().map(String::as_str));
        if names(route, "GET") {
            allow.insert("HEAD");
        }
    }
    let order = ["GET", "HEAD", "POST", "DELETE", "PURGE"];
    let allow: Vec<&str> = order.into_iter().filter(|method| allow.contains(method)).collect();
    match allow.is_empty() {
        true => "404".to_owned(),
        false => format!("405 {}", allow.join(", ")),
    }
}

/// How a pattern takes a path: the kind of each segment, and the parameters.
fn take(pattern: &str, path: &str) -> Option<(Vec<u8>, String)> {
    if let Some(expression) = pattern.strip_prefix("regex:") {
        return expression_matches(expression, path).then(|| (vec![9], String::new()));
    }
    let pattern: Vec<&str> = pattern[1..].split('/').collect();
    let path: Vec<&str> = path[1..].split('/').collect();
    let (mut kinds, mut params) = (Vec::new(), String::new());
    for (i, segment) in pattern.iter().enumerate() {
        if *segment == "**" {
            let rest = path.get(i..).unwrap_or_default().join("/");
            kinds.push(3);
            return Some((kinds, format!("{params} rest={rest}")));
        }
        let found = path.get(i)?;
        match segment.strip_prefix('{') {
            Some(name) if !found.is_empty() => {
                kinds.push(2);
                params.push_str(&format!(" {}={found}", name.trim_end_matches('}')));
            }
            None if segment == found => kinds.push(1),
            _ => return None,
        }
    }
    (pattern.len() == path.len()).then_some((kinds, params))
}

fn expression_matches(text: &str, on: &str) -> bool {
    thread_local! {
        static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        let regex = known
            .entry(text.to_owned())
            .or_insert_with(|| Regex::new(text).unwrap());
        regex.is_match(on)
    })
}

fn host_holds(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
        None => pattern == host,
    }
}

fn holds(matches: &Match, request: &Request, query: &str) -> bool {
    let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let header = |name: &str| {
        let values = request.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
    };
    let parameter = |name: &str| {
        pairs
            .iter()
            .filter(|pair| pair.0 == name)
            .map(|pair| pair.1)
            .collect::<Vec<_>>()
    };
    (matches.client.is_empty() || matches.client.iter().any(|net| net.contains(&request.client)))
        && matches.headers.iter().all(|(name, test)| is_right(test, &header(name)))
        && matches
            .query
            .iter()
            .all(|(name, test)| is_right(test, &parameter(name)))
}

fn is_right(test: &FieldMatch, values: &[&str]) -> bool {
    test.not
        != match &test.compare {
            Compare::Exact(text) => values.contains(&text.as_str()),
            Compare::Prefix(text) => values.iter().any(|value| value.starts_with(text)),
            Compare::Regex(text) => values.iter().any(|value| expression_matches(text, value)),
            Compare::Present(there) => values.is_empty() != *there,
        }
}

// === what is generated ===

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => select(vec!["a", "b", "c"]).prop_map(str::to_owned), 2 => Just("{}".to_owned())];
    let tree = (vec(segment, 0..5), select(vec!["", "/", "/**"])).prop_map(|(segments, end)| {
        let mut path = String::new();
        for (i, segment) in segments.iter().enumerate() {
            path.push('/');
            path.push_str(&segment.replace("{}", &format!("{{p{i}}}")));
        }
        path.push_str(end);
        if path.is_empty() { "/".to_owned() } else { path }
    });
    let regex = select(EXPRESSIONS.to_vec()).prop_map(|text| format!("regex:{text}"));
    prop_oneof![6 => tree, 1 => regex]
}

fn test() -> impl Strategy<Value = FieldMatch> {
    let compare = prop_oneof![
        select(vec!["1", "2"]).prop_map(|text| Compare::Exact(text.into())),
        Just(Compare::Prefix("1".into())),
        Just(Compare::Regex("^[0-1]+$".into())),
        any::<bool>().prop_map(Compare::Present),
    ];
    (compare, prop::bool::weighted(0.2)).prop_map(|(compare, not)| FieldMatch { compare, not })
}

fn matches() -> impl Strategy<Value = Match> {
    let fields = || prop::collection::btree_map(select(vec!["x".to_owned(), "y".to_owned()]), test(), 0..2);
    let client = subsequence(vec!["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"], 0..2);
    let some = (fields(), fields(), client).prop_map(|(headers, query, client)| Match {
        headers,
        query,
        client: client.into_iter().map(|net| net.parse::<IpNet>().unwrap()).collect(),
    });
    prop_oneof![3 => Just(Match::default()), 2 => some]
}

fn route() -> impl Strategy<Value = Route> {
    let methods = subsequence(vec!["GET", "HEAD", "POST", "PURGE"], 0..3);
    let hosts = subsequence(vec!["a.shop", "b.shop", "*.shop", "*.b.shop"], 0..3);
    let priority = option::weighted(0.15, -1..3);
    (
        prop::collection::btree_set(pattern(), 1..3),
        prop_oneof![2 => Just(Vec::new()), 3 => methods],
        prop_oneof![4 => Just(Vec::new()), 1 => hosts],
        matches(),
        priority,
    )
        .prop_map(|(paths, methods, hosts, matches, priority)| Route {
            id: String::new(),
            paths: paths.into_iter().collect(),
            methods: methods.into_iter().map(str::to_owned).collect(),
            hosts: hosts.into_iter().map(str::to_owned).collect(),
            matches,
            priority,
            action: Action::Upstream("u".into()),
            rewrite: None,
            request: MessageChanges::default(),
            response: MessageChanges::default(),
            timeout: None,
            retry: None,
            breaker: None,
            max_body: None,
            encoded_slash: None,
            upgrade: None,
            rate_limits: vec![],
            concurrency: vec![],
        })
}

/// Without routes that take the very same requests: those are refused, and another test's.
fn gateway() -> impl Strategy<Value = Gateway> {
    vec(route(), 0..24).prop_map(|routes| {
        let mut gateway = Gateway {
            hosts: vec!["*".into()],
            ..Gateway::default()
        };
        for (i, mut route) in routes.into_iter().enumerate() {
            route.id = format!("r{:02}", (i * 7) % 24);
            let shapes = |route: &Route| {
                let shape = |path: &String| path.replace(['0', '1', '2', '3', '4'], "");
                route
                    .paths
                    .iter()
                    .map(|path| {
                        if path.starts_with('/') {
                            shape(path)
                        } else {
                            path.clone()
                        }
                    })
                    .collect::<BTreeSet<_>>()
            };
            let like = |known: &Route| !shapes(known).is_disjoint(&shapes(&route));
            if shapes(&route).len() == route.paths.len()
                && !gateway.routes.iter().any(|known| like(known) && meet(known, &route))
            {
                gateway.routes.push(route);
            }
        }
        gateway
    })
}

/// Whether routes with one path in common take some requests alike.
fn meet(a: &Route, b: &Route) -> bool {
    let share = |a: &[String], b: &[String]| (a.is_empty() && b.is_empty()) || a.iter().any(|name| b.contains(name));
    a.priority.unwrap_or(0) == b.priority.unwrap_or(0)
        && share(&a.methods, &b.methods)
        && share(&a.hosts, &b.hosts)
        && a.matches == b.matches
}

fn request() -> impl Strategy<Value = Request> {
    let path = (vec(select(vec!["a", "b", "c", "d"]), 0..6), any::<bool>()).prop_map(|(segments, slash)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if slash || path.is_empty() { path + "/" } else { path }
    });
    let values = || vec((select(vec!["x", "y"]), select(vec!["1", "12", "2", ""])), 0..3);
    let client = select(vec!["10.1.0.1", "10.2.0.1", "2001:db8::1", "192.0.2.1"]);
    let method = select(vec!["GET", "HEAD", "POST", "DELETE", "PURGE"]);
    let host = select(vec!["a.shop", "b.shop", "c.b.shop", "shop", "other"]);
    (path, values(), values(), client, method, host).prop_map(|(path, headers, query, client, method, host)| {
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = if query.is_empty() {
            path
        } else {
            format!("{path}?{}", query.join("&"))
        };
        let bare = Request {
            host: host.to_owned(),
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            target,
            headers: http::HeaderMap::new(),
            client: client.parse().unwrap(),
        };
        headers
            .into_iter()
            .fold(bare, |request, (name, value)| request.with(name, value))
    })
}

fn parts(gateway: &Gateway) -> Parts {
    let mut document = Document::default();
    let upstream = Upstream {
        targets: vec![Target {
            url: "http://127.0.0.1:9101".into(),
            weight: None,
        }],
        ..Upstream::default()
    };
    document.upstreams.insert("u".into(), upstream);
    document.gateways.insert("web".into(), gateway.clone());
    split(&document)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn the_router_answers_as_the_naive_matcher(gateway in gateway(), requests in vec(request(), 1..24)) {
        let snapshot = compile_onto(&Snapshot::empty(), changes(&Parts::new(), &parts(&gateway))).unwrap();
        for request in requests {
            prop_assert_eq!(request.answer(&snapshot), answer(&gateway, &request), "{:?}", request);
        }
    }

    #[test]
    fn by_whatever_changes_a_version_was_reached_it_answers_as_if_compiled_at_once(
        gateways in vec(gateway(), 2..5),
        requests in vec(request(), 1..16),
    ) {
        let (mut snapshot, mut known) = (Snapshot::empty(), Parts::new());
        let mut before: Vec<(Snapshot, &Gateway)> = Vec::new();
        for gateway in &gateways {
            let now = parts(gateway);
            let next = compile_onto(&snapshot, changes(&known, &now)).unwrap();
            before.push((std::mem::replace(&mut snapshot, next), gateway));
            known = now;
        }
        // The last one, and every one before it, untouched by what came after.
        for request in &requests {
            prop_assert_eq!(request.answer(&snapshot), answer(gateways.last().unwrap(), request), "{:?}", request);
            for (older, pair) in before.iter().skip(1).zip(&gateways) {
                prop_assert_eq!(request.answer(&older.0), answer(pair, request), "{:?}", request);
            }
        }
    }

    #[test]
    fn what_the_documents_checks_accept_is_compiled_and_nothing_else(routes in vec(route(), 0..12)) {
        let mut gateway = Gateway {
            hosts: vec!["*".into()],
            ..Gateway::default()
        };
        for (i, mut route) in routes.into_iter().enumerate() {
            route.id = format!("r{i}");
            gateway.routes.push(route);
        }
        let parts = parts(&gateway);
        let document = join(parts.iter().map(|(key, text)| (key, text.as_str()))).unwrap();
        let errors: Vec<_> = check(&document).into_iter().filter(|found| found.severity == Severity::Error).collect();
        let compiled = compile_onto(&Snapshot::empty(), changes(&Parts::new(), &parts));
        prop_assert_eq!(errors.is_empty(), compiled.is_ok(), "{:#?} {:#?}", errors, compiled);
    }

    #[test]
    fn routes_that_take_the_same_requests_are_refused(gateway in gateway(), which in any::<prop::sample::Index>()) {
        prop_assume!(!gateway.routes.is_empty());
        let mut gateway = gateway;
        let mut twin = which.get(&gateway.routes).clone();
        let of = twin.id.clone();
        twin.id = "twin".into();
        gateway.routes.push(twin);
        let error = compile_onto(&Snapshot::empty(), changes(&Parts::new(), &parts(&gateway))).unwrap_err();
        let told = error.to_string();
        prop_assert!(told.contains(&of) && told.contains("twin"), "{told}");
    }
}
