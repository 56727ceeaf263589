//! Frames: what an authenticated connection carries. Pure.
//!
//! ```text
//!  0      1      2             4                                  12
//!  | kind |  0   |  length u16 |  call u64 (of a ping: its number) | payload of that length …
//! ```
//!
//! Integers are big-endian. A frame has at most 64 KiB, head included; messages are cut into
//! chunks of one TLS record each, so that several share a connection fairly. Calls go from the
//! side that dialled to the side that accepted, and answers back, so `More` needs no direction.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::Service;

/// Bytes of a frame's head.
pub(crate) const HEAD: usize = 12;

/// The most bytes of payload that are taken.
pub(crate) const MAX_PAYLOAD: usize = 64 * 1024 - HEAD;

/// The bytes of a message that one frame carries when sent: with the longest head, one TLS record.
pub(crate) const CHUNK: usize = 16 * 1024 - HEAD - MESSAGE_HEAD;

/// Bytes before the first chunk of a message: what it is, and its whole length.
const MESSAGE_HEAD: usize = 5;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Opens a call; carries the first chunk of a body of `total` bytes.
    Call {
        call: u64,
        service: Service,
        total: u32,
        chunk: Bytes,
    },
    /// Opens the answer; carries its first chunk.
    Answer {
        call: u64,
        outcome: Outcome,
        total: u32,
        chunk: Bytes,
    },
    /// The next chunk of the call's request or answer.
    More { call: u64, chunk: Bytes },
    /// The caller has no more interest.
    Cancel { call: u64 },
    /// So many bytes of the call's request or answer have arrived.
    Ack { call: u64, received: u32 },
    /// Are you there?
    Ping { number: u64 },
    /// I am, and have read up to that ping.
    Pong { number: u64 },
    /// The sender's status, encoded.
    Status(Bytes),
    /// The sender belongs to this cluster from now on.
    Cluster(u128),
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The service's answer.
    Done,
    /// The service's error, as text.
    Refused,
    /// Nobody serves yet.
    Starting,
    /// A message is too large: the body is its size as u64.
    TooLarge,
    /// Too many calls, or bytes of calls, are under way.
    Busy,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    #[error("a frame of kind {0}, which is none")]
    Kind(u8),
    #[error("a frame with flags {0:#04x}, which has none")]
    Flags(u8),
    #[error("a frame of {0} bytes, more than {MAX_PAYLOAD}")]
    Long(usize),
    #[error("a frame of kind {kind} with {length} bytes, which is not its length")]
    Length { kind: u8, length: usize },
    #[error("an answer of kind {0}, which is none")]
    Outcome(u8),
}

const CALL: u8 = 1;
const ANSWER: u8 = 2;
const MORE: u8 = 3;
const CANCEL: u8 = 4;
const ACK: u8 = 5;
const PING: u8 = 6;
const PONG: u8 = 7;
const STATUS: u8 = 8;
const CLUSTER: u8 = 9;

// === impl Frame ===

impl Frame {
    /// Appends the frame's bytes.
    ///
    /// # Panics
    /// Where a chunk is longer than a frame may be; those who send cut at [`CHUNK`].
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let (kind, call, length) = match self {
            Self::Call { call, chunk, .. } => (CALL, *call, MESSAGE_HEAD + chunk.len()),
            Self::Answer { call, chunk, .. } => (ANSWER, *call, MESSAGE_HEAD + chunk.len()),
            Self::More { call, chunk } => (MORE, *call, chunk.len()),
            Self::Cancel { call } => (CANCEL, *call, 0),
            Self::Ack { call, .. } => (ACK, *call, 4),
            Self::Ping { number } => (PING, *number, 0),
            Self::Pong { number } => (PONG, *number, 0),
            Self::Status(bytes) => (STATUS, 0, bytes.len()),
            Self::Cluster(_) => (CLUSTER, 0, 16),
        };
        assert!(length <= MAX_PAYLOAD, "a frame's payload of {length} bytes");
        out.reserve(HEAD + length);
        out.put_u8(kind);
        out.put_u8(0);
        out.put_u16(length as u16);
        out.put_u64(call);
        match self {
            Self::Call {
                service, total, chunk, ..
            } => {
                out.put_u8(service.0);
                out.put_u32(*total);
                out.put_slice(chunk);
            }
            Self::Answer {
                outcome, total, chunk, ..
            } => {
                out.put_u8(outcome.number());
                out.put_u32(*total);
                out.put_slice(chunk);
            }
            Self::More { chunk, .. } => out.put_slice(chunk),
            Self::Ack { received, .. } => out.put_u32(*received),
            Self::Status(bytes) => out.put_slice(bytes),
            Self::Cluster(id) => out.put_u128(*id),
            Self::Cancel { .. } | Self::Ping { .. } | Self::Pong { .. } => {}
        }
    }

    /// Takes the next frame off the front of what was read; `None` until all of it is there.
    ///
    /// Never asks for more than 64 KiB, and tells a bad head before its payload has arrived.
    pub(crate) fn decode(from: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(mut head) = from.get(..HEAD) else {
            return Ok(None);
        };
        let (kind, flags) = (head.get_u8(), head.get_u8());
        let (length, call) = (usize::from(head.get_u16()), head.get_u64());
        if !(CALL..=CLUSTER).contains(&kind) {
            return Err(FrameError::Kind(kind));
        }
        if flags != 0 {
            return Err(FrameError::Flags(flags));
        }
        if length > MAX_PAYLOAD {
            return Err(FrameError::Long(length));
        }
        let fits = match kind {
            CALL | ANSWER => length >= MESSAGE_HEAD,
            MORE | STATUS => length > 0,
            CANCEL | PING | PONG => length == 0,
            ACK => length == 4,
            _ => length == 16,
        };
        if !fits {
            return Err(FrameError::Length { kind, length });
        }
        if from.len() < HEAD + length {
            return Ok(None);
        }
        from.advance(HEAD);
        let mut payload = from.split_to(length).freeze();
        Ok(Some(match kind {
            CALL => {
                let (service, total) = (Service(payload.get_u8()), payload.get_u32());
                Self::Call {
                    call,
                    service,
                    total,
                    chunk: payload,
                }
            }
            ANSWER => {
                let number = payload.get_u8();
                let outcome = Outcome::of(number).ok_or(FrameError::Outcome(number))?;
                Self::Answer {
                    call,
                    outcome,
                    total: payload.get_u32(),
                    chunk: payload,
                }
            }
            MORE => Self::More { call, chunk: payload },
            CANCEL => Self::Cancel { call },
            ACK => Self::Ack {
                call,
                received: payload.get_u32(),
            },
            PING => Self::Ping { number: call },
            PONG => Self::Pong { number: call },
            STATUS => Self::Status(payload),
            _ => Self::Cluster(payload.get_u128()),
        }))
    }
}

