//! limits, breakers.

use super::double::{Double, at, problem};
use super::run;
use crate::exit::Exit;
use serde_json::{Value, json};

fn rule(name: &str, route: Option<&str>) -> Value {
    json!({"name": name, "gateway": "web", "route": route, "algorithm": "sliding_window", "limit": 600, "per": "1m", "burst": null,
        "mode": "exact", "on_failure": "local", "version": 7})
}

fn with(mut object: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

fn refusals() -> Value {
    json!({"name": "per-client", "gateway": "web", "route": null, "key": "10.0.0.9", "refused": 41, "excess": 2,
        "last": "2026-11-30T10:00:00.000Z", "nodes": ["n1", "n3"]})
}

fn breaker() -> Value {
    json!({"upstream": "orders", "route": null, "state": "open", "since": "2026-11-30T10:00:00.000Z", "epoch": 7, "shared": true,
        "cause": {"node": "n2", "by": "failure_rate", "request_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "counts": [{"node": "n1", "calls": 40, "failed": 21, "slow": 0, "run": 4}, {"node": "n2", "calls": 12, "failed": 12, "slow": 3, "run": 12}]},
        "next_probe": "2026-11-30T10:00:05.000Z", "by": [], "override": null,
        "counts": {"calls": 52, "failed": 33, "slow": 3, "run": 12}, "refused": 118,
        "nodes": [{"name": "n1", "state": "open", "epoch": 7, "shared": true}, {"name": "n3", "state": "closed", "epoch": 6, "shared": false}]})
}

#[test]
fn limits_are_listed_with_what_they_allow_and_what_they_decided() {
    let double = Double::start(|asked, _| {
        assert_eq!(asked.target, "/v1/limits");
        let decided = json!({"declared": true, "decisions": [
            {"outcome": "admitted", "source": "store", "count": 3}, {"outcome": "admitted", "source": "lease", "count": 1200},
            {"outcome": "spent", "source": "lease", "count": 41}]});
        let gone = json!({"declared": false, "per": null, "limit": 8, "algorithm": "concurrency", "decisions": []});
        let limits = [
            with(rule("per-client", None), &decided),
            with(rule("exports", Some("get-export")), &gone),
        ];
        at(
            7,
            &json!({"limits": limits, "silent": [{"name": "n4", "why": "it is not heard"}]}),
        )
    });
    let done = run(&double, &["limits"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    for words in [
        "per-client      web             600 per 1m  1203      41       lease 1241, store 3",
        "exports (gone)  web/get-export  8 at once   0         0        -",
    ] {
        assert!(done.out.contains(words), "{words} is missing in\n{}", done.out);
    }
    assert!(
        done.err.contains("without the word of n4: it is not heard"),
        "{}",
        done.err
    );
    assert_eq!(
        run(&double, &["limits", "list", "--json"]).json()["silent"][0]["name"],
        "n4"
    );
}

#[test]
fn one_count_is_shown_with_what_is_left_and_who_holds_it() {
    let double = Double::start(|asked, _| {
        assert_eq!(asked.target, "/v1/limits/per-client?key=2001%3Adb8%3A%3A%2F64");
        let standing = json!({"used": 550, "left": 20, "reset": 42.0, "out": [{"node": "n1", "tokens": 30}, {"node": null, "tokens": 5}],
            "refusals": refusals(), "nodes": [{"name": "n1", "remaining": 25, "reset": 1.25, "source": "lease"}]});
        let away = json!({"used": null, "left": null, "reset": null, "out": [], "refusals": null, "nodes": []});
        let limits = [
            with(rule("per-client", None), &standing),
            with(rule("per-client", Some("buy")), &away),
        ];
        at(
            7,
            &json!({"name": "per-client", "key": "2001:db8::/64", "limits": limits, "silent": []}),
        )
    });
    let done = run(&double, &["limits", "show", "per-client", "--key", "2001:db8::/64"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    for words in [
        "per-client over web: 600 per 1m (sliding window, while the store is away local)",
        "2001:db8::/64: 550 used, 20 left, all back in 42 s; refused 41 times of late, last at 2026-11-30T10:00:00.000Z",
        "n1      30   25         1.2 s  lease",
        "(gone)  5",
        "per-client over web/buy",
        "no node reaches the store, each counts by itself",
    ] {
        assert!(done.out.contains(words), "{words} is missing in\n{}", done.out);
    }
}

#[test]
fn who_is_refused_most_stands_first_with_how_sure_that_is() {
    let double = Double::start(|asked, _| {
        assert_eq!(asked.target, "/v1/limits?top=5");
        at(7, &json!({"limits": [], "top": [refusals()], "silent": []}))
    });
    let done = run(&double, &["limits", "top", "--limit", "5"]);
    assert!(
        done.out
            .contains("10.0.0.9  per-client  web   41 -2    2026-11-30T10:00:00.000Z  n1,n3"),
        "{}",
        done.out
    );
}

#[test]
fn a_reset_says_what_it_did_and_who_has_not_heard() {
    let double = Double::start(|_, before| {
        let counts = if before == 0 { 2 } else { 0 };
        at(
            7,
            &json!({"name": "per-client", "key": "a b", "counts": counts, "silent": [{"name": "n3", "why": "it is not heard"}]}),
        )
    });
    let done = run(&double, &["limits", "reset", "per-client", "--key", "a b"]);
    assert_eq!(done.exit, Exit::Done);
    assert!(
        done.err
            .contains("limit per-client, a b: what was spent is forgotten, in 2 counts")
            && done.err.contains("n3 has not heard of it"),
        "{}",
        done.err
    );
    assert!(
        run(&double, &["limits", "reset", "per-client", "--key", ""])
            .err
            .contains("nothing was spent")
    );
    assert_eq!(
        double.lines(),
        [
            "POST /v1/limits/per-client/reset?key=a%20b",
            "POST /v1/limits/per-client/reset?key="
        ]
    );
}

#[test]
fn breakers_are_listed_with_who_tripped_them_and_on_what_evidence() {
    let double = Double::start(|asked, _| {
        assert_eq!(asked.target, "/v1/breakers");
        let set = json!({"upstream": "users", "route": "web/get-user", "state": "forced_open", "epoch": 0, "shared": true, "cause": null,
            "next_probe": null, "nodes": [], "counts": {"calls": 0, "failed": 0, "slow": 0, "run": 0},
            "override": {"state": "open", "who": "ada", "why": "the table is locked", "until": "2026-11-30T11:00:00.000Z"}});
        at(
            7,
            &json!({"breakers": [breaker(), with(breaker(), &set)], "silent": []}),
        )
    });
    let done = run(&double, &["breakers"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    for words in [
        "33 of 52  3 of 52  118      2026-11-30T10:00:05.000Z",
        "orders: tripped by n2, too many failed: n1 21 of 40 failed, 4 in a row; n2 12 of 12 failed, 3 slow, 12 in a row (last by request 4bf92f3577b34da6a3ce929d0e0e4736)",
        "n3 is closed, by itself",
        "users on web/get-user  open by hand",
        "users on web/get-user: set by ada until 2026-11-30T11:00:00.000Z: the table is locked",
    ] {
        assert!(done.out.contains(words), "{words} is missing in\n{}", done.out);
    }
}

#[test]
fn a_breaker_is_set_by_hand_with_a_reason_and_a_time() {
    let double = Double::start(|asked, before| {
        if asked.target.ends_with("/release") {
            return at(7, &json!({"breaker": breaker(), "live": ["n1", "n2"], "pending": []}));
        }
        let set = json!({"override": {"who": "ada", "why": "x", "until": "2026-11-30T11:00:00.000Z"}});
        let pending = if before == 0 {
            json!([])
        } else {
            json!([{"name": "n3", "why": "it is not heard"}])
        };
        at(
            7,
            &json!({"breaker": with(breaker(), &set), "live": ["n1", "n2"], "pending": pending}),
        )
    });
    let open = run(
        &double,
        &["breakers", "open", "orders", "--why", "it burns", "--for", "36h"],
    );
    assert_eq!(open.exit, Exit::Done, "{}", open.err);
    assert!(
        open.err
            .contains("the breaker of orders lets nothing through until 2026-11-30T11:00:00.000Z, on n1, n2"),
        "{}",
        open.err
    );
    let words = [
        "breakers",
        "close",
        "orders",
        "--route",
        "web/buy",
        "--why",
        "false alarm",
    ];
    let close = run(&double, &words);
    assert_eq!(close.exit, Exit::NotEverywhere);
    assert!(
        close.err.contains("orders on web/buy lets everything through") && close.err.contains("pending on n3"),
        "{}",
        close.err
    );
    let released = run(&double, &["breakers", "release", "orders", "--json"]);
    assert_eq!(released.json()["live"], json!(["n1", "n2"]));
    let asked = double.asked();
    let body = |n: usize| serde_json::from_str::<Value>(&asked[n].body).unwrap();
    assert_eq!(asked[0].target, "/v1/breakers/orders/open");
    assert_eq!(body(0), json!({"route": null, "why": "it burns", "for": "36h"}));
    assert_eq!(body(1), json!({"route": "web/buy", "why": "false alarm", "for": "10m"}));
    assert_eq!(body(2), json!({"route": null}));
}

#[test]
fn a_breaker_or_limit_that_is_not_there_is_refused_with_what_was_probably_meant() {
    let detail = "there is no breaker of odrers; did you mean orders?";
    let double = Double::start(move |_, _| problem(404, "not_found", &json!({"detail": detail})));
    for words in [
        &["breakers", "open", "odrers", "--why", "x"][..],
        &["limits", "show", "per-cleint", "--key", "a"],
    ] {
        let done = run(&double, words);
        assert_eq!(done.exit, Exit::Refused);
        assert!(done.err.contains("did you mean orders?"), "{}", done.err);
    }
}

#[test]
fn a_store_that_is_away_is_no_wrong_answer_of_the_command() {
    let double = Double::start(|_, _| problem(503, "limit_store", &json!({})));
    let done = run(&double, &["limits", "reset", "per-client", "--key", "a"]);
    assert_eq!(done.exit, Exit::Refused);
    assert!(done.err.contains("sluice status"), "{}", done.err);
}
