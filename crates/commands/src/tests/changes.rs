//! apply, diff, check, export, history, rollback.

use super::double::{Asked, Double, Reply, at, problem};
use super::{ORDERS, file, run};
use crate::exit::Exit;
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

fn document() -> Value {
    json!({
        "upstreams": {"orders": {"targets": ["http://127.0.0.1:9101"]}},
        "gateways": {"web": {"hosts": ["*"], "routes": [{"path": "/orders", "id": "orders", "upstream": "orders"}]}},
    })
}

/// A cluster at version 3 with this document, whose changes are live on two nodes.
fn cluster(document: Value) -> Double {
    Double::start(move |asked, _| respond(asked, &document))
}

fn respond(asked: &Asked, document: &Value) -> Reply {
    match (asked.method.as_str(), asked.target.split('?').next().unwrap()) {
        ("GET", "/v1/config") => at(3, document),
        ("PUT", "/v1/config") => at(
            4,
            &json!({"version": 4, "changed": ["upstreams/orders"], "live": ["n1", "n2"], "pending": [], "warnings": []}),
        ),
        _ => problem(404, "no_route", &json!({})),
    }
}

#[test]
fn apply_shows_the_difference_and_sends_the_text_for_the_version_that_it_compared() {
    let double = cluster(json!({}));
    let (_folder, path) = file("shop.yaml", ORDERS);
    let done = run(
        &double,
        &["apply", "-f", path.to_str().unwrap(), "-m", "why ü", "--timeout", "7s"],
    );
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(
        done.err.contains("+ upstreams/orders") && done.err.contains("+ gateways/web"),
        "{}",
        done.err
    );
    assert!(
        done.err.contains("version 4") && done.err.contains("live on n1, n2"),
        "{}",
        done.err
    );
    assert_eq!(done.out, "");
    let put = &double.asked()[1];
    assert_eq!(put.target, "/v1/config?wait=all&timeout=7s");
    assert_eq!(put.body, ORDERS);
    assert_eq!(put.headers["content-type"], "application/yaml");
    assert_eq!(put.headers["if-match"], "\"3\"");
    assert_eq!(put.headers["authorization"], "Bearer a-token");
    assert_eq!(put.headers["sluice-message"], "why%20%C3%BC");
    assert!(put.headers["idempotency-key"].len() >= 32);
}

#[test]
fn what_only_the_cluster_has_is_not_deleted_without_prune() {
    let mut more = document();
    more["upstreams"]["users"] = json!({"targets": ["http://127.0.0.1:9103"]});
    let double = cluster(more);
    let (_folder, path) = file("shop.yaml", ORDERS);
    let path = path.to_str().unwrap();
    let refused = run(&double, &["apply", "-f", path]);
    assert_eq!(refused.exit, Exit::Refused);
    assert!(
        refused.err.contains("--prune") && refused.err.contains("upstreams/users"),
        "{}",
        refused.err
    );
    let object = run(&double, &["apply", "-f", path, "--json"]).json();
    assert_eq!(
        (object["code"].as_str(), object["removed"][0].as_str()),
        (Some("deletion_refused"), Some("upstreams/users"))
    );
    assert!(double.asked().iter().all(|asked| asked.method == "GET"));
    assert_eq!(run(&double, &["apply", "-f", path, "--prune"]).exit, Exit::Done);
}

#[test]
fn a_dry_run_asks_the_cluster_and_changes_nothing() {
    let double = cluster(json!({}));
    let (_folder, path) = file("shop.yaml", ORDERS);
    let done = run(
        &double,
        &["apply", "-f", path.to_str().unwrap(), "--dry-run", "--force"],
    );
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(done.out.contains("+ upstreams/orders"), "{}", done.out);
    assert!(done.err.contains("nothing was changed"));
    assert_eq!(
        double.asked()[1].target,
        "/v1/config?wait=all&timeout=30s&force=true&dry_run=true"
    );
}

