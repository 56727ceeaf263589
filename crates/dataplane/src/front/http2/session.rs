//! What a connection of HTTP/2, its bytes and its streams know of each other.

use super::flood::{Allowance, Flood};
use super::frames::{Fault, Frames};
use crate::front::Wire;
use crate::meters::Cells;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use tokio::time::Instant;

/// The state of one connection, shared on one thread.
#[derive(Debug)]
pub(crate) struct Session {
    frames: RefCell<Frames>,
    allowance: RefCell<Allowance>,
    flood: Cell<Option<Flood>>,
    fault: Cell<Option<Fault>>,
    /// Nothing more is read.
    deaf: Cell<bool>,
    /// When bytes came last.
    heard: Cell<Instant>,
    /// Exchanges under way. A stream that its client has reset is one until its exchange has ended.
    open: Cell<usize>,
    cells: Arc<Cells>,
    /// The listener's place in the settings.
    place: usize,
    /// When the last exchange ended, or the connection began.
    idle_since: Cell<Instant>,
    wire: Rc<Wire>,
}

/// One exchange of a connection. While there is any, the connection is active.
#[derive(Debug)]
pub(crate) struct Exchanged {
    session: Rc<Session>,
    last_byte: Cell<Option<Instant>>,
    /// The body is wanted for the first time, and the client waits to hear so.
    wanted: Cell<bool>,
}

// === impl Session ===

impl Session {
    pub(super) fn new(wire: Rc<Wire>, cells: Arc<Cells>, place: usize, now: Instant) -> Rc<Self> {
        Rc::new(Self {
            frames: RefCell::default(),
            allowance: RefCell::new(Allowance::new(now)),
            flood: Cell::new(None),
            fault: Cell::new(None),
            deaf: Cell::new(false),
            heard: Cell::new(now),
            open: Cell::new(0),
            cells,
            place,
            idle_since: Cell::new(now),
            wire,
        })
    }

    /// Bytes came from the client. How many of them are good: before a frame that is wrong.
    pub(super) fn came(&self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let now = Instant::now();
        self.heard.set(now);
        let mut allowance = self.allowance.borrow_mut();
        let fed = self.frames.borrow_mut().feed(bytes, |seen| {
            if let Err(flood) = allowance.frame(seen, || now) {
                self.too_much(flood);
            }
        });
        match fed {
            Ok(()) => bytes.len(),
            Err((before, fault)) => {
                if !self.deaf.replace(true) {
                    self.fault.set(Some(fault));
                }
                before
            }
        }
    }

    /// Bytes of an answer were given to the connection.
    pub(super) fn sent(&self, bytes: usize) {
        self.allowance.borrow_mut().sent(bytes);
    }

    /// An exchange ended as it should.
    pub(super) fn answered(&self) {
        self.allowance.borrow_mut().answered();
    }

    /// An exchange was ended by the client.
    pub(super) fn cancelled(&self) {
        if let Err(flood) = self.allowance.borrow_mut().cancelled(Instant::now) {
            self.too_much(flood);
            self.wire.wake();
        }
    }

    fn too_much(&self, flood: Flood) {
        if !self.deaf.replace(true) {
            self.flood.set(Some(flood));
        }
    }

    /// The client has had us do too much. Told once.
    pub(super) fn take_flood(&self) -> Option<Flood> {
        self.flood.take()
    }

    /// A frame was wrong. Told once.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        self.fault.take()
    }

    /// Whether nothing more is read of the client. Its driver is to be woken, if it was not told yet why.
    pub(super) fn is_deaf(&self, cx: &Context<'_>) -> bool {
        if self.flood.get().is_some() || self.fault.get().is_some() {
            cx.waker().wake_by_ref();
        }
        self.deaf.get()
    }

    pub(super) fn heard(&self) -> Instant {
        self.heard.get()
    }

    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    /// Streams that the client has opened so far.
    pub(super) fn opened(&self) -> u64 {
        self.frames.borrow().opened()
    }

    /// See [`Frames::incomplete`].
    pub(super) fn incomplete(&self) -> Option<u64> {
        self.frames.borrow().incomplete()
    }
}

// === impl Exchanged ===

impl Exchanged {
    pub(super) fn new(session: Rc<Session>) -> Rc<Self> {
        let listener = &session.cells.listeners[session.place];
        if session.open.replace(session.open.get() + 1) == 0 {
            listener.active.add(1);
        }
        listener.streams.add(1);
        Rc::new(Self {
            session,
            last_byte: Cell::new(None),
            wanted: Cell::new(false),
        })
    }

    pub(crate) fn last_byte_by(&self, at: Instant) {
        self.last_byte.set(Some(at));
    }

    pub(super) fn last_byte(&self) -> Option<Instant> {
        self.last_byte.get()
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Somebody begins to read the body.
    pub(super) fn want(&self) {
        self.wanted.set(true);
    }

    pub(super) fn take_wanted(&self) -> bool {
        self.wanted.take()
    }
}

impl Drop for Exchanged {
    fn drop(&mut self) {
        let session = &self.session;
        // Added for each when it was made.
        session.open.set(session.open.get() - 1);
        let listener = &session.cells.listeners[session.place];
        listener.streams.add(-1);
        if session.open.get() == 0 {
            listener.active.add(-1);
            session.idle_since.set(Instant::now());
            // Its driver has set no clock for idleness until now.
            session.wire.wake();
        }
    }
}
