//! What a text says beside its values: comments, and names for what stands again.

use granit_parser::{Event, Parser};

/// A comment of YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    /// Where its `#` stands, in bytes.
    pub(crate) start: u32,
    /// With its `#`, without the line's end.
    pub(crate) text: String,
}

/// What is beside the values of a YAML text that can be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// In their order.
    pub(crate) comments: Vec<Comment>,
    /// There are anchors, aliases or merges.
    pub(crate) anchors: bool,
}

/// Of a text that was read as YAML already; one that cannot be read has nothing.
pub(crate) fn of_yaml(text: &str) -> Beside {
    let options = granit_parser::options! {
        flow_nesting_limit: 255,
        block_nesting_limit: 255,
        emit_comments: true,
        max_buffered_comment_events: usize::MAX,
    };
    let mut beside = Beside::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let Ok((event, span)) = event else { break };
        match event {
            Event::Comment(..) => {
                let range = span.byte_range().unwrap_or(0..0);
                let line = text.get(range.start..).and_then(|rest| rest.lines().next());
                beside.comments.push(Comment {
                    start: range.start as u32,
                    text: line.unwrap_or_default().trim_end().to_owned(),
                });
            }
            Event::Alias(_) => beside.anchors = true,
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) => {
                beside.anchors |= anchor != 0;
            }
            _ => {}
        }
    }
    beside
}

/// Whether a TOML text that can be read has comments: a `#` outside of its strings.
pub(crate) fn in_toml(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(['#', '"', '\'']) {
        let found = &rest[at..];
        let Some(quote) = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| found.starts_with(quote))
        else {
            return true;
        };
        let inner = &found[quote.len()..];
        let escapes = quote.starts_with('"');
        let mut end = None;
        let mut skip = false;
        for (i, c) in inner.char_indices() {
            if skip {
                skip = false;
            } else if escapes && c == '\\' {
                skip = true;
            } else if inner[i..].starts_with(quote) {
                // A quote or two may stand before the three that end it.
                let more = inner[i + quote.len()..]
                    .chars()
                    .take_while(|c| quote.starts_with(*c))
                    .count();
                end = Some(i + quote.len() + if quote.len() == 3 { more.min(2) } else { 0 });
                break;
            }
        }
        match end {
            Some(end) => rest = &inner[end..],
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_in_a_text_is_no_comment() {
        let texts = |text: &str| -> Vec<String> {
            let beside = of_yaml(text);
            beside.comments.into_iter().map(|comment| comment.text).collect()
        };
        assert_eq!(
            texts("# one\na: '#no' # two\nb: |\n  # no\nc: x#no\n# three\n"),
            ["# one", "# two", "# three"]
        );
        assert!(of_yaml("a: &x 1\n").anchors && of_yaml("a: &x 1\nb: *x\n").anchors && !of_yaml("a: '*x'\n").anchors);
        assert!(in_toml("a = 1 # x") && in_toml("a = \"\"\"x\"\"\" # y") && in_toml("# x"));
        for none in [
            "a = '#'",
            "a = \"\\\"#\"",
            "a = \"\"\"\n# no\"\"\"\"\"",
            "a = '''#'''",
            "a = 1",
        ] {
            assert!(!in_toml(none), "{none}");
        }
    }
}
