//! Trials as people are shown them.

use crate::core::Core;
use crate::rfc3339;
use crate::view::{OpenTrial, PastTrial, TrialOutcome, TrialStepView};
use sluice_consensus::{Head, TrialAct, TrialRecord};

/// The trial that is open, by this head.
pub(crate) fn open(core: &Core, head: &Head) -> Option<OpenTrial> {
    let open = head.trial.as_ref()?;
    // A version on trial stays in the history.
    let made = core.consensus.history(Some(open.version + 1), 1).into_iter().next();
    Some(OpenTrial {
        version: open.version,
        before: head.active,
        on: open.on.clone(),
        confirm_by: open.confirm_by_ms.map(rfc3339::from_ms),
        author: made.map(|made| made.author.who).unwrap_or_default(),
        at: rfc3339::from_ms(head.at_ms),
    })
}

/// What became of a version's trial.
pub(crate) fn past(head: &Head, version: u64, record: TrialRecord) -> PastTrial {
    let outcome = match &head.trial {
        Some(open) if open.version == version => TrialOutcome::Open,
        _ if record.is_undone() => TrialOutcome::Undone,
        _ => TrialOutcome::Kept,
    };
    let steps = record.steps.into_iter().map(|step| TrialStepView {
        what: done(step.what).to_owned(),
        at: rfc3339::from_ms(step.at_ms),
        author: step.author.who,
        from: step.author.from,
        message: step.author.why,
        request_id: step.request_id,
        version: step.head,
    });
    PastTrial {
        on: record.on,
        confirm_by: record.confirm_by_ms.map(rfc3339::from_ms),
        outcome,
        steps: steps.collect(),
    }
}

/// What was done, in a word.
fn done(what: TrialAct) -> &'static str {
    match what {
        TrialAct::Confirmed => "confirmed",
        TrialAct::Promoted => "promoted",
        TrialAct::Undone => "undone",
    }
}
