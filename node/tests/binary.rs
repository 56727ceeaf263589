//! The binary as it is built; that this test stands here has cargo build it beside the scenarios of cluster-tests.

use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn it_says_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("--version")
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains(env!("CARGO_PKG_VERSION")),
        "{said}"
    );
}

/// Systems start services with a soft limit of 1024 open files; a listener alone takes ten thousand connections.
#[cfg(target_os = "linux")]
#[test]
fn a_node_takes_as_many_open_files_as_it_may() {
    let data = tempfile::tempdir().expect("a folder");
    let mut node = Command::new("sh")
        .args([
            "-c",
            "ulimit -Sn 200 && exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_sluice"),
            "node",
        ])
        .args(["--name", "n1", "--listen-http", "127.0.0.1:0"])
        .args([
            "--listen-admin",
            "127.0.0.1:0",
            "--listen-peer",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let limits = format!("/proc/{}/limits", node.id());
    let raised = (0..3000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let text = std::fs::read_to_string(&limits).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
        let mut words = line.unwrap_or_default().split_whitespace();
        let (soft, hard) = (words.next(), words.next());
        soft.is_some() && soft == hard
    });
    node.kill().expect("it runs");
    node.wait().expect("it ends");
    assert!(raised);
}
