//! Regular expressions, bounded when they are made and free of locks when they run.
//!
//! A shared expression needs scratch space for each search. The space of one worker lies with that worker's thread, so
//! that no two of them meet.

use foldhash::{HashMap, HashMapExt};
use regex_automata::meta::{BuildError, Cache, Regex};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};
use regex_syntax::hir::{Hir, HirKind, Look};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Bytes of the automaton of one expression, and of several in one set.
const LARGEST: usize = 1 << 20;
const LARGEST_SET: usize = 4 << 20;
/// Groups in groups.
const DEEPEST: u32 = 250;
/// Slashes of a sure prefix.
pub(crate) const MOST_SURE: usize = 9;
/// Bytes of scratch space of one search for the states that it makes on its way.
const SCRATCH: usize = 1 << 20;
/// How many scratch spaces a thread keeps before it looks for those of expressions that are gone.
const KEPT: usize = 64;
/// How many it keeps at all.
const MOST_KEPT: usize = 512;

/// Several expressions, searched in one pass.
#[derive(Debug)]
pub(crate) struct Matcher {
    regex: Regex,
    /// Unique in the process: finds the thread's scratch space.
    number: u64,
    /// Dies with the matcher.
    alive: Arc<()>,
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MatcherError {
    #[error("{text:?} is no regular expression: {why}")]
    Syntax { text: String, why: String },
    #[error("{text:?} needs more than {LARGEST} bytes as an automaton; ask for less repetition")]
    TooLarge { text: String },
}

/// What its haystacks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Normalised paths: ASCII, where bytes mean the same as characters and need far smaller automata.
    Paths,
    /// Values of fields: bytes that are mostly text.
    Values,
}

struct Scratch {
    cache: Cache,
    found: PatternSet,
    of: Weak<()>,
}

#[derive(Default)]
struct Scratches {
    by_number: Option<HashMap<u64, Scratch>>,
    sweep_at: usize,
}

thread_local! {
    static SCRATCHES: RefCell<Scratches> = RefCell::default();
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

// === impl Matcher ===

impl Matcher {
    /// # Errors
    ///
    /// The first expression that cannot be taken. `None`: each could be, but not all of them in one.
    pub(crate) fn new(texts: &[&str], over: Over) -> Result<Self, Option<MatcherError>> {
        let mut parsed = Vec::with_capacity(texts.len());
        for text in texts {
            parsed.push(parse(text, over).map_err(Some)?);
        }
        let limit = if texts.len() > 1 { LARGEST_SET } else { LARGEST };
        let config = Regex::config()
            .match_kind(MatchKind::All)
            .utf8_empty(false)
            .nfa_size_limit(Some(limit))
            .hybrid_cache_capacity(SCRATCH)
            .onepass(false)
            .dfa(false);
        let regex = Regex::builder()
            .configure(config)
            .build_many_from_hir(&parsed)
            .map_err(|error| refused(&error, texts))?;
        Ok(Self {
            regex,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            alive: Arc::new(()),
        })
    }

    /// Whether any of the expressions matches somewhere.
    pub(crate) fn is_match(&self, haystack: &[u8]) -> bool {
        self.with_scratch(|cache, _| self.regex.is_match_with(cache, &Input::new(haystack)))
    }

    /// Calls `each` with the index of every expression that matches somewhere, in their order.
    pub(crate) fn matches(&self, haystack: &[u8], mut each: impl FnMut(usize)) {
        self.with_scratch(|cache, found| {
            found.clear();
            let input = Input::new(haystack);
            self.regex.which_overlapping_matches_with(cache, &input, found);
            for pattern in found.iter() {
                each(pattern.as_usize());
            }
        });
    }

    /// Bytes, without scratch space.
    pub(crate) fn memory(&self) -> usize {
        self.regex.memory_usage()
    }

    /// `search` must not run another matcher.
    fn with_scratch<T>(&self, search: impl FnOnce(&mut Cache, &mut PatternSet) -> T) -> T {
        SCRATCHES.with_borrow_mut(|scratches| {
            let scratch = scratches.of(self);
            search(&mut scratch.cache, &mut scratch.found)
        })
    }
}

/// What every path begins with that the expression matches: whole segments, from the first slash to the last one that is
/// sure. `/` where nothing is.
///
/// # Errors
///
/// As [`Matcher::new`] of this one, but for its size.
pub(crate) fn sure_prefix(text: &str) -> Result<String, MatcherError> {
    let parsed = parse(text, Over::Paths)?;
    let literal = match parsed.kind() {
        HirKind::Concat(parts) => match parts.as_slice() {
            [first, second, ..] if *first.kind() == HirKind::Look(Look::Start) => match second.kind() {
                HirKind::Literal(literal) => std::str::from_utf8(&literal.0).unwrap_or("/"),
                _ => "/",
            },
            _ => "/",
        },
        _ => "/",
    };
    let slashes = literal.match_indices('/').map(|(at, _)| at).take(MOST_SURE);
    Ok(match (literal.starts_with('/'), slashes.last()) {
        (true, Some(last)) => literal[..=last].to_owned(),
        _ => "/".to_owned(),
    })
}

fn parse(text: &str, over: Over) -> Result<Hir, MatcherError> {
    let config = syntax::Config::new().utf8(false).nest_limit(DEEPEST);
    // An expression that asks for a class of Unicode has to be read as one of Unicode.
    let bytes = match over {
        Over::Paths => syntax::parse_with(text, &config.unicode(false)).ok(),
        Over::Values => None,
    };
    match bytes {
        Some(parsed) => Ok(parsed),
        None => syntax::parse_with(text, &config).map_err(|error| MatcherError::Syntax {
            text: text.to_owned(),
            why: last_line(&error.to_string()),
        }),
    }
}

/// The parser draws the expression over several lines, and says what is wrong in the last.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message).trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn refused(error: &BuildError, texts: &[&str]) -> Option<MatcherError> {
    let [text] = texts else {
        return None;
    };
    let text = (*text).to_owned();
    Some(match error.size_limit() {
        Some(_) => MatcherError::TooLarge { text },
        None => MatcherError::Syntax {
            text,
            why: last_line(&error.to_string()),
        },
    })
}

