//! What a text was compiled to, of whatever kind it is.

use super::LONGEST_CONDITION;
use super::error::{ConditionError, ConditionErrorKind};
use super::interpret::Variable;
use super::kind::Kind;
use super::resolve;
use crate::field::{Field, Scope};
use cel::common::ast::IdedExpr;
use std::fmt;
use std::sync::Arc;

/// Bytes of the stack that a text is compiled on. The parser takes about 10 KiB for each level, and a text of
/// [`LONGEST_CONDITION`] can have as many levels as bytes.
pub(super) const STACK: usize = 16 << 20;

/// A text, and what runs in its place.
pub(super) struct Compiled<T> {
    source: Box<str>,
    variables: Arc<[Variable]>,
    root: T,
}

// === impl Compiled ===

impl<T> Compiled<T> {
    /// Compiles a text that has to give a value of this kind; `root` makes of it what will run.
    pub(super) fn parse(
        text: &str,
        scope: &Scope,
        wanted: Kind,
        root: impl FnOnce(IdedExpr) -> T + Send,
    ) -> Result<Arc<Self>, Vec<ConditionError>>
    where
        T: Send,
    {
        let whole = |kind| {
            vec![ConditionError {
                at: 0..text.len(),
                kind,
                nearest: None,
            }]
        };
        if text.trim().is_empty() {
            return Err(whole(ConditionErrorKind::Empty));
        }
        if text.len() > LONGEST_CONDITION {
            return Err(whole(ConditionErrorKind::TooLong));
        }
        // The parser recurses for each link of a chain, and so does freeing what it made: both are done on a stack that
        // holds any text of this length. What comes back has a depth that any stack bears.
        let compiled = std::thread::scope(|threads| {
            std::thread::Builder::new()
                .name("expression".to_owned())
                .stack_size(STACK)
                .spawn_scoped(threads, || {
                    resolve::resolved(text, scope, wanted)
                        .map(|(variables, expression)| (variables.into(), root(expression)))
                })
                .map(std::thread::ScopedJoinHandle::join)
        });
        let (variables, root) = match compiled {
            Ok(Ok(compiled)) => compiled?,
            Ok(Err(_)) => return Err(whole(ConditionErrorKind::Syntax("the parser gave up on it".to_owned()))),
            Err(error) => return Err(whole(ConditionErrorKind::Compiler(error.to_string()))),
        };
        Ok(Arc::new(Self {
            source: text.into(),
            variables,
            root,
        }))
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    pub(super) fn root(&self) -> &T {
        &self.root
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.variables.iter().map(Variable::field)
    }

    pub(super) fn memory(&self) -> usize {
        let patterns = self.variables.iter().map(Variable::memory).sum::<usize>();
        size_of::<Self>() + 64 * self.source.len() + patterns
    }
}

impl<T> PartialEq for Compiled<T> {
    /// What is written alike means the same in every scope that takes it.
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl<T> Eq for Compiled<T> {}

impl<T> fmt::Debug for Compiled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
