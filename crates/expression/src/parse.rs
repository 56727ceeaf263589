//! What stands between `${` and `}`: a name, then `.name` or `['key']`, in CEL's syntax.

use crate::error::{ErrorKind, TemplateError};
use crate::field::{Field, Scope};
use std::ops::Range;

const ROOTS: [&str; 3] = ["params", "request", "client"];
const REQUEST: [&str; 7] = ["path", "method", "host", "scheme", "query", "headers", "id"];
const HEADERS_EXAMPLE: &str = "request.headers['name']";

/// One step of a selection and where it stands in the whole text.
pub(crate) struct Step<'a> {
    pub(crate) name: std::borrow::Cow<'a, str>,
    pub(crate) at: Range<usize>,
}

/// Reads the expression `source`, which begins at byte `offset` of the whole text.
pub(crate) fn expression(source: &str, offset: usize, scope: &Scope) -> Result<Field, TemplateError> {
    let steps = Reader { source, offset, at: 0 }.selection()?;
    resolve(&steps, scope)
}

struct Reader<'a> {
    source: &'a str,
    offset: usize,
    at: usize,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn selection(&mut self) -> Result<Vec<Step<'a>>, TemplateError> {
        self.space();
        if self.rest().is_empty() {
            return Err(self.error(0..self.source.len(), ErrorKind::Empty));
        }
        let mut steps = vec![self.name()?];
        loop {
            self.space();
            if self.take('.') {
                self.space();
                steps.push(self.name()?);
            } else if self.take('[') {
                self.space();
                steps.push(self.key()?);
                self.space();
                if !self.take(']') {
                    return Err(self.unexpected("`]`"));
                }
            } else if self.rest().is_empty() {
                return Ok(steps);
            } else {
                return Err(self.unexpected("`.name`, `['name']` or the end; more of the language is not built yet"));
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn space(&mut self) {
        self.at = self.source.len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.rest().starts_with(wanted);
        if there {
            self.at += wanted.len_utf8();
        }
        there
    }

    fn name(&mut self) -> Result<Step<'a>, TemplateError> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.unexpected("a name"));
        }
        let start = self.at;
        self.at += end;
        Ok(Step {
            name: rest[..end].into(),
            at: self.offset + start..self.offset + self.at,
        })
    }

    fn key(&mut self) -> Result<Step<'a>, TemplateError> {
        let start = self.at;
        let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            return Err(self.unexpected("a name in quotes"));
        };
        self.at += 1;
        let mut name = String::new();
        loop {
            let mut chars = self.rest().chars();
            match (chars.next(), chars.next()) {
                (Some('\\'), Some(escaped @ ('\\' | '\'' | '"'))) => {
                    name.push(escaped);
                    self.at += 2;
                }
                (Some('\\'), _) => return Err(self.unexpected("`\\\\`, `\\'` or `\\\"`")),
                (Some(c), _) if c == quote => {
                    self.at += 1;
                    return Ok(Step {
                        name: name.into(),
                        at: self.offset + start..self.offset + self.at,
                    });
                }
                (Some(c), _) => {
                    name.push(c);
                    self.at += c.len_utf8();
                }
                (None, _) => return Err(self.unexpected("the closing quote")),
            }
        }
    }

    fn unexpected(&self, expected: &'static str) -> TemplateError {
        let found = self.rest().chars().next();
        let length = found.map_or(0, char::len_utf8);
        self.error(
            self.at..self.at + length,
            ErrorKind::Syntax {
                expected,
                found: found.map_or_else(|| "the end".to_owned(), |c| format!("`{c}`")),
            },
        )
    }

    fn error(&self, at: Range<usize>, kind: ErrorKind) -> TemplateError {
        TemplateError {
            at: self.offset + at.start..self.offset + at.end,
            kind,
            nearest: None,
        }
    }
}

// === names ===

