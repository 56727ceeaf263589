//! One IO type under every connection, of clients and of upstreams.

use crate::linger::Linger;
use crate::stall::Stall;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream that counts, gives up a stalled peer, and closes in stages.
///
/// `Send` where `S` is. Nothing is allocated beyond the [`Handle`] until a write has to wait or
/// the stream is shut down.
///
/// * Bytes are counted both ways, also those that a lingering close drops.
/// * A write, flush or shutdown that makes no progress for [`Limits::write_stall`] ends with
///   [`io::ErrorKind::TimedOut`].
/// * Shutting down sends FIN, then reads and drops until the peer closes too or
///   [`Limits::linger_bytes`] or [`Limits::linger_time`] is reached. Dropping without shutting
///   down closes at once.
pub struct Io<S> {
    stream: S,
    shared: Arc<Shared>,
    limits: Limits,
    stall: Stall,
    closing: Closing,
}

/// What holds for one [`Io`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a write may wait without the peer taking a byte. Default 30 s.
    pub write_stall: Duration,
    /// How long a close waits for the peer's own. Default 2 s.
    pub linger_time: Duration,
    /// How many bytes a close reads and drops. Default 1 MiB; 0 closes right after the FIN.
    pub linger_bytes: u64,
}

/// Reads the counts of an [`Io`] that is out of reach inside a connection, and tells it how to
/// close. Clones are cheap and share.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // Written by whoever polls the stream, one at a time: load and store instead of an atomic
    // addition, which would lock the cache line for each read and write.
    read: AtomicU64,
    written: AtomicU64,
    abrupt: AtomicBool,
}

#[derive(Debug)]
enum Closing {
    No,
    Fin,
    Lingering(Linger),
    Done,
}

// === impl Io ===

impl<S> Io<S> {
    /// Wraps `stream`.
    pub fn new(stream: S, limits: Limits) -> Self {
        Self {
            stream,
            shared: Arc::default(),
            limits,
            stall: Stall::new(limits.write_stall),
            closing: Closing::No,
        }
    }

    /// For reading the counts later.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream below, for what has to be read or set before anybody speaks on it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Takes the wrapper off; counts and limits are gone.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// The same connection with another stream on it, such as TLS over TCP. Counts go on, so they
    /// tell what the new stream carries on top of what passed before.
    pub fn map<T>(self, layer: impl FnOnce(S) -> T) -> Io<T> {
        Io {
            stream: layer(self.stream),
            shared: self.shared,
            limits: self.limits,
            stall: self.stall,
            closing: self.closing,
        }
    }

    fn wait_or_give_up<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.stall.poll_stalled(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            Stalled(self.limits.write_stall),
        )))
    }

    fn wrote(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(n)) => {
                self.stall.progress();
                add(&self.shared.written, n);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait_or_give_up(cx),
        }
    }
}

impl Io<TcpStream> {
    /// Wraps a TCP connection, with Nagle's delay off: heads and bodies leave when they are
    /// written. A connection that has died already is wrapped too; its first read tells.
    pub fn tcp(stream: TcpStream, limits: Limits) -> Self {
        let _ = stream.set_nodelay(true);
        Self::new(stream, limits)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        add(&this.shared.read, buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Pending => this.wait_or_give_up(cx),
            flushed => flushed,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.closing {
                Closing::No => {
                    this.stall.progress();
                    this.closing = Closing::Fin;
                }
                Closing::Fin => {
                    match Pin::new(&mut this.stream).poll_shutdown(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => {
                            this.closing = Closing::Done;
                            return Poll::Ready(Err(error));
                        }
                        Poll::Pending => return this.wait_or_give_up(cx),
                    }
                    let abrupt = this.shared.abrupt.load(Ordering::Relaxed);
                    this.closing = if abrupt || this.limits.linger_bytes == 0 || this.limits.linger_time.is_zero() {
                        Closing::Done
                    } else {
                        Closing::Lingering(Linger::new(this.limits.linger_bytes, this.limits.linger_time))
                    };
                }
                Closing::Lingering(linger) => {
                    let shared = &this.shared;
                    ready!(linger.poll_drain(cx, &mut this.stream, |n| add(&shared.read, n)));
                    this.closing = Closing::Done;
                }
                Closing::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Io<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("stream", &self.stream)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

// === impl Handle ===

impl Handle {
    /// Bytes read from the peer so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Bytes that the peer's side of the socket has taken so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Whether a close waits for the peer (`false`, as made) or ends right after the FIN (`true`).
    /// For a connection on which nothing of the peer can be under way, waiting only holds the
    /// socket. Heeded if told before the shutdown begins.
    pub fn close_at_once(&self, at_once: bool) {
        self.0.abrupt.store(at_once, Ordering::Relaxed);
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            write_stall: Duration::from_secs(30),
            linger_time: Duration::from_secs(2),
            linger_bytes: 1024 * 1024,
        }
    }
}

/// Inside the [`io::Error`] of a stalled write.
#[derive(Debug, thiserror::Error)]
#[error("the peer took no byte for {0:?}")]
struct Stalled(Duration);

fn add(count: &AtomicU64, n: usize) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(n as u64), Ordering::Relaxed);
}
