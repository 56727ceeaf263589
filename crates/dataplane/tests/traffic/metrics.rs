//! What a scrape tells of traffic.

use crate::backend::{Backend, ok};
use crate::node::{Node, forwarding, run, until};

#[test]
fn requests_are_counted_by_route_method_and_status() {
    run(async {
        let backend = Backend::answering(|got| match got.target() {
            "/teapot" => "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n".to_owned(),
            _ => ok("ok"),
        })
        .await;
        let node = Node::new(&forwarding(&backend.url(), ""));
        let mut client = node.client().await;
        for path in ["/a", "/b", "/teapot"] {
            client.get(path).await;
        }
        client.ask("PURGE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.ask("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let duration = |gateway, route, method, status| {
            node.metric(&format!(
                "http_server_request_duration_seconds_count{{gateway=\"{gateway}\",http_route=\"{route}\",http_request_method=\"{method}\",http_response_status_code=\"{status}\"}}"
            ))
        };
        until("the last is counted", || duration("", "", "GET", 400) == 1.0).await;
        assert_eq!(duration("web", "/**", "GET", 200), 2.0);
        assert_eq!(duration("web", "/**", "GET", 418), 1.0);
        assert_eq!(duration("web", "/**", "_OTHER", 200), 1.0);
        let of_upstream = |status| {
            node.metric(&format!(
                "http_client_request_duration_seconds_count{{upstream=\"a\",http_response_status_code=\"{status}\"}}"
            ))
        };
        assert_eq!((of_upstream(200), of_upstream(418)), (3.0, 1.0));
        assert_eq!(node.metric("sluice_requests_rejected_total{code=\"bad_request\"}"), 1.0);
        assert_eq!(
            node.metric("sluice_connections{listener=\"public\",state=\"active\"}"),
            0.0
        );
        assert_eq!(
            node.metric("sluice_upstream_connections{upstream=\"a\",state=\"idle\"}"),
            1.0
        );
        assert_eq!(node.metric("sluice_panics_total{where=\"worker\"}"), 0.0);
        assert_eq!(node.metric("sluice_interim_dropped_total"), 0.0);
        assert!(node.metrics.encode(true).ends_with("# EOF\n"));
    });
}

#[test]
fn a_route_that_is_gone_leaves_the_page() {
    run(async {
        let document = |path| {
            format!("gateways: {{ web: {{ hosts: [\"*\"], routes: [{{ path: {path}, respond: {{ text: ok }} }}] }} }}")
        };
        let mut node = Node::new(&document("/old"));
        let mut client = node.client().await;
        client.get("/old").await;
        until("it is there", || node.metrics.encode(false).contains("\"/old\"")).await;
        node.publish(&document("/new"));
        client.get("/new").await;
        until("it is gone", || {
            let page = node.metrics.encode(false);
            page.contains("\"/new\"") && !page.contains("\"/old\"")
        })
        .await;
    });
}
