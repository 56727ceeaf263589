//! Closing in stages (RFC 9112 §9.6): our FIN first, then what still comes is read and dropped for
//! a while, so that no reset overtakes the last answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

const CHUNK: usize = 16 * 1024;

/// What is read and dropped after our FIN.
#[derive(Debug)]
pub(crate) struct Linger {
    left: u64,
    timer: Pin<Box<Sleep>>,
    buffer: Box<[u8]>,
}

// === impl Linger ===

impl Linger {
    /// Reads at most `bytes` within `time`.
    pub(crate) fn new(bytes: u64, time: Duration) -> Self {
        Self {
            left: bytes,
            timer: Box::pin(sleep(time)),
            buffer: vec![0; CHUNK].into_boxed_slice(),
        }
    }

    /// Ready when the peer is done too, or a bound is reached, or the connection broke: in each
    /// case the socket may be closed now. Says how many bytes were dropped since the last call.
    pub(crate) fn poll_drain<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        mut dropped: impl FnMut(usize),
    ) -> Poll<()> {
        while self.left > 0 {
            let want = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
            let mut buf = ReadBuf::new(&mut self.buffer[..want]);
            let read: Poll<io::Result<()>> = Pin::new(&mut *stream).poll_read(cx, &mut buf);
            match read {
                Poll::Ready(Ok(())) => {
                    let n = buf.filled().len();
                    if n == 0 {
                        return Poll::Ready(());
                    }
                    dropped(n);
                    self.left -= n as u64;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return self.timer.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}
