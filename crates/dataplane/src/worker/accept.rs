//! Taking connections, and giving some away.

use super::Worker;
use crate::admission::Refused;
use crate::crew::{Handed, Orders, Stage};
use crate::front;
use crate::meters::Closed;
use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long accepting rests after the system had no room for another socket, at first and at most.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The listening sockets of a worker. They are kept when the worker is started again: closing one
/// of several that share a port resets what waits in its queue.
pub(super) type Sockets = Rc<RefCell<Vec<Option<StdListener>>>>;

/// Accepts on the socket of listener `place` until the worker closes; then takes all that still
/// waits, and closes it.
pub(super) async fn accept(worker: Rc<Worker>, sockets: Sockets, place: usize) {
    let mut orders = worker.orders.clone();
    match open(&sockets, place) {
        Some(listener) => accept_until_closing(&worker, &listener, place, &mut orders).await,
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
    place: usize,
    orders: &mut watch::Receiver<Orders>,
) {
    let mut rest = REST.0;
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
                Err(error) => {
                    worker.cells.closed(Closed::Error);
                    tracing::warn!(%error, wait = ?rest, "cannot accept; is the limit of open files too low?");
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
    for _ in 0..=sluice_transport::BACKLOG {
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
    let ip = peer.ip().to_canonical();
    let counted = crew
        .addresses
        .as_ref()
        .filter(|_| !ip.is_loopback() && !worker.trusts(ip));
    let permit = match crew.gates[place].admit(counted.map(|addresses| (addresses, ip))) {
        Ok(permit) => permit,
        Err(refused) => {
            worker.cells.closed(match refused {
                Refused::Listener => Closed::Limit,
                Refused::Address => Closed::Address,
            });
            return;
        }
    };
    let whose = crew.whose(worker.index);
    let seat = crew.seat(whose, permit);
    if whose == worker.index {
        front::serve(worker, stream, peer, place, seat);
        return;
    }
    worker.cells.handed.add(1);
    // Out of this reactor; the other worker enters it into its own.
    if let Ok(stream) = stream.into_std() {
        let _ = crew.members[whose].inbox.send(Handed {
            stream,
            peer,
            listener: place,
            seat,
        });
    }
}
