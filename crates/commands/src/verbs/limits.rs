//! `sluice limits`.

use super::Session;
use crate::arguments::{LimitKey, LimitsAct, LimitsTop};
use crate::client::{Call, Failure, Limit, LimitOfKey, Limits, Refusals, Reset, Rule, Silent, Standing, encode};
use crate::exit::Exit;
use crate::table::{shown, table};
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) async fn limits(act: Option<&LimitsAct>, session: &Session<'_>) -> Result<Exit, Failure> {
    match act {
        None | Some(LimitsAct::List(_)) => list(session).await,
        Some(LimitsAct::Show(args)) => show(args, session).await,
        Some(LimitsAct::Top(args)) => top(args, session).await,
        Some(LimitsAct::Reset(args)) => reset(args, session).await,
    }
}

async fn list(session: &Session<'_>) -> Result<Exit, Failure> {
    let answer = session.client.call(Call::get("/v1/limits")).await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
        return Ok(Exit::Done);
    }
    let Limits { limits, silent, .. } = answer.json()?;
    if limits.is_empty() {
        session
            .terminal
            .say("no limits: `rate_limits` and `concurrency` of a gateway or a route declare them");
    } else {
        let rows = limits.iter().map(|limit| {
            let [admitted, refused] = decided(limit);
            [
                name(limit),
                over(&limit.rule.gateway, limit.rule.route.as_deref()),
                allows(&limit.rule),
                admitted.to_string(),
                refused.to_string(),
                sources(limit),
            ]
        });
        let heads = ["LIMIT", "OVER", "ALLOWS", "ADMITTED", "REFUSED", "BY"];
        session.terminal.out(&table(heads, rows));
    }
    missing(session, &silent);
    Ok(Exit::Done)
}

async fn show(args: &LimitKey, session: &Session<'_>) -> Result<Exit, Failure> {
    let target = format!("/v1/limits/{}?key={}", encode(&args.name), encode(&args.key));
    let answer = session.client.call(Call::get(target)).await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
        return Ok(Exit::Done);
    }
    let LimitOfKey { limits, silent } = answer.json()?;
    let texts: Vec<String> = limits.iter().map(|standing| text(standing, &args.key)).collect();
    session.terminal.out(&texts.join("\n"));
    missing(session, &silent);
    Ok(Exit::Done)
}

async fn top(args: &LimitsTop, session: &Session<'_>) -> Result<Exit, Failure> {
    let answer = session
        .client
        .call(Call::get(format!("/v1/limits?top={}", args.limit)))
        .await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
        return Ok(Exit::Done);
    }
    let Limits { top, silent, .. } = answer.json()?;
    if top.is_empty() {
        session.terminal.say("nothing was refused of late");
    } else {
        let rows = top.iter().map(|one: &Refusals| {
            [
                one.key.clone(),
                one.name.clone(),
                over(&one.gateway, one.route.as_deref()),
                match one.excess {
                    0 => one.refused.to_string(),
                    excess => format!("{} -{excess}", one.refused),
                },
                one.last.clone(),
                one.nodes.join(","),
            ]
        });
        let heads = ["KEY", "LIMIT", "OVER", "REFUSED", "LAST", "ON"];
        session.terminal.out(&table(heads, rows));
    }
    missing(session, &silent);
    Ok(Exit::Done)
}

async fn reset(args: &LimitKey, session: &Session<'_>) -> Result<Exit, Failure> {
    let target = format!("/v1/limits/{}/reset?key={}", encode(&args.name), encode(&args.key));
    let answer = session.client.change(Call::post(target)).await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
    }
    let Reset { counts, silent } = answer.json()?;
    let what = match counts {
        0 => "nothing was spent".to_owned(),
        1 => "what was spent is forgotten".to_owned(),
        counts => format!("what was spent is forgotten, in {counts} counts"),
    };
    session
        .terminal
        .say(&format!("limit {}, {}: {what}", shown(&args.name), shown(&args.key)));
    for silent in &silent {
        session.terminal.say(&format!(
            "  {} has not heard of it, and goes on with what it holds: {}",
            shown(&silent.name),
            shown(&silent.why)
        ));
    }
    Ok(Exit::Done)
}

