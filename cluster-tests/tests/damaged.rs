//! A disk that lies: what a stopped node finds changed in its files, it notices, says, and makes good from the others.

use cluster_tests::cluster::node_live;
use cluster_tests::document::{answering, many_routes};
use cluster_tests::{Call, Cluster, Node, World, eventually, rounds};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Flips one bit of a file.
fn flip(file: &Path, at: u64) {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .expect("the file is there");
    let mut byte = [0];
    open.read_exact_at(&mut byte, at).expect("the place is in the file");
    byte[0] ^= 0b0001_0000;
    open.write_all_at(&byte, at).expect("it can be written");
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).expect("the file is there").len()
}

/// Changes a stopped node's file, starts it, and waits until it is whole again: ready, at the version, a voter.
async fn recovers(cluster: &mut Cluster, what: &str, version: u64, damage: impl FnOnce(&Path)) {
    // In order: a node that is killed again and again blames the version that it serves by.
    assert!(cluster.node_mut(3).stop().await.success());
    damage(&cluster.node(3).data().join("sluice.redb"));
    cluster.node_mut(3).start();
    let before = cluster.node(3).log().matches("panicked").count();
    cluster.node(3).ready().await;
    node_live(cluster.node(3), version).await;
    cluster.voters(1, &["n1", "n2", "n3"]).await;
    assert_eq!(cluster.node(3).log().matches("panicked").count(), before, "{what}");
    let said = Call::get(cluster.node(3).http(), "/things0/latest")
        .answer()
        .await
        .expect(200)
        .text();
    assert_eq!(said, "0-1", "{what}");
}

#[tokio::test]
async fn a_flipped_bit_or_a_lost_tail_is_made_good_by_the_others() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    let (document, _) = many_routes(300, 3);
    let version = cluster.apply(&document).await.version;
    let mut random = fastrand::Rng::with_seed(17);
    for round in 0..rounds(4, 60) {
        recovers(&mut cluster, &format!("bit {round}"), version, |file| {
            let at = random.u64(..length(file));
            eprintln!("bit {round}: at {at}");
            flip(file, at);
        })
        .await;
    }
    recovers(&mut cluster, "the second half is gone", version, |file| {
        let half = length(file) / 2;
        let open = OpenOptions::new().write(true).open(file).expect("the file is there");
        open.set_len(half).expect("it can be cut");
    })
    .await;
    recovers(&mut cluster, "the second half is zeros", version, |file| {
        let open = OpenOptions::new().write(true).open(file).expect("the file is there");
        let half = length(file) / 2;
        open.write_all_at(&vec![0; half as usize], half)
            .expect("it can be written");
    })
    .await;
    recovers(&mut cluster, "all of it is something else", version, |file| {
        std::fs::write(file, "this is no database").expect("it can be written");
    })
    .await;
    let written = cluster.apply(&answering("all three agree")).await;
    assert_eq!(written.live.len(), 3);
}

#[tokio::test]
async fn the_data_of_another_cluster_of_the_same_name_is_told_and_takes_no_part() {
    let world = World::new();
    let mut cluster = Cluster::three(&world).await;
    cluster.apply(&answering("ours")).await;
    let elsewhere = World::new();
    let mut other = Cluster::three(&elsewhere).await;
    other.apply(&answering("theirs")).await;
    for node in other.nodes_mut() {
        node.kill();
    }
    cluster.node_mut(3).kill();
    cluster.node(3).wipe();
    std::fs::rename(other.node(3).data(), cluster.node(3).data()).expect("both lie on one file system");
    let node: &mut Node = cluster.node_mut(3);
    node.start();
    node.says("cluster").await;
    eventually("n3 to be told apart", || async {
        match cluster.admin(3).readyz().await {
            Err(_) => Ok(()),
            Ok(answer) if answer.status == 503 => Ok(()),
            Ok(answer) => Err(answer.text()),
        }
    })
    .await;
    // The others go on without it, and none of theirs comes in.
    let written = cluster.admin(1).apply_when_possible(&answering("still ours")).await;
    for n in [1, 2] {
        node_live(cluster.node(n), written.version).await;
        assert_eq!(
            Call::get(cluster.node(n).http(), "/").answer().await.text(),
            "still ours"
        );
    }
}
