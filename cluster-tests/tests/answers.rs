//! What each command prints by `--json`, recorded from a real cluster: docs/answers, which docs/commands.md shows.
//!
//! `SLUICE_WRITE_DOCS=1` writes the records anew. What differs from run to run (times, ids, addresses, loads) is replaced,
//! and lists of objects are cut to their first: a record shows the shape.

use cluster_tests::{Call, Cluster, Command, Node, World, node, program};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Commands that print no object: they run until they are ended, or print something else.
const NONE: [&str; 4] = ["demo", "events", "node", "schema"];
/// Commands that need a cluster in a state of its own, and print what another prints.
const ALIKE: [(&str, &str); 4] = [
    ("members-form", "members-list"),
    ("members-replace", "members-list"),
    ("members-transfer", "members-list"),
    ("split-set", "rollback"),
];
/// Width of the documentation.
const WIDTH: usize = 110;

/// Where the commands are said, and what they answered.
struct Desk {
    world: World,
    admin: SocketAddr,
    seen: BTreeSet<String>,
    stale: Vec<String>,
}

#[tokio::test]
async fn what_the_page_of_commands_shows_is_what_the_commands_print() {
    let world = World::new();
    let mut cluster = Cluster::of(3).make(&world).await;
    for node in cluster.nodes_mut() {
        node.settings_mut().cluster = "shop".into();
    }
    cluster.start_all().await;
    let mut settings = node::Settings::of(&world, 4);
    settings.cluster = "shop".into();
    settings.join = vec![cluster.node(1).settings().advertised.to_string()];
    let mut fourth = Node::new(&world, settings);
    let echo = world.echo("echo").await;
    for (name, path) in [("shop.yaml", "/orders/{id}"), ("next.yaml", "/orders/**")] {
        let document = format!(
            "\
upstreams:
  orders: {{ targets: ['{}'], breaker: {{}} }}
gateways:
  web:
    hosts: ['*']
    routes:
      - {{ path: '{path}', id: orders, upstream: orders, max_body: 1KiB }}
      - {{ path: /few, upstream: orders, rate_limits: [{{ name: per-client, limit: 2, per: 1h }}] }}
",
            echo.url()
        );
        world.file(name, document);
    }
    world.file(
        "wrong.yaml",
        "upstreams:\n  orders:\n    tagrets: [\"http://10.0.1.1:9101\"]\n",
    );
    let mut desk = Desk {
        admin: cluster.admin(1).address(),
        world,
        seen: BTreeSet::new(),
        stale: Vec::new(),
    };

    desk.record("check", &["check", "wrong.yaml"], 1).await;
    desk.record("apply", &["apply", "-f", "shop.yaml", "-m", "the shop opens"], 0)
        .await;
    lead_by_first(&cluster).await;
    desk.record("diff", &["diff", "next.yaml"], 1).await;
    desk.record("export", &["export"], 0).await;
    desk.record("history", &["history"], 0).await;
    desk.sluice(&["apply", "-f", "next.yaml"]).run().await.expect(0);
    desk.record("rollback", &["rollback", "1", "--wait", "all"], 0).await;
    let tried = ["apply", "-f", "next.yaml", "--on", "n1", "--confirm-within", "10m"];
    desk.sluice(&tried).run().await.expect(0);
    desk.record("confirm", &["confirm"], 0).await;
    desk.record("promote", &["promote", "4"], 0).await;
    desk.sluice(&["rollback", "3", "--wait", "all"]).run().await.expect(0);
    desk.record("fmt", &["fmt", "--check", "shop.yaml"], 1).await;
    desk.record("status", &["status"], 0).await;
    desk.record("status--settings", &["status", "--settings"], 0).await;
    for _ in 0..3 {
        let asked = Call::get(cluster.node(1).http(), "/orders/7").answer().await;
        asked.expect(200);
    }
    let asked = Call::post(cluster.node(1).http(), "/orders/7", vec![b'x'; 2000])
        .answer()
        .await;
    asked.expect(413);
    desk.record("top", &["top", "--since-start"], 0).await;
    for status in [200, 200, 429] {
        Call::get(cluster.node(1).http(), "/few").answer().await.expect(status);
    }
    let client = cluster.node(1).http().ip().to_string();
    let of_client = |act| ["limits", act, "per-client", "--key", &client];
    desk.record("limits-list", &["limits", "list"], 0).await;
    desk.record("limits-show", &of_client("show"), 0).await;
    desk.record("limits-top", &["limits", "top"], 0).await;
    desk.record("limits-reset", &of_client("reset"), 0).await;
    for (act, why) in [("open", "the table is locked"), ("close", "a false alarm")] {
        let words = ["breakers", act, "orders", "--why", why, "--for", "1h"];
        desk.record(&format!("breakers-{act}"), &words, 0).await;
    }
    desk.record("breakers-list", &["breakers", "list"], 0).await;
    desk.record("breakers-release", &["breakers", "release", "orders"], 0)
        .await;
    desk.record("health", &["health"], 0).await;
    desk.record("drain", &["drain", "n2"], 0).await;
    desk.record("undrain", &["undrain", "n2"], 0).await;
    desk.record("token-create", &["token", "create", "ci", "--role", "admin"], 0)
        .await;
    desk.record("token-list", &["token", "list"], 0).await;
    desk.record("token-revoke", &["token", "revoke", "ci"], 0).await;
    desk.record("upgrade-status", &["upgrade", "status"], 0).await;
    desk.record("upgrade-finalize", &["upgrade", "finalize"], 0).await;

    desk.record("members-list", &["members", "list"], 0).await;
    fourth.start();
    fourth.ready().await;
    cluster_tests::cluster::node_live(&fourth, 5).await;
    desk.record("members-promote", &["members", "promote", "n4"], 0).await;
    desk.record("members-remove", &["members", "remove", "n4"], 0).await;
    assert!(cluster.node_mut(3).stop().await.success());
    let data = cluster.node(3).data().display().to_string();
    desk.record("rescue", &["rescue", "--data", &data], 0).await;

    assert!(
        desk.stale.is_empty(),
        "stale: {:?}; SLUICE_WRITE_DOCS=1 on this test, then on `cargo test -p sluice-commands page`",
        desk.stale
    );
    assert_eq!(
        unrecorded(&desk.seen),
        Vec::<String>::new(),
        "commands without a record"
    );
}

