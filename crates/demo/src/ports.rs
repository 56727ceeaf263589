//! Which ports the demo takes.

use std::net::{Ipv4Addr, SocketAddr};

/// Nodes of the demo.
pub const NODES: u16 = 3;

const HTTP: u16 = 8080;
const ADMIN: u16 = 9080;
const PEER: u16 = 7080;
const SERVICES: u16 = 9100;

/// The ports of one demo: node n has 8080+n, 9080+n and 7080+n, the sample services 9101 and on, all moved by an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    offset: u16,
}

impl Ports {
    /// The greatest offset that keeps every port below 65536.
    pub const MOST: u16 = u16::MAX - SERVICES - 99;

    /// Ports moved by `offset`; `None` above [`Ports::MOST`].
    #[must_use]
    pub fn moved_by(offset: u16) -> Option<Self> {
        (offset <= Self::MOST).then_some(Self { offset })
    }

    /// Traffic of node `n`, from 1.
    #[must_use]
    pub fn http(self, n: u16) -> SocketAddr {
        self.loopback(HTTP + n)
    }

    /// Admin API of node `n`, from 1.
    #[must_use]
    pub fn admin(self, n: u16) -> SocketAddr {
        self.loopback(ADMIN + n)
    }

    /// Link of node `n`, from 1.
    #[must_use]
    pub fn peer(self, n: u16) -> SocketAddr {
        self.loopback(PEER + n)
    }

    /// Sample service `n`, from 1.
    #[must_use]
    pub fn service(self, n: u16) -> SocketAddr {
        self.loopback(SERVICES + n)
    }

    fn loopback(self, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port + self.offset))
    }
}
