//! What a newcomer gets wrong on the first day: each fault has its own message, and changes nothing.

use cluster_tests::clock::WallClock;
use cluster_tests::document::answering;
use cluster_tests::node::Settings;
use cluster_tests::process::Start;
use cluster_tests::{Call, Cluster, Command, Load, Node, World, eventually, program};
use http::Method;
use std::net::TcpListener;

/// Starts a node that must not come up, and gives what it said.
async fn refused(node: &mut Node) -> String {
    node.start();
    let status = node.end().await;
    assert!(!status.success(), "{status}");
    let said = node.log();
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let world = World::new();
    for pick in [|s: &Settings| s.http, |s: &Settings| s.admin, |s: &Settings| s.peer] {
        let settings = Settings::of(&world, 1);
        let taken = pick(&settings);
        let _holder = TcpListener::bind(taken).expect("the block is ours");
        let mut node = Node::new(&world, settings);
        let said = refused(&mut node).await;
        assert!(said.contains(&taken.to_string()) && said.contains("in use"), "{said}");
    }
}

#[tokio::test]
async fn a_port_that_another_node_of_the_same_user_serves_is_not_shared_in_silence() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    let mut settings = Settings::of(&world, 2);
    settings.http = cluster.node(1).http();
    let said = refused(&mut Node::new(&world, settings)).await;
    assert!(
        said.contains(&cluster.node(1).http().to_string()) && said.contains("in use"),
        "{said}"
    );
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_named() {
    let world = World::new();
    // Below a file no directory can be made, whoever asks.
    let file = world.file("file", "not a directory");
    let mut settings = Settings::of(&world, 1);
    settings.data = file.join("data");
    let said = refused(&mut Node::new(&world, settings.clone())).await;
    assert!(
        said.contains(&settings.data.display().to_string()) && said.contains("data"),
        "{said}"
    );
}

#[tokio::test]
async fn a_data_directory_of_another_cluster_name_or_process_is_refused_by_name() {
    let world = World::new();
    let mut cluster = Cluster::one(&world).await;
    cluster.apply(&answering("mine")).await;

    let mut twin = Settings::of(&world, 2);
    twin.name = "n1".into();
    twin.data = cluster.node(1).data().to_owned();
    let mut second = Node::new(
        &world,
        Settings {
            name: "twin".into(),
            ..twin.clone()
        },
    );
    *second.settings_mut() = twin.clone();
    let said = refused(&mut second).await;
    assert!(said.contains("in use"), "{said}");

    assert!(cluster.node_mut(1).stop().await.success());
    for (cluster_name, name, told) in [("other", "n1", ["other", "test"]), ("test", "n9", ["n9", "n1"])] {
        let mut settings = Settings {
            cluster: cluster_name.into(),
            name: name.into(),
            ..twin.clone()
        };
        settings.http = world.block().at(3, 8080);
        let mut node = Node::new(&world, settings);
        let said = refused(&mut node).await;
        assert!(told.iter().all(|word| said.contains(word)), "{said}");
        assert!(said.contains("data directory"), "{said}");
    }
    // Nothing was changed by all this.
    cluster.restart(1).await;
    assert_eq!(
        Call::get(cluster.node(1).http(), "/").answer().await.expect(200).text(),
        "mine"
    );
}

#[tokio::test]
async fn a_missing_cluster_token_is_asked_for_and_a_wrong_one_is_told_apart() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    cluster.apply(&answering("members only")).await;

    let mut settings = Settings::of(&world, 4);
    settings.join = vec![cluster.node(1).settings().peer.to_string()];
    settings.cluster_token = None;
    let said = refused(&mut Node::new(&world, settings.clone())).await;
    assert!(
        said.contains("SLUICE_CLUSTER_TOKEN") && said.contains("cluster_token_file"),
        "{said}"
    );

    settings.cluster_token = Some("a-wrong-token-that-is-long-enough-too".into());
    let mut stranger = Node::new(&world, settings.clone());
    stranger.start();
    stranger.says("token").await;
    let readyz = eventually("the stranger's admin port", || async {
        stranger.admin().readyz().await.map_err(|error| error.to_string())
    })
    .await;
    readyz.expect(503);
    stranger.kill();

    settings.cluster_token = Some(cluster_tests::node::CLUSTER_TOKEN.into());
    settings.cluster = "another".into();
    settings.data = world.path("another");
    let mut stranger = Node::new(
        &world,
        Settings {
            name: "n5".into(),
            ..settings
        },
    );
    stranger.start();
    stranger.says("another").await;
    let view = cluster.admin(2).cluster().await.expect("the cluster");
    assert_eq!(view["nodes"].as_array().map(Vec::len), Some(3), "{view}");
}

