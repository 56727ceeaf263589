//! Whom a request is for: the host in its authority (RFC 9110 §7.2), and what a document says of hosts.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// RFC 1035 §2.3.4, in its written form without the last dot.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// The host of an authority, and the port if one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a> {
    name: Cow<'a, str>,
    port: Option<u16>,
}

/// A host in a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name alone.
    Exact(Box<str>),
    /// `*.example.com`, kept as `example.com`: one or more labels before it, not the bare name.
    Subdomains(Box<str>),
    /// `*`: any host.
    Any,
}

/// Why a text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing, or nothing before the port.
    #[error("the host is empty")]
    Empty,
    /// `user@host`.
    #[error("the host has user information before it")]
    UserInformation,
    /// A character that no host name has.
    #[error("the host has the character {0:?}")]
    Character(char),
    /// A name beyond ASCII, in a document.
    #[error("the host is not ASCII; write it in its xn-- form")]
    NotAscii,
    /// `a..b`, a dot in front, or a label of more than 63 bytes.
    #[error("the host has an empty label, or one of more than {LONGEST_LABEL} bytes")]
    Label,
    /// More than 253 bytes.
    #[error("the host has more than {LONGEST_NAME} bytes")]
    TooLong,
    /// Brackets without an IPv6 address in them.
    #[error("the host has brackets that hold no IPv6 address")]
    Address,
    /// Not a number below 65536.
    #[error("the port after the host is no port")]
    Port,
    /// A port, in a document.
    #[error("a host is written without a port: the port of a request is ignored")]
    PortGiven,
    /// A `*` that is neither alone nor the first label.
    #[error("a * stands alone, or for the labels in front as in *.example.com")]
    Wildcard,
}

// === impl Host ===

