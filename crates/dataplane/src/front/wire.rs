//! What the owner of a client connection knows of it while hyper has it.

use crate::front::tap::Line;
use crate::tunnel::Opening;
use std::cell::{Cell, RefCell};
use std::task::Waker;
use tokio::time::Instant;

/// The state of one client connection, shared by its stream, its requests and its driver, all on
/// one thread.
#[derive(Debug)]
pub(crate) struct Wire {
    stage: Cell<Stage>,
    /// When the present stage began; set lazily for [`Stage::Head`].
    since: Cell<Instant>,
    /// How the request line that is being read looks so far.
    pub(super) line: Cell<Line>,
    /// An answer of a request is not yet wholly given to the socket: what hyper writes is that.
    pub(super) owed: Cell<bool>,
    /// Bytes of the final answer went out.
    pub(super) answering: Cell<bool>,
    /// The request's body, if any, was read to its end.
    pub(super) complete: Cell<bool>,
    /// The client's version knows interim answers.
    interim: Cell<bool>,
    /// The end of the answer is told by closing alone.
    pub(super) until_close: Cell<bool>,
    /// When the last byte of the answer has to be with the client, where that is bounded.
    pub(super) last_byte: Cell<Option<Instant>>,
    pub(super) left: Cell<Left>,
    /// Tell the client that we are still there, to see whether it is.
    pub(super) probe: Cell<bool>,
    /// What begins behind the answer, if that is a 101.
    pub(super) switched: RefCell<Option<Box<Opening>>>,
    /// How many requests came.
    requests: Cell<u32>,
    /// Orders changed, or the connection is to end at once.
    waker: RefCell<Option<Waker>>,
}

/// Where a connection is between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No byte of a request.
    Idle,
    /// A part of a head. With `false` nobody has looked at the clock since it began.
    Head(bool),
    /// A request is with us.
    Request,
}

/// Whether the client is still there, as far as its socket tells while it waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It has not closed anything.
    No,
    /// It has closed its sending side: it may be gone, or just have nothing more to say.
    Fin,
    /// Its end of the connection does not exist any more.
    Gone,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            stage: Cell::new(Stage::Idle),
            since: Cell::new(now),
            line: Cell::new(Line::default()),
            owed: Cell::new(false),
            answering: Cell::new(false),
            complete: Cell::new(true),
            interim: Cell::new(false),
            until_close: Cell::new(false),
            last_byte: Cell::new(None),
            left: Cell::new(Left::No),
            probe: Cell::new(false),
            switched: RefCell::default(),
            requests: Cell::new(0),
            waker: RefCell::new(None),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    /// Requests that came so far.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// A head was read, of a request with a body or without.
    pub(super) fn begin(&self, version: http::Version, body: bool) {
        self.stage.set(Stage::Request);
        self.line.set(Line::default());
        self.owed.set(true);
        self.answering.set(false);
        self.complete.set(!body);
        self.interim.set(version == http::Version::HTTP_11);
        self.until_close.set(false);
        self.last_byte.set(None);
        self.requests.set(self.requests.get().saturating_add(1));
    }

    /// A request came on a stream of its own.
    pub(super) fn count(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
    }

    /// The exchange is over; its last bytes may still be on their way to the socket.
    pub(crate) fn end(&self, now: Instant) {
        self.stage.set(Stage::Idle);
        self.since.set(now);
    }

    /// The request's body was read to its end.
    pub(crate) fn complete(&self) {
        self.complete.set(true);
    }

    /// The answer's length is told by nothing but the end of the connection.
    pub(crate) fn until_close(&self) {
        self.until_close.set(true);
    }

    /// The answer, which has begun, is to be with the client by `at`, however slowly it reads.
    pub(crate) fn last_byte_by(&self, at: Instant) {
        self.last_byte.set(Some(at));
    }

    /// Behind the answer that is due HTTP is over.
    pub(super) fn switch(&self, opening: Box<Opening>) {
        self.switched.replace(Some(opening));
    }

    /// Bytes came from the client.
    pub(super) fn came(&self, bytes: &[u8]) {
        // Between requests they are of a head, unless the last one's body was never wanted: what is left of
        // it is read and dropped, and begins no request.
        if bytes.is_empty() || self.stage.get() == Stage::Request || !self.complete.get() {
            return;
        }
        if self.stage.get() == Stage::Idle {
            self.stage.set(Stage::Head(false));
        }
        let mut line = self.line.get();
        line.feed(bytes);
        self.line.set(line);
    }

    /// Starts the clock of a head that did not come at once.
    pub(super) fn head_waits(&self, now: Instant) {
        self.stage.set(Stage::Head(true));
        self.since.set(now);
    }

    /// Whether the client's socket is worth a look: an exchange is under way, and hyper does not read.
    pub(super) fn is_unread(&self) -> bool {
        self.stage.get() == Stage::Request && self.complete.get()
    }

    /// Whether the client waits for its answer to begin.
    fn waits(&self) -> bool {
        self.is_unread() && !self.answering.get()
    }

    /// Whether a byte may be put before the answer.
    pub(super) fn may_probe(&self) -> bool {
        self.interim.get() && self.waits()
    }

    /// Whom [`Wire::wake`] wakes.
    pub(crate) fn watch(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// Lets the driver look at the worker's orders.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_an_unwanted_body_begins_no_request() {
        let wire = Wire::new(Instant::now());
        for (body, read, then) in [
            (false, false, Stage::Head(false)),
            (true, true, Stage::Head(false)),
            (true, false, Stage::Idle),
        ] {
            wire.begin(http::Version::HTTP_11, body);
            wire.came(b"body");
            if read {
                wire.complete();
            }
            wire.end(Instant::now());
            assert_eq!(wire.stage(), Stage::Idle);
            wire.came(b"more");
            assert_eq!(wire.stage(), then);
        }
    }

    #[test]
    fn the_first_bytes_of_a_connection_begin_a_request() {
        let wire = Wire::new(Instant::now());
        wire.came(b"");
        assert_eq!(wire.stage(), Stage::Idle);
        wire.came(b"G");
        assert_eq!(wire.stage(), Stage::Head(false));
    }
}
