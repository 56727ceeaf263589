//! `sluice breakers`.

use super::Session;
use super::limits::missing;
use crate::arguments::{BreakerSet, BreakersAct, RouteName};
use crate::client::{Breaker, Breakers, Call, Counts, Failure, Ordered, encode};
use crate::exit::Exit;
use crate::table::{shown, table};
use serde_json::{Value, json};
use sluice_document::declared;

pub(crate) async fn breakers(act: Option<&BreakersAct>, session: &Session<'_>) -> Result<Exit, Failure> {
    match act {
        None | Some(BreakersAct::List(_)) => list(session).await,
        Some(BreakersAct::Open(args)) => order(&args.upstream, "open", &set(args), session).await,
        Some(BreakersAct::Close(args)) => order(&args.upstream, "close", &set(args), session).await,
        Some(BreakersAct::Release(args)) => {
            let body = json!({"route": args.route.as_ref().map(RouteName::to_string)});
            order(&args.upstream, "release", &body, session).await
        }
    }
}

fn set(args: &BreakerSet) -> Value {
    json!({
        "route": args.route.as_ref().map(RouteName::to_string),
        "why": args.why,
        "for": declared_hours(args),
    })
}

/// The admin API knows no days.
fn declared_hours(args: &BreakerSet) -> String {
    let hour = std::time::Duration::from_secs(3600);
    match args.lasting.as_millis() % hour.as_millis() {
        0 => format!("{}h", args.lasting.as_secs() / 3600),
        _ => declared::Duration(args.lasting).to_string(),
    }
}

async fn order(upstream: &str, act: &str, body: &Value, session: &Session<'_>) -> Result<Exit, Failure> {
    let call = Call::post(format!("/v1/breakers/{}/{act}", encode(upstream)));
    let answer = session
        .client
        .change(call.body("application/json", body.to_string()))
        .await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
    }
    let ordered: Ordered = answer.json()?;
    let name = match body["route"].as_str() {
        Some(route) => format!("{upstream} on {route}"),
        None => upstream.to_owned(),
    };
    let done = match (act, ordered.breaker.as_ref().and_then(|breaker| breaker.set.as_ref())) {
        ("release", _) => "decides by itself again".to_owned(),
        ("open", Some(set)) => format!("lets nothing through until {}", shown(&set.until)),
        ("close", Some(set)) => format!("lets everything through until {}", shown(&set.until)),
        _ => "is set".to_owned(),
    };
    let mut text = format!("the breaker of {} {done}", shown(&name));
    if !ordered.live.is_empty() {
        text.push_str(&format!(", on {}", shown(&ordered.live.join(", "))));
    }
    for pending in &ordered.pending {
        text.push_str(&format!(
            "\n  pending on {}: {}",
            shown(&pending.name),
            shown(&pending.why)
        ));
    }
    session.terminal.say(&text);
    Ok(match ordered.pending.is_empty() {
        true => Exit::Done,
        false => Exit::NotEverywhere,
    })
}

async fn list(session: &Session<'_>) -> Result<Exit, Failure> {
    let answer = session.client.call(Call::get("/v1/breakers")).await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
        return Ok(Exit::Done);
    }
    let Breakers { breakers, silent } = answer.json()?;
    if breakers.is_empty() {
        session
            .terminal
            .say("no breakers: `breaker` of an upstream or a route declares one");
    } else {
        session.terminal.out(&text(&breakers));
    }
    missing(session, &silent);
    Ok(Exit::Done)
}

fn text(breakers: &[Breaker]) -> String {
    let rows = breakers.iter().map(|breaker| {
        [
            name(breaker),
            state(&breaker.state),
            breaker.since.clone(),
            share(breaker.counts.failed, breaker.counts.calls),
            share(breaker.counts.slow, breaker.counts.calls),
            breaker.refused.to_string(),
            breaker.next_probe.clone().unwrap_or_default(),
        ]
    });
    let heads = ["BREAKER", "STATE", "SINCE", "FAILED", "SLOW", "REFUSED", "NEXT PROBE"];
    let mut text = table(heads, rows);
    for breaker in breakers {
        let about = about(breaker);
        if !about.is_empty() {
            text.push_str(&format!("\n{}: {}\n", shown(&name(breaker)), about.join("\n  ")));
        }
    }
    text
}

/// Why it is as it is, a line each.
fn about(breaker: &Breaker) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(set) = &breaker.set {
        lines.push(format!(
            "set by {} until {}: {}",
            shown(&set.who),
            shown(&set.until),
            shown(&set.why)
        ));
    }
    if let Some(cause) = &breaker.cause {
        let mut line = format!("tripped by {}, {}", shown(&cause.node), criterion(&cause.by));
        let counts: Vec<String> = cause
            .counts
            .iter()
            .map(|node| format!("{} {}", shown(&node.node), evidence(node.counts)))
            .collect();
        if !counts.is_empty() {
            line.push_str(&format!(": {}", counts.join("; ")));
        }
        if let Some(request) = &cause.request_id {
            line.push_str(&format!(" (last by request {})", shown(request)));
        }
        lines.push(line);
    }
    match (breaker.state.as_str(), breaker.by.as_slice()) {
        (_, []) => {}
        ("half_open", by) => lines.push(format!("probed by {}", shown(&by.join(", ")))),
        (_, by) => lines.push(format!("suspected by {}", shown(&by.join(", ")))),
    }
    let other: Vec<String> = breaker
        .nodes
        .iter()
        .filter(|node| (&node.state, node.epoch) != (&breaker.state, breaker.epoch))
        .map(|node| {
            let alone = if node.shared { "" } else { ", by itself" };
            format!("{} is {}{alone}", shown(&node.name), state(&node.state))
        })
        .collect();
    if !other.is_empty() {
        lines.push(other.join(", "));
    }
    if !breaker.shared && breaker.state != "closed" && breaker.set.is_none() {
        lines.push("each node decides by itself: the store is not reached, or there is none".to_owned());
    }
    lines
}

fn name(breaker: &Breaker) -> String {
    match &breaker.route {
        Some(route) => format!("{} on {route}", breaker.upstream),
        None => breaker.upstream.clone(),
    }
}

pub(super) fn state(state: &str) -> String {
    match state {
        "half_open" => "half-open".to_owned(),
        "forced_open" => "open by hand".to_owned(),
        "forced_closed" => "closed by hand".to_owned(),
        other => shown(other),
    }
}

pub(super) fn criterion(by: &str) -> String {
    match by {
        "failure_rate" => "too many failed".to_owned(),
        "slow_rate" => "too many were slow".to_owned(),
        "consecutive" => "too many failed in a row".to_owned(),
        "probe" => "a probe failed".to_owned(),
        "no_result" => "a probe had no result".to_owned(),
        other => shown(other),
    }
}

fn evidence(counts: Counts) -> String {
    let mut words = format!("{} of {} failed", counts.failed, counts.calls);
    if counts.slow > 0 {
        words.push_str(&format!(", {} slow", counts.slow));
    }
    if counts.run > 1 {
        words.push_str(&format!(", {} in a row", counts.run));
    }
    words
}

fn share(some: u32, all: u32) -> String {
    match all {
        0 => String::new(),
        all => format!("{some} of {all}"),
    }
}
