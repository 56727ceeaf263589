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

mod compiled;
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
use compiled::Compiled;
use kind::Kind;
use native::Node;
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

/// A condition on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition(Arc<Compiled<Node>>);

// === impl Condition ===

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; of a text that is no CEL, the first.
    pub fn parse(text: &str, scope: &Scope) -> Result<Self, Vec<ConditionError>> {
        Compiled::parse(text, scope, Kind::Truth, Node::of).map(Self)
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        self.0.source()
    }

    /// Whether it is true of a request. One that cannot be evaluated, as when it compares a header that is not there, is
    /// not true.
    #[must_use]
    pub fn holds<I: Inputs + Sync>(&self, inputs: &I) -> bool {
        self.0.root().evaluate(self.0.variables(), inputs) == Ok(true)
    }

    /// The values that it names, in the order of the text; some may be named twice.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.fields()
    }

    /// Bytes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.0.memory()
    }
}

#[cfg(test)]
mod tests;
