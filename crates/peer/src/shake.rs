//! The greeting on a socket, from either end: dial, resolve, TLS, proofs, identities.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsStream;

use crate::error::CallError;
use crate::greeting::{
    Acceptor, Claim, Dialler, Fault, MAX_IDENTITY, Misfit, OPENING, PROOF, REPLY, VERDICT, VERSIONS, digest_of, fit,
};
use crate::identity::Identity;
use crate::secret::Secret;
use crate::timings::Timings;
use crate::tls::{self, Tls};
use crate::{Lane, codec};

/// What a side brings to a greeting.
pub(crate) struct Party<'a> {
    pub(crate) tls: &'a Tls,
    pub(crate) secret: Option<&'a Secret>,
    pub(crate) identity: &'a Identity,
    pub(crate) timings: &'a Timings,
}

/// An authenticated connection.
pub(crate) struct Greeted {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) theirs: Identity,
    pub(crate) lane: Lane,
}

/// Why somebody who dialled us was turned away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Turned {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("its greeting took longer than {0:?}")]
    Slow(Duration),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("its identity is not the one that it proved")]
    Identity,
    #[error("it belongs to cluster {theirs}, this node to {ours}")]
    Cluster { theirs: String, ours: String },
    #[error("it bears this node's own name {name:?} and is another node, {theirs}; the name is taken")]
    Name { name: String, theirs: String },
    #[error("it is this node itself")]
    Oneself,
}

/// A side of a greeting that has not come to an end: what the other must be told in words.
enum Stop {
    Io(io::Error),
    Fault(Fault),
    Identity,
}

// === Dialling ===

/// Dials `address` and greets whoever answers.
pub(crate) async fn dial(party: &Party<'_>, address: &str, lane: Lane) -> Result<Greeted, CallError> {
    let unreachable = |why: String| CallError::Unreachable {
        address: address.to_owned(),
        why,
    };
    let Some(secret) = party.secret else {
        return Err(CallError::NoToken {
            address: address.to_owned(),
            ours: true,
        });
    };
    let tcp = connect(address, party.timings.connect).await.map_err(unreachable)?;
    let greeting = async {
        let stream = party
            .tls
            .connector
            .connect(party.tls.name.clone(), tcp)
            .await
            .map_err(Stop::Io)?;
        greet_as_dialler(TlsStream::from(stream), party, secret, lane).await
    };
    let (stream, theirs) = match timeout(party.timings.handshake, greeting).await {
        Err(_) => {
            let waited = party.timings.handshake;
            return Err(unreachable(format!(
                "it accepted the connection but did not greet within {waited:?}"
            )));
        }
        Ok(Err(Stop::Io(e))) => return Err(unreachable(format!("the greeting failed: {e}"))),
        Ok(Err(Stop::Identity)) => return Err(unreachable("its identity is not the one that it proved".to_owned())),
        Ok(Err(Stop::Fault(fault))) => {
            let address = address.to_owned();
            return Err(match fault {
                Fault::WrongToken => CallError::WrongToken { address },
                Fault::NoToken => CallError::NoToken { address, ours: false },
                Fault::Version(from, to) => CallError::Incompatible {
                    address,
                    theirs: format!("{from} to {to}"),
                    ours: format!("{} to {}", VERSIONS.0, VERSIONS.1),
                },
                Fault::Stranger | Fault::Full => unreachable(fault.to_string()),
            });
        }
        Ok(Ok(greeted)) => greeted,
    };
    match fit(party.identity, &theirs) {
        Ok(()) => Ok(Greeted { stream, theirs, lane }),
        Err(Misfit::Oneself) => Err(CallError::Oneself {
            address: address.to_owned(),
        }),
        Err(Misfit::Cluster { theirs, ours }) => Err(CallError::WrongCluster {
            address: address.to_owned(),
            theirs,
            ours,
        }),
        Err(Misfit::Name) => Err(CallError::NameTaken {
            address: address.to_owned(),
            name: theirs.name,
            theirs: theirs.id,
            ours: party.identity.id,
            ours_at: party.identity.peer.clone(),
        }),
    }
}

async fn greet_as_dialler(
    mut stream: TlsStream<TcpStream>,
    party: &Party<'_>,
    secret: &Secret,
    lane: Lane,
) -> Result<(TlsStream<TcpStream>, Identity), Stop> {
    let binding = tls::binding(&stream).map_err(|e| Stop::Io(io::Error::other(e)))?;
    let (encoded, ours) = claim(party.identity)?;
    let dialler = Dialler::new(ours, lane);
    send(&mut stream, dialler.opening()).await?;
    let reply: [u8; REPLY] = receive(&mut stream).await?;
    let (proved, proof) = dialler.on_reply(&reply, &binding, secret.key()).map_err(Stop::Fault)?;
    send(&mut stream, &proof).await?;
    let verdict: [u8; VERDICT] = receive(&mut stream).await?;
    let claimed = proved.on_verdict(&verdict).map_err(Stop::Fault)?;
    send_identity(&mut stream, &encoded).await?;
    let theirs = receive_identity(&mut stream, claimed).await?;
    Ok((stream, theirs))
}

