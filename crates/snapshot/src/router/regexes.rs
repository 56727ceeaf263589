//! Paths by regular expressions: in small sets that are each searched in one pass, found by what their paths surely
//! begin with.
//!
//! A change builds the one set anew that it touches. A look-up searches the sets of each prefix of its path, so that
//! thousands of expressions below different prefixes cost what a few do; those without a sure prefix are all searched,
//! 256 in a pass.

use super::rank::{Entry, Terminal};
use super::search::Search;
use crate::budget::Budget;
use crate::error::OverBudget;
use crate::matcher::{MOST_SURE, Matcher, MatcherError, Over};
use crate::persistent::Map;
use crate::route::Route;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Expressions of one set: so few that building one anew takes less than a millisecond or so.
const SET: usize = 256;

/// All expressions of a gateway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Regexes {
    by_prefix: Map<Arc<str>, Bucket>,
    /// Bytes of the automata.
    memory: usize,
}

/// A change under way: which buckets have sets that must be built.
#[derive(Debug, Default)]
pub(crate) struct Stale(BTreeSet<Arc<str>>);

/// Why a set could not be built.
#[derive(Debug)]
pub(crate) enum BuildError {
    /// These routes' expressions cannot be taken.
    Refused(Vec<(Arc<Route>, MatcherError)>),
    OverBudget(OverBudget),
}

/// The expressions of one sure prefix.
#[derive(Debug, Clone, Default)]
struct Bucket {
    sets: Vec<Arc<Set>>,
    /// The set of each text.
    places: Map<Arc<str>, usize>,
    greatest: i32,
}

#[derive(Debug, Clone, Default)]
struct Set {
    patterns: Vec<Pattern>,
    /// Of the patterns in their order, or of what they were before the change under way.
    built: Option<Arc<Built>>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: Arc<str>,
    terminal: Terminal,
}

#[derive(Debug)]
struct Built {
    matcher: Matcher,
    texts: Vec<Arc<str>>,
}

// === impl Regexes ===

impl Regexes {
    pub(crate) fn search<'s>(&'s self, path: &str, search: &mut Search<'s, '_>) {
        if self.by_prefix.is_empty() {
            return;
        }
        let mut found: SmallVec<[&'s Entry; 8]> = SmallVec::new();
        for (at, _) in path.match_indices('/').take(MOST_SURE) {
            let Some(bucket) = self.by_prefix.get(&path[..=at]) else {
                continue;
            };
            if !search.wants(bucket.greatest) {
                continue;
            }
            for set in &bucket.sets {
                if let Some(built) = &set.built {
                    built.matcher.matches(path.as_bytes(), |at| {
                        let pattern = set.patterns.get(at);
                        found.extend(pattern.into_iter().flat_map(|pattern| pattern.terminal.entries()));
                    });
                }
            }
        }
        found.sort_unstable_by(|a, b| a.order(b));
        search.offer(found);
    }

    /// Nothing is found by a changed set before [`Regexes::build`].
    ///
    /// # Errors
    ///
    /// The route in the way.
    pub(crate) fn insert(
        &mut self,
        prefix: &Arc<str>,
        text: &Arc<str>,
        entry: Entry,
        stale: &mut Stale,
    ) -> Result<(), Arc<Route>> {
        if self.by_prefix.get(prefix).is_none() {
            self.by_prefix.insert(Arc::clone(prefix), Bucket::default());
        }
        let Some(bucket) = self.by_prefix.get_mut(prefix) else {
            return Ok(());
        };
        stale.0.insert(Arc::clone(prefix));
        bucket.pattern(text).terminal.insert(entry)
    }

    pub(crate) fn remove(&mut self, prefix: &Arc<str>, text: &Arc<str>, id: &str, stale: &mut Stale) {
        if let Some(pattern) = self.known(prefix, text) {
            pattern.terminal.remove(id);
            stale.0.insert(Arc::clone(prefix));
        }
    }

    pub(crate) fn replace(&mut self, prefix: &Arc<str>, text: &Arc<str>, route: &Arc<Route>) {
        if let Some(pattern) = self.known(prefix, text) {
            pattern.terminal.replace(route);
        }
    }

    /// Builds what a change has touched.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. The whole is of no use then.
    pub(crate) fn build(&mut self, stale: Stale, budget: &Budget) -> Result<(), BuildError> {
        let mut refused = Vec::new();
        let mut made = 0;
        for prefix in stale.0 {
            let Some(bucket) = self.by_prefix.get_mut(&prefix) else {
                continue;
            };
            self.memory -= bucket.memory();
            bucket.build(budget, &mut made, &mut refused)?;
            self.memory += bucket.memory();
            if bucket.sets.is_empty() {
                self.by_prefix.remove(&prefix);
            }
        }
        match refused.is_empty() {
            true => Ok(()),
            false => Err(BuildError::Refused(refused)),
        }
    }

    /// Bytes of the automata.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    fn known(&mut self, prefix: &Arc<str>, text: &Arc<str>) -> Option<&mut Pattern> {
        let bucket = self.by_prefix.get_mut(prefix)?;
        let at = *bucket.places.get(text)?;
        let set = Arc::make_mut(bucket.sets.get_mut(at)?);
        set.patterns.iter_mut().find(|pattern| pattern.text == *text)
    }
}

