//! The Prometheus text format 0.0.4, as far as `/metrics` uses it.

use std::borrow::Cow;

/// Beyond so many the rest of a line's labels is not looked at; no metric of a node has more than six.
const LABELS: usize = 16;

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(crate) value: f64,
}

/// The samples of a page. Comments, and lines that are none of the format, are passed over: a newer node may say more.
pub(crate) fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines().filter_map(Sample::read)
}

// === impl Sample ===

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let end = line.find(['{', ' ', '\t'])?;
        let (name, rest) = line.split_at(end);
        if name.is_empty() {
            return None;
        }
        let mut labels = Vec::new();
        let rest = match rest.strip_prefix('{') {
            Some(rest) => labelled(rest, &mut labels)?,
            None => rest,
        };
        // A time may follow the value.
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self { name, labels, value })
    }

    /// A label's value; empty where it has none of this name.
    pub(crate) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Reads `name="value",…}` and gives what follows.
fn labelled<'a>(mut rest: &'a str, labels: &mut Vec<(&'a str, Cow<'a, str>)>) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        if labels.len() < LABELS {
            labels.push((name.trim(), value));
        }
        rest = after;
    }
}

/// Reads a value up to its quote and gives what follows; `\\`, `\"` and `\n` are escapes.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let mut seen_escape = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => (escaped, seen_escape) = (true, true),
            '"' => {
                let value = &text[..at];
                let value = if seen_escape {
                    Cow::Owned(unescaped(value))
                } else {
                    Cow::Borrowed(value)
                };
                return Some((value, &text[at + 1..]));
            }
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Sample<'_> {
        Sample::read(line).unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn names_labels_and_values_are_read() {
        let sample = read(r#"requests_bucket{gateway="web",http_route="/orders/{id}",le="+Inf"} 12 1700000000"#);
        assert_eq!((sample.name, sample.value), ("requests_bucket", 12.0));
        assert_eq!(sample.label("http_route"), "/orders/{id}");
        assert_eq!((sample.label("le"), sample.label("other")), ("+Inf", ""));
        assert_eq!(read("sluice_raft_term 3").value, 3.0);
        assert_eq!(read("a{} 1e-3").value, 0.001);
        assert!(read("a NaN").value.is_nan());
    }

    #[test]
    fn what_is_escaped_in_a_value_is_what_was_meant() {
        let sample = read(r#"a{b="q\"u\\o\nte}",c=""} 1"#);
        assert_eq!(sample.label("b"), "q\"u\\o\nte}");
        assert_eq!(sample.label("c"), "");
    }

    #[test]
    fn comments_and_lines_of_no_sense_are_passed_over() {
        let page = "# HELP a b\n# TYPE a counter\n\na 1\nb\nc{d=\"e 1\nf{g} 2\n{h=\"i\"} 3\nj x\n# EOF\n";
        let names: Vec<_> = samples(page).map(|sample| sample.name).collect();
        assert_eq!(names, ["a"]);
    }

    proptest! {
        #[test]
        fn any_page_is_read_without_a_panic(page in "[a-z{}=\",\\\\ 0-9.\n#é]{0,200}") {
            let _ = samples(&page).count();
        }

        #[test]
        fn any_label_comes_back(value in any::<String>(), number in any::<u32>()) {
            let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // The page is read by line, and a line ends at \n alone.
            prop_assume!(!value.contains('\r'));
            let line = format!("a{{b=\"{written}\"}} {number}");
            let sample = read(&line);
            prop_assert_eq!(sample.label("b"), value.as_str());
            prop_assert_eq!(sample.value, f64::from(number));
        }
    }
}
