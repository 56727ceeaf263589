//! Which route a request takes, and what path the service sees: one node, real services.

use cluster_tests::document::{self, HOST, many_routes, with_routes};
use cluster_tests::wire::Wire;
use cluster_tests::{Answer, Backend, Call, Cluster, World};
use http::Method;

/// A node with three echo services `a`, `b`, `c` behind it.
struct Gateway {
    cluster: Cluster,
    a: Backend,
    b: Backend,
    c: Backend,
    world: World,
}

impl Gateway {
    async fn start() -> Self {
        let world = World::new();
        let (a, b, c) = (world.echo("a").await, world.echo("b").await, world.echo("c").await);
        let cluster = Cluster::one(&world).await;
        Self {
            world,
            cluster,
            a,
            b,
            c,
        }
    }

    fn upstreams(&self) -> String {
        let [a, b, c] = [&self.a, &self.b, &self.c].map(Backend::url);
        format!("upstreams:\n  a: {{ targets: ['{a}'] }}\n  b: {{ targets: ['{b}'] }}\n  c: {{ targets: ['{c}'] }}\n")
    }

    async fn routes(&self, routes: &[&str]) {
        let [a, b, c] = [&self.a, &self.b, &self.c].map(Backend::url);
        self.cluster
            .apply(&with_routes(&[("a", &a), ("b", &b), ("c", &c)], routes))
            .await;
    }

    async fn get(&self, path: &str) -> Answer {
        Call::get(self.cluster.node(1).http(), path).host(HOST).answer().await
    }

    /// The backend that answered, or the status where none did.
    async fn reached(&self, path: &str) -> String {
        self.reached_by(HOST, path).await
    }

    async fn reached_by(&self, host: &str, path: &str) -> String {
        let answer = Call::get(self.cluster.node(1).http(), path).host(host).answer().await;
        match answer.header("x-backend") {
            "" => answer.status.as_str().to_owned(),
            name => name.to_owned(),
        }
    }

    /// The target that the service saw, byte for byte.
    async fn target(&self, path: &str) -> String {
        let answer = self.get(path).await;
        match answer.status.as_u16() {
            200 => answer.json()["target"].as_str().expect("the echo tells it").to_owned(),
            status => status.to_string(),
        }
    }
}

#[tokio::test]
async fn a_literal_wins_over_a_parameter_in_any_order_and_arrival() {
    let gateway = Gateway::start().await;
    let parameter = "{ id: param, path: '/lang/{tenant}/{lang}', upstream: b }";
    let literal = "{ id: all, path: '/lang/{tenant}/all', upstream: a }";
    for routes in [[parameter, literal], [literal, parameter]] {
        gateway.routes(&routes).await;
        assert_eq!(gateway.reached("/lang/42/all").await, "a");
        assert_eq!(gateway.reached("/lang/42/de").await, "b");
    }
    for [first, second] in [[parameter, literal], [literal, parameter]] {
        gateway.routes(&[first]).await;
        gateway.routes(&[first, second]).await;
        assert_eq!(gateway.reached("/lang/42/all").await, "a");
        assert_eq!(gateway.reached("/lang/42/de").await, "b");
    }
    let [a, b] = [&gateway.a, &gateway.b].map(Backend::url);
    let document = gateway
        .world
        .file("pair.yaml", with_routes(&[("a", &a), ("b", &b)], &[parameter, literal]));
    let path = document.display().to_string();
    let done = cluster_tests::Command::new(&gateway.world, &["check", &path])
        .run()
        .await
        .expect(0);
    assert!(!done.said().contains("warning"), "{}", done.said());
}

#[tokio::test]
async fn a_rewrite_never_encodes_twice() {
    let gateway = Gateway::start().await;
    gateway
        .routes(&[
            "{ path: '/shop/**', upstream: a, rewrite: { strip_prefix: /shop } }",
            "{ path: '/v1/items/{id}', upstream: a, rewrite: { path: '/items/${params.id}/show' } }",
        ])
        .await;
    for (asked, seen) in [
        ("/shop/my%20file.txt", "/my%20file.txt"),
        ("/shop/caf%C3%A9", "/caf%C3%A9"),
        ("/shop/a%25b", "/a%25b"),
        ("/shop/a+b", "/a+b"),
        ("/v1/items/12%203", "/items/12%203/show"),
        ("/v1/items/%E2%82%AC", "/items/%E2%82%AC/show"),
    ] {
        assert_eq!(gateway.target(asked).await, seen, "{asked}");
    }
}

