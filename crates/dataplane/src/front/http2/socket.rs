//! The byte stream that the HTTP/2 library speaks on.

use super::session::Session;
use bytes::{Buf as _, Bytes};
use sluice_transport::Io;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A client's connection with the bytes that were read of it before. Each byte is seen by the
/// [`Session`], once it is behind the preface.
pub(super) struct Socket {
    io: Io<TcpStream>,
    before: Bytes,
    /// What is still to come of the preface, which is no frame.
    preface: usize,
    session: Rc<Session>,
}

// === impl Socket ===

impl Socket {
    pub(super) fn new(io: Io<TcpStream>, before: Bytes, session: Rc<Session>) -> Self {
        Self {
            io,
            before,
            preface: super::PREFACE.len(),
            session,
        }
    }

    /// How many of the bytes are for the library.
    fn came(&mut self, bytes: &[u8]) -> usize {
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        skipped + self.session.came(&bytes[skipped..])
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.session.is_deaf(cx) {
            return Poll::Pending;
        }
        let start = buf.filled().len();
        if this.before.has_remaining() {
            let n = this.before.len().min(buf.remaining());
            buf.put_slice(&this.before.split_to(n));
        } else {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        }
        let good = this.came(&buf.filled()[start..]);
        let ended = buf.filled().len() == start;
        buf.set_filled(start + good);
        if good == 0 && !ended && this.session.is_deaf(cx) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
