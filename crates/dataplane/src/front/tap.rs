//! The stream that hyper's server speaks on.
//!
//! hyper answers what it cannot parse by itself, with an empty body, and calls nobody. Here such
//! an answer is recognised (it comes when no answer of ours is due) and the problem document goes
//! out in its place.
//!
//! hyper does not look at the socket while a request waits for its answer, or for more of it, and
//! half-closing is allowed. Here somebody does.

use super::Client;
use super::http2::PREFACE;
use super::wire::{Left, Wire};
use crate::worker::Worker;
use sluice_http_semantics::problem::Code;
use sluice_transport::{Io, Peeked, peek};
use smallvec::SmallVec;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What tells a client that we are still there (RFC 9110 §15.2: a client takes interim answers that
/// it did not ask for).
const STILL_HERE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// hyper's own answers are a status line and three fields.
const LONGEST_OWN: usize = 256;

/// Up to here two buffers are written as one.
const SMALL: usize = 8 * 1024;

pub(super) struct Tap {
    io: Io<TcpStream>,
    wire: Rc<Wire>,
    client: Rc<Client>,
    worker: Rc<Worker>,
    instead: Option<Instead>,
    /// The first bytes, held back while they may be HTTP/2's preface: hyper would refuse a part of it.
    preface: Option<SmallVec<[u8; PREFACE.len()]>>,
}

/// Bytes that go out in place of those that hyper gave.
struct Instead {
    bytes: Vec<u8>,
    written: usize,
}

/// How much of a request line was read, and whether its end was among it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    length: usize,
    ended: bool,
}

// === impl Line ===

impl Line {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.ended {
            return;
        }
        match bytes.iter().position(|byte| *byte == b'\n') {
            // A server skips empty lines before a request line (RFC 9112 §2.2).
            Some(end) if self.length + end <= 1 => {
                self.length = 0;
                self.feed(&bytes[end + 1..]);
            }
            Some(end) => {
                self.length += end;
                self.ended = true;
            }
            None => self.length += bytes.len(),
        }
    }
}

// === impl Tap ===

impl Tap {
    pub(super) fn new(io: Io<TcpStream>, client: Rc<Client>, worker: Rc<Worker>) -> Self {
        Self {
            preface: worker.edge().h2c.then(SmallVec::new),
            io,
            wire: Rc::clone(&client.wire),
            client,
            worker,
            instead: None,
        }
    }

    pub(super) fn into_io(self) -> Io<TcpStream> {
        self.io
    }

    /// What hyper is about to write, if it is an answer of its own: the code that it stands for.
    fn own_answer(&self, bytes: &[u8]) -> Option<Code> {
        if self.wire.owed.get() || bytes.len() > LONGEST_OWN || !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let status = bytes
            .strip_prefix(b"HTTP/1.1 ")
            .or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
        let line = self.wire.line.get();
        match status.get(..3)? {
            b"400" => Some(Code::BadRequest),
            b"414" => Some(Code::UriTooLong),
            b"431" if !line.ended || line.length > self.worker.edge().max_uri => Some(Code::UriTooLong),
            b"431" => Some(Code::HeadersTooLarge),
            _ => None,
        }
    }

