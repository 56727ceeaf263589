//! `sluice split set`.

use super::Session;
use super::apply::{dry, show};
use super::change::{Sending, Wanted, dressed, limited, query, report, send};
use super::present::as_json;
use crate::arguments::{SplitAct, SplitSet};
use crate::client::{Answer, Call, Client, Failure};
use crate::exit::Exit;
use http::{Method, header};
use serde_json::json;
use sluice_document::declared::{Action, Route};
use sluice_document::{Format, Part, PartKey, diff, encode_part, parse_part};
use std::collections::BTreeMap;

pub(crate) async fn split(act: &SplitAct, session: &Session<'_>) -> Result<Exit, Failure> {
    let SplitAct::Set(args) = act;
    set(args, session).await
}

async fn set(args: &SplitSet, session: &Session<'_>) -> Result<Exit, Failure> {
    let terminal = session.terminal;
    let key = PartKey::Route {
        gateway: args.route.gateway.clone(),
        id: args.route.id.clone(),
    };
    let answer = read(&session.client, &key).await?;
    let base = answer.version()?;
    let before = route(&key, &answer)?;
    let after = match with_weights(&before, args) {
        Ok(after) => after,
        Err((code, detail)) => {
            if terminal.json {
                terminal.object(&json!({"code": code, "detail": detail}));
            }
            terminal.say(&format!("error: {detail}"));
            return Ok(Exit::Refused);
        }
    };
    let (before, after) = (encode_part(&Part::Route(before)), encode_part(&Part::Route(after)));
    let only = |text: &String| BTreeMap::from([(key.clone(), text.clone())]);
    let changes = diff(&only(&before), &only(&after));
    show(session, &changes, args.dry_run);
    let target = format!(
        "/v1/config/{key}{}{}",
        query(&args.change, args.wait, args.dry_run),
        limited(&args.limits)
    );
    let call = Call::new(Method::PUT, target).body(Format::Json.media_type(), after.clone());
    if args.dry_run {
        let answer = session.client.call(dressed(call, &args.change, base)).await?;
        return Ok(dry(session, &answer.json()?, &changes));
    }
    let sending = Sending {
        call,
        change: &args.change,
        wait: args.wait,
        base,
        wanted: Wanted::Part(&key, &after),
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
    // The base is the part's version, not the configuration's: that nothing changed is told by what changed.
    let unchanged = if changes.is_empty() { written.version } else { 0 };
    Ok(report(session, &written, args.wait, unchanged))
}

/// The route as the cluster has it; where that cannot be known now, as the node that answers has it.
async fn read(client: &Client, key: &PartKey) -> Result<Answer, Failure> {
    let get = |query: &str| {
        let call = Call::get(format!("/v1/config/{key}{query}"));
        client.call(call.header(header::ACCEPT, Format::Json.media_type()))
    };
    match get("?read=linearizable").await {
        Err(failure) if matches!(failure.code(), "no_leader" | "no_majority") => get("").await,
        answer => answer,
    }
}

fn route(key: &PartKey, answer: &Answer) -> Result<Route, Failure> {
    let newer = |what: String| Failure::Newer { what };
    let parts = parse_part(key, &answer.text(), Format::Json)
        .map_err(|errors| newer(errors.first().map(ToString::to_string).unwrap_or_default()))?;
    match parts.into_iter().next() {
        Some((_, Part::Route(route))) => Ok(route),
        _ => Err(newer(format!("{key} is no route"))),
    }
}

/// The route with its arms' new weights; those that are not named keep theirs.
fn with_weights(route: &Route, args: &SplitSet) -> Result<Route, (&'static str, String)> {
    let mut route = route.clone();
    let Action::Split(split) = &mut route.action else {
        return Err(("no_split", format!("the route {} has no split", args.route)));
    };
    for (i, weight) in args.weights.iter().enumerate() {
        if args.weights[..i].iter().any(|other| other.upstream == weight.upstream) {
            return Err(("bad_value", format!("{} is given two weights", weight.upstream)));
        }
        match split.to.iter_mut().find(|arm| arm.upstream == weight.upstream) {
            Some(arm) => arm.weight = Some(weight.weight),
            None => {
                let arms: Vec<_> = split.to.iter().map(|arm| arm.upstream.as_str()).collect();
                let detail = format!(
                    "the split of {} has no arm `{}`; it has {}",
                    args.route,
                    weight.upstream,
                    arms.join(", ")
                );
                return Err(("no_arm", detail));
            }
        }
    }
    if split.to.iter().all(|arm| arm.share() == 0) {
        let detail = "then all weights would be 0, and requests would have nowhere to go".to_owned();
        return Err(("bad_value", detail));
    }
    Ok(route)
}
