//! Every example of docs/examples is applied as its reader would apply it, and does what its comments say.

use cluster_tests::backend::answer_of;
use cluster_tests::document::examples;
use cluster_tests::http2_service::{self, Service};
use cluster_tests::{Answer, Backend, Call, Cluster, Command, World, eventually};
use http::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// The services of the demo, in the order of their ports from 9101 on; the examples are written for them.
const SERVICES: [&str; 6] = ["orders-1", "orders-2", "users", "echo", "slow", "spare"];

/// A node with a named listener, and services in the places where the examples look for them.
struct Stage {
    cluster: Cluster,
    services: Vec<Backend>,
    world: World,
}

impl Stage {
    async fn set() -> Self {
        let world = World::new();
        let mut services = Vec::new();
        for name in SERVICES {
            services.push(match name {
                "slow" => slow(world.service()).await,
                name => world.echo(name).await,
            });
        }
        let mut cluster = Cluster::of(1).make(&world).await;
        let partner = format!("partner=http://{}", world.block().at(1, 8090));
        cluster
            .node_mut(1)
            .settings_mut()
            .flags
            .extend(["--listen-named".to_owned(), partner]);
        cluster.start_all().await;
        // Examples of an older level come first, and the cluster stays where its first change left it.
        let raised = cluster.admin(1).post("/v1/cluster/upgrade/finalize").await;
        raised.expect("an answer").expect(200);
        Self {
            world,
            cluster,
            services,
        }
    }

    /// The service in this place is gone, and another one comes in its place, which only the next example knows.
    async fn ends(&mut self, place: usize) {
        self.services[place] = self.world.echo("again").await;
    }

    /// The text of an example, with the services' addresses put in.
    fn text(&self, name: &str) -> String {
        let found = examples().into_iter().find(|(file, _)| file == name);
        let (_, mut text) = found.unwrap_or_else(|| panic!("docs/examples/{name} is not there"));
        for (place, service) in self.services.iter().enumerate() {
            // Those behind the demo's own are its reader's.
            let port = if place < SERVICES.len() {
                9101 + place
            } else {
                9201 + place - SERVICES.len()
            };
            for host in ["127.0.0.1", "localhost"] {
                text = text.replace(&format!("http://{host}:{port}"), &service.url());
            }
        }
        text
    }

    /// Applies an example by the command.
    async fn apply(&self, name: &str) {
        let file = self.world.file(name, self.text(name)).display().to_string();
        let admin = self.cluster.admin(1).address();
        Command::new(&self.world, &["check", &file]).run().await.expect(0);
        Command::new(&self.world, &["apply", "--prune", "-f", &file])
            .at(admin)
            .run()
            .await
            .expect(0);
    }

    fn at(&self) -> SocketAddr {
        self.cluster.node(1).http()
    }

    async fn get(&self, path: &str) -> Answer {
        Call::get(self.at(), path).answer().await
    }

    async fn text_of(&self, path: &str) -> String {
        self.get(path).await.expect(200).text()
    }

    async fn by_host(&self, host: &str) -> String {
        Call::get(self.at(), "/").host(host).answer().await.expect(200).text()
    }

    /// What the service was sent.
    async fn seen(&self, path: &str) -> Value {
        self.get(path).await.expect(200).json()
    }
}

/// `/slow/MS` answers after so many milliseconds.
async fn slow(at: SocketAddr) -> Backend {
    Backend::scripted(at, |mut wire, journal, _| async move {
        while let Some(head) = wire.head().await? {
            journal.note(&head);
            let millis = head
                .target()
                .rsplit('/')
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            cluster_tests::wait::pass(Duration::from_millis(millis)).await;
            wire.send(answer_of("slow", &head, b"", &[])).await?;
        }
        Ok(())
    })
    .await
}

fn fields(seen: &Value, name: &str) -> Vec<String> {
    let all = seen["headers"].as_array().expect("the echo tells them").iter();
    let named = all.filter(|field| field[0].as_str().is_some_and(|spelt| spelt.eq_ignore_ascii_case(name)));
    named.map(|field| field[1].as_str().unwrap_or("").to_owned()).collect()
}

