//! The command line against a real cluster: what it does, what it prints, how it exits.

use cluster_tests::document::{answering, with_routes};
use cluster_tests::{Call, Cluster, Command, World};

/// A cluster of three with a directory of documents.
struct Desk {
    cluster: Cluster,
    world: World,
}

impl Desk {
    async fn open() -> Self {
        let world = World::new();
        let cluster = Cluster::three(&world).await;
        Self { world, cluster }
    }

    fn sluice(&self, arguments: &[&str]) -> Command {
        Command::new(&self.world, arguments).at(self.cluster.admin(2).address())
    }

    fn write(&self, name: &str, text: &str) -> String {
        self.world.file(name, text).display().to_string()
    }
}

#[tokio::test]
async fn a_document_is_checked_compared_applied_exported_and_rolled_back() {
    let desk = Desk::open().await;
    let first = desk.write("first.yaml", &answering("first"));
    let second = desk.write("second.yaml", &answering("second"));

    desk.sluice(&["check", &first]).run().await.expect(0);
    desk.sluice(&["diff", &first]).run().await.expect(1);
    let dry = desk.sluice(&["apply", "-f", &first, "--dry-run"]).run().await.expect(0);
    assert!(dry.said().contains("web"), "{}", dry.said());
    assert_eq!(desk.cluster.admin(1).version().await, 0);

    let applied = desk
        .sluice(&["apply", "-f", &first, "-m", "the first one", "--json"])
        .run()
        .await
        .expect(0);
    assert_eq!(applied.json()["version"], 1);
    assert_eq!(applied.json()["live"].as_array().map(Vec::len), Some(3));
    desk.sluice(&["diff", &first]).run().await.expect(0);
    let differs = desk.sluice(&["diff", &second]).run().await.expect(1);
    assert!(
        differs.said().contains("first") && differs.said().contains("second"),
        "{}",
        differs.said()
    );
    desk.sluice(&["apply", "-f", &second, "--if-version", "7"])
        .run()
        .await
        .expect(4);
    desk.sluice(&["apply", "-f", &second, "--if-version", "1"])
        .run()
        .await
        .expect(0);
    for node in desk.cluster.nodes() {
        assert_eq!(Call::get(node.http(), "/").answer().await.expect(200).text(), "second");
    }

    for (format, name) in [("yaml", "out.yaml"), ("json", "out.json"), ("toml", "out.toml")] {
        let exported = desk.sluice(&["export", "--format", format]).run().await.expect(0);
        let again = desk.write(name, &exported.out);
        desk.sluice(&["diff", &again]).run().await.expect(0);
    }
    let history = desk.sluice(&["history", "--json"]).run().await.expect(0).json();
    let text = history.to_string();
    assert!(text.contains("the first one"), "{text}");
    desk.sluice(&["rollback", "1", "-m", "back"]).run().await.expect(0);
    // By itself a rollback waits for the majority alone; n3 may be the third.
    desk.cluster.live(3).await;
    assert_eq!(desk.cluster.admin(3).version().await, 3);
    assert_eq!(desk.sluice(&["rollback", "99"]).run().await.code, 1);
}

#[tokio::test]
async fn a_deletion_is_refused_and_listed_without_prune() {
    let desk = Desk::open().await;
    let routes = [
        "{ id: one, path: /one, respond: { text: '1' } }",
        "{ id: two, path: /two, respond: { text: '2' } }",
    ];
    let both = desk.write("both.yaml", &with_routes(&[], &routes));
    let one = desk.write("one.yaml", &with_routes(&[], &routes[..1]));
    desk.sluice(&["apply", "-f", &both]).run().await.expect(0);
    let refused = desk.sluice(&["apply", "-f", &one]).run().await.expect(1);
    assert!(
        refused.err.contains("two") && refused.err.contains("--prune"),
        "{}",
        refused.said()
    );
    assert_eq!(desk.cluster.admin(1).version().await, 1);
    desk.sluice(&["apply", "-f", &one, "--prune"]).run().await.expect(0);
    Call::get(desk.cluster.node(1).http(), "/two")
        .answer()
        .await
        .expect(404);
}

#[tokio::test]
async fn a_folder_is_one_document_and_a_double_is_told_with_both_files() {
    let desk = Desk::open().await;
    desk.write(
        "folder/upstreams.yaml",
        "upstreams: { a: { targets: ['http://127.0.0.1:1'] } }\n",
    );
    let gateway = "gateways: { web: { hosts: ['*'], routes: [{ path: /, respond: { text: folder } }] } }\n";
    desk.write("folder/web.yaml", gateway);
    let folder = desk.world.path("folder").display().to_string();
    desk.sluice(&["apply", "-f", &folder]).run().await.expect(0);
    assert_eq!(
        Call::get(desk.cluster.node(3).http(), "/").answer().await.text(),
        "folder"
    );
    desk.write("folder/again.yaml", gateway);
    let refused = desk.sluice(&["check", &folder]).run().await.expect(1);
    assert!(
        refused.err.contains("again.yaml") && refused.err.contains("web.yaml"),
        "{}",
        refused.said()
    );
}

