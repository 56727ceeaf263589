//! What can go wrong with a request to a target, and with a body.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, Clone)]
pub struct SendError {
    /// What it was; decides the status.
    pub kind: SendErrorKind,
    /// Whether the target may have seen any of the request.
    pub sent: bool,
    /// The URL of the target; none if no target was chosen.
    pub target: Option<Arc<str>>,
    /// What the system or the protocol said, for the log.
    pub cause: Option<Arc<str>>,
}

/// The kinds of [`SendError`].
#[derive(Debug, Clone)]
pub enum SendErrorKind {
    /// All weights are zero, or no target is left that may be used.
    NoTarget,
    /// The breaker is open, for so long about. Nothing was sent, and the request is as it was.
    BreakerOpen(Duration),
    /// The request cannot be written for this target: nothing that the target did.
    Unfit,
    /// No connection came about.
    Connect,
    /// The connection ended before the head of the answer.
    Reset,
    /// What came was no answer that may be passed on.
    Protocol,
    /// One of the time-outs ran off.
    Timeout(Which),
    /// The request's body failed while it was passed on: nothing the target did.
    ClientBody(BodyError),
}

/// Which time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// To a connection.
    Connect,
    /// One attempt to its head.
    Attempt,
    /// All attempts to the head.
    FirstByte,
    /// Between bytes.
    Idle,
    /// To the last byte.
    Total,
}

/// Why a body ended before its end. Clones are cheap.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// The client closed or reset its connection.
    #[error("the client went away before its body was complete")]
    ClientGone,
    /// The client's framing is wrong.
    #[error("the client's body is malformed: {0}")]
    ClientMalformed(Arc<str>),
    /// The client sent nothing for too long, or too little.
    #[error("the client's body did not go on within {0:?}")]
    ClientTimeout(Duration),
    /// The body is longer than allowed.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// The target closed or reset the connection within its answer.
    #[error("the target ended the connection before its answer was complete: {0}")]
    UpstreamReset(Arc<str>),
    /// The target's framing is wrong.
    #[error("the target's answer is malformed: {0}")]
    UpstreamMalformed(Arc<str>),
    /// The target's answer did not go on in time.
    #[error("the target's answer was cut off by the {0} time-out")]
    UpstreamTimeout(Which),
    /// Whatever a body made elsewhere met.
    #[error("{0}")]
    Other(Arc<str>),
}

// === impl SendError ===

impl SendError {
    /// Before any target was asked.
    pub(crate) fn of(kind: SendErrorKind) -> Self {
        Self {
            kind,
            sent: false,
            target: None,
            cause: None,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.as_deref().unwrap_or("no target");
        match &self.kind {
            SendErrorKind::NoTarget => write!(f, "no target may be used")?,
            SendErrorKind::BreakerOpen(left) => write!(f, "the breaker is open for {left:?}")?,
            SendErrorKind::Unfit => write!(f, "the request cannot be written for {target}")?,
            SendErrorKind::Connect => write!(f, "no connection to {target}")?,
            SendErrorKind::Reset => write!(f, "{target} ended the connection before it answered")?,
            SendErrorKind::Protocol => write!(f, "{target} sent what is no answer")?,
            SendErrorKind::Timeout(which) => write!(f, "{target} did not answer within the {which} time-out")?,
            SendErrorKind::ClientBody(error) => write!(f, "the request to {target} was cut off: {error}")?,
        }
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SendError {}

// === impl Which ===

impl Which {
    /// Its name in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Attempt => "try",
            Self::FirstByte => "first_byte",
            Self::Idle => "idle",
            Self::Total => "total",
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
