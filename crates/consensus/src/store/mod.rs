//! The data directory: one file of records, one thread that writes it, one lock.
//!
//! ```text
//! DIR/sluice.redb    all records: log, vote, state, what single facts there are
//! DIR/acknowledged   how many writes were acknowledged, written after each and not synced
//! DIR/ballast        space for the moment when the disk is full
//! DIR/lock           held while a process uses the directory
//! ```
//!
//! Every record has a checksum of its own, and the database checks its pages on every open. A crash
//! leaves the last write whole or not there at all. The file of acknowledged writes tells the two
//! cases apart in which a write is not there: it was cut short, and nobody was told of it, or it
//! was acknowledged and the disk lost it. The second is damage, like a record with a wrong checksum.
//!
//! A damaged log is never cut short to what is left of it: entries that were acknowledged may be
//! among what is gone, and a majority would have been counted that is none. Such a node becomes
//! another incarnation ([`Store::renew`]) and gets all from the others.

#[cfg(test)]
mod crashes;
mod disk;
mod file;
mod load;
mod mirror;
mod opening;
mod published;
mod reserve;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use load::Facts;
use serde::{Deserialize, Serialize};
use sluice_peer::NodeId;
use sluice_peer::codec::{self, CodecError};
use sluice_telemetry::prometheus_client::metrics::histogram::Histogram;

pub(crate) use self::file::Faults;
pub(crate) use self::mirror::{Mirror, bytes};
pub(crate) use self::published::Published;
use self::reserve::Reserve;
pub(crate) use self::writer::{Op, Writer};
use crate::error::{DiskError, PromiseError, Pruned, StoreError};
use crate::raft::types::{LogId, Membership};
use crate::state::{Entry, Head, HistoryLimits, State};

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
    /// This node's incarnation: made with the directory, or by [`Store::renew`]. With damage it is
    /// the one before, and zero where not even that can be read.
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
    /// Whether the configuration itself could be read all the same. [`Store::parts`] has it until
    /// [`Store::renew`], so that it can be served meanwhile.
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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Locked as long as it is open.
    lock: File,
    options: OpenOptions,
    faults: Faults,
    reserve: Arc<Reserve>,
    published: Arc<Published>,
    fsync: Histogram,
    open: Mutex<Open>,
}

/// What changes when the node becomes another incarnation.
#[derive(Debug)]
struct Open {
    facts: Facts,
    damage: Option<String>,
    storage: Option<(Writer, JoinHandle<()>)>,
    /// What Raft starts from, until it does.
    raft: Option<RaftStart>,
}

/// What Raft starts from.
#[derive(Debug)]
pub(crate) struct RaftStart {
    pub(crate) id: NodeId,
    pub(crate) writer: Writer,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) state: State,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) published: Arc<Published>,
    pub(crate) limits: HistoryLimits,
    pub(crate) fsync: Histogram,
}

/// The format of the tables.
const FORMAT: u32 = 1;

const DATA: &str = "sluice.redb";
const MARK: &str = "acknowledged";
const BALLAST: &str = "ballast";
const LOCK: &str = "lock";

