//! Records as they lie in the file: keys and values, each value with a checksum of our own.
//!
//! The database checks its pages only when it is asked to; a flipped bit would come back as a good
//! value. So every value ends in a CRC-32C over its table, its key and itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_peer::codec;
use thiserror::Error;

use crate::state::{Answer, Effect, Entry, Head, Revision};

/// Why a record is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum RowError {
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its key has no meaning")]
    Key,
    #[error(transparent)]
    Codec(#[from] codec::CodecError),
}

/// The tables, as far as a checksum tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    Meta = 1,
    Log = 2,
    State = 3,
}

/// A change of the table of the state.
#[derive(Debug, PartialEq)]
pub(crate) enum Row {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// All keys from the first up to the second, both included.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// How many records the table of the state has, and the sum of their checksums: a record that went
/// missing is missed. Each checksum covers its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    count: u64,
    sum: u64,
}

/// The first byte of a key says what is kept under it.
mod kind {
    pub(super) const ANSWER: u8 = b'a';
    pub(super) const HEAD: u8 = b'h';
    pub(super) const ORIGINAL: u8 = b'o';
    pub(super) const PART: u8 = b'p';
    pub(super) const RECORD: u8 = b'r';
    pub(super) const REVISION: u8 = b'v';
}

fn crc(table: Table, key: &[u8], value: &[u8]) -> u32 {
    // The key's length keeps what is moved between key and value from going unseen.
    let length = (key.len() as u64).to_le_bytes();
    let crc = crc32c::crc32c(&[table as u8]);
    let crc = crc32c::crc32c_append(crc, &length);
    let crc = crc32c::crc32c_append(crc, key);
    crc32c::crc32c_append(crc, value)
}

/// The value with its checksum.
pub(crate) fn seal(table: Table, key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = crc(table, key, &value);
    value.extend_from_slice(&crc.to_le_bytes());
    value
}

/// The value without its checksum, if that is right.
pub(crate) fn open<'a>(table: Table, key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], RowError> {
    match sealed.split_last_chunk::<4>() {
        Some((value, found)) if u32::from_le_bytes(*found) == crc(table, key, value) => Ok(value),
        _ => Err(RowError::Checksum),
    }
}

// === impl Tally ===

impl Tally {
    /// This sealed value is among them now.
    pub(crate) fn add(&mut self, sealed: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum(sealed));
    }

    /// And this one no more.
    pub(crate) fn take(&mut self, sealed: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum(sealed));
    }
}

/// The checksum that a sealed value ends in.
fn checksum(sealed: &[u8]) -> u64 {
    sealed
        .last_chunk::<4>()
        .map_or(0, |crc| u32::from_le_bytes(*crc).into())
}

fn key(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

/// What an effect does to the table of the state. Values are not sealed yet.
pub(crate) fn of(effect: &Effect) -> Result<Row, codec::CodecError> {
    Ok(match effect {
        Effect::Head(head) => Row::Put(key(kind::HEAD, b""), codec::encode(head)?),
        Effect::Part { key: part, entry } => {
            let key = key(kind::PART, part.as_bytes());
            match entry {
                Some(entry) => Row::Put(key, codec::encode(entry)?),
                None => Row::Delete(key),
            }
        }
        Effect::Revision(revision) => Row::Put(
            key(kind::REVISION, &revision.version.to_be_bytes()),
            codec::encode(&**revision)?,
        ),
        Effect::Prune { upto } => Row::DeleteRange(
            key(kind::REVISION, &0u64.to_be_bytes()),
            key(kind::REVISION, &upto.to_be_bytes()),
        ),
        Effect::Original(text) => Row::Put(key(kind::ORIGINAL, b""), codec::encode(&**text)?),
        Effect::Record {
            collection,
            key: name,
            value,
        } => {
            let mut rest = codec::encode(collection)?;
            rest.extend_from_slice(name.as_bytes());
            let key = key(kind::RECORD, &rest);
            match value {
                Some(value) => Row::Put(key, codec::encode(&(collection, name, value))?),
                None => Row::Delete(key),
            }
        }
        Effect::Answer { age, answer } => Row::Put(key(kind::ANSWER, &age.to_be_bytes()), codec::encode(answer)?),
        Effect::ForgetAnswer { age } => Row::Delete(key(kind::ANSWER, &age.to_be_bytes())),
    })
}

/// The effect that put this row there.
pub(crate) fn effect(key: &[u8], value: &[u8]) -> Result<Effect, RowError> {
    let (&kind, rest) = key.split_first().ok_or(RowError::Key)?;
    Ok(match kind {
        kind::HEAD => Effect::Head(codec::decode::<Head>(value)?),
        kind::PART => Effect::Part {
            key: std::str::from_utf8(rest).map_err(|_| RowError::Key)?.into(),
            entry: Some(codec::decode::<Entry>(value)?),
        },
        kind::REVISION => Effect::Revision(Arc::new(codec::decode::<Revision>(value)?)),
        kind::ORIGINAL => Effect::Original(codec::decode::<Arc<str>>(value)?),
        kind::RECORD => {
            let (collection, key, value) = codec::decode::<(String, String, Vec<u8>)>(value)?;
            Effect::Record {
                collection,
                key,
                value: Some(value),
            }
        }
        kind::ANSWER => {
            let age = rest.try_into().map(u64::from_be_bytes).map_err(|_| RowError::Key)?;
            Effect::Answer {
                age,
                answer: codec::decode::<Answer>(value)?,
            }
        }
        _ => return Err(RowError::Key),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_sealed_value_is_bound_to_its_table_and_key() {
        let sealed = seal(Table::Log, b"key", b"value".to_vec());
        assert_eq!(open(Table::Log, b"key", &sealed), Ok(&b"value"[..]));
        assert_eq!(open(Table::State, b"key", &sealed), Err(RowError::Checksum));
        assert_eq!(open(Table::Log, b"kez", &sealed), Err(RowError::Checksum));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(Table::Log, b"key", &flipped), Err(RowError::Checksum));
        }
    }

    #[test]
    fn a_row_reads_back_as_the_effect_that_made_it() {
        let effects = [
            Effect::Head(Head::default()),
            Effect::Part {
                key: "gateways/web".into(),
                entry: Some(Entry {
                    value: "{}".into(),
                    version: 3,
                }),
            },
            Effect::Original("text".into()),
            Effect::Record {
                collection: "tokens".into(),
                key: "ada".into(),
                value: Some(vec![1, 2]),
            },
        ];
        for effect in effects {
            let Row::Put(key, value) = of(&effect).unwrap() else {
                panic!("{effect:?}")
            };
            assert_eq!(super::effect(&key, &value).unwrap(), effect);
        }
    }

    #[test]
    fn records_of_different_collections_never_share_a_key() {
        let row = |collection: &str, key: &str| {
            of(&Effect::Record {
                collection: collection.into(),
                key: key.into(),
                value: None,
            })
            .unwrap()
        };
        assert_ne!(row("a", "bc"), row("ab", "c"));
    }
}
