//! A change of the configuration on its way: sent, repeated where that is sound, waited for, told of.

use super::Session;
use super::present::{Present, present};
use crate::arguments::{Change, TrialLimits, Wait};
use crate::client::{Answer, Call, Failure, Trial, Written, encode};
use crate::exit::Exit;
use crate::table::shown;
use http::{HeaderName, header};
use serde_json::json;
use sluice_document::{PartKey, declared};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MESSAGE: HeaderName = HeaderName::from_static("sluice-message");
/// An election takes a second or two; who has no leader for longer has no majority.
const LEADER_TIME: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A change of the configuration.
pub(crate) struct Sending<'a> {
    pub(crate) call: Call,
    pub(crate) change: &'a Change,
    pub(crate) wait: Wait,
    /// The version that it was made for.
    pub(crate) base: u64,
    /// What the configuration is when it is done.
    pub(crate) wanted: Wanted<'a>,
}

/// What is there when a change is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// These parts and no others.
    Whole(&'a BTreeMap<PartKey, String>),
    /// This part with this content.
    Part(&'a PartKey, &'a str),
}

/// The query that limits where, and for how long, a change is live at first.
pub(crate) fn limited(limits: &TrialLimits) -> String {
    let mut query = String::new();
    if !limits.on.is_empty() {
        let names: Vec<String> = limits.on.iter().map(|name| encode(name)).collect();
        query.push_str(&format!("&on={}", names.join(",")));
    }
    if let Some(within) = limits.confirm_within {
        query.push_str(&format!("&confirm_within={}", declared::Duration(within)));
    }
    query
}

/// The query of a change.
pub(crate) fn query(change: &Change, wait: Wait, dry_run: bool) -> String {
    let wait = match wait {
        Wait::All => "all",
        Wait::Majority => "majority",
    };
    let mut query = format!("?wait={wait}&timeout={}", declared::Duration(change.timeout));
    if change.force {
        query.push_str("&force=true");
    }
    if dry_run {
        query.push_str("&dry_run=true");
    }
    query
}

/// What every change carries.
pub(crate) fn dressed(call: Call, change: &Change, base: u64) -> Call {
    let call = call
        .header(header::IF_MATCH, &format!("\"{base}\""))
        .may_take(change.timeout);
    match &change.message {
        Some(message) => call.header(MESSAGE, &encode(message)),
        None => call,
    }
}

