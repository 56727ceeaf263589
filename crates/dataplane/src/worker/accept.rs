//! Taking connections, and giving some away.
//!
//! ```text
//!   accept ─▶ is there room? ─▶ listener's limit ─┬─────────────────────────▶ address's limit ─▶ whose?
//!                                                 └─ of a balancer: header ─┘                    ├─▶ front
//!                                                                                                └─▶ inbox
//! ```

use super::Worker;
use super::spare::Spare;
use crate::admission::{Origin, Refused};
use crate::crew::{Handed, Orders, Seat, Stage};
use crate::front;
use crate::meters::Closed;
use crate::overload::Level;
use sluice_transport::{NotAnnounced, announced};
use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// What can wait at one socket.
const MOST_WAITING: usize = sluice_transport::BACKLOG as usize;

/// How long accepting rests after the system had no room for another socket, at first and at most.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long accepting rests after what waited was closed for want of a descriptor.
const BREATH: Duration = Duration::from_millis(10);

/// How often it is said that there are no descriptors.
const SAID: Duration = Duration::from_secs(10);

/// The listening sockets of a worker. They are kept when the worker is started again: closing one
/// of several that share a port resets what waits in its queue.
pub(super) type Sockets = Rc<RefCell<Vec<Option<StdListener>>>>;

/// Accepts on the socket of listener `place` until the worker closes; then takes all that still
/// waits, and closes it.
pub(super) async fn accept(worker: Rc<Worker>, sockets: Sockets, place: usize) {
    let mut orders = worker.orders.clone();
    match open(&sockets, place) {
        Some(listener) => accept_until_closing(&worker, &listener, &sockets, place, &mut orders).await,
        None => closing(&mut orders).await,
    }
    let last = sockets.borrow_mut().get_mut(place).and_then(Option::take);
    if let Some(last) = last {
        take_rest(&worker, &last, place);
        drop(last);
        worker.crew.closed();
    }
}

async fn accept_until_closing(
    worker: &Rc<Worker>,
    listener: &TcpListener,
    sockets: &Sockets,
    place: usize,
    orders: &mut watch::Receiver<Orders>,
) {
    let mut rest = REST.0;
    let mut spare = Spare::new();
    let mut said: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            // First, or whoever never stops to connect would put the end off.
            () = closing(orders) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    rest = REST.0;
                    admit(worker, stream, peer, place);
                }
                Err(error) if of_one_connection(&error) => {}
                Err(error) if for_want_of_a_descriptor(&error) => {
                    let closed = match sockets.borrow().get(place).and_then(Option::as_ref) {
                        Some(socket) => spare.close_waiting(socket, MOST_WAITING),
                        None => 0,
                    };
                    worker.cells.closed_many(Closed::Descriptors, closed);
                    if said.is_none_or(|said| said.elapsed() >= SAID) {
                        said = Some(Instant::now());
                        tracing::warn!(%error, "no descriptor is left for connections: they are closed; raise the limit of open files");
                    }
                    tokio::time::sleep(BREATH).await;
                }
                Err(error) => {
                    worker.cells.closed(Closed::Error);
                    tracing::warn!(%error, wait = ?rest, "cannot accept");
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(REST.1);
                }
            },
        }
    }
}

/// The reactor's own handle of a socket.
fn open(sockets: &Sockets, place: usize) -> Option<TcpListener> {
    let sockets = sockets.borrow();
    let socket = sockets.get(place)?.as_ref()?;
    match socket.try_clone().and_then(TcpListener::from_std) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::error!(%error, "a worker cannot listen; its share of connections waits");
            None
        }
    }
}

async fn closing(orders: &mut watch::Receiver<Orders>) {
    // A sender that is gone is a data plane that is gone.
    let _ = orders.wait_for(|orders| orders.stage >= Stage::Closing).await;
}

/// Until the system says that nothing waits any more: the reactor may not know yet of what does. No
/// more than can have waited, since others may come as fast as these are taken.
fn take_rest(worker: &Rc<Worker>, listener: &StdListener, place: usize) {
    for _ in 0..=MOST_WAITING {
        match listener.accept() {
            Ok((stream, peer)) => {
                let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    admit(worker, stream, peer, place);
                }
            }
            Err(error) if of_one_connection(&error) => {}
            Err(_) => return,
        }
    }
}

/// `EMFILE`: the process has no more; `ENFILE`: the system has none.
fn for_want_of_a_descriptor(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether an error belongs to the connection that was to be accepted, and not to accepting.
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, place: usize) {
    let crew = &worker.crew;
    if worker.orders().level == Level::Refusing || !crew.room.has_room(crew.connections()) {
        worker.cells.closed(Closed::Overload);
        return;
    }
    let permit = match crew.gates[place].admit() {
        Ok(permit) => permit,
        Err(refused) => return worker.cells.closed(refused.into()),
    };
    // Seated at once, here, so that a drain waits for it whatever it is still to say.
    let seat = crew.seat(worker.index, permit);
    if crew.settings.announces(peer.ip().to_canonical()) {
        tokio::task::spawn_local(admit_announced(Rc::clone(worker), stream, peer, place, seat));
        return;
    }
    let origin = Origin { client: peer, peer };
    settle(worker, stream, origin, place, seat);
}

/// A connection of a balancer that tells first whose it is.
async fn admit_announced(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, place: usize, seat: Seat) {
    let told = tokio::time::timeout(worker.edge().header_timeout, announced(&stream)).await;
    let client = match told {
        Ok(Ok(source)) => source.unwrap_or(peer),
        // The balancer looks whether somebody listens.
        Ok(Err(NotAnnounced::Silent)) => return,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "closed: a connection of a peer in edge.proxy_protocol");
            return worker.cells.closed(Closed::Proxy);
        }
        Err(_) => return worker.cells.closed(Closed::Proxy),
    };
    settle(&worker, stream, Origin { client, peer }, place, seat);
}

/// It is known whose connection it is: by whom it is served, if at all.
fn settle(worker: &Rc<Worker>, stream: TcpStream, origin: Origin, place: usize, mut seat: Seat) {
    let crew = &worker.crew;
    let ip = origin.client.ip().to_canonical();
    if let Some(addresses) = &crew.addresses
        && !ip.is_loopback()
        && !worker.trusts(ip)
        && let Err(refused) = seat.count(addresses, ip)
    {
        return worker.cells.closed(refused.into());
    }
    let whose = crew.whose(worker.index);
    if whose == worker.index {
        front::serve(worker, stream, origin, place, seat);
        return;
    }
    seat.move_to(whose);
    worker.cells.handed.add(1);
    // Out of this reactor; the other worker enters it into its own.
    if let Ok(stream) = stream.into_std() {
        let _ = crew.members[whose].inbox.send(Handed {
            stream,
            origin,
            listener: place,
            seat,
        });
    }
}

// === impl Closed ===

impl From<Refused> for Closed {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Listener => Self::Limit,
            Refused::Address => Self::Address,
        }
    }
}