#[tokio::test]
async fn hosts_paths_and_methods() {
    let stage = Stage::set().await;
    stage.apply("first.yaml").await;
    assert_eq!(stage.seen("/anything").await["target"], "/anything");

    stage.apply("hosts.yaml").await;
    for (host, said) in [
        ("shop.example.com", "shop\n"),
        ("a.b.example.com", "any name below example.com\n"),
        ("example.com", "anything else\n"),
        ("M.Shop.Example.Com:80", "mobile\n"),
    ] {
        assert_eq!(stage.by_host(host).await, said, "{host}");
    }

    stage.apply("route-hosts.yaml").await;
    assert_eq!(stage.by_host("de.example.com").await, "Guten Tag\n");
    assert_eq!(stage.by_host("fr.example.com").await, "Good day\n");

    stage.apply("paths.yaml").await;
    for (path, said) in [
        ("/orders/latest", "the latest order\n"),
        ("/orders/7", "order 7\n"),
        ("/orders/7/items/2", "item 2 of order 7\n"),
        ("/files/a/b.txt", "file a/b.txt\n"),
        ("/v12/x", "some version\n"),
    ] {
        assert_eq!(stage.text_of(path).await, said, "{path}");
    }
    stage.get("/orders/").await.expect(404);
    stage.get("/healthz").await.expect(204);

    stage.apply("methods.yaml").await;
    assert_eq!(stage.text_of("/orders").await, "GET\n");
    assert_eq!(Call::post(stage.at(), "/orders", "").answer().await.text(), "POST\n");
    let refused = Call::new(Method::DELETE, stage.at(), "/orders")
        .answer()
        .await
        .expect(405);
    assert_eq!(refused.header("allow"), "GET, HEAD, POST");
}

