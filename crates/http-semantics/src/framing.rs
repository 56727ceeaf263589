//! What hyper lets through about framing and host, and we do not.

use crate::host::{Host, HostError};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Uri, Version};

/// Why a request cannot be told from two, or for whom it is. All get a 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// hyper looks only at the last coding (`gzip, chunked`, `chunked, chunked`).
    #[error("Transfer-Encoding is something else than chunked")]
    TransferEncoding,
    /// RFC 9112 §3.2.
    #[error("the request has no Host")]
    NoHost,
    /// RFC 9112 §3.2.
    #[error("the request has more than one Host")]
    ManyHosts,
    /// The Host or the target's authority is none.
    #[error("the request's host is wrong: {0}")]
    Host(#[from] HostError),
    /// A Host beyond ASCII.
    #[error("the request's Host is not text")]
    HostBytes,
}

/// Refuses codings other than `chunked` alone, once. Whatever they were, the body goes on chunked anew.
///
/// # Errors
///
/// [`FramingError::TransferEncoding`].
pub fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), FramingError> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(FramingError::TransferEncoding),
    }
}

/// Writes a length without zeros in front: `010` is ten (RFC 9110 §8.6), and eight to who takes it for octal.
pub fn plain_content_length(headers: &mut HeaderMap) {
    let Some(length) = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes) else {
        return;
    };
    let zeros = length.iter().take_while(|digit| **digit == b'0').count();
    let plain = &length[zeros.min(length.len().saturating_sub(1))..];
    if plain.len() < length.len()
        && let Ok(plain) = HeaderValue::from_bytes(plain)
    {
        headers.insert(CONTENT_LENGTH, plain);
    }
}

/// For whom a request is: the authority of its target where it has one (absolute form), else its Host. The Host that
/// stands beside an absolute form is not used, but must be one (RFC 9112 §3.2.2).
///
/// `None` for an HTTP/1.0 request without either.
///
/// # Errors
///
/// [`FramingError`].
pub fn host_of<'r>(uri: &'r Uri, headers: &'r HeaderMap, version: Version) -> Result<Option<Host<'r>>, FramingError> {
    let mut values = headers.get_all(HOST).iter();
    let given = match (values.next(), values.next()) {
        (_, Some(_)) => return Err(FramingError::ManyHosts),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| FramingError::HostBytes)?;
            // An empty Host is right where the target has no authority to give (RFC 9110 §7.2), which none of ours is.
            Some(Host::parse(text)?)
        }
        (None, None) if version >= Version::HTTP_11 => return Err(FramingError::NoHost),
        (None, None) => None,
    };
    match uri.authority() {
        Some(authority) => Ok(Some(Host::parse(authority.as_str())?)),
        None => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(name: http::HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_length_is_written_without_zeros_in_front() {
        for (written, plain) in [
            ("010", "10"),
            ("000", "0"),
            ("0", "0"),
            ("7", "7"),
            ("", ""),
            ("00x", "x"),
        ] {
            let mut headers = headers(CONTENT_LENGTH, &[written]);
            plain_content_length(&mut headers);
            assert_eq!(headers[CONTENT_LENGTH], plain, "{written}");
        }
        let mut none = HeaderMap::new();
        plain_content_length(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn chunked_alone_is_the_only_coding() {
        let check = |values: &[&'static str]| check_transfer_encoding(&headers(TRANSFER_ENCODING, values));
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["Chunked"]), Ok(()));
        for values in [
            &["gzip, chunked"][..],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["identity"],
            &[""],
        ] {
            assert_eq!(check(values), Err(FramingError::TransferEncoding), "{values:?}");
        }
    }

    #[test]
    fn one_host_is_needed_and_the_target_wins() {
        let host = |uri: &str, values: &[&'static str], version| {
            let uri: Uri = uri.parse().unwrap();
            host_of(&uri, &headers(HOST, values), version).map(|host| host.map(|host| host.name().to_owned()))
        };
        let name = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(host("/", &["A.example:80"], Version::HTTP_11), name("a.example"));
        assert_eq!(
            host("http://B.example/", &["a.example"], Version::HTTP_11),
            name("b.example")
        );
        assert_eq!(
            host("http://b.example/", &[], Version::HTTP_11),
            Err(FramingError::NoHost)
        );
        assert_eq!(host("/", &[], Version::HTTP_11), Err(FramingError::NoHost));
        assert_eq!(host("/", &[], Version::HTTP_10), Ok(None));
        assert_eq!(host("/", &["a", "a"], Version::HTTP_11), Err(FramingError::ManyHosts));
        assert_eq!(
            host("/", &[""], Version::HTTP_11),
            Err(FramingError::Host(HostError::Empty))
        );
        assert_eq!(
            host("http://u@b.example/", &["a"], Version::HTTP_11),
            Err(FramingError::Host(HostError::UserInformation))
        );
        assert_eq!(
            host("/", &["a, b"], Version::HTTP_11),
            Err(FramingError::Host(HostError::Character(',')))
        );
    }
}
