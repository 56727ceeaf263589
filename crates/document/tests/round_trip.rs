//! What is printed reads as the same document, and what is taken apart is put together again, for documents with every
//! field and with texts that are hard to quote.
#![allow(clippy::unwrap_used)]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sluice_document::declared::*;
use sluice_document::{
    Document, Format, PartKey, check, decode_part, encode_part, join, parse, parse_part, print, split,
};
use std::collections::BTreeMap;

fn maybe<S: Strategy>(of: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::of(of)
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1u64..100_000,
        (1u64..500).prop_map(|s| s * 1_000),
        (1u64..500).prop_map(|h| h * 3_600_000)
    ]
    .prop_map(|ms| Duration(std::time::Duration::from_millis(ms)))
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        0u64..5_000,
        (1u64..500).prop_map(|k| k << 10),
        (1u64..5).prop_map(|g| g << 30),
        Just(1 << 50)
    ]
    .prop_map(Size)
}

/// A text without expressions. Words that mean something to a format are among them.
fn text() -> impl Strategy<Value = String> {
    let hard = vec![
        "",
        " ",
        "null",
        "~",
        "true",
        "no",
        "010",
        "1e3",
        "0x1f",
        "-",
        "- a",
        "a: b",
        "a #b",
        "#",
        "'",
        "\"",
        "\\",
        "|",
        ">",
        "%",
        "@",
        "`",
        "&a",
        "*a",
        "!a",
        "<<",
        "---",
        "...",
        "a\nb",
        "a\n\n b\n",
        "\ta",
        "a\u{0}b",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{fffe}",
        "😀",
        "[a]",
        "{a}",
        "2026-11-29",
        "1_000",
        ".5",
        "0.1.2",
        "=",
        "::",
        ":a",
        "a:",
        "'''",
        "\"\"\"",
        "\r\n",
        "é",
    ];
    let hard = prop::sample::select(hard).prop_map(str::to_owned);
    prop_oneof![hard, any::<String>(), "[ -~]{0,30}"].prop_map(|text| text.replace('$', ""))
}

