//! The door to the server connections of hyper and h2: the only place of this crate that names them.
//!
//! What comes in is a [`Client`], served to its end by [`http1`], or by [`http2`] where it begins with that protocol's
//! preface and the settings allow it. What an exchange has to tell its
//! connection goes through [`Stream`].

mod http1;
mod http2;
mod stream;
mod tap;
mod timer;
mod wire;

pub(crate) use http2::Received;
pub(crate) use stream::Stream;
pub(crate) use timer::Timer;
pub(crate) use wire::Wire;

use crate::admission::Origin;
use crate::crew::{Handed, Seat};
use crate::settings::Edge;
use crate::worker::Worker;
use http::HeaderValue;
use sluice_http_semantics::forwarded::{Peer, Scheme};
use sluice_transport::Limits;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long and how many bytes are read after the last answer: a client that uploads more than it may
/// and reads only afterwards gets its answer if the rest comes within these bounds.
const LINGER: (Duration, u64) = (Duration::from_secs(2), 64 * 1024 * 1024);

/// How long what was read of an answer in time may take on its last way to the client.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How long a connection may stay idle that came right before the end, or while descriptors or
/// memory are short.
const LATE: Duration = Duration::from_secs(1);

/// Requests after which a connection is ended, and its age: clients spread anew over the workers
/// and nodes, and memory that a connection gathered is freed.
pub(crate) const MOST_REQUESTS: u32 = 10_000;
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// How connections are spoken on; one for each worker.
#[derive(Debug)]
pub(crate) struct Door {
    /// What holds for every connection of a client.
    limits: Limits,
    http1: hyper::server::conn::http1::Builder,
    http2: h2::server::Builder,
    date: http2::Date,
}

/// Who is at the other end of a connection, and by which way it came.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) origin: Origin,
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
            limits: Limits {
                write_stall: edge.write_stall,
                linger_time: LINGER.0,
                linger_bytes: LINGER.1,
            },
            http1: http1::builder(edge),
            http2: http2::builder(edge),
            date: http2::Date::default(),
        }
    }
}

/// Serves a connection to its end, in a task of its own.
pub(crate) fn serve(worker: &Rc<Worker>, stream: TcpStream, origin: Origin, place: usize, seat: Seat) {
    let now = Instant::now();
    let port = worker.crew.settings.listeners[place].address.port();
    let client = Rc::new(Client {
        origin,
        forwarded: Peer::new(origin.client.ip(), Scheme::Http, port),
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
        serve(worker, stream, handed.origin, handed.listener, handed.seat);
    }
}
