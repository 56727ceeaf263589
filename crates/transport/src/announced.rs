//! Reading what a balancer says of a connection before the client speaks.

use crate::proxy_protocol::{self, LONGEST, Malformed, Parsed};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Nearly every header is shorter.
const USUAL: usize = 256;

/// Why a connection that must begin with a PROXY protocol header cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotAnnounced {
    /// It was closed before a byte came, as a balancer's look at the port does.
    #[error("closed without a byte")]
    Silent,
    /// It was closed, or broke, within the header.
    #[error("the PROXY protocol header broke off")]
    Broken,
    /// What came is no header.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads the PROXY protocol header that `stream` begins with, and not a byte of what follows: whoever speaks on the
/// connection then finds it as the client began it. `None`: the connection is the peer's own, or of somebody whom it
/// cannot name.
///
/// Waits as long as the peer does: the time is the caller's to bound. Memory is bounded by
/// [`LONGEST`](proxy_protocol::LONGEST).
///
/// # Errors
/// [`NotAnnounced`]; the connection is to be closed.
pub async fn announced(stream: &TcpStream) -> Result<Option<SocketAddr>, NotAnnounced> {
    let mut header = vec![0; USUAL];
    let mut known = 0;
    loop {
        if known == header.len() {
            header.resize(LONGEST, 0);
        }
        let came = match stream.peek(&mut header[known..]).await {
            Ok(0) if known == 0 => return Err(NotAnnounced::Silent),
            Ok(0) | Err(_) => return Err(NotAnnounced::Broken),
            Ok(came) => came,
        };
        let seen = known + came;
        match proxy_protocol::parse(&header[..seen])? {
            // All that came is of the header, so it may leave the socket: then the next look waits for more.
            Parsed::Incomplete => take(stream, &mut header[known..seen]).await?,
            Parsed::Complete { length, source } => {
                take(stream, &mut header[known..length]).await?;
                return Ok(source);
            }
        }
        known = seen;
    }
}

/// Takes bytes that are known to be there.
async fn take(stream: &TcpStream, mut bytes: &mut [u8]) -> Result<(), NotAnnounced> {
    while !bytes.is_empty() {
        match stream.try_read(bytes) {
            Ok(0) => return Err(NotAnnounced::Broken),
            Ok(n) => bytes = &mut bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.readable().await.map_err(|_| NotAnnounced::Broken)?;
            }
            Err(_) => return Err(NotAnnounced::Broken),
        }
    }
    Ok(())
}
