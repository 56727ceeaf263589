//! What a compilation and its snapshot may take: time, memory, stack.

use super::{SHOP, changed_route, faults};
use crate::support::{Parts, changes, compile, compile_onto, context, document, expect, parts, request};
use sluice_document::declared::{self, Document};
use sluice_document::split;
use sluice_snapshot::{CompileBudget, CompileError, OverBudget, Snapshot, compile_changes};
use std::time::Duration;

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
