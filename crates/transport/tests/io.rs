//! The IO type over real sockets.

#![allow(clippy::unwrap_used)]

use sluice_transport::{Io, Limits, Peeked, peek};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MS: Duration = Duration::from_millis(1);

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

async fn pair(limits: Limits) -> (Io<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    (Io::tcp(accepted.unwrap().0, limits), client.unwrap())
}

#[test]
fn bytes_are_counted_both_ways() {
    run(async {
        let (mut io, mut peer) = pair(Limits::default()).await;
        let handle = io.handle();
        peer.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        io.read_exact(&mut got).await.unwrap();
        io.write_all(b"hi").await.unwrap();
        let slices = [io::IoSlice::new(b"ab"), io::IoSlice::new(b"c")];
        assert!(tokio::io::AsyncWrite::is_write_vectored(&io));
        assert_eq!(io.write_vectored(&slices).await.unwrap(), 3);
        assert_eq!((handle.read(), handle.written()), (5, 5));
        assert!(io.get_ref().nodelay().unwrap());
    });
}

#[test]
fn it_may_move_between_threads() {
    fn send<T: Send>() {}
    send::<Io<TcpStream>>();
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
    run(async {
        let limits = Limits {
            write_stall: 200 * MS,
            ..Limits::default()
        };
        let (mut io, mut peer) = pair(limits).await;
        let (chunk, total) = (vec![0; 64 * 1024], 12 * 1024 * 1024);
        let write = async {
            let mut left = total;
            while left > 0 {
                left -= io.write(&chunk[..chunk.len().min(left)]).await.unwrap();
            }
        };
        let read = async {
            let (mut got, mut buffer) = (0, vec![0; 1024 * 1024]);
            while got < total {
                tokio::time::sleep(40 * MS).await;
                got += peer.read(&mut buffer).await.unwrap();
            }
        };
        tokio::join!(write, read);
        let error = loop {
            if let Err(error) = io.write(&chunk).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("200ms"), "{error}");
    });
}

#[test]
fn a_client_that_is_still_sending_gets_the_last_answer() {
    run(async {
        for _ in 0..50 {
            let (mut io, peer) = pair(Limits::default()).await;
            let (mut read, mut write) = peer.into_split();
            let server = async {
                let mut head = [0; 100];
                io.read_exact(&mut head).await.unwrap();
                io.write_all(b"413").await.unwrap();
                io.shutdown().await.unwrap();
                drop(io);
            };
            let client = async {
                // A blocking client: all of its body first, or as much as is taken.
                let _ = write.write_all(&vec![0; 900_000]).await;
                let mut answer = Vec::new();
                let _ = read.read_to_end(&mut answer).await;
                drop(write);
                assert_eq!(answer, b"413");
            };
            tokio::join!(server, client);
        }
    });
}

#[test]
fn a_close_reads_on_within_its_bounds() {
    run(async {
        // By bytes: the peer sends more than will be read.
        let limits = Limits {
            linger_bytes: 100_000,
            ..Limits::default()
        };
        let (mut io, mut peer) = pair(limits).await;
        let handle = io.handle();
        let sender = tokio::spawn(async move { while peer.write_all(&[0; 8192]).await.is_ok() {} });
        io.shutdown().await.unwrap();
        assert_eq!(handle.read(), 100_000);
        drop(io);
        sender.await.unwrap();

        // By time: the peer is silent and stays.
        let limits = Limits {
            linger_time: 30 * MS,
            ..Limits::default()
        };
        let (mut io, mut peer) = pair(limits).await;
        io.shutdown().await.unwrap();
        assert_eq!(peer.read(&mut [0; 8]).await.unwrap(), 0);

        // By the peer's own close, long before the time.
        let limits = Limits {
            linger_time: Duration::from_secs(3600),
            ..Limits::default()
        };
        let (mut io, peer) = pair(limits).await;
        drop(peer);
        io.shutdown().await.unwrap();

        // Told to close at once.
        let (mut io, peer) = pair(limits).await;
        io.handle().close_at_once(true);
        io.shutdown().await.unwrap();
        io.shutdown().await.unwrap();
        drop(peer);
    });
}

#[test]
fn a_look_at_a_socket_takes_nothing() {
    run(async {
        let (mut io, mut peer) = pair(Limits::default()).await;
        assert_eq!(peek(io.get_ref()), Peeked::Quiet);
        peer.write_all(b"x").await.unwrap();
        while peek(io.get_ref()) == Peeked::Quiet {
            tokio::task::yield_now().await;
        }
        assert_eq!(peek(io.get_ref()), Peeked::Bytes);
        assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 1);
        drop(peer);
        while peek(io.get_ref()) == Peeked::Quiet {
            tokio::task::yield_now().await;
        }
        assert_eq!(peek(io.get_ref()), Peeked::Closed);
        let (io, peer) = pair(Limits::default()).await;
        peer.set_zero_linger().unwrap();
        drop(peer);
        while peek(io.get_ref()) == Peeked::Quiet {
            tokio::task::yield_now().await;
        }
        assert_eq!(peek(io.get_ref()), Peeked::Closed);
    });
}

#[test]
fn another_stream_takes_its_place_and_the_counts_go_on() {
    run(async {
        let (mut io, mut peer) = pair(Limits::default()).await;
        let handle = io.handle();
        peer.write_all(b"ab").await.unwrap();
        io.read_exact(&mut [0; 1]).await.unwrap();
        let mut io = io.map(tokio::io::BufStream::new);
        io.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(handle.read(), 2);
        io.write_all(b"x").await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(peer.read(&mut [0; 8]).await.unwrap(), 1);
    });
}