/// Opens a TCP connection. The name is resolved now; its addresses share the time.
async fn connect(address: &str, patience: Duration) -> Result<TcpStream, String> {
    let deadline = Instant::now() + patience;
    let found: Vec<SocketAddr> = match timeout_at(deadline, lookup_host(address)).await {
        Err(_) => return Err(format!("its name was not resolved within {patience:?}")),
        Ok(Err(e)) => return Err(format!("its name cannot be resolved ({e}); an address is host:port")),
        Ok(Ok(found)) => found.collect(),
    };
    let mut why = "its name resolves to no address".to_owned();
    for (at, target) in found.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(found.len() - at).unwrap_or(1);
        match timeout(share, TcpStream::connect(target)).await {
            Ok(Ok(tcp)) => {
                tune(&tcp);
                return Ok(tcp);
            }
            Ok(Err(e)) => why = format!("{target}: {e}"),
            Err(_) => why = format!("{target}: no connection within {share:?}"),
        }
    }
    Err(why)
}

/// Small frames go at once; little waits unsent in the system, where nothing can overtake it; a
/// peer whose machine is gone is noticed even where nothing is sent.
pub(crate) fn tune(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5));
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let tuned = tuned.and_then(|()| socket.set_tcp_notsent_lowat(128 * 1024));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a socket option of the link could not be set");
    }
}

// === Accepting ===

/// Greets somebody who dialled us. Ends within the handshake's time, the delay of a refusal
/// included.
pub(crate) async fn welcome(party: &Party<'_>, tcp: TcpStream, full: bool) -> Result<Greeted, Turned> {
    tune(&tcp);
    let limit = party.timings.handshake;
    timeout(limit, greet_as_acceptor(party, tcp, full))
        .await
        .unwrap_or(Err(Turned::Slow(limit)))
}

async fn greet_as_acceptor(party: &Party<'_>, tcp: TcpStream, full: bool) -> Result<Greeted, Turned> {
    let mut stream = TlsStream::from(party.tls.acceptor.accept(tcp).await?);
    let binding = tls::binding(&stream).map_err(io::Error::other)?;
    let (encoded, ours) = claim(party.identity)?;

    let opening: [u8; OPENING] = receive(&mut stream).await?;
    let key = party.secret.map(Secret::key);
    let (acceptor, reply) = match Acceptor::on_opening(&opening, ours, &binding, key, full) {
        Ok(next) => next,
        Err((fault, reply)) => {
            if let Some(reply) = reply {
                send(&mut stream, &reply).await?;
                stream.shutdown().await?;
            }
            return Err(fault.into());
        }
    };
    send(&mut stream, &reply).await?;

    let proof: [u8; PROOF] = receive(&mut stream).await?;
    let (proved, verdict) = acceptor.on_proof(&proof);
    if proved.is_err() {
        sleep(party.timings.refusal_delay).await;
    }
    send(&mut stream, &verdict).await?;
    let (claimed, lane) = match proved {
        Ok(proved) => proved,
        Err(fault) => {
            stream.shutdown().await?;
            return Err(fault.into());
        }
    };

    let theirs = receive_identity(&mut stream, claimed).await?;
    let fits = fit(party.identity, &theirs);
    if let Err(Misfit::Cluster { .. }) = fits {
        sleep(party.timings.refusal_delay).await;
    }
    // Also to those who do not fit: by our identity they know why.
    send_identity(&mut stream, &encoded).await?;
    let Err(misfit) = fits else {
        return Ok(Greeted { stream, theirs, lane });
    };
    stream.shutdown().await?;
    Err(match misfit {
        Misfit::Oneself => Turned::Oneself,
        Misfit::Cluster { theirs, ours } => Turned::Cluster {
            theirs: theirs.to_string(),
            ours: ours.to_string(),
        },
        Misfit::Name => Turned::Name {
            name: theirs.name,
            theirs: format!("{} at {}", theirs.id, theirs.peer),
        },
    })
}

// === Messages ===

/// The identity as it will be shown, and what is claimed of it beforehand.
fn claim(identity: &Identity) -> Result<(Vec<u8>, Claim), Stop> {
    let encoded = codec::encode(identity).map_err(|e| Stop::Io(io::Error::other(e)))?;
    let claim = Claim {
        id: identity.id,
        digest: digest_of(&encoded),
    };
    Ok((encoded, claim))
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Stop> {
    stream.write_all(bytes).await.map_err(Stop::Io)?;
    stream.flush().await.map_err(Stop::Io)
}

async fn receive<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], Stop> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(Stop::Io)?;
    Ok(bytes)
}

async fn send_identity(stream: &mut (impl AsyncWrite + Unpin), encoded: &[u8]) -> Result<(), Stop> {
    // Checked when the link was bound: an identity has at most MAX_IDENTITY bytes.
    let length = (encoded.len() as u16).to_be_bytes();
    send(stream, &[&length, encoded].concat()).await
}

async fn receive_identity(stream: &mut (impl AsyncRead + Unpin), claimed: Claim) -> Result<Identity, Stop> {
    let length = usize::from(u16::from_be_bytes(receive(stream).await?));
    if length > MAX_IDENTITY {
        return Err(Stop::Identity);
    }
    let mut encoded = vec![0; length];
    stream.read_exact(&mut encoded).await.map_err(Stop::Io)?;
    if digest_of(&encoded) != claimed.digest {
        return Err(Stop::Identity);
    }
    let identity: Identity = codec::decode(&encoded).map_err(|_| Stop::Identity)?;
    if identity.id == claimed.id {
        Ok(identity)
    } else {
        Err(Stop::Identity)
    }
}

// === impl Turned ===

impl From<Stop> for Turned {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Io(e) => Self::Io(e),
            Stop::Fault(fault) => Self::Fault(fault),
            Stop::Identity => Self::Identity,
        }
    }
}