#[tokio::test]
async fn conditions_priorities_and_listeners() {
    let stage = Stage::set().await;
    stage.apply("match.yaml").await;
    let said = |call: Call| async move { call.answer().await.expect(200).text() };
    let root = || Call::get(stage.at(), "/");
    assert_eq!(
        said(root().header("x-channel", "beta").header("user-agent", "curl/8.5")).await,
        "beta\n"
    );
    assert_eq!(said(root().header("x-channel", "beta-2")).await, "some beta\n");
    assert_eq!(said(Call::get(stage.at(), "/?debug=1")).await, "debugging\n");
    assert_eq!(said(root().header("accept", "text/html")).await, "from this machine\n");
    assert_eq!(said(root().header("x-channel", "beta-x")).await, "all others\n");

    stage.apply("priority.yaml").await;
    let maintenance = stage.get("/orders/7").await.expect(503);
    assert_eq!(maintenance.header("retry-after"), "600");
    assert_eq!(stage.text_of("/status").await, "in maintenance\n");

    stage.apply("listeners.yaml").await;
    assert_eq!(stage.text_of("/").await, "public\n");
    let partner = stage.world.block().at(1, 8090);
    assert_eq!(Call::get(partner, "/").answer().await.expect(200).text(), "partner\n");
    // A node without the listener refuses the change, and is named.
    let other = World::new();
    let plain = Cluster::one(&other).await;
    let refused = plain
        .admin(1)
        .put(&stage.text("listeners.yaml"), "")
        .await
        .expect("an answer")
        .expect(422);
    assert!(
        refused.text().contains("partner") && refused.text().contains("n1"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn answers_redirects_and_values() {
    let stage = Stage::set().await;
    stage.apply("respond.yaml").await;
    assert_eq!(stage.text_of("/hello/Ada").await, "Hello, Ada!\n");
    let told = stage.get("/json/7").await.expect(200);
    assert_eq!(told.header("cache-control"), "no-store");
    let told = told.json();
    assert_eq!((&told["id"], &told["from"]), (&"7".into(), &"127.0.0.1".into()));
    assert_eq!(told["nested"], serde_json::json!({ "number": 1.5, "nothing": null }));
    let page = stage.get("/page").await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text().ends_with("You asked for /page"));
    assert!(stage.get("/gone").await.expect(410).body.is_empty());

    stage.apply("redirect.yaml").await;
    assert_eq!(
        stage.get("/bestellungen/7").await.expect(308).header("location"),
        "/orders/7"
    );
    let moved = stage.get("/old?id=7").await.expect(302);
    assert_eq!(moved.header("location"), "https://shop.example.com/orders?id=7");

    stage.apply("values.yaml").await;
    let answer = Call::get(stage.at(), "/values/7/a/b?lang=de")
        .host("h.example")
        .header("user-agent", "me")
        .answer()
        .await;
    let id = answer.header("x-request-id").to_owned();
    let told = answer.expect(200).json();
    for (name, value) in [
        ("method", "GET"),
        ("scheme", "http"),
        ("host", "h.example"),
        ("asked", "/values/7/a/b"),
        ("query", "lang=de"),
        ("lang", "de"),
        ("agent", "me"),
        ("request", id.as_str()),
        ("client", "127.0.0.1"),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    assert_eq!(told["params"], serde_json::json!(["7", "a/b"]));
    assert_eq!(stage.text_of("/plain").await, "${params.id}\n");
}

#[tokio::test]
async fn what_the_service_sees() {
    let stage = Stage::set().await;
    stage.apply("base-path.yaml").await;
    assert_eq!(stage.seen("/x").await["target"], "/base/x");

    stage.apply("rewrite.yaml").await;
    for (asked, seen) in [
        ("/shop/a%20b?x=1", "/a%20b?x=1"),
        ("/v1/items/7", "/items/7/show"),
        ("/find/red", "/search?q=red"),
        ("/find/red?page=2", "/search?q=red"),
    ] {
        assert_eq!(stage.seen(asked).await["target"], seen, "{asked}");
    }

    stage.apply("headers.yaml").await;
    let call = Call::get(stage.at(), "/x?token=secret&lang=en")
        .header("x-debug", "1")
        .header("user-agent", "me");
    let answer = call.answer().await.expect(200);
    assert_eq!(
        (answer.header("x-content-type-options"), answer.header("vary")),
        ("nosniff", "X-Client")
    );
    let seen = answer.json();
    assert_eq!(fields(&seen, "x-client"), ["127.0.0.1"]);
    assert_eq!(fields(&seen, "x-agent"), ["me"]);
    assert_eq!(fields(&seen, "x-via"), ["sluice"]);
    assert!(fields(&seen, "x-debug").is_empty());
    let target = seen["target"].as_str().expect("the echo tells it");
    assert!(
        target.contains("lang=de") && target.contains("asked=") && !target.contains("token"),
        "{target}"
    );
    assert!(!target.contains("lang=en"), "{target}");

    stage.apply("host.yaml").await;
    let own = stage.services[3].address().to_string();
    for (path, host) in [
        ("/preserve", "shop.example.com"),
        ("/target", own.as_str()),
        ("/literal", "orders.internal"),
    ] {
        let seen = Call::get(stage.at(), path)
            .host("shop.example.com")
            .answer()
            .await
            .expect(200)
            .json();
        assert_eq!(fields(&seen, "host"), [host], "{path}");
    }

    stage.apply("trusted-proxies.yaml").await;
    let forwarded = |path: &str| Call::get(stage.at(), path).header("x-forwarded-for", "192.0.2.7");
    let seen = forwarded("/").answer().await.expect(200).json();
    assert_eq!(fields(&seen, "x-forwarded-for"), ["192.0.2.7, 127.0.0.1"]);
    assert_eq!(forwarded("/who").answer().await.expect(200).text(), "192.0.2.7\n");

    stage.apply("split.yaml").await;
    let tester = || Call::get(stage.at(), "/checkout").header("x-canary", "1");
    for _ in 0..3 {
        let told = tester().answer().await.expect(200);
        assert_eq!(
            (&told.json()["name"], told.headers.get("set-cookie")),
            (&"orders-2".into(), None)
        );
    }
    let first = stage.get("/checkout").await.expect(200);
    let cookie = first.header("set-cookie").split(';').next().expect("a pair").to_owned();
    for _ in 0..5 {
        let again = Call::get(stage.at(), "/checkout").header("cookie", &cookie);
        let again = again.answer().await.expect(200);
        assert_eq!(again.json()["name"], first.json()["name"]);
        assert!(!again.headers.contains_key("set-cookie"));
    }

    stage.apply("encoded-slash.yaml").await;
    assert_eq!(stage.seen("/files/a%2Fb").await["target"], "/files/a%2Fb");
    stage.get("/files/..%2Fb").await.expect(400);
    assert_eq!(stage.get("/strict/a%2Fb").await.expect(400).code(), "encoded_slash");
}

#[tokio::test]
async fn upstreams_and_bounds() {
    let stage = Stage::set().await;
    stage.apply("targets.yaml").await;
    for _ in 0..30 {
        stage.get("/orders/7").await.expect(200);
    }
    let counts = [0, 1, 5].map(|place: usize| stage.services[place].journal().count());
    assert_eq!(counts, [10, 20, 0]);
    assert_eq!(stage.seen("/users/7").await["name"], "users");

    stage.apply("anchors.yaml").await;
    assert_eq!(stage.seen("/orders/7").await["name"], "orders-1");
    assert_eq!(stage.seen("/users/7").await["name"], "users");

    stage.apply("pool.yaml").await;
    assert_eq!(stage.seen("/orders/7").await["name"], "orders-1");

    stage.apply("timeouts.yaml").await;
    stage.get("/slow/100").await.expect(200);
    assert_eq!(stage.get("/slow/1500").await.expect(504).code(), "upstream_timeout");
    stage.get("/patient/1500").await.expect(200);

    stage.apply("max-body.yaml").await;
    let refused = Call::post(stage.at(), "/small", vec![b'x'; 2_000])
        .answer()
        .await
        .expect(413);
    assert_eq!(refused.code(), "body_too_large");
    let large = vec![b'x'; 20_000_000];
    let seen = Call::post(stage.at(), "/large", large.clone())
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(seen["length"], large.len());

    stage.apply("upgrade.yaml").await;
    let asking = |path: &str| {
        Call::get(stage.at(), path)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
    };
    let seen = asking("/chat").answer().await.expect(200).json();
    assert_eq!(fields(&seen, "upgrade"), ["websocket"]);
    let refused = asking("/plain").answer().await.expect(501);
    assert_eq!(refused.code(), "upgrade_not_allowed");
    stage.get("/plain").await.expect(200);

    stage.apply("expose.yaml").await;
    let answer = stage.get("/").await.expect(200);
    assert_eq!(answer.header("sluice-node"), "n1");
    let version = stage.cluster.admin(1).version().await;
    assert_eq!(answer.header("sluice-version"), version.to_string());

    stage.apply("access-log.yaml").await;
    assert_eq!(stage.text_of("/").await, "hello\n");
    stage.cluster.node(1).says("\"target\":\"access\"").await;

    stage.apply("stale.yaml").await;
    assert_eq!(stage.text_of("/").await, "hello\n");
    stage.cluster.admin(1).readyz().await.expect("an answer").expect(200);
}

#[tokio::test]
async fn services_that_fail() {
    let mut stage = Stage::set().await;
    stage.apply("health.yaml").await;
    let asked = |stage: &Stage| [0, 1].map(|place: usize| stage.services[place].journal().count_of("GET /healthz"));
    eventually("both are checked", || async {
        if asked(&stage).iter().all(|count| *count > 0) {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    stage.get("/orders/7").await.expect(200);

    stage.apply("retry.yaml").await;
    stage.ends(0).await;
    for _ in 0..10 {
        assert_eq!(stage.seen("/orders/7").await["name"], "orders-2");
    }

    stage.apply("breaker.yaml").await;
    assert_eq!(stage.seen("/orders/7").await["name"], "again");
    stage.ends(0).await;
    // Refused one by one, until the breaker has seen enough.
    let told = eventually("another upstream answers", || async {
        let answer = stage.get("/orders/7").await;
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(answer.code())
        }
    })
    .await;
    assert_eq!(told.json()["name"], "orders-2");
    let told = eventually("the route's own breaker opens", || async {
        let answer = stage.get("/orders/report").await;
        if answer.status == 503 {
            Ok(answer)
        } else {
            Err(answer.code())
        }
    })
    .await;
    assert_eq!(told.text(), "no report now");
}

#[tokio::test]
async fn a_service_of_http2() {
    let mut stage = Stage::set().await;
    // A service of HTTP/2 stands in for the reader's own.
    let greeter = Backend::scripted(stage.world.service(), |wire, _, _| async move {
        let mut service = Service::open(wire).await?;
        while let Some(asked) = service.frame().await? {
            if asked.kind == http2_service::HEADERS {
                let said = http2_service::answer(asked.stream, &asked.fields[":path"]);
                service.say(said).await?;
            }
        }
        Ok(())
    })
    .await;
    stage.services.push(greeter);
    stage.apply("h2c.yaml").await;
    assert_eq!(
        stage.text_of("/greeter.Greeter/SayHello").await,
        "/greeter.Greeter/SayHello"
    );
}

#[tokio::test]
async fn limits_of_clients_and_routes() {
    let stage = Stage::set().await;
    stage.apply("limits.yaml").await;
    let answer = stage.get("/orders/1").await.expect(200);
    let policy = answer.header("ratelimit-policy").to_owned();
    assert!(policy.contains("\"per-client\";q=600;w=60"), "{policy}");
    let refused = eventually("a report beyond the burst", || async {
        let answer = stage.get("/reports/1").await;
        match answer.status.as_u16() {
            429 => Ok(answer),
            status => Err(status.to_string()),
        }
    })
    .await;
    assert_eq!(refused.json()["policy"], "reports");
}

#[test]
fn no_example_is_forgotten_here() {
    let this = include_str!("examples.rs");
    let forgotten: BTreeSet<String> = examples()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !this.contains(&format!("\"{name}\"")))
        .collect();
    assert!(forgotten.is_empty(), "apply and exercise these too: {forgotten:?}");
}
