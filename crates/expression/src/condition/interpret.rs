//! The values of a condition, and the parts of it that are left to cel's interpreter.

use super::native::Failed;
use super::pattern::Pattern;
use crate::field::{Field, Inputs};
use cel::common::types::{CelBool, CelOptional, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::parser::Expression;
use cel::{Context, Env, Value};
use std::borrow::Cow;
use std::cell::LazyCell;
use std::sync::{Arc, LazyLock};

/// What a condition asks of a request. It stands in the expression as an identifier that no text can hold.
#[derive(Debug)]
pub(super) enum Variable {
    /// The value; an error where there is none.
    Text(Field),
    /// Whether there is one.
    There(Field),
    /// The value, or none.
    Maybe(Field),
    /// Whether the value matches; an error where there is none.
    Matches(Field, Pattern),
}

/// The variables with their request.
struct Values<'a, I> {
    variables: &'a [Variable],
    inputs: &'a I,
}

thread_local! {
    /// Of each thread its own: a context counts its holders, and workers shall not meet at that count.
    static ENV: LazyCell<Arc<Env>> = LazyCell::new(|| Arc::new(env()));
}

/// For the parser, which takes no count of it.
pub(super) static COMPILER: LazyLock<Env> = LazyLock::new(env);

/// What conditions may use beyond operators; [`super::resolve`] refuses all else of the standard library.
fn env() -> Env {
    let mut env = Env::stdlib();
    // The standard library has neither, so neither can be there already.
    let added = cel::add_member_overload!(env, fn lower: (CelString<'_>) -> CelString<'_>, name = "lowerAscii")
        .and(cel::add_member_overload!(env, fn upper: (CelString<'_>) -> CelString<'_>, name = "upperAscii"));
    debug_assert_eq!(added, Ok(()));
    env
}

fn lower(text: &CelString<'_>) -> CelString<'static> {
    CelString::from(text.inner().to_ascii_lowercase())
}

fn upper(text: &CelString<'_>) -> CelString<'static> {
    CelString::from(text.inner().to_ascii_uppercase())
}

/// The name of the `index`th variable: `@` begins no name that can be written.
pub(super) fn name(index: usize) -> String {
    format!("@{index}")
}

/// The variable of this name.
pub(super) fn index(name: &str) -> Option<usize> {
    name.strip_prefix('@')?.parse().ok()
}

/// Evaluates an expression that is true or false.
pub(super) fn evaluate<I: Inputs + Sync>(
    expression: &Expression,
    variables: &[Variable],
    inputs: &I,
) -> Result<bool, Failed> {
    evaluated(expression, variables, inputs, |value| {
        value.downcast_ref::<CelBool>().map(|truth| *truth.inner())
    })
}

/// Evaluates an expression that is a text, and appends it.
pub(super) fn append<I: Inputs + Sync>(
    expression: &Expression,
    variables: &[Variable],
    inputs: &I,
    out: &mut String,
) -> Result<(), Failed> {
    evaluated(expression, variables, inputs, |value| {
        value
            .downcast_ref::<CelString<'_>>()
            .map(|text| out.push_str(text.inner()))
    })
}

fn evaluated<I: Inputs + Sync, T>(
    expression: &Expression,
    variables: &[Variable],
    inputs: &I,
    read: impl FnOnce(&CowVal<'_, '_>) -> Option<T>,
) -> Result<T, Failed> {
    let values = Values { variables, inputs };
    ENV.with(|env| {
        let mut context = Context::with_env(Arc::clone(env));
        context.set_variable_resolver(&values);
        let value = Value::resolve_val(expression, &context).map_err(|_| Failed)?;
        read(&value).ok_or(Failed)
    })
}

// === impl Values ===

impl<I: Inputs + Sync> VariableResolver for Values<'_, I> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let variable = self.variables.get(index(variable)?)?;
        let text = |value: Cow<'b, str>| match value {
            Cow::Borrowed(text) => CelString::from(text),
            Cow::Owned(text) => CelString::from(text),
        };
        let value = self.inputs.field(variable.field());
        Some(match variable {
            Variable::Text(_) => CowVal::owned(text(value?)),
            Variable::There(_) => CowVal::owned(CelBool::from(value.is_some())),
            Variable::Maybe(_) => CowVal::owned(match value {
                Some(value) => CelOptional::of(Box::new(text(value))),
                None => CelOptional::none(),
            }),
            Variable::Matches(_, pattern) => CowVal::owned(CelBool::from(pattern.is_match(&value?))),
        })
    }
}

// === impl Variable ===

impl Variable {
    pub(super) fn field(&self) -> &Field {
        match self {
            Self::Text(field) | Self::There(field) | Self::Maybe(field) | Self::Matches(field, _) => field,
        }
    }

    pub(super) fn memory(&self) -> usize {
        let pattern = match self {
            Self::Matches(_, pattern) => pattern.memory(),
            _ => 0,
        };
        size_of::<Self>() + pattern
    }
}
