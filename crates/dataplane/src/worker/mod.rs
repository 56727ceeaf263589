//! A worker: one thread, one runtime, its own sockets, its own targets, its own hold on the
//! snapshot.

mod accept;
mod ids;
mod spare;
mod thread;

pub(crate) use thread::{Begin, begin};

use crate::access_log::{AccessLog, AnsweredBy, Ended};
use crate::crew::{Crew, Orders};
use crate::fault_points::FaultPoints;
use crate::front::{Client, Door, Wire};
use crate::meters::{Cells, Method, Routes};
use crate::own_answer;
use crate::settings::Edge;
use crate::tunnel::Buffer;
use http::HeaderValue;
use ids::Ids;
use sluice_http_semantics::problem::Code;
use sluice_http_semantics::problem::Outcome;
use sluice_shared_store::Limiter;
use sluice_snapshot::{Front, Serial, Snapshot};
use sluice_telemetry::log::Lines;
use sluice_upstream::{Attempts, Upstreams, WorkerContext};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What a worker's connections and requests stand on. Lives on one thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) crew: Arc<Crew>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) routes: Routes,
    pub(crate) access_log: AccessLog,
    pub(crate) upstreams: Upstreams,
    pub(crate) limiter: Limiter,
    pub(crate) door: Door,
    pub(crate) ids: Ids,
    /// The node's name, as a field's value.
    pub(crate) node: HeaderValue,
    pub(crate) fault_points: FaultPoints,
    /// For bytes that are written together. Never borrowed across a wait.
    pub(crate) scratch: RefCell<Vec<u8>>,
    /// For bytes that pass through a tunnel. Never borrowed across a wait.
    pub(crate) tunnel_buffer: RefCell<Buffer>,
    /// For the keys of limits. Never borrowed across a wait.
    pub(crate) keys: RefCell<String>,
    front: RefCell<Front>,
    taken: Cell<Serial>,
    held: RefCell<Rc<Held>>,
    orders: watch::Receiver<Orders>,
    present: Cell<Orders>,
    connections: RefCell<Connections>,
}

/// A snapshot as one worker's requests hold it: counted on this worker alone.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Its version, as a field's value.
    pub(crate) version: HeaderValue,
}

/// The connections of a worker, so that orders reach those that wait.
#[derive(Debug, Default)]
struct Connections {
    places: Vec<Option<Rc<Wire>>>,
    free: Vec<usize>,
}

/// A connection's place in the list; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Listed {
    worker: Rc<Worker>,
    at: usize,
    listener: usize,
}

// === impl Worker ===

impl Worker {
    fn new(begin: &Begin, lines: Rc<Lines>, fault_points: FaultPoints) -> Rc<Self> {
        let settings = &begin.crew.settings;
        let front = begin.published.front(begin.index);
        let upstreams = Upstreams::new(WorkerContext {
            meters: begin.upstreams.clone(),
            resolver: begin.resolver.clone(),
            health: begin.health.clone(),
            shared: begin.shared.clone(),
            limits: sluice_transport::Limits::default(),
            seed: fastrand::u64(..),
        });
        let worker = Rc::new(Self {
            index: begin.index,
            crew: Arc::clone(&begin.crew),
            cells: Arc::clone(&begin.cells),
            routes: Routes::new(&begin.cells),
            access_log: AccessLog::new(Arc::clone(&settings.node), lines),
            upstreams,
            limiter: begin.shared.limiter(),
            door: Door::new(&settings.edge),
            ids: Ids::new(),
            node: node_value(&settings.node),
            fault_points,
            scratch: RefCell::default(),
            tunnel_buffer: RefCell::default(),
            keys: RefCell::default(),
            taken: Cell::new(Serial(0)),
            held: RefCell::new(Rc::new(Held::new(Arc::new(Snapshot::empty())))),
            front: RefCell::new(front),
            present: Cell::new(*begin.orders.borrow()),
            orders: begin.orders.clone(),
            connections: RefCell::default(),
        });
        worker.held();
        worker
    }

