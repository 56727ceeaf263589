//! A leader whose disk fills up stands in nobody's way.

use cluster_tests::document::answering;
use cluster_tests::{Call, Cluster, World};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of its own, small; unmounted in the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(at);
        let mounted = mount.output().ok()?.status.success();
        mounted.then(|| Self(at.to_owned()))
    }

    fn fill(&self) {
        let mut hog = std::fs::File::create(self.0.join("hog")).expect("a file");
        for size in [64 * 1024, 4096] {
            while hog.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a node that still runs keeps it until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_leader_whose_disk_is_full_gives_the_lead_away_and_changes_go_on() {
    let world = World::new();
    let mut cluster = Cluster::of(3).make(&world).await;
    let mut disks = Vec::new();
    for n in 1..=3 {
        let at = world.path(&format!("disk-{n}"));
        std::fs::create_dir(&at).expect("a directory");
        let Some(disk) = Disk::mount(&at) else {
            eprintln!("no right to mount a small disk: this scenario needs root");
            return;
        };
        cluster.node_mut(n).settings_mut().data = at.join("data");
        disks.push(disk);
    }
    cluster.start_all().await;
    cluster.apply(&answering("before")).await;
    let full = cluster.leader().await;
    disks[full - 1].fill();
    // Each change is taken, through the full one too: while there is a reserve by it, then by another.
    for number in 0..20 {
        let through = number % 3 + 1;
        let text = format!("{number} {}", "x".repeat(20_000));
        cluster.admin(through).apply_when_possible(&answering(&text)).await;
    }
    let leads = cluster.leader().await;
    assert_ne!(leads, full);
    let told = cluster.admin(full).readyz().await.expect("an answer");
    assert!(told.text().contains("\"disk\""), "{}", told.text());
    let answer = Call::get(cluster.node(full).http(), "/").answer().await;
    assert_eq!(answer.status.as_u16(), 200, "its traffic goes on");
}
