//! A relay of TCP between the nodes and what they use, with the faults of a network and of what stands behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running relay. Dropping it ends it and all that goes through it.
#[derive(Debug)]
pub struct Between {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    /// The process whose connections are closed.
    cut_off: watch::Sender<Option<u32>>,
    taken: Arc<AtomicUsize>,
    _running: tokio::task::JoinHandle<()>,
}

/// How it treats what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Open,
    /// Each way this much later.
    Slow(Duration),
    /// It takes connections and bytes, and passes nothing on; nobody is told.
    Silent,
    /// Half of each answer, and then nothing.
    Half,
    /// Connections are closed as soon as they come, and those that are there.
    Closing,
}

// === impl Between ===

impl Between {
    /// In front of `behind`, which need not be there yet.
    pub async fn start(at: SocketAddr, behind: SocketAddr) -> Self {
        let listener = TcpListener::bind(at)
            .await
            .unwrap_or_else(|error| panic!("no relay at {at}: {error}"));
        let address = listener.local_addr().expect("a bound listener has an address");
        let (manner, seen) = watch::channel(Manner::Open);
        let (cut_off, cut) = watch::channel(None);
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let running = tokio::spawn(async move {
            // The set aborts its tasks when it is dropped with this task.
            let mut conversations = JoinSet::new();
            while let Ok((front, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                conversations.spawn(converse(front, behind, seen.clone(), cut.clone()));
                while conversations.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            manner,
            cut_off,
            taken,
            _running: running,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it is so.
    pub fn turn(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// From now on the process of this id gets no connection through, and those that it has are closed; with `None`
    /// nobody is cut off.
    pub fn cut_off(&self, id: Option<u32>) {
        self.cut_off.send_replace(id);
    }

    /// Connections that it took so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self._running.abort();
    }
}

async fn converse(
    front: TcpStream,
    behind: SocketAddr,
    mut manner: watch::Receiver<Manner>,
    mut cut_off: watch::Receiver<Option<u32>>,
) {
    let _ = front.set_nodelay(true);
    let (Ok(from), Ok(to)) = (front.peer_addr(), front.local_addr()) else {
        return;
    };
    let cut = async move {
        // An error is the relay's own end.
        let _ = cut_off
            .wait_for(|id| id.is_some_and(|id| crate::relay::is_owned_by(from, to, id)))
            .await;
    };
    if *manner.borrow() == Manner::Closing {
        return;
    }
    let closing = {
        let mut manner = manner.clone();
        async move {
            // An error is the relay's own end.
            let _ = manner.wait_for(|manner| *manner == Manner::Closing).await;
        }
    };
    let talk = async {
        // Behind a silent relay nobody is asked for.
        let _ = manner.wait_for(|manner| *manner != Manner::Silent).await;
        let Ok(back) = TcpStream::connect(behind).await else {
            return;
        };
        let _ = back.set_nodelay(true);
        let (front_reads, front_writes) = front.into_split();
        let (back_reads, back_writes) = back.into_split();
        tokio::select! {
            () = pass(front_reads, back_writes, manner.clone(), false) => {}
            () = pass(back_reads, front_writes, manner.clone(), true) => {}
        }
    };
    tokio::select! {
        biased;
        () = cut => {}
        () = closing => {}
        () = talk => {}
    }
}

/// Passes bytes on until either side ends. Each piece keeps its own delay, so that a slow way is long and not narrow.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut manner: watch::Receiver<Manner>, answers: bool) {
    let (pieces, mut due) = tokio::sync::mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    let reading = {
        let manner = manner.clone();
        async move {
            loop {
                let mut piece = Vec::with_capacity(16 * 1024);
                match from.read_buf(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                let now = tokio::time::Instant::now();
                let at = match *manner.borrow() {
                    Manner::Slow(by) => now + by,
                    _ => now,
                };
                if pieces.send((at, piece)).is_err() {
                    return;
                }
            }
        }
    };
    let writing = async move {
        while let Some((at, mut piece)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            // Held back while it is silent, and sent on afterwards, as TCP would.
            if manner.wait_for(|manner| *manner != Manner::Silent).await.is_err() {
                return;
            }
            if answers && *manner.borrow() == Manner::Half {
                piece.truncate(piece.len() / 2);
                if to.write_all(&piece).await.is_err() {
                    return;
                }
                let _ = manner.wait_for(|manner| *manner != Manner::Half).await;
                return;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Call, World};
    use std::time::Instant;

    #[tokio::test]
    async fn it_passes_delays_holds_back_and_closes() {
        let world = World::new();
        let service = Backend::fixed(world.service(), "fine").await;
        let between = Between::start(world.service(), service.address()).await;
        let ask = || Call::get(between.address(), "/").send();
        assert_eq!(ask().await.expect("an answer").status, 200);
        between.turn(Manner::Slow(Duration::from_millis(60)));
        let began = Instant::now();
        assert_eq!(ask().await.expect("an answer").status, 200);
        assert!(began.elapsed() >= Duration::from_millis(120), "each way is slow");
        between.turn(Manner::Silent);
        let held = ask();
        tokio::pin!(held);
        let early = tokio::time::timeout(Duration::from_millis(100), &mut held).await;
        assert!(early.is_err(), "nothing passes");
        between.turn(Manner::Open);
        assert_eq!(held.await.expect("an answer").status, 200);
        between.cut_off(Some(std::process::id()));
        assert!(ask().await.is_err());
        between.cut_off(Some(1));
        assert_eq!(ask().await.expect("an answer").status, 200, "another is cut off");
        between.turn(Manner::Closing);
        assert!(ask().await.is_err());
        between.turn(Manner::Open);
        assert_eq!(ask().await.expect("an answer").status, 200);
    }
}
