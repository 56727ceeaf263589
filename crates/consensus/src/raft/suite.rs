//! openraft's own tests of a log and a state machine, on real directories.
#![allow(clippy::unwrap_used)]

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::types::Types;
use super::{LogStore, Machine};
use crate::store::tests::scratch;
use crate::store::{OpenOptions, Store};

struct Directories;

impl StoreBuilder<Types, LogStore, Machine, (Store, TempDir)> for Directories {
    async fn build(&self) -> Result<((Store, TempDir), LogStore, Machine), StorageError<Types>> {
        let dir = scratch();
        let options = OpenOptions {
            ballast: 0,
            ..OpenOptions::new("n1", "shop")
        };
        let (store, _) = Store::open(dir.path(), options).unwrap();
        let start = store.take_raft().unwrap();
        let machine = Machine::new(&start);
        Ok(((store, dir), LogStore::new(start.mirror, start.writer), machine))
    }
}

#[tokio::test]
async fn the_store_keeps_what_openraft_asks_of_one() {
    Suite::test_all(Directories).await.unwrap();
}