    /// The first bytes of a connection that may speak HTTP/2. Ready once they are told from a part of
    /// its preface.
    fn poll_first(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while let Some(held) = &mut self.preface {
            let start = buf.filled().len();
            let mut rest = [0; PREFACE.len()];
            let mut rest = ReadBuf::new(&mut rest[held.len()..]);
            // Nearly always all of it comes at once: then it is read to where it belongs.
            let came = if held.is_empty() {
                ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
                &buf.filled()[start..]
            } else {
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut rest))?;
                rest.filled()
            };
            self.wire.came(came);
            let ended = came.is_empty();
            let direct = held.is_empty();
            if direct && (ended || came.len() >= PREFACE.len() || !PREFACE.starts_with(came)) {
                self.preface = None;
                return Poll::Ready(Ok(()));
            }
            held.extend_from_slice(came);
            if direct {
                buf.set_filled(start);
            } else if ended || held.len() == PREFACE.len() || !PREFACE.starts_with(held) {
                buf.put_slice(held);
                self.preface = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn write_instead(&mut self, cx: &mut Context<'_>, whole: usize) -> Poll<io::Result<usize>> {
        while let Some(instead) = &mut self.instead {
            let rest = &instead.bytes[instead.written..];
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            instead.written += n;
            if instead.written == instead.bytes.len() {
                self.instead = None;
            }
        }
        Poll::Ready(Ok(whole))
    }

    /// Notes what is about to be written; with `true` something else is to be written instead.
    fn look(&mut self, first: &[u8]) -> bool {
        if self.instead.is_some() {
            return true;
        }
        if let Some(code) = self.own_answer(first) {
            let bytes = self.worker.refuse_unread(&self.client, code);
            self.instead = Some(Instead { bytes, written: 0 });
            return true;
        }
        if !self.wire.answering.get() && first != STILL_HERE {
            self.wire.answering.set(true);
        }
        false
    }

    /// While the client waits for an answer or for more of one: whether it still does.
    fn look_for_client(&mut self, cx: &mut Context<'_>) {
        match self.wire.left.get() {
            Left::No => {
                let stream = self.io.get_ref();
                // Ready only where something came since hyper last read; else no system call.
                if stream.poll_read_ready(cx).is_pending() {
                    return;
                }
                // Before a read, which would take the error away.
                let how = self.how_closed();
                if how == Left::Gone {
                    self.wire.left.set(how);
                    return;
                }
                match peek(stream) {
                    Peeked::Closed => self.wire.left.set(how),
                    Peeked::Bytes => {}
                    Peeked::Quiet => {
                        // The reactor's readiness was old: clear it, so that it tells what comes.
                        let _ = stream.try_io(tokio::io::Interest::READABLE, || match peek(stream) {
                            Peeked::Quiet => Err::<(), _>(io::ErrorKind::WouldBlock.into()),
                            _ => Ok(()),
                        });
                        let _ = stream.poll_read_ready(cx);
                    }
                }
            }
            Left::Fin => self.wire.left.set(self.how_closed()),
            Left::Gone => {}
        }
        if self.wire.probe.replace(false) && self.wire.may_probe() {
            match self.io.get_ref().try_write(STILL_HERE) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.wire.left.set(Left::Gone),
                // It takes nothing now: then it is alive, and slow.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn how_closed(&self) -> Left {
        match self.io.get_ref().take_error() {
            Ok(None) => Left::Fin,
            Ok(Some(_)) | Err(_) => Left::Gone,
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.preface.is_some() {
            return this.poll_first(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let came = &buf.filled()[before..];
        this.wire.came(came);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.look(buf) {
            return this.write_instead(cx, buf.len());
        }
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(first) = bufs.first()
            && this.look(first)
        {
            let whole = bufs.iter().map(|buf| buf.len()).sum();
            return this.write_instead(cx, whole);
        }
        match bufs {
            [one] => Pin::new(&mut this.io).poll_write(cx, one),
            // A head and a small body: copying them together costs less than what the system
            // spends on a list of buffers.
            [head, body] if head.len() + body.len() <= SMALL => {
                let mut together = this.worker.scratch.borrow_mut();
                together.clear();
                together.extend_from_slice(head);
                together.extend_from_slice(body);
                Pin::new(&mut this.io).poll_write(cx, &together)
            }
            _ => Pin::new(&mut this.io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        // hyper flushes once all that it had is written, and at each of its rounds.
        if this.wire.is_unread() {
            this.look_for_client(cx);
        } else if this.wire.stage() != super::wire::Stage::Request {
            this.wire.owed.set(false);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pieces: &[&[u8]]) -> (usize, bool) {
        let mut line = Line::default();
        for piece in pieces {
            line.feed(piece);
        }
        (line.length, line.ended)
    }

    #[test]
    fn a_request_line_is_measured_wherever_the_segments_end() {
        assert_eq!(line(&[b"GET / HTTP/1.1\r\nHost"]), (15, true));
        assert_eq!(line(&[b"GET /", b" HTTP/1.1", b"\r\nHost: a\r\n"]), (15, true));
        assert_eq!(line(&[b"GET /aaaa"]), (9, false));
    }

    #[test]
    fn empty_lines_before_a_request_are_skipped() {
        assert_eq!(line(&[b"\r\n\nGET / HTTP/1.1\r\n"]), (15, true));
        assert_eq!(line(&[b"\r", b"\nGET /"]), (5, false));
    }
}