/// Sends it until the answer is known, or the time is up.
///
/// The idempotency key makes a repetition harmless: a change that was made is answered with its version.
pub(crate) async fn send(session: &Session<'_>, sending: Sending<'_>) -> Result<Written, Failure> {
    let key = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let call = dressed(sending.call, sending.change, sending.base).header(IDEMPOTENCY_KEY, &key);
    let started = Instant::now();
    let until = started + sending.change.timeout;
    let until_leader = until.min(started + LEADER_TIME);
    let waiting = session.terminal.waiting(match sending.wait {
        Wait::All => "committing, and waiting until it is live on all nodes".to_owned(),
        Wait::Majority => "committing".to_owned(),
    });
    let mut unknown: Option<Failure> = None;
    loop {
        let failure = match session.client.call(call.clone()).await {
            Ok(answer) => return answer.json(),
            Err(failure) => failure,
        };
        let now = Instant::now();
        if failure.outcome_unknown() && now < until {
            waiting.now("the answer was lost: asking again".to_owned());
            unknown = Some(failure);
        } else if failure.code() == "no_leader" && now < until_leader {
            waiting.now("waiting for a leader".to_owned());
        } else if matches!(failure, Failure::Unreachable { .. }) && unknown.is_some() && now < until {
            waiting.now("waiting for the node to come back".to_owned());
        } else if failure.code() == "version_conflict" && unknown.is_some() {
            // What was lost may have been the answer to our own change.
            return match present(&session.client, None).await {
                Ok(Present { version, parts }) if sending.wanted.is(&parts) => Ok(Written {
                    version,
                    ..Written::default()
                }),
                _ => Err(failure),
            };
        } else if failure.outcome_unknown() || unknown.is_some() {
            return Err(Failure::Unknown(Box::new(failure)));
        } else {
            return Err(failure);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Makes a call that may be repeated, until its answer is known or the time is up.
pub(crate) async fn again_and_again(
    session: &Session<'_>,
    call: Call,
    within: Duration,
    waiting: &str,
) -> Result<Answer, Failure> {
    let until = Instant::now() + within;
    let _waiting = session.terminal.waiting(waiting.to_owned());
    let mut unknown = false;
    loop {
        let failure = match session.client.call(call.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let lost = failure.outcome_unknown();
        let wait = lost || failure.code() == "no_leader" || (unknown && matches!(failure, Failure::Unreachable { .. }));
        unknown |= lost;
        if !wait || Instant::now() >= until {
            let undecided = lost || matches!(failure, Failure::Unreachable { .. });
            return Err(if unknown && undecided {
                Failure::Unknown(Box::new(failure))
            } else {
                failure
            });
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

// === impl Wanted ===

impl Wanted<'_> {
    fn is(self, parts: &BTreeMap<PartKey, String>) -> bool {
        match self {
            Self::Whole(wanted) => parts == wanted,
            Self::Part(key, text) => parts.get(key).is_some_and(|there| there == text),
        }
    }
}

/// Says what became of it, and how the command ends.
pub(crate) fn report(session: &Session<'_>, written: &Written, wait: Wait, base: u64) -> Exit {
    let terminal = session.terminal;
    super::super::documents::tell(terminal, &written.warnings, &[]);
    let mut text = match written.changed.len() {
        0 if written.version == base => format!("nothing to change: it is version {} already", written.version),
        0 => format!("version {}", written.version),
        1 => format!("version {}, 1 part changed", written.version),
        n => format!("version {}, {n} parts changed", written.version),
    };
    match (written.live.as_slice(), written.pending.as_slice()) {
        ([], []) => text.push_str(", committed"),
        (live, []) => text.push_str(&format!(", live on {}", live.join(", "))),
        ([], _) => text.push_str(", committed, live nowhere yet"),
        (live, _) => text.push_str(&format!(", committed, live on {}", live.join(", "))),
    }
    if let Some(trial) = &written.trial {
        text.push_str(&on_trial(trial));
    }
    for pending in &written.pending {
        let why = if pending.why.is_empty() {
            "not live yet"
        } else {
            &pending.why
        };
        text.push_str(&format!("\n  pending on {}: {}", shown(&pending.name), shown(why)));
    }
    terminal.say(&text);
    if wait == Wait::All && !written.pending.is_empty() {
        Exit::NotEverywhere
    } else {
        Exit::Done
    }
}

/// What a version on trial waits for, in lines of their own.
pub(crate) fn on_trial(trial: &Trial) -> String {
    let mut text = String::new();
    if let Some(on) = &trial.on {
        text.push_str(&format!(
            "\n  on {} alone until `sluice promote {}`",
            shown(&on.join(", ")),
            trial.version
        ));
    }
    if let Some(by) = &trial.confirm_by {
        text.push_str(&format!(
            "\n  undone at {} unless `sluice confirm` comes before",
            shown(by)
        ));
    }
    text.push_str(&format!("\n  `sluice rollback {}` undoes it now", trial.before));
    text
}

/// Refuses because the cluster is at another version than the operator meant.
pub(crate) fn other_version(session: &Session<'_>, meant: u64, found: u64) -> Exit {
    let detail = format!(
        "the configuration is at version {found}, not {meant}: somebody changed it; look with `sluice diff` and `sluice history`"
    );
    if session.terminal.json {
        session
            .terminal
            .object(&json!({"code": "version_conflict", "detail": detail, "version": found}));
    }
    session.terminal.say(&format!("error: {detail}"));
    Exit::Conflict
}
