//! The sockets of the API.

use crate::access::Origin;
use crate::flowing::Flowing;
use crate::room::Room;
use crate::{Config, api};
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tower::ServiceExt;

/// The socket's name in the data directory.
pub(crate) const SOCKET: &str = "admin.sock";

/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(10);

/// Connections over the network at one time: beyond that who idles gives way.
const CONNECTIONS: usize = 512;

/// Connections of the process's owner at one time, whatever comes over the network.
const OWNERS: usize = 64;

/// A pause after a failed accept: descriptors that ran out come back in time only.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the address.
    #[error(
        "the admin address {address} is in use: stop the other process, or set listen.admin (--listen-admin) to another one"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("the admin address {address} cannot be listened on: {source}; check listen.admin (--listen-admin)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("the admin socket {} cannot be made: {source}; `data` must name a directory that this user may write, with a path of less than 100 characters", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Sockets that listen already, and serve nothing yet.
#[derive(Debug)]
pub struct Bound {
    tcp: TcpListener,
    local: SocketAddr,
    unix: UnixListener,
    path: PathBuf,
    /// Who may come through the socket, beside root.
    owner: u32,
}

/// The API, serving. It ends with [`stop`](Self::stop), or when it is dropped.
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    path: PathBuf,
}

// === impl Bound ===

impl Bound {
    /// Listens on `address` and on `admin.sock` in the data directory, which this process has
    /// locked: a socket that is left there belongs to nobody.
    ///
    /// # Errors
    /// Each says which setting to look at.
    pub async fn bind(address: SocketAddr, data: &Path) -> Result<Self, BindError> {
        let listen = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            _ => BindError::Listen { address, source },
        };
        let tcp = TcpListener::bind(address).await.map_err(listen)?;
        let local = tcp.local_addr().map_err(listen)?;
        let path = data.join(SOCKET);
        let socket = |source| BindError::Socket {
            path: path.clone(),
            source,
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(socket(error)),
            _ => {}
        }
        let unix = UnixListener::bind(&path).map_err(socket)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(socket)?;
        let owner = fs::metadata(&path).map_err(socket)?.uid();
        Ok(Self {
            tcp,
            local,
            unix,
            path,
            owner,
        })
    }

    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves, on the runtime that this is called on.
    #[must_use]
    pub fn serve(self, config: Config) -> Serving {
        let router = api::router(config);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(over_tcp(self.tcp, router.clone(), stopped.clone()));
        tokio::spawn(over_unix(self.unix, self.owner, router, stopped));
        Serving { stop, path: self.path }
    }
}

// === impl Serving ===

impl Serving {
    /// Takes no more connections, lets answers under way go out, and removes the socket.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn over_tcp(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let room = Room::new(CONNECTIONS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let _ = stream.set_nodelay(true);
                spawn(stream, Origin::Tcp(from), &router, &room, &stop).await;
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn over_unix(listener: UnixListener, owner: u32, router: Router, mut stop: watch::Receiver<bool>) {
    let room = Room::new(OWNERS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(peer) if peer.uid() == owner || peer.uid() == 0 => {
                    spawn(stream, Origin::Owner { uid: peer.uid() }, &router, &room, &stop).await;
                }
                Ok(peer) => tracing::warn!(uid = peer.uid(), "another user knocked at the admin socket"),
                Err(error) => tracing::warn!(%error, "who knocked at the admin socket is not known"),
            },
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "an admin connection could not be accepted");
    tokio::time::sleep(PAUSE).await;
}

async fn spawn<S>(stream: S, origin: Origin, router: &Router, room: &Room, stop: &watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place = room.enter().await;
    let router = router.clone();
    let mut stop = stop.clone();
    let stopped = async move {
        // An error is the end as well.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::spawn(async move {
        let guest = Arc::clone(&place.guest);
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let busy = guest.busy();
            request.extensions_mut().insert(origin.clone());
            let answer = router.clone().oneshot(request.map(axum::body::Body::new));
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(Flowing::new(stream)), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = place.guest.asked_to_leave() => return,
            () = stopped => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an admin connection ended");
        }
    });
}
