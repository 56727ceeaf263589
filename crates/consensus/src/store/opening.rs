//! Opening a data directory: its lock, its owner, and what to do with what is found.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sluice_peer::NodeId;
use sluice_peer::codec;
use sluice_telemetry::prometheus_client::metrics::histogram::Histogram;

use super::disk::{Disk, meta};
use super::load::{Contents, Facts, Found, Unusable, load};
use super::reserve::Reserve;
use super::{
    BALLAST, Boot, DATA, Damage, FORMAT, FSYNC, Faults, Inner, LOCK, MARK, Mirror, Open, OpenOptions, Published,
    RaftStart, Store, Writer, encode, end,
};
use crate::error::{DiskError, StoreError};
use crate::state::{HistoryLimits, State};

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
        Self::open_with(dir, options, Faults::default())
    }

    pub(crate) fn open_with(dir: &Path, options: OpenOptions, faults: Faults) -> Result<(Self, Boot), StoreError> {
        let unusable = |what, source| StoreError::Unusable {
            dir: dir.to_owned(),
            what,
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| unusable("make it", e))?;
        let lock = take_lock(dir)?;
        let reserve = Reserve::prepare(dir.join(BALLAST), options.ballast);
        let reserve = Arc::new(reserve.map_err(|e| unusable("keep a reserve in it", e))?);
        let found = load(dir, &reserve, options.history, &faults).map_err(|e| not_usable(dir, e))?;
        let mut store = Inner {
            dir: dir.to_owned(),
            lock,
            faults,
            reserve,
            published: Arc::new(Published::new(State {
                limits: options.history,
                ..State::default()
            })),
            fsync: Histogram::new(FSYNC),
            open: Mutex::new(Open {
                facts: Facts::default(),
                damage: None,
                storage: None,
                raft: None,
            }),
            options,
        };
        let boot = store.settle(found)?;
        Ok((Self { inner: Arc::new(store) }, boot))
    }

    /// Opens the data directory of a node that does not run, whatever its name: for `rescue`.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`StoreError::Empty`] where no node ever was, and
    /// [`StoreError::Damaged`].
    pub fn open_offline(dir: &Path) -> Result<Self, StoreError> {
        if !dir.join(DATA).is_file() {
            return Err(StoreError::Empty { dir: dir.to_owned() });
        }
        let lock = take_lock(dir)?;
        let nothing = Reserve::prepare(
            dir.join(BALLAST),
            fs::metadata(dir.join(BALLAST)).map_or(0, |m| m.len()),
        );
        let reserve = Arc::new(nothing.map_err(|source| StoreError::Unusable {
            dir: dir.to_owned(),
            what: "look at its reserve",
            source,
        })?);
        let (limits, faults) = (HistoryLimits::default(), Faults::default());
        match load(dir, &reserve, limits, &faults).map_err(|e| not_usable(dir, e))? {
            Found::Nothing(_) => Err(StoreError::Empty { dir: dir.to_owned() }),
            Found::Damaged { what, .. } => Err(StoreError::Damaged {
                dir: dir.to_owned(),
                what,
            }),
            Found::Whole(whole) => {
                let (disk, facts, contents) = *whole;
                let fsync = Histogram::new(FSYNC);
                let storage = start_writer(dir, disk, &fsync)?;
                let (name, cluster) = facts.owner.clone().unwrap_or_default();
                let inner = Inner {
                    dir: dir.to_owned(),
                    lock,
                    options: OpenOptions::new(&name, &cluster),
                    faults,
                    reserve,
                    published: Arc::new(Published::new(contents.state)),
                    fsync,
                    open: Mutex::new(Open {
                        facts,
                        damage: None,
                        storage: Some(storage),
                        raft: None,
                    }),
                };
                Ok(Self { inner: Arc::new(inner) })
            }
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Takes what was found for its own, or refuses it.
    fn settle(&mut self, found: Found) -> Result<Boot, StoreError> {
        match found {
            Found::Nothing(disk) => {
                let id = new_incarnation(&self.dir)?;
                self.begin(*disk, Facts::default(), id)?;
                sync_dirs(&self.dir).map_err(|source| StoreError::Unusable {
                    dir: self.dir.clone(),
                    what: "sync it",
                    source,
                })?;
                Ok(Boot {
                    incarnation: id,
                    cluster: None,
                    is_new: true,
                    was_clean: true,
                    is_initialised: false,
                    damage: None,
                })
            }
            Found::Whole(whole) => {
                let (disk, facts, contents) = *whole;
                self.check_owner(&facts)?;
                let boot = Boot {
                    incarnation: NodeId(facts.incarnation.unwrap_or_default()),
                    cluster: facts.cluster_id,
                    is_new: false,
                    was_clean: facts.was_clean,
                    is_initialised: contents.log.vote.is_some() || contents.log.last().is_some(),
                    damage: None,
                };
                if !boot.was_clean {
                    tracing::info!(dir = %self.dir.display(), "the last process did not stop in order; every record was checked and is whole");
                }
                self.run(disk, facts, contents)?;
                self.open().set(meta::CLEAN, Some(encode(&false)?))?;
                Ok(boot)
            }
            Found::Damaged { what, facts, state } => {
                self.check_owner(&facts)?;
                tracing::error!(
                    dir = %self.dir.display(),
                    damage = what,
                    "the data directory is damaged: this node takes part in nothing until it has joined anew"
                );
                let boot = Boot {
                    incarnation: NodeId(facts.incarnation.unwrap_or_default()),
                    cluster: facts.cluster_id,
                    is_new: false,
                    was_clean: facts.was_clean,
                    is_initialised: true,
                    damage: Some(Damage {
                        what: what.clone(),
                        state_is_whole: state.is_some(),
                    }),
                };
                if let Some(state) = state {
                    self.published.replace(*state);
                }
                let mut open = self.open();
                open.facts = *facts;
                open.damage = Some(what);
                drop(open);
                Ok(boot)
            }
        }
    }

    fn check_owner(&self, facts: &Facts) -> Result<(), StoreError> {
        let Some((name, cluster)) = &facts.owner else {
            return Ok(());
        };
        if *cluster != self.options.cluster {
            return Err(StoreError::WrongCluster {
                dir: self.dir.clone(),
                expected: self.options.cluster.clone(),
                found: cluster.clone(),
            });
        }
        if *name != self.options.name {
            return Err(StoreError::WrongName {
                dir: self.dir.clone(),
                expected: self.options.name.clone(),
                found: name.clone(),
            });
        }
        Ok(())
    }

    /// Writes the first records of an incarnation.
    fn begin(&self, mut disk: Disk, kept: Facts, id: NodeId) -> Result<(), StoreError> {
        let owner = (self.options.name.clone(), self.options.cluster.clone());
        let facts = Facts {
            owner: Some(owner.clone()),
            incarnation: Some(id.0),
            was_clean: false,
            ..kept
        };
        let written = disk.write(|tables| {
            tables.set(meta::FORMAT, &codec::encode(&FORMAT)?)?;
            tables.set(meta::OWNER, &codec::encode(&owner)?)?;
            tables.set(meta::INCARNATION, &codec::encode(&id.0)?)?;
            tables.set(meta::BOOT, &codec::encode(&facts.boot)?)?;
            if let Some(cluster_id) = facts.cluster_id {
                tables.set(meta::CLUSTER_ID, &codec::encode(&cluster_id)?)?;
            }
            if let Some(promise) = &facts.promise {
                tables.set(meta::PROMISE, &codec::encode(promise)?)?;
            }
            if let Some(pin) = facts.pin {
                tables.set(meta::PIN, &codec::encode(&pin)?)?;
            }
            Ok(())
        });
        written.map_err(|e| DiskError { why: e.to_string() })?;
        let contents = Contents {
            state: State {
                limits: self.options.history,
                ..State::default()
            },
            ..Contents::default()
        };
        self.run(disk, facts, contents)
    }

    /// Starts the storage thread on what is there.
    fn run(&self, disk: Disk, facts: Facts, contents: Contents) -> Result<(), StoreError> {
        let (writer, thread) = start_writer(&self.dir, disk, &self.fsync)?;
        let raft = RaftStart {
            id: NodeId(facts.incarnation.unwrap_or_default()),
            writer: writer.clone(),
            mirror: Arc::new(Mirror::new(contents.log)),
            state: contents.state.clone(),
            applied: contents.applied,
            membership: contents.membership,
            published: Arc::clone(&self.published),
            limits: self.options.history,
            fsync: self.fsync.clone(),
        };
        self.published.replace(contents.state);
        let mut open = self.open();
        open.facts = facts;
        open.damage = None;
        open.storage = Some((writer, thread));
        open.raft = Some(raft);
        Ok(())
    }

    pub(super) fn renew(&self) -> Result<NodeId, StoreError> {
        let unusable = |what, source| StoreError::Unusable {
            dir: self.dir.clone(),
            what,
            source,
        };
        let (kept, before) = {
            let mut open = self.open();
            open.raft = None;
            end(open.storage.take());
            (open.facts.clone(), open.facts.incarnation)
        };
        let data = self.dir.join(DATA);
        fs::rename(&data, self.dir.join("sluice.redb.damaged")).map_err(|e| unusable("set its database aside", e))?;
        File::create(self.dir.join(MARK)).map_err(|e| unusable("clear its mark", e))?;
        let id = new_incarnation(&self.dir)?;
        tracing::warn!(
            dir = %self.dir.display(),
            before = before.map(|b| NodeId(b).to_string()),
            now = %id,
            "this node begins anew under another incarnation; the damaged database lies beside as sluice.redb.damaged"
        );
        match load(&self.dir, &self.reserve, self.options.history, &self.faults)
            .map_err(|e| not_usable(&self.dir, e))?
        {
            Found::Nothing(disk) => self.begin(*disk, kept, id)?,
            Found::Whole(..) | Found::Damaged { .. } => {
                return Err(StoreError::Damaged {
                    dir: self.dir.clone(),
                    what: "a new database is not empty".to_owned(),
                });
            }
        }
        sync_dirs(&self.dir).map_err(|e| unusable("sync it", e))?;
        Ok(id)
    }
}

fn not_usable(dir: &Path, why: Unusable) -> StoreError {
    match why {
        Unusable::Io(what, source) => StoreError::Unusable {
            dir: dir.to_owned(),
            what,
            source,
        },
        Unusable::Newer(found) => StoreError::NewerFormat {
            dir: dir.to_owned(),
            found,
            known: FORMAT,
        },
    }
}

fn start_writer(dir: &Path, disk: Disk, fsync: &Histogram) -> Result<(Writer, JoinHandle<()>), StoreError> {
    Writer::start(disk, fsync.clone()).map_err(|source| StoreError::Unusable {
        dir: dir.to_owned(),
        what: "start its thread",
        source,
    })
}

/// A number that no node ever had, from the system's own source of randomness.
fn new_incarnation(dir: &Path) -> Result<NodeId, StoreError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| StoreError::Unusable {
        dir: dir.to_owned(),
        what: "make an incarnation for it",
        source: io::Error::other("the system has no randomness"),
    })?;
    Ok(NodeId(u64::from_le_bytes(bytes).max(1)))
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let unusable = |source| StoreError::Unusable {
        dir: dir.to_owned(),
        what: "lock it",
        source,
    };
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(dir.join(LOCK)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(20).read_to_string(&mut holder);
            return Err(StoreError::InUse {
                dir: dir.to_owned(),
                pid: holder.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(e)) => return Err(unusable(e)),
    }
    file.set_len(0).map_err(unusable)?;
    file.rewind().map_err(unusable)?;
    writeln!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(file)
}

/// The directory's own entries, and its entry in its parent.
fn sync_dirs(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    match dir.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
