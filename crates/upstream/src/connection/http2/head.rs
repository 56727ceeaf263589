//! The head of a request in HTTP/2's form (RFC 9113 §8.3.1).

use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Request, Uri, Version};

/// Takes the head out of `request`, whose Host becomes `:authority`, and whose fields of the
/// connection go (§8.2.2). None where Host is no authority.
pub(crate) fn take<B>(request: &mut Request<B>) -> Option<Request<()>> {
    let mut head = Request::new(());
    let mut headers = std::mem::take(request.headers_mut());
    let host = headers.remove(HOST)?;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    let path = request.uri().path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *head.uri_mut() = Uri::from_parts(parts).ok()?;
    *head.method_mut() = request.method().clone();
    *head.version_mut() = Version::HTTP_2;
    remove_connection_fields(&mut headers);
    *head.headers_mut() = headers;
    Some(head)
}

/// `TE: trailers` is the one of them that may stay.
fn remove_connection_fields(headers: &mut HeaderMap) {
    const NAMES: [HeaderName; 5] = [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in &NAMES {
        headers.remove(name);
    }
    if headers.get_all(TE).iter().any(|te| te != "trailers") {
        headers.remove(TE);
    }
}

/// The same once more: `http` has no clone of a head that leaves its extensions out.
pub(crate) fn copy<B>(head: &Request<B>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = head.method().clone();
    *copy.uri_mut() = head.uri().clone();
    *copy.version_mut() = head.version();
    *copy.headers_mut() = head.headers().clone();
    copy
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::Method;

    fn taken(method: Method, uri: &str, fields: &[(&'static str, &'static str)]) -> Option<Request<()>> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        take(&mut request.body(()).unwrap())
    }

    #[test]
    fn host_becomes_the_authority() {
        let head = taken(
            Method::GET,
            "/a%20b?c",
            &[("host", "shop.example:8080"), ("accept", "*/*")],
        )
        .unwrap();
        assert_eq!(head.uri(), "http://shop.example:8080/a%20b?c");
        assert_eq!(head.headers().len(), 1);
        assert_eq!(head.version(), Version::HTTP_2);
    }

    #[test]
    fn asterisk_form_stays_what_it_is() {
        let head = taken(Method::OPTIONS, "*", &[("host", "a")]).unwrap();
        assert_eq!(head.uri().path(), "*");
    }

    #[test]
    fn what_speaks_of_the_connection_goes_and_te_trailers_stays() {
        let fields = [
            ("host", "a"),
            ("connection", "te"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "5"),
            ("upgrade", "x"),
        ];
        let head = taken(Method::GET, "/", &fields).unwrap();
        assert_eq!(head.headers().len(), 1);
        assert_eq!(head.headers()[TE], "trailers");
        let head = taken(Method::GET, "/", &[("host", "a"), ("te", "gzip")]).unwrap();
        assert!(head.headers().is_empty());
    }

    #[test]
    fn what_is_no_authority_is_told() {
        assert!(taken(Method::GET, "/", &[("host", "a b")]).is_none());
        assert!(taken(Method::GET, "/", &[]).is_none());
    }
}
