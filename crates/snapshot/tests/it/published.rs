//! Real snapshots under real threads: each request is served wholly by one version, and old versions go.

use crate::support::{Parts, changes, compile_onto, parts, request};
use sluice_snapshot::{Published, Snapshot};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Every path of a version goes to routes that are named after it, among a hundred that never change.
fn yaml(version: u64) -> String {
    let mut yaml = String::from(
        "upstreams: { a: { targets: ['http://127.0.0.1:9101'] } }\ngateways:\n  web:\n    hosts: ['*']\n    routes:\n",
    );
    for path in ["/one", "/two/{x}", "regex:^/three[0-9]"] {
        let kind = path
            .trim_start_matches("regex:^")
            .trim_start_matches('/')
            .get(..3)
            .unwrap();
        yaml.push_str(&format!(
            "      - {{ id: {kind}-{version}, path: '{path}', upstream: a }}\n"
        ));
    }
    for i in 0..100 {
        yaml.push_str(&format!("      - {{ id: same{i}, path: /same{i}/**, upstream: a }}\n"));
    }
    yaml
}

fn suffix(answer: &str) -> u64 {
    let id = answer.split(' ').next().unwrap();
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

#[test]
fn a_request_is_served_wholly_by_one_version_while_versions_come_and_go() {
    const WORKERS: usize = 3;
    const VERSIONS: u64 = 100;
    let versions: Vec<Parts> = (0..=VERSIONS).map(|version| parts(&yaml(version))).collect();
    let first = compile_onto(&Snapshot::empty(), changes(&Parts::new(), &versions[0])).unwrap();
    let published = Published::new(WORKERS, first).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (mut front, done) = (published.front(worker), &done);
            scope.spawn(move || {
                let sent = ["GET h/one", "GET h/two/7", "GET h/three3"].map(request);
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let held = Arc::clone(front.get());
                    let seen = sent.each_ref().map(|sent| suffix(&sent.answer(&held)));
                    assert_eq!(seen, [seen[0]; 3]);
                    assert_eq!(seen[0] + 1, held.version());
                    assert!(seen[0] >= last, "{} after {last}", seen[0]);
                    last = seen[0];
                    assert_eq!(request("GET h/same77/x").answer(&held), "same77 rest=x");
                }
                assert_eq!(front.get().version(), VERSIONS + 1);
            });
        }
        for pair in versions.windows(2) {
            let next = compile_onto(&published.current(), changes(&pair[0], &pair[1])).unwrap();
            published.publish(next);
            assert!(published.snapshots_live() <= WORKERS + 1);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(published.live().version, VERSIONS + 1);
}
