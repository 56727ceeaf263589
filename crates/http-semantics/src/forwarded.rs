//! Who is behind a request, by whom we trust, and the fields that tell the service.
//!
//! Trust begins with the address that the connection comes from. It is believed only if one of the gateway's
//! `trusted_proxies` holds it:
//!
//! | | the immediate peer is trusted | it is not |
//! |---|---|---|
//! | client | walking the list from the right over trusted addresses: the first that is not one, else the leftmost | the peer |
//! | scheme, host, port | as the peer tells them, where they are well-formed | of the connection, the `Host`, the listener |
//! | request id | taken over if it can do no harm | ours |
//! | what the service gets | the list from that client on, and the peer | the peer alone |
//! | other reserved names ([`reserved`]) | kept as they are | dropped |
//! | reserved names with underscores | dropped | dropped |
//!
//! The list is `X-Forwarded-For` where there is one, else `Forwarded` (RFC 7239): a proxy that keeps only the first
//! lets the second through from anybody, and the first is the one that nearly all keep. Scheme, host and port are read
//! from the same family. What stands left of the client was written by whoever the client is, and is cut, so that a
//! service that reads the leftmost address reads the right one. Both families are then written anew from one list, and
//! stay in step along a chain of gateways.
//!
//! A proxy that is trusted has to set, or clear, what it does not vouch for; that is what trusting it means.

mod list;

