//! confirm, promote, rollback without a version, limits of changes, events, fmt.

use super::double::{Double, Reply, at, problem};
use super::{ORDERS, file, run};
use crate::exit::Exit;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::json;

/// A cluster at version 3, which is on trial.
fn trying() -> Double {
    Double::start(|asked, before| {
        let trial = json!({"version": 3, "before": 2, "on": ["n3"], "confirm_by": "2026-11-29T20:00:00.000Z", "author": "ada", "at": "2026-11-29T19:00:00.000Z"});
        match (asked.method.as_str(), asked.target.split('?').next().unwrap()) {
            ("GET", "/v1/cluster") => at(
                3,
                &json!({"name": "shop", "version": 3, "trial": trial, "nodes": [
                    {"name": "n1", "role": "voter", "reachable": true, "live": 2, "committed": 3, "wanted": 2},
                    {"name": "n3", "role": "voter", "reachable": true, "live": 3, "committed": 3, "wanted": 3},
                ]}),
            ),
            ("GET", "/readyz") => at(3, &json!({"ready": true, "name": "n1", "version": 2})),
            ("GET", "/v1/config") => at(
                3,
                &json!({"upstreams": {"orders": {"targets": ["http://127.0.0.1:9101"]}}}),
            ),
            ("POST", "/v1/config/confirm") if before == 1 => None,
            ("PUT", _) => problem(
                409,
                "pending_change",
                &json!({"detail": "version 3 of ada is on trial"}),
            ),
            ("POST", _) => at(3, &json!({"version": 3, "live": ["n3"], "trial": trial})),
            _ => problem(404, "not_found", &json!({})),
        }
    })
}

