//! The examples of the documentation, and what becomes of them when they are damaged.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sluice_document::{Format, parse, parse_part, print, split};
use std::sync::OnceLock;

/// Name and text of every example.
fn examples() -> &'static [(String, String)] {
    static EXAMPLES: OnceLock<Vec<(String, String)>> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
        let mut examples: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        examples.sort();
        assert!(examples.len() > 20);
        examples
    })
}

#[test]
fn every_example_is_sound_and_says_how_to_try_it() {
    for (name, text) in examples() {
        let format = Format::from_file_name(name).unwrap();
        let parsed = parse(text, format, Some(name)).unwrap_or_else(|errors| panic!("{errors:#?}"));
        // One shows a warning on purpose.
        assert_eq!(
            parsed.warnings.is_empty(),
            name != "priority.yaml",
            "{name}: {:#?}",
            parsed.warnings
        );
        assert!(text.starts_with("# "), "{name} begins with what it shows");
        assert!(
            text.contains(&format!("sluice apply --prune -f docs/examples/{name}")),
            "{name}"
        );
    }
}

#[test]
fn every_example_is_the_same_in_every_format() {
    for (name, text) in examples() {
        let document = parse(text, Format::Yaml, None).unwrap().document;
        for format in [Format::Yaml, Format::Json, Format::Toml] {
            // An answer of JSON may hold a null, which TOML cannot say.
            let Ok(printed) = print(&document, format) else {
                assert_eq!((format, name.as_str()), (Format::Toml, "respond.yaml"));
                continue;
            };
            let again = parse(&printed, format, None).unwrap_or_else(|errors| panic!("{errors:#?}\n{printed}"));
            assert_eq!(again.document, document, "{name} {format}\n{printed}");
        }
    }
}

#[test]
fn every_field_that_is_built_stands_in_an_example() {
    let all: String = examples().iter().map(|(_, text)| text.as_str()).collect();
    let fields = "format upstreams gateways cluster stale warn unready_after targets url weight host balance timeout \
                  connect try first_byte idle total pool max_idle max_age protocol retry attempts hosts routes listen \
                  expose trusted_proxies path paths id methods match headers query client exact prefix regex present \
                  not priority upstream redirect to status respond text json html rewrite strip_prefix request response \
                  set add remove max_body encoded_slash upgrade tunnel split sticky cookie weight when \
                  telemetry access_log on budget backoff health active path every unhealthy_after healthy_after passive \
                  errors eject_for max_ejected panic breaker failure_rate slow_rate slow_after consecutive failures window \
                  min_requests open_for max_open_for probes observers fallback";
    let missing: Vec<_> = fields
        .split_whitespace()
        .filter(|name| !all.contains(&format!("{name}:")))
        .collect();
    assert_eq!(missing, ["exact"], "`exact` is what a bare text means");
}

/// One damage to a text, by numbers.
fn damage(text: &str, kind: u8, at: usize, length: usize, other: &str) -> String {
    let floor = |at: usize| {
        (0..=at.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0)
    };
    let from = floor(at % (text.len() + 1));
    let to = floor(from + length % 40).max(from);
    let (before, cut, after) = (&text[..from], &text[from..to], &text[to..]);
    match kind % 6 {
        0 => format!("{before}{after}"),
        1 => format!("{before}{cut}{cut}{after}"),
        2 => format!("{before}{other}{after}"),
        3 => format!("{before}{other}{cut}{after}"),
        4 => before.to_owned(),
        _ => {
            let lines: Vec<&str> = text.lines().collect();
            let (a, b) = (at % lines.len(), length % lines.len());
            let mut lines = lines;
            lines.swap(a, b);
            lines.join("\n")
        }
    }
}

/// Either it is read, and then prints and reads as the same, or every fault has a place and the text is not touched.
fn sound_or_told(text: &str, format: Format) -> Result<(), TestCaseError> {
    match parse(text, format, Some("damaged")) {
        Ok(parsed) => {
            let printed = print(&parsed.document, Format::Json).unwrap();
            let again = parse(&printed, Format::Json, None);
            prop_assert_eq!(again.map(|again| again.document), Ok(parsed.document));
        }
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(error.line.is_some() && error.column.is_some(), "{:?}", error);
                prop_assert!(!error.message.is_empty() && error.message.len() < 1_000, "{:?}", error);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_example_is_read_or_refused_with_a_place(
        which in any::<prop::sample::Index>(),
        format in prop::sample::select(vec![Format::Yaml, Format::Json, Format::Toml]),
        damages in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>(), "[ -~\\t\\n\\r:#{}\\[\\]\"'&*!|>%@é\u{0}]{0,4}"), 1..4),
    ) {
        let (_, text) = &examples()[which.index(examples().len())];
        let document = parse(text, Format::Yaml, None).unwrap().document;
        let mut text = match format {
            Format::Yaml => text.clone(),
            format => print(&document, format).unwrap_or_else(|_| text.clone()),
        };
        for (kind, at, length, other) in &damages {
            text = damage(&text, *kind, *at, *length, other);
            if text.is_empty() {
                break;
            }
        }
        sound_or_told(&text, format)?;
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in any::<String>(), lines in "[a-z:{}\\[\\]\", \\n\\-&*]{0,80}") {
        for format in [Format::Yaml, Format::Json, Format::Toml] {
            sound_or_told(&text, format)?;
            sound_or_told(&lines, format)?;
        }
    }

    #[test]
    fn a_part_of_an_example_is_put_as_it_is_stored(which in any::<prop::sample::Index>()) {
        let (_, text) = &examples()[which.index(examples().len())];
        let parts = split(&parse(text, Format::Yaml, None).unwrap().document);
        for (key, text) in &parts {
            let put = parse_part(key, text, Format::Json).unwrap();
            prop_assert_eq!(put.len(), 1);
            prop_assert_eq!(&put[0].0, key);
            prop_assert_eq!(&sluice_document::encode_part(&put[0].1), text);
        }
    }
}

#[test]
fn every_code_stands_in_the_documentation() {
    let root = env!("CARGO_MANIFEST_DIR");
    let page = std::fs::read_to_string(format!("{root}/../../docs/document.md")).unwrap();
    let mut folders = vec![std::path::PathBuf::from(format!("{root}/src"))];
    let mut source = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => source.push_str(&std::fs::read_to_string(path).unwrap()),
            }
        }
    }
    let mut told = 0;
    for (begin, end) in [("Finding::error(", ","), ("Finding::warning(", ",")] {
        for (at, _) in source.match_indices(begin) {
            let rest = source[at + begin.len()..].trim_start();
            let Some(word) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) else {
                continue;
            };
            if word.1.trim_start().starts_with(end) {
                assert!(page.contains(word.0), "`{}` is not in docs/document.md", word.0);
                told += 1;
            }
        }
    }
    assert!(told > 30, "{told}");
}

#[test]
fn the_document_that_the_documentation_begins_with_is_sound() {
    let page = include_str!("../../../docs/document.md");
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    assert_eq!(parse(text, Format::Yaml, None).unwrap().warnings, []);
}

#[test]
fn the_document_of_the_guide_to_routing_rules_is_sound() {
    let page = include_str!("../../../docs/guides/routing-rules.md");
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    assert_eq!(parse(text, Format::Yaml, None).unwrap().warnings, []);
}
