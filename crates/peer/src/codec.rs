//! Values to bytes and back, for frames between nodes and records on their disks.
//!
//! The first byte names the format; the rest is bincode's standard configuration. The format is
//! positional: a record that grows a field is another record, so whoever keeps records gives each
//! its own version. Types with `skip_serializing_if`, `untagged`, `flatten` or a value of any JSON
//! kind cannot travel this way: such things go as bytes of JSON inside a record.
//!
//! This is the only module that names bincode. Another encoding is another first byte here and
//! nothing elsewhere.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The first byte of everything that [`encode`] makes.
pub const FORMAT: u8 = 1;

/// The most bytes that one value may take, its format byte included.
pub const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Why bytes are not a value, or a value cannot be bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// There is not even a format byte.
    #[error("no bytes where a value was expected")]
    Empty,
    /// The first byte is one of a newer (or of no) format.
    #[error(
        "format {found} of a record or frame is not known here (this binary knows {FORMAT}); it was written by a newer sluice: start that version"
    )]
    Format {
        /// The byte found.
        found: u8,
    },
    /// More than [`MAX_BYTES`].
    #[error("a value of {bytes} bytes is more than the {MAX_BYTES} that one record or frame may take")]
    TooLarge {
        /// The size asked for.
        bytes: usize,
    },
    /// The value ended before the bytes did.
    #[error("{extra} bytes are left over after the value: it is of another type or another version")]
    Trailing {
        /// How many bytes were not read.
        extra: usize,
    },
    /// The bytes are not one of the type asked for.
    #[error("the bytes are not a {what}: {why}")]
    Undecodable {
        /// The type asked for.
        what: &'static str,
        /// What the decoder found.
        why: String,
    },
    /// The type cannot travel in this format.
    #[error("a {what} cannot be encoded: {why}")]
    Unencodable {
        /// The type given.
        what: &'static str,
        /// What the encoder found.
        why: String,
    },
}

/// The bytes of `value`, behind the format byte.
///
/// # Errors
/// [`CodecError::TooLarge`] above [`MAX_BYTES`]; [`CodecError::Unencodable`] where the type's own
/// `Serialize` gives up.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Tail(vec![FORMAT]);
    #[expect(clippy::disallowed_methods, reason = "the one place where the format is named")]
    let written = bincode::serde::encode_into_std_write(value, &mut out, bincode::config::standard());
    written.map_err(|e| CodecError::Unencodable {
        what: std::any::type_name::<T>(),
        why: e.to_string(),
    })?;
    if out.0.len() > MAX_BYTES {
        return Err(CodecError::TooLarge { bytes: out.0.len() });
    }
    Ok(out.0)
}

/// The value that [`encode`] made these bytes of.
///
/// Memory is bounded by the input: a length inside that promises more than the bytes could hold is
/// refused before anything is allocated for it (within a factor of the tier, see the source).
///
/// # Errors
/// Every way in which the bytes are not exactly one value of this type, bytes left over included.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let Some((&format, rest)) = bytes.split_first() else {
        return Err(CodecError::Empty);
    };
    if format != FORMAT {
        return Err(CodecError::Format { found: format });
    }
    if bytes.len() > MAX_BYTES {
        return Err(CodecError::TooLarge { bytes: bytes.len() });
    }
    // The limit is a constant of the type and counts decoded sizes: a variable-length integer of
    // one byte counts as the sixteen of a u128. So each tier allows sixteen times its input.
    let (value, used) = if rest.len() <= TIER_1 {
        bounded::<T, { 16 * TIER_1 }>(rest)
    } else if rest.len() <= TIER_2 {
        bounded::<T, { 16 * TIER_2 }>(rest)
    } else if rest.len() <= TIER_3 {
        bounded::<T, { 16 * TIER_3 }>(rest)
    } else {
        bounded::<T, { 16 * MAX_BYTES }>(rest)
    }?;
    match rest.len() - used {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { extra }),
    }
}

const TIER_1: usize = 4 * 1024;
const TIER_2: usize = 256 * 1024;
const TIER_3: usize = 16 * 1024 * 1024;

fn bounded<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    let config = bincode::config::standard().with_limit::<LIMIT>();
    #[expect(clippy::disallowed_methods, reason = "the one place where the format is named")]
    let decoded = bincode::serde::decode_from_slice(bytes, config);
    decoded.map_err(|e| CodecError::Undecodable {
        what: std::any::type_name::<T>(),
        why: e.to_string(),
    })
}

/// A vector that is written to at its end.
struct Tail(Vec<u8>);

impl std::io::Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Nothing,
        Text(String),
        Many {
            numbers: Vec<u64>,
            map: BTreeMap<String, Option<u128>>,
            bytes: Vec<u8>,
        },
    }

    fn sample() -> impl Strategy<Value = Sample> {
        prop_oneof![
            Just(Sample::Nothing),
            ".{0,40}".prop_map(Sample::Text),
            (
                proptest::collection::vec(any::<u64>(), 0..50),
                proptest::collection::btree_map(".{0,5}", any::<Option<u128>>(), 0..5),
                proptest::collection::vec(any::<u8>(), 0..200)
            )
                .prop_map(|(numbers, map, bytes)| Sample::Many { numbers, map, bytes }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_itself(value in sample()) {
            prop_assert_eq!(decode::<Sample>(&encode(&value).unwrap()).unwrap(), value);
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = bytes;
            let _ = decode::<Sample>(&bytes);
            bytes.insert(0, FORMAT);
            let _ = decode::<Sample>(&bytes);
        }

        #[test]
        fn one_byte_more_or_less_is_refused(value in sample(), extra in any::<u8>()) {
            let mut bytes = encode(&value).unwrap();
            bytes.push(extra);
            prop_assert_eq!(decode::<Sample>(&bytes), Err(CodecError::Trailing { extra: 1 }));
            bytes.truncate(bytes.len() - 2);
            prop_assert!(decode::<Sample>(&bytes).is_err());
        }
    }

    #[test]
    fn small_numbers_in_great_number_fit_their_tier() {
        let value: Vec<u128> = vec![1; TIER_1 - 4];
        assert_eq!(decode::<Vec<u128>>(&encode(&value).unwrap()).unwrap(), value);
    }

    #[test]
    fn a_newer_format_is_told_apart_from_garbage() {
        let mut bytes = encode(&7u64).unwrap();
        bytes[0] = 2;
        assert_eq!(decode::<u64>(&bytes), Err(CodecError::Format { found: 2 }));
        assert_eq!(decode::<u64>(&[]), Err(CodecError::Empty));
    }

    #[test]
    fn a_length_that_lies_is_refused_before_memory_is_taken() {
        // 253 introduces a u64: a byte string of 2^60 bytes in a record of ten.
        let mut bytes = vec![FORMAT, 253];
        bytes.extend_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(matches!(decode::<String>(&bytes), Err(CodecError::Undecodable { .. })));
    }
}
