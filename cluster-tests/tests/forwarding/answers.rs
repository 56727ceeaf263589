//! Answers of the gateway's own.

use crate::raw;
use cluster_tests::document::with_routes;
use cluster_tests::{Backend, Call, Cluster, World};
use http::Method;

#[tokio::test]
async fn our_own_answers_are_problem_documents_with_one_code_each() {
    let world = World::new();
    let nobody = world.service();
    let silent = Backend::scripted(world.service(), |mut wire, _, _| async move {
        wire.rest_or_reset().await;
        Ok(())
    })
    .await;
    let rude = Backend::scripted(world.service(), |mut wire, _, _| async move {
        wire.head().await?;
        wire.send("this is not HTTP\r\n\r\n").await
    })
    .await;
    let cluster = Cluster::one(&world).await;
    let document = with_routes(
        &[
            ("nobody", &format!("http://{nobody}")),
            ("silent", &silent.url()),
            ("rude", &rude.url()),
        ],
        &[
            "{ path: /nobody, upstream: nobody }",
            "{ path: /silent, upstream: silent, timeout: { first_byte: 200ms } }",
            "{ path: /rude, upstream: rude }",
            "{ path: /slash/**, encoded_slash: refuse, respond: { text: x } }",
        ],
    );
    cluster.apply(&document).await;
    let at = cluster.node(1).http();
    for (path, status, code) in [
        ("/nobody", 502, "upstream_connect"),
        ("/silent", 504, "upstream_timeout"),
        ("/rude", 502, "upstream_protocol"),
        ("/none", 404, "no_route"),
        ("/slash/a%2Fb", 400, "encoded_slash"),
    ] {
        let answer = Call::get(at, path).answer().await.expect(status);
        let problem = answer.json();
        assert_eq!(answer.code(), code, "{path}: {problem}");
        assert_eq!(problem["type"], format!("urn:sluice:problem:{code}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["node"], "n1");
        assert_eq!(problem["request_id"], answer.header("x-request-id"));
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{problem}"
        );
    }
    let long = format!("/{}", "x".repeat(9_000));
    assert_eq!(Call::get(at, long).answer().await.status.as_u16(), 414);
    let large = "x".repeat(40_000);
    let (head, _) = raw(at, format!("GET /none HTTP/1.1\r\nHost: h\r\nX-Large: {large}\r\n\r\n")).await;
    assert_eq!(head.status(), 431);
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let (head, _) = raw(at, format!("GET /none HTTP/1.1\r\nHost: h\r\n{many}\r\n")).await;
    assert_eq!(head.status(), 431);
    let (head, _) = raw(at, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").await;
    assert_eq!(head.status(), 501);
    for bad in [
        "GET /none HTTP/1.1\r\n\r\n",
        "GET /none HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let (head, _) = raw(at, bad).await;
        assert_eq!(head.status(), 400, "{bad}");
    }
    Call::new(Method::GET, at, "/none").answer().await.expect(404);
}
