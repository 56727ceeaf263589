//! Where an admin API is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an admin API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `http://HOST:PORT`, perhaps with a path in front of `/v1`.
    Http { authority: String, prefix: String },
    /// A Unix socket in a node's data folder.
    Socket(PathBuf),
}

impl Endpoint {
    /// `HOST:PORT` to connect to.
    pub(crate) fn host_port(authority: &str) -> String {
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = |what: &str| {
            format!(
                "{text:?} is not the URL of an admin API: {what}; write http://HOST:PORT, such as http://127.0.0.1:9080"
            )
        };
        let uri: http::Uri = text.parse().map_err(|_| why("it is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(why(
                    "TLS to the admin API is not built yet (use an SSH tunnel, or --data on its machine)",
                ));
            }
            Some(_) => return Err(why("its scheme is not http")),
            None => return Err(why("it has no scheme")),
        }
        let authority = uri.authority().ok_or_else(|| why("it has no host"))?.as_str();
        if authority.contains('@') {
            return Err(why("a token goes into SLUICE_ADMIN_TOKEN, not into the URL"));
        }
        if uri.query().is_some() {
            return Err(why("it has a query"));
        }
        Ok(Self::Http {
            authority: authority.to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { authority, prefix } => write!(f, "http://{authority}{prefix}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A text as one segment of a path, a value of a query or of a header of ours.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_as_it_was() {
        for (text, shown) in [
            ("http://127.0.0.1:9080", "http://127.0.0.1:9080"),
            ("http://[::1]:9080/ops/", "http://[::1]:9080/ops"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        assert_eq!(Endpoint::host_port("[::1]"), "[::1]:80");
        assert_eq!(Endpoint::host_port("n1:9080"), "n1:9080");
    }

    #[test]
    fn what_is_no_http_url_says_what_to_write() {
        for text in [
            "",
            "127.0.0.1:9080",
            "https://h:1",
            "ftp://h",
            "http://t@h:1",
            "http://h:1/?a=b",
            "/v1",
        ] {
            assert!(
                text.parse::<Endpoint>().unwrap_err().contains("http://127.0.0.1:9080"),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_encoded_as_one_segment() {
        assert_eq!(encode("a/b c%ü"), "a%2Fb%20c%25%C3%BC");
    }
}
