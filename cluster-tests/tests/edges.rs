//! The house is built as ARCHITECTURE.md draws it.

use cluster_tests::program::repository;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Crate → what its row allows, from the roof down.
struct Table(Vec<(String, BTreeSet<String>)>);

impl Table {
    fn read() -> Self {
        let page = std::fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
        let section = page.split("## Allowed edges").nth(1).expect("it has the section");
        let section = section.split("\n## ").next().unwrap_or_default();
        let rows = section
            .lines()
            .filter(|line| line.starts_with("| ") && !line.contains("may use"));
        Self(rows.map(read_row).collect())
    }

    fn place(&self, name: &str) -> usize {
        let place = self.0.iter().position(|(row, _)| row == name);
        place.unwrap_or_else(|| panic!("{name} has no row in ARCHITECTURE.md, Allowed edges"))
    }

    fn allows(&self, user: &str, used: &str) -> bool {
        self.0[self.place(user)].1.contains(used)
    }
}

fn read_row(line: &str) -> (String, BTreeSet<String>) {
    let mut cells = line.trim_matches('|').split('|').map(str::trim);
    let name = cells.next().unwrap_or_default().to_owned();
    let list = cells.next().unwrap_or_default();
    (
        name,
        list.split(',')
            .map(str::trim)
            .filter(|used| !used.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// (user, used, kind) for every edge within the workspace.
fn edges() -> Vec<(String, String, String)> {
    let metadata: Value = serde_json::from_str(&cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--locked",
        "--offline",
    ]))
    .expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().unwrap_or("normal").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let mut found = Vec::new();
    for package in packages {
        found.push((text(&package["name"]), String::new(), String::new()));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            if dependency["path"].is_string() {
                found.push((
                    text(&package["name"]),
                    text(&dependency["name"]),
                    text(&dependency["kind"]),
                ));
            }
        }
    }
    found
}

#[test]
fn every_edge_is_allowed_and_goes_down() {
    let table = Table::read();
    let mut wrong = Vec::new();
    for (user, used, kind) in edges() {
        let place = table.place(&user);
        if used.is_empty() {
            continue;
        }
        if table.place(&used) <= place {
            wrong.push(format!("{user} → {used} goes up"));
        }
        if kind != "dev" && !table.allows(&user, &used) {
            wrong.push(format!("{user} → {used} is not in the table"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_names_no_edge_that_is_not_there() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (user, name, kind) in edges() {
        let row = used.entry(user).or_default();
        if !name.is_empty() && kind != "dev" {
            row.insert(name);
        }
    }
    let mut idle = Vec::new();
    for (user, allowed) in Table::read().0 {
        let row = used
            .get(&user)
            .unwrap_or_else(|| panic!("{user} has a row but is no crate"));
        idle.extend(allowed.difference(row).map(|name| format!("{user} → {name}")));
    }
    assert!(idle.is_empty(), "allowed but unused: {idle:#?}");
}

#[test]
fn what_decides_by_value_has_no_io_in_its_tree() {
    for room in [
        "sluice-document",
        "sluice-expression",
        "sluice-shared-state",
        "sluice-http-semantics",
    ] {
        let tree = cargo(&[
            "tree",
            "-p",
            room,
            "-e",
            "normal",
            "--prefix",
            "none",
            "--locked",
            "--offline",
        ]);
        let found: Vec<&str> = tree
            .lines()
            .filter(|line| ["tokio", "hyper", "mio", "socket2"].contains(&line.split(' ').next().unwrap_or_default()))
            .collect();
        assert!(found.is_empty(), "{room}: {found:?}");
    }
}

#[test]
fn the_data_plane_names_nothing_of_the_document() {
    let mut files = Vec::new();
    sources(&repository().join("crates/dataplane/src"), &mut files);
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source is a text");
        assert!(!text.contains("sluice_document"), "{}", file.display());
    }
}

#[test]
fn no_feature_that_changes_all_others_is_on() {
    // One crate that asks for such a feature gives it to the whole binary.
    let tree = cargo(&[
        "tree",
        "-p",
        "sluice",
        "-e",
        "normal",
        "--prefix",
        "none",
        "-f",
        "{p} {f}",
        "--locked",
        "--offline",
    ]);
    for (package, feature) in [
        ("serde_json", "arbitrary_precision"),
        ("rustls", "ring"),
        ("jsonwebtoken", "rust_crypto"),
    ] {
        let on = tree
            .lines()
            .any(|line| line.split(' ').next() == Some(package) && line.contains(feature));
        assert!(!on, "{package} has {feature} on: cargo tree -e features -i {package}");
    }
}

fn sources(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
