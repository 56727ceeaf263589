//! What HTTP/2 writes otherwise than HTTP/1.1 (RFC 9113 §8.2, §8.3), made alike before anything looks at it.

use http::header::{CONNECTION, COOKIE, HOST, TE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};

/// The authority of a request and its Host name two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's authority and its Host are two")]
pub struct TwoHosts;

/// The size of a list of fields, as RFC 9113 §6.5.2 counts it: 32 bytes for each field beside its name and value.
#[must_use]
pub fn field_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}

/// Makes the authority the Host of a request. A Host beside it must be the same (RFC 9113 §8.3.1: a request whose two
/// differ is malformed): who stands before us may have gone by the other.
///
/// # Errors
///
/// [`TwoHosts`].
pub fn authority_to_host(authority: &Authority, headers: &mut HeaderMap) -> Result<(), TwoHosts> {
    let same = |host: &HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
    if !headers.get_all(HOST).iter().all(same) {
        return Err(TwoHosts);
    }
    // An authority is visible ASCII.
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        headers.insert(HOST, host);
    }
    Ok(())
}

/// Joins the crumbs of a cookie field to one (RFC 9113 §8.2.3). One pass over the values where there are none.
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut whole = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    // Each part was a field's value.
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(COOKIE, whole);
    }
}

/// Says in HTTP/1.1's way that the client takes trailers: there `TE` belongs to the connection and is named so (RFC
/// 9110 §10.1.4), here it is the one such field that a request may have.
pub fn name_te(headers: &mut HeaderMap) {
    if headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn an_authority_becomes_the_host_and_bears_no_other_beside_it() {
        let host = |given: &[&str]| {
            let given: Vec<_> = given.iter().map(|host| ("host", *host)).collect();
            let mut headers = headers(&given);
            authority_to_host(&Authority::from_static("A.example:80"), &mut headers).map(|()| {
                headers
                    .get_all(HOST)
                    .iter()
                    .map(|host| host.to_str().unwrap().to_owned())
                    .collect()
            })
        };
        let one: Result<Vec<String>, _> = Ok(vec!["A.example:80".to_owned()]);
        assert_eq!(host(&[]), one);
        assert_eq!(host(&["a.EXAMPLE:80"]), one);
        assert_eq!(host(&["a.example:80", "a.example:80"]), one);
        for other in ["a.example", "b.example", "", "a.example:80."] {
            assert_eq!(host(&[other]), Err(TwoHosts), "{other:?}");
        }
        assert_eq!(host(&["A.example:80", "b.example"]), Err(TwoHosts));
    }

    #[test]
    fn te_is_named_where_it_is() {
        let mut one = headers(&[("te", "trailers")]);
        name_te(&mut one);
        assert_eq!(one[CONNECTION], "te");
        let mut none = HeaderMap::new();
        name_te(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn a_field_costs_thirty_two_bytes_beside_its_text() {
        assert_eq!(field_bytes(&headers(&[("a", "bc"), ("a", "")])), 35 + 33);
    }

    proptest! {
        #[test]
        fn crumbs_become_one_cookie_with_nothing_lost(crumbs in prop::collection::vec("[a-z]{1,4}=[a-z0-9]{0,4}", 0..6)) {
            let fields: Vec<_> = crumbs.iter().map(|crumb| ("cookie", crumb.as_str())).collect();
            let mut headers = headers(&fields);
            join_cookies(&mut headers);
            let joined: Vec<_> = headers.get_all(COOKIE).iter().collect();
            if crumbs.is_empty() {
                prop_assert!(joined.is_empty());
            } else {
                let whole = crumbs.join("; ");
                prop_assert_eq!(joined, [whole.as_str()]);
            }
        }
    }
}
