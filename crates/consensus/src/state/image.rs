//! The whole state as bytes: what a Raft snapshot is on its way to another node.
//!
//! ```text
//! "sluice state" ─ format ─ length ─ header ─ body ─ crc32c of all before it
//! ```
//!
//! The header says what is inside before any of it is read: which version, and which feature level
//! it takes to understand it. The bytes of equal states are equal, so that an interrupted transfer
//! can go on although the sender has built the snapshot again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_peer::codec::{self, CodecError};
use thiserror::Error;

use super::{Answer, Effect, Entry, Head, HistoryLimits, Revision, State};

/// Why bytes are not a state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ImageError {
    #[error("it is not a state of sluice, or it was cut short")]
    Foreign,
    #[error("it has format {found}, this binary knows {FORMAT}: it was written by a newer sluice, start that version")]
    Newer { found: u8 },
    #[error("its checksum is not that of its contents")]
    Checksum,
    #[error(transparent)]
    Codec(#[from] CodecError),
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u64,
    at_ms: u64,
    level: u32,
}

#[derive(Serialize, Deserialize)]
struct Body {
    head: Head,
    parts: Vec<(Arc<str>, Entry)>,
    history: Vec<Arc<Revision>>,
    original: Option<Arc<str>>,
    records: Vec<(String, String, Vec<u8>)>,
    answers: Vec<(u64, Answer)>,
}

const MAGIC: &[u8] = b"sluice state";
const FORMAT: u8 = 1;

// === impl State ===

impl State {
    /// These bytes stand for this state.
    pub(crate) fn to_image(&self) -> Result<Vec<u8>, ImageError> {
        let header = codec::encode(&Header {
            version: self.head.version,
            at_ms: self.head.at_ms,
            level: self.head.level,
        })?;
        let records = self.records.iter().flat_map(|(collection, all)| {
            all.iter()
                .map(|(key, value)| (collection.clone(), key.clone(), value.clone()))
        });
        let body = codec::encode(&Body {
            head: self.head.clone(),
            parts: self.parts.iter().map(|(k, e)| (Arc::clone(k), e.clone())).collect(),
            history: self.history.iter().cloned().collect(),
            original: self.original.clone(),
            records: records.collect(),
            answers: self.answers.by_age.iter().map(|(a, b)| (*a, b.clone())).collect(),
        })?;
        let mut image = Vec::with_capacity(MAGIC.len() + header.len() + body.len() + 9);
        image.extend_from_slice(MAGIC);
        image.push(FORMAT);
        // A header is three numbers.
        image.extend_from_slice(&(header.len() as u32).to_le_bytes());
        image.extend_from_slice(&header);
        image.extend_from_slice(&body);
        image.extend_from_slice(&crc32c::crc32c(&image).to_le_bytes());
        Ok(image)
    }

    /// The state that these bytes stand for.
    pub(crate) fn from_image(image: &[u8], limits: HistoryLimits) -> Result<Self, ImageError> {
        let (contents, crc) = image.split_last_chunk::<4>().ok_or(ImageError::Foreign)?;
        let rest = contents.strip_prefix(MAGIC).ok_or(ImageError::Foreign)?;
        let (&format, rest) = rest.split_first().ok_or(ImageError::Foreign)?;
        if format != FORMAT {
            return Err(ImageError::Newer { found: format });
        }
        if crc32c::crc32c(contents) != u32::from_le_bytes(*crc) {
            return Err(ImageError::Checksum);
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(ImageError::Foreign)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, body) = rest.split_at_checked(length).ok_or(ImageError::Foreign)?;
        let _: Header = codec::decode(header)?;
        let body: Body = codec::decode(body)?;
        let mut state = Self {
            limits,
            ..Self::default()
        };
        let effects = std::iter::once(Effect::Head(body.head))
            .chain(body.parts.into_iter().map(|(key, entry)| Effect::Part {
                key,
                entry: Some(entry),
            }))
            .chain(body.history.into_iter().map(Effect::Revision))
            .chain(body.original.into_iter().map(Effect::Original))
            .chain(body.records.into_iter().map(|(collection, key, value)| Effect::Record {
                collection,
                key,
                value: Some(value),
            }))
            .chain(
                body.answers
                    .into_iter()
                    .map(|(age, answer)| Effect::Answer { age, answer }),
            );
        for effect in effects {
            state.absorb(&effect);
        }
        Ok(state)
    }
}
