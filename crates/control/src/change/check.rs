//! Whether the configuration holds after a change.

use super::plan::Present;
use crate::refusal::Refusal;
use sluice_consensus::PartChange;
use sluice_document::{Diagnostic, Document, PartKey, Severity, check as check_document, join, part_level};
use std::collections::BTreeMap;

/// What a change that holds brings with it.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) warnings: Vec<Diagnostic>,
    /// The feature level that its parts need.
    pub(crate) level: u32,
}

/// Checks the whole of what would be.
pub(crate) fn check(present: &Present, changes: &[PartChange]) -> Result<Checked, Refusal> {
    let mut after: BTreeMap<&str, &str> = present.iter().map(|(key, entry)| (&**key, &*entry.value)).collect();
    for change in changes {
        match &change.value {
            Some(value) => after.insert(&change.key, value),
            None => after.remove(&*change.key),
        };
    }
    let document = document(after.into_iter())?;
    let (errors, warnings): (Vec<_>, Vec<_>) = check_document(&document)
        .into_iter()
        .partition(|diagnostic| diagnostic.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(Refusal::invalid(errors));
    }
    let level = changes.iter().filter_map(level).max().unwrap_or_default();
    Ok(Checked { warnings, level })
}

/// What one put needs. The whole was read with it a moment ago, so it can be read.
fn level(change: &PartChange) -> Option<u32> {
    part_level(&change.key.parse().ok()?, change.value.as_deref()?).ok()
}

/// The document that parts make together.
pub(crate) fn document<'a>(parts: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Document, Refusal> {
    let parts: Vec<(PartKey, &str)> = parts
        .map(|(key, value)| match key.parse() {
            Ok(key) => Ok((key, value)),
            Err(_) => Err(Refusal::Internal {
                why: format!("part {key} is of a kind that this node does not know: is its binary older?"),
            }),
        })
        .collect::<Result<_, _>>()?;
    join(parts.iter().map(|(key, value)| (key, *value))).map_err(|error| Refusal::Internal { why: error.to_string() })
}
