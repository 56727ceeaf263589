//! `sluice apply`.

use super::Session;
use super::change::{Sending, Wanted, dressed, limited, other_version, query, report, send};
use super::present::{as_json, present, removed, within};
use crate::arguments::Apply;
use crate::client::{Call, Failure, Written};
use crate::documents::{self, Declared, Text};
use crate::exit::Exit;
use http::Method;
use serde_json::json;
use sluice_document::{Change, Format, diff, render_diff, split};

pub(crate) async fn apply(args: &Apply, session: &Session<'_>) -> Result<Exit, Failure> {
    let terminal = session.terminal;
    let declared = match documents::declared(terminal, &args.file) {
        Ok(declared) => declared,
        Err(exit) => return Ok(exit),
    };
    let now = present(&session.client, None).await?;
    if let Some(meant) = args.if_version.filter(|meant| *meant != now.version) {
        return Ok(other_version(session, meant, now.version));
    }
    let scope = args.scope.as_deref();
    let wanted = within(scope, &now.parts, split(&declared.parsed.document));
    let changes = diff(&now.parts, &wanted);
    show(session, &changes, args.dry_run);
    let gone = removed(&changes);
    if !gone.is_empty() && !args.prune {
        return Ok(refuse(session, &gone));
    }
    let (media_type, body) = body(&declared)?;
    let call = Call::new(
        Method::PUT,
        format!(
            "/v1/config{}{}{}",
            query(&args.change, args.wait, args.dry_run),
            scope.map(|scope| format!("&scope={scope}")).unwrap_or_default(),
            limited(&args.limits)
        ),
    );
    let call = call.body(media_type, body);
    if args.dry_run {
        let answer = session.client.call(dressed(call, &args.change, now.version)).await?;
        return Ok(dry(session, &answer.json()?, &changes));
    }
    let sending = Sending {
        call,
        change: &args.change,
        wait: args.wait,
        base: now.version,
        wanted: Wanted::Whole(&wanted),
    };
    let written = send(session, sending).await?;
    if terminal.json {
        terminal.object(&json!({
            "version": written.version,
            "changed": written.changed,
            "live": written.live,
            "pending": written.pending,
            "warnings": written.warnings,
            "trial": written.trial,
            "changes": as_json(&changes),
        }));
    }
    Ok(report(session, &written, args.wait, now.version))
}

/// What would be changed goes where it was asked for: a dry run asks for nothing else.
pub(super) fn show(session: &Session<'_>, changes: &[Change], dry_run: bool) {
    let terminal = session.terminal;
    if dry_run && !terminal.json {
        terminal.out(&render_diff(changes, terminal.color_out));
    } else if !changes.is_empty() {
        terminal.say(&render_diff(changes, terminal.color_err));
    }
}

pub(super) fn dry(session: &Session<'_>, written: &Written, changes: &[Change]) -> Exit {
    let terminal = session.terminal;
    documents::tell(terminal, &written.warnings, &[]);
    if terminal.json {
        terminal.object(&json!({
            "dry_run": true,
            "version": written.version,
            "changed": written.changed,
            "warnings": written.warnings,
            "changes": as_json(changes),
        }));
    }
    terminal.say(&match changes.len() {
        0 => "dry run: nothing would change".to_owned(),
        1 => "dry run: 1 part would change; nothing was changed".to_owned(),
        n => format!("dry run: {n} parts would change; nothing was changed"),
    });
    Exit::Done
}

fn refuse(session: &Session<'_>, gone: &[String]) -> Exit {
    let detail = format!(
        "the document does not have {} that the cluster has: add --prune to delete, or take into the document",
        parts(gone.len())
    );
    if session.terminal.json {
        session
            .terminal
            .object(&json!({"code": "deletion_refused", "detail": detail, "removed": gone}));
    }
    session
        .terminal
        .say(&format!("error: {detail}:\n  {}", gone.join("\n  ")));
    Exit::Refused
}

fn parts(n: usize) -> String {
    if n == 1 {
        "a part".to_owned()
    } else {
        format!("{n} parts")
    }
}

/// One text goes as it was written; several are joined.
fn body(declared: &Declared) -> Result<(&'static str, String), Failure> {
    match declared.texts.as_slice() {
        [Text { text, format, .. }] => Ok((format.media_type(), text.clone())),
        _ => {
            let joined = sluice_document::print(&declared.parsed.document, Format::Json);
            let joined = joined.map_err(|error| Failure::Usage(error.to_string()))?;
            Ok((Format::Json.media_type(), joined))
        }
    }
}
