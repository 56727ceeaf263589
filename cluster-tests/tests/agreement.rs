//! What a change promises: through any node, whole, once, and never behind what was read before.

use cluster_tests::admin::{Written, version_of};
use cluster_tests::cluster::voters_of;
use cluster_tests::document::{answering, with_routes};
use cluster_tests::{Call, Cluster, World, eventually, rounds};
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TWO_ROUTES: &str = "upstreams: { a: { targets: ['http://127.0.0.1:1'] } }
gateways:
  web:
    hosts: ['*']
    expose: [version, node]
    routes:
      - { id: one, path: /one, respond: { text: '1' } }
      - { id: two, path: /two, upstream: a }
";

#[tokio::test]
async fn a_stale_base_is_a_conflict_and_nothing_changed_is_no_version() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    let first = cluster.apply(&answering("a")).await;
    assert_eq!(first.version, 1);
    let same = cluster.admin(2).apply(&answering("a")).await;
    assert_eq!((same.version, same.changed.len()), (1, 0));
    let second = cluster.admin(3).apply(&answering("b")).await;
    assert_eq!(second.version, 2);
    for n in 1..=3 {
        let admin = cluster.admin(n);
        let call = admin
            .call(Method::PUT, "/v1/config")
            .header("content-type", "application/yaml");
        let stale = call
            .header("if-match", "\"1\"")
            .body(answering("c"))
            .answer()
            .await
            .expect(412);
        assert_eq!(stale.code(), "version_conflict");
    }
    let call = cluster
        .admin(2)
        .call(Method::PUT, "/v1/config")
        .header("content-type", "application/yaml");
    let taken = call
        .header("if-match", "\"2\"")
        .body(answering("c"))
        .answer()
        .await
        .expect(200);
    assert_eq!((Written::of(&taken).version, version_of(&taken)), (3, 3));
}

#[tokio::test]
async fn a_dry_run_tells_the_change_and_makes_none() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    cluster.apply(&answering("a")).await;
    let told = cluster
        .admin(1)
        .put(&answering("b"), "?dry_run")
        .await
        .expect("an answer")
        .expect(200);
    assert!(!Written::of(&told).changed.is_empty());
    assert_eq!(cluster.admin(1).version().await, 1);
    assert_eq!(Call::get(cluster.node(1).http(), "/").answer().await.text(), "a");
}

#[tokio::test]
async fn an_idempotency_key_makes_one_change_of_two_calls() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    let call = |n: usize, key: &str, text: &str| {
        let call = cluster
            .admin(n)
            .call(Method::PUT, "/v1/config")
            .header("content-type", "application/yaml");
        call.header("idempotency-key", key).body(answering(text))
    };
    let first = Written::of(&call(1, "k1", "a").answer().await.expect(200));
    cluster.apply(&answering("between")).await;
    let again = Written::of(&call(2, "k1", "a").answer().await.expect(200));
    assert_eq!((again.version, again.changed), (first.version, first.changed));
    assert_eq!(cluster.admin(3).version().await, 2);
    let reused = call(3, "k1", "another body").answer().await.expect(409);
    assert_eq!(reused.code(), "idempotency_reuse");
}

#[tokio::test]
async fn a_part_is_read_written_and_deleted_alone() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    cluster.apply(TWO_ROUTES).await;
    let admin = cluster.admin(2);
    let part = "/v1/config/gateways/web/routes/one";
    let read = admin.get(part).await.expect("an answer").expect(200);
    assert_eq!((version_of(&read), read.json()["path"].as_str()), (1, Some("/one")));

    let changed = admin
        .put_part(
            "/gateways/web/routes/one",
            "{ path: /one, respond: { text: '2' } }",
            "?wait=all",
        )
        .await;
    let changed = Written::of(&changed.expect("an answer").expect(200));
    assert_eq!(
        (changed.version, changed.changed),
        (2, vec!["gateways/web/routes/one".to_owned()])
    );
    for node in cluster.nodes() {
        assert_eq!(Call::get(node.http(), "/one").answer().await.expect(200).text(), "2");
    }
    assert_eq!(
        version_of(&admin.get("/v1/config/upstreams/a").await.expect("an answer")),
        1
    );
    assert_eq!(version_of(&admin.get(part).await.expect("an answer")), 2);

    let needed = admin
        .call(Method::DELETE, "/v1/config/upstreams/a")
        .answer()
        .await
        .expect(422);
    assert_eq!(needed.code(), "invalid_config");
    admin
        .call(Method::DELETE, "/v1/config/gateways/web/routes/two?wait=all")
        .answer()
        .await
        .expect(200);
    admin
        .call(Method::DELETE, "/v1/config/upstreams/a?wait=all")
        .answer()
        .await
        .expect(200);
    let left = admin.document().await;
    assert_eq!(
        left["gateways"]["web"]["routes"].as_array().map(Vec::len),
        Some(1),
        "{left}"
    );
    assert!(left["upstreams"].get("a").is_none());
    admin
        .get("/v1/config/upstreams/a")
        .await
        .expect("an answer")
        .expect(404);
}

