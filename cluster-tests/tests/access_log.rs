//! The access log of a real node: what is in it, when, and that nobody waits for it.

use cluster_tests::document::with_routes;
use cluster_tests::{Backend, Call, Cluster, Node, World, eventually};
use serde_json::Value;

fn telling(document: &str, on: &str) -> String {
    format!("{document}telemetry: {{ access_log: {{ on: {on} }} }}\n")
}

/// The lines of the access log whose path begins so.
fn lines(node: &Node, path: &str) -> Vec<Value> {
    let log = node.log();
    let all = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| {
        line["target"] == "access" && line["url.path"].as_str().is_some_and(|said| said.starts_with(path))
    })
    .collect()
}

async fn lines_are(node: &Node, path: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} lines of {path}"), || async {
        match lines(node, path) {
            found if found.len() == count => Ok(found),
            found => Err(format!("{found:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn what_has_a_line_changes_with_the_version_on_every_node_and_secrets_are_never_in_it() {
    let world = World::new();
    let echo = world.echo("a").await;
    let cluster = Cluster::three(&world).await;
    let document = with_routes(&[("a", &echo.url())], &["{ path: /**, upstream: a }"]);
    for (round, (on, good, wrong)) in [("errors", 0, 1), ("all", 1, 1), ("off", 0, 0), ("all", 1, 1)]
        .into_iter()
        .enumerate()
    {
        let version = cluster.apply(&telling(&document, on)).await.version;
        for node in cluster.nodes() {
            let call = |path: String| {
                Call::get(node.http(), path)
                    .header("authorization", "Bearer hunter1")
                    .header("cookie", "session=hunter2")
            };
            call(format!("/good/{round}?token=hunter3")).answer().await.expect(200);
            call(format!("/bad/{round}/%00?token=hunter3"))
                .answer()
                .await
                .expect(400);
            for line in lines_are(node, &format!("/good/{round}"), good).await {
                assert_eq!(
                    (&line["node"], &line["version"]),
                    (&node.name().into(), &version.into()),
                    "{line}"
                );
                assert_eq!(
                    (&line["outcome"], &line["answered_by"]),
                    (&"ok".into(), &"upstream".into()),
                    "{line}"
                );
            }
            for line in lines_are(node, &format!("/bad/{round}"), wrong).await {
                assert_eq!(
                    (&line["outcome"], &line["answered_by"]),
                    (&"bad_request".into(), &"gateway".into()),
                    "{line}"
                );
            }
        }
    }
    for node in cluster.nodes() {
        assert!(!node.log().contains("hunter"), "{}", node.log());
    }
}

#[tokio::test]
async fn an_interim_answer_is_no_line_and_the_final_one_is_one() {
    let world = World::new();
    let early = Backend::scripted(world.service(), |mut wire, journal, _| async move {
        while let Some(head) = wire.head().await? {
            journal.note(&head);
            wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await?;
        }
        Ok(())
    })
    .await;
    let cluster = Cluster::one(&world).await;
    let document = with_routes(&[("a", &early.url())], &["{ path: /**, upstream: a }"]);
    cluster.apply(&telling(&document, "all")).await;
    let node = cluster.node(1);
    Call::get(node.http(), "/early").answer().await.expect(200);
    Call::get(node.http(), "/last").answer().await.expect(200);
    lines_are(node, "/last", 1).await;
    let all = lines_are(node, "/early", 1).await;
    assert_eq!(all[0]["http.response.status_code"], 200);
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_neither_traffic_nor_changes() {
    let world = World::new();
    let cluster = Cluster::of(1).unread_logs().start(&world).await;
    let document = |text: &str| {
        let long = "x".repeat(900);
        (
            telling(
                &with_routes::<&str>(&[], &[&format!("{{ path: /**, respond: {{ text: '{text}' }} }}")]),
                "all",
            ),
            long,
        )
    };
    let (first, long) = document("on");
    cluster.apply(&first).await;
    let (at, admin) = (cluster.node(1).http(), cluster.admin(1));
    let agent = "a".repeat(256);
    let mut calls = 0;
    while admin.metric("sluice_log_dropped_total", &["access"]).await == 0.0 {
        for _ in 0..200 {
            let call = Call::get(at, format!("/{long}")).header("user-agent", &agent);
            assert_eq!(call.answer().await.expect(200).text(), "on");
        }
        calls += 200;
        assert!(calls < 20_000, "nothing was dropped");
    }
    let (second, _) = document("still");
    cluster.apply(&second).await;
    assert_eq!(Call::get(at, "/").answer().await.expect(200).text(), "still");
}
