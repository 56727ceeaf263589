//! Bodies, of requests and answers alike.

use crate::answer::Answer;
use crate::connection::Incoming;
use crate::error::BodyError;
use crate::switched::Switched;
use crate::upload::Upload;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A body: what a client sends, what a target answers, what the gateway makes itself.
///
/// Not `Send`: it lives on one worker. Its length, where it is known, is exact, and an end that is
/// known is told by [`http_body::Body::is_end_stream`], so that a message is framed by its length
/// wherever it can be.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// All of it is here.
    Full(Bytes),
    /// Read from a connection that somebody else drives, or that has nothing more to say.
    Incoming(Incoming),
    /// Read from a connection to a target, which goes back to its pool at the end.
    Answer(Box<Answer>),
    /// A request's body under way to a target.
    Upload(Upload),
    /// None: the answer was a 101 that was asked for, and here is its connection.
    Switched(Box<Switched>),
    /// Anything else.
    Boxed(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>),
}

// === impl Body ===

impl Body {
    /// A body of some other type, behind a pointer.
    pub fn boxed(body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self::Boxed(Box::pin(body))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty | Self::Switched(_) => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Incoming(body) => Pin::new(body).poll_frame(cx),
            Self::Answer(answer) => {
                let frame = ready!(answer.poll_frame(cx));
                if frame.is_none() {
                    *this = Self::Empty;
                }
                Poll::Ready(frame)
            }
            Self::Upload(upload) => upload.poll_frame(cx),
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Switched(_) => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Answer(answer) => answer.is_end_stream(),
            Self::Upload(upload) => upload.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Switched(_) => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(body) => body.size_hint(),
            Self::Answer(answer) => answer.size_hint(),
            Self::Upload(upload) => upload.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(bytes)
        }
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        if http_body::Body::is_end_stream(&body) {
            Self::Empty
        } else {
            Self::Incoming(body)
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Incoming(_) => "Incoming",
            Self::Answer(_) => "Answer",
            Self::Upload(_) => "Upload",
            Self::Switched(_) => "Switched",
            Self::Boxed(_) => "Boxed",
        })
    }
}
