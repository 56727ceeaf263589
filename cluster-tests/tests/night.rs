//! A bad night: each question of docs/guides/at-night.md is answered by the commands that stand there.
//!
//! Four voters. n3 lacks a listener that the newest version needs and serves the one before; n4 is dead; n2 drains; the
//! newest version is on trial; a service answers 503 and another nobody, and the breaker of a third is open; somebody set
//! one by hand; clients ask for what is not there, send more than they may, and come more often than they may.

use cluster_tests::{Backend, Call, Cluster, Command, Load, World, program};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// A question of the guide: what is asked, by which commands, and where `--json` has the answer.
#[derive(Debug)]
struct Question {
    title: String,
    commands: Vec<Vec<String>>,
    paths: Vec<String>,
}

/// The cluster in that night.
struct Night {
    cluster: Cluster,
    services: Vec<Backend>,
    world: World,
}

/// What the commands of one question answered, in their order.
struct Answers(Vec<Value>);

#[tokio::test]
async fn each_question_of_the_guide_is_answered_by_at_most_two_commands() {
    let night = Night::fall().await;
    let traffic = Load::on([night.cluster.node(1).http()])
        .paths(["/orders", "/broken", "/gone"])
        .connections(3)
        .every(Duration::from_millis(10))
        .verdict(|_| Ok(()))
        .start();
    traffic.answers(10).await;
    let questions = questions();
    assert!(questions.len() >= 10, "only {} questions", questions.len());
    let mut asked = BTreeSet::new();
    for question in &questions {
        let count = question.commands.len();
        assert!((1..=2).contains(&count), "{:?} takes {count} commands", question.title);
        assert!(asked.insert(&question.title), "{:?} is asked twice", question.title);
        let answers = night.ask(question).await;
        for path in &question.paths {
            assert!(
                !answers.at(path).is_empty(),
                "{:?}: no {path} in {:?}",
                question.title,
                answers.0
            );
        }
        night.judge(&question.title, &answers);
    }
    drop(traffic);
}

// === impl Night ===

impl Night {
    async fn fall() -> Self {
        let world = World::new();
        let mut cluster = Cluster::of(4).make(&world).await;
        for n in [1, 2, 4] {
            let partner = format!("partner=http://{}", world.block().at(n, 8090));
            let flags = &mut cluster.node_mut(usize::from(n)).settings_mut().flags;
            flags.extend(["--listen-named".to_owned(), partner]);
        }
        cluster.start_all().await;
        let orders = world.echo("orders").await;
        let broken = Backend::scripted(world.service(), |mut wire, journal, _| async move {
            while let Some(head) = wire.head().await? {
                journal.note(&head);
                wire.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                    .await?;
            }
            Ok(())
        })
        .await;
        let document = format!(
            "\
upstreams:
  orders: {{ targets: ['{}'] }}
  broken: {{ targets: ['{}'] }}
  gone: {{ targets: ['http://{}'] }}
  flaky: {{ targets: ['{}'], breaker: {{ min_requests: 5, observers: 1, open_for: 1h, max_open_for: 1h }} }}
  users: {{ targets: ['{}'], breaker: {{}} }}
gateways:
  web:
    hosts: ['*']
    routes:
      - {{ path: /orders, upstream: orders, max_body: 1KiB }}
      - {{ path: /broken, upstream: broken }}
      - {{ path: /gone, upstream: gone }}
      - {{ path: /flaky, upstream: flaky }}
      - {{ path: /users, upstream: users }}
      - {{ path: /few, upstream: orders, rate_limits: [{{ name: per-client, limit: 2, per: 1h }}] }}
",
            orders.url(),
            broken.url(),
            world.service(),
            broken.url(),
            orders.url(),
        );
        cluster.apply(&document).await;
        let night = Self {
            cluster,
            services: vec![orders, broken],
            world,
        };
        night.go_wrong(&document).await
    }