#[tokio::test]
async fn history_tells_who_did_what_and_a_rollback_brings_it_back_as_a_new_version() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    for text in ["a", "b", "c"] {
        cluster.apply(&answering(text)).await;
    }
    let history = cluster.admin(3).history().await;
    let versions: Vec<_> = history
        .iter()
        .filter_map(|entry| entry["version"].as_u64())
        .filter(|v| *v > 0)
        .collect();
    assert_eq!(versions, [3, 2, 1]);
    for field in ["at", "author", "request_id", "changed"] {
        assert!(!history[0][field].is_null(), "{field}: {}", history[0]);
    }
    let old = cluster
        .admin(2)
        .get("/v1/config?version=1")
        .await
        .expect("an answer")
        .expect(200)
        .json();
    assert!(old.to_string().contains("\"a\""), "{old}");
    let back = cluster
        .admin(2)
        .post("/v1/config/rollback/1?wait=all")
        .await
        .expect("an answer")
        .expect(200);
    assert_eq!(Written::of(&back).version, 4);
    for node in cluster.nodes() {
        assert_eq!(Call::get(node.http(), "/").answer().await.text(), "a");
    }
    let unknown = cluster
        .admin(2)
        .post("/v1/config/rollback/99")
        .await
        .expect("an answer");
    assert!(unknown.status.is_client_error(), "{}", unknown.text());
}

#[tokio::test]
async fn writers_on_all_nodes_at_once_lose_nothing_and_make_one_row_of_versions() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    cluster.apply(&answering("base")).await;
    let mut writers = tokio::task::JoinSet::new();
    let each = 15;
    for n in 1..=3 {
        let admin = cluster.admin(n);
        writers.spawn(async move {
            let mut versions = Vec::new();
            for number in 0..each {
                let id = format!("n{n}-{number}");
                let route = format!("{{ path: /{id}, respond: {{ text: '{id}' }} }}");
                let part = format!("/gateways/web/routes/{id}");
                let written = eventually("the route to be taken", || async {
                    match admin.put_part(&part, &route, "").await {
                        Ok(answer) if answer.status == 200 => Ok(Written::of(&answer)),
                        Ok(answer) => Err(answer.text()),
                        Err(error) => Err(error.to_string()),
                    }
                })
                .await;
                versions.push(written.version);
            }
            versions
        });
    }
    let mut all: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (2..2 + 3 * each as u64).collect::<Vec<_>>());
    cluster.live(*all.last().expect("there are some")).await;
    for n in 1..=3 {
        for number in 0..each {
            let id = format!("n{n}-{number}");
            let answer = Call::get(cluster.node(n % 3 + 1).http(), format!("/{id}"))
                .answer()
                .await
                .expect(200);
            assert_eq!(answer.text(), id);
        }
    }
}

