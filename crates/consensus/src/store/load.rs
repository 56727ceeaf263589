//! Reading a data directory: everything, with every checksum, before anything is believed.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{Builder, Database, Error, ReadableDatabase, ReadableTable, TableError};
use sluice_peer::codec::{self, CodecError};

use super::disk::{self, Disk, LOG, META, ReadError, STATE, meta, read_meta};
use super::file::{DataFile, Faults};
use super::mirror::Log;
use super::reserve::{Reserve, is_full};
use super::rows::{self, RowError, Table, Tally};
use super::{FORMAT, Promise};
use crate::raft::types::{LogEntry, LogId, Membership, Vote};
use crate::state::{HistoryLimits, State};

/// What single records say of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Name of the node, name of the cluster.
    pub(crate) owner: Option<(String, String)>,
    pub(crate) incarnation: Option<u64>,
    pub(crate) cluster_id: Option<u128>,
    pub(crate) promise: Option<Promise>,
    pub(crate) boot: Vec<u8>,
    pub(crate) pin: Option<u64>,
    pub(crate) was_clean: bool,
}

/// What Raft and the readers start from.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) log: Log,
    pub(crate) state: State,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Membership,
}

/// What came of reading.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing is there yet; the database is empty.
    Nothing(Box<Disk>),
    /// All is well.
    Whole(Box<(Disk, Facts, Contents)>),
    /// Something is not what was written. What could be read is beside.
    Damaged {
        what: String,
        facts: Box<Facts>,
        state: Option<Box<State>>,
    },
}

