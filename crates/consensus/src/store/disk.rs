//! The database: what is written, in which tables, in one transaction at a time.

use std::fs::File;
use std::os::unix::fs::FileExt;

use redb::{Database, Error, ReadableTable, TableDefinition, WriteTransaction};
use sluice_peer::codec;

use super::rows::{self, Row, Table, Tally, seal};
use super::writer::Op;
use crate::raft::types::LogEntry;
use crate::state::{Effect, State};

/// The open database.
#[derive(Debug)]
pub(crate) struct Disk {
    db: Database,
    /// The number of the last transaction.
    commits: u64,
    /// Of the state's table.
    tally: Tally,
    /// Holds the number of the last transaction that was acknowledged.
    mark: File,
}

pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(crate) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
pub(crate) const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

/// The keys of the table of single records.
pub(crate) mod meta {
    /// The format of all tables. Its value has the same form in every format.
    pub(crate) const FORMAT: &str = "format";
    /// Name of the node, name of the cluster.
    pub(crate) const OWNER: &str = "owner";
    pub(crate) const INCARNATION: &str = "incarnation";
    pub(crate) const CLUSTER_ID: &str = "cluster id";
    pub(crate) const PROMISE: &str = "promise";
    pub(crate) const BOOT: &str = "boot";
    pub(crate) const PIN: &str = "pin";
    pub(crate) const CLEAN: &str = "clean";
    pub(crate) const COMMITS: &str = "commits";
    pub(crate) const VOTE: &str = "vote";
    /// The id of the last entry that was dropped.
    pub(crate) const PURGED: &str = "purged";
    /// The index of the last entry: one that went missing at the end is missed.
    pub(crate) const LAST: &str = "last";
    /// The id of the last entry applied, and the membership in force then.
    pub(crate) const APPLIED: &str = "applied";
    pub(crate) const MEMBERSHIP: &str = "membership";
    /// How many records the state has, and the sum of their checksums.
    pub(crate) const TALLY: &str = "tally";
}

