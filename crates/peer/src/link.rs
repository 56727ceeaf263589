//! A node's end of all its connections with others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sluice_telemetry::Metrics;
use tokio::sync::watch;

use crate::error::{BindError, CallError};
use crate::identity::{Identity, Peer};
use crate::secret::Secret;
use crate::status::{Heard, Status};
use crate::timings::{Patience, Timings};
use crate::{Lane, Service};

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
    inner: Arc<()>,
}

impl Link {
    /// Listens, and answers those who say hello at once. Must run inside a tokio runtime, which
    /// then carries the link's tasks.
    ///
    /// # Errors
    /// Where the address cannot be listened on, or TLS cannot be prepared.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let _ = config;
        Ok(Self { inner: Arc::new(()) })
    }

    /// From now on calls are answered by `serve`; before, they were answered
    /// [`CallError::Starting`].
    pub fn serve(&self, serve: Arc<dyn Serve>) {
        let _ = serve;
    }

    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Who this node says it is.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        unreachable!("{:?}", self.inner)
    }

    /// This node belongs to this cluster from now on: told to everyone connected, and anyone of
    /// another cluster is cut off.
    pub fn set_cluster_id(&self, id: u128) {
        let _ = id;
    }

    /// Who lives at `address`, asked now: dials even during a back-off.
    ///
    /// # Errors
    /// Everything that keeps the two from talking, each by its own name.
    pub async fn hello(&self, address: &str, timeout: Duration) -> Result<Identity, CallError> {
        let _ = timeout;
        Err(CallError::Unreachable {
            address: address.to_owned(),
            why: "not dialled".into(),
        })
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
        let _ = (lane, service, body, patience);
        Err(CallError::Unreachable {
            address: to.address.clone(),
            why: "not dialled".into(),
        })
    }

    /// Whom to tell our status, from now on.
    pub fn set_audience(&self, audience: Vec<Peer>) {
        let _ = audience;
    }

    /// Our status is this: told at once, and again every 100 ms.
    pub fn tell(&self, status: Status) {
        let _ = status;
    }

    /// The last that was heard of each node, by id; who was silent for 60 s is forgotten.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        Vec::new()
    }

    /// A number that changes when [`heard`](Self::heard) has news: another status, a new node, a
    /// forgotten one, or one heard again after 300 ms of silence. Mere repetition is no news.
    #[must_use]
    pub fn heard_changed(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Stops listening, lets answers under way go out for a moment, closes everything. Calls under
    /// way here fail with [`CallError::ShutDown`].
    pub async fn shutdown(&self) {}
}