/// Has n1 lead, so that the records do not depend on an election.
async fn lead_by_first(cluster: &Cluster) {
    cluster_tests::eventually("n1 to lead", || async {
        match cluster.admin(1).leader().await.as_deref() {
            Some("n1") => Ok(()),
            leader => {
                let call = cluster.admin(1).call(http::Method::POST, "/v1/cluster/transfer");
                let call = call.header("content-type", "application/json").body(r#"{"to":"n1"}"#);
                let _ = call.send().await;
                Err(format!("{leader:?} leads"))
            }
        }
    })
    .await;
}

/// The commands of the page that have neither a record nor a reason to have none.
fn unrecorded(seen: &BTreeSet<String>) -> Vec<String> {
    let page = program::repository().join("docs/commands.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let all: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## sluice "))
        .map(|name| name.replace(' ', "-"))
        .collect();
    let known = |name: &str| {
        seen.contains(name)
            || NONE.contains(&name)
            || ALIKE
                .iter()
                .any(|(one, as_other)| *one == name && seen.contains(*as_other))
    };
    let holds_others = |name: &str| all.iter().any(|other| other.starts_with(&format!("{name}-")));
    all.iter()
        .filter(|name| !known(name) && !holds_others(name))
        .cloned()
        .collect()
}

// === impl Desk ===

impl Desk {
    fn sluice(&self, words: &[&str]) -> Command {
        Command::new(&self.world, words).at(self.admin)
    }

