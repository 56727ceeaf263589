//! Diagnostics for a terminal.

use crate::diagnostic::{Diagnostic, Severity};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::collections::HashMap;

/// Writes diagnostics for people: what is wrong, the line of the document with the place under it, the path in the
/// document, what was found and what was expected.
///
/// `sources` are the texts by the names of their files; where a text is missing (a diagnostic of the admin API, say)
/// the excerpt that the diagnostic carries is shown. `color` is for terminals. Ends with a line that counts, unless
/// there is nothing to write.
pub fn render<N: AsRef<str>, T: AsRef<str>>(diagnostics: &[Diagnostic], sources: &[(N, T)], color: bool) -> String {
    let lines: HashMap<&str, Vec<&str>> = sources
        .iter()
        .map(|(name, text)| (name.as_ref(), text.as_ref().lines().collect()))
        .collect();
    // A text without a name can only be the one of diagnostics that name no file.
    let only = match sources {
        [(_, text)] => Some(text.as_ref().lines().collect::<Vec<_>>()),
        _ => None,
    };
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        let text = match &diagnostic.file {
            Some(file) => lines.get(file.as_str()),
            None => only.as_ref(),
        };
        let line = diagnostic.line.and_then(|line| text?.get(line as usize - 1).copied());
        out.push_str(&renderer.render(&[group(diagnostic, line)]));
        out.push_str("\n\n");
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => {}
        (errors, 0) => out.push_str(&format!("{}\n", counted(errors, "error"))),
        (0, warnings) => out.push_str(&format!("{}\n", counted(warnings, "warning"))),
        (errors, warnings) => {
            out.push_str(&format!(
                "{}, {}\n",
                counted(errors, "error"),
                counted(warnings, "warning")
            ));
        }
    }
    out
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

fn group<'d>(diagnostic: &'d Diagnostic, line: Option<&'d str>) -> Group<'d> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(&diagnostic.message)
        .id(&*diagnostic.code)
        .elements(None::<Origin<'_>>);
    match (line.or(diagnostic.excerpt.as_deref()), diagnostic.line) {
        (Some(text), Some(number)) => {
            // An excerpt is without its indentation, so the column says nothing in it.
            let column = if line.is_some() {
                diagnostic.column.unwrap_or(1) as usize - 1
            } else {
                0
            };
            let span = token(text, column);
            let annotation = AnnotationKind::Primary.span(span);
            let snippet = Snippet::source(text).line_start(number as usize).annotation(annotation);
            group = group.element(snippet.path(diagnostic.file.as_deref()));
        }
        _ => {
            if let Some(file) = &diagnostic.file {
                group = group.element(Origin::path(file));
            }
        }
    }
    let notes = [
        ("at", Some(&diagnostic.path).filter(|path| !path.is_empty())),
        ("found", diagnostic.found.as_ref()),
        ("expected", diagnostic.expected.as_ref()),
    ];
    for (name, note) in notes {
        if let Some(note) = note {
            group = group.element(Level::NOTE.with_name(name).message(note));
        }
    }
    group
}

/// The bytes of what begins at a column: up to what ends a value or key in any of the formats.
fn token(line: &str, column: usize) -> std::ops::Range<usize> {
    let start = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    let rest = &line[start..];
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let length = match quote {
        Some(quote) => rest[1..].find(quote).map_or(rest.len(), |at| at + 2),
        None => rest.find([',', '}', ']', ' ', '=']).unwrap_or(rest.len()),
    };
    let first = rest.chars().next().map_or(0, char::len_utf8);
    let text = rest[..length.max(first)].trim_end_matches([':', '\r']);
    start..start + text.len().max(first)
}
