//! Changes that are tried first: undone unless confirmed, live on some nodes alone until promoted.

use cluster_tests::admin::Written;
use cluster_tests::document::answering;
use cluster_tests::nemesis::Nemesis;
use cluster_tests::wire::Wire;
use cluster_tests::{Call, Cluster, Command, Load, World, eventually, rounds};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What one node was seen to answer, in order, each text once with the moment of its first answer.
type Seen = Arc<Mutex<Vec<(String, Instant)>>>;

/// Asks a node all the time what it serves; while it is down it says nothing.
fn watch(at: SocketAddr, stop: &Arc<AtomicBool>) -> (Seen, tokio::task::JoinHandle<()>) {
    let (seen, stop) = (Seen::default(), stop.clone());
    let told = seen.clone();
    let watching = tokio::spawn(async move {
        let mut beat = cluster_tests::wait::beat(Duration::from_millis(5));
        while !stop.load(Ordering::Relaxed) {
            beat.tick().await;
            let asked = Call::get(at, "/").bound(Duration::from_secs(1)).send().await;
            if let Ok(answer) = asked
                && answer.status == 200
            {
                let mut seen = told.lock().expect("no holder panics");
                let text = answer.text();
                if seen.last().is_none_or(|(last, _)| *last != text) {
                    seen.push((text, Instant::now()));
                }
            }
        }
    });
    (seen, watching)
}

fn texts(seen: &Seen) -> Vec<String> {
    let seen = seen.lock().expect("no holder panics");
    seen.iter().map(|(text, _)| text.clone()).collect()
}

fn first(seen: &Seen, text: &str) -> Option<Instant> {
    let seen = seen.lock().expect("no holder panics");
    seen.iter().find(|(seen, _)| seen == text).map(|(_, at)| *at)
}

/// A change is made by a client that is killed at once; perhaps the leader is killed as well. All nodes go back to what
/// was before, and none of them ever again to what was tried.
async fn nobody_confirms(kill_the_leader: bool) {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let mut nemesis = Nemesis::new();
    cluster.apply(&answering("before")).await;
    let seconds = rounds(2, 5) as u64;
    let stop = Arc::new(AtomicBool::new(false));
    let watches: Vec<_> = cluster.nodes().iter().map(|node| watch(node.http(), &stop)).collect();

    let document = world.file("tried.yaml", answering("tried")).display().to_string();
    let within = format!("{seconds}s");
    let mut client = Command::new(&world, &["apply", "-f", &document, "--confirm-within", &within])
        .at(cluster.admin(2).address())
        .start(&world, "client");
    let admin = cluster.admin(1);
    eventually("the change to be made", || async {
        match admin.version().await {
            2 => Ok(()),
            version => Err(format!("version {version}")),
        }
    })
    .await;
    client.kill();
    let made = Instant::now();
    let killed = match kill_the_leader {
        true => Some(
            nemesis
                .kill_the_leader(&mut cluster, Duration::from_millis(seconds * 1000 - 500))
                .await,
        ),
        false => None,
    };
    let living: Vec<usize> = (1..=3).filter(|n| Some(*n) != killed).collect();
    let mut last = made;
    for n in &living {
        let seen = &watches[n - 1].0;
        eventually(&format!("n{n} to go back"), || async {
            match texts(seen).last().map(String::as_str) {
                Some("before") if first(seen, "tried").is_some() => Ok(()),
                _ => Err(format!("{:?}", texts(seen))),
            }
        })
        .await;
        let back = seen.lock().expect("no holder panics").last().map(|(_, at)| *at);
        last = last.max(back.unwrap_or(last));
    }
    eprintln!(
        "--confirm-within {within}, the client killed{}: undone on all {} living nodes {:?} after the change was made",
        if kill_the_leader { " and the leader killed" } else { "" },
        living.len(),
        last - made
    );
    if let Some(killed) = killed {
        cluster.restart(killed).await;
    }
    cluster.live(3).await;
    stop.store(true, Ordering::Relaxed);
    for (n, (seen, watching)) in watches.into_iter().enumerate() {
        watching.await.expect("a watch does not panic");
        let seen = texts(&seen);
        let order: Vec<&str> = seen.iter().map(String::as_str).collect();
        let came_back = killed == Some(n + 1) && order == ["before"];
        assert!(
            order == ["before", "tried", "before"] || came_back,
            "n{}: {order:?}",
            n + 1
        );
    }
    for n in 1..=3 {
        let history = cluster.admin(n).history().await;
        assert_eq!(history[0]["author"], "the leader", "{history:?}");
        assert_eq!(history[1]["trial"]["outcome"], "undone", "{history:?}");
    }
}

