//! Who may connect at all: counts of connections by listener and by address, without a lock.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Counters of one row of [`Addresses`].
const SLOTS: usize = 1 << 14;

/// The counts of one listener, shared by all workers.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: usize,
    open: AtomicUsize,
}

/// How many connections each address has, in two rows of counters with different hashes: an
/// address is refused only where both of its counters are at the limit. Two addresses that share
/// both counters are counted together, which among thousands of busy addresses happens to few;
/// in exchange nothing is locked and the memory is fixed (128 KiB).
#[derive(Debug)]
pub(crate) struct Addresses {
    limit: u32,
    hashers: [RandomState; 2],
    rows: Box<[[AtomicU32; SLOTS]; 2]>,
}

/// Between whom a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Whose connection it is.
    pub(crate) client: SocketAddr,
    /// Who made it: the client, or a balancer that told by the PROXY protocol whose it is.
    pub(crate) peer: SocketAddr,
}

/// One admitted connection; leaves when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    address: Option<(Arc<Addresses>, [usize; 2])>,
}

/// Why a connection is closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The listener has as many as it may.
    Listener,
    /// The address has as many as it may.
    Address,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            open: AtomicUsize::new(0),
        })
    }

    /// Admits one connection.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Permit, Refused> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Listener);
        }
        Ok(Permit {
            gate: Arc::clone(self),
            address: None,
        })
    }
}

// === impl Permit ===

impl Permit {
    /// Counts the connection for its address, where the limit by address applies to it.
    pub(crate) fn count(&mut self, addresses: &Arc<Addresses>, ip: IpAddr) -> Result<(), Refused> {
        let slots = addresses.enter(ip).ok_or(Refused::Address)?;
        self.address = Some((Arc::clone(addresses), slots));
        Ok(())
    }
}

// === impl Addresses ===

impl Addresses {
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        let row = || std::array::from_fn(|_| AtomicU32::new(0));
        Arc::new(Self {
            limit,
            hashers: [RandomState::new(), RandomState::new()],
            rows: Box::new([row(), row()]),
        })
    }

    fn enter(&self, ip: IpAddr) -> Option<[usize; 2]> {
        let key = key(ip);
        let slots = [0, 1].map(|row| {
            let hash = self.hashers[row].hash_one(key);
            usize::try_from(hash % SLOTS as u64).unwrap_or_default()
        });
        let before = [0, 1].map(|row| self.rows[row][slots[row]].fetch_add(1, Ordering::Relaxed));
        if before.iter().all(|count| *count >= self.limit) {
            self.leave(slots);
            return None;
        }
        Some(slots)
    }

    fn leave(&self, slots: [usize; 2]) {
        for (row, slot) in self.rows.iter().zip(slots) {
            row[slot].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What counts as one client: an IPv4 address, also within IPv6, or the /64 that one subscriber
/// commonly has.
fn key(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => (u128::from(ip) >> 64) << 64 | 1 << 63,
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
        if let Some((addresses, slots)) = &self.address {
            addresses.leave(*slots);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_listener_admits_as_many_as_it_may_and_again_after_one_left() {
        let gate = Gate::new(2);
        let (one, _two) = (gate.admit().unwrap(), gate.admit().unwrap());
        assert_eq!(gate.admit().unwrap_err(), Refused::Listener);
        drop(one);
        gate.admit().unwrap();
    }

    fn admit(gate: &Arc<Gate>, addresses: &Arc<Addresses>, text: &str) -> Result<Permit, Refused> {
        let mut permit = gate.admit()?;
        permit.count(addresses, ip(text)).map(|()| permit)
    }

    #[test]
    fn an_address_is_counted_apart_from_others() {
        let (gate, addresses) = (Gate::new(100), Addresses::new(2));
        let admit = |text| admit(&gate, &addresses, text);
        let (one, _two) = (admit("192.0.2.1").unwrap(), admit("::ffff:192.0.2.1").unwrap());
        assert_eq!(admit("192.0.2.1").unwrap_err(), Refused::Address);
        admit("192.0.2.2").unwrap();
        drop(one);
        admit("192.0.2.1").unwrap();
        assert_eq!(gate.open.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_ipv6_subscriber_is_one_client() {
        let (gate, addresses) = (Gate::new(100), Addresses::new(1));
        let admit = |text| admit(&gate, &addresses, text);
        let _one = admit("2001:db8:1:2::1").unwrap();
        assert_eq!(admit("2001:db8:1:2:ffff::9").unwrap_err(), Refused::Address);
        admit("2001:db8:1:3::1").unwrap();
    }
}
