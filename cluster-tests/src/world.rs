//! What a test stands in: a directory and a block of addresses, both gone when it ends.

use crate::address::Block;
use crate::backend::Backend;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// Hosts of a block, by what stands there.
pub(crate) mod hosts {
    /// Node *n* stands at *n*.
    pub(crate) const NODES: u8 = 0;
    /// The relay in front of node *n* stands at 100 + *n*.
    pub(crate) const RELAYS: u8 = 100;
    /// All services, told apart by port.
    pub(crate) const SERVICES: u8 = 200;
    /// The balancer.
    pub(crate) const BALANCER: u8 = 210;
    /// The store.
    pub(crate) const STORE: u8 = 220;
}

/// A test's own corner of the machine.
#[derive(Debug)]
pub struct World {
    directory: TempDir,
    block: Block,
    next_service: AtomicU16,
}

impl World {
    /// A new one.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("sluice-test-")
            .tempdir()
            .expect("a temporary directory");
        Self {
            directory,
            block: Block::lease(),
            next_service: AtomicU16::new(9101),
        }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file into its directory and gives the path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a directory for the file");
        }
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Its addresses.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// An address for one more service: ports 9101, 9102, … in the order asked.
    pub fn service(&self) -> SocketAddr {
        self.block
            .at(hosts::SERVICES, self.next_service.fetch_add(1, Ordering::Relaxed))
    }

    /// One more echo service.
    pub async fn echo(&self, name: &str) -> Backend {
        Backend::echo(self.service(), name).await
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
