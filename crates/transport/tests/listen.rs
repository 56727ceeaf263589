//! Taking ports.

#![allow(clippy::unwrap_used)]

use sluice_transport::{ListenError, listen};
use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn all_sockets_share_the_port_that_the_kernel_chose() {
    let sockets = listen(any(), 4).unwrap();
    let addresses: HashSet<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    assert_eq!(addresses.len(), 1);
    let address = *addresses.iter().next().unwrap();
    assert_ne!(address.port(), 0);

    let clients: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
    let counts: Vec<_> = sockets
        .iter()
        .map(|socket| {
            let mut count = 0;
            while socket.accept().is_ok() {
                count += 1;
            }
            count
        })
        .collect();
    assert_eq!(
        counts.iter().sum::<usize>(),
        clients.len(),
        "non-blocking, and none is lost"
    );
    assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{counts:?}");
}

#[test]
fn a_port_in_use_is_told_whoever_has_it() {
    let other = TcpListener::bind(any()).unwrap();
    let address = other.local_addr().unwrap();
    let error = listen(address, 2).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }));
    assert!(error.to_string().contains(&address.to_string()));

    // A second Sluice: it shares ports too, and must be told all the same.
    let first = listen(any(), 2).unwrap();
    let address = first[0].local_addr().unwrap();
    assert!(matches!(listen(address, 2), Err(ListenError::InUse { .. })));
    drop(first);
    assert_eq!(listen(address, 2).unwrap().len(), 2);
}

#[test]
fn a_port_that_was_just_in_use_can_be_taken_again() {
    let first = listen(any(), 1).unwrap();
    let address = first[0].local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    first[0].set_nonblocking(false).unwrap();
    // The server's side closes first, so it is the one that waits in TIME_WAIT.
    drop(first[0].accept().unwrap());
    drop(client);
    drop(first);
    listen(address, 1).unwrap();
}

#[test]
fn an_address_of_another_machine_is_told() {
    let error = listen("192.0.2.1:8080".parse().unwrap(), 1).unwrap_err();
    assert!(matches!(error, ListenError::NotHere { .. }), "{error}");
}

#[test]
fn no_socket_at_all_is_refused() {
    assert!(matches!(listen(any(), 0), Err(ListenError::NoSockets { .. })));
}

#[test]
fn ipv6_stands_beside_ipv4() {
    let four = listen("0.0.0.0:0".parse().unwrap(), 1).unwrap();
    let port = four[0].local_addr().unwrap().port();
    match listen(SocketAddr::new("::".parse().unwrap(), port), 1) {
        // A machine without IPv6, or a port that is taken there.
        Err(ListenError::Io { .. } | ListenError::NotHere { .. } | ListenError::InUse { .. }) => {}
        other => assert_eq!(other.unwrap()[0].local_addr().unwrap().port(), port),
    }
}
