//! Spoilt documents, made of the examples: each is refused with its place, and changes nothing.

use cluster_tests::document::{answering, examples};
use cluster_tests::mangle::mangle;
use cluster_tests::{Call, Cluster, Command, World};

#[tokio::test]
async fn every_spoilt_document_is_refused_with_its_place_and_changes_nothing() {
    let world = World::new();
    let cluster = Cluster::three(&world).await;
    let written = cluster.apply(&answering("untouched")).await;
    let yaml: Vec<_> = examples()
        .into_iter()
        .filter(|(name, _)| name.ends_with(".yaml"))
        .collect();
    let mangled = mangle(&yaml, 200, 4711);
    let mut taken = Vec::new();
    for (number, spoilt) in mangled.iter().enumerate() {
        let admin = cluster.admin(number % 3 + 1);
        let answer = admin.put(&spoilt.text, "?dry_run").await.expect("an answer");
        if answer.status == 200 {
            taken.push(format!("{}:\n{}", spoilt.what, spoilt.text));
            continue;
        }
        let answer = admin.put(&spoilt.text, "").await.expect("an answer").expect(422);
        assert_eq!(answer.code(), "invalid_config", "{}", spoilt.what);
        let problem = answer.json();
        let errors = problem["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("{}: {problem}", spoilt.what));
        assert!(!errors.is_empty(), "{}: {problem}", spoilt.what);
        for error in errors {
            let placed = error["line"].is_u64() || error["path"].as_str().is_some_and(|path| !path.is_empty());
            assert!(
                placed && error["message"].is_string(),
                "{}: {error}\n{}",
                spoilt.what,
                spoilt.text
            );
        }
    }
    assert!(
        taken.is_empty(),
        "{} of {} were taken:\n{}",
        taken.len(),
        mangled.len(),
        taken.join("\n----\n")
    );
    for node in cluster.nodes() {
        assert_eq!(node.admin().version().await, written.version);
        assert_eq!(
            Call::get(node.http(), "/").answer().await.expect(200).text(),
            "untouched"
        );
        assert_eq!(node.admin().metric("sluice_panics_total", &[]).await, 0.0);
    }
}

#[tokio::test]
async fn the_command_refuses_a_spoilt_document_in_the_terminals_form_and_in_json() {
    let world = World::new();
    let yaml: Vec<_> = examples()
        .into_iter()
        .filter(|(name, _)| name.ends_with(".yaml"))
        .collect();
    for (number, spoilt) in mangle(&yaml, 29, 99).into_iter().enumerate() {
        let path = world
            .file(&format!("{number}.yaml"), &spoilt.text)
            .display()
            .to_string();
        let done = Command::new(&world, &["check", &path]).run().await.expect(1);
        assert!(
            done.err.contains(&format!("{number}.yaml")),
            "{}: {}",
            spoilt.what,
            done.said()
        );
        let done = Command::new(&world, &["check", "--json", &path]).run().await.expect(1);
        let text = done.json().to_string();
        assert!(
            text.contains("\"line\":") && text.contains("error"),
            "{}: {text}",
            spoilt.what
        );
    }
}
