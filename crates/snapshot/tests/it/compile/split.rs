//! Routes to several upstreams.

use super::faults;
use crate::support::{changes, compile, compile_onto, document, parts};
use sluice_document::{Part, PartKey, declared};
use sluice_snapshot::{Action, Change, Snapshot};
use std::sync::Arc;
use std::time::Duration;

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
