//! What waits to be sent on one connection, and in which order it goes. Pure.
//!
//! Small things first (each kind has one place, so none can pile up), then one chunk of each
//! message in turn: a message of 200 MiB delays one of 100 bytes by one chunk. A message goes no
//! further than a window beyond what the other side has acknowledged, so that what lies in the
//! system's buffers, and what a slow receiver must still swallow, stays small.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use crate::Service;
use crate::frame::{CHUNK, Frame, Outcome};

/// How far a message may run ahead of its acknowledgements.
pub(crate) const WINDOW: usize = 2 * 1024 * 1024;

/// What is to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    ping: Option<u64>,
    pong: Option<u64>,
    cluster: Option<u128>,
    status: Option<Bytes>,
    cancels: VecDeque<u64>,
    acks: BTreeMap<u64, u32>,
    /// Messages that may send a chunk, in turn.
    ready: VecDeque<Message>,
    /// Messages whose window is used up.
    stalled: HashMap<u64, Message>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call(Service),
    Answer(Outcome),
}

/// A frame to send, and whether a message is thereby sent whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) frame: Frame,
    /// The call whose request or answer has now gone out completely.
    pub(crate) finished: Option<u64>,
}

#[derive(Debug)]
struct Message {
    call: u64,
    kind: Kind,
    body: Bytes,
    sent: usize,
    acked: usize,
    opened: bool,
}

// === impl Outbox ===

impl Outbox {
    /// The higher number stands for the lower: whoever waits for a pong waits for at least theirs.
    pub(crate) fn ping(&mut self, number: u64) {
        self.ping = self.ping.max(Some(number));
    }

    pub(crate) fn pong(&mut self, number: u64) {
        self.pong = self.pong.max(Some(number));
    }

    pub(crate) fn cluster(&mut self, id: u128) {
        self.cluster = Some(id);
    }

    /// The newest status takes the place of one that has not gone out yet.
    pub(crate) fn status(&mut self, status: Bytes) {
        self.status = Some(status);
    }

    pub(crate) fn ack(&mut self, call: u64, received: usize) {
        // Lengths fit: a message's total is a u32.
        self.acks.insert(call, received as u32);
    }

    /// Queues a message. Its body must have at most u32::MAX bytes.
    pub(crate) fn message(&mut self, call: u64, kind: Kind, body: Bytes) {
        self.ready.push_back(Message {
            call,
            kind,
            body,
            sent: 0,
            acked: 0,
            opened: false,
        });
    }

    /// Forgets the call's message. Says whether the other side has seen any of it.
    pub(crate) fn withdraw(&mut self, call: u64) -> Withdrawn {
        self.acks.remove(&call);
        let message = match self.ready.iter().position(|m| m.call == call) {
            Some(at) => self.ready.remove(at),
            None => self.stalled.remove(&call),
        };
        match message {
            Some(message) if message.opened => Withdrawn::Partly,
            Some(_) => Withdrawn::Unsent,
            None => Withdrawn::NotThere,
        }
    }

    /// Tells the other side that the call is of no more interest.
    pub(crate) fn cancel(&mut self, call: u64) {
        self.cancels.push_back(call);
    }

    /// So many bytes of the call's message have arrived there. `false`: more than were sent.
    pub(crate) fn acked(&mut self, call: u64, received: usize) -> bool {
        if let Some(message) = self.ready.iter_mut().find(|m| m.call == call) {
            message.acked = message.acked.max(received);
            return received <= message.sent;
        }
        let Some(message) = self.stalled.get_mut(&call) else {
            return true;
        };
        if received > message.sent {
            return false;
        }
        message.acked = message.acked.max(received);
        if message.window() > 0
            && let Some(message) = self.stalled.remove(&call)
        {
            self.ready.push_back(message);
        }
        true
    }

    /// The next frame to send.
    pub(crate) fn next(&mut self) -> Option<Next> {
        let frame = if let Some(number) = self.pong.take() {
            Frame::Pong { number }
        } else if let Some(number) = self.ping.take() {
            Frame::Ping { number }
        } else if let Some(id) = self.cluster.take() {
            Frame::Cluster(id)
        } else if let Some(call) = self.cancels.pop_front() {
            Frame::Cancel { call }
        } else if let Some((call, received)) = self.acks.pop_first() {
            Frame::Ack { call, received }
        } else if let Some(status) = self.status.take() {
            Frame::Status(status)
        } else {
            return self.chunk();
        };
        Some(Next { frame, finished: None })
    }

    /// Whether nothing waits, stalled messages included.
    pub(crate) fn is_empty(&self) -> bool {
        self.ping.is_none()
            && self.pong.is_none()
            && self.cluster.is_none()
            && self.status.is_none()
            && self.cancels.is_empty()
            && self.acks.is_empty()
            && self.ready.is_empty()
            && self.stalled.is_empty()
    }

