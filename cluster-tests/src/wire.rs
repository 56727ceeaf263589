//! One side of an HTTP/1.1 connection, byte by byte: for scripts that a library would not let anybody write.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a script waits for bytes before it says that none came.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection and the bytes read from it that no message has taken yet.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// The head of a message, as it was spelt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The request line or status line, without its end.
    pub line: String,
    /// The fields in their order, each name as spelt.
    pub fields: Vec<(String, String)>,
}

impl Wire {
    /// A connection that was accepted.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub async fn connect(to: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(crate::call::connect(to, None).await?))
    }

    /// Connects from a local address.
    ///
    /// # Errors
    /// The system's.
    pub async fn connect_from(to: SocketAddr, from: IpAddr) -> io::Result<Self> {
        Ok(Self::new(crate::call::connect(to, Some(from)).await?))
    }

    /// Writes all of these bytes.
    ///
    /// # Errors
    /// The other side is gone, or takes nothing for too long.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        bounded(self.stream.write_all(bytes.as_ref())).await?;
        self.stream.flush().await
    }

    /// Reads a head. `None`: the other side closed before its first byte.
    ///
    /// # Errors
    /// The connection broke, the other side fell silent, or what came is no head.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 4);
                return Head::parse(&text).map(Some);
            }
            if self.more().await? == 0 {
                return if self.unread.is_empty() {
                    Ok(None)
                } else {
                    Err(short("the head"))
                };
            }
        }
    }

    /// Reads the body that a head announces: by length, in chunks (trailers are dropped), or none.
    ///
    /// # Errors
    /// The body was cut short or its framing is wrong.
    pub async fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        Ok(self.body_and_trailers(head).await?.0)
    }

    /// [`Wire::body`], with the trailers.
    ///
    /// # Errors
    /// As there.
    pub async fn body_and_trailers(&mut self, head: &Head) -> io::Result<(Vec<u8>, Vec<(String, String)>)> {
        if head
            .field("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            return self.chunks().await;
        }
        let Some(length) = head.field("content-length") else {
            return Ok((Vec::new(), Vec::new()));
        };
        let length: usize = length.parse().map_err(|_| wrong(format!("Content-Length: {length}")))?;
        Ok((self.take(length).await?, Vec::new()))
    }

    /// Reads exactly this many bytes.
    ///
    /// # Errors
    /// Fewer came.
    pub async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            if self.more().await? == 0 {
                return Err(short("the body"));
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Reads to the end of the connection. A reset is an error, what came before it is lost with it.
    ///
    /// # Errors
    /// A reset, or no end within the patience.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more().await? > 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// Reads to the end of the connection or to its reset, which is told beside what came before.
    pub async fn rest_or_reset(&mut self) -> (Vec<u8>, Option<io::Error>) {
        loop {
            match self.more().await {
                Ok(0) => return (std::mem::take(&mut self.unread), None),
                Ok(_) => {}
                Err(error) => return (std::mem::take(&mut self.unread), Some(error)),
            }
        }
    }

    /// Sends back what comes, until the other side ends, however long it is silent.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn echo(&mut self) -> io::Result<()> {
        loop {
            let bytes = std::mem::take(&mut self.unread);
            self.send(bytes).await?;
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Ends the writing side; the reading side stays.
    ///
    /// # Errors
    /// The system's.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        // Without a lingering time, closing throws away what is unsent and answers with a reset.
        let _ = self.stream.set_zero_linger();
    }

    /// Bytes that came beyond the messages read so far and are at hand already.
    pub fn surplus(&self) -> &[u8] {
        &self.unread
    }

    /// Waits for more bytes, or the end (0).
    ///
    /// # Errors
    /// The connection broke or the other side fell silent.
    pub async fn more(&mut self) -> io::Result<usize> {
        bounded(self.stream.read_buf(&mut self.unread)).await
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 2);
                return Ok(line);
            }
            if self.more().await? == 0 {
                return Err(short("a line"));
            }
        }
    }

    async fn chunks(&mut self) -> io::Result<(Vec<u8>, Vec<(String, String)>)> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| wrong(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            body.extend(self.take(size).await?);
            let end = self.take(2).await?;
            if end != b"\r\n" {
                return Err(wrong(format!("a chunk ends in {end:?}")));
            }
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok((body, trailers));
            }
            trailers.push(split_field(&line)?);
        }
    }
}

impl Head {
    fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or("").to_owned();
        Ok(Self {
            line,
            fields: lines.map(split_field).collect::<io::Result<_>>()?,
        })
    }

    /// The first field of this name, in any spelling.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All fields of this name, in any spelling.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// A request's method.
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or("")
    }

    /// A request's target, as it came.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or("")
    }

    /// An answer's status; 0 where the line has none.
    pub fn status(&self) -> u16 {
        self.line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }
}

/// Where `needle` begins in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

async fn bounded<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let silence = || io::Error::new(ErrorKind::TimedOut, format!("nothing moved for {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(silence()))
}

fn split_field(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| wrong(format!("no field: {line:?}")))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn short(what: &str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, format!("the connection ended within {what}"))
}

fn wrong(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
