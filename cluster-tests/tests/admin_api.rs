//! The admin API at its edges: what is asked wrongly, and who keeps it busy.

use cluster_tests::{Call, Cluster, World};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TWO_ROUTES: &str = "
upstreams:
  a: { targets: ['http://127.0.0.1:9'] }
gateways:
  web:
    hosts: ['*']
    routes:
      - { id: one, path: /one, respond: { text: '1' } }
      - { id: two, path: /two, upstream: a }
";

#[tokio::test]
async fn a_gateway_is_read_with_its_routes_and_can_be_put_back_as_it_was_read() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    cluster.apply(TWO_ROUTES).await;
    let admin = cluster.admin(1);
    for media in ["application/json", "application/yaml", "application/toml"] {
        let read = admin
            .call(Method::GET, "/v1/config/gateways/web")
            .header("accept", media)
            .answer()
            .await
            .expect(200);
        assert_eq!(read.header("etag"), "\"1\"", "{media}");
        assert!(read.text().contains("/two"), "{}", read.text());
        let back = admin
            .call(Method::PUT, "/v1/config/gateways/web")
            .header("content-type", media)
            .header("if-match", "\"1\"")
            .body(read.text())
            .answer()
            .await
            .expect(200);
        assert_eq!(back.json()["changed"].as_array().map(Vec::len), Some(0), "{media}");
    }
}

#[tokio::test]
async fn what_the_api_does_not_know_is_always_a_problem_with_its_code() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    cluster.apply(TWO_ROUTES).await;
    let admin = cluster.admin(1);
    for (method, target, status, code) in [
        (Method::PATCH, "/v1/config", 405, "method_not_allowed"),
        (Method::POST, "/healthz", 405, "method_not_allowed"),
        (Method::PUT, "/v1/tokens/ci", 405, "method_not_allowed"),
        (Method::DELETE, "/v1/tokens/%FF", 400, "bad_request"),
        (Method::GET, "/v1/config?version=9", 404, "not_found"),
        (Method::POST, "/v1/config/rollback/9", 404, "not_found"),
        (Method::POST, "/v1/config/rollback/nine", 400, "bad_request"),
        (Method::GET, "/v1/limits?top=many", 400, "bad_request"),
        (Method::GET, "/v1/limits/per-client", 400, "bad_request"),
        (Method::GET, "/v1/limits/per-client?key=a", 404, "not_found"),
        (Method::POST, "/v1/limits/per-client/reset?key=a", 404, "not_found"),
        (Method::DELETE, "/v1/limits/per-client", 405, "method_not_allowed"),
        (Method::POST, "/v1/breakers/a/fly", 404, "not_found"),
        (Method::POST, "/v1/breakers/a/open", 400, "bad_request"),
        (Method::POST, "/v1/breakers/a/release", 404, "not_found"),
        (Method::GET, "/v1/breakers/a/open", 405, "method_not_allowed"),
        (Method::GET, "/v1/nothing", 404, "not_found"),
        (Method::GET, "/nothing", 404, "not_found"),
    ] {
        let answer = admin.call(method.clone(), target).answer().await.expect(status);
        assert_eq!(answer.code(), code, "{method} {target}");
        if status == 405 {
            let allow = answer.header("allow").to_owned();
            let told: Vec<String> = serde_json::from_value(answer.json()["allow"].clone()).expect("a list");
            assert_eq!(told.join(","), allow, "{method} {target}");
            assert!(!told.is_empty(), "{method} {target}");
        }
    }
}

#[tokio::test]
async fn an_order_about_a_breaker_says_what_is_wrong_with_it_and_a_viewer_gives_none() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    cluster.apply(TWO_ROUTES).await;
    let admin = cluster.admin(1);
    let order = async |body: &str, status: u16| {
        let call = admin.call(Method::POST, "/v1/breakers/a/open");
        let call = call.header("content-type", "application/json").body(body.to_owned());
        call.answer().await.expect(status).json()["detail"].to_string()
    };
    for (body, status, word) in [
        (r#"{"why": "  "}"#, 400, "say why"),
        (r#"{"why": "x", "for": "0s"}"#, 400, "1s to 168h"),
        (r#"{"why": "x", "for": "8d"}"#, 400, "1s to 168h"),
        (r#"{"why": "x", "route": "one"}"#, 400, "web/checkout"),
        (r#"{"why": "x", "until": "noon"}"#, 400, "until"),
        (r#"{"why": "x"}"#, 404, "`breaker` in the document"),
    ] {
        let detail = order(body, status).await;
        assert!(detail.contains(word), "{body}: {detail}");
    }
    let made = admin
        .call(Method::POST, "/v1/tokens")
        .header("content-type", "application/json")
        .body(r#"{"name": "looks", "role": "viewer"}"#)
        .answer()
        .await
        .expect(200);
    let token = format!("Bearer {}", made.json()["token"].as_str().expect("a token"));
    for (method, target, status) in [
        (Method::POST, "/v1/breakers/a/release", 403),
        (Method::POST, "/v1/limits/a/reset?key=b", 403),
        (Method::GET, "/v1/breakers", 200),
        (Method::GET, "/v1/limits?top=5", 200),
    ] {
        let call = Call::new(method.clone(), admin.address(), target).header("authorization", &token);
        call.answer().await.expect(status);
    }
}

#[tokio::test]
async fn connections_that_idle_at_the_admin_api_give_way_to_a_balancers_check() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    let at = cluster.admin(1).address();
    let mut idle = Vec::new();
    for n in 0..600 {
        let mut stream = TcpStream::connect(at).await.expect("a connection");
        // Some begin a request and do not go on.
        if n % 2 == 0 {
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost:").await.expect("sent");
        }
        idle.push(stream);
    }
    let answer = Call::get(at, "/readyz").answer().await.expect(200);
    assert_eq!(answer.json()["ready"], true);
    let mut rest = Vec::new();
    idle[0].read_to_end(&mut rest).await.ok();
    assert!(rest.is_empty(), "the longest idle one was closed");
}
