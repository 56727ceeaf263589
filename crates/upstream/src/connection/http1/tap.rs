//! What passes between hyper's client and the wire, seen from the side.

use super::interim::Interim;
use sluice_transport::{Io, Peeked, peek};
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A recording that grew beyond this does not keep its memory for the next request.
const KEEP: usize = 16 * 1024;

/// The stream that a connection speaks on, with a [`Wire`] that its owner keeps.
pub(super) struct Tap {
    io: Io<TcpStream>,
    wire: Rc<Wire>,
}

/// What the owner of a connection knows of its bytes, and asks of it.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Bytes of this exchange that came.
    received: Cell<u64>,
    /// Bytes of this exchange that the kernel took.
    sent: Cell<u64>,
    interim: Cell<Interim>,
    interims: Cell<u32>,
    probe: Cell<bool>,
    writing: Cell<Writing>,
    record: Cell<bool>,
    recorded: RefCell<Vec<u8>>,
}

/// How the last write went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Writing {
    /// The kernel took all that there was.
    #[default]
    Free,
    /// The target does not read as fast as there is something to write.
    Blocked,
    /// The target takes nothing more; the read side will tell why.
    Broken,
}

// === impl Tap ===

impl Tap {
    pub(super) fn new(io: Io<TcpStream>) -> (Self, Rc<Wire>) {
        let wire = Rc::new(Wire::default());
        (
            Self {
                io,
                wire: Rc::clone(&wire),
            },
            wire,
        )
    }

    pub(super) fn into_io(self) -> Io<TcpStream> {
        self.io
    }

    /// A write may fail while the answer lies in the receive queue: a target that refuses a large
    /// body answers and closes, and the rest of the body meets a reset. So the end of writing is
    /// left for the read side to tell, which first gives what came before.
    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(n)) => {
                self.wire.sent.set(self.wire.sent.get() + n as u64);
                self.wire.writing.set(Writing::Free);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) if is_gone(error.kind()) => {
                self.wire.writing.set(Writing::Broken);
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.wire.writing.set(Writing::Blocked);
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let wire = &*this.wire;
        if wire.probe.replace(false) {
            match peek(this.io.get_ref()) {
                Peeked::Quiet => {}
                Peeked::Bytes => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "bytes without a request",
                    )));
                }
                Peeked::Closed => return Poll::Ready(Ok(())),
            }
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let came = &buf.filled()[before..];
        wire.received.set(wire.received.get() + came.len() as u64);
        if wire.interim.get() != Interim::Off {
            let mut interim = wire.interim.get();
            wire.interims.set(wire.interims.get() + interim.feed(came));
            wire.interim.set(interim);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.wire.writing.get() == Writing::Broken {
            return Poll::Pending;
        }
        this.wire.record(buf);
        let result = Pin::new(&mut this.io).poll_write(cx, buf);
        this.wrote(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.wire.writing.get() == Writing::Broken {
            return Poll::Pending;
        }
        // hyper puts the head into a slice of its own, before those of the body.
        if let Some(first) = bufs.first() {
            this.wire.record(first);
        }
        // For one buffer the system has a shorter way.
        let result = match bufs {
            [one] => Pin::new(&mut this.io).poll_write(cx, one),
            _ => Pin::new(&mut this.io).poll_write_vectored(cx, bufs),
        };
        this.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wire.writing.get() == Writing::Broken {
            return Poll::Pending;
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

// === impl Wire ===

impl Wire {
    /// For a request that is about to be sent. With `record`, its head is kept as it is written,
    /// which costs a copy into memory that the connection owns, and no allocation.
    pub(super) fn begin(&self, record: bool) {
        self.received.set(0);
        self.sent.set(0);
        self.interims.set(0);
        self.interim.set(Interim::begin());
        self.record.set(record);
        let mut recorded = self.recorded.borrow_mut();
        recorded.clear();
        recorded.shrink_to(KEEP);
    }

    /// The next read asks the kernel first, and finds the connection dead if anything lies there.
    pub(super) fn probe(&self) {
        self.probe.set(true);
    }

    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) fn writing(&self) -> Writing {
        self.writing.get()
    }

    pub(super) fn interims(&self) -> u32 {
        self.interims.get()
    }

    /// The head as it was written, if it was to be recorded and came to be written.
    pub(super) fn recorded(&self) -> std::cell::Ref<'_, [u8]> {
        std::cell::Ref::map(self.recorded.borrow(), Vec::as_slice)
    }

    fn record(&self, bytes: &[u8]) {
        if self.record.replace(false) {
            self.recorded.borrow_mut().extend_from_slice(bytes);
        }
    }
}

fn is_gone(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
    )
}
