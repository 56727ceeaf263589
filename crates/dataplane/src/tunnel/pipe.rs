//! One direction of a tunnel.

use super::frames::{Frames, To, going_away};
use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes from one side to the other, in order. Holds memory only for what was read and not taken:
/// what flows goes through a buffer that all tunnels of a worker share, so that an idle direction
/// costs nothing.
#[derive(Debug)]
pub(super) struct Pipe {
    held: Bytes,
    /// Nothing more is read.
    ended: bool,
    /// The side that is written was told so.
    closed: bool,
    /// Nothing more is written either.
    given_up: bool,
    /// Followed for WebSocket alone.
    frames: Option<Frames>,
    /// Bytes that were read since somebody asked.
    moved: u64,
}

/// Which side of a pipe failed.
#[derive(Debug)]
pub(super) enum Broken {
    From,
    To(io::Error),
}

// === impl Pipe ===

impl Pipe {
    /// `early` was read before, and goes first.
    pub(super) fn new(early: Bytes, websocket: bool) -> Self {
        let mut frames = websocket.then(Frames::default);
        if let Some(frames) = &mut frames {
            frames.feed(&early);
        }
        Self {
            moved: early.len() as u64,
            held: early,
            ended: false,
            closed: false,
            given_up: false,
            frames,
        }
    }

