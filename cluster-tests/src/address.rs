//! Addresses that no other test has.
//!
//! Linux answers on all of 127.0.0.0/8, so each test leases a block `127.a.b.*` and gives every node an address of its
//! own in it, with the ports that production uses. A listening socket on the block's last address is the lease: the
//! kernel gives it to one process only and takes it back when that process dies, however it dies.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The port on which a lease is held; nothing else listens on a block's last address.
const LEASE_PORT: u16 = 20_000;

/// A leased block `127.a.b.*`. Clones share the lease.
#[derive(Debug, Clone)]
pub struct Block {
    lease: Arc<TcpListener>,
    octets: [u8; 2],
}

impl Block {
    /// Leases a block, looking from a place that differs by process.
    pub fn lease() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let from = (std::process::id() as u16).wrapping_mul(251);
        for _ in 0..10_000 {
            let place = from.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let [a, b] = place.to_be_bytes();
            if a == 0 || a == 255 {
                continue;
            }
            if let Ok(lease) = TcpListener::bind((Ipv4Addr::new(127, a, b, 254), LEASE_PORT)) {
                return Self {
                    lease: Arc::new(lease),
                    octets: [a, b],
                };
            }
        }
        panic!("no free block of loopback addresses: are thousands of tests running?");
    }

    /// The block's address number `host`, 1 to 253.
    pub fn host(&self, host: u8) -> Ipv4Addr {
        debug_assert!(self.lease.local_addr().is_ok());
        Ipv4Addr::new(127, self.octets[0], self.octets[1], host)
    }

    /// The block's address number `host` with a port.
    pub fn at(&self, host: u8, port: u16) -> SocketAddr {
        (self.host(host), port).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_are_two_blocks_and_an_ended_one_may_be_had_again() {
        let one = Block::lease();
        let two = Block::lease();
        assert_ne!(one.host(1), two.host(1));
        let held = one.at(254, LEASE_PORT);
        assert!(TcpListener::bind(held).is_err());
        drop(one);
        assert!(TcpListener::bind(held).is_ok());
    }
}
