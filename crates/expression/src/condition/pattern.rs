//! Regular expressions of `matches`: linear in the text, bounded when they are made, free of locks when they run.

use regex_automata::Input;
use regex_automata::meta::{Cache, Regex};
use regex_automata::util::syntax;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the automaton.
const LARGEST: usize = 1 << 20;
/// Groups in groups.
const DEEPEST: u32 = 100;
/// Bytes of scratch space for the states that a search makes on its way.
const SCRATCH: usize = 1 << 18;
/// Expressions whose scratch space a thread keeps: those that it searched last.
const KEPT: usize = 32;

/// A regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// Unique in the process: finds the thread's scratch space.
    number: u64,
}

thread_local! {
    /// The scratch space of this thread, by the expression's number, the last used first: a space that all threads
    /// shared would make them wait for each other.
    static SCRATCHES: RefCell<Vec<(u64, Cache)>> = const { RefCell::new(Vec::new()) };
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

// === impl Pattern ===

impl Pattern {
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let config = Regex::config()
            .utf8_empty(false)
            .nfa_size_limit(Some(LARGEST))
            .hybrid_cache_capacity(SCRATCH)
            .onepass(false)
            .dfa(false);
        let regex = Regex::builder()
            .configure(config)
            .syntax(syntax::Config::new().utf8(false).nest_limit(DEEPEST))
            .build(text)
            .map_err(|error| match (error.syntax_error(), error.size_limit()) {
                (Some(error), _) => {
                    // The parser draws the expression over several lines, and says what is wrong in the last.
                    let told = error.to_string();
                    let last = told.lines().last().unwrap_or_default();
                    last.trim_start_matches("error: ").to_owned()
                }
                (None, Some(_)) => format!("compiled, it takes more than {LARGEST} bytes"),
                (None, None) => error.to_string(),
            })?;
        Ok(Self {
            regex,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Whether it matches somewhere.
    pub(super) fn is_match(&self, text: &str) -> bool {
        SCRATCHES.with_borrow_mut(|scratches| {
            match scratches.iter().position(|(number, _)| *number == self.number) {
                Some(0) => {}
                Some(at) => scratches[..=at].rotate_right(1),
                None => {
                    scratches.truncate(KEPT - 1);
                    scratches.insert(0, (self.number, self.regex.create_cache()));
                }
            }
            let (_, cache) = &mut scratches[0];
            self.regex.is_match_with(cache, &Input::new(text))
        })
    }

    /// Bytes, without scratch space.
    pub(super) fn memory(&self) -> usize {
        self.regex.memory_usage()
    }
}
