//! A node's end of all its connections with others.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sluice_telemetry::Metrics;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::dialled::{Deadline, Dialled};
use crate::error::{BindError, CallError};
use crate::greeting::MAX_IDENTITY;
use crate::identity::{Identity, Peer};
use crate::line::Reach;
use crate::secret::Secret;
use crate::shared::{Phase, Shared, lock};
use crate::status::{Heard, Status};
use crate::timings::{Patience, Timings};
use crate::tls::Tls;
use crate::wire::End;
use crate::{Lane, Service, codec, host, metrics};

/// What a link is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen for other nodes. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who this node is. An empty `peer` is filled in with the address listened on.
    pub identity: Identity,
    /// The cluster token; `None` only on a node that is a cluster of itself alone: then every
    /// inbound connection is refused, and every call fails, with an error of its own.
    pub token: Option<Secret>,
    /// Where the link's metrics are registered.
    pub metrics: Metrics,
    /// How long things may take.
    pub timings: Timings,
}

/// Who answers the calls of other nodes.
pub trait Serve: Send + Sync + 'static {
    /// Answers one call. The future is dropped at its next await when the caller gives up or its
    /// connection ends: what must be finished all the same goes on in a task of its own.
    ///
    /// A panic inside becomes a refusal and is logged. At most 256 calls of one connection are
    /// under way at a time.
    fn serve(&self, from: Arc<Identity>, service: Service, body: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>>;
}

/// A node's link to all others. Clones are the same link; it ends with
/// [`shutdown`](Self::shutdown), or when the last clone is dropped.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    end: Arc<EndOfLink>,
}