/// Why a directory cannot be used at all.
#[derive(Debug)]
pub(crate) enum Unusable {
    Io(&'static str, io::Error),
    Newer(u32),
}

/// The database's own cache: what is read is in memory anyway.
const CACHE: usize = 8 * 1024 * 1024;

/// Opens the database in `dir` and reads all of it.
pub(crate) fn load(
    dir: &Path,
    reserve: &Arc<Reserve>,
    limits: HistoryLimits,
    faults: &Faults,
) -> Result<Found, Unusable> {
    let mark = open(&dir.join(super::MARK)).map_err(|e| Unusable::Io("open its mark", e))?;
    let file = open(&dir.join(super::DATA)).map_err(|e| Unusable::Io("open its database", e))?;
    let acknowledged = disk::read_mark(&mark);
    if acknowledged == 0 {
        // Nothing was ever acknowledged: what lies there is the beginning of a first start.
        let begun = file.metadata().map_err(|e| Unusable::Io("look at its database", e))?;
        if begun.len() > 0 && !holds_anything(&file, reserve, faults) {
            file.set_len(0).map_err(|e| Unusable::Io("clear its database", e))?;
        }
    }
    let copy = file.try_clone().map_err(|e| Unusable::Io("open its database", e))?;
    let data = |file| DataFile::new(file, Arc::clone(reserve), faults.clone());
    let mut checked = Builder::new();
    checked.set_cache_size(CACHE).set_check_integrity_on_open(true);
    let read = match try_read(&checked, data(file), limits) {
        Ok(read) => read,
        Err(ReadError::Newer { found }) => return Err(Unusable::Newer(found)),
        Err(ReadError::Database(Error::Io(e))) if is_full(&e) || e.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Unusable::Io("read its database", e));
        }
        Err(broken) => {
            // What can still be read has checksums of our own; nothing is written to it any more.
            let salvaged = try_read(&Builder::new(), data(copy), limits).ok();
            let missing = salvaged.as_ref().is_none_or(|read| read.commits < acknowledged);
            let (facts, state) = salvaged.map(|read| (read.facts, read.state.ok())).unwrap_or_default();
            return Ok(Found::Damaged {
                what: broken.to_string(),
                facts: Box::new(facts),
                state: state.filter(|_| !missing).map(Box::new),
            });
        }
    };
    let missing = read.commits < acknowledged;
    let is_empty = read.commits == 0 && matches!(&read.raft, Ok((log, ..)) if log.last().is_none());
    if is_empty && !missing {
        return Ok(Found::Nothing(Box::new(Disk::new(read.db, 0, Tally::default(), mark))));
    }
    match (read.raft, read.state) {
        (Ok((log, applied, membership)), Ok(state)) if !missing => {
            let contents = Contents {
                log,
                state,
                applied,
                membership,
            };
            let disk = Disk::new(read.db, read.commits, read.tally, mark);
            Ok(Found::Whole(Box::new((disk, read.facts, contents))))
        }
        (raft, state) => {
            let lost = || {
                let commits = read.commits;
                format!("write {acknowledged} was acknowledged, but only {commits} are there")
            };
            let what = missing.then(lost);
            let what = what.or_else(|| Some(raft.err()?.to_string()));
            let what = what.or_else(|| Some(state.as_ref().err()?.to_string()));
            Ok(Found::Damaged {
                what: what.unwrap_or_default(),
                facts: Box::new(read.facts),
                // One that went back would show less than was shown.
                state: state.ok().filter(|_| !missing).map(Box::new),
            })
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether a database that was perhaps begun has a committed record in it.
fn holds_anything(file: &File, reserve: &Arc<Reserve>, faults: &Faults) -> bool {
    let Ok(copy) = file.try_clone() else { return true };
    let file = DataFile::new(copy, Arc::clone(reserve), faults.clone());
    let work = AssertUnwindSafe(|| {
        let db = Builder::new().create_with_backend(file).map_err(Error::from)?;
        let read = db.begin_read().map_err(Error::from)?;
        match read.open_table(META) {
            Ok(_) => Ok(true),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(e) => Err(Error::from(e)),
        }
    });
    matches!(catch_unwind(work), Ok(Ok(true)))
}

/// All that was read of a database that could be opened.
struct Read {
    db: Database,
    facts: Facts,
    commits: u64,
    tally: Tally,
    raft: Result<(Log, Option<LogId>, Membership), ReadError>,
    state: Result<State, ReadError>,
}

/// Opens and reads; whatever lies on the disk, and whatever the database makes of it.
fn try_read(builder: &Builder, file: DataFile, limits: HistoryLimits) -> Result<Read, ReadError> {
    let work = AssertUnwindSafe(|| {
        let db = builder.create_with_backend(file).map_err(Error::from)?;
        read(db, limits)
    });
    catch_unwind(work).unwrap_or_else(|_| Err(ReadError::Missing("the database cannot be read".to_owned())))
}

fn read(db: Database, limits: HistoryLimits) -> Result<Read, ReadError> {
    let read = db.begin_read().map_err(Error::from)?;
    let table = match read.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => {
            return Ok(Read {
                db,
                facts: Facts::default(),
                commits: 0,
                tally: Tally::default(),
                raft: Ok(Default::default()),
                state: Ok(State::default()),
            });
        }
        other => other.map_err(Error::from)?,
    };
    let found: u32 = read_meta(&table, meta::FORMAT)?.ok_or_else(|| missing(meta::FORMAT))?;
    if found > FORMAT {
        return Err(ReadError::Newer { found });
    }
    // One that is damaged must not hide the others.
    let mut bad = None;
    let facts = Facts {
        owner: fact(&table, meta::OWNER, &mut bad),
        incarnation: fact(&table, meta::INCARNATION, &mut bad),
        cluster_id: fact(&table, meta::CLUSTER_ID, &mut bad),
        promise: fact(&table, meta::PROMISE, &mut bad),
        boot: fact(&table, meta::BOOT, &mut bad).unwrap_or_default(),
        pin: fact(&table, meta::PIN, &mut bad),
        was_clean: fact(&table, meta::CLEAN, &mut bad).unwrap_or(false),
    };
    let commits = fact(&table, meta::COMMITS, &mut bad).unwrap_or_default();
    for (key, is_there) in [
        (meta::OWNER, facts.owner.is_some()),
        (meta::INCARNATION, facts.incarnation.is_some()),
        (meta::COMMITS, commits > 0),
    ] {
        bad = bad.or_else(|| (!is_there).then(|| missing(key)));
    }
    let tally = fact(&table, meta::TALLY, &mut bad).unwrap_or_default();
    let raft = (|| {
        if let Some(bad) = bad {
            return Err(bad);
        }
        let log = read_log(&read, &table)?;
        let applied: Option<LogId> = read_meta(&table, meta::APPLIED)?;
        let membership = read_meta(&table, meta::MEMBERSHIP)?.unwrap_or_default();
        Ok((log, applied, membership))
    })();
    let applied = raft.as_ref().ok().and_then(|(_, applied, _)| *applied);
    let state = read_state(&read, tally, limits).and_then(|state| match applied {
        Some(applied) if state.head.applied != applied.index => Err(ReadError::Missing(format!(
            "the state is that of entry {}, not of {applied}",
            state.head.applied
        ))),
        _ => Ok(state),
    });
    drop(table);
    drop(read);
    Ok(Read {
        db,
        facts,
        commits,
        tally,
        raft,
        state,
    })
}

/// A single record; the first that is damaged is kept.
fn fact<T: serde::de::DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
    bad: &mut Option<ReadError>,
) -> Option<T> {
    read_meta(table, key).unwrap_or_else(|error| {
        bad.get_or_insert(error);
        None
    })
}