#[tokio::test]
async fn a_document_of_a_newer_format_or_of_a_later_feature_says_so() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    let newer = format!("format: 2\n{}", answering("x"));
    let told = cluster
        .admin(1)
        .put(&newer, "")
        .await
        .expect("an answer")
        .expect(422)
        .text();
    assert!(told.contains("format"), "{told}");
    let later = "upstreams: { a: { targets: ['http://127.0.0.1:1'], tls: { verify: false } } }\n";
    let told = cluster
        .admin(1)
        .put(later, "")
        .await
        .expect("an answer")
        .expect(422)
        .text();
    assert!(told.contains("tls") && told.contains("not built yet"), "{told}");
    for nothing in ["", "null", "{}", "colour: blue\n"] {
        cluster.admin(1).put(nothing, "").await.expect("an answer").expect(422);
    }
    assert_eq!(cluster.admin(1).version().await, 0);
}

#[tokio::test]
async fn the_admin_api_refuses_what_it_cannot_read_by_a_problem_with_a_code() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    cluster.apply(&answering("x")).await;
    let admin = cluster.admin(1);
    let at = admin.address();
    let anonymous = Call::get(at, "/v1/config").answer().await.expect(401);
    assert_eq!(anonymous.code(), "unauthenticated");
    let wrong = Call::get(at, "/v1/config")
        .header("authorization", "Bearer wrong")
        .answer()
        .await
        .expect(401);
    assert_eq!(wrong.code(), "unauthenticated");
    for (method, target, kind, body) in [
        (Method::PUT, "/v1/config", "application/json", "{"),
        (Method::PUT, "/v1/config", "application/yaml", "\u{1}"),
        (Method::PUT, "/v1/config", "application/toml", "[["),
        (Method::PUT, "/v1/config?timeout=5", "application/yaml", "upstreams: {}"),
        (
            Method::PUT,
            "/v1/config?wait=everybody",
            "application/yaml",
            "upstreams: {}",
        ),
        (Method::GET, "/v1/config?version=abc", "application/yaml", ""),
        (Method::GET, "/v1/nothing", "application/yaml", ""),
        (
            Method::POST,
            "/v1/cluster/members/nobody/promote",
            "application/json",
            "",
        ),
        (Method::POST, "/v1/config/rollback/x", "application/json", ""),
    ] {
        let answer = admin
            .call(method.clone(), target)
            .header("content-type", kind)
            .body(body)
            .answer()
            .await;
        assert!(
            answer.status.is_client_error(),
            "{method} {target}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(!answer.code().is_empty(), "{method} {target}: {}", answer.text());
    }
    let bad_match = admin
        .call(Method::PUT, "/v1/config")
        .header("content-type", "application/yaml");
    let answer = bad_match.header("if-match", "soon").body(answering("y")).answer().await;
    assert!(answer.status.is_client_error(), "{}", answer.text());
    assert_eq!(admin.version().await, 1);
}

#[tokio::test]
async fn a_disk_that_fills_up_ends_agreement_on_that_node_and_not_its_traffic() {
    let world = World::new();
    let mount = world.path("small-disk");
    std::fs::create_dir(&mount).expect("a directory");
    let Some(_disk) = SmallDisk::mount(&mount) else {
        eprintln!("no right to mount a small disk: this scenario needs root");
        return;
    };
    let mut cluster = Cluster::of(3).make(&world).await;
    cluster.node_mut(3).settings_mut().data = mount.join("n3");
    cluster.start_all().await;
    cluster.apply(&answering("before")).await;
    // What is left is taken by somebody else.
    let hog = std::fs::File::create(mount.join("hog")).expect("a file");
    fill(&hog);
    let mut filler = 0;
    let admin = cluster.admin(3);
    eventually("n3 to say that its disk is full", || {
        filler += 1;
        let document = answering(&format!("{filler} {}", "x".repeat(20_000)));
        let (writer, admin) = (cluster.admin(1), admin.clone());
        fill(&hog);
        async move {
            writer.apply_when_possible(&document).await;
            let told = admin.readyz().await.map_err(|error| error.to_string())?;
            let text = told.text();
            if text.contains("\"disk\"") { Ok(()) } else { Err(text) }
        }
    })
    .await;
    assert_eq!(cluster.node_mut(3).ended(), None, "the process lives on");
    assert_eq!(
        Call::get(cluster.node(3).http(), "/").answer().await.status.as_u16(),
        200
    );
    admin.get("/metrics").await.expect("an answer").expect(200);
    cluster
        .admin(1)
        .apply_when_possible(&answering("the others go on"))
        .await;

    // Space again, and a start: it catches up.
    drop(hog);
    std::fs::remove_file(mount.join("hog")).expect("the file goes");
    cluster.node_mut(3).kill();
    cluster.restart(3).await;
    let written = cluster
        .admin(2)
        .apply_when_possible(&answering("all three again"))
        .await;
    cluster.live(written.version).await;
}

