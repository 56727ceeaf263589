//! status, members, drain, health, token.

use super::double::{Double, Reply, at, problem};
use super::run;
use crate::exit::Exit;
use http::StatusCode;
use serde_json::{Value, json};

fn view() -> Value {
    json!({"name": "shop", "id": "00ff", "term": 4, "leader": "n2", "version": 7, "level": 1, "nodes": [
        {"name": "n1", "id": "01", "role": "voter", "peer": "127.0.0.1:7081", "admin": "127.0.0.1:9081", "zone": null, "binary": "0.1.0",
         "committed": 7, "live": 7, "why_not_live": null, "reachable": true, "draining": false, "shared_store": false},
        {"name": "n2", "id": "02", "role": "voter", "peer": "127.0.0.1:7082", "admin": "127.0.0.1:9082", "zone": "a", "binary": "0.1.0",
         "committed": 7, "live": 6, "why_not_live": "no listener partner", "reachable": true, "draining": false},
        {"name": "n3", "id": "03", "role": "learner", "peer": "127.0.0.1:7083", "admin": "127.0.0.1:9083", "zone": null, "binary": null,
         "committed": null, "live": null, "why_not_live": null, "reachable": false, "draining": false}]})
}

fn ready(status: u16, body: &Value) -> Reply {
    let mut reply = at(0, body)?;
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    Some(reply)
}

#[test]
fn status_shows_every_member_with_what_keeps_it_back() {
    let double = Double::start(|asked, _| match asked.target.as_str() {
        "/v1/cluster" => at(7, &view()),
        _ => ready(
            503,
            &json!({"ready": false, "reason": "draining", "degraded": [{"what": "majority", "since": "2026-11-29T15:00:00Z", "why": "n3 is gone"}], "version": 7, "name": "n1"}),
        ),
    });
    let done = run(&double, &["status"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    for words in [
        "cluster shop, version 7, leader n2 (term 4)",
        "n2 *",
        "no listener partner",
        "live, counts limits alone",
        "unreachable",
        "n1 is not ready: draining",
        "majority: n3 is gone",
    ] {
        assert!(done.out.contains(words), "{words} is missing in\n{}", done.out);
    }
    let object = run(&double, &["status", "--json"]).json();
    assert_eq!(
        (object["leader"].as_str(), object["ready"]["reason"].as_str()),
        (Some("n2"), Some("draining"))
    );
}

#[test]
fn settings_are_shown_with_where_each_came_from() {
    let double = Double::start(|asked, _| {
        assert_eq!(asked.target, "/v1/settings");
        at(
            0,
            &json!({"settings": [{"name": "zone", "value": "a", "origin": "flag", "from": "--zone"}, {"name": "workers", "value": "0", "origin": "default", "from": null}]}),
        )
    });
    let done = run(&double, &["status", "--settings"]);
    assert!(
        done.out.contains("zone     a      --zone") && done.out.contains("workers  0      default"),
        "{}",
        done.out
    );
}

#[test]
fn members_are_listed_and_changed_by_name() {
    let double = Double::start(|_, _| at(7, &view()));
    let done = run(&double, &["members"]);
    assert!(
        done.out.contains("voter (leader)") && done.out.contains("127.0.0.1:7083"),
        "{}",
        done.out
    );
    for words in [["promote", "n3"], ["remove", "n 3"], ["replace", "n3"]] {
        assert_eq!(run(&double, &["members", words[0], words[1]]).exit, Exit::Done);
    }
    assert_eq!(run(&double, &["members", "form", "--only", "n1,n2"]).exit, Exit::Done);
    let lines = double.lines();
    assert_eq!(
        lines[1..],
        [
            "POST /v1/cluster/members/n3/promote",
            "POST /v1/cluster/members/n%203/remove",
            "POST /v1/cluster/members/n3/replace",
            "POST /v1/cluster/members/form"
        ]
    );
    assert_eq!(double.asked()[4].body, r#"{"only":["n1","n2"]}"#);
    assert_eq!(run(&double, &["members", "list", "--json"]).json()["term"], 4);
}

#[test]
fn draining_is_for_the_node_that_answers_or_one_by_name() {
    let double = Double::start(|_, _| at(0, &json!({})));
    assert_eq!(run(&double, &["drain"]).exit, Exit::Done);
    assert_eq!(run(&double, &["undrain", "n2"]).exit, Exit::Done);
    assert_eq!(
        double.lines(),
        ["POST /v1/drain", "POST /v1/cluster/members/n2/undrain"]
    );
}

#[test]
fn health_answers_by_its_exit_code_and_names_the_reason() {
    let double = Double::start(|asked, _| match asked.target.as_str() {
        "/readyz" => ready(
            200,
            &json!({"ready": true, "reason": null, "degraded": [], "version": 7, "name": "n1"}),
        ),
        _ => ready(
            503,
            &json!({"ready": false, "reason": "n2 and n3 would be no majority", "degraded": [], "version": 7, "name": "n1"}),
        ),
    });
    let yes = run(&double, &["health"]);
    assert_eq!((yes.exit, yes.out.as_str()), (Exit::Done, ""));
    assert!(yes.err.contains("n1 is ready"));
    let no = run(&double, &["health", "--safe-to-stop"]);
    assert_eq!(no.exit, Exit::Refused);
    assert!(no.err.contains("no majority"), "{}", no.err);
    assert_eq!(run(&double, &["health", "--json"]).json()["version"], 7);
}

#[test]
fn a_token_is_printed_alone_so_that_a_script_can_take_it() {
    let double = Double::start(|asked, _| match asked.method.as_str() {
        "POST" => at(0, &json!({"name": "ci", "role": "admin", "token": "sluice_0011"})),
        "GET" => at(
            0,
            &json!({"tokens": [{"name": "ci", "role": "admin", "created": "2026-11-29T15:00:00Z", "last_used": null}]}),
        ),
        _ => at(0, &json!({})),
    });
    let made = run(&double, &["token", "create", "ci", "--role", "admin"]);
    assert_eq!((made.exit, made.out.as_str()), (Exit::Done, "sluice_0011\n"));
    assert_eq!(double.asked()[0].body, r#"{"name":"ci","role":"admin"}"#);
    assert!(
        run(&double, &["token", "list"])
            .out
            .contains("ci    admin  2026-11-29T15:00:00Z  -")
    );
    assert_eq!(run(&double, &["token", "revoke", "ci"]).exit, Exit::Done);
    assert_eq!(double.lines()[2], "DELETE /v1/tokens/ci");
}

#[test]
fn a_member_that_is_not_there_is_the_clusters_own_refusal() {
    let double = Double::start(|_, _| problem(404, "not_found", &json!({"detail": "there is no member n9"})));
    let done = run(&double, &["members", "remove", "n9"]);
    assert_eq!(done.exit, Exit::Refused);
    assert!(done.err.contains("there is no member n9"), "{}", done.err);
}
