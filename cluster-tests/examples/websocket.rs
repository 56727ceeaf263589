//! The two ends of the benchmark's WebSocket row: an echo service, and a load of small messages.
//!
//! ```text
//! websocket echo ADDRESS
//! websocket load ADDRESS SECONDS SOCKETS BYTES
//! ```
//!
//! Each end is one thread. Every socket of the load has one message under way: it sends, waits for the echo, and sends
//! again. The last line of `load` is tab-separated: messages, seconds, p50 and p99 in milliseconds, errors. Nothing of
//! RFC 6455 is here that the row does not need: no fragments, no control frames but Close, messages below 64 KiB.

use std::env::args;
use std::error::Error;
use std::io::{Error as IoError, ErrorKind, Write as _, stdout};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet, spawn_local};

/// The key of the example in RFC 6455 §1.3, and the accept value that belongs to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const HEAD_LIMIT: usize = 16 * 1024;
/// A socket that hears nothing for so long counts as an error.
const PATIENCE: Duration = Duration::from_secs(10);

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    match words[..] {
        ["echo", address] => local.block_on(&runtime, serve(address.parse()?)),
        ["load", address, seconds, sockets, bytes] => {
            let load = Load {
                address: address.parse()?,
                time: Duration::from_secs(seconds.parse()?),
                sockets: sockets.parse()?,
                bytes: bytes.parse()?,
            };
            local.block_on(&runtime, load.run())
        }
        _ => Err("websocket echo ADDRESS | websocket load ADDRESS SECONDS SOCKETS BYTES".into()),
    }
}

// === the service ===

async fn serve(address: SocketAddr) -> Result<(), Failure> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        spawn_local(async move {
            // A socket that breaks is the load's to count.
            drop(echo(stream).await);
        });
    }
}

async fn echo(mut stream: TcpStream) -> Result<(), IoError> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(4096);
    let head = read_head(&mut stream, &mut input).await?;
    if !head.to_ascii_lowercase().contains("upgrade: websocket") {
        return stream
            .write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
            .await;
    }
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut output = Vec::with_capacity(4096);
    loop {
        let mut at = 0;
        while let Some(frame) = Frame::parse(&input[at..])? {
            let payload = &mut input[at + frame.start..at + frame.end];
            if let Some(mask) = frame.mask {
                payload
                    .iter_mut()
                    .zip(mask.iter().cycle())
                    .for_each(|(octet, key)| *octet ^= key);
            }
            write_frame(&mut output, frame.first, None, payload);
            at += frame.end;
        }
        input.drain(..at);
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

// === the load ===

#[derive(Clone, Copy)]
struct Load {
    address: SocketAddr,
    time: Duration,
    sockets: usize,
    bytes: usize,
}

impl Load {
    async fn run(self) -> Result<(), Failure> {
        let mut opened = Vec::with_capacity(self.sockets);
        for _ in 0..self.sockets {
            opened.push(tokio::time::timeout(PATIENCE, handshake(self.address)).await??);
        }
        let begun = Instant::now();
        let until = begun + self.time;
        let mut sockets = JoinSet::new();
        for stream in opened {
            sockets.spawn_local(self.converse(stream, until));
        }
        let mut waits = Vec::new();
        let mut errors = 0;
        while let Some(ended) = sockets.join_next().await {
            let (heard, whole) = ended?;
            waits.extend(heard);
            errors += usize::from(!whole);
        }
        let seconds = begun.elapsed().as_secs_f64();
        waits.sort_unstable();
        let (p50, p99) = (quantile(&waits, 50), quantile(&waits, 99));
        writeln!(stdout(), "{}\t{seconds:.3}\t{p50:.3}\t{p99:.3}\t{errors}", waits.len())?;
        Ok(())
    }

    /// One message after the other; how long each took in microseconds, and whether the socket stayed whole.
    async fn converse(self, mut stream: TcpStream, until: Instant) -> (Vec<u32>, bool) {
        let mut waits = Vec::new();
        let mut message = Vec::new();
        // A mask of 0 leaves the payload as it is; a service cannot tell it from another.
        write_frame(&mut message, 0x82, Some([0; 4]), &vec![b'x'; self.bytes]);
        let mut input = Vec::with_capacity(message.len() + 16);
        while Instant::now() < until {
            let sent = Instant::now();
            let exchanged =
                tokio::time::timeout(PATIENCE, exchange(&mut stream, &message, &mut input, self.bytes)).await;
            if !matches!(exchanged, Ok(Ok(()))) {
                return (waits, false);
            }
            waits.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        (waits, true)
    }
}

async fn handshake(address: SocketAddr) -> Result<TcpStream, IoError> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut input = Vec::new();
    let head = read_head(&mut stream, &mut input).await?;
    if !head.starts_with("HTTP/1.1 101 ") || !input.is_empty() {
        return Err(broken(format!("no 101: {}", head.lines().next().unwrap_or_default())));
    }
    Ok(stream)
}

async fn exchange(stream: &mut TcpStream, message: &[u8], input: &mut Vec<u8>, bytes: usize) -> Result<(), IoError> {
    stream.write_all(message).await?;
    loop {
        if let Some(frame) = Frame::parse(input)? {
            let right = frame.first == 0x82 && frame.end - frame.start == bytes && frame.end == input.len();
            input.clear();
            return if right {
                Ok(())
            } else {
                Err(broken("another message".into()))
            };
        }
        if stream.read_buf(input).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

fn quantile(sorted: &[u32], percent: usize) -> f64 {
    sorted
        .get(sorted.len() * percent / 100)
        .map_or(0.0, |micros| f64::from(*micros) / 1000.0)
}

// === frames and heads ===

/// Where the parts of a whole frame are (RFC 6455 §5.2).
struct Frame {
    /// FIN, the reserved bits and the opcode.
    first: u8,
    mask: Option<[u8; 4]>,
    start: usize,
    end: usize,
}

impl Frame {
    /// `None` until the frame is whole.
    fn parse(input: &[u8]) -> Result<Option<Self>, IoError> {
        let [first, second, rest @ ..] = input else {
            return Ok(None);
        };
        let (length, mut start) = match (second & 0x7f, rest) {
            (127, _) => return Err(broken("a frame of 64 KiB or more".into())),
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
            (126, _) => return Ok(None),
            (length, _) => (usize::from(length), 2),
        };
        let mask = if second & 0x80 == 0 {
            None
        } else {
            let Some(mask) = input[start..].first_chunk::<4>() else {
                return Ok(None);
            };
            start += 4;
            Some(*mask)
        };
        let end = start + length;
        Ok((input.len() >= end).then_some(Self {
            first: *first,
            mask,
            start,
            end,
        }))
    }
}

fn write_frame(output: &mut Vec<u8>, first: u8, mask: Option<[u8; 4]>, payload: &[u8]) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    output.push(first);
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => output.push(masked | length),
        _ => {
            output.push(masked | 126);
            // Longer ones are refused when they are read.
            output.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    output.extend_from_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
    output.extend_from_slice(payload);
}

/// Reads up to the empty line; what came behind it stays in `input`.
async fn read_head(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<String, IoError> {
    loop {
        if let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&input[..end]).into_owned();
            input.drain(..end + 4);
            return Ok(head);
        }
        if input.len() > HEAD_LIMIT {
            return Err(broken("a head beyond 16 KiB".into()));
        }
        if stream.read_buf(input).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

fn broken(what: String) -> IoError {
    IoError::new(ErrorKind::InvalidData, what)
}
