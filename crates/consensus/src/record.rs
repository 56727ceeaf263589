//! How a command stands in the log: its envelope as bytes, which openraft carries unread.
//!
//! The operator's own text is long, and mostly the same as before. So the log keeps only what
//! differs: how much of the text before stays in front and behind, and what is put between. Which
//! text that was is said by a checksum: should it have changed meanwhile, every node finds the same,
//! and all leave the text as it is.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_peer::codec::{self, CodecError};
use thiserror::Error;

use crate::command::{Activation, Author, Body, Envelope, Idempotency, PartChange};
use crate::state::State;

/// A command as bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record(#[serde(with = "plain")] Arc<[u8]>);

/// Why the bytes of an entry are not a command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum RecordError {
    #[error(
        "an entry of the log has format {found}, this binary knows {FORMAT}: it was written by a newer sluice, start that version on this node"
    )]
    Newer { found: u8 },
    #[error("an entry of the log cannot be read: {0}")]
    Codec(#[from] CodecError),
}

/// The form of an [`Envelope`] that is kept. Positional: a field more is another format.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    base: u64,
    request_id: Cow<'a, str>,
    author: Cow<'a, Author>,
    at_ms: u64,
    trace: Option<Vec<u8>>,
    level: u32,
    idempotency: Cow<'a, Option<Idempotency>>,
    body: KeptBody<'a>,
}

#[derive(Serialize, Deserialize)]
enum KeptBody<'a> {
    Store {
        changes: Cow<'a, [PartChange]>,
        activate: Cow<'a, Option<Activation>>,
        original: Option<Text<'a>>,
    },
    Activate {
        version: u64,
        activation: Cow<'a, Activation>,
    },
    Record {
        collection: Cow<'a, str>,
        key: Cow<'a, str>,
        value: Cow<'a, Option<Vec<u8>>>,
    },
    Level(u32),
}

#[derive(Serialize, Deserialize)]
enum Text<'a> {
    Whole(Cow<'a, str>),
    /// Bytes kept of the text before, in front and behind, and what stands between.
    Edit {
        before: u32,
        front: u64,
        middle: Cow<'a, str>,
        back: u64,
    },
}

const FORMAT: u8 = 1;

// === impl Record ===

impl Record {
    /// The bytes of a command, given the state that it is proposed to.
    pub(crate) fn of(envelope: &Envelope, state: &State) -> Result<Self, CodecError> {
        let body = match &envelope.body {
            Body::Store {
                changes,
                activate,
                original,
            } => KeptBody::Store {
                changes: Cow::Borrowed(changes),
                activate: Cow::Borrowed(activate),
                original: original.as_deref().map(|text| {
                    let before = state
                        .original
                        .as_deref()
                        .filter(|_| envelope.base == state.head.version);
                    Text::of(text, before.unwrap_or_default())
                }),
            },
            Body::Activate { version, activation } => KeptBody::Activate {
                version: *version,
                activation: Cow::Borrowed(activation),
            },
            Body::Record { collection, key, value } => KeptBody::Record {
                collection: Cow::Borrowed(collection),
                key: Cow::Borrowed(key),
                value: Cow::Borrowed(value),
            },
            Body::Level(level) => KeptBody::Level(*level),
        };
        let encoded = codec::encode(&Kept {
            base: envelope.base,
            request_id: Cow::Borrowed(&envelope.request_id),
            author: Cow::Borrowed(&envelope.author),
            at_ms: envelope.at_ms,
            trace: envelope.trace.map(|t| t.to_vec()),
            level: envelope.level,
            idempotency: Cow::Borrowed(&envelope.idempotency),
            body,
        })?;
        let mut bytes = Vec::with_capacity(encoded.len() + 1);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&encoded);
        Ok(Self(bytes.into()))
    }

    /// The command, given the state that it is applied to. The text of one that the state will
    /// refuse for its base is left out.
    pub(crate) fn envelope(&self, state: &State) -> Result<Envelope, RecordError> {
        let encoded = match self.0.split_first() {
            Some((&FORMAT, encoded)) => encoded,
            Some((&found, _)) => return Err(RecordError::Newer { found }),
            None => return Err(CodecError::Empty.into()),
        };
        let kept: Kept<'_> = codec::decode(encoded)?;
        let body = match kept.body {
            KeptBody::Store {
                changes,
                activate,
                original,
            } => Body::Store {
                changes: changes.into_owned(),
                activate: activate.into_owned(),
                original: original
                    .filter(|_| kept.base == state.head.version)
                    .and_then(|text| text.resolve(state.original.as_deref().unwrap_or_default())),
            },
            KeptBody::Activate { version, activation } => Body::Activate {
                version,
                activation: activation.into_owned(),
            },
            KeptBody::Record { collection, key, value } => Body::Record {
                collection: collection.into_owned(),
                key: key.into_owned(),
                value: value.into_owned(),
            },
            KeptBody::Level(level) => Body::Level(level),
        };
        Ok(Envelope {
            base: kept.base,
            request_id: kept.request_id.into_owned(),
            author: kept.author.into_owned(),
            at_ms: kept.at_ms,
            trace: kept.trace.and_then(|t| t.try_into().ok()),
            level: kept.level,
            idempotency: kept.idempotency.into_owned(),
            body,
        })
    }

    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

