//! What the demo needs of a node.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

/// A future on the heap, so that the traits here can be made into objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One node to start. All addresses are of loopback.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// `n1`, `n2`, `n3`.
    pub name: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Its own folder; may not be there yet.
    pub data: PathBuf,
    /// For traffic.
    pub http: SocketAddr,
    /// For the admin API.
    pub admin: SocketAddr,
    /// For the link between nodes.
    pub peer: SocketAddr,
    /// All of the first members with their peer addresses, this one among them.
    pub initial: Vec<(String, SocketAddr)>,
    /// The secret of the members.
    pub cluster_token: String,
    /// A token that the admin API must take.
    pub admin_token: String,
    /// Threads for traffic.
    pub workers: usize,
    /// Where the nodes keep shared state, as `redis.url` says it; without it in this process.
    pub redis: Option<String>,
}

/// Whoever can start a node in this process.
pub trait StartNode: Send + Sync {
    /// Starts a node; done once it listens, which is before the cluster has formed.
    ///
    /// # Errors
    /// A sentence for people that says what to do.
    fn start(&self, spec: NodeSpec) -> BoxFuture<'_, Result<Box<dyn RunningNode>, String>>;
}

/// A node that runs.
pub trait RunningNode: Send {
    /// Drains it without the delay that balancers need, and ends it; done once its disk is at rest.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()>;

    /// Done when it ended without having been asked to; says why.
    fn wait(&mut self) -> BoxFuture<'_, String>;
}
