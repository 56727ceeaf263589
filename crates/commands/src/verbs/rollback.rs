//! `sluice rollback`.

use super::Session;
use super::apply::{dry, show};
use super::change::{Sending, Wanted, dressed, limited, query, report, send};
use super::present::{as_json, present};
use super::trial::open;
use crate::arguments::Rollback;
use crate::client::{Call, Failure};
use crate::exit::Exit;
use serde_json::json;
use sluice_document::diff;

pub(crate) async fn rollback(args: &Rollback, session: &Session<'_>) -> Result<Exit, Failure> {
    let version = match args.version {
        Some(version) => version,
        None => open(session).await?.before,
    };
    let now = present(&session.client, None).await?;
    let then = present(&session.client, Some(version)).await?;
    let changes = diff(&now.parts, &then.parts);
    show(session, &changes, args.dry_run);
    let target = format!(
        "/v1/config/rollback/{version}{}{}",
        query(&args.change, args.wait, args.dry_run),
        limited(&args.limits)
    );
    let call = Call::post(target);
    if args.dry_run {
        let answer = session.client.call(dressed(call, &args.change, now.version)).await?;
        return Ok(dry(session, &answer.json()?, &changes));
    }
    let sending = Sending {
        call,
        change: &args.change,
        wait: args.wait,
        base: now.version,
        wanted: Wanted::Whole(&then.parts),
    };
    let written = send(session, sending).await?;
    if session.terminal.json {
        session.terminal.object(&json!({
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
