//! What passes between h2 and the socket, seen from the side.

use super::preface::Preface;
use sluice_transport::Io;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The stream that a connection speaks on, with a [`Wire`] that its owner keeps.
pub(super) struct Tap {
    io: Io<TcpStream>,
    wire: Rc<Wire>,
}

/// What the owner of a connection knows of it while h2 has it.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Bytes that came.
    received: Cell<u64>,
    /// Bytes that the kernel took.
    sent: Cell<u64>,
    /// The target takes nothing more; the read side will tell why.
    broken: Cell<bool>,
    preface: Cell<Preface>,
    over: RefCell<Option<Arc<str>>>,
    /// Who waits for the preface or the end.
    waker: RefCell<Option<Waker>>,
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

    /// A write may fail while the last words of the target lie in the receive queue: which streams
    /// it has not looked at. So the end of writing is left for the read side to tell, and what is
    /// written meanwhile is dropped.
    fn wrote(&self, result: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(n)) => {
                self.wire.sent.set(self.wire.sent.get() + n as u64);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) if is_gone(error.kind()) => {
                self.wire.broken.set(true);
                Poll::Ready(Ok(offered))
            }
            other => other,
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        this.wire.came(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.wire.broken.get() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut this.io).poll_write(cx, buf);
        this.wrote(result, buf.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let offered = bufs.iter().map(|buf| buf.len()).sum();
        if this.wire.broken.get() {
            return Poll::Ready(Ok(offered));
        }
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.wrote(result, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wire.broken.get() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

// === impl Wire ===

impl Wire {
    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Whether the connection ended.
    pub(super) fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// The connection ended.
    pub(super) fn end(&self, why: Arc<str>) {
        self.over.borrow_mut().get_or_insert(why);
        self.wake();
    }

    /// Ready when the target's settings were read, or with why they will not be.
    pub(super) fn poll_settings(&self, cx: &mut Context<'_>) -> Poll<Result<(), Arc<str>>> {
        if self.preface.get() == Preface::Settings {
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = &*self.over.borrow() {
            return Poll::Ready(Err(Arc::clone(why)));
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn came(&self, bytes: &[u8]) {
        self.received.set(self.received.get() + bytes.len() as u64);
        let mut preface = self.preface.get();
        if preface == Preface::Settings {
            return;
        }
        let complete = preface.feed(bytes);
        self.preface.set(preface);
        if complete {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
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
