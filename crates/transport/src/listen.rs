//! Taking a port, once for each worker.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that may wait to be accepted, for each socket (the kernel may allow fewer:
/// `net.core.somaxconn`).
pub const BACKLOG: i32 = 4096;

/// Why a port could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there.
    #[error("{address} is in use by another process; stop it, or listen on another port")]
    InUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Not an address of this machine.
    #[error("{address} is not an address of this machine; listen on one that is, or on 0.0.0.0 or [::] for all")]
    NotHere {
        /// What was asked for.
        address: SocketAddr,
    },
    /// A port that this user may not take.
    #[error("this user may not listen on {address}; take a port from 1024 up, or grant CAP_NET_BIND_SERVICE")]
    Forbidden {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Nobody could accept.
    #[error("{address} would be listened on by no socket at all; ask for at least one")]
    NoSockets {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {doing}: {source}")]
    Io {
        /// What was asked for.
        address: SocketAddr,
        /// Which step failed.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Takes `address` with `sockets` listening sockets among which the kernel spreads connections by
/// hash (`SO_REUSEPORT`), non-blocking, with a queue of [`BACKLOG`] each.
///
/// `SO_REUSEPORT` alone would let a second process of the same user share the port in silence, so
/// the port is first taken without it: then another listener is an error. With port 0 the kernel
/// chooses, and all sockets share its choice: ask the first for its address.
///
/// Two processes of one user that start within the same microseconds can both pass the probe; that
/// cannot be closed from here.
///
/// # Errors
///
/// [`ListenError`]: in use, not of this machine, not allowed, or what else the system said. No
/// socket stays open then.
pub fn listen(address: SocketAddr, sockets: usize) -> Result<Vec<TcpListener>, ListenError> {
    if sockets == 0 {
        return Err(ListenError::NoSockets { address });
    }
    let probe = open(address, false)?;
    // Bound is enough: it collides with whoever listens. The probe itself never listens, or a
    // client that met it would be reset when it goes.
    let chosen = chosen(&probe, address)?;
    drop(probe);
    (0..sockets)
        .map(|_| {
            let socket = open(chosen, true)?;
            socket
                .listen(BACKLOG)
                .map_err(|source| told(address, "listen", source))?;
            Ok(socket.into())
        })
        .collect()
}

fn open(address: SocketAddr, shared: bool) -> Result<Socket, ListenError> {
    let told = |doing| move |source| told(address, doing, source);
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(told("socket"))?;
    socket.set_reuse_address(true).map_err(told("SO_REUSEADDR"))?;
    if shared {
        socket.set_reuse_port(true).map_err(told("SO_REUSEPORT"))?;
    }
    if address.is_ipv6() {
        // [::] takes IPv6 alone, so that 0.0.0.0 can be declared beside it, whatever the
        // system's default.
        socket.set_only_v6(true).map_err(told("IPV6_V6ONLY"))?;
    }
    socket.set_nonblocking(true).map_err(told("O_NONBLOCK"))?;
    socket.bind(&SockAddr::from(address)).map_err(told("bind"))?;
    Ok(socket)
}

fn chosen(socket: &Socket, address: SocketAddr) -> Result<SocketAddr, ListenError> {
    let local = socket
        .local_addr()
        .map_err(|source| told(address, "getsockname", source))?;
    Ok(local.as_socket().unwrap_or(address))
}

fn told(address: SocketAddr, doing: &'static str, source: io::Error) -> ListenError {
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        io::ErrorKind::AddrNotAvailable => ListenError::NotHere { address },
        io::ErrorKind::PermissionDenied => ListenError::Forbidden { address },
        _ => ListenError::Io { address, doing, source },
    }
}