// === impl Text ===

impl<'a> Text<'a> {
    fn of(text: &'a str, before: &str) -> Self {
        let (new, old) = (text.as_bytes(), before.as_bytes());
        let most = new.len().min(old.len());
        let mut front = new.iter().zip(old).take_while(|(a, b)| a == b).count();
        while !text.is_char_boundary(front) {
            front -= 1;
        }
        let pairs = new.iter().rev().zip(old.iter().rev());
        let mut back = pairs.take(most - front).take_while(|(a, b)| a == b).count();
        while !text.is_char_boundary(new.len() - back) {
            back -= 1;
        }
        if front + back == 0 {
            return Self::Whole(Cow::Borrowed(text));
        }
        Self::Edit {
            before: crc32c::crc32c(old),
            front: front as u64,
            middle: Cow::Borrowed(&text[front..new.len() - back]),
            back: back as u64,
        }
    }

    /// `None` if it is an edit of another text than this.
    fn resolve(self, text: &str) -> Option<Arc<str>> {
        match self {
            Self::Whole(text) => Some(text.into()),
            Self::Edit {
                before,
                front,
                middle,
                back,
            } => {
                if before != crc32c::crc32c(text.as_bytes()) {
                    return None;
                }
                let head = text.get(..usize::try_from(front).ok()?)?;
                let tail = text.get(text.len().checked_sub(usize::try_from(back).ok()?)?..)?;
                Some([head, &middle, tail].concat().into())
            }
        }
    }
}

/// Bytes as such: a sequence of numbers would be read one by one.
pub(crate) mod plain {
    use std::fmt;
    use std::sync::Arc;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Arc<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Arc<[u8]>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(bytes.into())
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
                Ok(bytes.into())
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn store(base: u64, original: Option<&str>) -> Envelope {
        Envelope {
            base,
            request_id: "r-1".into(),
            author: Author::default(),
            at_ms: 7,
            trace: Some([9; 25]),
            level: 1,
            idempotency: None,
            body: Body::Store {
                changes: Vec::new(),
                activate: Some(Activation::default()),
                original: original.map(Into::into),
            },
        }
    }

    fn with(text: Option<&str>) -> State {
        State {
            original: text.map(Into::into),
            ..State::default()
        }
    }

    proptest! {
        #[test]
        fn a_text_is_whatever_was_before_with_its_edit(before in "[aä€x]{0,12}", after in "[aä€x]{0,12}") {
            let state = with(Some(&before));
            let envelope = store(0, Some(&after));
            let record = Record::of(&envelope, &state).unwrap();
            prop_assert_eq!(record.envelope(&state).unwrap(), envelope);
        }

        #[test]
        fn any_bytes_are_a_command_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            let _ = Record(bytes.clone().into()).envelope(&with(None));
            bytes.splice(0..0, [FORMAT, codec::FORMAT]);
            let _ = Record(bytes.into()).envelope(&with(Some("text")));
        }
    }

    #[test]
    fn a_small_edit_of_a_long_text_is_a_small_entry() {
        let long = "route: { path: /a, respond: { status: 200 } }\n".repeat(10_000);
        let state = with(Some(&long));
        let record = Record::of(&store(0, Some(&long.replacen("200", "204", 1))), &state).unwrap();
        assert!(record.len() < 200, "{} bytes", record.len());
    }

    #[test]
    fn a_command_for_another_version_brings_no_text() {
        let state = with(Some("before"));
        let record = Record::of(&store(3, Some("after")), &state).unwrap();
        assert_eq!(record.envelope(&state).unwrap(), store(3, None));
    }

    #[test]
    fn an_edit_of_another_text_is_left_out() {
        let record = Record::of(&store(0, Some("one two")), &with(Some("one three"))).unwrap();
        assert_eq!(record.envelope(&with(Some("one four"))).unwrap(), store(0, None));
    }

    #[test]
    fn a_newer_format_says_so() {
        let record = Record([2, 1, 0].into());
        assert_eq!(record.envelope(&with(None)), Err(RecordError::Newer { found: 2 }));
    }
}