/// Open tables of one transaction.
pub(crate) struct Tables<'t> {
    meta: redb::Table<'t, &'static str, &'static [u8]>,
    log: redb::Table<'t, u64, &'static [u8]>,
    state: redb::Table<'t, &'static [u8], &'static [u8]>,
    tally: Tally,
}

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("{0}")]
    Database(#[from] Error),
    #[error("{0}")]
    Codec(#[from] codec::CodecError),
    #[error("the mark of what was acknowledged: {0}")]
    Mark(std::io::Error),
}

// === impl Disk ===

impl Disk {
    pub(crate) fn new(db: Database, commits: u64, tally: Tally, mark: File) -> Self {
        Self {
            db,
            commits,
            tally,
            mark,
        }
    }

    /// One transaction: all of it is on disk when this returns, or none of it ever is.
    pub(crate) fn write(
        &mut self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let commits = self.commits + 1;
        let transaction = self.db.begin_write().map_err(Error::from)?;
        let tally = {
            let mut tables = Tables::open(&transaction, self.tally)?;
            work(&mut tables)?;
            tables.set(meta::COMMITS, &codec::encode(&commits)?)?;
            if tables.tally != self.tally {
                tables.set(meta::TALLY, &codec::encode(&tables.tally)?)?;
            }
            tables.tally
        };
        transaction.commit().map_err(Error::from)?;
        (self.commits, self.tally) = (commits, tally);
        // Not synced: it tells of a write that went missing without a loss of power.
        let mut mark = commits.to_le_bytes().to_vec();
        mark.extend_from_slice(&crc32c::crc32c(&mark).to_le_bytes());
        self.mark.write_all_at(&mark, 0).map_err(WriteError::Mark)
    }
}

/// The number in the mark; 0 where there is none that can be believed.
pub(crate) fn read_mark(mark: &File) -> u64 {
    let mut bytes = [0; 12];
    if mark.read_exact_at(&mut bytes, 0).is_err() {
        return 0;
    }
    let (number, crc) = bytes.split_at(8);
    match (number.try_into(), crc.try_into()) {
        (Ok(number), Ok(found)) if crc32c::crc32c(&bytes[..8]) == u32::from_le_bytes(found) => {
            u64::from_le_bytes(number)
        }
        _ => 0,
    }
}

// === impl Tables ===

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction, tally: Tally) -> Result<Self, WriteError> {
        Ok(Self {
            meta: transaction.open_table(META).map_err(Error::from)?,
            log: transaction.open_table(LOG).map_err(Error::from)?,
            state: transaction.open_table(STATE).map_err(Error::from)?,
            tally,
        })
    }

    pub(crate) fn set(&mut self, key: &str, value: &[u8]) -> Result<(), WriteError> {
        let sealed = seal(Table::Meta, key.as_bytes(), value.to_vec());
        self.meta.insert(key, sealed.as_slice()).map_err(Error::from)?;
        Ok(())
    }

    pub(crate) fn unset(&mut self, key: &str) -> Result<(), WriteError> {
        self.meta.remove(key).map_err(Error::from)?;
        Ok(())
    }

    pub(crate) fn carry_out(&mut self, op: &Op) -> Result<(), WriteError> {
        match op {
            Op::Vote(vote) => self.set(meta::VOTE, &codec::encode(vote)?),
            Op::Append(entries) => self.append(entries),
            Op::Truncate { last } => {
                let from = last.map_or(0, |last| last + 1);
                self.log.retain_in(from.., |_, _| false).map_err(Error::from)?;
                self.set(meta::LAST, &codec::encode(last)?)
            }
            Op::Purge { upto, last } => {
                self.log.retain_in(..=upto.index, |_, _| false).map_err(Error::from)?;
                self.set(meta::PURGED, &codec::encode(upto)?)?;
                self.set(meta::LAST, &codec::encode(&Some(last))?)
            }
            Op::Apply {
                effects,
                applied,
                membership,
            } => {
                self.absorb(effects)?;
                self.set(meta::APPLIED, &codec::encode(applied)?)?;
                match membership {
                    Some(membership) => self.set(meta::MEMBERSHIP, &codec::encode(membership)?),
                    None => Ok(()),
                }
            }
            Op::Replace {
                state,
                applied,
                membership,
            } => {
                self.replace(state)?;
                self.set(meta::APPLIED, &codec::encode(applied)?)?;
                self.set(meta::MEMBERSHIP, &codec::encode(membership)?)
            }
            Op::Meta { key, value } => match value {
                Some(value) => self.set(key, value),
                None => self.unset(key),
            },
        }
    }

    fn append(&mut self, entries: &[LogEntry]) -> Result<(), WriteError> {
        for entry in entries {
            let index = entry.log_id.index;
            let sealed = seal(Table::Log, &index.to_be_bytes(), codec::encode(entry)?);
            self.log.insert(index, sealed.as_slice()).map_err(Error::from)?;
        }
        match entries.last() {
            Some(last) => self.set(meta::LAST, &codec::encode(&Some(last.log_id.index))?),
            None => Ok(()),
        }
    }

    fn absorb(&mut self, effects: &[Effect]) -> Result<(), WriteError> {
        for effect in effects {
            match rows::of(effect)? {
                Row::Put(key, value) => {
                    let sealed = seal(Table::State, &key, value);
                    let before = self.state.insert(key.as_slice(), sealed.as_slice());
                    if let Some(before) = before.map_err(Error::from)? {
                        self.tally.take(before.value());
                    }
                    self.tally.add(&sealed);
                }
                Row::Delete(key) => {
                    if let Some(before) = self.state.remove(key.as_slice()).map_err(Error::from)? {
                        self.tally.take(before.value());
                    }
                }
                Row::DeleteRange(from, upto) => {
                    let range = from.as_slice()..=upto.as_slice();
                    let tally = &mut self.tally;
                    let drop = |_: &[u8], sealed: &[u8]| {
                        tally.take(sealed);
                        false
                    };
                    self.state.retain_in(range, drop).map_err(Error::from)?;
                }
            }
        }
        Ok(())
    }

    fn replace(&mut self, state: &State) -> Result<(), WriteError> {
        self.state.retain(|_, _| false).map_err(Error::from)?;
        self.tally = Tally::default();
        for effect in state.effects() {
            self.absorb(std::slice::from_ref(&effect))?;
        }
        Ok(())
    }
}

/// The value of a single record, checked; `None` where there is none.
pub(crate) fn read_meta<T: serde::de::DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<Option<T>, ReadError> {
    let Some(sealed) = table.get(key).map_err(Error::from)? else {
        return Ok(None);
    };
    let bad = |error| ReadError::Row {
        row: format!("record {key:?}"),
        error,
    };
    let value = rows::open(Table::Meta, key.as_bytes(), sealed.value()).map_err(bad)?;
    codec::decode(value).map(Some).map_err(|e| bad(e.into()))
}

/// Why what is on disk cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Database(#[from] Error),
    #[error("{row}: {error}")]
    Row { row: String, error: rows::RowError },
    #[error("{0}")]
    Missing(String),
    #[error("format {found}")]
    Newer { found: u32 },
}
