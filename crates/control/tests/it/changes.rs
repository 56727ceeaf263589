//! A change's way through three nodes.

use crate::world::{World, answering, eventually, part, request, start, whole};
use sluice_control::{Freshness, Refusal, Target, Wait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_made_through_any_node_is_live_on_all() {
    let world = World::of(3);
    let nodes = world.start().await;
    for (n, node) in nodes.iter().enumerate() {
        let reply = node.put(&answering(&format!("by {n}"))).await.unwrap();
        assert_eq!(reply.version, n as u64 + 1);
        assert_eq!(reply.live, ["n1", "n2", "n3"]);
        assert!(reply.pending.is_empty());
    }
    for node in &nodes {
        node.serves(3).await;
        let history = node.control.history(None, None, 10);
        let versions: Vec<u64> = history.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, [3, 2, 1]);
        assert_eq!(history[0].author, "test");
        assert_eq!(history[0].message.as_deref(), Some("because"));
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_change_was_not_made_for_is_refused() {
    let world = World::of(1);
    let nodes = world.start().await;
    let node = &nodes[0];
    node.put(&answering("one")).await.unwrap();
    node.put(&answering("two")).await.unwrap();
    let mut late = request(whole(&answering("late")));
    late.if_version = Some(1);
    let refused = node.control.change(late).await.unwrap_err();
    assert_eq!(refused, Refusal::VersionConflict { expected: 1, head: 2 });
    let same = node.put(&answering("two")).await.unwrap();
    assert_eq!(
        (same.version, same.changed.len()),
        (2, 0),
        "what changes nothing makes no version"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_with_its_key_answers_as_the_first_did() {
    let world = World::of(3);
    let nodes = world.start().await;
    let mut first = request(whole(&answering("one")));
    first.idempotency_key = Some("k1".to_owned());
    let made = nodes[0].control.change(first.clone()).await.unwrap();
    nodes[1].put(&answering("two")).await.unwrap();
    let again = nodes[2].control.change(first.clone()).await.unwrap();
    assert_eq!((again.version, again.changed), (made.version, made.changed));
    let mut other = request(whole(&answering("three")));
    other.idempotency_key = Some("k1".to_owned());
    assert_eq!(
        nodes[1].control.change(other).await.unwrap_err(),
        Refusal::IdempotencyReuse
    );
    assert_eq!(
        nodes[1]
            .control
            .read(None, Freshness::Linearizable)
            .await
            .unwrap()
            .version,
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_serve_a_change_stops_it_by_name_unless_it_is_forced() {
    let mut world = World::of(3);
    for n in [0, 1] {
        world.plans[n].listeners.push("partner".to_owned());
    }
    let nodes = world.start().await;
    let document = "upstreams: { u: { targets: ['http://127.0.0.1:9'] } }\ngateways:\n  web:\n    hosts: ['*']\n    listen: [partner]\n    routes:\n      - { path: /, upstream: u }\n";
    let refused = nodes[0].put(document).await.unwrap_err();
    let Refusal::Invalid { errors } = refused else {
        panic!("{refused}")
    };
    assert!(
        errors
            .iter()
            .all(|error| error.message.contains("n3") && error.message.contains("partner")),
        "{errors:?}"
    );
    assert_eq!(
        nodes[1]
            .control
            .read(None, Freshness::Linearizable)
            .await
            .unwrap()
            .version,
        0
    );
    let mut forced = request(whole(document));
    (forced.force, forced.timeout) = (true, std::time::Duration::from_millis(500));
    let reply = nodes[0].control.change(forced).await.unwrap();
    assert_eq!(reply.live, ["n1", "n2"]);
    assert_eq!(reply.pending[0].name, "n3");
    assert!(reply.pending[0].why.contains("partner"), "{}", reply.pending[0].why);
    eventually("n3 says so; it never served anything else", || async {
        let ready = nodes[2].control.ready();
        !ready.ready && ready.degraded.iter().any(|degraded| degraded.what == "version")
    })
    .await;
    let mended = nodes[2].put(&answering("mended")).await.unwrap();
    assert_eq!(
        mended.live,
        ["n1", "n2", "n3"],
        "a node that could not serve one version serves the next"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_changes_that_are_sound_alone_never_leave_a_dangling_reference() {
    let world = World::of(3);
    let nodes = world.start().await;
    for round in 0..5 {
        let document = "upstreams: { u: { targets: ['http://127.0.0.1:9'] }, v: { targets: ['http://127.0.0.1:9'] } }\ngateways: { web: { hosts: ['*'], routes: [{ path: /, upstream: v }] } }\n";
        nodes[0].put(document).await.unwrap();
        let route = part("gateways/web/routes/r", "path: /r\nupstream: u\n");
        let (deleted, added) = tokio::join!(nodes[1].delete("upstreams/u"), nodes[2].control.change(request(route)));
        assert!(deleted.is_ok() != added.is_ok(), "round {round}: {deleted:?} {added:?}");
        let refused = deleted.err().or(added.err()).unwrap();
        assert!(matches!(refused, Refusal::Invalid { .. }), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let world = World::of(3);
    let nodes = world.start().await;
    let mut dry = request(whole(&answering("dry")));
    dry.dry_run = true;
    let reply = nodes[1].control.change(dry).await.unwrap();
    assert_eq!((reply.version, reply.changed.len()), (1, 3));
    assert_eq!(
        nodes[2]
            .control
            .read(None, Freshness::Linearizable)
            .await
            .unwrap()
            .version,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_makes_a_new_version_of_old_content() {
    let world = World::of(3);
    let nodes = world.start().await;
    nodes[0].put(&answering("one")).await.unwrap();
    nodes[0].put(&answering("two")).await.unwrap();
    let reply = nodes[1]
        .control
        .change(request(Target::Rollback { version: 1 }))
        .await
        .unwrap();
    assert_eq!(reply.version, 3);
    let read = |version| nodes[2].control.read(version, Freshness::Local);
    assert_eq!(read(Some(3)).await.unwrap().parts, read(Some(1)).await.unwrap().parts);
    let unknown = nodes[1]
        .control
        .change(request(Target::Rollback { version: 9 }))
        .await
        .unwrap_err();
    assert!(matches!(unknown, Refusal::NotFound { .. }), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_read_with_the_version_of_its_last_change() {
    let world = World::of(1);
    let nodes = world.start().await;
    let node = &nodes[0];
    node.put(&answering("one")).await.unwrap();
    node.put_part("gateways/web/routes/more", "path: /more\nupstream: u\n")
        .await
        .unwrap();
    let read = |key: &str| {
        let key = key.parse().unwrap();
        async move { node.control.read_part(&key, Freshness::Local).await }
    };
    assert_eq!(read("gateways/web/routes/more").await.unwrap().version, 2);
    let web = read("gateways/web").await.unwrap();
    assert_eq!(web.version, 2);
    let keys: Vec<String> = web.parts.keys().map(ToString::to_string).collect();
    assert_eq!(
        keys,
        ["gateways/web", "gateways/web/routes/more", "gateways/web/routes/root"]
    );
    assert!(matches!(read("gateways/no").await, Err(Refusal::NotFound { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_changes_and_serving_goes_on_after_a_restart_too() {
    let world = World::of(3);
    let mut nodes = world.start().await;
    nodes[0].put(&answering("kept")).await.unwrap();
    for node in nodes.drain(1..) {
        node.stop().await;
    }
    let alone = nodes.remove(0);
    let mut change = request(whole(&answering("never")));
    change.wait = Wait::Majority;
    let refused = alone.control.change(change).await.unwrap_err();
    let no_one = matches!(
        refused,
        Refusal::NoLeader { .. } | Refusal::NoMajority | Refusal::OutcomeUnknown { .. }
    );
    assert!(no_one, "{refused}");
    let refused = alone.control.read(None, Freshness::Linearizable).await.unwrap_err();
    assert!(
        matches!(refused, Refusal::NoLeader { .. } | Refusal::NoMajority),
        "{refused}"
    );
    assert_eq!(alone.control.live_version(), 1);
    alone.stop().await;
    let back = start(&world.plans[0]).await;
    back.serves(1).await;
    assert!(
        back.control
            .ready()
            .degraded
            .iter()
            .any(|degraded| degraded.what == "majority")
            || !back.control.ready().ready
    );
    back.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_made_on_one_node_opens_another_until_it_is_revoked() {
    let world = World::of(3);
    let nodes = world.start().await;
    let actor = || request(whole(&answering("x"))).actor;
    let token = nodes[0]
        .control
        .create_token("ci", sluice_control::TokenRole::Viewer, actor())
        .await
        .unwrap();
    eventually("the token has arrived", || async {
        nodes[2].control.authenticate(&token).is_some()
    })
    .await;
    assert!(
        nodes[0]
            .control
            .create_token("ci", sluice_control::TokenRole::Admin, actor())
            .await
            .is_err()
    );
    nodes[1].control.revoke_token("ci", actor()).await.unwrap();
    eventually("the token is gone", || async {
        nodes[2].control.authenticate(&token).is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_serve_the_present_version_keeps_the_last_one_over_a_restart() {
    let mut world = World::of(3);
    for n in [0, 1] {
        world.plans[n].listeners.push("partner".to_owned());
    }
    let mut nodes = world.start().await;
    nodes[0].put(&answering("kept")).await.unwrap();
    let document = answering("new").replace("hosts: ['*']", "hosts: ['*']\n    listen: [partner]");
    for text in ["new", "newer"] {
        let mut forced = request(whole(&document.replace("/new'", &format!("/{text}'"))));
        (forced.force, forced.wait) = (true, Wait::Majority);
        nodes[1].control.change(forced).await.unwrap();
    }
    let third = nodes.remove(2);
    eventually("n3 says that it cannot", || async {
        third.control.ready().degraded.iter().any(|one| one.what == "version")
    })
    .await;
    assert_eq!(third.control.live_version(), 1);
    third.stop().await;
    let back = start(&world.plans[2]).await;
    back.serves(1).await;
    back.is_ready().await;
    assert!(back.control.ready().degraded.iter().any(|one| one.what == "version"));
    assert_eq!(
        back.put(&answering("mended")).await.unwrap().live,
        ["n1", "n2", "n3"],
        "it follows again as soon as it can"
    );
}
