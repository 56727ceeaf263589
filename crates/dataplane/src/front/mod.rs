//! The door to hyper's server connection: the only place of this crate that names hyper.
//!
//! What comes in is a [`Client`], served to its end by [`http1`]. What an exchange has to tell its
//! connection goes through [`Stream`].

mod http1;
mod stream;
mod tap;
mod timer;
mod wire;

pub(crate) use stream::Stream;
pub(crate) use wire::Wire;

use crate::crew::{Handed, Seat};
use crate::settings::Edge;
use crate::worker::Worker;
use http::HeaderValue;
use sluice_http_semantics::forwarded::{Peer, Scheme};
use sluice_transport::Limits;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What holds for every connection of a client. A client that uploads more than it may and reads
/// only afterwards gets its answer if the rest comes within these bounds.
pub(crate) const LIMITS: Limits = Limits {
    write_stall: Duration::from_secs(30),
    linger_time: Duration::from_secs(2),
    linger_bytes: 64 * 1024 * 1024,
};

/// How connections are spoken on; one for each worker.
#[derive(Debug)]
pub(crate) struct Door {
    http1: hyper::server::conn::http1::Builder,
}

/// Who is at the other end of a connection, and by which way it came.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: SocketAddr,
    /// For the fields that tell the service of the client.
    pub(crate) forwarded: Peer,
    /// The listener's place in the settings.
    pub(crate) place: usize,
    pub(crate) made: Instant,
    pub(crate) wire: Rc<Wire>,
    /// The Host that was asked for last, and its name: nearly all ask for one only.
    pub(crate) last_host: RefCell<Option<(HeaderValue, Rc<str>)>>,
}

// === impl Door ===

impl Door {
    pub(crate) fn new(edge: &Edge) -> Self {
        Self {
            http1: http1::builder(edge),
        }
    }
}

/// Serves a connection to its end, in a task of its own.
pub(crate) fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, place: usize, seat: Seat) {
    let now = Instant::now();
    let port = worker.crew.settings.listeners[place].address.port();
    let client = Rc::new(Client {
        peer,
        forwarded: Peer::new(peer.ip(), Scheme::Http, port),
        place,
        made: now,
        wire: Rc::new(Wire::new(now)),
        last_host: RefCell::default(),
    });
    http1::serve(worker, stream, client, seat);
}

/// Takes a connection from another worker.
pub(crate) fn serve_handed(worker: &Rc<Worker>, handed: Handed) {
    // What cannot be registered here cannot be served anywhere: the connection closes.
    if let Ok(stream) = TcpStream::from_std(handed.stream) {
        serve(worker, stream, handed.peer, handed.listener, handed.seat);
    }
}
