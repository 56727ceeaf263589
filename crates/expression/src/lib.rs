//! `${…}`: values of a request put into texts, conditions on a request, and values that are made of its values.
//!
//! ```text
//!   text of a document ──► Template::parse(text, scope) ──► Template ──► render(inputs, out)
//!   JSON of a document ──► JsonTemplate::parse ───────────► JsonTemplate ──► render(inputs, out)
//!   condition of a document ──► Condition::parse ─────────► Condition ──► holds(inputs)
//!   key of a document ────────► Value::parse ─────────────► Value ──► append(inputs, out)
//! ```
//!
//! The language is CEL. What stands between the braces is a small part of it: selections such as `params.id`,
//! `request.path`, `request.headers['x-region']` or `client.ip`. Whatever is taken there means the same in a condition
//! and in a value.
//! All is compiled when a document is and never on a request; a rendering costs one look-up per value, and nothing here
//! recurses on what a document says without a bound.
//!
//! Owns the language and its errors. It must never know where values come from ([`Inputs`] is all that it sees of a
//! request), nor how a value is encoded for the place where it goes: whoever renders hands in inputs that give values
//! in the form that the place needs.

#![forbid(unsafe_code)]

mod condition;
mod error;
mod field;
mod json;
mod parse;
mod template;

pub use condition::{
    Condition, ConditionError, ConditionErrorKind, DEEPEST_CONDITION, LONGEST_CONDITION, MOST_STEPS, Value,
};
pub use error::{ErrorKind, JsonTemplateError, TemplateError};
pub use field::{Field, Inputs, Scope};
pub use json::JsonTemplate;
pub use template::{Part, Template};

/// Bytes of one text.
pub const LONGEST_TEMPLATE: usize = 64 * 1024;
/// Bytes between `${` and `}`.
pub const LONGEST_EXPRESSION: usize = 1024;
/// Expressions in one text.
pub const MOST_EXPRESSIONS: usize = 64;
/// Lists and objects inside each other in a [`JsonTemplate`].
pub const DEEPEST_JSON: usize = 64;
