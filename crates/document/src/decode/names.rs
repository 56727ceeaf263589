//! Names that stand in URLs, in keys of the state and in metrics.

use super::Decoder;
use crate::diagnostic::Finding;
use crate::source::Place;
use crate::tree::shorten;

/// The longest name or id.
pub(crate) const LONGEST: usize = 100;

/// Refuses a name of a gateway or upstream that cannot stand in a URL.
pub(crate) fn check_name(d: &mut Decoder<'_>, name: &str, at: Place) -> bool {
    const EXPECTED: &str = "letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 100";
    let fits = name.len() <= LONGEST
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !fits {
        let finding = Finding::error("bad_name", "this name cannot stand in a URL");
        d.report(finding.at(at).found(shorten(name)).expected(EXPECTED));
    }
    fits
}

/// Refuses an id of a route that cannot stand in a URL.
pub(crate) fn check_id(d: &mut Decoder<'_>, id: &str, at: Place) -> bool {
    let fits = !id.is_empty()
        && id.len() <= LONGEST
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        let finding = Finding::error("bad_name", "an id is made of a-z, 0-9 and `-`, at most 100");
        d.report(finding.at(at).found(shorten(id)).expected("[a-z0-9-]+"));
    }
    fits
}