#[tokio::test]
async fn what_a_killed_client_tried_is_undone_on_all_nodes() {
    nobody_confirms(false).await;
}

#[tokio::test]
async fn what_a_killed_client_tried_is_undone_although_the_leader_was_killed() {
    nobody_confirms(true).await;
}

#[tokio::test]
async fn a_leader_elected_after_the_deadline_undoes_at_once_and_a_node_that_was_away_follows() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    cluster.apply(&answering("before")).await;
    let written = cluster
        .admin(1)
        .put(&answering("tried"), "?confirm_within=2s&wait=all")
        .await;
    assert_eq!(Written::of(&written.expect("an answer").expect(200)).version, 2);
    for n in 1..=3 {
        cluster.node_mut(n).kill();
    }
    // Nobody leads over the deadline; then two of them are a majority.
    cluster_tests::wait::pass(Duration::from_secs(2)).await;
    for n in [1, 2] {
        cluster.restart(n).await;
    }
    cluster.live(3).await;
    cluster.restart(3).await;
    cluster.live(3).await;
    for node in cluster.nodes() {
        assert_eq!(Call::get(node.http(), "/").answer().await.expect(200).text(), "before");
    }
}

/// Who served which version, over all answers.
type Served = Arc<Mutex<BTreeMap<(String, u64), usize>>>;

