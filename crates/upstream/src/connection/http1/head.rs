//! A request's head, read back from the bytes that it was written as.
//!
//! hyper consumes the head that it writes. Where a request has to be sent once more, its bytes are
//! at hand, and reading them back costs only those rare requests something; keeping a copy of
//! every head would cost all of them.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// The head that `bytes` begin with. None if they are not a whole head, which cannot be where
/// hyper wrote them.
pub(super) fn read(bytes: &[u8]) -> Option<Request<()>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = Bytes::copy_from_slice(&bytes[..end]);
    let mut lines = Lines(&head);
    let line = lines.next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    let target = PathAndQuery::from_maybe_shared(head.slice_ref(words.next()?)).ok()?;
    *request.uri_mut() = Uri::from(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = line.get(colon + 1..)?;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        request
            .headers_mut()
            .append(name, HeaderValue::from_maybe_shared(head.slice_ref(value)).ok()?);
    }
    Some(request)
}

struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.windows(2).position(|window| window == b"\r\n");
        let (line, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 2..]),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_head_is_read_back() {
        let head =
            read(b"PUT /a/b?c=%20&d HTTP/1.1\r\nhost: a:1\r\nx-a: 1\r\nx-a:  two \r\nempty: \r\n\r\nbody\r\n\r\n")
                .unwrap();
        assert_eq!(head.method(), Method::PUT);
        assert_eq!(head.uri(), "/a/b?c=%20&d");
        assert_eq!(head.headers()["host"], "a:1");
        let all: Vec<_> = head.headers().get_all("x-a").iter().collect();
        assert_eq!(all, ["1", " two "]);
        assert_eq!(head.headers()["empty"], "");
    }

    #[test]
    fn half_a_head_is_none() {
        assert!(read(b"GET / HTTP/1.1\r\nhost: a\r\n").is_none());
        assert!(read(b"").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
