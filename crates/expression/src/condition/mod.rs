//! What is true or false of a request ([`Condition`]), or a text of it ([`Value`]), in CEL.
//!
//! ```text
//!   text ──► parse (cel, on a large stack) ──► resolve: names, kinds, cost ──► native tree
//!                                                                            └─► what is left, for cel's interpreter
//! ```
//!
//! Names are resolved when the expression is compiled: what evaluates sees variables by number, and asks [`Inputs`] for a
//! value when it comes to it. Comparisons of a value with what is written out, joined by `&&`, `||` and `!`, never meet
//! the interpreter, nor do values and texts that are joined; tests hold both ways equal.

mod error;
mod functions;
mod interpret;
mod kind;
mod native;
mod pattern;
mod places;
mod resolve;
mod value;

pub use error::{ConditionError, ConditionErrorKind};
pub use value::Value;

use crate::field::{Field, Inputs, Scope};
use cel::common::ast::IdedExpr;
use interpret::Variable;
use kind::Kind;
use native::Node;
use std::fmt;
use std::sync::Arc;

/// Bytes of one condition or value.
pub const LONGEST_CONDITION: usize = 1024;
/// Operators, calls and lists inside each other.
pub const DEEPEST_CONDITION: usize = 64;
/// Steps that an evaluation may take: an operator is one, a step over a text is 16, and what is asked of each
/// item of a list counts for each.
pub const MOST_STEPS: usize = 2_000;
/// What joining texts or searching one counts for.
const TEXT_STEPS: usize = 16;
/// Bytes of the stack that a condition is compiled on. The parser takes about 10 KiB for each level, and a text of
/// [`LONGEST_CONDITION`] can have as many levels as bytes.
const STACK: usize = 16 << 20;

/// A condition on a request.
#[derive(Clone)]
pub struct Condition(Arc<Compiled>);

struct Compiled {
    source: Box<str>,
    variables: Arc<[Variable]>,
    root: Node,
}

/// Compiles an expression, and makes of it what will run.
fn compile<T: Send>(
    text: &str,
    scope: &Scope,
    wanted: Kind,
    root: impl FnOnce(IdedExpr) -> T + Send,
) -> Result<(Arc<[Variable]>, T), Vec<ConditionError>> {
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
                let (variables, expression) = resolve::resolved(text, scope, wanted)?;
                Ok((variables.into(), root(expression)))
            })
            .map(std::thread::ScopedJoinHandle::join)
    });
    match compiled {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(_)) => Err(whole(ConditionErrorKind::Syntax("the parser gave up on it".to_owned()))),
        Err(error) => Err(whole(ConditionErrorKind::Compiler(error.to_string()))),
    }
}

// === impl Condition ===

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; of a text that is no CEL, the first.
    pub fn parse(text: &str, scope: &Scope) -> Result<Self, Vec<ConditionError>> {
        let root = |expression| Node::of(expression);
        let (variables, root) = compile(text, scope, Kind::Truth, root)?;
        Ok(Self(Arc::new(Compiled {
            source: text.into(),
            variables,
            root,
        })))
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it is true of a request. One that cannot be evaluated, as when it compares a header that is not there, is
    /// not true.
    #[must_use]
    pub fn holds<I: Inputs + Sync>(&self, inputs: &I) -> bool {
        self.0.root.evaluate(&self.0.variables, inputs) == Ok(true)
    }

    /// The values that it names, in the order of the text; some may be named twice.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.variables.iter().map(Variable::field)
    }

    /// Bytes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let patterns = self.0.variables.iter().map(Variable::memory).sum::<usize>();
        size_of::<Compiled>() + 64 * self.0.source.len() + patterns
    }
}

impl PartialEq for Condition {
    /// What is written alike means the same in every scope that takes it.
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Condition {}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source()).finish()
    }
}

#[cfg(test)]
mod tests;