    fn chunk(&mut self) -> Option<Next> {
        let mut message = self.ready.pop_front()?;
        let end = (message.sent + CHUNK.min(message.window())).min(message.body.len());
        let chunk = message.body.slice(message.sent..end);
        let (call, total) = (message.call, message.body.len() as u32);
        let frame = match message.kind {
            _ if message.opened => Frame::More { call, chunk },
            Kind::Call(service) => Frame::Call {
                call,
                service,
                total,
                chunk,
            },
            Kind::Answer(outcome) => Frame::Answer {
                call,
                outcome,
                total,
                chunk,
            },
        };
        message.opened = true;
        message.sent = end;
        if message.sent == message.body.len() {
            return Some(Next {
                frame,
                finished: Some(call),
            });
        }
        if message.window() > 0 {
            self.ready.push_back(message);
        } else {
            self.stalled.insert(call, message);
        }
        Some(Next { frame, finished: None })
    }
}

/// What became of a withdrawn message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// None of it had been sent.
    Unsent,
    /// Some of it had been sent.
    Partly,
    /// It had been sent whole, or there was none.
    NotThere,
}

// === impl Message ===

impl Message {
    fn window(&self) -> usize {
        WINDOW.saturating_sub(self.sent - self.acked.min(self.sent))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn call_of(next: &Next) -> u64 {
        match &next.frame {
            Frame::Call { call, .. } | Frame::More { call, .. } | Frame::Answer { call, .. } => *call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_small_message_waits_for_one_chunk_of_a_large_one() {
        let mut out = Outbox::default();
        out.message(1, Kind::Call(Service(1)), Bytes::from(vec![0; 10 * CHUNK]));
        assert_eq!(call_of(&out.next().unwrap()), 1);
        out.message(2, Kind::Call(Service(1)), Bytes::from_static(b"beat"));
        assert_eq!(call_of(&out.next().unwrap()), 1);
        let next = out.next().unwrap();
        assert_eq!((call_of(&next), next.finished), (2, Some(2)));
    }

    #[test]
    fn a_message_stops_at_its_window_until_it_is_acknowledged() {
        let mut out = Outbox::default();
        let size = WINDOW + 5 * CHUNK;
        out.message(1, Kind::Answer(Outcome::Done), Bytes::from(vec![0; size]));
        let mut sent = 0;
        let drain = |out: &mut Outbox| {
            let mut bytes = 0;
            while let Some(next) = out.next() {
                match next.frame {
                    Frame::Answer { chunk, .. } | Frame::More { chunk, .. } => bytes += chunk.len(),
                    other => panic!("{other:?}"),
                }
            }
            bytes
        };
        sent += drain(&mut out);
        assert_eq!(sent, WINDOW);
        assert!(!out.is_empty());
        assert!(!out.acked(1, sent + 1), "an acknowledgement of what was never sent");
        assert!(out.acked(1, CHUNK));
        sent += drain(&mut out);
        assert_eq!(sent, WINDOW + CHUNK);
        assert!(out.acked(1, WINDOW));
        sent += drain(&mut out);
        assert_eq!(sent, size);
        assert!(out.is_empty());
    }

    #[test]
    fn small_things_overtake_messages_and_never_pile_up() {
        let mut out = Outbox::default();
        out.message(1, Kind::Call(Service(1)), Bytes::from(vec![0; 2 * CHUNK]));
        for n in 0..100 {
            out.ping(n);
            out.pong(n);
            out.ack(7, n as usize);
            out.status(Bytes::from(vec![n as u8]));
        }
        let mut frames = Vec::new();
        while let Some(next) = out.next() {
            frames.push(next.frame);
        }
        assert_eq!(frames.len(), 6);
        assert_eq!(frames[0], Frame::Pong { number: 99 });
        assert_eq!(frames[1], Frame::Ping { number: 99 });
        assert_eq!(frames[2], Frame::Ack { call: 7, received: 99 });
        assert_eq!(frames[3], Frame::Status(Bytes::from_static(&[99])));
    }

    #[test]
    fn a_withdrawn_message_says_whether_it_was_begun() {
        let mut out = Outbox::default();
        out.message(1, Kind::Call(Service(1)), Bytes::from(vec![0; 2 * CHUNK]));
        out.message(2, Kind::Call(Service(1)), Bytes::new());
        out.next().unwrap();
        assert_eq!(out.withdraw(1), Withdrawn::Partly);
        assert_eq!(out.withdraw(2), Withdrawn::Unsent);
        assert_eq!(out.withdraw(2), Withdrawn::NotThere);
        assert!(out.is_empty());
    }

    #[test]
    fn an_empty_message_is_one_frame() {
        let mut out = Outbox::default();
        out.message(3, Kind::Call(Service(9)), Bytes::new());
        let next = out.next().unwrap();
        assert_eq!(
            next.frame,
            Frame::Call {
                call: 3,
                service: Service(9),
                total: 0,
                chunk: Bytes::new()
            }
        );
        assert_eq!(next.finished, Some(3));
        assert!(out.next().is_none());
    }
}
