//! The client's side of one exchange.

use super::Wire;
use super::http2::Exchanged;
use crate::meters::OfListener;
use crate::tunnel::Opening;
use std::rc::Rc;
use tokio::time::Instant;

/// What an exchange tells of itself to the connection that it came by. On HTTP/1.1 the connection
/// has one exchange at a time.
#[derive(Debug, Clone)]
pub(crate) enum Stream {
    Http1(Rc<Wire>),
    Http2(Rc<Exchanged>),
}

// === impl Stream ===

impl Stream {
    /// The exchange begins: its connection is one of the active ones of the listener.
    pub(crate) fn begin(&self, listener: &OfListener) {
        match self {
            Self::Http1(_) => listener.active.add(1),
            // Counted while any exchange of the connection is there.
            Self::Http2(_) => {}
        }
    }

    /// The exchange is over; its last bytes may still be on their way to the socket.
    pub(crate) fn end(&self, listener: &OfListener, now: Instant) {
        match self {
            Self::Http1(wire) => {
                listener.active.add(-1);
                wire.end(now);
            }
            Self::Http2(_) => {}
        }
    }

    /// The request's body was read to its end.
    pub(crate) fn complete(&self) {
        match self {
            Self::Http1(wire) => wire.complete(),
            // A client that leaves says so, whatever it has sent.
            Self::Http2(_) => {}
        }
    }

    /// The answer's length is told by nothing but the end of the connection.
    pub(crate) fn until_close(&self) {
        match self {
            Self::Http1(wire) => wire.until_close(),
            // A stream has an end of its own.
            Self::Http2(_) => {}
        }
    }

    /// The answer is a 101, and behind it begins a tunnel.
    pub(crate) fn switch(&self, opening: Box<Opening>) {
        match self {
            Self::Http1(wire) => wire.switch(opening),
            // Nothing of HTTP/2 asks for one.
            Self::Http2(_) => {}
        }
    }

    /// The answer, which has begun, is to be with the client by `at`, however slowly it reads.
    pub(crate) fn last_byte_by(&self, at: Instant) {
        match self {
            Self::Http1(wire) => wire.last_byte_by(at),
            Self::Http2(exchanged) => exchanged.last_byte_by(at),
        }
    }
}
