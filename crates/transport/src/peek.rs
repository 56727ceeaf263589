//! A look at a socket without taking anything from it.

use socket2::SockRef;
use std::io;
use std::mem::MaybeUninit;
use tokio::net::TcpStream;

/// What lies in a socket's receive queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peeked {
    /// Nothing: the connection is open and silent.
    Quiet,
    /// At least one byte.
    Bytes,
    /// The peer closed or reset it.
    Closed,
}

/// Asks the kernel, not the reactor: what arrived since the reactor last looked is seen too.
/// Costs one system call, never waits.
#[must_use]
pub fn peek(stream: &TcpStream) -> Peeked {
    let mut byte = [MaybeUninit::<u8>::uninit()];
    loop {
        return match SockRef::from(stream).peek(&mut byte) {
            Ok(0) => Peeked::Closed,
            Ok(_) => Peeked::Bytes,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Peeked::Quiet,
                io::ErrorKind::Interrupted => continue,
                _ => Peeked::Closed,
            },
        };
    }
}
