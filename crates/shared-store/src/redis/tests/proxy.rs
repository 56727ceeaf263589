//! A relay between a node and a Redis that can be told to misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How it treats what Redis answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Passes it on.
    Faithful,
    /// Later by so much.
    Slow(Duration),
    /// A half of it, then nothing more.
    Half,
    /// Not at all.
    Silent,
    /// Closes each connection at once.
    Closing,
}

/// A relay; its connections end when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    manner: watch::Sender<Manner>,
    accepted: Arc<std::sync::atomic::AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let manner = watch::Sender::new(Manner::Faithful);
        let accepted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (manners, count) = (manner.subscribe(), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            let mut relays = tokio::task::JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    return;
                };
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if *manners.borrow() != Manner::Closing {
                    relays.spawn(relay(client, port, manners.clone()));
                }
            }
        });
        Self {
            address,
            manner,
            accepted,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on, on all connections.
    pub(crate) fn be(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, port: u16, mut manner: watch::Receiver<Manner>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    // What is held up by Nagle is no manner of ours.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let mut manners = manner.clone();
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut stopped = false;
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            let manner = *manners.borrow_and_update();
            let part = match manner {
                _ if stopped => 0,
                Manner::Faithful | Manner::Closing => read,
                Manner::Slow(by) => {
                    sleep(by).await;
                    read
                }
                Manner::Half => {
                    stopped = true;
                    read / 2
                }
                Manner::Silent => 0,
            };
            if to_client.write_all(&buffer[..part]).await.is_err() {
                return;
            }
        }
    };
    let closing = async {
        let _ = manner.wait_for(|manner| *manner == Manner::Closing).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = closing => {}
    }
}