// === impl Outcome ===

impl Outcome {
    const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Starting => 2,
            Self::TooLarge => 3,
            Self::Busy => 4,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Done,
            1 => Self::Refused,
            2 => Self::Starting,
            3 => Self::TooLarge,
            4 => Self::Busy,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn chunk(from: usize) -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), from..300).prop_map(Bytes::from)
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let outcome = (0u8..=4).prop_map(|n| Outcome::of(n).unwrap());
        prop_oneof![
            (any::<u64>(), any::<u8>(), any::<u32>(), chunk(0)).prop_map(|(call, service, total, chunk)| Frame::Call {
                call,
                service: Service(service),
                total,
                chunk
            }),
            (any::<u64>(), outcome, any::<u32>(), chunk(0)).prop_map(|(call, outcome, total, chunk)| Frame::Answer {
                call,
                outcome,
                total,
                chunk
            }),
            (any::<u64>(), chunk(1)).prop_map(|(call, chunk)| Frame::More { call, chunk }),
            any::<u64>().prop_map(|call| Frame::Cancel { call }),
            (any::<u64>(), any::<u32>()).prop_map(|(call, received)| Frame::Ack { call, received }),
            any::<u64>().prop_map(|number| Frame::Ping { number }),
            any::<u64>().prop_map(|number| Frame::Pong { number }),
            chunk(1).prop_map(Frame::Status),
            any::<u128>().prop_map(Frame::Cluster),
        ]
    }

    proptest! {
        #[test]
        fn frames_read_back_however_the_bytes_arrive(
            frames in proptest::collection::vec(frame(), 0..12),
            cuts in proptest::collection::vec(1usize..200, 1..40),
        ) {
            let mut wire = BytesMut::new();
            for frame in &frames {
                frame.encode(&mut wire);
            }
            let (mut arrived, mut got, mut cuts) = (BytesMut::new(), Vec::new(), cuts.into_iter().cycle());
            while !wire.is_empty() {
                let cut = cuts.next().unwrap().min(wire.len());
                arrived.extend_from_slice(&wire.split_to(cut));
                while let Some(frame) = Frame::decode(&mut arrived).unwrap() {
                    got.push(frame);
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert!(arrived.is_empty());
        }

        #[test]
        fn any_bytes_are_frames_or_an_error_and_what_is_a_frame_encodes_to_the_same_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let mut from = BytesMut::from(&bytes[..]);
            let mut again = BytesMut::new();
            while let Ok(Some(frame)) = Frame::decode(&mut from) {
                frame.encode(&mut again);
            }
            prop_assert_eq!(&bytes[..again.len()], &again[..]);
        }

        #[test]
        fn heads_near_the_truth_never_panic(
            kind in 0u8..12, flags in 0u8..2, length in any::<u16>(), call in any::<u64>(),
            payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut from = BytesMut::new();
            from.put_u8(kind);
            from.put_u8(flags);
            from.put_u16(if call % 2 == 0 { payload.len() as u16 } else { length });
            from.put_u64(call);
            from.put_slice(&payload);
            while let Ok(Some(_)) = Frame::decode(&mut from) {}
        }
    }

    #[test]
    fn a_full_chunk_behind_the_longest_head_is_one_tls_record() {
        let mut out = BytesMut::new();
        Frame::Call {
            call: 1,
            service: Service(1),
            total: 1,
            chunk: Bytes::from(vec![0; CHUNK]),
        }
        .encode(&mut out);
        assert_eq!(out.len(), 16 * 1024);
    }

    #[test]
    fn an_overlong_frame_is_refused_by_its_head_alone() {
        let mut from = BytesMut::new();
        from.put_u8(MORE);
        from.put_u8(0);
        from.put_u16(u16::MAX);
        from.put_u64(1);
        assert_eq!(Frame::decode(&mut from), Err(FrameError::Long(65_535)));
    }
}
