//! What the workers of one data plane share: who has how much, and the way of an accepted socket
//! from one to another.
//!
//! Nothing here is touched by a request; a connection touches it when it comes and when it goes.

use crate::admission::{Addresses, Gate, Origin, Permit, Refused};
use crate::overload::{Level, Room};
use crate::settings::Settings;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, mpsc, watch};

/// What all workers of a data plane share.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) settings: Settings,
    /// By the place of the listener in the settings.
    pub(crate) gates: Box<[Arc<Gate>]>,
    pub(crate) addresses: Option<Arc<Addresses>>,
    pub(crate) members: Box<[Member]>,
    /// Listening sockets that are still open, of all workers.
    pub(crate) listening: AtomicUsize,
    /// How many connections there is room for.
    pub(crate) room: Room,
    /// Told when a worker runs out of connections, or has closed a listening socket.
    pub(crate) moved: Notify,
}

/// One worker as others see it, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Member {
    /// Its connections, those in its inbox included.
    connections: AtomicUsize,
    pub(crate) inbox: mpsc::UnboundedSender<Handed>,
}

/// An accepted connection on its way to the worker that will serve it.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) stream: TcpStream,
    pub(crate) origin: Origin,
    pub(crate) listener: usize,
    pub(crate) seat: Seat,
}

/// A connection's place in all counts; leaves them when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    crew: Arc<Crew>,
    worker: usize,
    permit: Permit,
}

/// What all workers are told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Orders {
    pub(crate) stage: Stage,
    /// Answers end their connection, so that clients come again elsewhere.
    pub(crate) turn_away: bool,
    /// How near memory and descriptors are to their end.
    pub(crate) level: Level,
}

/// How far the life of a data plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Stage {
    /// Accepting and serving.
    #[default]
    Serving,
    /// Nothing new is accepted; what is under way ends.
    Closing,
    /// Over.
    Ended,
}

/// Where orders come from.
pub(crate) type OrdersSender = watch::Sender<Orders>;

// === impl Crew ===

impl Crew {
    pub(crate) fn new(settings: Settings, inboxes: Vec<mpsc::UnboundedSender<Handed>>) -> Arc<Self> {
        let edge = settings.edge;
        // Addresses of one name are one listener.
        let mut gates: Vec<Arc<Gate>> = Vec::with_capacity(settings.listeners.len());
        for (place, listener) in settings.listeners.iter().enumerate() {
            let before = settings.listeners[..place]
                .iter()
                .position(|other| other.name == listener.name);
            let gate = match before {
                Some(same) => Arc::clone(&gates[same]),
                None => Gate::new(edge.max_connections),
            };
            gates.push(gate);
        }
        Arc::new(Self {
            gates: gates.into(),
            addresses: edge.per_address.map(Addresses::new),
            members: inboxes
                .into_iter()
                .map(|inbox| Member {
                    connections: AtomicUsize::new(0),
                    inbox,
                })
                .collect(),
            listening: AtomicUsize::new(settings.listeners.len() * settings.workers),
            settings,
            room: Room::default(),
            moved: Notify::new(),
        })
    }

    /// Connections of all workers.
    pub(crate) fn connections(&self) -> usize {
        self.members.iter().map(Member::connections).sum()
    }