// === impl MatcherError ===

impl MatcherError {
    /// The expression.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Syntax { text, .. } | Self::TooLarge { text } => text,
        }
    }
}

// === impl Scratches ===

impl Scratches {
    fn of(&mut self, matcher: &Matcher) -> &mut Scratch {
        let by_number = self.by_number.get_or_insert_with(HashMap::new);
        if by_number.len() > self.sweep_at.max(KEPT) && !by_number.contains_key(&matcher.number) {
            by_number.retain(|_, scratch| scratch.of.strong_count() > 0);
            if by_number.len() > MOST_KEPT {
                by_number.clear();
            }
            self.sweep_at = by_number.len() * 2;
        }
        by_number.entry(matcher.number).or_insert_with(|| Scratch {
            cache: matcher.regex.create_cache(),
            found: PatternSet::new(matcher.regex.pattern_len()),
            of: Arc::downgrade(&matcher.alive),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(matcher: &Matcher, haystack: &str) -> Vec<usize> {
        let mut found = Vec::new();
        matcher.matches(haystack.as_bytes(), |at| found.push(at));
        found
    }

    #[test]
    fn every_expression_that_matches_is_told() {
        let set = Matcher::new(&["^/v[0-9]+/", "/orders", "^/v1/orders$", "^$"], Over::Paths).unwrap();
        assert_eq!(found(&set, "/v1/orders"), [0, 1, 2]);
        assert_eq!(found(&set, "/v1/x"), [0]);
        assert_eq!(found(&set, "/x/orders/7"), [1]);
        assert_eq!(found(&set, "/"), [] as [usize; 0]);
    }

    #[test]
    fn what_is_too_large_or_no_expression_is_refused_and_named() {
        for text in ["(a{1000}){1000}", "((((a{99}){99}){99}){99}){99}", r"\pL{1000}"] {
            let error = Matcher::new(&[text], Over::Paths).unwrap_err().unwrap();
            assert_eq!(error, MatcherError::TooLarge { text: text.into() });
        }
        for text in ["(", "[", "a{5,1}", r"\p{Nonsense}", &"(".repeat(100_000)] {
            let error = Matcher::new(&[text], Over::Paths).unwrap_err().unwrap();
            assert!(matches!(error, MatcherError::Syntax { .. }), "{error}");
        }
        let deep = format!("{}a{}", "(".repeat(300), ")".repeat(300));
        let error = Matcher::new(&[&deep], Over::Values).unwrap_err().unwrap();
        assert!(error.to_string().contains("nest"), "{error}");
    }

    #[test]
    fn whole_segments_at_the_front_are_sure() {
        for (text, prefix) in [
            ("^/orders/[0-9]+$", "/orders/"),
            ("^/api/v1/orders/", "/api/v1/orders/"),
            ("^/api/v[0-9]+/orders/", "/api/"),
            ("^/orders", "/"),
            ("^/orders/?$", "/"),
            ("^(/a/b)", "/"),
            ("/a/b/", "/"),
            ("^a/b/", "/"),
            ("(?i)^/orders/", "/"),
            ("(?m)^/orders/x", "/"),
            ("^/a/b/|^/c/", "/"),
            ("^/a/(?:b/)?", "/a/"),
            ("^/1/2/3/4/5/6/7/8/9/10/", "/1/2/3/4/5/6/7/8/"),
            ("^", "/"),
            ("", "/"),
        ] {
            assert_eq!(sure_prefix(text).unwrap(), prefix, "{text}");
        }
        assert!(sure_prefix("^/a/(").is_err());
    }

    #[test]
    fn values_are_text_and_paths_are_bytes() {
        let one = |text| Matcher::new(&[text], Over::Values).unwrap();
        assert!(one("^.$").is_match("é".as_bytes()));
        assert!(one(r"^\w+$").is_match("straße".as_bytes()));
        assert!(!one("b").is_match(b"\xff"));
        assert!(Matcher::new(&[r"^/\pL$"], Over::Paths).unwrap().is_match(b"/a"));
    }

    #[test]
    fn thousands_of_expressions_do_not_keep_their_scratch_space() {
        for i in 0..3_000 {
            let text = format!("^/{i}$");
            assert!(
                Matcher::new(&[&text], Over::Paths)
                    .unwrap()
                    .is_match(&text.as_bytes()[1..text.len() - 1])
            );
        }
        SCRATCHES.with_borrow(|scratches| {
            assert!(scratches.by_number.as_ref().unwrap().len() <= KEPT + 1);
        });
    }
}