    /// Moves what can be moved. `buffer` is for the time of this call alone. Ready when the side that is
    /// read has ended, and the other has taken all that came before. What is held is written before more
    /// is read: a slow side slows the other down.
    ///
    /// # Errors
    ///
    /// [`Broken`], with the side.
    pub(super) fn poll<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        buffer: &mut [u8],
    ) -> Poll<Result<(), Broken>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_held(cx, to)).map_err(Broken::To)?;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut read)).map_err(|_| Broken::From)?;
            let bytes = read.filled();
            if bytes.is_empty() {
                self.ended = true;
                continue;
            }
            self.moved += bytes.len() as u64;
            if let Some(frames) = &mut self.frames {
                frames.feed(bytes);
            }
            match Pin::new(&mut *to).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Broken::To(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(n)) if n == bytes.len() => {}
                Poll::Ready(Ok(n)) => self.held = Bytes::copy_from_slice(&bytes[n..]),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::To(error))),
                Poll::Pending => self.held = Bytes::copy_from_slice(bytes),
            }
        }
    }

    fn poll_held<T: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let n = ready!(Pin::new(&mut *to).poll_write(cx, &self.held))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(n);
            if self.held.is_empty() {
                // Its memory too.
                self.held = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads no more. With `word`, the other side gets a frame that says that we go away, if it is
    /// known to wait for a frame.
    pub(super) fn end(&mut self, to: To, word: bool) {
        if let Some(last) = self.last_word(to).filter(|_| word) {
            self.held = last.into();
        }
        self.ended = true;
    }

    /// Drops what is held, and reads no more.
    pub(super) fn give_up(&mut self) {
        self.held = Bytes::new();
        (self.ended, self.given_up) = (true, true);
    }

    /// Whether it was given up.
    pub(super) fn given_up(&self) -> bool {
        self.given_up
    }

    /// Whether the side that is written has yet to be told of the end. Once.
    pub(super) fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    /// The frame that may be put here.
    pub(super) fn last_word(&self, to: To) -> Option<Vec<u8>> {
        let fits = !self.ended && self.held.is_empty() && self.frames.as_ref().is_some_and(Frames::may_close);
        fits.then(|| going_away(to))
    }

    /// Whether the side that is read has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes that were read since the last call.
    pub(super) fn take_moved(&mut self) -> u64 {
        std::mem::take(&mut self.moved)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Gives and takes as it is told, piece by piece.
    #[derive(Default)]
    struct Side {
        gives: VecDeque<Option<Vec<u8>>>,
        takes: VecDeque<usize>,
        took: Vec<u8>,
        fails: bool,
    }

    impl AsyncRead for Side {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match self.gives.pop_front() {
                Some(Some(mut bytes)) => {
                    let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                    if !rest.is_empty() {
                        self.gives.push_front(Some(rest));
                    }
                    buf.put_slice(&bytes);
                    Poll::Ready(Ok(()))
                }
                Some(None) => Poll::Pending,
                None if self.fails => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => Poll::Ready(Ok(())),
            }
        }
    }

    impl AsyncWrite for Side {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let n = match self.takes.pop_front() {
                Some(0) => return Poll::Pending,
                Some(n) => n.min(buf.len()),
                None if self.fails => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                None => buf.len(),
            };
            self.took.extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn until_ready(pipe: &mut Pipe, from: &mut Side, to: &mut Side, buffer: usize) -> Result<(), Broken> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut buffer = vec![0; buffer];
        for _ in 0..10_000 {
            if let Poll::Ready(result) = pipe.poll(&mut cx, from, to, &mut buffer) {
                return result;
            }
            assert!(pipe.held.len() <= buffer.len().max(8));
        }
        panic!("it never ends");
    }

    #[test]
    fn a_side_that_fails_is_named() {
        let failing = || Side {
            fails: true,
            ..Side::default()
        };
        let giving = |bytes: &[u8]| Side {
            gives: [Some(bytes.to_vec())].into(),
            ..Side::default()
        };
        let mut pipe = Pipe::new(Bytes::new(), false);
        let broken = until_ready(&mut pipe, &mut failing(), &mut Side::default(), 8);
        assert!(matches!(broken, Err(Broken::From)));
        let broken = until_ready(&mut pipe, &mut giving(b"a"), &mut failing(), 8);
        assert!(matches!(broken, Err(Broken::To(_))));
    }

    #[test]
    fn a_last_word_is_said_between_two_frames_alone() {
        let text = [0x81, 2, b'h', b'i'];
        let mut at = Pipe::new(Bytes::copy_from_slice(&text), true);
        assert_eq!(at.last_word(To::Client), None, "something is held");
        let mut to = Side::default();
        let mut from = Side {
            gives: [None].into(),
            ..Side::default()
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(at.poll(&mut cx, &mut from, &mut to, &mut [0; 8]).is_pending());
        at.end(To::Client, true);
        until_ready(&mut at, &mut from, &mut to, 8).unwrap();
        assert_eq!(to.took, [&text[..], &[0x88, 2, 3, 0xe9]].concat());
        let mut within = Pipe::new(Bytes::new(), true);
        from.gives = [Some(text[..3].to_vec()), None].into();
        to = Side::default();
        assert!(within.poll(&mut cx, &mut from, &mut to, &mut [0; 8]).is_pending());
        within.end(To::Client, true);
        until_ready(&mut within, &mut from, &mut to, 8).unwrap();
        assert_eq!(to.took, text[..3]);
        assert_eq!(Pipe::new(Bytes::new(), false).last_word(To::Client), None);
    }

    proptest! {
        #[test]
        fn all_bytes_pass_in_order_however_they_come_and_go(
            early in prop::collection::vec(any::<u8>(), 0..8),
            gives in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 1..40)), 0..12),
            takes in prop::collection::vec(0usize..20, 0..40),
            buffer in 1usize..32,
        ) {
            let sent = [early.clone(), gives.iter().flatten().flatten().copied().collect()].concat();
            let mut from = Side { gives: gives.into(), ..Side::default() };
            let mut to = Side { takes: takes.into(), ..Side::default() };
            let mut pipe = Pipe::new(early.into(), false);
            until_ready(&mut pipe, &mut from, &mut to, buffer).unwrap();
            prop_assert_eq!(&to.took, &sent);
            prop_assert_eq!(pipe.take_moved(), sent.len() as u64);
            prop_assert!(pipe.has_ended() && pipe.held.is_empty());
        }
    }
}
