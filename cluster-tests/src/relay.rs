//! Relays in front of the nodes' peer ports, and the cuts made there.
//!
//! Each node advertises its relay, so all that its peers say to it passes here. Who called is found by the kernel's
//! table of sockets: the calling process owns the other end of the connection. A cut works as a dead network does: bytes
//! are held back in silence, nobody is told. They flow on when it heals, as TCP would send them again.

use crate::world::{World, hosts};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One relay per node.
#[derive(Debug)]
pub struct Relays {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    /// Process id → node number.
    known: Mutex<HashMap<u32, usize>>,
    /// Directions, (from, to) by node number, in which nothing passes.
    cuts: watch::Sender<HashSet<(usize, usize)>>,
}

impl Relays {
    /// Starts one in front of each of these addresses, the first being node 1's.
    pub async fn start(world: &World, behind: &[SocketAddr]) -> Self {
        let shared = Arc::new(Shared {
            known: Mutex::default(),
            cuts: watch::Sender::new(HashSet::new()),
        });
        let mut running = JoinSet::new();
        let mut addresses = Vec::new();
        for (place, target) in behind.iter().copied().enumerate() {
            let number = place + 1;
            let at = world.block().at(hosts::RELAYS + number as u8, 7080);
            let listener = TcpListener::bind(at).await.expect("the block is ours");
            addresses.push(at);
            running.spawn(relay(listener, target, number, shared.clone()));
        }
        Self {
            addresses,
            shared,
            _running: running,
        }
    }

    /// The relay's address in front of node `n`.
    pub fn address(&self, n: usize) -> SocketAddr {
        self.addresses[n - 1]
    }

    /// Process `id` is node `n`.
    pub fn introduce(&self, n: usize, id: u32) {
        self.shared.known.lock().expect("no holder panics").insert(id, n);
    }

    /// Holds back all that node `from` says to node `to`; the other direction goes on.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        self.shared.cuts.send_modify(|cuts| {
            cuts.insert((from, to));
        });
    }

    /// Holds back all that these two say to each other.
    pub fn cut(&self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Cuts node `n` off from all others.
    pub fn isolate(&self, n: usize) {
        for other in (1..=self.addresses.len()).filter(|other| *other != n) {
            self.cut(n, other);
        }
    }

    /// Heals all cuts.
    pub fn heal(&self) {
        self.shared.cuts.send_modify(HashSet::clear);
    }
}

async fn relay(listener: TcpListener, target: SocketAddr, number: usize, shared: Arc<Shared>) {
    let mut conversations = JoinSet::new();
    while let Ok((caller, from)) = listener.accept().await {
        let at = listener.local_addr().expect("a bound listener has an address");
        conversations.spawn(converse(caller, from, at, target, number, shared.clone()));
        while conversations.try_join_next().is_some() {}
    }
}

async fn converse(
    caller: TcpStream,
    from: SocketAddr,
    at: SocketAddr,
    target: SocketAddr,
    number: usize,
    shared: Arc<Shared>,
) {
    let peer = peer_of(from, at, &shared).await;
    if !passes(&shared, peer, number).await {
        return;
    }
    let Ok(called) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (caller.set_nodelay(true), called.set_nodelay(true));
    let (caller_read, caller_write) = caller.into_split();
    let (called_read, called_write) = called.into_split();
    tokio::select! {
        () = carry(caller_read, called_write, &shared, peer, number) => {}
        () = carry(called_read, caller_write, &shared, number, peer) => {}
    }
}

/// The number of the calling node; 0, which is never cut, for a caller that nobody introduces. A node that has just
/// been started may call before it is introduced.
async fn peer_of(from: SocketAddr, at: SocketAddr, shared: &Shared) -> usize {
    let mut look = crate::wait::beat(Duration::from_millis(20));
    for _ in 0..25 {
        look.tick().await;
        let known = shared.known.lock().expect("no holder panics").clone();
        if let Ok(Some(number)) = tokio::task::spawn_blocking(move || owner_of(from, at, &known)).await {
            return number;
        }
    }
    0
}

/// Carries bytes one way until an end or a break; holds them while the way is cut.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, source: usize, sink: usize) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !passes(shared, source, sink).await || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits until the way is not cut. False: the relays are gone.
async fn passes(shared: &Shared, source: usize, sink: usize) -> bool {
    shared
        .cuts
        .subscribe()
        .wait_for(|cuts| !cuts.contains(&(source, sink)))
        .await
        .is_ok()
}

/// The node whose process owns the socket `from` that is connected to `to`.
fn owner_of(from: SocketAddr, to: SocketAddr, known: &HashMap<u32, usize>) -> Option<usize> {
    let wanted = socket_of(from, to)?;
    known
        .iter()
        .find(|(id, _)| holds(**id, &wanted))
        .map(|(_, number)| *number)
}

/// Whether the process of this id owns the socket `from` that is connected to `to`.
pub(crate) fn is_owned_by(from: SocketAddr, to: SocketAddr, id: u32) -> bool {
    socket_of(from, to).is_some_and(|socket| holds(id, &socket))
}

/// How a process's table of files spells the socket `from` that is connected to `to`.
fn socket_of(from: SocketAddr, to: SocketAddr) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let (local, remote) = (in_table(from)?, in_table(to)?);
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&local.as_str()) && fields.get(2) == Some(&remote.as_str()))
            .then(|| fields[9].to_owned())
    })?;
    Some(format!("socket:[{inode}]"))
}

fn holds(id: u32, socket: &str) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{id}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy() == socket))
}

/// An address as `/proc/net/tcp` spells it: the four bytes backwards, in hex.
fn in_table(address: SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(v4) => Some(format!(
            "{:08X}:{:04X}",
            u32::from_le_bytes(v4.ip().octets()),
            v4.port()
        )),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Call};

    #[tokio::test]
    async fn a_cut_holds_bytes_back_in_silence_and_healing_lets_them_flow() {
        let world = World::new();
        let one = world.block().at(1, 7080);
        let two = world.block().at(2, 7080);
        let echo = Backend::echo(two, "two").await;
        let relays = Relays::start(&world, &[one, two]).await;
        relays.introduce(1, std::process::id());
        let call = || Call::get(relays.address(2), "/").bound(Duration::from_secs(10));
        call().answer().await.expect(200);
        relays.isolate(1);
        let pending = tokio::spawn(call().send());
        assert!(call().bound(Duration::from_millis(200)).send().await.is_err());
        assert_eq!(echo.journal().count(), 1);
        relays.heal();
        pending
            .await
            .expect("no panic")
            .expect("an answer after healing")
            .expect(200);
    }

    #[tokio::test]
    async fn a_cut_of_one_direction_leaves_the_other() {
        let world = World::new();
        let (one, two) = (world.block().at(1, 7080), world.block().at(2, 7080));
        let echo = Backend::echo(two, "two").await;
        let relays = Relays::start(&world, &[one, two]).await;
        relays.introduce(1, std::process::id());
        relays.cut_one_way(2, 1);
        let unanswered = Call::get(relays.address(2), "/")
            .bound(Duration::from_millis(300))
            .send()
            .await;
        assert!(unanswered.is_err());
        assert_eq!(echo.journal().count(), 1);
    }
}
