//! A connection on which the target switched protocols (RFC 9110 §7.8).

use crate::meters::Gauged;
use crate::worker::Lease;
use bytes::Bytes;
use sluice_transport::Io;
use std::fmt;
use tokio::net::TcpStream;

/// A connection to a target that speaks another protocol from now on. Nobody drives it, and no
/// time-out holds for it any more.
pub struct Switched {
    /// The stream, as HTTP left it.
    pub io: Io<TcpStream>,
    /// What the target had sent right behind its answer, and HTTP had read.
    pub early: Bytes,
    /// To be kept as long as the stream.
    pub load: Load,
}

/// The place of a switched connection at its target: it counts as a request under way and as an
/// active connection until this is dropped.
pub struct Load {
    _lease: Lease,
    _gauge: Gauged,
}

// === impl Switched ===

impl Switched {
    pub(crate) fn new(io: Io<TcpStream>, early: Bytes, lease: Lease, gauge: Gauged) -> Box<Self> {
        // What is empty may still hold the memory that it was read into.
        let early = if early.is_empty() { Bytes::new() } else { early };
        Box::new(Self {
            io,
            early,
            load: Load {
                _lease: lease,
                _gauge: gauge,
            },
        })
    }
}

impl fmt::Debug for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switched")
            .field("io", &self.io)
            .field("early", &self.early.len())
            .finish_non_exhaustive()
    }
}

// === impl Load ===

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Load")
    }
}
