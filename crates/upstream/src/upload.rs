//! A request's body on its way to a target: watched, stopped when the target has answered early,
//! and read a second time from the start where that may be needed.

use crate::body::Body;
use crate::error::BodyError;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// How much of a body is kept for sending it again.
pub(crate) const REPLAY: usize = 64 * 1024;

/// One reading of a request's body. Opaque; made by `send`.
#[derive(Debug)]
pub struct Upload {
    shared: Rc<Shared>,
    /// How much of what was kept this reading has given out.
    at: usize,
    ended: bool,
}

/// What the exchange knows of the body that it sends.
#[derive(Debug)]
pub(crate) struct Shared {
    source: RefCell<Body>,
    kept: RefCell<Kept>,
    touched: Cell<bool>,
    done: Cell<bool>,
    stopped: Cell<bool>,
    /// Who sends it was told to wait for the client, and has not asked since.
    waiting: Cell<bool>,
    /// Pieces that were given to who sends it.
    given: Cell<u64>,
    failed: RefCell<Option<BodyError>>,
}

#[derive(Debug)]
enum Kept {
    /// Nothing is kept, so only an untouched body can be read again.
    Off,
    On {
        bytes: BytesMut,
        trailers: Option<HeaderMap>,
    },
    /// The body is longer than what may be kept.
    Over,
}

// === impl Shared ===

impl Shared {
    /// With `keep`, the body can be read again while it is at most [`REPLAY`] long.
    pub(crate) fn new(source: Body, keep: bool) -> Rc<Self> {
        let kept = if keep {
            Kept::On {
                bytes: BytesMut::new(),
                trailers: None,
            }
        } else {
            Kept::Off
        };
        Rc::new(Self {
            source: RefCell::new(source),
            kept: RefCell::new(kept),
            touched: Cell::new(false),
            done: Cell::new(false),
            stopped: Cell::new(false),
            waiting: Cell::new(false),
            given: Cell::new(0),
            failed: RefCell::new(None),
        })
    }

    /// Whether it could be read from the start, by who goes on with it.
    pub(crate) fn repeats(&self) -> bool {
        let possible = match *self.kept.borrow() {
            Kept::On { .. } => true,
            Kept::Off => !self.touched.get(),
            Kept::Over => false,
        };
        possible && self.failed.borrow().is_none()
    }

    /// Goes on where it was stopped.
    pub(crate) fn resume(&self) {
        self.stopped.set(false);
    }

    /// A reading from the start. None if part of the body is gone for good.
    pub(crate) fn read(self: &Rc<Self>) -> Option<Upload> {
        (self.repeats() && !self.stopped.get()).then(|| Upload {
            shared: Rc::clone(self),
            at: 0,
            ended: false,
        })
    }

    /// Whether the client sent all of it.
    pub(crate) fn done(&self) -> bool {
        self.done.get()
    }

    /// Whether the client is waited for, and not who takes the body.
    pub(crate) fn waiting(&self) -> bool {
        self.waiting.get()
    }

    /// Pieces that were taken so far, in all readings.
    pub(crate) fn given(&self) -> u64 {
        self.given.get()
    }