use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::reserved;
use http::Version;
use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, VIA};
use ipnet::IpNet;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Port`.
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What every request gets added to its `Via` (RFC 9110 §7.6.3).
const VIA_HTTP1: HeaderValue = HeaderValue::from_static("1.1 sluice");
const VIA_HTTP2: HeaderValue = HeaderValue::from_static("2.0 sluice");

/// Addresses of a list that are looked at, from the right.
const LONGEST_WALK: usize = 64;

/// How a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

/// What a connection says of the one who sends on it. Made once for each connection.
#[derive(Debug, Clone)]
pub struct Peer {
    address: IpAddr,
    scheme: Scheme,
    /// For `X-Forwarded-For`.
    node: HeaderValue,
    /// For `X-Forwarded-Port`.
    port_text: HeaderValue,
    port: u16,
    /// `for=…`, for `Forwarded`.
    element: Box<str>,
    /// What a connection asked for last, and the `Forwarded` of that: nearly all ask for one host only.
    last: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

/// Who is behind a request and what they asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The client's address.
    pub client: IpAddr,
    /// How the client came in.
    pub scheme: Scheme,
    /// The authority that the client asked for, as it was written; none from an HTTP/1.0 client that named none.
    pub host: Option<HeaderValue>,
    /// The port that the client came to.
    pub port: u16,
    /// The peer is a trusted proxy.
    pub trusted: bool,
    /// The id that a trusted peer gave the request.
    pub request_id: Option<RequestId>,
    /// From the client on to the hop before the peer. Empty if the peer is the client.
    chain: Vec<IpAddr>,
}

/// What a trusted peer says of the client's own request.
#[derive(Default)]
struct Told {
    chain: Vec<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<HeaderValue>,
    port: Option<u16>,
}

// === impl Scheme ===

impl Scheme {
    /// As a URI has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if text.eq_ignore_ascii_case(b"https") || text.eq_ignore_ascii_case(b"wss") {
            Some(Self::Https)
        } else if text.eq_ignore_ascii_case(b"http") || text.eq_ignore_ascii_case(b"ws") {
            Some(Self::Http)
        } else {
            None
        }
    }
}

// === impl Peer ===

impl Peer {
    /// `address` of the other end (an IPv4 address in IPv6 form is taken for the IPv4 address), `scheme` that is spoken,
    /// and the `port` of the listener.
    pub fn new(address: IpAddr, scheme: Scheme, port: u16) -> Self {
        let address = address.to_canonical();
        let mut element = String::new();
        push_for(address, &mut element);
        Self {
            address,
            scheme,
            node: text_value(address.to_string()),
            port_text: HeaderValue::from(port),
            port,
            element: element.into(),
            last: RefCell::new(None),
        }
    }

    /// The other end of the connection.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The `Forwarded` of a request that the peer itself made for `host`.
    fn forwarded(&self, host: &HeaderValue, make: impl FnOnce() -> HeaderValue) -> HeaderValue {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((known, forwarded)) if known == host => forwarded.clone(),
            _ => {
                let forwarded = make();
                // A copy: the value of a request holds all of the request's head.
                if let Ok(host) = HeaderValue::from_bytes(host.as_bytes()) {
                    *last = Some((host, forwarded.clone()));
                }
                forwarded
            }
        }
    }

    /// Whether one of `trusted` holds it.
    pub fn is_trusted(&self, trusted: &[IpNet]) -> bool {
        holds(trusted, self.address)
    }
}

// === impl Inbound ===

impl Inbound {
    /// Reads who is behind a request. `headers` are the client's own, with the `Host` by which the request is served.
    /// Allocates nothing unless the peer is trusted.
    pub fn resolve(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> Self {
        let host = headers.get(HOST).filter(|host| is_authority(host)).cloned();
        if !peer.is_trusted(trusted) {
            return Self::of_stranger(peer, host);
        }
        let told = Told::read(headers, trusted);
        Self {
            client: told.chain.first().copied().unwrap_or(peer.address),
            scheme: told.scheme.unwrap_or(peer.scheme),
            port: told.port(peer),
            host: told.host.or(host),
            trusted: true,
            request_id: RequestId::from_headers(headers),
            chain: told.chain,
        }
    }

    /// A request of a peer that is not trusted, for a `host` that was found to be one.
    pub fn of_stranger(peer: &Peer, host: Option<HeaderValue>) -> Self {
        Self {
            client: peer.address,
            scheme: peer.scheme,
            host,
            port: peer.port,
            trusted: false,
            request_id: None,
            chain: Vec::new(),
        }
    }

    /// Drops what the client may not say, and writes ours: `Forwarded`, `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`,
    /// `X-Request-Id`, and one more `Via`, with the version by which the request came.
    pub fn write(&self, headers: &mut HeaderMap, peer: &Peer, id: &RequestId, version: Version) {
        self.drop_reserved(headers);
        let make = || text_value(self.elements(headers.get(HOST), peer));
        let forwarded = match &self.host {
            Some(host) if self.chain.is_empty() && self.scheme == peer.scheme => peer.forwarded(host, make),
            _ => make(),
        };
        headers.insert(FORWARDED, forwarded);
        headers.insert(X_FORWARDED_FOR, self.addresses(peer));
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme.as_str()));
        match &self.host {
            Some(host) => drop(headers.insert(X_FORWARDED_HOST, host.clone())),
            None => drop(headers.remove(X_FORWARDED_HOST)),
        }
        let port = if self.port == peer.port {
            peer.port_text.clone()
        } else {
            HeaderValue::from(self.port)
        };
        headers.insert(X_FORWARDED_PORT, port);
        headers.insert(X_REQUEST_ID, id.as_value().clone());
        let via = match version {
            Version::HTTP_2 => VIA_HTTP2,
            _ => VIA_HTTP1,
        };
        headers.append(VIA, via);
    }

    fn drop_reserved(&self, headers: &mut HeaderMap) {
        let unwanted = |name: &&HeaderName| reserved::is_hidden(name.as_str(), self.trusted);
        // Nothing is collected, and so nothing allocated, where there is nothing to drop.
        let names: Vec<HeaderName> = headers.keys().filter(unwanted).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }

    fn addresses(&self, peer: &Peer) -> HeaderValue {
        if self.chain.is_empty() {
            return peer.node.clone();
        }
        let mut text = String::with_capacity(16 * (self.chain.len() + 1));
        for address in &self.chain {
            // Writing to a String cannot fail.
            let _ = write!(text, "{address}, ");
        }
        let _ = write!(text, "{}", peer.address);
        text_value(text)
    }

    /// One element for each hop; what the client asked for stands in the first, what the peer asked of us in its own.
    fn elements(&self, own_host: Option<&HeaderValue>, peer: &Peer) -> String {
        let mut text = String::with_capacity(96 + 24 * self.chain.len());
        for (index, address) in self.chain.iter().enumerate() {
            push_for(*address, &mut text);
            if index == 0 {
                push_asked(self.host.as_ref(), self.scheme, &mut text);
            }
            text.push_str(", ");
        }
        text.push_str(&peer.element);
        if self.chain.is_empty() {
            push_asked(self.host.as_ref(), self.scheme, &mut text);
        } else {
            push_asked(own_host.filter(|host| is_authority(host)), peer.scheme, &mut text);
        }
        text
    }
}

// === impl Told ===

impl Told {
    fn read(headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        if headers.contains_key(FORWARDED) && !headers.contains_key(X_FORWARDED_FOR) {
            return Self::from_forwarded(headers, trusted);
        }
        let nodes = list::elements(headers, &X_FORWARDED_FOR);
        let chain = walk(nodes.iter().map(|node| list::address(node)), trusted);
        // Where each proxy added one of its own, the client's stands beside the client's address.
        let beside = |name: &HeaderName| {
            let values = list::elements(headers, name);
            let in_step = values.len() == nodes.len() && !chain.is_empty();
            match values.as_slice() {
                [] => None,
                [.., last] if !in_step => Some(*last),
                values => values.get(values.len() - chain.len()).copied(),
            }
        };
        let authority = |value: &[u8]| HeaderValue::from_bytes(value).ok().filter(is_authority);
        Self {
            scheme: beside(&X_FORWARDED_PROTO).and_then(Scheme::parse),
            host: beside(&X_FORWARDED_HOST).and_then(authority),
            port: beside(&X_FORWARDED_PORT).and_then(list::port),
            chain,
        }
    }

    fn from_forwarded(headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        // One that cannot be read says nothing: a quote left open by a client would swallow what a proxy added.
        let Some(hops) = list::forwarded(headers) else {
            return Self::default();
        };
        let chain = walk(hops.iter().map(|hop| hop.node), trusted);
        let first = hops.len().checked_sub(chain.len().max(1)).and_then(|at| hops.get(at));
        Self {
            scheme: first.and_then(|hop| hop.proto),
            host: first.and_then(|hop| hop.host.clone()),
            port: None,
            chain,
        }
    }

    fn port(&self, peer: &Peer) -> u16 {
        let of_host = |host: &HeaderValue| crate::host::Host::parse(host.to_str().ok()?).ok()?.port();
        self.port
            .or_else(|| self.host.as_ref().and_then(of_host))
            .or_else(|| self.scheme.map(Scheme::default_port))
            .unwrap_or(peer.port)
    }
}

/// The addresses from the client on, in their order. Ends at what is no address: nobody vouches for what is left of it.
fn walk(nodes: impl DoubleEndedIterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> Vec<IpAddr> {
    let mut chain = Vec::new();
    for node in nodes.rev().take(LONGEST_WALK) {
        let Some(address) = node else { break };
        chain.push(address);
        if !holds(trusted, address) {
            break;
        }
    }
    chain.reverse();
    chain
}

fn holds(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// It may be written between quotes, and into a list.
fn is_authority(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| crate::host::Host::parse(text).is_ok())
}

/// RFC 7239 §6: an IPv6 address in brackets and quotes.
fn push_for(address: IpAddr, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match address {
        IpAddr::V4(address) => write!(out, "for={address}"),
        IpAddr::V6(address) => write!(out, "for=\"[{address}]\""),
    };
}

fn push_asked(host: Option<&HeaderValue>, scheme: Scheme, out: &mut String) {
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        // A token needs no quotes (RFC 7239 §4); a port or an IPv6 address does.
        let quote = if host.contains([':', '[']) { "\"" } else { "" };
        for part in [";host=", quote, host, quote] {
            out.push_str(part);
        }
    }
    out.push_str(";proto=");
    out.push_str(scheme.as_str());
}

/// Of text that is made of addresses, authorities and our own words: all legal in a value.
fn text_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
