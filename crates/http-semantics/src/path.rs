//! One path for all: what routes match, policies see and the upstream gets.
//!
//! The path of a request is normalised once, before anything looks at it, and the raw one is never used again. Two
//! readings of one path are how requests get past rules, so there is no second reading:
//!
//! | in the path | becomes | why |
//! |---|---|---|
//! | `%41`, `%7e` (unreserved) | `A`, `~` | equal by RFC 3986 §6.2.2.2 |
//! | `%2f`, `%c3` (all others) | `%2F`, `%C3`, still encoded | equal by §6.2.2.1; decoding would change what it means |
//! | `.` and `..` segments, also as `%2e` | resolved (§5.2.4) | `..` above the root is refused |
//! | `//` | `/` | most services take them for equal; one form for all then |
//! | `[` `]` <code>\|</code> `^` | `%5B` `%5D` `%7C` `%5E` | browsers send them plain although RFC 3986 does not have them |
//! | `%2F` | kept, never a separator, told by [`Path::encoded_slash`] | the route decides |
//! | `%5C` | kept; refused where a reader of backslashes would find a dot segment | |
//! | `;x` | kept | it belongs to its segment |
//! | controls, `%00`, `\`, bytes beyond ASCII, other characters that RFC 3986 lacks, `%` without two digits | refused | |
//!
//! Case and a slash at the end are significant.

use crate::percent::{self, is_path_character, is_unreserved};
use std::borrow::Cow;

/// A normalised path, or the `*` of `OPTIONS *`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    text: Cow<'a, str>,
    encoded_slash: EncodedSlash,
}

/// What the `%2F`s of a path amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlash {
    /// There is none.
    #[default]
    None,
    /// There are some; decoded they would part segments, no more.
    Harmless,
    /// Whoever decodes them finds a `.` or `..` segment: the request would leave the place that was matched.
    HidesDotSegment,
}

/// Why a path is refused. All are the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, or a name where a path must stand.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A control character, a space or DEL, plain.
    #[error("the path has the control character 0x{0:02X}; it must be percent-encoded")]
    Control(u8),
    /// A byte beyond ASCII.
    #[error("the path has a byte beyond ASCII (0x{0:02X}); it must be percent-encoded")]
    NotAscii(u8),
    /// A character that RFC 3986 does not allow in a path.
    #[error("the path has the character {0:?}, which must be percent-encoded")]
    Illegal(char),
    /// A plain `\`, which some take for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// `%5C` where whoever takes a backslash for a slash finds a `.` or `..` segment.
    #[error("the path hides a dot segment behind an encoded backslash")]
    BackslashHidesDotSegment,
    /// `%00`.
    #[error("the path has an encoded NUL")]
    EncodedNul,
    /// `%` without two hexadecimal digits.
    #[error("the path has a % that two hexadecimal digits do not follow")]
    BadEscape,
    /// More `..` than segments before them.
    #[error("the path leads above the root")]
    AboveRoot,
}

/// What one pass over the raw path found.
enum Scan {
    /// It is normal already.
    Clean { escaped_separator: bool },
    /// Something must change.
    Dirty,
}

// === impl Path ===

impl<'a> Path<'a> {
    /// Normalises the path of a request's target, without its query. `*` is taken as it is.
    ///
    /// One pass and no allocation where the path is normal already. Normalising twice is the same as once.
    ///
    /// # Errors
    ///
    /// [`PathError`]: the request gets a 400.
    pub fn normalize(raw: &'a str) -> Result<Self, PathError> {
        if raw == "*" {
            return Ok(Self {
                text: Cow::Borrowed(raw),
                encoded_slash: EncodedSlash::None,
            });
        }
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        let (text, escaped_separator) = match scan(raw.as_bytes())? {
            Scan::Clean { escaped_separator } => (Cow::Borrowed(raw), escaped_separator),
            Scan::Dirty => {
                let (text, escaped_separator) = rebuild(raw.as_bytes())?;
                (Cow::Owned(text), escaped_separator)
            }
        };
        let encoded_slash = if escaped_separator {
            weigh_separators(&text)?
        } else {
            EncodedSlash::None
        };
        Ok(Self { text, encoded_slash })
    }

    /// The path: `*`, or a slash and what follows it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What its `%2F`s amount to.
    pub fn encoded_slash(&self) -> EncodedSlash {
        self.encoded_slash
    }

    /// `OPTIONS *`: about the server as a whole (RFC 9110 §9.3.7). Matches no pattern.
    pub fn is_asterisk(&self) -> bool {
        self.text == "*"
    }

    /// The raw path was this one: the request's target can stay as it is.
    pub fn was_normal(&self) -> bool {
        matches!(self.text, Cow::Borrowed(_))
    }

