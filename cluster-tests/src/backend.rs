//! Services behind the gateway: real servers that keep a journal and can misbehave to the byte.

use crate::wire::{Head, Wire};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running service. Dropping it ends its listener and all its connections.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    journal: Journal,
    serving: tokio::task::JoinHandle<()>,
}

/// What a service has seen. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Seen>);

/// When a request came, for what.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When its head was read.
    pub at: Instant,
    /// Its target.
    pub target: String,
    /// Whether it was answered 503.
    pub failed: bool,
}

#[derive(Debug, Default)]
struct Seen {
    arrivals: Mutex<Vec<Arrival>>,
    failing: AtomicBool,
    hanging: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Head>>,
    count: AtomicUsize,
    ended: AtomicUsize,
    broken: Mutex<Vec<String>>,
}

impl Backend {
    /// A service that answers each request with a JSON of what it got:
    /// `{name, method, target, headers: [[name, value]], length, sha256}`.
    pub async fn echo(at: SocketAddr, name: &str) -> Self {
        let name = name.to_owned();
        Self::scripted(at, move |wire, journal, _| echo(wire, journal, name.clone())).await
    }

    /// A service that counts requests and answers all of them with this body, fast, keeping no heads.
    pub async fn fixed(at: SocketAddr, body: &str) -> Self {
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}");
        Self::scripted(at, move |mut wire, journal, _| {
            let answer = answer.clone();
            async move {
                while let Some(head) = wire.head().await? {
                    journal.0.count.fetch_add(1, Ordering::Relaxed);
                    wire.body(&head).await?;
                    wire.send(&answer).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// A service that notes when each request came, by path, and answers 200; or, while it is told to, 503, or never.
    pub async fn timed(at: SocketAddr) -> Self {
        Self::scripted(at, |mut wire, journal, _| async move {
            while let Some(head) = wire.head().await? {
                let arrival = Instant::now();
                journal.0.count.fetch_add(1, Ordering::Relaxed);
                let failing = journal.0.failing.load(Ordering::Relaxed);
                let hanging = journal.0.hanging.load(Ordering::Relaxed);
                journal.0.arrivals.lock().expect("no holder panics").push(Arrival {
                    at: arrival,
                    target: head.target().to_owned(),
                    failed: failing && !hanging,
                });
                if hanging {
                    return std::future::pending().await;
                }
                wire.body(&head).await?;
                let status = if failing { "503 Service Unavailable" } else { "200 OK" };
                wire.send(format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nfine"))
                    .await?;
            }
            Ok(())
        })
        .await
    }

    /// A service that runs `script` on each connection; its third argument numbers the connections from 0.
    ///
    /// A script that ends in an error is noted in [`Journal::broken`], unless the gateway only went away.
    pub async fn scripted<F, Fut>(at: SocketAddr, script: F) -> Self
    where
        F: Fn(Wire, Journal, usize) -> Fut + Send + 'static,
        Fut: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(at)
            .await
            .unwrap_or_else(|error| panic!("no service at {at}: {error}"));
        let address = listener.local_addr().expect("a bound listener has an address");
        let journal = Journal::default();
        let serving = tokio::spawn({
            let journal = journal.clone();
            async move {
                // The set aborts its tasks when it is dropped with this task.
                let mut conversations = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let number = journal.0.connections.fetch_add(1, Ordering::Relaxed);
                    let talk = script(Wire::new(stream), journal.clone(), number);
                    let journal = journal.clone();
                    conversations.spawn(async move {
                        if let Err(error) = talk.await {
                            journal.note_broken(number, &error);
                        }
                        journal.0.ended.fetch_add(1, Ordering::Relaxed);
                    });
                    while conversations.try_join_next().is_some() {}
                }
            }
        });
        Self {
            address,
            journal,
            serving,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`, as a target is written.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has seen.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Journal {
    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Connections that have ended, by whichever side.
    pub fn ended(&self) -> usize {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Requests seen so far.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// The heads of the requests, in the order of their arrival.
    pub fn requests(&self) -> Vec<Head> {
        self.0.requests.lock().expect("no holder panics").clone()
    }

    /// How many requests had this line's beginning, as `POST /charge`.
    pub fn count_of(&self, beginning: &str) -> usize {
        self.requests()
            .iter()
            .filter(|head| head.line.starts_with(beginning))
            .count()
    }

    /// The arrivals at a [`Backend::timed`], in their order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.0.arrivals.lock().expect("no holder panics").clone()
    }

    /// A [`Backend::timed`] answers 503 from now on, or 200 again.
    pub fn fail(&self, failing: bool) {
        self.0.failing.store(failing, Ordering::Relaxed);
    }

    /// A [`Backend::timed`] takes requests from now on and answers none of them, or answers those that come from now on.
    pub fn hang(&self, hanging: bool) {
        self.0.hanging.store(hanging, Ordering::Relaxed);
    }

    /// Conversations that ended in anything but the gateway's going away between two requests.
    pub fn broken(&self) -> Vec<String> {
        self.0.broken.lock().expect("no holder panics").clone()
    }

    /// Notes a request.
    pub fn note(&self, head: &Head) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.requests.lock().expect("no holder panics").push(head.clone());
    }

    fn note_broken(&self, connection: usize, error: &io::Error) {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        if !matches!(error.kind(), BrokenPipe | ConnectionReset) {
            self.0
                .broken
                .lock()
                .expect("no holder panics")
                .push(format!("connection {connection}: {error}"));
        }
    }
}

/// The echo service's conversation: strict reading, keep-alive unless the request asks for the end.
async fn echo(mut wire: Wire, journal: Journal, name: String) -> io::Result<()> {
    while let Some(head) = wire.head().await? {
        journal.note(&head);
        if head
            .field("expect")
            .is_some_and(|expect| expect.eq_ignore_ascii_case("100-continue"))
        {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let (body, trailers) = wire.body_and_trailers(&head).await?;
        wire.send(answer_of(&name, &head, &body, &trailers)).await?;
        if head
            .field("connection")
            .is_some_and(|connection| connection.eq_ignore_ascii_case("close"))
        {
            return wire.finish().await;
        }
    }
    Ok(())
}

/// The bytes of the echo service's answer to a request; no body after a HEAD.
pub fn answer_of(name: &str, head: &Head, body: &[u8], trailers: &[(String, String)]) -> Vec<u8> {
    let told = serde_json::json!({
        "name": name,
        "method": head.method(),
        "target": head.target(),
        "headers": head.fields,
        "length": body.len(),
        "sha256": digest(body),
        "trailers": trailers,
    })
    .to_string();
    let fields = format!(
        "content-type: application/json\r\nx-backend: {name}\r\ncontent-length: {}\r\n",
        told.len()
    );
    let content = if head.method() == "HEAD" { "" } else { &told };
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{content}").into_bytes()
}

/// SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, World};

    #[tokio::test]
    async fn the_echo_tells_what_it_got_and_counts() {
        let world = World::new();
        let echo = world.echo("a").await;
        let answer = Call::post(echo.address(), "/x?y=1", "hello")
            .header("x-one", "1")
            .answer()
            .await
            .expect(200);
        let told = answer.json();
        assert_eq!(told["target"], "/x?y=1");
        assert_eq!(told["length"], 5);
        assert_eq!(told["sha256"], digest(b"hello"));
        assert_eq!(
            (echo.journal().count_of("POST /x"), echo.journal().connections()),
            (1, 1)
        );
    }

    #[tokio::test]
    async fn a_script_may_close_without_an_answer() {
        let world = World::new();
        let rude = Backend::scripted(world.service(), |mut wire, journal, _| async move {
            if let Some(head) = wire.head().await? {
                journal.note(&head);
            }
            wire.reset();
            Ok(())
        })
        .await;
        assert!(Call::get(rude.address(), "/").send().await.is_err());
        assert_eq!(rude.journal().count(), 1);
    }
}
