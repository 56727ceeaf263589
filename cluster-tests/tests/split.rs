//! Splitting traffic: three nodes decide alike, weights change without a file, and what cannot be is refused whole.

use cluster_tests::{Answer, Backend, Call, Cluster, Command, World};
use http::Method;

/// Three nodes in front of two services, with a route that splits between them.
struct Shop {
    cluster: Cluster,
    stable: Backend,
    next: Backend,
    world: World,
}

impl Shop {
    async fn open() -> Self {
        let world = World::new();
        let (stable, next) = (world.echo("stable").await, world.echo("next").await);
        let cluster = Cluster::three(&world).await;
        let shop = Self {
            cluster,
            stable,
            next,
            world,
        };
        shop.cluster.apply(&shop.document(ARMS)).await;
        shop
    }

    fn document(&self, arms: &str) -> String {
        let [stable, next] = [&self.stable, &self.next].map(Backend::url);
        format!(
            "upstreams:\n  stable: {{ targets: ['{stable}'] }}\n  next: {{ targets: ['{next}'] }}\n\
             gateways:\n  web:\n    hosts: ['*']\n    routes:\n      - {{ id: shop, path: /**, split: {{ to: {arms}, sticky: {{ cookie: arm }} }} }}\n"
        )
    }

    /// Asks node `n`.
    async fn ask(&self, n: usize, fields: &[(&str, &str)]) -> Answer {
        let call = Call::get(self.cluster.node(n).http(), "/");
        let call = fields.iter().fold(call, |call, (name, value)| call.header(name, value));
        call.answer().await.expect(200)
    }

    async fn set(&self, weights: &[&str]) -> cluster_tests::command::Done {
        let words = [&["split", "set", "web/shop"], weights].concat();
        let command = Command::new(&self.world, &words);
        command.at(self.cluster.admin(2).address()).run().await
    }
}

const ARMS: &str =
    "[{ upstream: stable, weight: 1 }, { upstream: next, weight: 1, when: \"request.headers['x-canary'] == '1'\" }]";

fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    set.split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_client_keeps_its_arm_on_every_node_and_a_canary_is_one_everywhere() {
    let shop = Shop::open().await;
    for n in 1..=3 {
        let canary = shop.ask(n, &[("x-canary", "1")]).await;
        assert_eq!((canary.header("x-backend"), canary.header("set-cookie")), ("next", ""));
    }
    // Both arms, each by a cookie that another node gave.
    let mut known: Vec<(String, String)> = Vec::new();
    while known.len() < 2 {
        let first = shop.ask(1, &[]).await;
        let arm = first.header("x-backend").to_owned();
        if known.iter().all(|(other, _)| *other != arm) {
            known.push((arm, cookie(&first)));
        }
    }
    for (arm, pair) in &known {
        for n in [1, 2, 3, 2] {
            let again = shop.ask(n, &[("cookie", pair)]).await;
            assert_eq!(
                (again.header("x-backend"), again.header("set-cookie")),
                (arm.as_str(), "")
            );
        }
    }
    // Weights move only those without a cookie, until an arm has none.
    shop.set(&["stable=1000", "next=1"]).await.expect(0);
    let (_, of_next) = known.iter().find(|(arm, _)| arm == "next").expect("both are known");
    let stays = || async { shop.ask(3, &[("cookie", of_next)]).await };
    assert_eq!(stays().await.header("x-backend"), "next");
    let done = shop.set(&["next=0", "-m", "back", "--wait", "all"]).await.expect(0);
    assert!(done.err.contains("live on"), "{}", done.err);
    let moved = stays().await;
    assert_eq!(moved.header("x-backend"), "stable");
    assert_ne!(cookie(&moved), *of_next);
    let counted = shop.cluster.admin(3);
    let labels = ["gateway=\"web\"", "http_route=\"/**\"", "upstream=\"next\""];
    assert!(counted.metric("sluice_split_requests_total", &labels).await >= 2.0);
    let history = shop.cluster.admin(1).history().await;
    assert_eq!(history[0]["message"], "back");
}

#[tokio::test]
async fn a_split_that_cannot_be_is_refused_whole_and_its_upstreams_are_held() {
    let shop = Shop::open().await;
    let admin = shop.cluster.admin(3);
    let before = admin.version().await;
    for (arms, said) in [
        (
            "[{ upstream: stable, weight: 0 }, { upstream: next, weight: 0 }]",
            "all weights are 0",
        ),
        (
            "[{ upstream: stable, weight: 0 }, { upstream: next, when: 'true' }]",
            "no arm has a weight above 0",
        ),
        ("[{ upstream: stable }, { upstream: nxt }]", "did you mean `next`?"),
        (
            "[{ upstream: stable }, { upstream: next, when: \"request.heders['x'] == '1'\" }]",
            "did you mean request.headers?",
        ),
        (
            "[{ upstream: stable }, { upstream: next, when: 'request.path' }]",
            "a condition is true or false",
        ),
    ] {
        let refused = admin
            .put(&shop.document(arms), "")
            .await
            .expect("an answer")
            .expect(422);
        assert!(refused.text().contains(said), "{}", refused.text());
        assert!(refused.json()["errors"][0]["line"].is_u64(), "{}", refused.text());
    }
    let held = admin
        .call(Method::DELETE, "/v1/config/upstreams/next")
        .send()
        .await
        .expect("an answer")
        .expect(422);
    assert!(held.text().contains("next"), "{}", held.text());
    let refused = shop.set(&["stable=0", "next=0"]).await.expect(1);
    assert!(refused.err.contains("all weights would be 0"), "{}", refused.err);
    let refused = shop.set(&["nothing=1"]).await.expect(1);
    assert!(refused.err.contains("it has stable, next"), "{}", refused.err);
    assert_eq!(admin.version().await, before);
    assert_eq!(shop.ask(1, &[("x-canary", "1")]).await.header("x-backend"), "next");
}
