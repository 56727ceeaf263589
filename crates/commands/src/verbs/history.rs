//! `sluice history`.

use super::Session;
use crate::arguments;
use crate::client::{Call, Failure, History, Past};
use crate::exit::Exit;
use crate::table::table;
use serde_json::Value;
use sluice_document::declared;

const PARTS: usize = 3;

pub(crate) async fn history(args: &arguments::History, session: &Session<'_>) -> Result<Exit, Failure> {
    let limit = args.limit.unwrap_or(if args.since.is_some() { 1000 } else { 20 });
    let mut target = format!("/v1/config/history?limit={limit}");
    if let Some(since) = args.since {
        target.push_str(&format!("&since={}", declared::Duration(since)));
    }
    if let Some(before) = args.before {
        target.push_str(&format!("&before={before}"));
    }
    let answer = session.client.call(Call::get(target)).await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
        return Ok(Exit::Done);
    }
    let History { versions } = answer.json()?;
    if versions.is_empty() {
        session.terminal.say(match args.since {
            None => "no versions: nothing has been applied yet",
            Some(_) => "nothing was changed within that time",
        });
        return Ok(Exit::Done);
    }
    let rows = versions.iter().map(|version| {
        [
            version.version.to_string(),
            version.at.clone(),
            version.author.clone(),
            version.from.clone(),
            some(&version.changed),
            version.trial.as_ref().map(trial).unwrap_or_default(),
            version.message.clone().unwrap_or_default(),
        ]
    });
    session
        .terminal
        .out(&table(["VERSION", "AT", "BY", "FROM", "CHANGED", "TRIAL", "WHY"], rows));
    Ok(Exit::Done)
}

/// What became of a trial: `on n3, promoted by ada`.
fn trial(past: &Past) -> String {
    let on = past.on.as_ref().map(|on| format!("on {}", on.join(" ")));
    let steps = past.steps.iter().map(|step| match step.what.as_str() {
        "undone" => format!("undone by version {}", step.version),
        what => format!("{what} by {}", step.author),
    });
    let open = (past.outcome == "open").then(|| "open".to_owned());
    let words: Vec<String> = on.into_iter().chain(steps).chain(open).collect();
    words.join(", ")
}

fn some(changed: &[String]) -> String {
    let shown = changed.iter().take(PARTS).cloned().collect::<Vec<_>>().join(" ");
    match changed.len().saturating_sub(PARTS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