    /// Nothing more is read from the client.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
    }

    /// What went wrong on the client's side.
    pub(crate) fn failed(&self) -> Option<BodyError> {
        self.failed.borrow().clone()
    }

    fn keep(&self, frame: &Frame<Bytes>) {
        let mut kept = self.kept.borrow_mut();
        let Kept::On { bytes, trailers } = &mut *kept else {
            return;
        };
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > REPLAY {
                *kept = Kept::Over;
            } else {
                bytes.extend_from_slice(data);
            }
        } else if let Some(fields) = frame.trailers_ref() {
            *trailers = Some(fields.clone());
        }
    }

    fn kept_from(&self, at: usize) -> Option<Bytes> {
        match &*self.kept.borrow() {
            Kept::On { bytes, .. } if bytes.len() > at => Some(Bytes::copy_from_slice(&bytes[at..])),
            _ => None,
        }
    }

    fn kept_len(&self) -> usize {
        match &*self.kept.borrow() {
            Kept::On { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    fn kept_trailers(&self) -> Option<HeaderMap> {
        match &*self.kept.borrow() {
            Kept::On { trailers, .. } => trailers.clone(),
            _ => None,
        }
    }
}

// === impl Upload ===

impl Upload {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_next(cx);
        let shared = &*self.shared;
        shared.waiting.set(polled.is_pending());
        shared.given.set(shared.given.get() + u64::from(polled.is_ready()));
        polled
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let shared = &*self.shared;
        if shared.stopped.get() {
            return Poll::Pending;
        }
        if let Some(again) = shared.kept_from(self.at) {
            self.at += again.len();
            return Poll::Ready(Some(Ok(Frame::data(again))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if shared.done.get() {
            self.ended = true;
            return Poll::Ready(shared.kept_trailers().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let mut source = shared.source.borrow_mut();
        let frame = ready!(Pin::new(&mut *source).poll_frame(cx));
        shared.touched.set(true);
        match &frame {
            Some(Ok(frame)) => {
                shared.keep(frame);
                self.at = shared.kept_len();
                if frame.is_trailers() || source.is_end_stream() {
                    shared.done.set(true);
                    self.ended = true;
                }
            }
            Some(Err(error)) => *shared.failed.borrow_mut() = Some(error.clone()),
            None => {
                shared.done.set(true);
                self.ended = true;
            }
        }
        Poll::Ready(frame)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let again = self.shared.kept_len() > self.at;
        let over = self.ended || (self.shared.done.get() && self.shared.kept_trailers().is_none());
        !again && (over || self.shared.source.borrow().is_end_stream() && self.shared.kept_trailers().is_none())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let again = self.shared.kept_len().saturating_sub(self.at) as u64;
        let left = self.shared.source.borrow().size_hint();
        match left.exact() {
            Some(left) => SizeHint::with_exact(left + again),
            None => left,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::task::Waker;

    struct Frames(VecDeque<Frame<Bytes>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.get_mut().0.pop_front().map(Ok))
        }
    }

    fn next(upload: &mut Upload) -> Option<Frame<Bytes>> {
        let mut cx = Context::from_waker(Waker::noop());
        match upload.poll_frame(&mut cx) {
            Poll::Ready(frame) => frame.map(Result::unwrap),
            Poll::Pending => panic!("pending"),
        }
    }

    fn all(upload: &mut Upload) -> (Vec<u8>, Option<HeaderMap>) {
        let (mut bytes, mut trailers) = (Vec::new(), None);
        while let Some(frame) = next(upload) {
            match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        (bytes, trailers)
    }

    fn source(chunks: &[Vec<u8>], trailers: bool) -> Body {
        let mut frames: VecDeque<_> = chunks.iter().map(|chunk| Frame::data(chunk.clone().into())).collect();
        if trailers {
            let fields = [("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]
                .into_iter()
                .collect();
            frames.push_back(Frame::trailers(fields));
        }
        Body::boxed(Frames(frames))
    }

    proptest! {
        #[test]
        fn a_second_reading_gives_what_the_first_gave_and_the_rest(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            trailers: bool,
            read in 0usize..10,
        ) {
            let shared = Shared::new(source(&chunks, trailers), true);
            let mut first = shared.read().unwrap();
            for _ in 0..read {
                if next(&mut first).is_none() { break }
            }
            drop(first);
            let (bytes, fields) = all(&mut shared.read().unwrap());
            prop_assert_eq!(bytes, chunks.concat());
            prop_assert_eq!(fields.is_some(), trailers);
            prop_assert!(shared.done());
        }
    }

    #[test]
    fn a_body_beyond_the_bound_cannot_be_read_again() {
        let exact = vec![vec![7; REPLAY]];
        let shared = Shared::new(source(&exact, false), true);
        all(&mut shared.read().unwrap());
        assert_eq!(all(&mut shared.read().unwrap()).0.len(), REPLAY);
        let over = vec![vec![7; REPLAY], vec![7]];
        let shared = Shared::new(source(&over, false), true);
        assert_eq!(all(&mut shared.read().unwrap()).0.len(), REPLAY + 1);
        assert!(shared.read().is_none());
    }

    #[test]
    fn what_is_not_kept_can_be_read_again_only_untouched() {
        let shared = Shared::new(source(&[vec![1]], false), false);
        drop(shared.read().unwrap());
        all(&mut shared.read().unwrap());
        assert!(shared.read().is_none());
    }

    #[test]
    fn a_stopped_body_gives_nothing_more() {
        let shared = Shared::new(source(&[vec![1], vec![2]], false), false);
        let mut upload = shared.read().unwrap();
        next(&mut upload);
        shared.stop();
        assert!(upload.poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn the_length_stays_exact_in_a_second_reading() {
        let shared = Shared::new(Body::Full(Bytes::from_static(b"abc")), true);
        let mut upload = shared.read().unwrap();
        assert_eq!(upload.size_hint().exact(), Some(3));
        next(&mut upload);
        assert!(upload.is_end_stream());
        let mut again = shared.read().unwrap();
        assert_eq!(again.size_hint().exact(), Some(3));
        assert!(!again.is_end_stream());
        assert_eq!(all(&mut again).0, b"abc");
        assert!(again.is_end_stream());
    }
}