/// The value that a selection names.
pub(crate) fn resolve(steps: &[Step<'_>], scope: &Scope) -> Result<Field, TemplateError> {
    let Some((root, members)) = steps.split_first() else {
        return Err(TemplateError {
            at: 0..0,
            kind: ErrorKind::Empty,
            nearest: None,
        });
    };
    let (field, used) = match (&*root.name, members) {
        ("params", []) => return Err(not_a_text(root, "params", "params.id")),
        ("params", [name, ..]) => (param(name, scope)?, 1),
        ("client", []) => return Err(not_a_text(root, "client", "client.ip")),
        ("client", [name, ..]) if name.name == "ip" => (Field::ClientIp, 1),
        ("client", [name, ..]) => return Err(unknown("client.", name, &["ip"])),
        ("request", []) => return Err(not_a_text(root, "request", "request.path")),
        ("request", [name, rest @ ..]) => request(name, rest)?,
        _ => return Err(unknown("", root, &ROOTS)),
    };
    match members.get(used) {
        None => Ok(field),
        Some(more) => Err(TemplateError {
            at: more.at.clone(),
            kind: ErrorKind::NoMembers {
                found: field.to_string(),
            },
            nearest: None,
        }),
    }
}

fn param(step: &Step<'_>, scope: &Scope) -> Result<Field, TemplateError> {
    if scope.params.iter().any(|known| *known == step.name) {
        return Ok(Field::Param(step.name.as_ref().into()));
    }
    let known: Vec<&str> = scope.params.iter().map(String::as_str).collect();
    Err(unknown("params.", step, &known))
}

/// The field, and how many steps behind `request` it took.
fn request(step: &Step<'_>, rest: &[Step<'_>]) -> Result<(Field, usize), TemplateError> {
    let field = match &*step.name {
        "path" => Field::RequestPath,
        "method" => Field::RequestMethod,
        "host" => Field::RequestHost,
        "scheme" => Field::RequestScheme,
        "id" => Field::RequestId,
        "query" => match rest {
            [] => Field::RequestQueryString,
            [name, ..] => return Ok((Field::RequestQuery(name.name.as_ref().into()), 2)),
        },
        "headers" => match rest {
            [] => return Err(not_a_text(step, "request.headers", HEADERS_EXAMPLE)),
            [name, ..] => return Ok((header(name)?, 2)),
        },
        _ => return Err(unknown("request.", step, &REQUEST)),
    };
    Ok((field, 1))
}

fn header(step: &Step<'_>) -> Result<Field, TemplateError> {
    // RFC 9110 §5.6.2.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if step.name.is_empty() || !step.name.bytes().all(token) {
        return Err(TemplateError {
            at: step.at.clone(),
            kind: ErrorKind::HeaderName {
                found: step.name.to_string(),
            },
            nearest: None,
        });
    }
    Ok(Field::RequestHeader(step.name.to_ascii_lowercase().into()))
}

fn not_a_text(step: &Step<'_>, found: &str, example: &'static str) -> TemplateError {
    TemplateError {
        at: step.at.clone(),
        kind: ErrorKind::NotAText {
            found: found.to_owned(),
            example,
        },
        nearest: None,
    }
}

/// The name of `known` that was probably meant by `found`.
pub(crate) fn nearest<'n>(found: &str, known: &[&'n str]) -> Option<&'n str> {
    known
        .iter()
        .map(|name| (strsim::osa_distance(name, found), *name))
        .filter(|(distance, name)| *distance <= name.len().max(found.len()) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn unknown(before: &str, step: &Step<'_>, known: &[&str]) -> TemplateError {
    let nearest = nearest(&step.name, known).map(|name| format!("{before}{name}"));
    let expected = match known {
        [] => "none: the path has no parameters that are always there".to_owned(),
        known => known
            .iter()
            .map(|name| format!("{before}{name}"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    TemplateError {
        at: step.at.clone(),
        kind: ErrorKind::UnknownName {
            found: format!("{before}{}", step.name),
            expected,
        },
        nearest,
    }
}
