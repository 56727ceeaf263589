//! PROXY protocol headers over real sockets.

#![allow(clippy::unwrap_used)]

use sluice_transport::{NotAnnounced, announced};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test)
            .await
            .expect("the test hangs")
    });
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let client = client.unwrap();
    client.set_nodelay(true).unwrap();
    (accepted.unwrap().0, client)
}

#[test]
fn what_follows_a_header_is_left_to_who_speaks_on() {
    run(async {
        for header in [BINARY, LINE] {
            let (mut server, mut client) = pair().await;
            client.write_all(&[header, b"GET /"].concat()).await.unwrap();
            assert_eq!(
                announced(&server).await.unwrap(),
                Some("192.0.2.7:56324".parse().unwrap())
            );
            let mut rest = [0; 5];
            server.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"GET /");
        }
    });
}

#[test]
fn a_header_may_come_byte_by_byte() {
    run(async {
        for header in [BINARY, LINE] {
            let (mut server, mut client) = pair().await;
            let send = async {
                for byte in [header, b"x"].concat() {
                    client.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let (source, ()) = tokio::join!(announced(&server), send);
            assert_eq!(source.unwrap(), Some("192.0.2.7:56324".parse().unwrap()));
            let mut rest = [0];
            server.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"x");
        }
    });
}

#[test]
fn a_long_header_is_read_whole_and_one_that_is_too_long_is_refused_at_its_head() {
    run(async {
        let long = |addition: u16| {
            let length = 12 + 3 + addition;
            let mut header = BINARY.to_vec();
            header[14..16].copy_from_slice(&length.to_be_bytes());
            header.push(4);
            header.extend(addition.to_be_bytes());
            header.extend(vec![0; usize::from(addition)]);
            header
        };
        let (mut server, mut client) = pair().await;
        client.write_all(&[&long(8000)[..], b"x"].concat()).await.unwrap();
        assert!(announced(&server).await.unwrap().is_some());
        assert_eq!(server.read_u8().await.unwrap(), b'x');

        let (server, mut client) = pair().await;
        client.write_all(&long(9000)[..16]).await.unwrap();
        assert!(matches!(announced(&server).await, Err(NotAnnounced::Malformed(_))));
    });
}

#[test]
fn a_connection_without_a_header_is_told_from_one_without_a_byte() {
    run(async {
        for (sent, close, silent) in [
            (&b""[..], true, true),
            (b"PROXY TCP4", true, false),
            (b"GET / HTTP/1.1", false, false),
        ] {
            let (server, mut client) = pair().await;
            client.write_all(sent).await.unwrap();
            if close {
                client.shutdown().await.unwrap();
            }
            let error = announced(&server).await.unwrap_err();
            assert_eq!(matches!(error, NotAnnounced::Silent), silent, "{error}");
        }
    });
}
