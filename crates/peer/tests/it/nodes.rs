//! Nodes on loopback, and things between them that misbehave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sluice_peer::{Config, Identity, Link, NodeId, Patience, Peer, Secret, Serve, Service, Status, Timings};
use sluice_telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub const TOKEN: &[u8] = b"a token that only the members know";
pub const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(30);

pub fn identity(name: &str, id: u64) -> Identity {
    Identity {
        cluster: "shop".into(),
        cluster_id: None,
        name: name.into(),
        id: NodeId(id),
        peer: String::new(),
        admin: "127.0.0.1:9080".into(),
        zone: Some("a".into()),
        labels: BTreeMap::from([("rack".to_owned(), "7".to_owned())]),
        binary: "0.1.0".into(),
        level: 1,
    }
}

pub fn config(name: &str, id: u64) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        identity: identity(name, id),
        token: Some(Secret::new(TOKEN).unwrap()),
        metrics: Metrics::new(),
        timings: Timings {
            refusal_delay: Duration::from_millis(20),
            ..Timings::default()
        },
    }
}

pub async fn node(name: &str, id: u64) -> Link {
    let link = Link::bind(config(name, id)).await.unwrap();
    link.serve(Arc::new(Echo::default()));
    link
}

pub fn to(link: &Link) -> Peer {
    Peer {
        id: Some(link.identity().id),
        address: link.local_addr().to_string(),
    }
}

pub fn at(address: SocketAddr) -> Peer {
    Peer {
        id: None,
        address: address.to_string(),
    }
}

pub fn patient() -> Patience {
    Patience::Total(LONG)
}

pub const ECHO: Service = Service(200);
pub const REFUSE: Service = Service(201);
pub const PANIC: Service = Service(202);
pub const HANG: Service = Service(203);
pub const SIZE: Service = Service(204);
pub const GIVE: Service = Service(205);
pub const LATER: Service = Service(206);

#[derive(Default)]
pub struct Echo {
    pub served: AtomicU64,
    pub hanging: Arc<AtomicU64>,
    pub release: Arc<Notify>,
}

/// Counts itself while it lives.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Serve for Echo {
    fn serve(&self, from: Arc<Identity>, service: Service, body: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        self.served.fetch_add(1, Ordering::SeqCst);
        let (hanging, release) = (Arc::clone(&self.hanging), Arc::clone(&self.release));
        Box::pin(async move {
            match service {
                ECHO => Ok(body.to_vec()),
                REFUSE => Err(format!("{} may not", from.name)),
                PANIC => panic!("as asked"),
                HANG => {
                    hanging.fetch_add(1, Ordering::SeqCst);
                    let _counted = Counted(hanging);
                    std::future::pending().await
                }
                SIZE => Ok(body.len().to_string().into_bytes()),
                GIVE => Ok(vec![7; String::from_utf8_lossy(&body).parse().unwrap()]),
                LATER => {
                    hanging.fetch_add(1, Ordering::SeqCst);
                    let _counted = Counted(hanging);
                    release.notified().await;
                    Ok(b"later".to_vec())
                }
                other => Err(format!("no service {}", other.0)),
            }
        })
    }
}

pub fn status(name: &str, committed: u64) -> Status {
    Status {
        id: NodeId(0),
        name: name.into(),
        committed,
        live: committed,
        live_digest: [1; 16],
        why_not_live: None,
        draining: false,
        ready: true,
        shared_store: None,
        level: 1,
        load: 0.5,
        term: 3,
        last_log: 9,
    }
}

/// Waits until `holds`, however long the machine takes.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}

/// A relay of bytes that can be frozen, cut and slowed.
pub struct Relay {
    pub address: SocketAddr,
    pub frozen: Arc<AtomicBool>,
    /// Bytes a second in each direction; 0 is as fast as it goes.
    pub rate: Arc<AtomicU64>,
    pub carried: Arc<AtomicU64>,
    cut: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (frozen, rate, carried) = (Arc::default(), Arc::default(), Arc::default());
        let cut = Arc::new(Notify::new());
        let (f, r, c, n) = (
            Arc::clone(&frozen),
            Arc::clone(&rate),
            Arc::clone(&carried),
            Arc::clone(&cut),
        );
        let task = tokio::spawn(async move {
            let mut pipes = tokio::task::JoinSet::new();
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                let Ok(far) = TcpStream::connect(target).await else {
                    continue;
                };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                pipes.spawn(pipe(
                    near_in,
                    far_out,
                    Arc::clone(&f),
                    Arc::clone(&r),
                    Arc::clone(&c),
                    Arc::clone(&n),
                ));
                pipes.spawn(pipe(
                    far_in,
                    near_out,
                    Arc::clone(&f),
                    Arc::clone(&r),
                    Arc::clone(&c),
                    Arc::clone(&n),
                ));
            }
        });
        Self {
            address,
            frozen,
            rate,
            carried,
            cut,
            task,
        }
    }

    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }

    /// Ends all connections that stand.
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pipe(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut into: tokio::net::tcp::OwnedWriteHalf,
    frozen: Arc<AtomicBool>,
    rate: Arc<AtomicU64>,
    carried: Arc<AtomicU64>,
    cut: Arc<Notify>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let cut = cut.notified();
    tokio::pin!(cut);
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = &mut cut => return,
        };
        let Ok(n @ 1..) = read else { return };
        while frozen.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let rate = rate.load(Ordering::SeqCst);
        if rate > 0 {
            tokio::time::sleep(Duration::from_secs_f64(n as f64 / rate as f64)).await;
        }
        carried.fetch_add(n as u64, Ordering::SeqCst);
        if into.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
