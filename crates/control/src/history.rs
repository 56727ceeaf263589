//! The history as people are shown it: each version with who made it, and what became of it where it was tried first.

use crate::core::Core;
use crate::rfc3339;
use crate::trial;
use crate::view::VersionView;
use std::time::Duration;

/// Of the newest `limit` versions before `before` (or all) those made, or tried to an end, within `since` by this
/// node's clock, newest first.
pub(crate) fn history(core: &Core, before: Option<u64>, since: Option<Duration>, limit: usize) -> Vec<VersionView> {
    let head = core.consensus.head();
    let since = since.map_or(0, |since| {
        rfc3339::now_ms().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    });
    let entries = core.consensus.history(before, limit).into_iter();
    let recent = entries.filter(|entry| {
        let steps = entry.trial.iter().flat_map(|trial| &trial.steps);
        steps.map(|step| step.at_ms).chain([entry.at_ms]).any(|at| at >= since)
    });
    let view = recent.map(|entry| VersionView {
        version: entry.version,
        at: rfc3339::from_ms(entry.at_ms),
        author: entry.author.who,
        from: entry.author.from,
        message: entry.author.why,
        request_id: entry.request_id,
        changed: entry.changed.iter().map(|key| key.to_string()).collect(),
        trial: entry.trial.map(|past| trial::past(&head, entry.version, past)),
    });
    view.collect()
}