#[test]
fn another_version_than_was_meant_is_a_conflict_before_anything_is_sent() {
    let double = cluster(document());
    let (_folder, path) = file("shop.yaml", ORDERS);
    let done = run(&double, &["apply", "-f", path.to_str().unwrap(), "--if-version", "2"]);
    assert_eq!(done.exit, Exit::Conflict);
    assert!(done.err.contains("version 3, not 2"), "{}", done.err);
    assert_eq!(double.asked().len(), 1);
}

#[test]
fn live_on_some_nodes_is_exit_code_5_unless_a_majority_was_enough() {
    let double = Double::start(|asked, _| match asked.method.as_str() {
        "GET" => at(0, &json!({})),
        _ => at(
            1,
            &json!({"version": 1, "changed": ["cluster"], "live": ["n1"], "pending": [{"name": "n2", "why": "its file is missing"}], "warnings": []}),
        ),
    });
    let (_folder, path) = file("shop.yaml", ORDERS);
    let path = path.to_str().unwrap();
    let done = run(&double, &["apply", "-f", path]);
    assert_eq!(done.exit, Exit::NotEverywhere);
    assert!(done.err.contains("pending on n2: its file is missing"), "{}", done.err);
    assert_eq!(
        run(&double, &["apply", "-f", path, "--wait", "majority"]).exit,
        Exit::Done
    );
    let object = run(&double, &["apply", "-f", path, "--json"]).json();
    assert_eq!(object["pending"][0]["name"], "n2");
    assert_eq!(object["changes"][0]["kind"], "added");
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let double = Double::start(|asked, before| match (asked.method.as_str(), before) {
        ("GET", _) => at(0, &json!({})),
        (_, 1) => None,
        (_, 2) => problem(503, "outcome_unknown", &json!({})),
        _ => at(1, &json!({"version": 1, "changed": ["cluster"], "live": ["n1"]})),
    });
    let (_folder, path) = file("shop.yaml", ORDERS);
    let done = run(&double, &["apply", "-f", path.to_str().unwrap()]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    let keys: Vec<_> = double
        .asked()
        .iter()
        .filter_map(|asked| asked.headers.get("idempotency-key").cloned())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn a_conflict_with_our_own_lost_change_is_success() {
    let put = AtomicBool::new(false);
    let double = Double::start(move |asked, _| match asked.method.as_str() {
        "GET" if put.load(Ordering::SeqCst) => at(
            4,
            &json!({"upstreams": {"orders": {"targets": ["http://127.0.0.1:9101"]}}, "gateways": {"web": {"hosts": ["*"], "routes": [{"path": "/orders", "upstream": "orders"}]}}}),
        ),
        "GET" => at(3, &json!({})),
        _ if put.swap(true, Ordering::SeqCst) => problem(412, "version_conflict", &json!({})),
        _ => None,
    });
    let (_folder, path) = file("shop.yaml", ORDERS);
    let done = run(&double, &["apply", "-f", path.to_str().unwrap()]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(done.err.contains("version 4"), "{}", done.err);
}

#[test]
fn a_change_whose_outcome_stays_unknown_is_exit_code_5() {
    let double = Double::start(|asked, _| match asked.method.as_str() {
        "GET" => at(0, &json!({})),
        _ => None,
    });
    let (_folder, path) = file("shop.yaml", ORDERS);
    let done = run(&double, &["apply", "-f", path.to_str().unwrap(), "--timeout", "300ms"]);
    assert_eq!(done.exit, Exit::NotEverywhere);
    assert!(done.err.contains("Nobody knows"), "{}", done.err);
}

#[test]
fn a_folder_is_one_document_and_is_sent_joined() {
    let double = cluster(json!({}));
    let folder = tempfile::tempdir().unwrap();
    let (upstreams, gateways) = ORDERS.split_at(ORDERS.find("gateways").unwrap());
    fs::create_dir(folder.path().join("gateways")).unwrap();
    fs::write(folder.path().join("upstreams.yaml"), upstreams).unwrap();
    fs::write(folder.path().join("gateways/web.yml"), gateways).unwrap();
    fs::write(folder.path().join(".hidden.yaml"), "nonsense: [").unwrap();
    fs::write(folder.path().join("README.md"), "words").unwrap();
    let done = run(&double, &["apply", "-f", folder.path().to_str().unwrap()]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    let put = &double.asked()[1];
    assert_eq!(put.headers["content-type"], "application/json");
    let sent: Value = serde_json::from_str(&put.body).unwrap();
    assert_eq!(sent["gateways"]["web"]["routes"][0]["upstream"], "orders");
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(
        run(&double, &["apply", "-f", empty.path().to_str().unwrap()]).exit,
        Exit::Refused
    );
}

#[test]
fn check_needs_no_cluster_and_tells_all_errors_with_their_lines() {
    let (_folder, good) = file("shop.yaml", ORDERS);
    let (_other, bad) = file(
        "bad.yaml",
        "upstreams:\n  a:\n    targts: []\ngateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n      - path: /x\n        upstream: missing\n",
    );
    let nowhere = "http://127.0.0.1:1";
    let done = super::run_at(nowhere, &["check", good.to_str().unwrap()]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(done.err.contains("1 upstream, 1 gateway, 1 route"), "{}", done.err);
    let done = super::run_at(nowhere, &["check", bad.to_str().unwrap()]);
    assert_eq!(done.exit, Exit::Refused);
    assert!(
        done.err.contains("targts") && done.err.contains("targets"),
        "{}",
        done.err
    );
    let object = super::run_at(nowhere, &["check", bad.to_str().unwrap(), "--json"]).json();
    assert_eq!(object["valid"], false);
    assert_eq!(object["errors"][0]["line"], 3);
    assert_eq!(super::run_at(nowhere, &["check", "/nowhere.yaml"]).exit, Exit::Refused);
    let (_third, latin) = file("latin.yaml", "");
    fs::write(&latin, b"a: 1\nb: \xfc\n").unwrap();
    let done = super::run_at(nowhere, &["check", latin.to_str().unwrap()]);
    assert!(done.err.contains("latin.yaml:2: not UTF-8"), "{}", done.err);
}

#[test]
fn the_sample_of_the_demo_is_a_document_without_a_warning() {
    let ports = sluice_demo::Ports::moved_by(0).unwrap();
    let parsed = sluice_document::parse(&sluice_demo::document(ports), sluice_document::Format::Yaml, None).unwrap();
    assert_eq!(parsed.warnings, []);
    assert_eq!(parsed.document.gateways["shop"].routes.len(), 7);
}

#[test]
fn what_a_version_changed_is_its_difference_to_the_one_before() {
    let double = Double::start(|asked, _| match asked.target.as_str() {
        "/v1/config?version=4" => at(4, &json!({"upstreams": {"a": {"targets": ["http://127.0.0.1:1"]}}})),
        "/v1/config?version=5" => at(5, &json!({"upstreams": {"a": {"targets": ["http://127.0.0.1:2"]}}})),
        "/v1/config?version=1" => at(1, &json!({"upstreams": {"a": {"targets": ["http://127.0.0.1:1"]}}})),
        _ => problem(404, "not_found", &json!({})),
    });
    let done = run(&double, &["diff", "--changed-by", "5"]);
    assert_eq!(done.exit, Exit::Refused, "{}", done.err);
    assert!(
        done.out.contains("127.0.0.1:1") && done.out.contains("127.0.0.1:2"),
        "{}",
        done.out
    );
    let first = run(&double, &["diff", "--changed-by", "1", "--json"]).json();
    assert_eq!(first["changes"][0]["kind"], "added");
    assert_eq!(double.lines()[2..], ["GET /v1/config?version=1"]);
    assert_eq!(run(&double, &["diff", "--changed-by", "9"]).exit, Exit::Refused);
}

#[test]
fn diff_ends_with_1_when_they_differ_and_compares_versions_too() {
    let double = Double::start(|asked, _| match asked.target.as_str() {
        "/v1/config?version=2" => at(
            2,
            &json!({"upstreams": {"orders": {"targets": ["http://127.0.0.1:1"]}}}),
        ),
        _ => at(3, &document()),
    });
    let (_folder, path) = file(
        "shop.yaml",
        &ORDERS.replace("- path: /orders", "- id: orders\n        path: /orders"),
    );
    let path = path.to_str().unwrap();
    let equal = run(&double, &["diff", path]);
    assert_eq!((equal.exit, equal.out.as_str()), (Exit::Done, ""), "{}", equal.err);
    let older = run(&double, &["diff", "--version", "2"]);
    assert_eq!(older.exit, Exit::Refused);
    assert!(older.out.contains("~ upstreams/orders"), "{}", older.out);
    let object = run(&double, &["diff", path, "--version", "2", "--json"]).json();
    assert_eq!(object["equal"], false);
    assert_eq!(object["changes"].as_array().unwrap().len(), 3);
}

#[test]
fn export_prints_the_document_alone_in_the_form_that_was_asked_for() {
    let double = Double::start(|_, _| at(3, &document()));
    let done = run(&double, &["export", "--version", "3", "--format", "toml"]);
    assert_eq!(done.exit, Exit::Done);
    assert_eq!(done.out.trim(), document().to_string());
    let asked = &double.asked()[0];
    assert_eq!(
        (asked.target.as_str(), asked.headers["accept"].to_str().unwrap()),
        ("/v1/config?version=3", "application/toml")
    );
    run(&double, &["export", "--json"]);
    assert_eq!(double.asked()[1].headers["accept"], "application/json");
}

#[test]
fn history_is_a_table_of_who_changed_what_and_why() {
    let double = Double::start(|_, _| {
        at(
            3,
            &json!({"versions": [
            {"version": 3, "at": "2026-11-29T15:00:00Z", "author": "ops", "from": "127.0.0.1 through n1", "message": "more", "request_id": "r", "changed": ["a", "b", "c", "d"]},
            {"version": 2, "at": "2026-11-29T14:00:00Z", "author": "boot", "message": null, "request_id": "q", "changed": ["a"]}]}),
        )
    });
    let done = run(&double, &["history", "--limit", "2", "--before", "4"]);
    assert_eq!(double.lines(), ["GET /v1/config/history?limit=2&before=4"]);
    let lines: Vec<_> = done.out.lines().collect();
    assert!(
        lines[1].contains("ops") && lines[1].contains("a b c and 1 more") && lines[1].ends_with("more"),
        "{}",
        done.out
    );
    assert!(lines[2].contains("boot") && lines[2].ends_with('-'), "{}", done.out);
}

#[test]
fn rollback_shows_what_it_brings_back() {
    let double = Double::start(|asked, _| match (asked.method.as_str(), asked.target.as_str()) {
        ("GET", "/v1/config?version=2") => at(
            2,
            &json!({"upstreams": {"orders": {"targets": ["http://127.0.0.1:1"]}}}),
        ),
        ("GET", _) => at(3, &document()),
        _ => at(
            4,
            &json!({"version": 4, "changed": ["upstreams/orders"], "live": ["n1"]}),
        ),
    });
    let done = run(&double, &["rollback", "2", "-m", "back"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    assert!(done.err.contains("- gateways/web"), "{}", done.err);
    let post = double.asked().pop().unwrap();
    assert_eq!(post.target, "/v1/config/rollback/2?wait=majority&timeout=30s");
    assert_eq!(post.headers["if-match"], "\"3\"");
}
