//! Where the programs are: the gateway that is tested, and the neighbours it is tested with.

use std::path::{Path, PathBuf};

/// The `sluice` binary: `CLUSTER_TESTS_BIN`, or the one that lies beside the tests.
pub fn sluice() -> PathBuf {
    if let Some(given) = std::env::var_os("CLUSTER_TESTS_BIN") {
        return given.into();
    }
    let tests = std::env::current_exe().expect("a test has a path");
    let built = tests.ancestors().nth(2).map(|profile| profile.join("sluice"));
    match built {
        Some(binary) if binary.is_file() => binary,
        _ => panic!("no sluice beside the tests: run cluster-tests/run, which builds it, or set CLUSTER_TESTS_BIN"),
    }
}

/// A neighbour by its name, looked for on the path and where Debian puts daemons.
pub fn neighbour(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places
        .map(|place| place.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run cluster-tests/run, which installs it or says how"))
}

/// The top of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("cluster-tests lies in the repository")
}
