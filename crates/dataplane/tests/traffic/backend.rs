//! A service that is scripted byte by byte.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Backend {
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    journal: Journal,
}

/// Heads of requests, in the order in which they came.
type Journal = Arc<Mutex<Vec<String>>>;

/// One connection at the backend.
pub struct Conn {
    pub stream: TcpStream,
    journal: Journal,
    buffer: Vec<u8>,
}

pub struct Got {
    pub head: String,
    /// As it was framed: chunks and trailers are not taken apart.
    pub body: Vec<u8>,
}

impl Got {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The target of the request.
    pub fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

impl Backend {
    pub async fn new<F: Future<Output = ()> + Send + 'static>(script: impl Fn(Conn) -> F + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, journal) = (Arc::new(AtomicUsize::new(0)), Journal::default());
        let (count, lines) = (Arc::clone(&accepted), Arc::clone(&journal));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(Conn {
                    stream,
                    journal: Arc::clone(&lines),
                    buffer: Vec::new(),
                }));
            }
        });
        Self {
            address,
            accepted,
            journal,
        }
    }

    /// Answers each request by `answer`, connections kept.
    pub async fn answering(answer: impl Fn(&Got) -> String + Send + Sync + Clone + 'static) -> Self {
        Self::new(move |mut conn| {
            let answer = answer.clone();
            async move {
                while let Some(got) = conn.request().await {
                    conn.say(answer(&got)).await;
                }
            }
        })
        .await
    }

    /// Answers each request with what it got, head and body, as it was framed.
    pub async fn mirror() -> Self {
        Self::answering(|got| ok(&format!("{}{}", got.head, String::from_utf8_lossy(&got.body)))).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub fn heads(&self) -> Vec<String> {
        self.journal.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.journal.lock().unwrap().len()
    }
}

impl Conn {
    /// The next head; None at the end of the connection.
    pub async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
                self.journal.lock().unwrap().push(head.clone());
                return Some(head);
            }
            self.fill().await?;
        }
    }

    /// The next request, with its body.
    pub async fn request(&mut self) -> Option<Got> {
        let head = self.head().await?;
        let body = self.body(&head).await?;
        Some(Got { head, body })
    }

    /// The body that belongs to `head`.
    pub async fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        if field(head, "transfer-encoding").is_some() {
            loop {
                let last = if self.buffer.starts_with(b"0\r\n") {
                    Some(0)
                } else {
                    find(&self.buffer, b"\r\n0\r\n").map(|at| at + 2)
                };
                if let Some(last) = last
                    && let Some(end) = find(&self.buffer[last..], b"\r\n\r\n")
                {
                    return Some(self.buffer.drain(..last + end + 4).collect());
                }
                self.fill().await?;
            }
        }
        let length: usize = field(head, "content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn fill(&mut self) -> Option<()> {
        self.buffer.reserve(65536);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// What was read and belongs to no request yet, and what waits at the socket.
    pub fn waiting(&mut self) -> Vec<u8> {
        let mut more = [0; 4096];
        let n = self.stream.try_read(&mut more).unwrap_or(0);
        [self.buffer.as_slice(), &more[..n]].concat()
    }

    /// So many bytes, whatever they are; None at the end of the connection.
    pub async fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Says what it gets, until the other side closes.
    pub async fn echo(&mut self) {
        loop {
            let bytes = std::mem::take(&mut self.buffer);
            self.say(bytes).await;
            if self.fill().await.is_none() {
                return;
            }
        }
    }

    /// Closes its sending side.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Keeps the connection as it is.
    pub async fn never(&mut self) {
        std::future::pending::<()>().await;
    }

    /// Whatever comes until the other side closes, and whether it did so by a reset.
    pub async fn rest_or_reset(&mut self) -> (Vec<u8>, bool) {
        let result = self.stream.read_to_end(&mut self.buffer).await;
        (std::mem::take(&mut self.buffer), result.is_err())
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Whatever comes until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await.is_some() {}
        std::mem::take(&mut self.buffer)
    }
}

pub fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
