//! `redirect`: the client is sent elsewhere.

use crate::Answer;
use crate::fault::{Fault, FaultKind, template};
use crate::values::{Harmless, InAuthority, InPath, InQuery};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use sluice_document::declared;
use sluice_expression::{Field, Inputs, Part, Scope, Template};
use sluice_http_semantics::host::Host;

const DEFAULT_STATUS: u16 = 308;

/// A redirect, compiled. Values are encoded for the part of the URL where they stand, so that no value chooses the
/// host, or breaks the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    origin: Option<Origin>,
    path: Template,
    query: Option<Template>,
}

/// Scheme and authority of a target that has them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    /// With the `:`.
    scheme: Template,
    authority: Template,
}

// === impl Redirect ===

impl Redirect {
    /// Compiles what is declared. `to` is a path, or a URL with `http`, `https` or `${request.scheme}`; the client's
    /// query goes along only where `to` names it.
    pub fn compile(declared: &declared::Redirect, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Self> {
        let found = declared.status.unwrap_or(DEFAULT_STATUS);
        let status = match found {
            301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(found).ok(),
            _ => None,
        };
        if status.is_none() {
            let (of, expected) = ("a redirect", "301, 302, 303, 307 or 308");
            faults.push(Fault::new("redirect.status", FaultKind::Status { found, of, expected }));
        }
        let to = template("redirect.to", &declared.to, scope, faults)?;
        match parts(to) {
            Ok((origin, path, query)) => Some(Self {
                status: status?,
                origin,
                path,
                query,
            }),
            Err(kind) => {
                faults.push(Fault::new("redirect.to", kind));
                None
            }
        }
    }

    /// The answer. A `?` without anything behind it is left out.
    pub fn answer(&self, inputs: &impl Inputs) -> Answer {
        let mut to = String::new();
        if let Some(origin) = &self.origin {
            origin.scheme.render(&InAuthority(inputs), &mut to);
            to.push_str("//");
            let named = to.len();
            origin.authority.render(&InAuthority(inputs), &mut to);
            // An HTTP/1.0 client may have named no host: browsers would take the path's first segment for one.
            if to.len() == named || to[named..].starts_with(':') {
                to.clear();
            }
        }
        let relative = to.is_empty();
        self.path.render(&InPath(inputs), &mut to);
        if relative && !to.starts_with('/') {
            to.insert(0, '/');
        }
        // Two slashes in front would name a host. No normalised value begins with one; this does not rely on it.
        if relative {
            let doubled = to.len() - to.trim_start_matches('/').len();
            to.drain(..doubled.saturating_sub(1));
        }
        if let Some(query) = &self.query {
            let length = to.len();
            to.push('?');
            query.render(&InQuery(inputs), &mut to);
            if to.len() == length + 1 {
                to.truncate(length);
            }
        }
        // The text was looked at when it was compiled, and every value is encoded or was normalised before: the other
        // value is never taken.
        let location = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(LOCATION, location);
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Answer {
            status: self.status,
            headers,
            body: Bytes::new(),
        }
    }
}

fn parts(to: Template) -> Result<(Option<Origin>, Template, Option<Template>), FaultKind> {
    let mut text = String::new();
    to.render(&Harmless, &mut text);
    // A backslash is a slash to browsers.
    if let Some(found) = text.chars().find(|c| !c.is_ascii_graphic() || *c == '\\') {
        return Err(FaultKind::LocationCharacter(found));
    }
    let (before, query) = match to.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (to, None),
    };
    let begins_with_path = before.leading_text().is_empty() && before.fields().next() == Some(&Field::RequestPath);
    let begins_with_slash = text.starts_with('/') && !text.starts_with("//");
    if begins_with_path || (begins_with_slash && !before.leading_text().is_empty()) {
        return Ok((None, before, query));
    }
    let (scheme, rest) = before.split_once('/').ok_or(FaultKind::NotALocation)?;
    let known = match scheme.as_literal() {
        Some(literal) => matches!(literal, "http:" | "https:"),
        None => scheme.parts().eq([Part::Field(&Field::RequestScheme), Part::Text(":")]),
    };
    let rest = match rest.split_once('/') {
        Some((nothing, rest)) if known && nothing.as_literal() == Some("") => rest,
        _ => return Err(FaultKind::NotALocation),
    };
    let (authority, path) = at_path(&rest);
    let mut text = String::new();
    authority.render(&Harmless, &mut text);
    if Host::parse(&text).is_err() {
        return Err(FaultKind::NotALocation);
    }
    if !keeps_its_end(&authority) {
        return Err(FaultKind::HostOfAValue);
    }
    Ok((Some(Origin { scheme, authority }), path, query))
}

/// Whether the end of the host is written out, or the request's own host: `https://${params.shop}.example.com` leads to
/// somebody's shop, `https://example.com${params.more}` to `example.com.evil.example`.
fn keeps_its_end(authority: &Template) -> bool {
    let anybodys = |part: &Part<'_>| matches!(part, Part::Field(field) if **field != Field::RequestHost);
    let parts: Vec<Part<'_>> = authority.parts().collect();
    let Some(last) = parts.iter().rposition(anybodys) else {
        return true;
    };
    match parts.get(last + 1) {
        Some(Part::Text(end)) => end.starts_with('.') && (end.len() > 1 || parts.len() > last + 2),
        _ => false,
    }
}