/// Writes until nothing more fits.
fn fill(file: &std::fs::File) {
    use std::io::Write;
    let block = [0_u8; 64 * 1024];
    for size in [block.len(), 4096] {
        while (&mut &*file).write_all(&block[..size]).is_ok() {}
    }
}

/// A file system of 96 MiB in memory, unmounted when it goes out of scope.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path) -> Option<Self> {
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"])
            .arg(at)
            .output()
            .ok()?;
        mount.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that still runs keeps it until it ends.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn wrong_settings_are_told_before_anything_is_touched() {
    let world = World::new();
    for (flags, told) in [
        (vec!["--listen-http", "here"], "listen"),
        (vec!["--edge-drain-delay", "5"], "drain"),
        (vec!["--initial", "n1"], "initial"),
        (vec!["--colour", "blue"], "colour"),
        (vec!["--workers", "many"], "workers"),
        (vec!["--redis", "127.0.0.1:1"], "redis-url"),
        (vec!["--redis-sentinel", "main"], "redis-sentinel"),
    ] {
        let output = world.path("flags.log");
        let data = world.path("never-made");
        let mut process = Start::new("flags", program::sluice(), &output)
            .args(["node", "--data"])
            .args([&data])
            .args(flags.iter())
            .start()
            .expect("the binary starts");
        let status = process.end(std::time::Duration::from_secs(30)).await;
        let said = process.said();
        assert_eq!(
            status.code().map(|code| code == 1 || code == 2),
            Some(true),
            "{flags:?}: {status} {said}"
        );
        assert!(said.contains(told), "{flags:?}: {said}");
        assert!(!data.exists(), "{flags:?} touched the disk");
    }
}

#[tokio::test]
async fn commands_say_whom_they_cannot_reach() {
    let world = World::new();
    let nobody = world.block().at(9, 9080);
    for arguments in [
        vec!["status"],
        vec!["history"],
        vec!["export"],
        vec!["members"],
        vec!["health"],
    ] {
        let done = Command::new(&world, &arguments).at(nobody).run().await.expect(3);
        assert!(done.err.contains(&nobody.to_string()), "{arguments:?}: {}", done.said());
        assert!(done.out.is_empty());
    }
    let document = world.file("x.yaml", answering("x")).display().to_string();
    Command::new(&world, &["apply", "-f", &document])
        .at(nobody)
        .run()
        .await
        .expect(3);
    let done = Command::new(&world, &["apply", "-f", "nowhere.yaml"])
        .at(nobody)
        .run()
        .await;
    assert!(done.code == 1 || done.code == 2, "{}", done.said());
    assert!(done.err.contains("nowhere.yaml"), "{}", done.said());
    Command::new(&world, &["aply"]).run().await.expect(2);
    Command::new::<&str>(&world, &[]).run().await.expect(2);
}

#[tokio::test]
async fn a_clock_that_steps_is_told_and_changes_nothing_else() {
    let world = World::new();
    let clock = WallClock::new(&world);
    let mut cluster = Cluster::of(3).make(&world).await;
    for n in 1..=3 {
        clock.give_to(cluster.node_mut(n).settings_mut());
    }
    cluster.start_all().await;
    cluster.apply(&answering("before")).await;
    let load = Load::on(cluster.nodes().iter().map(|node| node.http()))
        .connections(3)
        .start();
    for (number, shift) in [3_600, -86_400, 0].into_iter().enumerate() {
        clock.shift_to(shift);
        for node in cluster.nodes() {
            eventually(&format!("{} to tell the step", node.name()), || async {
                let told = node.log().matches("the wall clock stepped").count();
                if told > number {
                    Ok(())
                } else {
                    Err(format!("told {told} times"))
                }
            })
            .await;
        }
        // Through every node, and nothing waits an hour for anything.
        let written = cluster
            .admin(number + 1)
            .apply(&answering(&format!("shifted by {shift}")))
            .await;
        assert_eq!(written.live.len(), 3);
    }
    load.stop().await.expect_flawless();
    let versions: Vec<_> = cluster
        .admin(1)
        .history()
        .await
        .iter()
        .filter_map(|e| e["version"].as_u64())
        .collect();
    assert!(versions.is_sorted_by(|newer, older| newer > older), "{versions:?}");
}
