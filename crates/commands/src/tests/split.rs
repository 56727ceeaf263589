//! split set.

use super::double::{Asked, Double, Reply, at, problem};
use super::{Done, run};
use crate::exit::Exit;
use serde_json::{Value, json};

fn route() -> Value {
    json!({
        "id": "checkout", "path": "/checkout/**",
        "split": {"to": [{"upstream": "v1", "weight": 95}, {"upstream": "v2", "weight": 5, "when": "request.method == 'GET'"}], "sticky": {"cookie": "arm"}},
    })
}

/// A cluster whose route was changed last by version 7, and that is at version 9.
fn cluster() -> Double {
    Double::start(|asked, _| respond(asked))
}

fn respond(asked: &Asked) -> Reply {
    match (asked.method.as_str(), asked.target.split('?').next().unwrap()) {
        ("GET", "/v1/config/gateways/web/routes/checkout") => at(7, &route()),
        ("GET", "/v1/config/gateways/web/routes/plain") => at(7, &json!({"path": "/", "upstream": "v1"})),
        ("PUT", "/v1/config/gateways/web/routes/checkout") if asked.body.contains("\"weight\":95") => {
            at(9, &json!({"version": 9, "changed": [], "live": ["n1"]}))
        }
        ("PUT", "/v1/config/gateways/web/routes/checkout") => at(
            10,
            &json!({"version": 10, "changed": ["gateways/web/routes/checkout"], "live": ["n1", "n2"]}),
        ),
        _ => problem(404, "not_found", &json!({})),
    }
}

fn set(double: &Double, words: &[&str]) -> Done {
    run(double, &[&["split", "set"], words].concat())
}

#[test]
fn weights_that_are_named_change_and_all_else_of_the_route_stays() {
    let double = cluster();
    let done = set(&double, &["web/checkout", "v1=50", "v2=50", "-m", "half"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(
        done.err.contains("95") && done.err.contains("50"),
        "the difference: {}",
        done.err
    );
    assert!(
        done.err.contains("version 10") && done.err.contains("live on n1, n2"),
        "{}",
        done.err
    );
    let asked = double.asked();
    assert_eq!(
        asked[0].target,
        "/v1/config/gateways/web/routes/checkout?read=linearizable"
    );
    let put = &asked[1];
    assert_eq!(
        put.target,
        "/v1/config/gateways/web/routes/checkout?wait=majority&timeout=30s"
    );
    assert_eq!(
        (&put.headers["if-match"], &put.headers["sluice-message"]),
        (&"\"7\"".parse().unwrap(), &"half".parse().unwrap())
    );
    let sent: Value = serde_json::from_str(&put.body).unwrap();
    assert_eq!(
        sent["split"],
        json!({"to": [{"upstream": "v1", "weight": 50}, {"upstream": "v2", "weight": 50, "when": "request.method == 'GET'"}], "sticky": {"cookie": "arm"}})
    );
    let one = set(&double, &["web/checkout", "v2=0", "--json"]);
    assert_eq!(one.json()["changes"][0]["after"]["split"]["to"][0]["weight"], 95);
}

#[test]
fn weights_that_are_so_already_change_nothing() {
    let done = set(&cluster(), &["web/checkout", "v1=95"]);
    assert_eq!(done.exit, Exit::Done);
    assert!(
        done.err.contains("nothing to change: it is version 9 already"),
        "{}",
        done.err
    );
}

#[test]
fn what_cannot_be_set_is_refused_before_anything_is_sent() {
    let double = cluster();
    for (words, said, code) in [
        (&["web/checkout", "v3=1"][..], "no arm `v3`; it has v1, v2", "no_arm"),
        (&["web/checkout", "v1=0", "v2=0"], "all weights would be 0", "bad_value"),
        (
            &["web/checkout", "v1=1", "v1=2"],
            "v1 is given two weights",
            "bad_value",
        ),
        (&["web/plain", "v1=1"], "the route web/plain has no split", "no_split"),
    ] {
        let done = set(&double, words);
        assert_eq!(done.exit, Exit::Refused, "{words:?}");
        assert!(done.err.contains(said), "{}", done.err);
        assert_eq!(set(&double, &[words, &["--json"]].concat()).json()["code"], code);
    }
    assert_eq!(set(&double, &["web/nothing", "v1=1"]).exit, Exit::Refused);
    assert!(double.asked().iter().all(|asked| asked.method == "GET"));
}

#[test]
fn a_dry_run_shows_what_would_change() {
    let double = cluster();
    let done = set(&double, &["web/checkout", "v1=1", "--dry-run"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(
        done.out.contains("95") && done.err.contains("nothing was changed"),
        "{} {}",
        done.out,
        done.err
    );
    assert!(double.asked()[1].target.ends_with("&dry_run=true"));
}

#[test]
fn somebody_elses_change_of_the_route_is_a_conflict() {
    let double = Double::start(|asked, _| match asked.method.as_str() {
        "GET" => at(7, &route()),
        _ => problem(412, "version_conflict", &json!({})),
    });
    assert_eq!(set(&double, &["web/checkout", "v1=1"]).exit, Exit::Conflict);
}

#[test]
fn an_answer_that_was_lost_is_looked_for() {
    let double = Double::start(|asked, before| match (asked.method.as_str(), before) {
        ("GET", 0) => at(7, &route()),
        ("GET", _) => at(
            11,
            &json!({
                "upstreams": {"v1": {"targets": ["http://127.0.0.1:1"]}, "v2": {"targets": ["http://127.0.0.1:2"]}},
                "gateways": {"web": {"hosts": ["*"], "routes": [{
                    "id": "checkout", "path": "/checkout/**",
                    "split": {"to": [{"upstream": "v1", "weight": 1}, {"upstream": "v2", "weight": 5, "when": "request.method == 'GET'"}], "sticky": {"cookie": "arm"}},
                }]}},
            }),
        ),
        (_, 1) => None,
        _ => problem(412, "version_conflict", &json!({})),
    });
    let done = set(&double, &["web/checkout", "v1=1"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(done.err.contains("version 11"), "{}", done.err);
}