    /// What stands between the slashes, still encoded. The last is empty where the path ends in a slash; of `*` there
    /// are none.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.strip_prefix('/').into_iter().flat_map(|path| path.split('/'))
    }

    /// The text, without a copy where it was normal.
    pub fn into_text(self) -> Cow<'a, str> {
        self.text
    }
}

/// What a plain byte is, in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Slash,
    Percent,
    /// Not allowed by RFC 3986, but sent by browsers: encoded.
    Lenient,
    Refused,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Refused; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'/' => Kind::Slash,
            b'%' => Kind::Percent,
            b'[' | b']' | b'|' | b'^' => Kind::Lenient,
            plain if is_path_character(plain) => Kind::Plain,
            _ => Kind::Refused,
        };
        byte += 1;
    }
    kinds
};

fn refusal(byte: u8) -> PathError {
    match byte {
        b'\\' => PathError::Backslash,
        0..=0x20 | 0x7F => PathError::Control(byte),
        0x80.. => PathError::NotAscii(byte),
        _ => PathError::Illegal(char::from(byte)),
    }
}

/// The byte of the escape that `bytes` begins with.
fn escape(bytes: &[u8]) -> Result<u8, PathError> {
    let [b'%', high, low, ..] = bytes else {
        return Err(PathError::BadEscape);
    };
    match percent::byte_of(*high, *low) {
        Some(0) => Err(PathError::EncodedNul),
        Some(byte) => Ok(byte),
        None => Err(PathError::BadEscape),
    }
}

fn scan(raw: &[u8]) -> Result<Scan, PathError> {
    let mut escaped_separator = false;
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        match KINDS[usize::from(*byte)] {
            Kind::Plain => at += 1,
            Kind::Slash => {
                match &raw[at + 1..] {
                    [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..] => {
                        return Ok(Scan::Dirty);
                    }
                    _ => {}
                }
                at += 1;
            }
            Kind::Percent => {
                let decoded = escape(&raw[at..])?;
                if is_unreserved(decoded) || raw[at + 1..at + 3].iter().any(u8::is_ascii_lowercase) {
                    return Ok(Scan::Dirty);
                }
                escaped_separator |= matches!(decoded, b'/' | b'\\');
                at += 3;
            }
            Kind::Lenient => return Ok(Scan::Dirty),
            Kind::Refused => return Err(refusal(*byte)),
        }
    }
    Ok(Scan::Clean { escaped_separator })
}

fn rebuild(raw: &[u8]) -> Result<(String, bool), PathError> {
    let mut text = String::with_capacity(raw.len() + 8);
    let mut escaped_separator = false;
    let mut segments = raw[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let before = text.len();
        text.push('/');
        escaped_separator |= push_segment(segment, &mut text)?;
        match &text[before + 1..] {
            ".." => {
                text.truncate(before);
                let parent = text.rfind('/').ok_or(PathError::AboveRoot)?;
                text.truncate(parent);
                if last {
                    text.push('/');
                }
            }
            "." | "" if last => text.truncate(before + 1),
            "." | "" => text.truncate(before),
            _ => {}
        }
    }
    Ok((text, escaped_separator))
}

/// Appends the normal form of one segment; true if it has an encoded slash or backslash.
fn push_segment(segment: &[u8], text: &mut String) -> Result<bool, PathError> {
    let mut escaped_separator = false;
    let mut at = 0;
    while let Some(byte) = segment.get(at) {
        match KINDS[usize::from(*byte)] {
            Kind::Percent => {
                let decoded = escape(&segment[at..])?;
                if is_unreserved(decoded) {
                    text.push(char::from(decoded));
                } else {
                    percent::push_escape(decoded, text);
                    escaped_separator |= matches!(decoded, b'/' | b'\\');
                }
                at += 2;
            }
            Kind::Lenient => percent::push_escape(*byte, text),
            Kind::Refused => return Err(refusal(*byte)),
            Kind::Plain | Kind::Slash => text.push(char::from(*byte)),
        }
        at += 1;
    }
    Ok(escaped_separator)
}

/// Looks for dot segments that appear once `%2F` and `%5C` are read as separators. `text` is normal.
fn weigh_separators(text: &str) -> Result<EncodedSlash, PathError> {
    let mut found = EncodedSlash::None;
    for segment in text.split('/').filter(|segment| segment.contains('%')) {
        let slash = segment.contains("%2F");
        let backslash = segment.contains("%5C");
        if !slash && !backslash {
            continue;
        }
        let dots = segment
            .split("%2F")
            .flat_map(|part| part.split("%5C"))
            .any(|part| matches!(part, "." | ".."));
        match (dots, backslash) {
            (true, true) => return Err(PathError::BackslashHidesDotSegment),
            (true, false) => found = EncodedSlash::HidesDotSegment,
            (false, _) if slash && found == EncodedSlash::None => found = EncodedSlash::Harmless,
            (false, _) => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