/// What a header may be.
fn value() -> impl Strategy<Value = String> {
    "[ -#%-~\\t]{0,20}"
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        prop::num::f64::NORMAL.prop_map(Into::into),
        prop::sample::select(vec![0.0, 1.0, -1.5, 1e300, 5e-324, 0.1]).prop_map(Into::into),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            btree_map(text(), inner, 0..4).prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn timeout() -> impl Strategy<Value = Timeout> {
    (
        maybe(duration()),
        maybe(duration()),
        maybe(duration()),
        maybe(duration()),
        maybe(duration()),
        maybe(duration()),
    )
        .prop_map(|(connect, attempt, first_byte, idle, total, tunnel)| Timeout {
            connect,
            attempt,
            first_byte,
            idle,
            total,
            tunnel,
        })
}

fn share(least: u32) -> impl Strategy<Value = Share> {
    (least..=1_000_000).prop_map(Share)
}

fn failures(least: u16) -> impl Strategy<Value = Vec<Failure>> {
    let statuses = prop::collection::btree_set(least..=599, 0..4);
    let words = prop::sample::subsequence(vec![Failure::Connect, Failure::Reset, Failure::Timeout], 0..4);
    (words, statuses)
        .prop_map(|(words, statuses)| [words, statuses.into_iter().map(Failure::Status).collect()].concat())
        .prop_filter("a list has something", |failures| !failures.is_empty())
}

fn retry() -> BoxedStrategy<Retry> {
    let backoff = (duration(), duration()).prop_map(|(a, b)| Backoff {
        first: a.min(b),
        most: a.max(b),
    });
    (maybe(1u32..=10), maybe(failures(400)), maybe(share(1)), maybe(backoff))
        .prop_map(|(attempts, on, budget, backoff)| Retry {
            attempts,
            on,
            budget,
            backoff,
        })
        .boxed()
}

fn within(least: u64, most: u64) -> impl Strategy<Value = Duration> {
    (least..=most).prop_map(|ms| Duration(std::time::Duration::from_millis(ms)))
}

fn health() -> impl Strategy<Value = Health> {
    let count = || maybe(1u32..=1_000_000);
    let path = prop::sample::select(vec!["/healthz", "/", "/live?deep=1"]);
    let active = (path, maybe(within(100, 3_600_000)), count(), count()).prop_map(
        |(path, every, unhealthy_after, healthy_after)| Active {
            path: path.to_owned(),
            every,
            unhealthy_after,
            healthy_after,
        },
    );
    let passive = (count(), maybe(duration()), maybe(share(0)), maybe(share(0))).prop_map(
        |(errors, eject_for, max_ejected, panic)| Passive {
            errors,
            eject_for,
            max_ejected,
            panic,
        },
    );
    (maybe(active), maybe(passive)).prop_map(|(active, passive)| Health { active, passive })
}

/// `fallback` leads to no upstream: which ones there are is not known here.
fn breaker() -> BoxedStrategy<Breaker> {
    let count = || maybe(1u32..=1_000_000);
    let fallback = prop_oneof![
        Just(Fallback::Respond(Respond::default())),
        value().prop_map(|text| Fallback::Respond(Respond {
            status: Some(503),
            payload: Some(Payload::Text(text)),
            headers: [("Retry-After".to_owned(), "5".to_owned())].into(),
        })),
    ];
    let rates = (
        maybe(share(1)),
        maybe((share(1), duration())),
        count(),
        maybe(failures(500)),
    );
    let times = (
        maybe(within(100, 3_600_000)),
        maybe((within(1, 1_000), within(1_000, 5_000))),
    );
    (rates, times, count(), count(), count(), maybe(fallback))
        .prop_map(
            |(
                (failure_rate, slow, consecutive, failures),
                (window, open),
                min_requests,
                probes,
                observers,
                fallback,
            )| {
                Breaker {
                    failure_rate,
                    slow_rate: slow.map(|slow| slow.0),
                    slow_after: slow.map(|slow| slow.1),
                    consecutive,
                    failures,
                    window,
                    min_requests,
                    open_for: open.map(|open| open.0),
                    max_open_for: open.map(|open| open.1),
                    probes,
                    observers,
                    fallback,
                }
            },
        )
        .boxed()
}

fn upstream() -> BoxedStrategy<Upstream> {
    let target = |i: usize| {
        maybe(any::<u16>()).prop_map(move |weight| Target {
            url: format!("http://10.0.0.{i}:80/base"),
            weight,
        })
    };
    let targets = (1usize..4).prop_flat_map(move |n| (0..n).map(target).collect::<Vec<_>>());
    let host = prop_oneof![
        Just(HostPolicy::Preserve),
        Just(HostPolicy::Target),
        Just(HostPolicy::Literal("a.internal:8080".into()))
    ];
    let pool =
        (maybe(duration()), maybe(0u32..100_000), maybe(duration())).prop_map(|(idle, max_idle, max_age)| Pool {
            idle,
            max_idle,
            max_age,
        });
    let balance = prop::sample::select(vec![Balance::LeastRequest, Balance::RoundRobin]);
    (
        targets,
        maybe(host),
        maybe(balance),
        maybe(timeout()),
        maybe(pool),
        maybe(prop_oneof![Just(Protocol::H1), Just(Protocol::H2c)]),
        (maybe(retry()), maybe(health()), maybe(breaker())),
    )
        .prop_map(|(targets, host, balance, timeout, pool, protocol, failing)| Upstream {
            targets,
            host,
            balance,
            timeout,
            pool,
            protocol,
            retry: failing.0,
            health: failing.1,
            breaker: failing.2,
        })
        .boxed()
}

fn condition() -> impl Strategy<Value = FieldMatch> {
    let compare = prop_oneof![
        text().prop_map(Compare::Exact),
        text().prop_map(Compare::Prefix),
        "\\^[a-z]{1,3}\\.\\*[\"'#:]?".prop_map(Compare::Regex),
        any::<bool>().prop_map(Compare::Present),
    ];
    (compare, any::<bool>()).prop_map(|(compare, not)| FieldMatch { compare, not })
}

fn matches() -> BoxedStrategy<Match> {
    let client = prop::sample::subsequence(vec!["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128"], 0..4);
    (
        btree_map("x-[a-z]{1,3}", condition(), 0..3),
        btree_map("[ -~]{1,4}", condition(), 0..3),
        client,
    )
        .prop_map(|(headers, query, client)| Match {
            headers,
            query,
            client: client.into_iter().map(|net| net.parse().unwrap()).collect(),
        })
        .boxed()
}

fn changes<S: Strategy<Value = String>>(value: impl Fn() -> S) -> impl Strategy<Value = HeaderChanges> {
    let names = || "X-[A-Z]{1,3}[a-z]?".prop_map(|name| name);
    let remove = prop::sample::subsequence(vec!["X-One", "x-two", "Cookie"], 0..3);
    (
        btree_map(names(), value(), 0..3),
        btree_map("Y-[a-z]{1,3}", value(), 0..3),
        remove,
    )
        .prop_map(|(set, add, remove)| {
            // Names of headers are the same in any case.
            let mut seen = Vec::new();
            let set: BTreeMap<_, _> = set
                .into_iter()
                .filter(|(name, _)| {
                    let lower = name.to_lowercase();
                    let new = !seen.contains(&lower);
                    seen.push(lower);
                    new
                })
                .collect();
            HeaderChanges {
                set,
                add,
                remove: remove.into_iter().map(str::to_owned).collect(),
            }
        })
}

fn respond() -> BoxedStrategy<Respond> {
    let payload = prop_oneof![
        text().prop_map(Payload::Text),
        text().prop_map(Payload::Html),
        json().prop_map(Payload::Json)
    ];
    let headers = btree_map("x-[a-z]{1,3}", value(), 0..3);
    (maybe(200u16..=203), maybe(payload), headers)
        .prop_map(|(status, payload, headers)| Respond {
            status,
            payload,
            headers,
        })
        .boxed()
}

fn split_action() -> BoxedStrategy<Split> {
    let when = prop::sample::select(vec![
        "request.headers['x-canary'] == '1'",
        "request.path.startsWith(\"/a: b\") &&\n  !('#x' in [request.method])",
        "true",
    ]);
    let when = when.prop_map(str::to_owned);
    // One arm has a weight by itself; the other upstream is there in some documents alone.
    (maybe(1..=u16::MAX), maybe(when), maybe("[A-Za-z0-9_-]{1,8}"))
        .prop_map(|(weight, when, cookie)| Split {
            to: vec![Arm {
                upstream: "a".into(),
                weight: if when.is_some() { weight.or(Some(1)) } else { weight },
                when,
            }],
            sticky: cookie.map(|cookie| Sticky { cookie }),
        })
        .boxed()
}

fn key() -> impl Strategy<Value = Option<String>> {
    let keys = ["client.ip", "'all'", "request.headers['x-tenant'] + ':' + client.ip"];
    maybe(prop::sample::select(keys.map(str::to_owned).to_vec()))
}

/// The `i`th limit of `of`: no other has its name.
fn rate_limit(of: &'static str, i: usize) -> impl Strategy<Value = RateLimit> {
    let window = (10u64..2_678_400_000).prop_map(|ms| Per::Every(Duration(std::time::Duration::from_millis(ms))));
    let zone = maybe(prop::sample::select(vec!["UTC", "+02:00", "-03:30", "Europe/Berlin"]));
    let calendar = (
        prop::sample::select(vec![Per::Minute, Per::Hour, Per::Day, Per::Month]),
        zone,
    );
    let number = 1u32..=1_000_000_000;
    let window_of = (window, number.clone(), maybe(number));
    let algorithms = vec![
        None,
        Some(LimitAlgorithm::SlidingWindow),
        Some(LimitAlgorithm::TokenBucket),
        Some(LimitAlgorithm::FixedWindow),
    ];
    let counted = prop_oneof![
        (calendar, 1u64..=1 << 53, any::<bool>()).prop_map(|((per, zone), limit, said)| RateLimit {
            limit,
            per,
            zone: zone.filter(|_| per != Per::Minute).map(|zone| zone.parse().unwrap()),
            algorithm: said.then_some(LimitAlgorithm::FixedWindow),
            ..RateLimit::default()
        }),
        (window_of, prop::sample::select(algorithms)).prop_map(|((per, limit, burst), algorithm)| RateLimit {
            limit: limit.into(),
            per,
            algorithm,
            burst: burst.filter(|_| matches!(algorithm, None | Some(LimitAlgorithm::TokenBucket))),
            ..RateLimit::default()
        }),
    ];
    let words = (
        maybe(prop::sample::select(vec![LimitMode::Exact, LimitMode::Fast])),
        maybe(prop::sample::select(vec![
            OnFailure::Local,
            OnFailure::Open,
            OnFailure::Closed,
        ])),
        maybe(1u32..1_000),
        maybe((1u64..=30_000).prop_map(|ms| Duration(std::time::Duration::from_millis(ms)))),
        maybe(any::<bool>()),
    );
    (counted, key(), words).prop_map(
        move |(counted, key, (mode, on_failure, cost, delay, dry_run))| RateLimit {
            name: format!("{of}-{i}"),
            key,
            mode,
            on_failure,
            cost: cost.filter(|cost| u64::from(*cost) <= counted.most()),
            delay,
            dry_run,
            ..counted
        },
    )
}

// Boxed: what is made of them is larger than a test's stack otherwise.
fn rate_limits(of: &'static str) -> BoxedStrategy<Vec<RateLimit>> {
    let some = move |n| (0..n).map(|i| rate_limit(of, i)).collect::<Vec<_>>();
    (0usize..3).prop_flat_map(some).boxed()
}

fn concurrency(of: &'static str) -> BoxedStrategy<Vec<Concurrency>> {
    let limits = vec((1u32..=1_000_000_000, key()), 0..3).prop_map(move |limits| {
        let limits = limits.into_iter().enumerate();
        let one = |(i, (limit, key))| Concurrency {
            name: format!("{of}-at-once-{i}"),
            limit,
            key,
        };
        limits.map(one).collect()
    });
    limits.boxed()
}

fn action() -> BoxedStrategy<Action> {
    prop_oneof![
        Just(Action::Upstream("a".into())),
        split_action().prop_map(Action::Split),
        respond().prop_map(Action::Respond),
        (
            Just("/new/${request.path}".to_owned()),
            maybe(prop::sample::select(vec![301, 302, 303, 307, 308]))
        )
            .prop_map(|(to, status)| Action::Redirect(Redirect { to, status })),
    ]
    .boxed()
}

/// The `i`th route of its gateway: no other has its path or id.
fn route(i: usize) -> BoxedStrategy<Route> {
    let paths = prop::sample::subsequence(vec!["/**", "", "/{id}/x", "/a b", "/é"], 1..4)
        .prop_map(move |ends| ends.into_iter().map(|end| format!("/r{i}{end}")).collect::<Vec<_>>());
    let methods = prop::sample::subsequence(vec!["GET", "POST", "PURGE"], 0..3);
    let hosts = prop::sample::subsequence(vec!["b.example.com", "*.c.example.com"], 0..3);
    let rewrite = prop_oneof![
        Just(Rewrite::StripPrefix(format!("/r{i}"))),
        Just(Rewrite::Path("/v2${request.path}?x=1".into()))
    ];
    let max_body = prop_oneof![Just(MaxBody::None), size().prop_map(MaxBody::Limit)];
    let own = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let upgrade = prop::sample::subsequence(vec!["websocket", "SPDY/3.1", "tcp"], 0..4);
    let slash = prop::sample::select(vec![EncodedSlash::Pass, EncodedSlash::Refuse]);
    let front = (paths, methods, hosts, matches(), maybe(any::<i32>()), action());
    let messages = (changes(value), changes(text), changes(value));
    let back = (
        maybe(rewrite),
        messages,
        maybe(timeout()),
        (maybe(retry()), maybe(breaker())),
        maybe(max_body),
        maybe(slash),
        (maybe(upgrade.prop_map(own)), rate_limits("r"), concurrency("r")),
    );
    (front, back)
        .prop_map(move |((paths, methods, hosts, matches, priority, action), back)| {
            let (rewrite, (headers, query, response), timeout, (retry, breaker), max_body, encoded_slash, last) = back;
            let (upgrade, rate_limits, concurrency) = last;
            Route {
                id: format!("r-{i}"),
                paths,
                methods: own(methods),
                hosts: own(hosts),
                matches,
                priority,
                action,
                rewrite,
                request: MessageChanges { headers, query },
                response: MessageChanges {
                    headers: response,
                    query: HeaderChanges::default(),
                },
                timeout,
                retry,
                breaker,
                max_body,
                encoded_slash,
                upgrade,
                rate_limits,
                concurrency,
            }
        })
        .boxed()
}

fn gateway(name: &'static str) -> BoxedStrategy<Gateway> {
    let expose = prop::sample::subsequence(vec![Expose::Version, Expose::Node], 0..3);
    let trusted = prop::sample::subsequence(vec!["10.0.0.0/8", "::1/128"], 0..3);
    let listen = prop::sample::subsequence(vec!["public", "partner"], 0..3);
    let routes = (0usize..4).prop_flat_map(|n| (0..n).map(route).collect::<Vec<_>>());
    let limits = (rate_limits("g"), concurrency("g"));
    (expose, trusted, listen, limits, routes)
        .prop_map(move |(expose, trusted, listen, limits, routes)| Gateway {
            hosts: vec![format!("{name}.example"), "*.example.com".to_owned()][..if name == "web" { 2 } else { 1 }]
                .to_vec(),
            listen: listen.into_iter().map(str::to_owned).collect(),
            expose,
            trusted_proxies: trusted.into_iter().map(|net| net.parse().unwrap()).collect(),
            rate_limits: limits.0,
            concurrency: limits.1,
            routes: routes
                .into_iter()
                .map(|route| {
                    if name == "web" {
                        route
                    } else {
                        Route {
                            hosts: Vec::new(),
                            ..route
                        }
                    }
                })
                .collect(),
        })
        .boxed()
}

fn document() -> BoxedStrategy<Document> {
    let never = prop_oneof![Just(UnreadyAfter::Never), duration().prop_map(UnreadyAfter::After)];
    let stale = (maybe(duration()), maybe(never)).prop_map(|(warn, unready_after)| Stale { warn, unready_after });
    let cluster = maybe(stale).prop_map(|stale| Cluster { stale });
    let logged = prop_oneof![Just(Logged::Off), Just(Logged::Errors), Just(Logged::All)];
    let access_log = maybe(logged).prop_map(|on| AccessLog { on });
    let telemetry = maybe(access_log).prop_map(|access_log| Telemetry { access_log });
    (
        upstream(),
        maybe(upstream()),
        maybe(gateway("web")),
        maybe(gateway("api.v1_x-2")),
        maybe(cluster),
        maybe(telemetry),
    )
        .prop_map(|(a, b, web, api, cluster, telemetry)| Document {
            upstreams: [Some(("a".to_owned(), a)), b.map(|b| ("B.c-d_1".to_owned(), b))]
                .into_iter()
                .flatten()
                .collect(),
            gateways: [
                web.map(|web| ("web".to_owned(), web)),
                api.map(|api| ("api".to_owned(), api)),
            ]
            .into_iter()
            .flatten()
            .collect(),
            cluster,
            telemetry,
        })
        .boxed()
}

static SCHEMA: std::sync::LazyLock<jsonschema::Validator> =
    std::sync::LazyLock::new(|| jsonschema::draft202012::new(&sluice_document::schema()).unwrap());

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_as_the_same_document(document in document()) {
        for format in [Format::Yaml, Format::Json, Format::Toml] {
            let text = print(&document, format).unwrap();
            match parse(&text, format, None) {
                Ok(parsed) => prop_assert_eq!(&parsed.document, &document, "{}", text),
                Err(errors) => prop_assert!(false, "{:#?}\n{}", errors, text),
            }
        }
    }

    #[test]
    fn what_is_printed_is_valid_by_the_schema(document in document()) {
        let value: serde_json::Value = serde_json::from_str(&print(&document, Format::Json).unwrap()).unwrap();
        let told: Vec<_> = SCHEMA.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        prop_assert_eq!(told, Vec::<String>::new(), "{}", value);
    }

    #[test]
    fn what_is_taken_apart_is_put_together_again(document in document()) {
        let parts = split(&document);
        let joined = join(parts.iter().map(|(key, text)| (key, text.as_str())));
        prop_assert_eq!(joined.as_ref(), Ok(&document));
        prop_assert_eq!(&split(&joined.unwrap()), &parts);
        for (key, text) in &parts {
            prop_assert_eq!(&key.to_string().parse::<PartKey>().unwrap(), key);
            let part = decode_part(key, text).unwrap();
            prop_assert_eq!(&encode_part(&part), text);
            for format in [Format::Yaml, Format::Json, Format::Toml] {
                let stored = parts.iter().map(|(key, text)| (key, text.as_str()));
                let printed = sluice_document::print_part(key, stored, format).unwrap();
                let put = parse_part(key, &printed, format);
                prop_assert!(put.is_ok(), "{:#?}\n{}", put, printed);
                let put = put.unwrap();
                prop_assert_eq!(&put[0].1, &part, "{}", printed);
                let below = format!("{key}/routes/");
                let routes = parts.keys().filter(|other| other.to_string().starts_with(&below)).count();
                prop_assert_eq!(put.len(), 1 + routes, "a gateway comes with its routes: {}", printed);
            }
        }
    }

    #[test]
    fn a_document_that_was_read_has_no_errors_as_a_value(document in document()) {
        let text = print(&document, Format::Json).unwrap();
        let warnings = parse(&text, Format::Json, None).unwrap().warnings.len();
        prop_assert_eq!(check(&document).len(), warnings);
    }
}
