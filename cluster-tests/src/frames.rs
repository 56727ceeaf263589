//! A client of HTTP/2 that writes its frames itself: for what a library would not let anybody send.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A part of a body.
    Data = 0,
    /// The fields of a message.
    Headers = 1,
    /// Without meaning by now.
    Priority = 2,
    /// The end of a stream.
    RstStream = 3,
    /// What a side may expect.
    Settings = 4,
    /// A question that is answered by itself.
    Ping = 6,
    /// The end of a connection.
    Goaway = 7,
    /// How much more may be sent.
    WindowUpdate = 8,
    /// More fields.
    Continuation = 9,
    /// None that anybody knows.
    Unknown = 0x63,
}

/// The last of a stream, on DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// The last of the fields, on HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// An acknowledgement, on SETTINGS and PING.
pub const ACK: u8 = 1;

/// The code of what is no HTTP/2.
pub const PROTOCOL_ERROR: u32 = 1;
/// The code of a window that is too wide.
pub const FLOW_CONTROL_ERROR: u32 = 3;
/// The code of a frame for a stream that has ended.
pub const STREAM_CLOSED: u32 = 5;
/// The code of fields that cannot be read.
pub const COMPRESSION_ERROR: u32 = 9;
/// The code of a stream that its client does not want any more.
pub const CANCEL: u32 = 8;
/// The code for a client that has us do too much.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// How long a script waits for bytes before it says that none came.
const PATIENCE: Duration = Duration::from_secs(30);

/// The two halves of a connection that is open.
#[derive(Debug)]
pub struct Frames {
    /// For frames that go out.
    pub write: Writer,
    /// For those that come.
    pub read: Reader,
}

/// The sending half.
#[derive(Debug)]
pub struct Writer(OwnedWriteHalf);

/// The receiving half.
#[derive(Debug)]
pub struct Reader {
    half: OwnedReadHalf,
    unread: Vec<u8>,
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its kind, by number.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it holds.
    pub payload: Vec<u8>,
}

/// A frame as bytes.
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend([kind as u8, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A setting within a SETTINGS frame.
pub fn setting(name: u16, value: u32) -> Vec<u8> {
    let mut bytes = name.to_be_bytes().to_vec();
    bytes.extend(value.to_be_bytes());
    bytes
}

/// How a field stands in a list (RFC 7541 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal {
    /// And in no table.
    Plain = 0x00,
    /// And as the newest entry of the table.
    Indexed = 0x40,
}

/// The first entry of the table that a connection fills, as one byte (RFC 7541 §6.1).
pub const NEWEST_ENTRY: u8 = 0x80 | 62;

/// Fields as literals, names and values as they are.
pub fn fields(fields: &[(&str, &str)], how: Literal) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(how as u8);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(bytes: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        return bytes.push(value as u8);
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
}

/// The fields of a request to the host `h`.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", path),
    ];
    fields(&pseudo, Literal::Plain)
}

/// A GET without a body, as one frame.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(Kind::Headers, END_HEADERS | END_STREAM, stream, &request("GET", path))
}

impl Frames {
    /// Connects, and says the preface with these settings.
    ///
    /// # Errors
    /// The system's.
    pub async fn open(to: SocketAddr, settings: &[u8]) -> io::Result<Self> {
        let stream: TcpStream = crate::call::connect(to, None).await?;
        let (read, write) = stream.into_split();
        let mut frames = Self {
            write: Writer(write),
            read: Reader {
                half: read,
                unread: Vec::new(),
            },
        };
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(Kind::Settings, 0, 0, settings));
        frames.write.send(&bytes).await?;
        Ok(frames)
    }

    /// Sends what `next` makes, again and again, until the other side ends the connection or `most` were sent, while
    /// all that comes is read and dropped. Gives how many were sent, and the code of the GOAWAY, if one came.
    pub async fn flood(self, most: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> (usize, Option<u32>) {
        let Self { mut write, mut read } = self;
        let reading = tokio::spawn(async move { read.goaway().await });
        let mut sent = 0;
        while sent < most && !reading.is_finished() && write.send(&next(sent)).await.is_ok() {
            sent += 1;
        }
        let _ = write.0.shutdown().await;
        (sent, reading.await.ok().flatten())
    }
}

impl Writer {
    /// Writes all of these bytes.
    ///
    /// # Errors
    /// The other side is gone, or takes nothing for too long.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        tokio::time::timeout(PATIENCE, self.0.write_all(bytes)).await?
    }
}

impl Reader {
    /// The next frame. `None`: the connection has ended, whichever way.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            match tokio::time::timeout(PATIENCE, self.half.read_buf(&mut self.unread)).await {
                Ok(Ok(1..)) => {}
                _ => return None,
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let [a, b, c, kind, flags, s, t, u, v] = *self.unread.first_chunk::<9>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let payload = self.unread.get(9..9 + length)?.to_vec();
        self.unread.drain(..9 + length);
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s, t, u, v]),
            payload,
        })
    }

    /// Reads to the end, and gives the code of the GOAWAY, if one came.
    pub async fn goaway(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == Kind::Goaway as u8 {
                code = Some(frame.code());
            }
        }
        code
    }
}

impl Frame {
    /// The code of a RST_STREAM or GOAWAY.
    ///
    /// # Panics
    /// It is neither.
    pub fn code(&self) -> u32 {
        let at = if self.kind == Kind::Goaway as u8 { 4 } else { 0 };
        u32::from_be_bytes(*self.payload[at..].first_chunk().expect("four bytes"))
    }
}