#[test]
fn a_confirmation_names_the_version_that_is_on_trial_and_is_repeated_where_the_answer_is_lost() {
    let double = trying();
    let done = run(&double, &["confirm", "-m", "looks well"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(
        done.err.contains("version 3 is confirmed") && done.err.contains("on n3 alone until `sluice promote 3`"),
        "{}",
        done.err
    );
    assert_eq!(
        double.lines(),
        [
            "GET /v1/cluster?read=linearizable",
            "POST /v1/config/confirm?version=3",
            "POST /v1/config/confirm?version=3"
        ]
    );
    assert_eq!(double.asked()[1].headers["sluice-message"], "looks%20well");
}

#[test]
fn a_confirmation_that_comes_too_late_is_refused() {
    let double = Double::start(|asked, _| match asked.method.as_str() {
        "GET" => at(4, &json!({"name": "shop", "version": 4, "trial": null})),
        _ => problem(410, "trial_over", &json!({"detail": "version 3 was undone at 20:00"})),
    });
    let done = run(&double, &["confirm"]);
    assert_eq!(done.exit, Exit::Refused);
    assert!(done.err.contains("version 3 was undone at 20:00"), "{}", done.err);
    assert_eq!(double.lines()[1], "POST /v1/config/confirm");
}

#[test]
fn a_promotion_waits_until_it_is_live_everywhere_and_a_rollback_without_a_version_ends_the_trial() {
    let double = trying();
    assert_eq!(run(&double, &["promote", "3", "--timeout", "7s"]).exit, Exit::Done);
    assert_eq!(double.lines(), ["POST /v1/config/promote/3?wait=all&timeout=7s"]);
    let double = trying();
    assert_eq!(run(&double, &["rollback"]).exit, Exit::Done);
    assert!(
        double
            .lines()
            .contains(&"POST /v1/config/rollback/2?wait=majority&timeout=30s".to_owned()),
        "{:?}",
        double.lines()
    );
    let none = Double::start(|_, _| at(3, &json!({"name": "shop", "version": 3})));
    let done = run(&none, &["rollback"]);
    assert_eq!(done.exit, Exit::Usage);
    assert!(done.err.contains("no version is on trial"), "{}", done.err);
}

#[test]
fn limits_and_scope_go_with_the_change_and_a_pending_one_is_a_conflict() {
    let double = trying();
    let (_folder, path) = file("shop.yaml", ORDERS);
    let words = [
        "apply",
        "-f",
        path.to_str().unwrap(),
        "--on",
        "n1,n2",
        "--confirm-within",
        "10m",
        "--scope",
        "gateways/web",
    ];
    let done = run(&double, &words);
    assert_eq!(done.exit, Exit::Conflict, "{}", done.err);
    let put = double.lines().pop().unwrap();
    assert_eq!(
        put,
        "PUT /v1/config?wait=all&timeout=30s&scope=gateways/web&on=n1,n2&confirm_within=10m"
    );
    assert!(
        !done.err.contains("upstreams/orders"),
        "what lies outside of the scope is not compared: {}",
        done.err
    );
}

#[test]
fn status_tells_a_trial_and_that_the_others_are_not_behind() {
    let done = run(&trying(), &["status"]);
    assert!(done.out.contains("version 3 of ada is on trial since"), "{}", done.out);
    assert!(
        done.out.contains("live, on trial") && !done.out.contains("behind"),
        "{}",
        done.out
    );
}

#[test]
fn events_are_followed_with_the_last_id_until_the_node_is_gone_for_good() {
    let stream = |text: &'static str| -> Reply {
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        response
            .headers_mut()
            .insert("content-type", "text/event-stream".parse().unwrap());
        Some(response)
    };
    let double = Double::start(move |_, before| match before {
        0 => stream("id: a-1\nevent: leader\ndata: {\"leader\":\"n1\",\"term\":2}\n\n"),
        1 => stream("id: a-2\nevent: live\ndata: {\"node\":\"n1\",\"version\":3}\n\n"),
        _ => problem(401, "unauthenticated", &json!({})),
    });
    let done = run(&double, &["events"]);
    assert_eq!(done.exit, Exit::Refused);
    assert_eq!(done.out, "leader   n1 leads (term 2)\nlive     n1 serves by 3\n");
    let last: Vec<_> = double
        .asked()
        .iter()
        .map(|asked| asked.headers.get("last-event-id").cloned())
        .collect();
    assert_eq!(last, [None, Some("a-1".parse().unwrap()), Some("a-2".parse().unwrap())]);
}

#[test]
fn what_was_applied_last_is_exported_as_it_was() {
    let double = Double::start(|_, _| Some(Response::new(Full::new(Bytes::from_static(b"# mine\na: 1\n")))));
    assert_eq!(run(&double, &["export", "--original"]).out, "# mine\na: 1\n");
    assert_eq!(double.lines(), ["GET /v1/config/original"]);
}

#[test]
fn the_history_of_the_last_hour_tells_what_became_of_trials() {
    let double = Double::start(|_, _| {
        at(
            4,
            &json!({"versions": [
                {"version": 4, "at": "t", "author": "the leader", "from": "n1", "message": "undone: nobody confirmed version 3", "changed": ["upstreams/a"]},
                {"version": 3, "at": "t", "author": "ada", "from": "10.0.0.9 through n2", "changed": ["upstreams/a"],
                 "trial": {"on": ["n3"], "outcome": "undone", "steps": [{"what": "undone", "version": 4}]}},
            ]}),
        )
    });
    let done = run(&double, &["history", "--since", "1h"]);
    assert_eq!(double.lines(), ["GET /v1/config/history?limit=1000&since=1h"]);
    assert!(
        done.out.contains("on n3, undone by version 4") && done.out.contains("10.0.0.9 through n2"),
        "{}",
        done.out
    );
}

#[test]
fn the_lead_is_handed_over() {
    let double = Double::start(|_, _| at(1, &json!({"name": "shop", "leader": "n2", "nodes": []})));
    assert_eq!(run(&double, &["members", "transfer", "n2"]).exit, Exit::Done);
    assert_eq!(double.asked()[0].target, "/v1/cluster/transfer");
    assert_eq!(double.asked()[0].body, r#"{"to":"n2"}"#);
}

#[test]
fn fmt_prints_checks_and_rewrites_and_loses_nothing_unasked() {
    let double = Double::start(|_, _| None);
    let (_folder, path) = file(
        "shop.yaml",
        "# mine\nupstreams: { a: { targets: ['http://a:1'] } } # here\n",
    );
    let path = path.to_str().unwrap();
    let laid_out = "# mine\nupstreams: # here\n  a:\n    targets: [\"http://a:1\"]\n";
    assert_eq!(run(&double, &["fmt", path]).out, laid_out);
    let unlike = run(&double, &["fmt", "--check", path]);
    assert!(
        unlike.exit == Exit::Refused && unlike.err.contains("shop.yaml"),
        "{}",
        unlike.err
    );
    assert_eq!(run(&double, &["fmt", "-w", path]).exit, Exit::Done);
    assert_eq!(std::fs::read_to_string(path).unwrap(), laid_out);
    assert_eq!(run(&double, &["fmt", "--check", path]).exit, Exit::Done);

    let (_folder, path) = file("shop.toml", "a = 1 # mine\n");
    let path = path.to_str().unwrap();
    let refused = run(&double, &["fmt", "-w", path]);
    assert!(
        refused.exit == Exit::Refused && refused.err.contains("comments would be lost"),
        "{}",
        refused.err
    );
    assert_eq!(std::fs::read_to_string(path).unwrap(), "a = 1 # mine\n");
    assert_eq!(run(&double, &["fmt", "-w", "--drop", path]).exit, Exit::Done);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "a = 1\n");
    assert!(double.lines().is_empty());
}
