//! The `sluice` binary: what a process has one of, and the way into the rooms.

mod host;
mod open_files;

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only where another provider is there already, which then serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    sluice_commands::run(std::env::args_os(), &host::Binary)
}