    pub(crate) fn edge(&self) -> &Edge {
        &self.crew.settings.edge
    }

    /// What the worker is to do now.
    pub(crate) fn orders(&self) -> Orders {
        self.present.get()
    }

    /// The present snapshot; takes the newest first. One atomic load where nothing is new.
    pub(crate) fn held(&self) -> Rc<Held> {
        let mut front = self.front.borrow_mut();
        let snapshot = front.get();
        let fresh = front_is_fresh(snapshot, &self.held.borrow().snapshot);
        if fresh {
            let snapshot = Arc::clone(snapshot);
            let serial = front.serial();
            drop(front);
            self.take(snapshot, serial);
        }
        Rc::clone(&self.held.borrow())
    }

    /// Whether any gateway trusts this address as a proxy.
    pub(crate) fn trusts(&self, ip: std::net::IpAddr) -> bool {
        self.held()
            .snapshot
            .gateways()
            .any(|gateway| gateway.trusted.iter().any(|net| net.contains(&ip)))
    }

    #[cold]
    fn take(&self, snapshot: Arc<Snapshot>, serial: Serial) {
        self.fault_points.taken(&snapshot);
        self.upstreams.reconcile(snapshot.upstreams());
        self.routes.renew();
        self.taken.set(serial);
        let before = self.held.replace(Rc::new(Held::new(snapshot)));
        drop(before);
    }

    /// Takes the present orders and lets every connection look at them.
    fn obey(&self) {
        let orders = *self.orders.borrow();
        if self.present.replace(orders) != orders {
            for wire in self.connections.borrow().places.iter().flatten() {
                wire.wake();
            }
        }
    }

    /// Enters a connection into the list and the counts.
    pub(crate) fn list(self: &Rc<Self>, client: &Client) -> Listed {
        let mut connections = self.connections.borrow_mut();
        let wire = Some(Rc::clone(&client.wire));
        let at = match connections.free.pop() {
            Some(at) => {
                connections.places[at] = wire;
                at
            }
            None => {
                connections.places.push(wire);
                connections.places.len() - 1
            }
        };
        self.cells.listeners[client.place].open.add(1);
        Listed {
            worker: Rc::clone(self),
            at,
            listener: client.place,
        }
    }

    /// The whole answer, head and body, to what was refused before it was a request. Counts it, and
    /// gives it its line.
    pub(crate) fn refuse_unread(&self, client: &Client, code: Code) -> Vec<u8> {
        self.cells.rejected(code);
        let unmatched = self.routes.unmatched();
        unmatched.observe(Method::OTHER, code.status(), Duration::ZERO);
        let id = self.ids.next();
        let held = self.held();
        let ended = Ended {
            id: &id,
            client,
            route: None,
            attempts: &Attempts::default(),
            status: code.status(),
            outcome: Outcome::Refused(code),
            answered_by: Some(AnsweredBy::Gateway),
            received: 0,
            sent: 0,
            started: client.made,
            duration: Duration::ZERO,
            tunnel: None,
            passage: None,
        };
        self.access_log.unread(&held.snapshot, &ended);
        own_answer::unread(self, &held, &id, code)
    }

    /// Notes a panic that was caught.
    pub(crate) fn panicked(&self, within: &str, panic: &(dyn Any + Send)) {
        self.cells.panics.add(1);
        let said = said(panic);
        tracing::error!(within, said, "a request panicked; this is a fault of the gateway");
    }
}

/// The words of a panic, where it had any.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

fn front_is_fresh(front: &Arc<Snapshot>, held: &Arc<Snapshot>) -> bool {
    !Arc::ptr_eq(front, held)
}

fn node_value(name: &str) -> HeaderValue {
    let visible: String = name.chars().filter(char::is_ascii_graphic).collect();
    HeaderValue::from_str(&visible).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

// === impl Held ===

impl Held {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            version: HeaderValue::from(snapshot.version()),
            snapshot,
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.cells.listeners[self.listener].open.add(-1);
        let mut connections = worker.connections.borrow_mut();
        connections.places[self.at] = None;
        connections.free.push(self.at);
    }
}
