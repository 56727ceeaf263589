//! The line itself: what is understood, what is refused, what the help says.

use crate::arguments::{Line, MembersAct, Verb, Wait};
use crate::run::{command, markdown, reached};
use clap::Parser as _;
use std::path::Path;

fn parse(words: &[&str]) -> Result<Line, clap::Error> {
    Line::try_parse_from(std::iter::once(&"sluice").chain(words))
}

#[test]
fn the_tree_is_sound() {
    command().debug_assert();
}

#[test]
fn apply_waits_for_all_and_rollback_for_a_majority() {
    let Verb::Apply(apply) = parse(&["apply", "-f", "a.yaml", "-f", "b"]).unwrap().verb else {
        panic!("apply")
    };
    assert_eq!((apply.wait, apply.file.len()), (Wait::All, 2));
    let Verb::Rollback(rollback) = parse(&["rollback", "3"]).unwrap().verb else {
        panic!("rollback")
    };
    assert_eq!((rollback.wait, rollback.version), (Wait::Majority, Some(3)));
}

#[test]
fn a_cluster_may_be_named_before_and_after_the_command() {
    let reach = |words: &[&str]| reached(&parse(words).unwrap()).unwrap();
    for words in [
        &["--admin", "http://a:1", "--json", "members", "list"][..],
        &["members", "--admin", "http://a:1", "--json", "list"],
        &["members", "list", "--admin", "http://a:1", "--json"],
        &["token", "--json", "list", "--admin", "http://a:1"],
    ] {
        let reach = reach(words);
        assert_eq!(
            (reach.admin.as_deref(), reach.json),
            (Some("http://a:1"), true),
            "{words:?}"
        );
    }
    let reach = reach(&["--admin", "http://a:1", "status", "--data", "/d"]);
    assert_eq!((reach.admin, reach.data.as_deref()), (None, Some(Path::new("/d"))));
    assert!(parse(&["status", "--admin", "http://a:1", "--data", "/d"]).is_err());
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    for words in [
        &["apply"][..],
        &["apply", "-f", "a", "--wait", "some"],
        &["apply", "-f", "a", "--timeout", "5"],
        &["promote"],
        &["apply", "-f", "a", "--confirm-within", "999ms"],
        &["apply", "-f", "a", "--scope", "web"],
        &["fmt", "--check", "-w", "a"],
        &["diff"],
        &["check"],
        &["diff", "--changed-by", "0"],
        &["diff", "--changed-by", "2", "--version", "1"],
        &["top", "--interval", "1ms"],
        &["top", "--routes", "--nodes"],
        &["rescue", "--pin", "1"],
        &["rescue", "--data", "d", "--pin", "1", "--unpin"],
        &["members", "form"],
        &["token", "create", "a", "--role", "king"],
        &["demo", "--port-offset", "60000"],
        &["limits", "show", "a"],
        &["limits", "top", "--limit", "0"],
        &["breakers", "open", "a"],
        &["breakers", "open", "a", "--why", ""],
        &["breakers", "open", "a", "--why", "b", "--for", "169h"],
        &["breakers", "open", "a", "--why", "b", "--route", "c"],
        &["fly"],
    ] {
        let error = parse(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
    }
    let Verb::Members(members) = parse(&["members", "form", "--only", "n1,n2"]).unwrap().verb else {
        panic!("members")
    };
    assert!(matches!(members.act, Some(MembersAct::Form(form)) if form.only == ["n1", "n2"]));
}

#[test]
fn every_command_states_its_exit_codes() {
    let mut tree = command();
    tree.build();
    fn walk(command: &mut clap::Command, path: &str) {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Exit codes:"), "{path} does not state its exit codes");
        let below: Vec<_> = command
            .get_subcommands()
            .map(|below| below.get_name().to_owned())
            .collect();
        for below in below.into_iter().filter(|below| below != "help") {
            walk(command.find_subcommand_mut(&below).unwrap(), &format!("{path} {below}"));
        }
    }
    walk(&mut tree, "sluice");
}

#[test]
fn the_page_of_the_documentation_is_the_help_of_today() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    // Recorded by a scenario, cluster-tests/tests/answers.rs.
    let answer = |name: &str| {
        // These need a cluster in a state of its own, and print what others print.
        let name = match name {
            "members-form" | "members-replace" | "members-transfer" => "members-list",
            "split-set" => "rollback",
            name => name,
        };
        std::fs::read_to_string(docs.join(format!("answers/{name}.json"))).ok()
    };
    let markdown = || markdown(&answer);
    let page = docs.join("commands.md");
    if std::env::var_os("SLUICE_WRITE_DOCS").is_some() {
        std::fs::write(&page, markdown()).unwrap();
    }
    let kept = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        kept == markdown(),
        "docs/commands.md is stale: SLUICE_WRITE_DOCS=1 cargo test -p sluice-commands page"
    );
}

/// The lines of a page's shell blocks that begin with `sluice`, as words.
fn commands_of(page: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in page.replace("\\\n", " ").lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && (line.starts_with("sluice ") || line.starts_with("target/release/sluice ")) => {
                commands.push(shell_words(line));
            }
            _ => {}
        }
    }
    commands
}

/// Words as a shell makes them, up to a comment, a pipe or a redirection; what is quoted is one word.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('#' | '|' | '>' | '&' | ';', None) if words.last().is_some_and(String::is_empty) => break,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_guides_is_understood() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let guides = std::fs::read_dir(docs.join("guides")).unwrap();
    let pages = guides.map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for page in pages.chain([docs.join("running.md"), docs.join("../README.md")]) {
        for words in commands_of(&std::fs::read_to_string(&page).unwrap()) {
            // The settings of a node are the host's.
            if words.get(1).is_some_and(|verb| verb == "node") {
                continue;
            }
            // N stands for the number of a version.
            let words: Vec<_> = words[1..]
                .iter()
                .map(|word| if word == "N" { "17" } else { word })
                .collect();
            if let Err(error) = parse(&words) {
                panic!("{}: sluice {}: {error}", page.display(), words.join(" "));
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}