    /// What happened since the evening.
    async fn go_wrong(mut self, document: &str) -> Self {
        let made = self.sluice(&["token", "create", "late-shift", "--role", "admin"]);
        let token = made.run().await.expect(0).out.trim().to_owned();
        let partner =
            "  partner: { hosts: ['*'], listen: [partner], routes: [{ path: /, respond: { text: partner } }] }\n";
        self.world.file("night.yaml", format!("{document}{partner}"));
        let apply = "apply -f night.yaml --force --wait majority --confirm-within 1h -m";
        let apply: Vec<&str> = apply.split(' ').chain(["a partner"]).collect();
        self.sluice(&apply)
            .env("SLUICE_ADMIN_TOKEN", &token)
            .run()
            .await
            .expect(0);
        self.sluice(&["drain", "n2"]).run().await.expect(0);
        let rest = ["breakers", "open", "users", "--why", "the table is locked"];
        self.sluice(&rest)
            .env("SLUICE_ADMIN_TOKEN", &token)
            .run()
            .await
            .expect(0);
        self.cluster.node_mut(4).kill();
        let leader = self.cluster.leader_among(&[1, 2, 3]).await;
        self.cluster
            .seen_by(1, "the night to have fallen", |seen| {
                let node = |n: usize| &seen["nodes"][n];
                node(0)["live"] == 2 && node(1)["draining"] == true && node(3)["reachable"] == false
            })
            .await;
        assert_ne!(leader, 4);
        let http = self.cluster.node(1).http();
        Call::get(http, "/nowhere").answer().await.expect(404);
        Call::post(http, "/orders", vec![b'x'; 2000]).answer().await.expect(413);
        for status in [200, 200, 429, 429] {
            Call::get(http, "/few").answer().await.expect(status);
        }
        cluster_tests::eventually("the breaker of flaky to open", || async {
            match Call::get(http, "/flaky").answer().await.code().as_str() {
                "breaker_open" => Ok(()),
                code => Err(code.to_owned()),
            }
        })
        .await;
        self
    }