#[tokio::test]
async fn status_members_and_health_show_the_cluster_to_people_and_programs() {
    let desk = Desk::open().await;
    desk.cluster.apply(&answering("x")).await;
    let status = desk.sluice(&["status"]).run().await.expect(0);
    for word in ["n1", "n2", "n3", "leader"] {
        assert!(status.said().contains(word), "{word}: {}", status.said());
    }
    assert_eq!(
        desk.sluice(&["status", "--json"]).run().await.expect(0).json()["nodes"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    let members = desk.sluice(&["members", "--json"]).run().await.expect(0).json();
    assert!(members.to_string().contains("voter"), "{members}");
    desk.sluice(&["health"]).run().await.expect(0);
    let settings = desk.sluice(&["status", "--settings"]).run().await.expect(0);
    for word in ["listen.http", "--listen-http", "default"] {
        assert!(settings.said().contains(word), "{word}: {}", settings.said());
    }
}

#[tokio::test]
async fn tokens_are_made_shown_once_bound_to_a_role_and_revoked_everywhere() {
    let desk = Desk::open().await;
    desk.cluster.apply(&answering("x")).await;
    let made = desk
        .sluice(&["token", "create", "looker", "--role", "viewer"])
        .run()
        .await
        .expect(0);
    let token = made.out.trim().to_owned();
    assert!(
        !token.is_empty() && !token.contains(char::is_whitespace),
        "{}",
        made.said()
    );
    let viewer = cluster_tests::Admin::new(desk.cluster.admin(3).address(), &token);
    viewer.get("/v1/config").await.expect("an answer").expect(200);
    let forbidden = viewer.put(&answering("y"), "").await.expect("an answer").expect(403);
    assert_eq!(forbidden.code(), "forbidden");
    let listed = desk.sluice(&["token", "list"]).run().await.expect(0);
    assert!(
        listed.said().contains("looker") && !listed.said().contains(&token),
        "{}",
        listed.said()
    );
    desk.sluice(&["token", "revoke", "looker"]).run().await.expect(0);
    cluster_tests::eventually("the token to be gone", || async {
        match viewer.get("/v1/config").await {
            Ok(answer) if answer.status == 401 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    // No secret in what is kept on disk or said in a log.
    for node in desk.cluster.nodes() {
        assert!(!node.log().contains(&token));
        for entry in std::fs::read_dir(node.data()).expect("the data directory").flatten() {
            if entry
                .metadata()
                .is_ok_and(|meta| meta.is_file() && meta.len() < 32 * 1024 * 1024)
            {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                assert_eq!(
                    cluster_tests::wire::find(&bytes, token.as_bytes()),
                    None,
                    "{}",
                    entry.path().display()
                );
            }
        }
    }
}

#[tokio::test]
async fn the_owner_of_the_process_needs_no_token_through_the_socket_in_the_data_directory() {
    let world = World::new();
    let cluster = Cluster::one(&world).await;
    let data = cluster.node(1).data().display().to_string();
    let document = world.file("x.yaml", answering("by socket")).display().to_string();
    Command::new(&world, &["apply", "-f", &document, "--data", &data])
        .run()
        .await
        .expect(0);
    assert_eq!(
        Call::get(cluster.node(1).http(), "/").answer().await.text(),
        "by socket"
    );
    let made = Command::new(
        &world,
        &["token", "create", "first", "--role", "admin", "--data", &data],
    )
    .run()
    .await;
    assert!(!made.expect(0).out.trim().is_empty());
}

#[tokio::test]
async fn help_teaches_every_command_and_states_the_exit_codes() {
    let world = World::new();
    let help = Command::new(&world, &["--help"]).run().await.expect(0);
    for verb in [
        "demo", "node", "apply", "check", "diff", "export", "history", "rollback", "status", "members", "drain",
        "undrain", "health", "token", "rescue",
    ] {
        assert!(help.out.contains(verb), "{verb}");
        let own = Command::new(&world, &[verb, "--help"]).run().await.expect(0);
        assert!(own.out.contains("Usage"), "{verb}: {}", own.said());
    }
    assert!(help.out.contains("Exit codes"));
}

#[tokio::test]
async fn the_demo_serves_through_any_node_and_its_cluster_is_found_by_itself() {
    let world = World::new();
    // Ports of its own, so that a demo that somebody runs is not in the way.
    let offset = 10_000 + (std::process::id() % 13_000) as u16;
    let home = world.directory().display().to_string();
    let demo = Command::new(&world, &["demo", "--port-offset", &offset.to_string()])
        .env("XDG_RUNTIME_DIR", &home)
        .env("HOME", &home)
        .start(&world, "demo");
    let mut demo = demo;
    for n in 1..=3 {
        let at = (std::net::Ipv4Addr::LOCALHOST, 9080 + n + offset).into();
        cluster_tests::eventually(&format!("node {n} of the demo"), || async {
            match Call::get(at, "/readyz").send().await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(answer.text()),
                Err(error) => Err(format!("{error}: {}", demo.said())),
            }
        })
        .await;
    }
    cluster_tests::eventually("what to try", || async {
        let said = demo.said();
        let port = (8081 + offset).to_string();
        if said.contains("curl") && said.contains(&port) {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
    // The first thing it says to try works on each of the nodes.
    let said = demo.said();
    let line = said
        .lines()
        .find(|line| line.contains("curl") && line.contains("http://"))
        .expect("a line to try");
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .expect("a URL");
    let path = url
        .splitn(4, '/')
        .nth(3)
        .map(|rest| format!("/{rest}"))
        .unwrap_or_else(|| "/".into());
    for n in 1..=3 {
        let at = (std::net::Ipv4Addr::LOCALHOST, 8080 + n + offset).into();
        let answer = Call::get(at, &path).answer().await.expect(200);
        assert_eq!(answer.header("sluice-node"), format!("n{n}"));
    }
    let status = Command::new(&world, &["status"])
        .env("XDG_RUNTIME_DIR", &home)
        .env("HOME", &home)
        .run()
        .await
        .expect(0);
    assert!(status.said().contains("n3"), "{}", status.said());
    demo.signal(libc::SIGINT);
    let ended = demo.end(std::time::Duration::from_secs(60)).await;
    assert!(ended.success(), "{ended}: {}", demo.said());
}
