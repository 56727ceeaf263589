//! `sluice diff`.

use super::Session;
use super::present::{as_json, present};
use crate::arguments::Diff;
use crate::client::Failure;
use crate::documents;
use crate::exit::Exit;
use serde_json::json;
use sluice_document::{diff, render_diff, split};

pub(crate) async fn differ(args: &Diff, session: &Session<'_>) -> Result<Exit, Failure> {
    let terminal = session.terminal;
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
    let changes = diff(&old.parts, &new);
    if terminal.json {
        terminal.object(&json!({"equal": changes.is_empty(), "version": old.version, "changes": as_json(&changes)}));
    } else {
        terminal.out(&render_diff(&changes, terminal.color_out));
    }
    if changes.is_empty() {
        terminal.say(&format!("equal to version {}", old.version));
        return Ok(Exit::Done);
    }
    Ok(Exit::Refused)
}
