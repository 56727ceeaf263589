//! A target that is scripted frame by frame.

use crate::support::Conn;
use std::collections::VecDeque;
use std::future::Future;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// The last stream of a GOAWAY that only announces another.
pub const ALL_STREAMS: u32 = 0x7fff_ffff;

/// One connection at a target.
pub struct Peer {
    conn: Conn,
    decoder: fluke_hpack::Decoder<'static>,
    buffer: VecDeque<u8>,
    /// Whether pings are answered.
    pub pongs: bool,
    /// Whether the client is given room for what it sent.
    pub room: bool,
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub id: u32,
    pub payload: Vec<u8>,
    /// Of HEADERS.
    pub fields: Vec<(String, String)>,
}

impl Frame {
    pub fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Of RST_STREAM.
    pub fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

impl Peer {
    /// Reads the client's preface and sends settings.
    pub async fn new(conn: Conn, settings: &[(u16, u32)]) -> Option<Self> {
        let mut peer = Self::silent(conn).await?;
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        peer.say(frame(SETTINGS, 0, 0, &payload)).await;
        Some(peer)
    }

    /// Reads the client's preface and says nothing.
    pub async fn silent(mut conn: Conn) -> Option<Self> {
        let mut buffer = VecDeque::new();
        while buffer.len() < 24 {
            buffer.extend(conn.some().await?);
        }
        let preface: Vec<u8> = buffer.drain(..24).collect();
        assert_eq!(preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        Some(Self {
            conn,
            decoder: fluke_hpack::Decoder::new(),
            buffer,
            pongs: true,
            room: true,
        })
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.conn.say(bytes).await;
    }

    pub fn number(&self) -> usize {
        self.conn.number
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.conn.reset();
    }

    /// Closes in stages: at once, with frames unread, what was said last could be lost.
    pub async fn close(mut self) {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.conn.stream).await;
        self.rest().await;
    }

    /// The next frame that is not of the connection's own upkeep.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            let frame = self.any_frame().await?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.say(self::frame(SETTINGS, ACK, 0, &[])).await,
                PING if frame.flags & ACK == 0 && self.pongs => {
                    self.say(self::frame(PING, ACK, 0, &frame.payload)).await;
                }
                SETTINGS | PING | WINDOW_UPDATE => {}
                DATA => {
                    if self.room && !frame.payload.is_empty() {
                        let by = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
                        self.say(self::frame(WINDOW_UPDATE, 0, 0, &by)).await;
                        if !frame.ends() {
                            self.say(self::frame(WINDOW_UPDATE, 0, frame.id, &by)).await;
                        }
                    }
                    return Some(frame);
                }
                _ => return Some(frame),
            }
        }
    }

    /// The next head of a request.
    pub async fn request(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.kind == HEADERS {
                return Some(frame);
            }
        }
    }

    /// Whatever comes until the other side closes.
    pub async fn rest(&mut self) {
        while self.frame().await.is_some() {}
    }

    async fn any_frame(&mut self) -> Option<Frame> {
        let header = self.take(9).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = self.take(length).await?;
        let (kind, flags) = (header[3], header[4]);
        let mut fields = Vec::new();
        if kind == HEADERS {
            assert_eq!(flags & END_HEADERS, END_HEADERS, "a head in one frame");
            fields = self.decoder.decode(&payload).unwrap();
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Some(Frame {
            kind,
            flags,
            id: u32::from_be_bytes(header[5..].try_into().unwrap()),
            payload,
            fields: fields
                .into_iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        })
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.buffer.extend(self.conn.some().await?);
        }
        Some(self.buffer.drain(..length).collect())
    }
}

/// A target whose connections are served by `script`.
pub async fn target<F: Future<Output = ()> + 'static>(
    settings: &'static [(u16, u32)],
    script: impl Fn(Peer) -> F + Clone + 'static,
) -> crate::support::Backend {
    crate::support::Backend::new(move |conn| {
        let script = script.clone();
        async move {
            if let Some(peer) = Peer::new(conn, settings).await {
                script(peer).await;
            }
        }
    })
    .await
}

/// A target that answers each request with its path.
pub async fn echo(settings: &'static [(u16, u32)]) -> crate::support::Backend {
    target(settings, |mut peer| async move {
        while let Some(asked) = peer.request().await {
            let path = asked.field(":path").unwrap().to_owned();
            peer.say(answer(asked.id, &path)).await;
        }
    })
    .await
}

pub fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// HEADERS; with `flags` of [`END_STREAM`].
pub fn head(id: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // Literal without indexing, without Huffman (RFC 7541 §6.2.2).
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(HEADERS, flags | END_HEADERS, id, &block)
}

/// A number with a prefix of 7 bits (RFC 7541 §5.1).
fn length(block: &mut Vec<u8>, mut length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    length -= 127;
    while length >= 128 {
        block.push((length % 128) as u8 | 128);
        length /= 128;
    }
    block.push(length as u8);
}

/// DATA in frames as long as they may be.
pub fn data(id: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut pieces = bytes.chunks(16_384).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { flags } else { 0 };
        frames.extend(frame(DATA, flags, id, piece));
    }
    frames
}

pub fn reset(id: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, id, &code.to_be_bytes())
}

pub fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// 200 with a body.
pub fn answer(id: u32, body: &str) -> Vec<u8> {
    let mut bytes = head(id, 0, &[(":status", "200")]);
    bytes.extend(frame(DATA, END_STREAM, id, body.as_bytes()));
    bytes
}