    fn sluice<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        Command::new(&self.world, arguments).at(self.cluster.admin(1).address())
    }

    /// Says the commands as the guide has them, with this cluster's addresses and versions in them.
    async fn ask(&self, question: &Question) -> Answers {
        let mut answers = Vec::new();
        for command in &question.commands {
            let version = if command[0] == "rollback" { "1" } else { "2" };
            let mut words: Vec<String> = command
                .iter()
                .map(|word| {
                    if word == "N" {
                        version.to_owned()
                    } else {
                        self.placed(word)
                    }
                })
                .collect();
            words.push("--json".to_owned());
            if words[0] == "top" && !words.iter().any(|word| word == "--since-start") {
                // The night is short.
                words.extend(["--interval", "500ms"].map(str::to_owned));
            }
            let done = self.sluice(&words).run().await;
            // What differs, and what is not safe, is 1. What a dead node has not heard of is 5.
            let right = match (words[0].as_str(), words[1].as_str()) {
                ("diff" | "health", _) => 1,
                ("breakers", "release") => 5,
                _ => 0,
            };
            answers.push(done.expect(right).json());
        }
        Answers(answers)
    }

    /// A word with this cluster's addresses: 10.0.0.2 is n2, 10.0.0.9 who calls.
    fn placed(&self, word: &str) -> String {
        if word == "10.0.0.9" {
            return "127.0.0.1".to_owned();
        }
        let nodes = self.cluster.nodes().iter().enumerate();
        nodes.fold(word.to_owned(), |word, (place, node)| {
            word.replace(
                &format!("10.0.0.{}:9080", place + 1),
                &node.admin().address().to_string(),
            )
        })
    }

    /// Whether the answer is this night's.
    fn judge(&self, title: &str, answers: &Answers) {
        let one = |path: &str| answers.at(path).first().cloned().unwrap_or_default();
        match title {
            "Who leads?" => {
                let leader = one("leader");
                assert!(["n1", "n2", "n3"].iter().any(|name| leader == *name), "{leader}");
            }
            "Which node is behind, and why?" => {
                let n3 = answers.row("nodes", "name", "n3");
                assert_eq!((&one("version"), &n3["live"]), (&json!(2), &json!(1)));
                assert!(n3["why_not_live"].to_string().contains("partner"), "{n3}");
                assert_eq!(answers.row("nodes", "name", "n4")["reachable"], false);
            }
            "Do all nodes serve the same version?" => {
                assert_eq!(answers.at("nodes[].live"), [json!(2), json!(2), json!(1), Value::Null]);
            }
            "Is anything degraded, and since when?" => {
                let n3 = answers.row("nodes", "name", "n3");
                assert_eq!(n3["degraded"][0]["what"], "version");
                assert!(
                    n3["degraded"][0]["since"]
                        .as_str()
                        .is_some_and(|since| since.ends_with('Z')),
                    "{n3}"
                );
                assert_eq!(answers.row("nodes", "name", "n4")["reached"], false);
            }
            "What changed in the last hour, and by whom?" => {
                let newest = answers.row("versions", "version", 2);
                assert_eq!(
                    (&newest["author"], &newest["message"]),
                    (&json!("late-shift"), &json!("a partner"))
                );
            }
            "Is a version on trial, and until when?" => {
                assert_eq!((&one("trial.version"), &one("trial.before")), (&json!(2), &json!(1)));
                assert_eq!(one("trial.author"), "late-shift");
                assert!(one("trial.confirm_by").is_string());
            }
            "What exactly did a version change?" => {
                let changed = answers.at("changes[].part");
                assert!(changed.contains(&json!("gateways/partner")), "{changed:?}");
                assert!(!changed.contains(&json!("upstreams/orders")), "{changed:?}");
            }
            "Which route answers 5xx, and on which upstream?" => {
                for (name, status) in [("broken", "503"), ("gone", "502")] {
                    let route = answers.row("routes", "route", format!("/{name}"));
                    assert_eq!(
                        (&route["share_5xx"], &route["upstreams"]),
                        (&json!(1.0), &json!([name]))
                    );
                    assert!(route["statuses"][status].as_u64() > Some(0), "{route}");
                    assert!(route["errors_by_node"]["n1"].as_u64() > Some(0), "{route}");
                }
                assert_eq!(answers.row("routes", "route", "/orders")["share_5xx"], 0.0);
                let log = self.cluster.node(1).log();
                let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let line = lines.find(|line| line["target"] == "access" && line["upstream"] == "broken");
                let target = line.map(|line| line["upstream.target"].clone()).unwrap_or_default();
                assert_eq!(target, self.services[1].url(), "the target in the access log");
                assert!(answers.row("upstreams", "upstream", "broken")["statuses"]["503"].as_u64() > Some(0));
                assert!(answers.row("upstreams", "upstream", "gone")["statuses"]["none"].as_u64() > Some(0));
            }
            "Which requests are refused, and with which code?" => {
                for code in ["no_route", "body_too_large"] {
                    let refused = answers.row("refusals", "code", code);
                    assert_eq!(
                        (&refused["requests"], &refused["by_node"]["n1"]),
                        (&json!(1), &json!(1))
                    );
                }
            }
            "How many connections has each node, and is one overloaded?" => {
                let n1 = answers.row("nodes", "name", "n1");
                let open: u64 = n1["connections"]
                    .as_object()
                    .into_iter()
                    .flat_map(|states| states.values())
                    .filter_map(Value::as_u64)
                    .sum();
                assert!(open >= 3, "{n1}");
                assert!(n1["open_files"].as_u64() < n1["most_files"].as_u64(), "{n1}");
                assert!(n1["cpu"].is_number(), "{n1}");
            }
            "Who is refused by a limit?" => {
                let first = &answers.at("top[]")[0];
                assert_eq!(
                    (&first["name"], &first["nodes"]),
                    (&json!("per-client"), &json!(["n1"]))
                );
                // Two, and half of it after a minute.
                assert!(
                    (1..=2).contains(&first["refused"].as_u64().unwrap_or_default()),
                    "{first}"
                );
            }
            "How much has one client left, and who holds it?" => {
                let count = answers.row("limits", "name", "per-client");
                assert_eq!(count["left"], 0, "{count}");
                assert!(count["refusals"]["last"].is_string(), "{count}");
                assert_eq!(one("counts"), 1);
            }
            "Which breaker is open, who tripped it, and on what evidence?" => {
                let flaky = answers.row("breakers", "upstream", "flaky");
                assert_eq!(
                    (&flaky["state"], &flaky["cause"]["node"]),
                    (&json!("open"), &json!("n1"))
                );
                assert_eq!(flaky["cause"]["by"], "failure_rate");
                assert!(flaky["cause"]["counts"][0]["failed"].as_u64() >= Some(3), "{flaky}");
            }
            "Which breaker is set by hand, by whom, and until when?" => {
                let users = answers.row("breakers", "upstream", "users");
                assert_eq!(users["state"], "forced_open");
                let set = &users["override"];
                assert_eq!(
                    (&set["who"], &set["why"]),
                    (&json!("late-shift"), &json!("the table is locked"))
                );
                let released = &answers.0[1];
                assert_eq!(released["breaker"]["override"], Value::Null, "{released}");
                assert_eq!(released["pending"][0]["name"], "n4", "{released}");
            }
            "Does a node count limits alone?" => {
                // There is no store: each node has its own memory.
                assert!(answers.at("nodes[].shared_store").iter().all(Value::is_null));
            }
            "Is this node safe to stop?" => {
                assert_eq!(one("ready"), false);
                assert!(one("reason").to_string().contains("majority"), "{}", one("reason"));
            }
            "Which node is draining?" => {
                assert_eq!(
                    answers.at("nodes[].draining"),
                    [false, true, false, false].map(Value::from)
                );
            }
            "Which nodes hold an upgrade back?" => {
                let n1 = answers.row("nodes", "name", "n1")["level"].as_u64();
                assert!(n1.is_some() && n1 >= one("level").as_u64(), "{n1:?}");
                assert_eq!(answers.row("nodes", "name", "n4")["level"], Value::Null);
            }
            "Who may change it, and which token is in use?" => {
                let late = answers.row("tokens", "name", "late-shift");
                assert_eq!(late["role"], "admin");
                assert!(late["last_used"].is_string(), "{late}");
            }
            "How do I go back?" => {
                assert_eq!(answers.at("versions[].version"), [json!(2), json!(1)]);
                assert_eq!(one("version"), 3);
                assert!(
                    answers.at("changed")[0].to_string().contains("gateways/partner"),
                    "{:?}",
                    answers.0
                );
            }
            title => panic!("no answer to {title:?} is known here: say what it must be"),
        }
    }
}

