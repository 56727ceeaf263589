//! What a worker counts, and how a scrape reads it.
//!
//! Each worker writes cells of its own, without a lock and without an atomic addition; a scrape
//! sums them. Labels are bounded: routes come from the configuration, methods and statuses beyond
//! the known ones share a cell.

mod collect;
mod routes;
mod tunnels;

pub(crate) use collect::Collect;
pub(crate) use routes::{Method, RouteCells, Routes};
pub(crate) use tunnels::{Direction, TunnelEnd};

use sluice_http_semantics::problem::Code;
use sluice_telemetry::cells::{Count, Level};
use std::sync::{Arc, Mutex};

/// How many refusal codes there can be.
const CODES: usize = 64;

/// Stands for statuses without a histogram of their own.
const OTHER_STATUS: u16 = sluice_upstream::Reading::OTHER;

/// One worker's cells. Survive the worker's death and restart.
#[derive(Debug)]
pub(crate) struct Cells {
    rejected: [Count; CODES],
    /// By the place of the listener in the settings.
    pub(crate) listeners: Box<[OfListener]>,
    pub(crate) refused: [Count; Closed::ALL.len()],
    pub(crate) http2: [Count; Http2::ALL.len()],
    pub(crate) handed: Count,
    /// Panics within requests.
    pub(crate) panics: Count,
    /// Deaths of the worker.
    pub(crate) deaths: Count,
    routes: Mutex<Vec<Arc<RouteCells>>>,
}

/// One worker's connections of one listener.
#[derive(Debug, Default)]
pub(crate) struct OfListener {
    pub(crate) open: Level,
    pub(crate) active: Level,
    /// Those that speak HTTP/2.
    pub(crate) http2: Level,
    /// Exchanges on those.
    pub(crate) streams: Level,
    /// Whose protocol was switched.
    pub(crate) tunnels: Level,
}

/// Why a connection was closed before a request was read: the label `why`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Closed {
    Limit,
    Address,
    /// Memory or descriptors are at their limit.
    Overload,
    /// There was no descriptor for it.
    Descriptors,
    /// It did not begin with the header that its peer always sends.
    Proxy,
    Error,
}

/// What the gateway ended of HTTP/2: the label `why`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Http2 {
    /// A stream that was no request, or one too many.
    Refused,
    /// A stream whose client took nothing.
    Stalled,
    /// A connection with too many frames that ask for nothing.
    Flood,
    /// A connection that cancelled too many of its requests.
    Cancels,
    /// A connection whose frame did not come in time.
    Slow,
}

// === impl Cells ===

impl Cells {
    pub(crate) fn new(listeners: usize) -> Arc<Self> {
        const { assert!(Code::ALL.len() <= CODES) }
        Arc::new(Self {
            rejected: std::array::from_fn(|_| Count::default()),
            listeners: (0..listeners).map(|_| OfListener::default()).collect(),
            refused: std::array::from_fn(|_| Count::default()),
            http2: std::array::from_fn(|_| Count::default()),
            handed: Count::default(),
            panics: Count::default(),
            deaths: Count::default(),
            routes: Mutex::default(),
        })
    }

    pub(crate) fn rejected(&self, code: Code) {
        self.rejected[code as usize].add(1);
    }

    pub(crate) fn http2_ended(&self, why: Http2, count: u64) {
        self.http2[why as usize].add(count);
    }

    pub(crate) fn closed(&self, why: Closed) {
        self.closed_many(why, 1);
    }

    pub(crate) fn closed_many(&self, why: Closed, count: u64) {
        self.refused[why as usize].add(count);
    }
}

// === impl Closed ===

impl Closed {
    pub(crate) const ALL: [Self; 6] = [
        Self::Limit,
        Self::Address,
        Self::Overload,
        Self::Descriptors,
        Self::Proxy,
        Self::Error,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Address => "address",
            Self::Overload => "overload",
            Self::Descriptors => "descriptors",
            Self::Proxy => "proxy",
            Self::Error => "error",
        }
    }
}

// === impl Http2 ===

impl Http2 {
    pub(crate) const ALL: [Self; 5] = [Self::Refused, Self::Stalled, Self::Flood, Self::Cancels, Self::Slow];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Stalled => "stalled",
            Self::Flood => "flood",
            Self::Cancels => "cancels",
            Self::Slow => "slow",
        }
    }
}