/// Ends the link's tasks with its last handle: the tasks hold what is shared, but never this.
struct EndOfLink {
    shared: Arc<Shared>,
    tasks: Mutex<Option<mpsc::Receiver<Infallible>>>,
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long a shutdown waits for tasks that were told to end.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// How often a shutdown looks whether answers under way have gone out.
const FAREWELL_STEP: Duration = Duration::from_millis(5);

// === impl Link ===

impl Link {
    /// Listens, and answers those who say hello at once. Must run inside a tokio runtime, which
    /// then carries the link's tasks.
    ///
    /// # Errors
    /// Where the address cannot be listened on, TLS cannot be prepared, or the identity is too
    /// large to tell.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let Config {
            listen,
            mut identity,
            token,
            metrics,
            timings,
        } = config;
        let tls = Tls::new()?;
        let listener = open(listen).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address: listen },
            _ => BindError::Listen {
                address: listen,
                source,
            },
        })?;
        let local = listener.local_addr().map_err(|source| BindError::Listen {
            address: listen,
            source,
        })?;
        if identity.peer.is_empty() {
            identity.peer = local.to_string();
        }
        // The cluster's id may come later: room for the longest.
        let known = Identity {
            cluster_id: Some(u128::MAX),
            ..identity.clone()
        };
        let bytes = codec::encode(&known).map_or(usize::MAX, |encoded| encoded.len());
        if bytes > MAX_IDENTITY {
            return Err(BindError::IdentityTooLarge {
                bytes,
                limit: MAX_IDENTITY,
            });
        }
        if token.as_ref().is_some_and(Secret::is_short) {
            tracing::warn!(
                "the cluster token is shorter than {} characters and may be guessed: use a long random one",
                crate::SHORT_TOKEN
            );
        }
        let (alive, tasks) = mpsc::channel(1);
        let shared = Arc::new(Shared::new(tls, token, timings, local, identity, alive));
        metrics::register(&metrics, Arc::downgrade(&shared));
        shared.spawn(host::accept(Arc::clone(&shared), listener));
        shared.spawn(host::tell(Arc::clone(&shared)));
        let end = EndOfLink {
            shared: Arc::clone(&shared),
            tasks: Mutex::new(Some(tasks)),
        };
        Ok(Self {
            shared,
            end: Arc::new(end),
        })
    }

    /// From now on calls are answered by `serve`; before, they are answered
    /// [`CallError::Starting`].
    pub fn serve(&self, serve: Arc<dyn Serve>) {
        self.shared.set_server(serve);
    }

    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// Who this node says it is.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.shared.identity()
    }

    /// This node belongs to this cluster from now on: told to everyone connected, and anyone of
    /// another cluster is cut off.
    pub fn set_cluster_id(&self, id: u128) {
        self.shared.set_cluster_id(id);
    }

    /// Who lives at `address`, asked now: dials even during a back-off, and a connection that
    /// stands is asked whether it still does.
    ///
    /// # Errors
    /// Everything that keeps the two from talking, each by its own name.
    pub async fn hello(&self, address: &str, timeout: Duration) -> Result<Identity, CallError> {
        let deadline = Instant::now() + timeout;
        let line = self.shared.lines.to(address);
        loop {
            match line.reach(&self.shared, Lane::Control, true) {
                Reach::Up(connection) => {
                    let (left, enough) = (
                        deadline.saturating_duration_since(Instant::now()),
                        self.shared.timings.connect,
                    );
                    if connection.answers(left.min(enough)).await {
                        return Ok(Identity::clone(&connection.theirs()));
                    }
                    if left < enough {
                        return Err(late(address, timeout));
                    }
                    connection.wire.end(End::lost("it did not answer a hello"));
                }
                Reach::Dialling(dial) => {
                    let connected = Deadline::At(deadline).wait(|| deadline, dial.outcome()).await;
                    return match connected {
                        Some(connected) => connected.map(|connection| Identity::clone(&connection.theirs())),
                        None => Err(late(address, timeout)),
                    };
                }
                Reach::Down(error) => return Err(error),
            }
        }
    }

    /// Calls `service` of the node `to` over the connection `lane`, which is dialled if need be.
    /// Dropping the future cancels the call there.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] at once while the node is known not to answer;
    /// [`CallError::may_have_run`] tells which errors leave open whether it was carried out.
    pub async fn call(
        &self,
        to: &Peer,
        lane: Lane,
        service: Service,
        body: Vec<u8>,
        patience: Patience,
    ) -> Result<Vec<u8>, CallError> {
        if body.len() > lane.max_message() {
            return Err(CallError::TooLarge {
                bytes: body.len(),
                limit: lane.max_message(),
                lane,
            });
        }
        let began = Instant::now();
        let deadline = Deadline::of(patience, began);
        let connection = self.connection(to, lane, deadline, began).await?;
        let found = connection.theirs();
        match to.id {
            Some(expected) if expected != found.id => Err(CallError::WrongPeer {
                address: to.address.clone(),
                expected,
                found: found.id,
                found_name: found.name.clone(),
            }),
            _ => connection.call(service, Bytes::from(body), deadline).await,
        }
    }

    async fn connection(
        &self,
        to: &Peer,
        lane: Lane,
        deadline: Deadline,
        began: Instant,
    ) -> Result<Arc<Dialled>, CallError> {
        match self.shared.reach(to, lane) {
            Reach::Up(connection) => Ok(connection),
            Reach::Down(error) => Err(error),
            Reach::Dialling(dial) => match deadline.wait(|| began, dial.outcome()).await {
                Some(outcome) => outcome,
                None => Err(late(&to.address, began.elapsed())),
            },
        }
    }

    /// Whom to tell our status, from now on. This node itself may be among them: it is left out.
    pub fn set_audience(&self, audience: Vec<Peer>) {
        lock(&self.shared.voice).audience = audience.into();
        self.shared.tell_now.notify_one();
    }

    /// Our status is this: told at once, and again every 100 ms. Its id is set to this node's.
    pub fn tell(&self, status: Status) {
        let mut status = status.bounded();
        status.id = self.shared.identity().id;
        lock(&self.shared.voice).status = Some(status);
        self.shared.tell_now.notify_one();
    }

    /// The last that was heard of each node, by id; who was silent for 60 s is forgotten.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.shared.board).all()
    }

    /// A number that changes when [`heard`](Self::heard) has news: another status, a new node, a
    /// forgotten one, or one heard again after 300 ms of silence. Mere repetition is no news.
    #[must_use]
    pub fn heard_changed(&self) -> watch::Receiver<u64> {
        self.shared.heard.subscribe()
    }

    /// Stops listening, lets answers under way go out for a moment, closes everything. Calls under
    /// way here fail with [`CallError::ShutDown`]. A second call returns at once.
    pub async fn shutdown(&self) {
        self.shared.enter(Phase::Leaving);
        let deadline = Instant::now() + self.shared.timings.farewell;
        while Instant::now() < deadline {
            let guests = lock(&self.shared.guests).all();
            if guests
                .iter()
                .all(|wire| wire.is_flushed() && wire.look(|side| side.is_quiet()))
            {
                break;
            }
            sleep(FAREWELL_STEP).await;
        }
        self.end.now();
        let tasks = lock(&self.end.tasks).take();
        if let Some(mut tasks) = tasks {
            // Ends when the last task has dropped its sender.
            let _ = timeout(LAST_TASKS, tasks.recv()).await;
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("local", &self.shared.local)
            .finish_non_exhaustive()
    }
}

/// A connection that was not there in time: the call was not sent.
fn late(address: &str, waited: Duration) -> CallError {
    CallError::Unreachable {
        address: address.to_owned(),
        why: format!("no connection within {waited:?}"),
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Lets a node that was restarted listen again at once; it does not let two listen.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

// === impl EndOfLink ===

impl EndOfLink {
    /// Tells every task to end, and lets none begin.
    fn now(&self) {
        self.shared.spawn_no_more();
        self.shared.enter(Phase::Over);
        for standing in lock(&self.shared.porch).clear() {
            standing.abort();
        }
    }
}

impl Drop for EndOfLink {
    fn drop(&mut self) {
        self.now();
    }
}
