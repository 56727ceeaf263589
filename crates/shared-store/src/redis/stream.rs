//! A socket to a Redis: TCP or TLS, without delay, that remembers when something last came from it.

use super::trouble::Trouble;
use crate::clock::Clock;
use crate::config::RedisUrl;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sluice_shared_state::Moment;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// After which a connection that does not come about is given up; its name's look-up included.
const CONNECT: Duration = Duration::from_millis(100);

/// A socket, connected.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    clock: Clock,
    heard: Heard,
}

/// When something last came from a socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<AtomicU64>);

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

// === impl Heard ===

impl Heard {
    pub(super) fn last(&self) -> Moment {
        // A number by itself; nothing is read by it.
        Moment(self.0.load(Ordering::Relaxed))
    }
}

// === impl Stream ===

impl Stream {
    /// Connects. The certificates of a `ca` are read anew each time, so that they may be changed.
    pub(super) async fn connect(url: &RedisUrl, ca: Option<&Path>, clock: Clock) -> Result<Self, Trouble> {
        let tcp = timeout(CONNECT, TcpStream::connect((url.host.as_str(), url.port)))
            .await
            .map_err(|_| Trouble::NoConnection(url.clone(), format!("nobody answered within {CONNECT:?}")))?
            .map_err(|error| Trouble::NoConnection(url.clone(), error.to_string()))?;
        // Each call is small and awaited.
        tcp.set_nodelay(true)
            .map_err(|error| Trouble::NoConnection(url.clone(), error.to_string()))?;
        let socket = if url.tls {
            let connector = connector(ca.map(Path::to_path_buf)).await?;
            let name =
                ServerName::try_from(url.host.clone()).map_err(|error| Trouble::Tls(url.clone(), error.to_string()))?;
            let stream = connector
                .connect(name, tcp)
                .await
                .map_err(|error| Trouble::Tls(url.clone(), error.to_string()))?;
            Socket::Tls(Box::new(stream))
        } else {
            Socket::Plain(tcp)
        };
        let heard = Heard::default();
        heard.0.store(clock.now().0, Ordering::Relaxed);
        Ok(Self { socket, clock, heard })
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

/// Reading the system's certificates takes milliseconds of a disk: not on a runtime's thread.
async fn connector(ca: Option<PathBuf>) -> Result<TlsConnector, Trouble> {
    let roots = tokio::task::spawn_blocking(move || match ca {
        Some(path) => certificates(&path).map_err(|why| Trouble::Ca(path, why)),
        None => system(),
    })
    .await
    .map_err(|error| Trouble::Roots(error.to_string()))??;
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(roots)
}

fn system() -> Result<RootCertStore, Trouble> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Single ones that cannot be read are no trouble while others can.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(ToString::to_string);
        return Err(Trouble::Roots(why.unwrap_or_else(|| "there are none".to_owned())));
    }
    Ok(roots)
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        };
        if buffer.filled().len() > before {
            self.heard.0.store(self.clock.now().0, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