/// Buckets of the time of a synced write, in seconds: from a cache that lies to a disk that dies.
const FSYNC: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

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
    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// This node's incarnation.
    #[must_use]
    pub fn incarnation(&self) -> NodeId {
        NodeId(self.inner.open().facts.incarnation.unwrap_or_default())
    }

    /// The newest version stored, with its parts. Also of a damaged directory, if they could be
    /// read, until it is renewed.
    #[must_use]
    pub fn parts(&self) -> (Head, Arc<BTreeMap<Arc<str>, Entry>>) {
        self.inner.published.parts()
    }

    /// All parts of an earlier version.
    ///
    /// # Errors
    /// [`Pruned`] where the history does not reach so far.
    pub fn parts_at(&self, version: u64) -> Result<BTreeMap<Arc<str>, Arc<str>>, Pruned> {
        self.inner.published.state().parts_at(version)
    }

    /// The versions that could be pinned, oldest first.
    #[must_use]
    pub fn versions(&self) -> Vec<u64> {
        let state = self.inner.published.state();
        (state.oldest()..=state.head.version).collect()
    }

    /// The version that an operator pinned this node to, until it is let go.
    #[must_use]
    pub fn pin(&self) -> Option<u64> {
        self.inner.open().facts.pin
    }

    /// Pins this node to a version, or lets it go. Synced on return; blocks meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NoSuchVersion`], or the disk's.
    pub fn set_pin(&self, version: Option<u64>) -> Result<(), StoreError> {
        if let Some(version) = version {
            let available = self.versions();
            if !available.contains(&version) {
                return Err(StoreError::NoSuchVersion {
                    dir: self.inner.dir.clone(),
                    version,
                    available,
                });
            }
        }
        let mut open = self.inner.open();
        open.set(disk::meta::PIN, version.map(|v| encode(&v)).transpose()?)?;
        open.facts.pin = version;
        Ok(())
    }

    /// What was last given to [`set_boot_record`](Self::set_boot_record); empty at first.
    #[must_use]
    pub fn boot_record(&self) -> Vec<u8> {
        self.inner.open().facts.boot.clone()
    }

    /// Keeps a few bytes for the next start. Synced on return; blocks meanwhile.
    ///
    /// # Errors
    /// The disk's.
    pub fn set_boot_record(&self, record: &[u8]) -> Result<(), DiskError> {
        let mut open = self.inner.open();
        open.set(disk::meta::BOOT, Some(encode(record)?))?;
        open.facts.boot = record.to_vec();
        Ok(())
    }

    /// Gives a promise: synced on return, given once. The same one may be given again.
    ///
    /// # Errors
    /// [`PromiseError::Given`] where it was another one.
    pub fn promise(&self, promise: &Promise) -> Result<(), PromiseError> {
        let mut open = self.inner.open();
        match &open.facts.promise {
            Some(given) if given == promise => return Ok(()),
            Some(given) => return Err(PromiseError::Given { given: given.clone() }),
            None => {}
        }
        open.set(disk::meta::PROMISE, Some(encode(promise)?))?;
        open.facts.promise = Some(promise.clone());
        Ok(())
    }

    /// The promise that was given.
    #[must_use]
    pub fn promised(&self) -> Option<Promise> {
        self.inner.open().facts.promise.clone()
    }

    /// The cluster that this node belongs to.
    #[must_use]
    pub fn cluster_id(&self) -> Option<u128> {
        self.inner.open().facts.cluster_id
    }

    /// Writes down which cluster this node belongs to. Synced on return; blocks meanwhile.
    ///
    /// # Errors
    /// [`PromiseError::Member`] where it belongs to another one already.
    pub fn set_cluster_id(&self, cluster_id: u128) -> Result<(), PromiseError> {
        let mut open = self.inner.open();
        match open.facts.cluster_id {
            Some(found) if found == cluster_id => return Ok(()),
            Some(found) => return Err(PromiseError::Member { cluster_id: found }),
            None => {}
        }
        open.set(disk::meta::CLUSTER_ID, Some(encode(&cluster_id)?))?;
        open.facts.cluster_id = Some(cluster_id);
        Ok(())
    }

    /// Whether the disk was full since this node started: changes are refused until space is freed
    /// and it is started again.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.inner.reserve.is_spent()
    }

    /// The write that failed, after which nothing is written any more.
    #[must_use]
    pub fn fault(&self) -> Option<DiskError> {
        self.inner
            .open()
            .storage
            .as_ref()
            .and_then(|(writer, _)| writer.fault())
    }

    /// Makes this node another incarnation with an empty log and an empty state: what is left to
    /// one whose log is damaged. The damaged file is kept beside under another name (one of them);
    /// the boot record, the pin and the cluster are kept if they could be read.
    ///
    /// To be called before [`Consensus::start`](crate::Consensus::start). Blocks.
    ///
    /// # Errors
    /// The disk's.
    pub fn renew(&self) -> Result<NodeId, StoreError> {
        self.inner.renew()
    }

    /// Marks the stop as clean, ends the writing and lets the directory go, although clones of this
    /// may live on: reads go on, every later write fails. A second call does nothing. Blocks.
    ///
    /// # Errors
    /// The disk's; the directory is let go all the same.
    pub fn close(&self) -> Result<(), DiskError> {
        let mut open = self.inner.open();
        if open.storage.is_none() {
            return Ok(());
        }
        let marked = encode(&true).and_then(|clean| open.set(disk::meta::CLEAN, Some(clean)));
        end(open.storage.take());
        let _ = self.inner.lock.unlock();
        marked
    }

    /// As if the disk had been full.
    #[cfg(test)]
    pub(crate) fn spend_reserve(&self) {
        self.inner.reserve.release();
    }

    /// What Raft starts from; once.
    pub(crate) fn take_raft(&self) -> Result<RaftStart, crate::error::StartError> {
        let mut open = self.inner.open();
        if let Some(what) = &open.damage {
            return Err(crate::error::StartError::Damaged(what.clone()));
        }
        let used = || crate::error::StartError::Raft("it was started from this store before".to_owned());
        open.raft.take().ok_or_else(used)
    }
}

// === impl Inner ===

impl Inner {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Facts are set after the write that they tell of.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The lock must not be let go before the last write is done.
        let storage = self.open().storage.take();
        end(storage);
    }
}

fn end(storage: Option<(Writer, JoinHandle<()>)>) {
    if let Some((writer, thread)) = storage {
        writer.stop();
        let _ = thread.join();
    }
}

// === impl Open ===

impl Open {
    fn set(&self, key: &'static str, value: Option<Vec<u8>>) -> Result<(), DiskError> {
        match &self.storage {
            Some((writer, _)) => writer.write_blocking(Op::Meta { key, value }),
            None => Err(DiskError {
                why: "the data directory is closed, or damaged and not renewed".to_owned(),
            }),
        }
    }
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, DiskError> {
    codec::encode(value).map_err(|e: CodecError| DiskError { why: e.to_string() })
}
