//! What may be asked at all: the target of a request, its host and its path.

use crate::own_answer::Refusal;
use crate::settings::Edge;
use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri, Version};
use sluice_http_semantics::framing::{check_transfer_encoding, host_of};
use sluice_http_semantics::host::Host;
use sluice_http_semantics::http2;
use sluice_http_semantics::path::Path;
use sluice_http_semantics::problem::Code;
use std::cell::RefCell;
use std::rc::Rc;

/// Refuses what no route can take, however it is declared.
pub(super) fn check(head: &Parts, edge: &Edge) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::new(Code::ConnectNotSupported, "this gateway opens no tunnels"));
    }
    if length(&head.uri) > edge.max_uri {
        return Err(Refusal::new(
            Code::UriTooLong,
            format!("the request target is longer than {} bytes", edge.max_uri),
        ));
    }
    if head.version == Version::HTTP_2 {
        check_fields(head, edge)?;
    }
    check_transfer_encoding(&head.headers).map_err(bad)
}

/// What of HTTP/1.1 was judged while it was read.
fn check_fields(head: &Parts, edge: &Edge) -> Result<(), Refusal> {
    // Each crumb of a cookie is a field here.
    if head.headers.len() > edge.max_headers {
        let why = format!("the request has more than {} header fields", edge.max_headers);
        return Err(Refusal::new(Code::HeadersTooLarge, why));
    }
    let most = edge.http2_header_bytes();
    if http2::field_bytes(&head.headers) > most {
        let why = format!("the header fields are more than {most} bytes long");
        return Err(Refusal::new(Code::HeadersTooLarge, why));
    }
    Ok(())
}

/// Makes the target a path, whatever its form (RFC 9112 §3.2), and the rest of the head what HTTP/1.1 would
/// have made of it. An authority becomes the Host. `by_proxy` says whether the client is a proxy
/// that some gateway trusts.
pub(super) fn to_origin_form(head: &mut Parts, by_proxy: impl FnOnce() -> bool) -> Result<(), Refusal> {
    if head.version == Version::HTTP_2 {
        return from_pseudo_fields(head, by_proxy);
    }
    match (head.uri.scheme_str(), head.uri.authority()) {
        (None, None) => {
            let asterisk = head.uri.path() == "*";
            if asterisk && head.method != Method::OPTIONS {
                return Err(Refusal::new(Code::BadRequest, "only OPTIONS has the target *"));
            }
            Ok(())
        }
        (Some("http"), Some(_)) => {
            // The Host beside it is not used, but a wrong one is still wrong (RFC 9112 §3.2.2).
            host_of(&head.uri, &head.headers, head.version).map_err(bad)?;
            let mut parts = std::mem::take(&mut head.uri).into_parts();
            if let Some(authority) = parts.authority.take() {
                let authority = HeaderValue::from_str(authority.as_str()).map_err(bad)?;
                head.headers.insert(HOST, authority);
            }
            head.uri = parts
                .path_and_query
                .take()
                .unwrap_or_else(|| PathAndQuery::from_static("/"))
                .into();
            Ok(())
        }
        (Some(_), _) => Err(Refusal::new(
            Code::BadRequest,
            "the scheme of the request target is not the one of this connection",
        )),
        (None, Some(_)) => Err(Refusal::new(
            Code::BadRequest,
            "the request target is an authority, which is for CONNECT alone",
        )),
    }
}

/// The control data of HTTP/2 (RFC 9113 §8.3.1), and the fields that are written otherwise there.
fn from_pseudo_fields(head: &mut Parts, by_proxy: impl FnOnce() -> bool) -> Result<(), Refusal> {
    let parts = std::mem::take(&mut head.uri).into_parts();
    match parts.scheme.as_ref().map(http::uri::Scheme::as_str) {
        None | Some("http") => {}
        // A proxy that ended TLS may tell what its own client spoke.
        Some("https") if by_proxy() => {}
        Some(_) => {
            return Err(Refusal::new(
                Code::BadRequest,
                "the scheme of the request is not the one of this connection",
            ));
        }
    }
    let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let asterisk = path.as_str() == "*" && head.method == Method::OPTIONS;
    if !asterisk && !path.as_str().starts_with('/') {
        return Err(Refusal::new(
            Code::BadRequest,
            "the path of the request does not begin with a slash",
        ));
    }
    head.uri = path.into();
    if let Some(authority) = parts.authority {
        http2::authority_to_host(&authority, &mut head.headers).map_err(bad)?;
    }
    http2::join_cookies(&mut head.headers);
    http2::name_te(&mut head.headers);
    Ok(())
}