#[tokio::test]
async fn an_encoded_space_matches_a_parameter_and_an_empty_segment_does_not() {
    let gateway = Gateway::start().await;
    gateway.routes(&["{ path: '/test/{id}/update', upstream: a }"]).await;
    assert_eq!(
        gateway.target("/test/contains%20space/update").await,
        "/test/contains%20space/update"
    );
    let tilde = gateway.target("/test/%7Euser/update").await;
    assert!(
        tilde == "/test/~user/update" || tilde == "/test/%7Euser/update",
        "{tilde}"
    );
    assert_eq!(gateway.target("/test/a%3Ab/update").await, "/test/a%3Ab/update");
    assert_eq!(gateway.reached("/test//update").await, "404");
    assert_eq!(gateway.reached("/test/a/b/update").await, "404");
}

#[tokio::test]
async fn stripping_a_prefix_adds_no_slash_before_the_query() {
    let gateway = Gateway::start().await;
    let base = format!("{}/base", gateway.a.url());
    let strip = "rewrite: { strip_prefix: /v1/test/service }";
    let document = with_routes(
        &[("a", &base)],
        &[
            format!("{{ path: /v1/test/service, upstream: a, {strip} }}"),
            format!("{{ path: '/v1/test/service/**', upstream: a, {strip} }}"),
        ],
    );
    gateway.cluster.apply(&document).await;
    assert_eq!(gateway.target("/v1/test/service?x=1&y=2").await, "/base?x=1&y=2");
    assert_eq!(gateway.target("/v1/test/service").await, "/base");
    assert_eq!(gateway.target("/v1/test/service/?x=1").await, "/base/?x=1");
    let leaf = gateway.target("/v1/test/service/leaf?").await;
    assert!(leaf == "/base/leaf?" || leaf == "/base/leaf", "{leaf}");
}

#[tokio::test]
async fn a_catch_all_never_outranks_an_exact_host_however_many_hosts_there_are() {
    let gateway = Gateway::start().await;
    let fixed = "  catch: { hosts: ['*'], routes: [{ path: 'regex:^/(?:[a-z0-9-]+/)*(?:[a-z0-9-]*)$', upstream: c }] }
  wild: { hosts: ['*.shop.example.com'], routes: [{ path: '/**', upstream: b }] }
  exact: { hosts: [a.shop.example.com], routes: [{ path: /, upstream: a }] }\n";
    let further: String = (0..150)
        .map(|n| format!("  more{n}: {{ hosts: [more{n}.example.org], routes: [{{ path: /, upstream: b }}] }}\n"))
        .collect();
    for gateways in [fixed.to_owned(), format!("{fixed}{further}")] {
        gateway
            .cluster
            .apply(&format!("{}gateways:\n{gateways}", gateway.upstreams()))
            .await;
        for (host, path, right) in [
            ("a.shop.example.com", "/", "a"),
            ("bb.shop.example.com", "/", "b"),
            ("x.a.shop.example.com", "/", "b"),
            ("shop.example.com", "/", "c"),
            ("example.net", "/", "c"),
            // The chosen host decides alone: no other gateway is asked.
            ("a.shop.example.com", "/deep/path", "404"),
            ("A.Shop.Example.Com:8080", "/", "a"),
        ] {
            assert_eq!(gateway.reached_by(host, path).await, right, "{host}{path}");
        }
    }
}

#[tokio::test]
async fn conditions_are_tried_in_rank_order_and_a_miss_goes_on_to_the_next() {
    let gateway = Gateway::start().await;
    gateway
        .routes(&[
            "{ id: plain, path: '/x/{id}', upstream: a }",
            "{ id: beta, path: '/x/{id}', match: { headers: { x-channel: beta } }, upstream: b }",
            "{ id: query, path: '/x/{id}', match: { query: { v: '2' }, headers: { x-channel: beta } }, upstream: c }",
            "{ id: posts, path: '/x/new', methods: [POST], upstream: b }",
        ])
        .await;
    let at = gateway.cluster.node(1).http();
    let name = |answer: Answer| answer.header("x-backend").to_owned();
    assert_eq!(name(Call::get(at, "/x/1").answer().await), "a");
    assert_eq!(
        name(Call::get(at, "/x/1").header("x-channel", "beta").answer().await),
        "b"
    );
    assert_eq!(
        name(Call::get(at, "/x/1?v=2").header("x-channel", "beta").answer().await),
        "c"
    );
    assert_eq!(name(Call::get(at, "/x/1?v=2").answer().await), "a");
    // The literal takes POST alone: a GET goes on to the parameter beside it.
    assert_eq!(name(Call::get(at, "/x/new").answer().await), "a");
    assert_eq!(name(Call::post(at, "/x/new", "").answer().await), "b");
}

