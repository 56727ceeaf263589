//! The binary as it is built; that this test stands here has cargo build it beside the scenarios of cluster-tests.

use std::process::Command;

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
