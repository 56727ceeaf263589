//! The data directory: one file of records, one thread that writes it, one lock.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_peer::NodeId;

use crate::error::{DiskError, PromiseError, StoreError};
use crate::state::HistoryLimits;

/// What a data directory is opened as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// The node's name. It is written down at the first start; another one is refused later.
    pub name: String,
    /// The cluster's name, likewise.
    pub cluster: String,
    /// Bytes kept in reserve for the moment when the disk is full. 64 MiB; 0 keeps none.
    pub ballast: u64,
    /// How much history is kept. The same on all nodes, or they answer differently about the past
    /// (and about nothing else).
    pub history: HistoryLimits,
}

/// What was found in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// This node's incarnation: made with the directory, or by [`Store::renew`].
    pub incarnation: NodeId,
    /// The cluster that it belongs to; `None` before it was told by [`Store::set_cluster_id`].
    pub cluster: Option<u128>,
    /// Whether the directory was empty.
    pub is_new: bool,
    /// Whether the last process that used it stopped in order.
    pub was_clean: bool,
    /// Whether Raft was ever begun here: there is a vote or an entry.
    pub is_initialised: bool,
    /// What is wrong with it, if anything is. Then Raft does not start before [`Store::renew`].
    pub damage: Option<Damage>,
}

/// Records that are not what was written: the disk lied, or somebody changed the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which record, and what is wrong with it.
    pub what: String,
    /// Whether the configuration itself could be read all the same, and can be served meanwhile.
    pub state_is_whole: bool,
}

/// That this node will belong to this cluster: given once, on the way to forming one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The cluster to be.
    pub cluster_id: u128,
    /// Who asked for it.
    pub founder: NodeId,
}

/// An open data directory. Clones are the same; the lock is let go with the last.
#[derive(Clone, Debug)]
pub struct Store {
    dir: Arc<Path>,
}

// === impl OpenOptions ===

impl OpenOptions {
    /// With the defaults, for a node of this name in this cluster.
    #[must_use]
    pub fn new(name: &str, cluster: &str) -> Self {
        Self {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            ballast: 64 * 1024 * 1024,
            history: HistoryLimits::default(),
        }
    }
}

// === impl Store ===

impl Store {
    /// Opens the data directory, which is made if it is not there. Reads all of it and checks
    /// every record; blocks meanwhile.
    ///
    /// Damage is no error here: see [`Boot::damage`].
    ///
    /// # Errors
    /// Each [`StoreError`] says what to do.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<(Self, Boot), StoreError> {
        let _ = options;
        Err(StoreError::Empty { dir: dir.to_owned() })
    }

    /// Opens the data directory of a node that does not run, whatever its name: for `rescue`.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`StoreError::Empty`] where no node ever was.
    pub fn open_offline(dir: &Path) -> Result<Self, StoreError> {
        Err(StoreError::Empty { dir: dir.to_owned() })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The versions that could be pinned, oldest first.
    #[must_use]
    pub fn versions(&self) -> Vec<u64> {
        Vec::new()
    }

    /// The version that an operator pinned this node to, until it is let go.
    #[must_use]
    pub fn pin(&self) -> Option<u64> {
        None
    }

    /// Pins this node to a version, or lets it go. Synced on return; blocks meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NoSuchVersion`], or the disk's.
    pub fn set_pin(&self, version: Option<u64>) -> Result<(), StoreError> {
        let _ = version;
        Err(StoreError::Empty {
            dir: self.dir.to_path_buf(),
        })
    }

    /// What was last given to [`set_boot_record`](Self::set_boot_record); empty at first.
    #[must_use]
    pub fn boot_record(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Keeps a few bytes for the next start. Synced on return; blocks meanwhile.
    ///
    /// # Errors
    /// The disk's.
    pub fn set_boot_record(&self, record: &[u8]) -> Result<(), DiskError> {
        let _ = record;
        Ok(())
    }

    /// Gives a promise: synced on return, given once. The same one may be given again.
    ///
    /// # Errors
    /// [`PromiseError::Given`] where it was another one.
    pub fn promise(&self, promise: &Promise) -> Result<(), PromiseError> {
        let _ = promise;
        Ok(())
    }

    /// The promise that was given.
    #[must_use]
    pub fn promised(&self) -> Option<Promise> {
        None
    }

    /// Writes down which cluster this node belongs to. Synced on return; blocks meanwhile.
    ///
    /// # Errors
    /// [`PromiseError::Given`] where it belongs to another one already.
    pub fn set_cluster_id(&self, cluster_id: u128) -> Result<(), PromiseError> {
        let _ = cluster_id;
        Ok(())
    }

    /// Makes this node another incarnation with an empty log and an empty state: what is left to
    /// one whose log is damaged. The damaged file is kept beside under another name; the boot
    /// record and the pin are kept if they can be read.
    ///
    /// To be called before [`Consensus::start`](crate::Consensus::start).
    ///
    /// # Errors
    /// The disk's.
    pub fn renew(&self) -> Result<NodeId, StoreError> {
        Err(StoreError::Empty {
            dir: self.dir.to_path_buf(),
        })
    }
}
