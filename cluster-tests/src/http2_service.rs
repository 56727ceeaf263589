//! Services of HTTP/2: frame by frame on a [`Wire`], for what no library would do.

use crate::wire::Wire;
use std::collections::HashMap;
use std::io;

/// A part of a body.
pub const DATA: u8 = 0;
/// The fields of a message.
pub const HEADERS: u8 = 1;
/// The end of a stream.
pub const RST_STREAM: u8 = 3;
/// The end of a connection.
pub const GOAWAY: u8 = 7;
/// On DATA and HEADERS: the last of a stream.
pub const END_STREAM: u8 = 1;
/// The last stream of a GOAWAY that only announces another.
pub const ALL_STREAMS: u32 = 0x7fff_ffff;
/// The code of an end without a fault.
pub const NO_ERROR: u32 = 0;
/// The code of a stream that is not wanted any more.
pub const CANCEL: u32 = 8;

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The service's side of a connection.
pub struct Service {
    wire: Wire,
    decoder: fluke_hpack::Decoder<'static>,
}

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    /// Its kind.
    pub kind: u8,
    /// Its stream.
    pub stream: u32,
    /// What it holds.
    pub payload: Vec<u8>,
    /// Of HEADERS.
    pub fields: HashMap<String, String>,
    flags: u8,
}

// === impl Frame ===

impl Frame {
    /// Whether the client's side of the stream ends with it.
    pub fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

// === impl Service ===

impl Service {
    /// Reads the client's preface and sends settings.
    ///
    /// # Errors
    /// The connection broke, or does not begin as HTTP/2 does.
    pub async fn open(mut wire: Wire) -> io::Result<Self> {
        let preface = wire.take(24).await?;
        if preface != b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no preface of HTTP/2"));
        }
        let mut service = Self {
            wire,
            decoder: fluke_hpack::Decoder::new(),
        };
        service.say(frame(SETTINGS, 0, 0, &[])).await?;
        Ok(service)
    }

    /// Sends frames.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn say(&mut self, frames: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(frames).await
    }

    /// The next frame that is not of the connection's own upkeep; None at the end. Gives room for what came.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP/2.
    pub async fn frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let Some(frame) = self.any().await? else {
                return Ok(None);
            };
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.say(self::frame(SETTINGS, ACK, 0, &[])).await?,
                PING if frame.flags & ACK == 0 => self.say(self::frame(PING, ACK, 0, &frame.payload)).await?,
                SETTINGS | PING | WINDOW_UPDATE => {}
                DATA => {
                    if !frame.payload.is_empty() {
                        let by = (frame.payload.len() as u32).to_be_bytes();
                        self.say(self::frame(WINDOW_UPDATE, 0, 0, &by)).await?;
                        if !frame.ends() {
                            self.say(self::frame(WINDOW_UPDATE, 0, frame.stream, &by)).await?;
                        }
                    }
                    return Ok(Some(frame));
                }
                _ => return Ok(Some(frame)),
            }
        }
    }

    /// Sends FIN and reads to the client's own: closed with frames unread, what was said last could be lost.
    ///
    /// # Errors
    /// The connection broke before.
    pub async fn close(mut self) -> io::Result<()> {
        self.wire.finish().await?;
        self.wire.rest().await.map(drop)
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.wire.reset();
    }

    async fn any(&mut self) -> io::Result<Option<Frame>> {
        if self.wire.surplus().is_empty() && self.wire.more().await? == 0 {
            return Ok(None);
        }
        let header = self.wire.take(9).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = self.wire.take(length).await?;
        let (kind, flags) = (header[3], header[4]);
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let mut fields = HashMap::new();
        if kind == HEADERS {
            let decoded = self
                .decoder
                .decode(&payload)
                .map_err(|_| invalid("fields that cannot be read"))?;
            for (name, value) in decoded {
                let text = |bytes| String::from_utf8(bytes).map_err(|_| invalid("a field that is no text"));
                fields.insert(text(name)?, text(value)?);
            }
        }
        Ok(Some(Frame {
            kind,
            stream: u32::from_be_bytes([header[5], header[6], header[7], header[8]]),
            payload,
            fields,
            flags,
        }))
    }
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// HEADERS with these fields as literals, each text shorter than 127 bytes.
pub fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    frame(HEADERS, flags | END_HEADERS, stream, &block)
}

/// DATA, in frames as long as they may be.
pub fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let count = bytes.len().div_ceil(16_384).max(1);
    let pieces = (0..count).map(|i| &bytes[i * 16_384..bytes.len().min((i + 1) * 16_384)]);
    let frames = pieces.enumerate().map(|(i, piece)| {
        let flags = if i + 1 == count { flags } else { 0 };
        frame(DATA, flags, stream, piece)
    });
    frames.flatten().collect()
}

/// 200 with a body.
pub fn answer(stream: u32, body: &str) -> Vec<u8> {
    let head = head(stream, 0, &[(":status", "200")]);
    [head, data(stream, END_STREAM, body.as_bytes())].concat()
}

/// RST_STREAM.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// GOAWAY.
pub fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}
