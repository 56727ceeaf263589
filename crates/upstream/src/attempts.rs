//! What happened between a request and its answer, for the exchange record.

use crate::retry::Retried;
use sluice_shared_state::breaker::Cause;
use std::sync::Arc;
use tokio::time::Instant;

/// Filled by [`Upstreams::send`](crate::Upstreams::send), whatever its result; one for a request.
#[derive(Debug, Default)]
pub struct Attempts {
    /// Told by the caller: the request's path was stripped to nothing, so the target's base path
    /// stands alone, without the slash that `http::Uri` cannot be without.
    pub bare_path: bool,
    /// Told by the caller: the request asks to switch protocols, so 101 is an answer to it. Which
    /// protocol it names is for the caller to judge.
    pub switch: bool,
    /// Told by the caller: it is a call of gRPC, which tells in fields of its own that it failed.
    pub grpc: bool,
    /// Told by the caller: `total` is the client's own deadline, whose end says nothing of the service.
    pub deadline: bool,
    /// The URL of the target that was tried last.
    pub target: Option<Arc<str>>,
    /// How often a request was put on a connection, or a connection for it failed.
    pub tries: u32,
    /// Whether the last try went over a kept connection.
    pub reused: bool,
    /// Why it was sent once more, over another connection, the last time that it was.
    pub replaced: Option<Replaced>,
    /// Why it was tried once more by `retry`, the last time that it was.
    pub retried: Option<Retried>,
    /// Why the breaker had opened that refused it, the last time that one did.
    pub opened_by: Option<Arc<Cause>>,
    /// Answers of 1xx that were dropped before the head.
    pub interim: u32,
    /// When [`send`](crate::Upstreams::send) began.
    pub started: Option<Instant>,
    /// When a fresh connection stood; none where a kept one was used.
    pub connected: Option<Instant>,
    /// When the head of the answer was there.
    pub head: Option<Instant>,
}

/// Why a request was sent once more, over another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Replaced {
    /// It was found dead before any byte of the request left.
    Unsent,
    /// The target closed it without a byte of answer, and the request may be repeated.
    Closed,
    /// The target reset it without a byte of answer, and the request may be repeated.
    Reset,
    /// The target said that it goes away and will not look at the request (HTTP/2's GOAWAY).
    GoneAway,
    /// The target said that it has not looked at the request (HTTP/2's REFUSED_STREAM).
    Refused,
}

// === impl Replaced ===

impl Replaced {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Unsent, Self::Closed, Self::Reset, Self::GoneAway, Self::Refused];

    /// The label `why` of `sluice_upstream_replaced_total`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::GoneAway => "gone_away",
            Self::Refused => "refused",
        }
    }
}