#[tokio::test]
async fn no_linearizable_read_is_behind_an_acknowledged_change_while_leaders_restart() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    cluster.apply(&answering("v0")).await;
    let acknowledged = Arc::new(AtomicU64::new(1));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    let admins: Vec<_> = (1..=3).map(|n| cluster.admin(n)).collect();
    {
        let (admins, acknowledged, stop) = (admins.clone(), acknowledged.clone(), stop.clone());
        tasks.spawn(async move {
            let mut beat = cluster_tests::wait::beat(std::time::Duration::from_millis(20));
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                beat.tick().await;
                number += 1;
                let answer = admins[number % 3].put(&answering(&format!("v{number}")), "").await;
                if let Ok(answer) = answer
                    && answer.status == 200
                {
                    acknowledged.fetch_max(Written::of(&answer).version, Ordering::SeqCst);
                }
            }
        });
    }
    let reads = Arc::new(AtomicU64::new(0));
    for admin in admins {
        let (acknowledged, stop, reads) = (acknowledged.clone(), stop.clone(), reads.clone());
        tasks.spawn(async move {
            let mut beat = cluster_tests::wait::beat(std::time::Duration::from_millis(5));
            while !stop.load(Ordering::Relaxed) {
                beat.tick().await;
                let floor = acknowledged.load(Ordering::SeqCst);
                let Ok(answer) = admin.get("/v1/config?read=linearizable").await else {
                    continue;
                };
                if answer.status == 200 {
                    let seen = version_of(&answer);
                    assert!(seen >= floor, "read {seen} after {floor} was acknowledged");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    for _ in 0..rounds(4, 50) {
        let leader = cluster.leader().await;
        cluster.node_mut(leader).kill();
        cluster.restart(leader).await;
        let from = reads.load(Ordering::Relaxed);
        eventually("reads to go on", || async {
            if reads.load(Ordering::Relaxed) > from {
                Ok(())
            } else {
                Err("none")
            }
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    let last = acknowledged.load(Ordering::SeqCst);
    cluster.live(last).await;
}

/// What a command does to the list of (name, role).
fn follow(members: &mut Vec<(String, String)>, name: &str, what: &str) {
    match what {
        "promote" => members
            .iter_mut()
            .filter(|(n, _)| n == name)
            .for_each(|(_, role)| *role = "voter".into()),
        _ => members.retain(|(n, _)| n != name),
    }
}

#[tokio::test]
async fn changing_one_member_leaves_the_others_as_they_are() {
    use cluster_tests::Node;
    use cluster_tests::node::Settings;
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    cluster.apply(&answering("x")).await;
    let mut learners = Vec::new();
    for n in 4..=6 {
        let mut settings = Settings::of(&world, n);
        settings.join = vec![cluster.node(1).settings().peer.to_string()];
        let mut node = Node::new(&world, settings);
        node.start();
        learners.push(node);
    }
    for node in &learners {
        node.ready().await;
    }
    let roles = |view: &serde_json::Value| -> Vec<(String, String)> {
        let mut roles: Vec<_> = view["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|node| {
                (
                    node["name"].as_str().unwrap_or("").to_owned(),
                    node["role"].as_str().unwrap_or("").to_owned(),
                )
            })
            .collect();
        roles.sort();
        roles
    };
    let mut expected = roles(&cluster.seen_by(1, "six members", |view| roles(view).len() == 6).await);
    let follower = (1..=3).find(|n| *n != 1).expect("there is one");
    for (name, what) in [("n4", "promote"), ("n6", "remove")] {
        let target = format!("/v1/cluster/members/{name}/{what}");
        let view = cluster
            .admin(follower)
            .post(&target)
            .await
            .expect("an answer")
            .expect(200)
            .json();
        follow(&mut expected, name, what);
        assert_eq!(roles(&view), expected, "{what} {name}");
    }
    // Two at once, through two nodes: each is done whole, or refused and then done when it is said again.
    let say = |n: usize, target: &'static str| {
        let admin = cluster.admin(n);
        async move {
            eventually(target, || async {
                match admin.post(target).await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(answer.text()),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await
        }
    };
    tokio::join!(
        say(2, "/v1/cluster/members/n5/promote"),
        say(3, "/v1/cluster/members/n4/remove")
    );
    follow(&mut expected, "n5", "promote");
    follow(&mut expected, "n4", "remove");
    cluster
        .seen_by(1, "both to be done", |view| roles(view) == expected)
        .await;
    assert_eq!(
        voters_of(&cluster.admin(1).cluster().await.expect("the cluster")),
        ["n1", "n2", "n3", "n5"]
    );
    cluster
        .apply(&with_routes::<&str>(&[], &["{ path: /, respond: { text: y } }"]))
        .await;
}