// === impl Answers ===

impl Answers {
    /// All values at a path such as `nodes[].live`, of the first answer that has any.
    fn at(&self, path: &str) -> Vec<Value> {
        let found = self.0.iter().map(|answer| {
            path.split('.').fold(vec![answer.clone()], |values, step| {
                let (name, each) = match step.strip_suffix("[]") {
                    Some(name) => (name, true),
                    None => (step, false),
                };
                let values = values.iter().filter_map(|value| value.get(name).cloned());
                if each {
                    let lists = values.filter_map(|value| value.as_array().cloned());
                    lists.flatten().collect()
                } else {
                    values.collect()
                }
            })
        });
        found.into_iter().find(|values| !values.is_empty()).unwrap_or_default()
    }

    /// The row of a list whose `key` is this.
    fn row(&self, list: &str, key: &str, is: impl Into<Value>) -> Value {
        let is = is.into();
        let rows = self.at(&format!("{list}[]"));
        let found = rows.iter().find(|row| row[key] == is);
        found
            .cloned()
            .unwrap_or_else(|| panic!("no {key} {is} in {list}: {rows:?}"))
    }
}

/// The questions of the guide, as they stand there.
fn questions() -> Vec<Question> {
    let path = program::repository().join("docs/guides/at-night.md");
    let guide = std::fs::read_to_string(&path).expect("the guide is there");
    let mut questions = Vec::new();
    for section in guide.split("\n## ").skip(1) {
        let (title, rest) = section.split_once('\n').expect("a title and a text");
        let (_, rest) = rest.split_once("```sh\n").expect("a block of commands");
        let (block, text) = rest.split_once("```").expect("the block's end");
        let (_, places) = text.split_once("In `--json`: ").expect("where the answer stands");
        let places = places.split_once("\n\n").map_or(places, |(places, _)| places);
        questions.push(Question {
            title: title.trim().to_owned(),
            commands: block.lines().map(words).collect(),
            paths: places.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        });
    }
    questions
}

/// The words after `sluice`; what stands in double quotes is one.
fn words(line: &str) -> Vec<String> {
    let line = line
        .strip_prefix("sluice ")
        .unwrap_or_else(|| panic!("no command: {line}"));
    let mut words = Vec::new();
    for (place, part) in line.split('"').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