/// One count in words, and what each node has of it.
fn text(standing: &Standing, key: &str) -> String {
    let rule = &standing.rule;
    let mut text = format!(
        "{} over {}: {} ({}{}, while the store is away {})\n",
        shown(&rule.name),
        shown(&over(&rule.gateway, rule.route.as_deref())),
        shown(&allows(rule)),
        shown(&rule.algorithm.replace('_', " ")),
        if rule.mode == "fast" { ", fast" } else { "" },
        shown(&rule.on_failure),
    );
    let key = match key {
        "" => "(no value)".to_owned(),
        key => shown(key),
    };
    match (standing.used, standing.left) {
        (Some(used), Some(left)) => {
            text.push_str(&format!("  {key}: {used} used, {left} left"));
            if let Some(reset) = standing.reset.filter(|reset| *reset > 0.0) {
                text.push_str(&format!(", all back in {}", seconds(reset)));
            }
        }
        _ => text.push_str(&format!("  {key}: no node reaches the store, each counts by itself")),
    }
    if let Some(refusals) = &standing.refusals {
        text.push_str(&format!(
            "; refused {} times of late, last at {}",
            refusals.refused,
            shown(&refusals.last)
        ));
    }
    text.push('\n');
    let mut rows: BTreeMap<String, [String; 4]> = BTreeMap::new();
    for holding in &standing.nodes {
        let row = [
            String::new(),
            holding.remaining.to_string(),
            seconds(holding.reset),
            holding.source.clone(),
        ];
        rows.insert(holding.name.clone(), row);
    }
    for out in &standing.out {
        let node = out.node.clone().unwrap_or_else(|| "(gone)".to_owned());
        rows.entry(node).or_default()[0] = out.tokens.to_string();
    }
    if !rows.is_empty() {
        let rows = rows
            .into_iter()
            .map(|(node, [out, remaining, reset, source])| [node, out, remaining, reset, source]);
        text.push_str(&table(["NODE", "OUT", "REMAINING", "RESET", "BY"], rows));
    }
    text
}

fn name(limit: &Limit) -> String {
    match limit.declared {
        true => limit.rule.name.clone(),
        false => format!("{} (gone)", limit.rule.name),
    }
}

/// `web`, or of a route `web/get-orders`.
pub(super) fn over(gateway: &str, route: Option<&str>) -> String {
    match route {
        Some(route) => format!("{gateway}/{route}"),
        None => gateway.to_owned(),
    }
}

/// `600 per 1m`, `8 at once`.
fn allows(rule: &Rule) -> String {
    match (&rule.per, rule.burst) {
        (None, _) => format!("{} at once", rule.limit),
        (Some(per), None) => format!("{} per {per}", rule.limit),
        (Some(per), Some(burst)) => format!("{} per {per}, {burst} after a rest", rule.limit),
    }
}

/// Admitted and refused.
fn decided(limit: &Limit) -> [u64; 2] {
    let of = |outcomes: &[&str]| {
        let decisions = limit.decisions.iter();
        let of = decisions.filter(|decisions| outcomes.contains(&decisions.outcome.as_str()));
        of.map(|decisions| decisions.count).sum()
    };
    [of(&["admitted"]), of(&["spent", "no_store"])]
}

/// `lease 1200, store 3`, the most first.
fn sources(limit: &Limit) -> String {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for decisions in &limit.decisions {
        *sums.entry(&decisions.source).or_default() += decisions.count;
    }
    let mut sums: Vec<(&str, u64)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words: Vec<String> = sums
        .into_iter()
        .map(|(source, count)| format!("{source} {count}"))
        .collect();
    words.join(", ")
}

fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 10.0 => format!("{short:.1} s"),
        long if long < 600.0 => format!("{long:.0} s"),
        long if long < 36_000.0 => format!("{:.0} min", long / 60.0),
        long => format!("{:.0} h", long / 3600.0),
    }
}

/// Nodes whose word is not in what was shown.
pub(super) fn missing(session: &Session<'_>, silent: &[Silent]) {
    for silent in silent {
        session.terminal.say(&format!(
            "without the word of {}: {}",
            shown(&silent.name),
            shown(&silent.why)
        ));
    }
}
