//! How long things may take.

use std::time::Duration;

/// The link's times. The defaults suit a data centre; tests make them shorter or longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    /// To resolve a host name and open a TCP connection. 1 s.
    pub connect: Duration,
    /// From an open TCP connection to both sides having proved the token, on either side. 5 s.
    pub handshake: Duration,
    /// How long the answer to a wrong token or a wrong cluster is held back. 500 ms.
    pub refusal_delay: Duration,
    /// How often a connection is pinged. 500 ms.
    pub ping: Duration,
    /// Silence after which a connection is dead, though nothing closed it. 3 s.
    pub silence: Duration,
    /// How often the status is told though nothing changed. 100 ms.
    pub status: Duration,
    /// The wait after a first failed dial; each further one doubles it, and each varies by a
    /// quarter up or down. 50 ms.
    pub backoff: Duration,
    /// The longest such wait. 1 s.
    pub backoff_limit: Duration,
    /// The wait after a dial that met a wrong token, cluster or name. 2 s.
    pub backoff_mismatch: Duration,
    /// After how long without any use a dialled connection is closed. 60 s.
    pub unused: Duration,
    /// How long [`shutdown`](crate::Link::shutdown) waits for answers under way. 500 ms.
    pub farewell: Duration,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// This long from the call to the whole of its answer.
    Total(Duration),
    /// As long as it takes, if only bytes of it move: it fails when for this long the other node
    /// neither acknowledged a byte of the request nor sent one of the answer. Time in which the
    /// other node works on the answer counts as standing still. For bulk.
    Progress(Duration),
}

// === impl Timings ===

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            handshake: Duration::from_secs(5),
            refusal_delay: Duration::from_millis(500),
            ping: Duration::from_millis(500),
            silence: Duration::from_secs(3),
            status: Duration::from_millis(100),
            backoff: Duration::from_millis(50),
            backoff_limit: Duration::from_secs(1),
            backoff_mismatch: Duration::from_secs(2),
            unused: Duration::from_secs(60),
            farewell: Duration::from_millis(500),
        }
    }
}
