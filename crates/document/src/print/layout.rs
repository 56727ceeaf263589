//! A text laid out anew: what it says, in which order, and its comments stay as they are.
//!
//! YAML gets blocks two spaces deep, short lists in one line, quotes where they are needed, and blank lines where there
//! were some. A comment goes with what it stands at: above it, or at the end of its line.

use super::yaml;
use crate::diagnostic::{Diagnostic, Finding};
use crate::format::Format;
use crate::source::{Place, Sources};
use crate::tree::comments::{Beside, Comment, in_toml, of_yaml};
use crate::tree::{self, Kind, Node};

/// A text laid out anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The text.
    pub text: String,
    /// What it has no place for, and is not in it: `comments`, `anchors`.
    pub lost: Vec<&'static str>,
}

/// The comments of a text on their way into another layout.
pub(super) struct Notes<'a> {
    source: &'a str,
    left: std::collections::VecDeque<Comment>,
    /// Values are spelt as they were.
    as_written: bool,
}

/// Lays a text out anew, which may be a document or a file of one. `file` is the name that messages give.
///
/// # Errors
/// It is not well-formed; or, and that is a fault of ours, it could not be written without saying something else.
pub fn layout(text: &str, format: Format, file: Option<&str>) -> Result<Layout, Vec<Diagnostic>> {
    let sources = Sources::new([(file, text)]);
    let told = |findings: Vec<Finding>| -> Vec<Diagnostic> {
        findings.into_iter().map(|finding| finding.place_in(&sources)).collect()
    };
    let root = tree::read(text, format, 0).map_err(told)?;
    let mut lost = Vec::new();
    let out = match format {
        Format::Yaml => {
            let Beside { comments, anchors } = of_yaml(text);
            if anchors {
                lost.push("anchors");
            }
            let kept: Vec<String> = comments.iter().map(|comment| comment.text.clone()).collect();
            let out = yaml::emit(&root, &mut Notes::of(text, comments));
            let still: Vec<String> = of_yaml(&out).comments.into_iter().map(|comment| comment.text).collect();
            if !anchors && still != kept {
                return Err(told(vec![other_than(&root)]));
            }
            out
        }
        Format::Json => super::emit(&root, format).unwrap_or_default(),
        Format::Toml => {
            if in_toml(text) {
                lost.push("comments");
            }
            super::emit(&root, format).unwrap_or_default()
        }
    };
    match tree::read(&out, format, 0) {
        Ok(again) if same(&root, &again) => Ok(Layout { text: out, lost }),
        _ => Err(told(vec![other_than(&root)])),
    }
}

fn other_than(root: &Node) -> Finding {
    Finding::error(
        "layout",
        "this text cannot be laid out without saying something else: leave it as it is",
    )
    .at(Place {
        end: root.at.start,
        ..root.at
    })
}

/// Whether two texts say the same, numbers by their spelling too: some fields take that.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Number(one), Kind::Number(other)) => one.spelling == other.spelling,
        (Kind::List(one), Kind::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Kind::Map(one), Kind::Map(other)) => {
            let entries = || one.iter().zip(other);
            one.len() == other.len()
                && entries().all(|(one, other)| one.key == other.key && same(&one.value, &other.value))
        }
        (Kind::Text(one), Kind::Text(other)) | (Kind::Date(one), Kind::Date(other)) => one == other,
        (Kind::Bool(one), Kind::Bool(other)) => one == other,
        (Kind::Null, Kind::Null) => true,
        _ => false,
    }
}

// === impl Notes ===

impl<'a> Notes<'a> {
    /// None, for what never was a text of an operator.
    pub(super) fn none() -> Self {
        Self {
            source: "",
            left: Default::default(),
            as_written: false,
        }
    }

    fn of(source: &'a str, comments: Vec<Comment>) -> Self {
        Self {
            source,
            left: comments.into(),
            as_written: true,
        }
    }

    pub(super) fn as_written(&self) -> bool {
        self.as_written
    }

    /// Writes the comments before this place, each on a line of its own, and the blank line that stood before what
    /// follows, which begins at `start`.
    pub(super) fn above(&mut self, out: &mut String, start: u32, before: u32, indent: usize) {
        while let Some(comment) = self.left.pop_front_if(|comment| comment.start < before) {
            self.blank(out, comment.start);
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(&comment.text);
            out.push('\n');
        }
        self.blank(out, start);
    }

    /// Writes the comment that stands on the line of this place, behind it.
    pub(super) fn right(&mut self, out: &mut String, of: u32) {
        let of = of as usize;
        let same_line = |start: usize| {
            let between = self.source.get(of.min(start)..start);
            between.is_some_and(|between| !between.contains('\n'))
        };
        if let Some(comment) = self.left.front()
            && same_line(comment.start as usize)
            && let Some(comment) = self.left.pop_front()
        {
            out.push(' ');
            out.push_str(&comment.text);
        }
    }

