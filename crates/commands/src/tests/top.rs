//! top: several nodes, some of them ill.

use super::double::{Double, Reply, at};
use super::{run, run_at};
use crate::exit::Exit;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

/// A node's `/metrics` after `looks` earlier ones: 10 answers more each time, one of them a 503. `overload` is the level of
/// its memory.
fn metrics(looks: usize, overload: u32) -> Reply {
    let started = 1;
    let looks = looks as u64;
    let (good, bad) = (100 + 9 * looks, 10 + looks);
    let page = format!(
        "\
http_server_request_duration_seconds_count{{gateway=\"web\",http_route=\"/orders\",http_request_method=\"GET\",http_response_status_code=\"200\"}} {good}
http_server_request_duration_seconds_bucket{{le=\"0.01\",gateway=\"web\",http_route=\"/orders\",http_request_method=\"GET\",http_response_status_code=\"200\"}} {good}
http_server_request_duration_seconds_bucket{{le=\"+Inf\",gateway=\"web\",http_route=\"/orders\",http_request_method=\"GET\",http_response_status_code=\"200\"}} {good}
http_server_request_duration_seconds_count{{gateway=\"web\",http_route=\"/orders\",http_request_method=\"GET\",http_response_status_code=\"503\"}} {bad}
http_server_request_duration_seconds_count{{gateway=\"web\",http_route=\"/quiet\",http_request_method=\"GET\",http_response_status_code=\"200\"}} 7
http_client_request_duration_seconds_count{{upstream=\"orders\",http_response_status_code=\"none\"}} {bad}
sluice_requests_rejected_total{{code=\"upstream_connect\"}} {bad}
sluice_connections{{listener=\"public\",state=\"active\"}} 3
sluice_overload_level{{resource=\"memory\"}} {overload}
process_start_time_seconds {started}
process_resident_memory_bytes 33554432
process_open_fds 40
process_max_fds 1024
"
    );
    Some(Response::new(Full::new(Bytes::from(page))))
}

fn ready(name: &str, degraded: &Value) -> Reply {
    at(
        0,
        &json!({"ready": true, "reason": null, "degraded": degraded, "version": 7, "name": name}),
    )
}

fn node(name: &str, admin: Option<String>) -> Value {
    json!({"name": name, "role": "voter", "admin": admin, "live": 7, "committed": 7, "reachable": admin.is_some()})
}

/// n1 answers and tells of n2 at `n2`; n3 is not heard.
fn first(n2: String) -> Double {
    Double::start(move |asked, before| match asked.target.as_str() {
        "/v1/cluster" => at(
            7,
            &json!({"name": "shop", "leader": "n1", "version": 7, "answered_by": "n1", "nodes": [
                node("n1", Some("127.0.0.1:1".to_owned())), node("n2", Some(n2.clone())), node("n3", None)]}),
        ),
        "/v1/config" => at(
            7,
            &json!({"gateways": {"web": {"routes": [{"path": "/orders", "upstream": "orders"}]}}}),
        ),
        "/readyz" => ready("n1", &json!([])),
        _ => metrics(usize::from(before > 4), 1),
    })
}

fn second(name: &'static str) -> Double {
    Double::start(move |asked, before| {
        assert!(
            asked.headers.get("authorization").is_none(),
            "a token went to another address"
        );
        match asked.target.as_str() {
            "/readyz" => ready(
                name,
                &json!([{"what": "majority", "since": "2026-11-29T02:00:00Z", "why": "no leader is heard"}]),
            ),
            _ => metrics(usize::from(before > 2), 0),
        }
    })
}

fn place(double: &Double) -> String {
    double.url().trim_start_matches("http://").to_owned()
}

#[test]
fn what_came_between_two_looks_is_summed_over_the_nodes_and_who_is_missing_is_named() {
    let n2 = second("n2");
    let n1 = first(place(&n2));
    let done = run(&n1, &["top", "--json", "--interval", "100ms"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    let report = done.json();
    let route = &report["routes"][0];
    assert_eq!(
        (&route["gateway"], &route["route"], &route["upstreams"]),
        (&json!("web"), &json!("/orders"), &json!(["orders"]))
    );
    assert_eq!(route["statuses"], json!({"200": 18, "503": 2}));
    assert_eq!((&route["requests"], &route["share_5xx"]), (&json!(20), &json!(0.1)));
    assert_eq!(route["errors_by_node"], json!({"n1": 1, "n2": 1}));
    assert!(route["requests_per_second"].as_f64() > Some(0.0), "{route}");
    assert_eq!(route["p50_seconds"], 0.005);
    // Nothing came on the quiet route meanwhile.
    assert_eq!(report["routes"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["upstreams"][0]["errors"], 2);
    assert_eq!(
        report["refusals"],
        json!([{"code": "upstream_connect", "requests": 2, "by_node": {"n1": 1, "n2": 1}}])
    );
    assert_eq!(report["nodes"][0]["memory_bytes"], 33_554_432);
    assert_eq!(report["nodes"][1]["degraded"][0]["what"], "majority");
    assert_eq!(
        (&report["nodes"][2]["reached"], &report["nodes"][2]["name"]),
        (&json!(false), &json!("n3"))
    );
}

#[test]
fn since_the_start_needs_one_look_and_shows_the_quiet_too() {
    let n2 = second("n2");
    let n1 = first(place(&n2));
    let done = run(&n1, &["top", "--once", "--since-start"]);
    assert_eq!(done.exit, Exit::Done, "{}", done.err);
    for words in [
        "leader n1; 2 of 3 nodes, since the start of each node",
        "/orders  orders    220",
        "9.1 %",
        "/quiet",
        "refused by the gateway itself: upstream_connect 20",
        "upstream orders fails: 100.0 % (none 20)",
        "n3 is not reached: no other node hears it",
    ] {
        assert!(done.out.contains(words), "{words} is missing in\n{}", done.out);
    }
    assert_eq!(n2.lines(), ["GET /readyz", "GET /metrics"]);
    let limited = run(&n1, &["top", "--once", "--since-start", "--limit", "1"]);
    assert!(!limited.out.contains("/quiet") && limited.out.contains("and 1 more"));
}

#[test]
fn the_views_of_upstreams_and_nodes_have_tables_of_their_own() {
    let n2 = second("n2");
    let n1 = first(place(&n2));
    let upstreams = run(&n1, &["top", "--once", "--since-start", "--upstreams"]);
    assert!(
        upstreams.out.contains("REPLACED") && upstreams.out.contains("none 20"),
        "{}",
        upstreams.out
    );
    let nodes = run(&n1, &["top", "--once", "--since-start", "--nodes"]);
    for words in [
        "n1 *",
        "overloaded: memory",
        "degraded: majority",
        "active 3",
        "32 MiB",
        "40 of 1024",
        "n2 is degraded since 2026-11-29T02:00:00Z: majority: no leader is heard",
    ] {
        assert!(nodes.out.contains(words), "{words} is missing in\n{}", nodes.out);
    }
}

#[test]
fn a_node_that_answers_where_another_should_be_is_not_counted_twice() {
    let stranger = second("n9");
    let n1 = first(place(&stranger));
    let report = run(&n1, &["top", "--json", "--since-start"]).json();
    assert_eq!(report["nodes"][1]["reached"], false);
    assert!(
        report["nodes"][1]["why"]
            .as_str()
            .is_some_and(|why| why.contains("n9 is at")),
        "{report}"
    );
    assert_eq!(report["routes"][0]["requests"], 110);
}

#[test]
fn without_any_node_it_ends_as_all_that_look_do() {
    assert_eq!(run_at("http://127.0.0.1:1", &["top", "--once"]).exit, Exit::Unreachable);
}
