//! What a node tells its data plane before it starts.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Settings of one data plane. They hold for the life of the process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients come in, each with the name by which gateways speak of it. Names may repeat:
    /// `public` can have several addresses.
    pub listeners: Vec<Listener>,
    /// How many workers, each one thread. 0 is taken for 1.
    pub workers: usize,
    /// The node's name, for `Sluice-Node` and problem documents. Characters that a header cannot
    /// carry are left out there.
    pub node: Arc<str>,
    /// What holds before a route is known.
    pub edge: Edge,
    /// Peers whose connections begin with a header of the PROXY protocol. Those of others never do.
    pub proxy_protocol: Arc<[IpNet]>,
}

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The name that gateways list under `listen`.
    pub name: Arc<str>,
    /// Port 0 lets the system choose; [`Bound::addresses`](crate::Bound::addresses) tells.
    pub address: SocketAddr,
}

/// Limits that hold before a route is known, and the times of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Whether a connection that begins with HTTP/2's preface is spoken to in HTTP/2. Default: no.
    pub h2c: bool,
    /// Longest request target, in bytes; beyond it 414. Default 8 KiB.
    pub max_uri: usize,
    /// Longest head, request line included, in bytes; beyond it 431. Also the bound of a body's
    /// trailers. At least 8 KiB are read. Default 32 KiB.
    pub max_header_bytes: usize,
    /// Most header fields; beyond it 431. Another value than the default of 100 costs an
    /// allocation a request.
    pub max_headers: usize,
    /// From the first byte of a head to its last; beyond it 408. Default 10 s.
    pub header_timeout: Duration,
    /// Between two reads of a request's body, while it is wanted; beyond it 408. Default 60 s.
    pub body_idle: Duration,
    /// Bytes a second that a request's body has to bring, beyond its first 5 s, on average of the
    /// time for which the client is waited for; a slower one is a 408. Holds until the answer begins, and
    /// not for gRPC. 0 asks for nothing. Default 512 B.
    pub min_rate: u64,
    /// How long a client may take nothing of what is written to it; then it is given up. Default
    /// 30 s.
    pub write_stall: Duration,
    /// How long a connection waits for its next request. Default 60 s.
    pub idle: Duration,
    /// Most connections of one listener, all workers together; more are closed at once. Default
    /// 10,000.
    pub max_connections: usize,
    /// Most connections of one client address (of one /64 for IPv6), all workers together; more
    /// are closed at once. Never holds for loopback and trusted proxies. Default: none.
    pub per_address: Option<u32>,
    /// What memory may be used.
    pub max_memory: MaxMemory,
    /// How long a drain goes on as if nothing were, so that balancers can learn of it. Default 5 s.
    pub drain_delay: Duration,
    /// How long a drain waits afterwards for what is under way. Default 30 s.
    pub drain_timeout: Duration,
}

/// The most that [`Edge::max_header_bytes`] is on HTTP/2, where a field of one byte may stand for much and is counted
/// with 32 more (RFC 9113 §6.5.2).
const HTTP2_HEADER_BYTES: usize = 16 * 1024;

/// How much memory the process may use before load is shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxMemory {
    /// What its control groups allow, or the machine has.
    Found,
    /// So many bytes of resident memory.
    Bytes(u64),
    /// As much as it gets.
    Unbounded,
}

// === impl Settings ===

impl Settings {
    /// Whether this peer's connections begin with a header of the PROXY protocol.
    pub(crate) fn announces(&self, peer: IpAddr) -> bool {
        self.proxy_protocol.iter().any(|net| net.contains(&peer))
    }
}

// === impl Edge ===

impl Edge {
    /// The bound of a request's fields on HTTP/2, in bytes.
    pub(crate) fn http2_header_bytes(&self) -> usize {
        self.max_header_bytes.min(HTTP2_HEADER_BYTES)
    }
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            h2c: false,
            max_uri: 8 * 1024,
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            header_timeout: Duration::from_secs(10),
            body_idle: Duration::from_secs(60),
            min_rate: 512,
            write_stall: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            max_connections: 10_000,
            per_address: None,
            max_memory: MaxMemory::Found,
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