    /// Whether nothing is open and nothing can come any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.listening.load(Ordering::SeqCst) == 0 && self.connections() == 0
    }

    /// A worker has taken all that waited at one of its sockets, and closed it.
    pub(crate) fn closed(&self) {
        self.listening.fetch_sub(1, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    /// Who is to serve a connection that `worker` accepted, and that is seated there: itself,
    /// unless it has more than the mean and a quarter, and somebody else has less.
    pub(crate) fn whose(&self, worker: usize) -> usize {
        let own = self.members[worker].connections();
        let total = self.connections();
        if own * self.members.len() * 4 <= total * 5 {
            return worker;
        }
        let others = self.members.iter().enumerate();
        match others.min_by_key(|(_, member)| member.connections()) {
            Some((least, member)) if member.connections() + 1 < own => least,
            _ => worker,
        }
    }

    fn leave(&self, worker: usize) {
        let before = self.members[worker].connections.fetch_sub(1, Ordering::Relaxed);
        if before == 1 {
            self.moved.notify_waiters();
        }
    }

    pub(crate) fn seat(self: &Arc<Self>, worker: usize, permit: Permit) -> Seat {
        self.members[worker].connections.fetch_add(1, Ordering::Relaxed);
        Seat {
            crew: Arc::clone(self),
            worker,
            permit,
        }
    }
}

// === impl Seat ===

impl Seat {
    /// Counts the connection for the address that it turned out to be of.
    pub(crate) fn count(&mut self, addresses: &Arc<Addresses>, ip: IpAddr) -> Result<(), Refused> {
        self.permit.count(addresses, ip)
    }

    /// The connection is another worker's from now on.
    pub(crate) fn move_to(&mut self, worker: usize) {
        self.crew.members[worker].connections.fetch_add(1, Ordering::Relaxed);
        self.crew.leave(std::mem::replace(&mut self.worker, worker));
    }
}

// === impl Orders ===

impl Orders {
    /// Whether answers end their connections.
    pub(crate) fn ends_connections(&self) -> bool {
        self.turn_away || self.level > Level::Calm
    }
}

// === impl Member ===

impl Member {
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crew.leave(self.worker);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::{Edge, Listener};

    fn crew(workers: usize) -> Arc<Crew> {
        let listener = |name: &str| Listener {
            name: name.into(),
            address: ([127, 0, 0, 1], 0).into(),
        };
        let settings = Settings {
            listeners: vec![listener("public"), listener("partner"), listener("public")],
            workers,
            node: "n1".into(),
            edge: Edge::default(),
            proxy_protocol: Arc::default(),
        };
        Crew::new(settings, (0..workers).map(|_| mpsc::unbounded_channel().0).collect())
    }

    fn sit(crew: &Arc<Crew>, worker: usize) -> Seat {
        crew.seat(worker, crew.gates[0].admit().unwrap())
    }

    #[test]
    fn a_worker_with_more_than_its_share_gives_to_the_least_busy() {
        let crew = crew(3);
        let mut seats: Vec<_> = (0..12).map(|i| sit(&crew, i % 3)).collect();
        let come = |crew: &Arc<Crew>| {
            let _seat = sit(crew, 0);
            crew.whose(0)
        };
        assert_eq!(come(&crew), 0);
        seats.push(sit(&crew, 0));
        assert_eq!(come(&crew), 1);
        seats.push(sit(&crew, 0));
        assert_eq!(come(&crew), 1);
        seats.extend([sit(&crew, 1), sit(&crew, 1), sit(&crew, 0)]);
        assert_eq!(come(&crew), 2);
        drop(seats);
        assert_eq!(crew.connections(), 0);
    }

    #[test]
    fn whoever_accepts_for_all_keeps_everybody_near_the_mean() {
        let crew = crew(4);
        let mut seats = Vec::new();
        for _ in 0..64 {
            let mut seat = sit(&crew, 0);
            seat.move_to(crew.whose(0));
            seats.push(seat);
        }
        for member in &crew.members {
            assert!(member.connections() <= 20, "{}", member.connections());
        }
    }

    #[test]
    fn a_worker_alone_keeps_all() {
        let crew = crew(1);
        let _seats: Vec<_> = (0..10).map(|_| sit(&crew, 0)).collect();
        assert_eq!(crew.whose(0), 0);
    }

    #[test]
    fn addresses_of_one_name_share_a_limit() {
        let crew = crew(1);
        assert!(Arc::ptr_eq(&crew.gates[0], &crew.gates[2]));
        assert!(!Arc::ptr_eq(&crew.gates[0], &crew.gates[1]));
    }
}
