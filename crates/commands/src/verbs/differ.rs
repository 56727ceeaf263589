//! `sluice diff`.

use super::Session;
use super::present::{Present, as_json, present, within};
use crate::arguments::Diff;
use crate::client::Failure;
use crate::documents;
use crate::exit::Exit;
use serde_json::json;
use sluice_document::{Change, diff, render_diff, split};
use std::collections::BTreeMap;

pub(crate) async fn differ(args: &Diff, session: &Session<'_>) -> Result<Exit, Failure> {
    let terminal = session.terminal;
    if let Some(version) = args.changed_by {
        return changed_by(version, session).await;
    }
    let wanted = if args.documents.is_empty() {
        None
    } else {
        match documents::declared(terminal, &args.documents) {
            Ok(declared) => Some(split(&declared.parsed.document)),
            Err(exit) => return Ok(exit),
        }
    };
    let old = present(&session.client, args.version).await?;
    let new = match wanted {
        Some(wanted) => wanted,
        None => present(&session.client, None).await?.parts,
    };
    let new = within(args.scope.as_deref(), &old.parts, new);
    let changes = diff(&old.parts, &new);
    Ok(told(session, &old, &changes))
}

/// What one version changed.
async fn changed_by(version: u64, session: &Session<'_>) -> Result<Exit, Failure> {
    let old = match version - 1 {
        // Before the first version there is nothing.
        0 => Present {
            version: 0,
            parts: BTreeMap::new(),
        },
        before => present(&session.client, Some(before)).await?,
    };
    let new = present(&session.client, Some(version)).await?;
    Ok(told(session, &old, &diff(&old.parts, &new.parts)))
}

fn told(session: &Session<'_>, old: &Present, changes: &[Change]) -> Exit {
    let terminal = session.terminal;
    if terminal.json {
        terminal.object(&json!({"equal": changes.is_empty(), "version": old.version, "changes": as_json(changes)}));
    } else {
        terminal.out(&render_diff(changes, terminal.color_out));
    }
    if changes.is_empty() {
        terminal.say(&format!("equal to version {}", old.version));
        return Exit::Done;
    }
    Exit::Refused
}