fn missing(key: &str) -> ReadError {
    ReadError::Missing(format!("record {key:?} is missing"))
}

fn read_log(
    read: &redb::ReadTransaction,
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Log, ReadError> {
    let vote: Option<Vote> = read_meta(table, meta::VOTE)?;
    let purged: Option<LogId> = read_meta(table, meta::PURGED)?;
    let last: Option<u64> = read_meta::<Option<u64>>(table, meta::LAST)?.flatten();
    let rows = read.open_table(LOG).map_err(Error::from)?;
    let mut entries = Vec::new();
    for row in rows.iter().map_err(Error::from)? {
        let (key, value) = row.map_err(Error::from)?;
        let index = key.value();
        let bad = |error| ReadError::Row {
            row: format!("entry {index} of the log"),
            error,
        };
        let encoded = rows::open(Table::Log, &index.to_be_bytes(), value.value()).map_err(bad)?;
        let entry: LogEntry = codec::decode(encoded).map_err(|e| bad(e.into()))?;
        entries.push(entry);
    }
    let found = entries.last().map(|e| e.log_id.index).or(purged.map(|p| p.index));
    if last.is_some() && last > found {
        return Err(ReadError::Missing(format!(
            "the log ends at {found:?}, but it reached to {last:?}"
        )));
    }
    Log::load(purged, vote, entries).ok_or_else(|| ReadError::Missing("entries of the log are missing".to_owned()))
}

fn read_state(read: &redb::ReadTransaction, tally: Tally, limits: HistoryLimits) -> Result<State, ReadError> {
    let mut state = State {
        limits,
        ..State::default()
    };
    let mut found = Tally::default();
    let rows = read.open_table(STATE).map_err(Error::from)?;
    for row in rows.iter().map_err(Error::from)? {
        let (key, value) = row.map_err(Error::from)?;
        let key = key.value();
        let bad = |error| ReadError::Row {
            row: format!("record {:?} of the state", String::from_utf8_lossy(key)),
            error,
        };
        found.add(value.value());
        let encoded = rows::open(Table::State, key, value.value()).map_err(bad)?;
        match rows::effect(key, encoded) {
            Ok(effect) => state.absorb(&effect),
            Err(RowError::Codec(CodecError::Format { found })) => return Err(ReadError::Newer { found: found.into() }),
            Err(error) => return Err(bad(error)),
        }
    }
    if found != tally {
        return Err(ReadError::Missing("records of the state are missing".to_owned()));
    }
    let versions = state.history.iter().map(|r| r.version);
    if !versions.rev().eq((state.oldest() + 1..=state.head.version).rev()) {
        return Err(ReadError::Missing("versions of the history are missing".to_owned()));
    }
    Ok(state)
}
