//! `sluice history`.

use super::Session;
use crate::arguments;
use crate::client::{Call, Failure, History};
use crate::exit::Exit;
use crate::table::table;
use serde_json::Value;

const PARTS: usize = 3;

pub(crate) async fn history(args: &arguments::History, session: &Session<'_>) -> Result<Exit, Failure> {
    let mut target = format!("/v1/config/history?limit={}", args.limit);
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
        session.terminal.say("no versions: nothing has been applied yet");
        return Ok(Exit::Done);
    }
    let rows = versions.iter().map(|version| {
        [
            version.version.to_string(),
            version.at.clone(),
            version.author.clone(),
            some(&version.changed),
            version.message.clone().unwrap_or_default(),
        ]
    });
    session
        .terminal
        .out(&table(["VERSION", "AT", "BY", "CHANGED", "WHY"], rows));
    Ok(Exit::Done)
}

fn some(changed: &[String]) -> String {
    let shown = changed.iter().take(PARTS).cloned().collect::<Vec<_>>().join(" ");
    match changed.len().saturating_sub(PARTS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