impl From<OverBudget> for BuildError {
    fn from(what: OverBudget) -> Self {
        Self::OverBudget(what)
    }
}

// === impl Bucket ===

impl Bucket {
    /// The pattern of this text, made where there is none.
    fn pattern(&mut self, text: &Arc<str>) -> &mut Pattern {
        let at = match self.places.get(text) {
            Some(at) => *at,
            None => {
                let with_room = self.sets.iter().rposition(|set| set.patterns.len() < SET);
                let at = with_room.unwrap_or_else(|| {
                    self.sets.push(Arc::default());
                    self.sets.len() - 1
                });
                self.places.insert(Arc::clone(text), at);
                at
            }
        };
        let patterns = &mut Arc::make_mut(&mut self.sets[at]).patterns;
        let index = match patterns.iter().position(|pattern| pattern.text == *text) {
            Some(index) => index,
            None => {
                patterns.push(Pattern {
                    text: Arc::clone(text),
                    terminal: Terminal::default(),
                });
                patterns.len() - 1
            }
        };
        &mut patterns[index]
    }

    /// Adds the bytes of what it makes to `made`.
    fn build(
        &mut self,
        budget: &Budget,
        made: &mut usize,
        refused: &mut Vec<(Arc<Route>, MatcherError)>,
    ) -> Result<(), OverBudget> {
        let mut at = 0;
        while at < self.sets.len() {
            if self.sets[at].is_current() {
                at += 1;
                continue;
            }
            budget.time_is_left()?;
            let set = Arc::make_mut(&mut self.sets[at]);
            for pattern in &set.patterns {
                if pattern.terminal.is_empty() {
                    self.places.remove(&pattern.text);
                }
            }
            set.patterns.retain(|pattern| !pattern.terminal.is_empty());
            match set.build() {
                Ok(()) => {
                    *made += set.memory();
                    budget.room_for(*made)?;
                    at += 1;
                }
                Err(Some(error)) => {
                    let with = set.patterns.iter().filter(|pattern| *pattern.text == *error.text());
                    let entries = with.flat_map(|pattern| pattern.terminal.entries());
                    refused.extend(entries.map(|entry| (Arc::clone(&entry.route), error.clone())));
                    // The others are looked at too, so that all errors are told at once.
                    set.patterns.retain(|pattern| *pattern.text != *error.text());
                }
                Err(None) => {
                    let half = set.patterns.len() / 2;
                    let patterns = set.patterns.split_off(half);
                    for pattern in &patterns {
                        self.places.insert(Arc::clone(&pattern.text), self.sets.len());
                    }
                    self.sets.push(Arc::new(Set { patterns, built: None }));
                }
            }
        }
        while self.sets.last().is_some_and(|set| set.patterns.is_empty()) {
            self.sets.pop();
        }
        let greatest = self.sets.iter().flat_map(|set| &set.patterns);
        self.greatest = greatest
            .filter_map(|pattern| pattern.terminal.greatest())
            .max()
            .unwrap_or(i32::MIN);
        Ok(())
    }

    fn memory(&self) -> usize {
        self.sets.iter().map(|set| set.memory()).sum()
    }
}

// === impl Set ===

impl Set {
    fn is_current(&self) -> bool {
        let texts = self.built.as_ref().map_or(&[][..], |built| &built.texts);
        self.patterns.len() == texts.len()
            && self
                .patterns
                .iter()
                .zip(texts)
                .all(|(pattern, text)| pattern.text == *text && !pattern.terminal.is_empty())
    }

    fn memory(&self) -> usize {
        self.built.as_ref().map_or(0, |built| built.matcher.memory())
    }

    fn build(&mut self) -> Result<(), Option<MatcherError>> {
        let texts: Vec<Arc<str>> = self.patterns.iter().map(|pattern| Arc::clone(&pattern.text)).collect();
        if texts.is_empty() {
            self.built = None;
            return Ok(());
        }
        let borrowed: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let matcher = Matcher::new(&borrowed, Over::Paths)?;
        self.built = Some(Arc::new(Built { matcher, texts }));
        Ok(())
    }
}