#[tokio::test]
async fn a_known_path_with_another_method_is_a_405_that_lists_what_is_allowed() {
    let gateway = Gateway::start().await;
    gateway
        .routes(&[
            "{ path: '/o/{id}', methods: [GET, DELETE], upstream: a }",
            "{ path: /o/new, methods: [POST], upstream: b }",
        ])
        .await;
    let at = gateway.cluster.node(1).http();
    let refused = Call::new(Method::PUT, at, "/o/7").answer().await.expect(405);
    assert_eq!(refused.code(), "method_not_allowed");
    let mut allowed: Vec<&str> = refused.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD"]);
    let refused = Call::new(Method::PUT, at, "/o/new").answer().await.expect(405);
    let mut allowed: Vec<&str> = refused.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST"]);
    Call::new(Method::HEAD, at, "/o/7").answer().await.expect(200);
}

#[tokio::test]
async fn one_normalised_path_decides_the_match_and_is_what_the_service_sees() {
    let gateway = Gateway::start().await;
    gateway
        .routes(&[
            "{ path: '/open/**', upstream: a }",
            "{ path: '/closed/**', upstream: b }",
        ])
        .await;
    let at = gateway.cluster.node(1).http();
    for (asked, backend, seen) in [
        ("/open/../closed/x", "b", "/closed/x"),
        ("/open/%2e%2e/closed/x", "b", "/closed/x"),
        ("/open/./y", "a", "/open/y"),
        ("/%6Fpen/y", "a", "/open/y"),
        ("/open/a%2Fb", "a", "/open/a%2Fb"),
    ] {
        let mut wire = Wire::connect(at).await.expect("the node listens");
        wire.send(format!("GET {asked} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
            .expect("it is taken");
        let head = wire.head().await.expect("an answer").expect("an answer");
        let body: serde_json::Value = serde_json::from_slice(&wire.body(&head).await.expect("a body")).expect("JSON");
        assert_eq!(
            (body["name"].as_str(), body["target"].as_str()),
            (Some(backend), Some(seen)),
            "{asked}"
        );
    }
    for refused in ["/open/..%2fclosed/x", "/../x", "/open/%zz", "/open/%00"] {
        let mut wire = Wire::connect(at).await.expect("the node listens");
        wire.send(format!("GET {refused} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
            .expect("it is taken");
        let head = wire.head().await.expect("an answer").expect("an answer");
        assert_eq!(head.status(), 400, "{refused}");
    }
    assert_eq!(gateway.b.journal().count(), 2);
}

#[tokio::test]
async fn many_routes_answer_as_they_were_made() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    for (count, seed) in [(5, 1), (50, 2), (2_000, 3)] {
        let (document, probes) = many_routes(count, seed);
        cluster.apply(&document).await;
        let mut tried = 0;
        // Every probe of the small documents, a spread of the large one.
        for probe in probes.iter().step_by(probes.len().div_ceil(400)) {
            let method = probe.method.parse().expect("a method");
            let answer = Call::new(method, cluster.node(1).http(), &probe.path)
                .host(HOST)
                .answer()
                .await;
            let found = if answer.status == 200 {
                Ok(answer.text())
            } else {
                Err(answer.status.as_u16())
            };
            assert_eq!(found, probe.right, "{} {} of {count}", probe.method, probe.path);
            tried += 1;
        }
        assert!(tried > 5);
    }
}

#[tokio::test]
async fn an_empty_cluster_knows_no_route() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    let answer = Call::get(cluster.node(1).http(), "/")
        .host(HOST)
        .answer()
        .await
        .expect(404);
    assert_eq!(answer.code(), "no_route");
    assert!(!answer.header("x-request-id").is_empty());
    cluster.apply(&document::answering("now")).await;
    assert_eq!(
        Call::get(cluster.node(1).http(), "/").answer().await.expect(200).text(),
        "now"
    );
}
