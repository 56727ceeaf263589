//! What a look-up and a change cost with ten and with ten thousand routes: the figures of docs/routing.md.
//!
//! `cargo run --release -p sluice-snapshot --example routes`

#![allow(clippy::unwrap_used)]

use http::{HeaderMap, Method};
use sluice_document::declared::{Action, Document, Gateway, MessageChanges, Route, Target, Upstream};
use sluice_document::{Part, PartKey};
use sluice_http_semantics::path::Path;
use sluice_snapshot::{Answer, Change, CompileBudget, Lookup, NodeContext, Snapshot, compile_changes};
use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "routes", "literal", "param", "rest", "404", "regex"
    )?;
    for count in [10, 1_000, 10_000] {
        let snapshot = compiled(count, |i| family(i, i % 5));
        let regexes = compiled(count, |i| format!("regex:^/v[0-9]+/x{i}(?:/|$)"));
        let at = count / 2 / 5 * 5;
        let paths = [
            format!("/api/items{}/latest", at + 1),
            format!("/api/items{}/77", at),
            format!("/api/items{}/files/a/b.txt", at + 2),
            format!("/api/nothing{at}/77"),
        ];
        write!(out, "{count:>7}")?;
        for path in &paths {
            write!(out, " {:>6} ns", lookup(&snapshot, path))?;
        }
        writeln!(out, " {:>6} ns", lookup(&regexes, &format!("/v3/x{at}")))?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:>7} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "routes", "all", "all regexes", "one route", "one regex", "the upstream"
    )?;
    // The allocator tidies up after the first part here, and not in the first figure.
    drop(compiled(10, |i| family(i, i % 5)));
    for count in [10, 1_000, 10_000] {
        let began = Instant::now();
        let snapshot = compiled(count, |i| family(i, i % 5));
        let all = began.elapsed();
        let began = Instant::now();
        let regexes = compiled(count, |i| format!("regex:^/v[0-9]+/x{i}(?:/|$)"));
        let all_regexes = began.elapsed();
        let one = change(&snapshot, |i| put(1, &format!("/api/items1/changed{i}")));
        let regex = change(&regexes, |i| put(1, &format!("regex:^/v[0-9]+/changed{i}$")));
        let upstream = change(&snapshot, |i| {
            let url = format!("http://127.0.0.1:{}", 9_102 + i);
            Change::Put(PartKey::Upstream("u".into()), Part::Upstream(upstream(&url)))
        });
        writeln!(
            out,
            "{count:>7} {all:>12.1?} {all_regexes:>12.1?} {one:>12.1?} {regex:>12.1?} {upstream:>12.1?}"
        )?;
    }
    Ok(())
}

/// Five routes of one family: a parameter, a literal beside it, a rest, one more below, and a collection.
fn family(i: usize, kind: usize) -> String {
    let base = format!("/api/items{}", i);
    match kind {
        0 => base + "/{id}",
        1 => base + "/latest",
        2 => base + "/files/**",
        3 => base + "/{id}/lines",
        _ => base,
    }
}

fn route(i: usize, path: &str) -> Route {
    Route {
        id: format!("r{i}"),
        paths: vec![path.to_owned()],
        methods: Vec::new(),
        hosts: Vec::new(),
        matches: Default::default(),
        priority: None,
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
    }
}

fn upstream(url: &str) -> Upstream {
    Upstream {
        targets: vec![Target {
            url: url.to_owned(),
            weight: None,
        }],
        ..Upstream::default()
    }
}

fn put(i: usize, path: &str) -> Change {
    let key = PartKey::Route {
        gateway: "web".into(),
        id: format!("r{i}"),
    };
    Change::Put(key, Part::Route(route(i, path)))
}

fn compiled(count: usize, path: impl Fn(usize) -> String) -> Snapshot {
    let mut document = Document::default();
    document.upstreams.insert("u".into(), upstream("http://127.0.0.1:9101"));
    let gateway = Gateway {
        hosts: vec!["*".into()],
        ..Gateway::default()
    };
    let mut changes = vec![
        Change::Put(
            PartKey::Upstream("u".into()),
            Part::Upstream(upstream("http://127.0.0.1:9101")),
        ),
        Change::Put(PartKey::Gateway("web".into()), Part::Gateway(gateway)),
    ];
    changes.extend((0..count).map(|i| put(i, &path(i))));
    compile(&Snapshot::empty(), changes)
}

fn compile(prev: &Snapshot, changes: Vec<Change>) -> Snapshot {
    let context = NodeContext {
        listeners: vec!["public".into()],
    };
    compile_changes(
        changes,
        prev,
        prev.version() + 1,
        [0; 16],
        &context,
        &CompileBudget::default(),
    )
    .unwrap()
}

/// The median of a hundred changes, one after the other; the snapshot before is freed within.
fn change(first: &Snapshot, change: impl Fn(usize) -> Change) -> Duration {
    let mut snapshot = compile(first, Vec::new());
    let mut times: Vec<Duration> = (0..100)
        .map(|i| {
            let change = vec![change(i)];
            let began = Instant::now();
            snapshot = compile(&snapshot, change);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Nanoseconds: the median of a hundred rounds of a thousand, host and gateway included.
fn lookup(snapshot: &Snapshot, path: &str) -> u128 {
    let path = Path::normalize(path).unwrap();
    let headers = HeaderMap::new();
    let lookup = Lookup {
        host: "shop.example.com",
        path: &path,
        method: &Method::GET,
        headers: &headers,
        query: None,
        client: [192, 0, 2, 1].into(),
        trusted: false,
    };
    let mut times: Vec<u128> = (0..100)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..1_000 {
                let gateway = snapshot.gateway("public", black_box("shop.example.com")).unwrap();
                black_box(matches!(gateway.route(black_box(&lookup)), Answer::Route { .. }));
            }
            began.elapsed().as_nanos() / 1_000
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
