//! A message that arrives chunk by chunk, and the rules that a connection's frames must keep. Pure.

use std::time::{Duration, Instant};

use thiserror::Error;

use crate::Lane;
use crate::frame::FrameError;

/// Bytes that arrive before they are acknowledged; an eighth of the sender's window.
const ACK_BYTES: usize = 256 * 1024;

/// On a slow line, acknowledge at least this often: it is how the sender knows that bytes move.
const ACK_EVERY: Duration = Duration::from_millis(200);

/// Requests up to this size do not count against the bytes under way, only against the calls.
pub(crate) const SMALL: usize = 64 * 1024;

/// What one connection may have under way in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Calls at a time.
    pub(crate) calls: usize,
    /// Bytes of one message, and bytes of all messages above [`SMALL`] together.
    pub(crate) bytes: usize,
}

/// The other side broke the protocol: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Violation {
    #[error("it sent {0}")]
    Frame(#[from] FrameError),
    #[error("it sent a {0} frame, which only the other side of a connection sends")]
    Direction(&'static str),
    #[error("it reused the call number {0}")]
    Reused(u64),
    #[error("it sent a part of call {0}, which does not exist")]
    NoSuchCall(u64),
    #[error("it sent more bytes of call {0} than it had announced")]
    Overrun(u64),
    #[error("it acknowledged bytes of call {0} that were never sent")]
    FalseAck(u64),
    #[error("it made more calls at a time than twice the {0} that are taken")]
    TooManyCalls(usize),
    #[error("it sent a status that cannot be read")]
    Status,
    #[error("it sent a status in another node's name")]
    StatusOfAnother,
    #[error("it has joined another cluster than this node's")]
    OtherCluster,
}

/// A message under way.
#[derive(Debug)]
pub(crate) struct Assembly {
    total: usize,
    body: Vec<u8>,
    acked: usize,
    acked_at: Instant,
}

/// What a chunk brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Acknowledge so many bytes.
    pub(crate) ack: Option<usize>,
    /// The message is whole.
    pub(crate) whole: bool,
}

// === impl Limits ===

impl Limits {
    pub(crate) const fn of(lane: Lane) -> Self {
        let calls = match lane {
            Lane::Control => 256,
            Lane::Bulk => 64,
        };
        Self {
            calls,
            bytes: lane.max_message(),
        }
    }

    /// What a message of this size counts.
    pub(crate) const fn weight(total: usize) -> usize {
        if total > SMALL { total } else { 0 }
    }
}

// === impl Assembly ===

impl Assembly {
    pub(crate) fn new(total: usize, now: Instant) -> Self {
        Self {
            total,
            body: Vec::new(),
            acked: 0,
            acked_at: now,
        }
    }

    /// Adds a chunk. `None` where it is more than was announced.
    ///
    /// Memory grows with what has arrived (at most doubled), never with what was announced.
    pub(crate) fn add(&mut self, chunk: &[u8], now: Instant) -> Option<Step> {
        let length = self.body.len().checked_add(chunk.len()).filter(|l| *l <= self.total)?;
        if length > self.body.capacity() {
            let room = self
                .body
                .len()
                .max(chunk.len())
                .max(SMALL)
                .min(self.total - self.body.len());
            self.body.reserve_exact(room.max(chunk.len()));
        }
        self.body.extend_from_slice(chunk);
        let whole = length == self.total;
        let due = length - self.acked >= ACK_BYTES || now.saturating_duration_since(self.acked_at) >= ACK_EVERY;
        // A message of one chunk needs none: its answer says as much.
        let ack = (due || (whole && self.acked > 0)) && length > 0;
        if ack {
            self.acked = length;
            self.acked_at = now;
        }
        Some(Step {
            ack: ack.then_some(length),
            whole,
        })
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_message_is_whole_at_its_announced_length_and_not_beyond() {
        let now = Instant::now();
        let mut message = Assembly::new(5, now);
        assert_eq!(
            message.add(b"abc", now),
            Some(Step {
                ack: None,
                whole: false
            })
        );
        assert_eq!(message.add(b"def", now), None);
        assert_eq!(message.add(b"de", now), Some(Step { ack: None, whole: true }));
        assert_eq!(message.into_body(), b"abcde");
    }

    #[test]
    fn bytes_are_acknowledged_by_amount_and_by_time() {
        let t0 = Instant::now();
        let mut message = Assembly::new(10 * ACK_BYTES, t0);
        assert_eq!(message.add(&vec![0; ACK_BYTES - 1], t0).unwrap().ack, None);
        assert_eq!(message.add(&[0], t0).unwrap().ack, Some(ACK_BYTES));
        assert_eq!(message.add(&[0], t0).unwrap().ack, None);
        assert_eq!(message.add(&[0], t0 + ACK_EVERY).unwrap().ack, Some(ACK_BYTES + 2));
    }

    #[test]
    fn an_announcement_takes_no_memory() {
        let now = Instant::now();
        let mut message = Assembly::new(200 * 1024 * 1024, now);
        message.add(b"x", now).unwrap();
        assert!(message.body.capacity() <= SMALL);
    }
}