impl<'a> Host<'a> {
    /// Reads `host[:port]` as a Host field or the target of a request has it. The name becomes lower case and loses
    /// one dot at its end; an IPv6 address becomes its shortest form, in brackets. Borrows where nothing changes.
    ///
    /// # Errors
    ///
    /// [`HostError`]: the request gets a 400.
    pub fn parse(authority: &'a str) -> Result<Self, HostError> {
        if authority.contains('@') {
            return Err(HostError::UserInformation);
        }
        let end = match authority.strip_prefix('[') {
            Some(rest) => rest.find(']').ok_or(HostError::Address)? + 2,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let (name, port) = authority.split_at(end);
        Ok(Self {
            name: name_of(name)?,
            port: port_of(port)?,
        })
    }

    /// The name alone, for those who do not look at the port.
    ///
    /// # Errors
    ///
    /// As [`Host::parse`].
    pub fn parse_authority(authority: &'a str) -> Result<Cow<'a, str>, HostError> {
        Self::parse(authority).map(|host| host.name)
    }

    /// Lower case, without a port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As given; `host:` has none.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The name, without a copy where none was needed.
    pub fn into_name(self) -> Cow<'a, str> {
        self.name
    }
}

fn name_of(name: &str) -> Result<Cow<'_, str>, HostError> {
    if let Some(inside) = name.strip_prefix('[') {
        let inside = inside.strip_suffix(']').ok_or(HostError::Address)?;
        let address: Ipv6Addr = inside.parse().map_err(|_| HostError::Address)?;
        let normal = format!("[{address}]");
        return Ok(if normal == name {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(normal)
        });
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > LONGEST_NAME {
        return Err(HostError::TooLong);
    }
    let mut upper = false;
    let mut label = 0;
    for byte in name.bytes() {
        match byte {
            b'.' if label == 0 => return Err(HostError::Label),
            b'.' => {
                label = 0;
                continue;
            }
            b'A'..=b'Z' => upper = true,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            0x80.. => return Err(HostError::NotAscii),
            _ => return Err(HostError::Character(char::from(byte))),
        }
        label += 1;
        if label > LONGEST_LABEL {
            return Err(HostError::Label);
        }
    }
    if label == 0 {
        return Err(HostError::Label);
    }
    Ok(if upper {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

fn port_of(text: &str) -> Result<Option<u16>, HostError> {
    let Some(digits) = text.strip_prefix(':') else {
        return if text.is_empty() {
            Ok(None)
        } else {
            Err(HostError::Port)
        };
    };
    if digits.is_empty() {
        return Ok(None);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostError::Port);
    }
    digits.parse().map(Some).map_err(|_| HostError::Port)
}

// === impl HostPattern ===

impl HostPattern {
    /// Reads a host of a document: a name, an address (IPv6 in brackets), `*.name`, or `*`.
    ///
    /// # Errors
    ///
    /// [`HostError`] where it is none of these.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (name, wild) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err(HostError::Wildcard);
        }
        let host = Host::parse(name)?;
        if host.port.is_some() || name.ends_with(':') {
            return Err(HostError::PortGiven);
        }
        let name = host.into_name();
        match (wild, name.starts_with('[')) {
            (true, true) => Err(HostError::Wildcard),
            (true, false) => Ok(Self::Subdomains(name.into())),
            (false, _) => Ok(Self::Exact(name.into())),
        }
    }

    /// Whether it covers `name`, which is as [`Host::name`] gives it.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *name,
            Self::Subdomains(parent) => name
                .strip_suffix(&**parent)
                .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.')),
            Self::Any => true,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Subdomains(parent) => write!(f, "*.{parent}"),
            Self::Any => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clean_host_is_borrowed() {
        for (authority, port) in [
            ("shop.example.com", None),
            ("a_b.example:8080", Some(8080)),
            ("[::1]:1", Some(1)),
        ] {
            let host = Host::parse(authority).unwrap();
            assert_eq!(host.port(), port);
            assert!(matches!(host.into_name(), Cow::Borrowed(_)), "{authority}");
        }
    }

    #[test]
    fn case_port_and_last_dot_do_not_matter() {
        assert_eq!(
            Host::parse_authority("Shop.EXAMPLE.com.:8080").unwrap(),
            "shop.example.com"
        );
        assert_eq!(Host::parse_authority("shop.example.com:").unwrap(), "shop.example.com");
        assert_eq!(Host::parse_authority("[0:0:0:0:0:0:0:1]").unwrap(), "[::1]");
        assert_eq!(Host::parse_authority("[2001:DB8::A]:443").unwrap(), "[2001:db8::a]");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for (authority, error) in [
            ("", HostError::Empty),
            (":80", HostError::Empty),
            (".", HostError::Empty),
            ("user@host", HostError::UserInformation),
            ("a b", HostError::Character(' ')),
            ("a/b", HostError::Character('/')),
            ("a,b", HostError::Character(',')),
            ("a%2eb", HostError::Character('%')),
            ("é.example", HostError::NotAscii),
            ("a..b", HostError::Label),
            (".a", HostError::Label),
            ("a..", HostError::Label),
            ("[::1", HostError::Address),
            ("[::1%25eth0]", HostError::Address),
            ("[1.2.3.4]", HostError::Address),
            ("[::1]x", HostError::Port),
            ("a:65536", HostError::Port),
            ("a:+1", HostError::Port),
            ("a:b", HostError::Port),
            ("a:1:2", HostError::Port),
        ] {
            assert_eq!(Host::parse(authority), Err(error), "{authority}");
        }
        assert_eq!(Host::parse(&"a".repeat(64)), Err(HostError::Label));
        assert_eq!(Host::parse(&"a.".repeat(200)), Err(HostError::TooLong));
    }

    #[test]
    fn a_star_covers_one_or_more_labels_but_not_the_bare_name() {
        let pattern = HostPattern::parse("*.Shop.example.com").unwrap();
        assert_eq!(pattern.to_string(), "*.shop.example.com");
        assert!(pattern.matches("a.shop.example.com"));
        assert!(pattern.matches("x.a.shop.example.com"));
        assert!(!pattern.matches("shop.example.com"));
        assert!(!pattern.matches(".shop.example.com"));
        assert!(!pattern.matches("ashop.example.com"));
        assert!(HostPattern::Any.matches("anything"));
    }

    #[test]
    fn a_host_of_a_document_has_no_port_and_its_star_in_front() {
        assert_eq!(HostPattern::parse("a.example:80"), Err(HostError::PortGiven));
        assert_eq!(HostPattern::parse("a.example:"), Err(HostError::PortGiven));
        for text in ["a.*.example", "*a.example", "*.*.example", "**", "*.[::1]"] {
            assert_eq!(HostPattern::parse(text), Err(HostError::Wildcard), "{text}");
        }
        assert_eq!(HostPattern::parse("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
    }

    proptest! {
        #[test]
        fn reading_a_name_again_changes_nothing(authority in "[a-zA-Z0-9_.:\\[\\]-]{0,20}") {
            if let Ok(name) = Host::parse_authority(&authority) {
                let again = Host::parse(&name).unwrap();
                prop_assert_eq!(again.name(), name.as_ref());
                prop_assert_eq!(again.port(), None);
                prop_assert!(HostPattern::parse(&name).unwrap().matches(&name));
            }
        }

        #[test]
        fn a_pattern_prints_as_it_reads(text in "(\\*|\\*\\.)?[a-zA-Z0-9.-]{0,12}") {
            if let Ok(pattern) = HostPattern::parse(&text) {
                prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
            }
        }

        #[test]
        fn any_text_at_all_is_answered(text in any::<String>()) {
            let _ = Host::parse(&text);
            let _ = HostPattern::parse(&text);
        }
    }
}