    /// Writes what is left.
    pub(super) fn rest(&mut self, out: &mut String) {
        let end = self.source.len() as u32;
        while let Some(comment) = self.left.pop_front() {
            self.blank(out, comment.start.min(end));
            out.push_str(&comment.text);
            out.push('\n');
        }
    }

    /// A blank line stands here where one stood before that place.
    fn blank(&self, out: &mut String, start: u32) {
        if !self.as_written || out.is_empty() || out.ends_with("\n\n") || !out.ends_with('\n') {
            return;
        }
        let before = self.source.get(..start as usize).unwrap_or_default();
        let Some((before, _)) = before.rsplit_once('\n') else {
            return;
        };
        let line_before = before.rsplit_once('\n').map_or(before, |(_, line)| line);
        if line_before.trim().is_empty() {
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn yaml(text: &str) -> String {
        layout(text, Format::Yaml, None).unwrap().text
    }

    #[test]
    fn comments_stay_with_what_they_stand_at() {
        let text = "\
# The shop.

upstreams:   # where it goes
    orders: { targets: [\"http://a:1\", # the old one
                         \"http://b:1\"] } # both


    # users are elsewhere
    users:
        targets:
        -   url: 'http://c:1'   # c
            # half as much
            weight: 1
gateways: {}
# the end
";
        insta::assert_snapshot!(yaml(text), @r#"
        # The shop.

        upstreams: # where it goes
          orders: # the old one
            targets: ["http://a:1", "http://b:1"] # both

          # users are elsewhere
          users:
            targets:
              - url: http://c:1 # c
                # half as much
                weight: 1
        gateways: {}
        # the end
        "#);
        assert_eq!(yaml(&yaml(text)), yaml(text), "laid out once is laid out");
    }

    #[test]
    fn numbers_are_spelt_as_they_were_and_long_texts_keep_their_lines() {
        let text = "a: 1.10\nb: |\n    one # no comment\n\n      two\nc: |-\n  x\n  y\nd: \"x\\n \"\n";
        insta::assert_snapshot!(yaml(text), @r#"
        a: 1.10
        b: |
          one # no comment

            two
        c: |-
          x
          y
        d: "x\n "
        "#);
    }

    #[test]
    fn what_has_no_place_is_told() {
        let lost = |text, format| layout(text, format, None).unwrap().lost;
        assert_eq!(lost("a: &x [1]\nb: *x\n", Format::Yaml), ["anchors"]);
        assert_eq!(lost("a = 1 # x\n", Format::Toml), ["comments"]);
        assert!(lost("# a\na: 1\n", Format::Yaml).is_empty() && lost("{\"a\":1}", Format::Json).is_empty());
        assert!(layout("a: [", Format::Yaml, None).is_err());
    }

    #[test]
    fn the_examples_can_be_laid_out() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let format = Format::from_file_name(&path.display().to_string()).unwrap();
            let once = layout(&text, format, None).unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()));
            assert_eq!(
                layout(&once.text, format, None).unwrap().text,
                once.text,
                "{}",
                path.display()
            );
        }
    }

    /// Any tree, written in some way with comments about.
    fn texts() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            "[a-z]{1,3}",
            Just("'# a'".to_owned()),
            Just("1.50".to_owned()),
            Just("[x, 'y: z']".to_owned())
        ];
        let comment = prop_oneof![Just(String::new()), Just(" # note".to_owned()), Just(" #".to_owned())];
        let own = prop_oneof![3 => Just(""), 1 => Just("# own\n"), 1 => Just("\n"), 1 => Just("   # in\n\n# out\n")];
        let line = (own, 0..4usize, any::<bool>(), scalar, comment);
        proptest::collection::vec(line, 1..12).prop_map(|lines| {
            let (mut text, mut depth) = (String::new(), 0);
            for (n, (own, to, nests, scalar, comment)) in lines.iter().enumerate() {
                let at = (*to).min(depth);
                text.push_str(own);
                text.push_str(&"   ".repeat(at));
                if *nests && n + 1 < lines.len() {
                    text.push_str(&format!("k{n}:{comment}\n"));
                    depth = at + 1;
                } else {
                    text.push_str(&format!("k{n}: {scalar}{comment}\n"));
                    depth = at;
                }
            }
            text
        })
    }

    proptest! {
        #[test]
        fn a_layout_says_the_same_has_all_comments_and_is_its_own(text in texts()) {
            // Some are not well-formed: a value and a map under one key.
            if let Ok(once) = layout(&text, Format::Yaml, None) {
                prop_assert_eq!(layout(&once.text, Format::Yaml, None).unwrap().text, once.text);
            } else {
                prop_assert!(tree::read(&text, Format::Yaml, 0).is_err(), "{}", text);
            }
        }
    }
}
