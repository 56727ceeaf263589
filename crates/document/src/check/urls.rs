//! Texts with `${…}` that become a path or a URL: looked at with harmless values in place of the request's, so that
//! what is wrong then is wrong in the text itself.

use super::Checker;
use crate::diagnostic::Finding;
use crate::tree::shorten;
use sluice_expression::{Field, Inputs, Part, Template};
use sluice_http_semantics::host::Host;
use sluice_http_semantics::path::{EncodedSlash, Path};
use std::borrow::Cow;

struct Harmless;

impl Inputs for Harmless {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match field {
            Field::RequestPath => "/x",
            Field::RequestScheme => "http",
            _ => "x",
        }))
    }
}

/// Stands for what a request says; no text of a document has it.
const MARK: char = '\u{1}';

/// As [`Harmless`], but shows where in a host the values are that anybody can choose.
struct Marked;

impl Inputs for Marked {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        match field {
            Field::RequestPath | Field::RequestScheme | Field::RequestHost => Harmless.field(field),
            _ => Some(Cow::Borrowed("\u{1}")),
        }
    }
}

/// `rewrite.path`.
pub(super) fn path(c: &mut Checker<'_>, template: &Template, text: &str) {
    const EXPECTED: &str = "a path like /v2/${params.rest}";
    if !template.leading_text().starts_with('/') && !begins_with_path(template) {
        let message = "the new path must begin with a slash (or with ${request.path})";
        return c.report(
            Finding::error("bad_value", message)
                .found(shorten(text))
                .expected(EXPECTED),
        );
    }
    if !characters(c, template, "%") {
        return;
    }
    let rendered = rendered(template);
    let path = rendered.split('?').next().unwrap_or_default();
    let plain = path.replace("%2e", ".").replace("%2E", ".");
    let message = match Path::normalize(path) {
        Err(error) => error.to_string(),
        Ok(normal) if normal.encoded_slash() == EncodedSlash::HidesDotSegment => {
            "a dot segment hides behind %2F".into()
        }
        Ok(_) if plain.split('/').any(|segment| matches!(segment, "." | "..")) => "it has a dot segment".into(),
        Ok(_) => return,
    };
    let finding = Finding::error("bad_value", format!("the new path cannot be sent: {message}"));
    c.report(finding.found(shorten(text)).expected(EXPECTED));
}

/// `redirect.to`: a path, or a URL whose scheme and host no value can turn into something else.
pub(super) fn location(c: &mut Checker<'_>, template: &Template, text: &str) {
    if !characters(c, template, "%#[]") {
        return;
    }
    let rendered = rendered(template);
    let written = !template.leading_text().is_empty();
    let path = begins_with_path(template) || (written && rendered.starts_with('/') && !rendered.starts_with("//"));
    let begins_with_scheme = matches!(template.parts().next(), Some(Part::Field(Field::RequestScheme)));
    let absolute = (written || begins_with_scheme)
        && ["http://", "https://"].iter().any(|scheme| {
            let after = rendered
                .strip_prefix(scheme)
                .and_then(|rest| rest.split(['/', '?']).next());
            after.is_some_and(|authority| Host::parse(authority).is_ok())
        });
    if !path && absolute && !keeps_its_end(template) {
        let message = "a value of the request ends the host, so that anybody can send people anywhere";
        let finding = Finding::error("bad_value", message).found(shorten(text));
        return c.report(finding.expected("a host whose end is written out, as https://${params.shop}.example.com/"));
    }
    if !path && !absolute {
        let message = "a redirect goes to a path, or to a URL with http, https or ${request.scheme} and a host";
        let finding = Finding::error("bad_value", message).found(shorten(text));
        c.report(finding.expected("/new/${params.rest} or https://shop.example.com${request.path}"));
    }
}

/// Whether the end of the host, which says whose it is, is written out or the request's own.
fn keeps_its_end(template: &Template) -> bool {
    let mut out = String::new();
    template.render(&Marked, &mut out);
    let after = out.split_once("//").map_or("", |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once(MARK) {
        None => true,
        Some((_, end)) => end.strip_prefix('.').is_some_and(|name| !name.is_empty()),
    }
}

fn begins_with_path(template: &Template) -> bool {
    matches!(template.parts().next(), Some(Part::Field(Field::RequestPath)))
}

fn rendered(template: &Template) -> String {
    let mut out = String::new();
    template.render(&Harmless, &mut out);
    out
}

/// What is written out must be made of the characters of a path and query (RFC 3986 §3.3, §3.4), and `more`.
fn characters(c: &mut Checker<'_>, template: &Template, more: &str) -> bool {
    let known = |c: &char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?".contains(*c) || more.contains(*c);
    let mut written = template.parts().filter_map(|part| match part {
        Part::Text(text) => Some(text),
        Part::Field(_) => None,
    });
    let Some(bad) = written.find_map(|text| text.chars().find(|c| !known(c))) else {
        return true;
    };
    let message = match bad {
        '{' | '}' => "braces cannot stand here; a parameter of the path is written ${params.name}",
        _ => "spaces, controls, characters beyond ASCII and some signs must be percent-encoded here (RFC 3986 §2)",
    };
    c.report(Finding::error("bad_value", message).found(format!("the character {bad:?}")));
    false
}