#[tokio::test]
async fn a_version_on_n3_alone_is_served_by_no_other_node_until_it_is_promoted() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    cluster.apply(&answering("before")).await;
    let served = Served::default();
    let counts = served.clone();
    let load = Load::on(cluster.nodes().iter().map(|node| node.http()))
        .connections(6)
        .every(Duration::from_millis(2))
        .fresh_after(20)
        .verdict(move |answer| {
            let node = answer.header("sluice-node").to_owned();
            let version = answer.header("sluice-version").parse().unwrap_or(0);
            *counts
                .lock()
                .expect("no holder panics")
                .entry((node, version))
                .or_default() += 1;
            Ok(())
        })
        .start();
    let document = world.file("tried.yaml", answering("tried")).display().to_string();
    let sluice = |arguments: &[&str], at: SocketAddr| Command::new(&world, arguments).at(at);
    let at = cluster.admin(2).address();
    let applied = sluice(&["apply", "-f", &document, "--on", "n3", "--json"], at)
        .run()
        .await
        .expect(0);
    assert_eq!(applied.json()["live"], serde_json::json!(["n3"]), "{}", applied.out);
    load.answers(200).await;

    cluster.node_mut(1).kill();
    cluster.restart(1).await;
    let leader = cluster.leader().await;
    cluster.node_mut(leader).kill();
    let among: Vec<usize> = (1..=3).filter(|n| *n != leader).collect();
    cluster.leader_among(&among).await;
    cluster.restart(leader).await;
    if rounds(0, 1) == 1 {
        // A Raft snapshot is taken after 256 entries; who comes back empty gets it.
        for n in 0..300 {
            let name = format!("token-{n}");
            let body = format!(r#"{{"name":"{name}","role":"viewer"}}"#);
            let call = cluster.admin(3).call(http::Method::POST, "/v1/tokens");
            call.header("content-type", "application/json")
                .body(body)
                .answer()
                .await
                .expect(200);
        }
        cluster.node_mut(2).kill();
        cluster.node(2).wipe();
        cluster.restart(2).await;
    }
    load.answers(200).await;
    let view = cluster.seen_by(1, "all to be heard", |view| {
        let nodes = view["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        nodes
            .iter()
            .all(|node| node["live"] == node["wanted"] && node["reachable"] == true)
    });
    let view = view.await;
    assert_eq!(
        (&view["version"], &view["active"]),
        (&Value::from(2), &Value::from(1)),
        "{view}"
    );
    assert_eq!(view["trial"]["on"], serde_json::json!(["n3"]));
    for (n, wanted) in [(1, 1.0), (2, 1.0), (3, 2.0)] {
        let admin = cluster.admin(n);
        assert_eq!(admin.metric("sluice_config_wanted_version", &[]).await, wanted);
        assert_eq!(admin.metric("sluice_config_live_version", &[]).await, wanted);
        assert_eq!(admin.metric("sluice_config_trial_version", &[]).await, 2.0);
    }
    load.stop().await;
    let served = served.lock().expect("no holder panics").clone();
    for node in ["n1", "n2"] {
        assert!(served.contains_key(&(node.to_owned(), 1)), "{served:?}");
        assert!(
            !served.contains_key(&(node.to_owned(), 2)),
            "{node} served what was for n3 alone: {served:?}"
        );
    }
    assert!(served.contains_key(&("n3".to_owned(), 2)), "{served:?}");
    eprintln!("answers by node and version while version 2 was on n3 alone: {served:?}");

    let other = world.file("other.yaml", answering("other")).display().to_string();
    let pending = sluice(&["apply", "-f", &other], at).run().await.expect(4);
    assert!(
        pending.err.contains("version 2") && pending.err.contains("n3"),
        "{}",
        pending.err
    );
    let status = sluice(&["status"], at).run().await.expect(0);
    assert!(
        status.out.contains("on n3 alone until `sluice promote 2`"),
        "{}",
        status.out
    );
    sluice(&["promote", "2"], at).run().await.expect(0);
    for node in cluster.nodes() {
        assert_eq!(Call::get(node.http(), "/").answer().await.expect(200).text(), "tried");
    }
    sluice(&["apply", "-f", &other], at).run().await.expect(0);
    let history = sluice(&["history", "--since", "1h"], at).run().await.expect(0);
    assert!(history.out.contains("on n3, promoted by"), "{}", history.out);
}

#[tokio::test]
async fn what_comes_too_late_or_names_nobody_is_refused_and_changes_nothing() {
    let world = World::new();
    let cluster = Cluster::of(1).start(&world).await;
    let at = cluster.admin(1).address();
    let write = |text: &str| {
        world
            .file(&format!("{text}.yaml"), answering(text))
            .display()
            .to_string()
    };
    let (before, tried) = (write("before"), write("tried"));
    let sluice = |arguments: &[&str]| Command::new(&world, arguments).at(at);
    sluice(&["confirm"]).run().await.expect(1);
    sluice(&["apply", "-f", &before]).run().await.expect(0);
    let unknown = sluice(&["apply", "-f", &tried, "--on", "n1,n9"]).run().await.expect(1);
    assert!(
        unknown.err.contains("no member n9") && unknown.err.contains("members are n1"),
        "{}",
        unknown.err
    );
    for bad in ["0s", "999ms", "25h", "soon"] {
        sluice(&["apply", "-f", &tried, "--confirm-within", bad])
            .run()
            .await
            .expect(2);
        let put = cluster
            .admin(1)
            .put(&answering("tried"), &format!("?confirm_within={bad}"))
            .await;
        assert_eq!(put.expect("an answer").expect(400).code(), "bad_request");
    }
    assert_eq!(
        cluster
            .admin(1)
            .put(&answering("tried"), "?on=")
            .await
            .expect("an answer")
            .status,
        400
    );

    sluice(&["apply", "-f", &tried, "--confirm-within", "1s", "-m", "a try"])
        .run()
        .await
        .expect(0);
    let pending = cluster.admin(1).put(&answering("other"), "").await.expect("an answer");
    if pending.status == 409 {
        // Not on a machine so slow that it is undone by now.
        assert_eq!(
            (pending.code().as_str(), &pending.json()["trial"]["version"]),
            ("pending_change", &Value::from(2))
        );
        cluster.live(3).await;
    }
    let late = sluice(&["confirm", "2"]).run().await.expect(1);
    assert!(late.err.contains("version 2 was undone at"), "{}", late.err);
    let late = cluster
        .admin(1)
        .post("/v1/config/promote/2")
        .await
        .expect("an answer")
        .expect(410);
    assert_eq!(late.code(), "trial_over");
    sluice(&["promote", "99"]).run().await.expect(1);
    sluice(&["promote", "1"]).run().await.expect(1);
    sluice(&["rollback"]).run().await.expect(2);
    assert_eq!(Call::get(cluster.node(1).http(), "/").answer().await.text(), "before");
}

#[tokio::test]
async fn events_tell_a_trial_a_new_leader_and_a_drain() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    cluster.apply(&answering("before")).await;
    let listens = (1..=3).find(|n| *n != 3).expect("there are others");
    let at = cluster.admin(listens).address();
    let mut follow = Command::new(&world, &["events", "--json"])
        .at(at)
        .start(&world, "events");
    let log = world.path("events.log");
    let told = |what: &'static str, holds: fn(&Value) -> bool| {
        let log = log.clone();
        eventually(what, move || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let found = events.into_iter().any(|event| holds(&event));
            async move { if found { Ok(()) } else { Err(text) } }
        })
    };
    told("the leader", |event| {
        event["event"] == "leader" && event["leader"].is_string()
    })
    .await;
    let written = cluster
        .admin(3)
        .put(&answering("tried"), "?on=n3")
        .await
        .expect("an answer");
    assert_eq!(Written::of(&written.expect(200)).version, 2);
    told("the trial", |event| {
        event["event"] == "version" && event["trial"]["on"][0] == "n3"
    })
    .await;
    told("where it is live", |event| {
        event["event"] == "live" && event["node"] == "n3" && event["version"] == 2
    })
    .await;
    cluster.node_mut(3).kill();
    told("who is not heard", |event| {
        event["event"] == "member" && event["name"] == "n3" && event["reachable"] == false
    })
    .await;
    cluster.restart(3).await;

    let call = cluster.admin(3).call(http::Method::POST, "/v1/tokens");
    let call = call.header("content-type", "application/json");
    let made = call
        .body(r#"{"name":"eye","role":"viewer"}"#)
        .answer()
        .await
        .expect(200);
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let stranger = Call::get(cluster.admin(3).address(), "/v1/events").answer().await;
    assert_eq!(stranger.expect(401).code(), "unauthenticated");
    // It ends with a drain, whole, and the last event says why.
    let (mut wire, head) = eventually("a viewer to be let in", || async {
        let mut wire = Wire::connect(cluster.admin(3).address()).await.expect("n3 listens");
        let request = format!("GET /v1/events HTTP/1.1\r\nHost: n3\r\nAuthorization: Bearer {token}\r\n\r\n");
        wire.send(&request).await.expect("it is taken");
        let head = wire.head().await.expect("an answer").expect("an answer");
        if head.status() == 200 {
            Ok((wire, head))
        } else {
            Err(head.status())
        }
    })
    .await;
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    cluster.admin(3).post("/v1/drain").await.expect("an answer").expect(200);
    let whole = wire.body(&head).await.expect("it ends");
    let whole = String::from_utf8_lossy(&whole).into_owned();
    assert!(
        whole.contains("event: leader") && whole.ends_with("leaving\"}\n\n"),
        "{whole}"
    );
    let call = Call::get(cluster.admin(3).address(), "/v1/events");
    let refused = call.header("authorization", &format!("Bearer {token}")).answer().await;
    assert_eq!(refused.expect(503).code(), "draining");
    follow.kill();
}

#[tokio::test]
async fn the_lead_is_transferred_by_command_and_nobody_else_changes() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    let leader = cluster.leader().await;
    let to = leader % 3 + 1;
    let name = format!("n{to}");
    let before = cluster.admin(1).cluster().await.expect("an answer");
    let at = cluster.admin(leader).address();
    Command::new(&world, &["members", "transfer", &name])
        .at(at)
        .run()
        .await
        .expect(0);
    assert_eq!(cluster.leader().await, to);
    let after = cluster.seen_by(1, "all to be heard", |view| {
        let nodes = view["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        nodes.iter().all(|node| node["reachable"] == true)
    });
    let roles = |view: &Value| -> Vec<(Value, Value)> {
        let nodes = view["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        nodes
            .iter()
            .map(|node| (node["name"].clone(), node["role"].clone()))
            .collect()
    };
    assert_eq!(roles(&after.await), roles(&before));
    let stranger = Command::new(&world, &["members", "transfer", "n9"]).at(at).run().await;
    assert_eq!(stranger.code, 1, "{}", stranger.said());
}