/// Parts it before the first slash, or before `${request.path}`, which brings its own.
fn at_path(rest: &Template) -> (Template, Template) {
    let mut authority = Vec::new();
    let mut path = Vec::new();
    for part in rest.parts() {
        if !path.is_empty() {
            path.push(part);
            continue;
        }
        match part {
            Part::Field(Field::RequestPath) => path.push(part),
            Part::Text(text) => {
                let (before, after) = text.split_at(text.find('/').unwrap_or(text.len()));
                authority.push(Part::Text(before));
                if !after.is_empty() {
                    path.push(Part::Text(after));
                }
            }
            Part::Field(_) => authority.push(part),
        }
    }
    (authority.into_iter().collect(), path.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::values::fixture::Request;
    use proptest::prelude::*;

    fn compiled(to: &str, status: Option<u16>) -> Result<Redirect, Vec<Fault>> {
        let mut faults = Vec::new();
        let scope = Scope::with_params(["id", "rest"]);
        let to = to.to_owned();
        Redirect::compile(&declared::Redirect { to, status }, &scope, &mut faults).ok_or(faults)
    }

    fn location(to: &str, request: &Request) -> String {
        let answer = compiled(to, None).unwrap().answer(request);
        assert_eq!(answer.status, 308);
        assert!(answer.body.is_empty());
        answer.headers[LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_client_is_sent_where_the_text_says() {
        let request = Request::new([
            ("request.host", "shop.example"),
            ("request.scheme", "http"),
            ("request.path", "/a%20b/c"),
            ("request.query", "x=1&y=%2e"),
            ("params.id", "7%2F8"),
        ]);
        for (to, expected) in [
            ("/new/${params.id}", "/new/7%2F8"),
            ("/new?id=${params.id}", "/new?id=7%2F8"),
            ("${request.path}/", "/a%20b/c/"),
            (
                "https://${request.host}${request.path}?${request.query}",
                "https://shop.example/a%20b/c?x=1&y=%2e",
            ),
            (
                "${request.scheme}://www.${request.host}:8443/",
                "http://www.shop.example:8443/",
            ),
            ("https://new.example", "https://new.example"),
            ("https://new.example?a=b", "https://new.example?a=b"),
            ("https://[::1]:80/x#y", "https://[::1]:80/x#y"),
            ("/x?${request.headers['none']}", "/x"),
        ] {
            assert_eq!(location(to, &request), expected);
        }
    }

    #[test]
    fn a_target_that_could_become_anything_is_refused() {
        for to in [
            "",
            "x",
            "${params.rest}",
            "${request.query['next']}",
            "//evil.example/",
            "ftp://a/",
            "javascript:alert(1)",
            "https:/a",
            "https://",
            "https:///a",
            "https://user@a/",
            "${params.id}://a/",
        ] {
            let faults = compiled(to, None).expect_err(to);
            assert_eq!(faults, [Fault::new("redirect.to", FaultKind::NotALocation)], "{to}");
        }
        for (to, found) in [
            ("/\\evil.example", '\\'),
            ("/a b", ' '),
            ("/a\r\nSet-Cookie: x", '\r'),
            ("/é", 'é'),
        ] {
            assert_eq!(
                compiled(to, None).expect_err(to),
                [Fault::new("redirect.to", FaultKind::LocationCharacter(found))]
            );
        }
    }

    #[test]
    fn a_host_that_ends_in_a_value_is_refused() {
        for to in [
            "https://${request.query['next']}/x",
            "https://example.com${params.id}",
            "https://example.com${params.id}${request.path}",
            "https://shop-${params.id}/",
            "https://${params.id}${request.host}/",
            "https://${params.id}.",
        ] {
            let faults = compiled(to, None).expect_err(to);
            assert_eq!(faults, [Fault::new("redirect.to", FaultKind::HostOfAValue)], "{to}");
        }
        for to in [
            "https://${params.id}.example.com/",
            "https://${params.id}.${request.host}/",
        ] {
            compiled(to, None).expect(to);
        }
    }

    #[test]
    fn a_client_that_named_no_host_stays_where_it_is() {
        let request = Request::new([("request.path", "/evil.example/x")]);
        for (to, expected) in [
            ("https://${request.host}${request.path}", "/evil.example/x"),
            ("https://${request.host}:8443/a?b", "/a?b"),
            ("https://${request.host}", "/"),
        ] {
            assert_eq!(location(to, &request), expected);
        }
    }

    #[test]
    fn only_a_status_that_redirects_is_taken() {
        assert_eq!(compiled("/", Some(302)).unwrap().status, 302);
        for status in [200, 300, 304, 400, 0] {
            assert_eq!(compiled("/", Some(status)).unwrap_err()[0].field, "redirect.status");
        }
        assert_eq!(compiled("nowhere", Some(200)).unwrap_err().len(), 2);
    }

    #[test]
    fn no_value_makes_a_second_slash_in_front() {
        let request = Request::new([("params.rest", "//evil.example")]);
        assert_eq!(location("/${params.rest}", &request), "/evil.example");
    }

    proptest! {
        #[test]
        fn no_value_chooses_the_host_or_breaks_the_line(value in any::<String>(), param in "[a-zA-Z0-9@:;._~%2F-]{0,10}") {
            let request = Request::new([
                ("request.headers['x']", &*value),
                ("params.id", &*param),
                ("request.query", &*value),
                ("request.host", "shop.example"),
            ]);
            let to = "https://${params.id}.${request.headers['x']}.example.com/${request.headers['x']}?${request.query}";
            let text = location(to, &request);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            let authority = text.strip_prefix("https://").unwrap().split(['/', '?', '#', '\\']).next().unwrap().to_owned();
            prop_assert!(authority.ends_with(".example.com"), "{}", text);
            prop_assert!(!authority.contains(['@', ':']));
            let local = location("/${request.headers['x']}${params.id}", &request);
            prop_assert!(!local.starts_with("//") && !local.starts_with("/\\"));
        }
    }
}