/// Whom the request is for, lower case and without a port. Empty where an HTTP/1.0 client named
/// nobody.
pub(super) fn host(head: &Parts, last: &RefCell<Option<(HeaderValue, Rc<str>)>>) -> Result<Rc<str>, Refusal> {
    let mut given = head.headers.get_all(HOST).iter();
    let given = given.next().filter(|_| given.next().is_none());
    if let (Some((known, name)), Some(given)) = (&*last.borrow(), given)
        && known == given
    {
        return Ok(Rc::clone(name));
    }
    let host = host_of(&head.uri, &head.headers, head.version).map_err(bad)?;
    let name: Rc<str> = host.map(Host::into_name).unwrap_or_default().into();
    // A copy: the value of a request holds all of the request's head.
    let known = given.and_then(|given| HeaderValue::from_bytes(given.as_bytes()).ok());
    last.replace(known.map(|known| (known, Rc::clone(&name))));
    Ok(name)
}

/// The one path that decides the match and that the target sees.
pub(super) fn path(uri: &Uri) -> Result<Path<'_>, Refusal> {
    Path::normalize(uri.path()).map_err(bad)
}

fn length(uri: &Uri) -> usize {
    let rest = uri.path_and_query().map_or(0, |text| text.as_str().len());
    let before = match (uri.scheme_str(), uri.authority()) {
        (None, None) => 0,
        (scheme, authority) => {
            let scheme = scheme.map_or(0, |scheme| scheme.len() + "://".len());
            scheme + authority.map_or(0, |authority| authority.as_str().len())
        }
    };
    before + rest
}

fn bad(why: impl ToString) -> Refusal {
    Refusal::new(Code::BadRequest, why.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::Request;

    fn head(method: &str, uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_absolute_form_brings_its_own_host() {
        let mut head = head("GET", "http://b.example:81/x?y", Some("a.example"));
        to_origin_form(&mut head, || false).unwrap();
        assert_eq!(head.uri, "/x?y");
        assert_eq!(head.headers[HOST], "b.example:81");
        assert_eq!(&*host(&head, &RefCell::default()).unwrap(), "b.example");
    }

    #[test]
    fn other_forms_are_for_other_methods() {
        let refused = |method, uri| {
            let mut head = head(method, uri, Some("a"));
            to_origin_form(&mut head, || false).unwrap_err().code()
        };
        assert_eq!(refused("GET", "*"), Code::BadRequest);
        assert_eq!(refused("GET", "a.example:80"), Code::BadRequest);
        assert_eq!(refused("GET", "https://a.example/"), Code::BadRequest);
        to_origin_form(&mut head("OPTIONS", "*", Some("a")), || false).unwrap();
    }

    #[test]
    fn a_target_has_a_length_in_every_form() {
        let length = |uri: &str| length(&uri.parse().unwrap());
        assert_eq!(length("/a?b"), 4);
        assert_eq!(length("http://a.example/b"), 18);
        let edge = Edge {
            max_uri: 4,
            ..Edge::default()
        };
        check(&head("GET", "/a?b", None), &edge).unwrap();
        assert_eq!(
            check(&head("GET", "/a?bc", None), &edge).unwrap_err().code(),
            Code::UriTooLong
        );
    }

    #[test]
    fn connect_is_not_supported() {
        let code = check(&head("CONNECT", "a.example:443", None), &Edge::default())
            .unwrap_err()
            .code();
        assert_eq!(code, Code::ConnectNotSupported);
    }

    #[test]
    fn a_client_of_http_1_0_may_name_nobody() {
        let mut head = head("GET", "/", None);
        let last = RefCell::default();
        assert!(host(&head, &last).is_err());
        head.version = http::Version::HTTP_10;
        assert_eq!(&*host(&head, &last).unwrap(), "");
    }

    #[test]
    fn a_host_that_was_just_known_is_still_the_only_one() {
        let last = RefCell::default();
        let mut head = head("GET", "/", Some("A.example:80"));
        for _ in 0..2 {
            assert_eq!(&*host(&head, &last).unwrap(), "a.example");
        }
        head.headers.append(HOST, HeaderValue::from_static("b.example"));
        assert!(host(&head, &last).is_err());
    }
}