    /// Says the command with `--json`, and holds what it prints against the record.
    async fn record(&mut self, name: &str, words: &[&str], code: i32) {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let mut answer = self.sluice(&words).run().await.expect(code).json();
        self.settle("", &mut answer);
        let mut text = String::new();
        written(&answer, 0, 0, &mut text);
        text.push('\n');
        let path = record(name);
        if std::env::var_os("SLUICE_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder of records");
            std::fs::write(&path, &text).expect("the record is written");
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != text {
            eprintln!("{name} prints now\n{text}");
            self.stale.push(name.to_owned());
        }
        self.seen.insert(name.to_owned());
    }

    /// Replaces what differs from run to run, by its name.
    fn settle(&self, name: &str, value: &mut Value) {
        match value {
            Value::Object(members) => members.iter_mut().for_each(|(name, value)| self.settle(name, value)),
            Value::Array(items) => {
                if items.iter().any(Value::is_object) {
                    items.truncate(1);
                }
                items.iter_mut().for_each(|item| self.settle(name, item));
            }
            Value::String(text) => {
                *text = match name {
                    "id" | "request_id" if !text.contains('-') && text != "orders" => {
                        "2bd849a74ec482fb5ce031e571e0f174".to_owned()
                    }
                    "at" | "confirm_by" | "since" | "created" | "last_used" | "last" | "until" | "next_probe" => {
                        "2026-11-29T02:14:07Z".to_owned()
                    }
                    "token" => "sluice_5f0c…".to_owned(),
                    "key" => "10.0.0.9".to_owned(),
                    _ => self.elsewhere(text),
                }
            }
            Value::Number(_) => {
                let fixed = match name {
                    "term" => json!(4),
                    "epoch" => json!(3_678_273_940_180_993_u64),
                    "reset" => json!(42.0),
                    "memory_bytes" => json!(41_943_040),
                    "open_files" => json!(64),
                    "most_files" => json!(1_048_576),
                    "p50_seconds" => json!(0.0011),
                    "p99_seconds" => json!(0.0024),
                    "upstream_connections" => json!(1),
                    _ => return,
                };
                *value = fixed;
            }
            _ => {}
        }
    }

    /// A text with the addresses and folders of a host of its own.
    fn elsewhere(&self, text: &str) -> String {
        let text = text.replace(&self.world.directory().display().to_string(), "/var/lib/sluice");
        (1..=4)
            .map(|host| (host, host))
            .chain([(200, 9)])
            .fold(text, |text, (host, there)| {
                text.replace(
                    &format!("{}:", self.world.block().host(host)),
                    &format!("10.0.0.{there}:"),
                )
            })
    }
}

fn record(name: &str) -> PathBuf {
    program::repository().join(format!("docs/answers/{name}.json"))
}

/// JSON for people: what fits on the rest of its line stands there.
fn written(value: &Value, indent: usize, column: usize, text: &mut String) {
    let line = on_one_line(value);
    let entries: Vec<(String, &Value)> = match value {
        _ if column + line.len() <= WIDTH => Vec::new(),
        Value::Object(members) => {
            let named = members
                .iter()
                .map(|(name, value)| (format!("{}: ", json!(name)), value));
            named.collect()
        }
        Value::Array(items) => items.iter().map(|item| (String::new(), item)).collect(),
        _ => Vec::new(),
    };
    if entries.is_empty() {
        text.push_str(&line);
        return;
    }
    let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    text.push(open);
    for (place, (name, value)) in entries.iter().enumerate() {
        text.push_str(if place == 0 { "\n" } else { ",\n" });
        text.push_str(&" ".repeat(indent + 2));
        text.push_str(name);
        written(value, indent + 2, indent + 2 + name.len(), text);
    }
    text.push('\n');
    text.push_str(&" ".repeat(indent));
    text.push(close);
}

fn on_one_line(value: &Value) -> String {
    match value {
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{}: {}", json!(name), on_one_line(value)))
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(on_one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
