//! The PROXY protocol, versions 1 and 2: what a balancer says before a connection of whose it is.
//!
//! Pure. The protocol is HAProxy's `doc/proxy-protocol.txt`, whose sections the comments name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

/// The longest header that is taken, in bytes. Addresses need 52; the rest is room for what a balancer adds (§2.2).
pub const LONGEST: usize = 8 * 1024;

/// The longest line of version 1 (§2.1).
const LONGEST_LINE: usize = 107;

const LINE: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;

const CRC32C: u8 = 0x03;

/// What stands at the begin of a connection, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The begin of a header; more has to come.
    Incomplete,
    /// A header.
    Complete {
        /// How many bytes it has; what follows is the client's.
        length: usize,
        /// Whose connection it is. `None`: the balancer's own, or of somebody it cannot name.
        source: Option<SocketAddr>,
    },
}

/// These bytes begin no header that could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither version's first bytes.
    #[error("no PROXY protocol header")]
    None,
    /// §2.1.
    #[error("a PROXY line that is none")]
    Line,
    /// §2.2: a version, command, family or transport that does not exist, or a length too short for its addresses.
    #[error("a binary PROXY header with values that do not exist")]
    Binary,
    /// §2.2: what follows the addresses does not fit into the length.
    #[error("a binary PROXY header whose additions do not fit")]
    Additions,
    /// §2.2.3.
    #[error("a binary PROXY header with another checksum than it says")]
    Checksum,
    /// More than [`LONGEST`].
    #[error("a binary PROXY header of more than {LONGEST} bytes")]
    TooLong,
}

/// Reads the header that `bytes` begin with. The same bytes with more behind them give the same, once it is not
/// [`Parsed::Incomplete`]; that is never said of [`LONGEST`] bytes.
///
/// # Errors
/// [`Malformed`]: then nothing on the connection is what it should be.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else if begins(bytes, LINE) {
        line(bytes)
    } else {
        Err(Malformed::None)
    }
}

fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let known = bytes.len().min(with.len());
    bytes[..known] == with[..known]
}

/// §2.1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, and the end of a line.
fn line(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let head = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
        return match head.len() {
            LONGEST_LINE => Err(Malformed::Line),
            _ => Ok(Parsed::Incomplete),
        };
    };
    let text = head[..end].strip_suffix(b"\r").and_then(|text| text.strip_prefix(LINE));
    let text = text
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or(Malformed::Line)?;
    let mut words = text.split(' ');
    let source = match words.next() {
        // What else such a line says means nothing.
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let [Some(source), Some(destination), Some(from), Some(to), None] = std::array::from_fn(|_| words.next())
            else {
                return Err(Malformed::Line);
            };
            address(family, destination)?;
            port(to)?;
            Some(SocketAddr::new(address(family, source)?, port(from)?))
        }
        _ => return Err(Malformed::Line),
    };
    Ok(Parsed::Complete {
        length: end + 1,
        source,
    })
}

fn address(family: &str, text: &str) -> Result<IpAddr, Malformed> {
    let address = match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        _ => text.parse::<Ipv6Addr>().map(IpAddr::V6),
    };
    address.map_err(|_| Malformed::Line)
}

/// Decimal, without a sign and without zeros in front.
fn port(text: &str) -> Result<u16, Malformed> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed::Line)
}

/// §2.2.
fn binary(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(&[version_command, family_transport, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        // What is wrong already is not waited for.
        return match bytes.get(SIGNATURE.len()) {
            Some(byte) if byte >> 4 != 2 => Err(Malformed::Binary),
            _ => Ok(Parsed::Incomplete),
        };
    };
    if version_command >> 4 != 2 {
        return Err(Malformed::Binary);
    }
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(Malformed::TooLong);
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Parsed::Incomplete);
    };
    let body = &header[FIXED..];
    let source = match version_command & 15 {
        // LOCAL: a check of the balancer's own, whatever the rest says.
        0 => None,
        1 => {
            let (source, addresses) = source(family_transport, body)?;
            verify(header, FIXED + addresses..length)?;
            source
        }
        _ => return Err(Malformed::Binary),
    };
    Ok(Parsed::Complete { length, source })
}

/// The client's address, where the family has one, and how many bytes both addresses take.
fn source(family_transport: u8, body: &[u8]) -> Result<(Option<SocketAddr>, usize), Malformed> {
    let (family, transport) = (family_transport >> 4, family_transport & 15);
    let length = match family {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(Malformed::Binary),
    };
    if transport > 2 || body.len() < length {
        return Err(Malformed::Binary);
    }
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let source = match (family, transport) {
        (1, 1) => {
            let octets: [u8; 4] = std::array::from_fn(|at| body[at]);
            Some(SocketAddr::new(Ipv4Addr::from(octets).into(), port(8)))
        }
        (2, 1) => {
            let octets: [u8; 16] = std::array::from_fn(|at| body[at]);
            Some(SocketAddr::new(Ipv6Addr::from(octets).into(), port(32)))
        }
        // Of no family, of a socket in the file system, or no stream: nobody who has an address here.
        _ => None,
    };
    Ok((source, length))
}

/// Walks through the additions; the checksum, where there is one, is over the whole header with its own four bytes zero.
fn verify(header: &[u8], additions: Range<usize>) -> Result<(), Malformed> {
    let mut at = additions.start;
    while at < additions.end {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else {
            return Err(Malformed::Additions);
        };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([high, low]));
        if value.end > additions.end {
            return Err(Malformed::Additions);
        }
        if kind == CRC32C {
            let Ok(told) = <[u8; 4]>::try_from(&header[value.clone()]) else {
                return Err(Malformed::Additions);
            };
            let before = crc32c::crc32c(&header[..value.start]);
            let sum = crc32c::crc32c_append(crc32c::crc32c_append(before, &[0; 4]), &header[value.end..]);
            if sum != u32::from_be_bytes(told) {
                return Err(Malformed::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
