//! The last hand on a request before it goes to its target.

use crate::body::Body;
use crate::spec::{HostPolicy, Spec, TargetSpec};
use bytes::{BufMut, BytesMut};
use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Uri, Version};
use http_body::Body as _;

/// Puts the base path in front, sets Host by the policy, and makes the framing explicit where
/// hyper would guess wrongly. Fails where the path became too long for a URI (64 KiB).
pub(crate) fn prepare(
    request: &mut Request<Body>,
    spec: &Spec,
    target: &TargetSpec,
    bare_path: bool,
) -> Result<(), http::uri::InvalidUri> {
    if !target.base_path.is_empty() || request.uri().authority().is_some() {
        let uri = target_uri(request.uri(), &target.base_path, bare_path)?;
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_11;
    match &spec.host {
        HostPolicy::Preserve => {
            // Only HTTP/1.0 comes without one.
            if !request.headers().contains_key(HOST) {
                request.headers_mut().insert(HOST, target.authority.clone());
            }
        }
        HostPolicy::Target => {
            request.headers_mut().insert(HOST, target.authority.clone());
        }
        HostPolicy::Literal(host) => {
            request.headers_mut().insert(HOST, host.clone());
        }
    }
    // hyper takes a GET or HEAD of unknown length for one without a body, and would drop it.
    let unframed = matches!(*request.method(), Method::GET | Method::HEAD);
    if unframed && !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        request
            .headers_mut()
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(())
}

/// Origin form (RFC 9112 §3.2.1): base, path, query. `*` (§3.2.4) stays as it is.
fn target_uri(uri: &Uri, base: &str, bare_path: bool) -> Result<Uri, http::uri::InvalidUri> {
    let path = match uri.path() {
        "*" => return Ok(uri.clone()),
        _ if bare_path && !base.is_empty() => "",
        path => path,
    };
    let query = uri.query();
    let length = base.len() + path.len() + query.map_or(0, |query| query.len() + 1);
    let mut text = BytesMut::with_capacity(length);
    text.put_slice(base.as_bytes());
    text.put_slice(path.as_bytes());
    if let Some(query) = query {
        text.put_u8(b'?');
        text.put_slice(query.as_bytes());
    }
    Ok(PathAndQuery::from_maybe_shared(text.freeze())?.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::spec::{Balance, PoolSpec, Timeouts};

    fn prepared(
        uri: &str,
        url: &str,
        host: HostPolicy,
        bare: bool,
        with: impl FnOnce(&mut Request<Body>),
    ) -> Request<Body> {
        let target = TargetSpec::parse(url, 1).unwrap();
        let spec = Spec {
            name: "a".into(),
            targets: vec![],
            host,
            balance: Balance::LeastRequest,
            protocol: crate::spec::Protocol::Http1,
            timeouts: Timeouts::default(),
            pool: PoolSpec::default(),
            retry: Default::default(),
            health: Default::default(),
            breaker: None,
            digest: 0,
        };
        let mut request = Request::builder()
            .uri(uri)
            .header("host", "shop.example")
            .body(Body::Empty)
            .unwrap();
        with(&mut request);
        prepare(&mut request, &spec, &target, bare).unwrap();
        request
    }

    #[test]
    fn the_base_path_goes_in_front_and_adds_no_slash() {
        let uri = |uri, bare| {
            let request = prepared(uri, "http://10.0.0.1:9101/base", HostPolicy::Preserve, bare, |_| {});
            request.uri().to_string()
        };
        assert_eq!(uri("/?x=1&y=2", true), "/base?x=1&y=2");
        assert_eq!(uri("/", true), "/base");
        assert_eq!(uri("/?x=1", false), "/base/?x=1");
        assert_eq!(uri("/leaf?", false), "/base/leaf?");
        assert_eq!(uri("/a%2Fb/%7B", false), "/base/a%2Fb/%7B");
        assert_eq!(uri("*", false), "*");
    }

    #[test]
    fn without_a_base_path_the_target_stays() {
        let uri = |uri| {
            prepared(uri, "http://a/", HostPolicy::Preserve, true, |_| {})
                .uri()
                .to_string()
        };
        assert_eq!(uri("/x?y"), "/x?y");
        assert_eq!(uri("/"), "/");
        assert_eq!(uri("http://shop.example/x?y"), "/x?y");
    }

    #[test]
    fn the_host_follows_the_policy() {
        let host = |policy, remove| {
            let with = |request: &mut Request<Body>| {
                if remove {
                    request.headers_mut().remove(HOST);
                }
            };
            prepared("/", "http://10.0.0.1:9101", policy, false, with).headers()[HOST]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(host(HostPolicy::Preserve, false), "shop.example");
        assert_eq!(host(HostPolicy::Preserve, true), "10.0.0.1:9101");
        assert_eq!(host(HostPolicy::Target, false), "10.0.0.1:9101");
        assert_eq!(
            host(HostPolicy::Literal(HeaderValue::from_static("o.internal")), false),
            "o.internal"
        );
    }

    #[test]
    fn a_path_beyond_a_uri_is_refused() {
        let target = TargetSpec::parse("http://a/base", 1).unwrap();
        let long = format!("/{}", "x".repeat(65_530));
        assert!(target_uri(&long.parse().unwrap(), &target.base_path, false).is_err());
    }
}
