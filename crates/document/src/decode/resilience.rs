//! `retry`, `health` and `breaker`: what is done when targets fail.

use super::{Decoder, Step, fields, message};
use crate::declared::{Active, Breaker, Failure, Fallback, Health, Passive, Retry};
use crate::decode::fields::nearest;
use crate::diagnostic::Finding;
use crate::tree::{Kind, Node, Value, shorten};

/// Tries in all.
const MOST_ATTEMPTS: i64 = 10;
/// Failures in a row, checks in a row, requests, probes, nodes: no count of these is greater.
const MOST: i64 = 1_000_000;
/// The longest window of a breaker, in milliseconds: what was so long ago says nothing of now.
const LONGEST_WINDOW: u128 = 3_600_000;

pub(super) fn retry<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Retry> {
    let f = d.fields(node, fields::RETRY, "a map with attempts, on, budget, backoff")?;
    Some(Retry {
        attempts: d
            .optional(&f, "attempts", |d, node| {
                let attempts = d.integer(node, 1, MOST_ATTEMPTS)?;
                if attempts > 1 {
                    d.needs(fields::RETRY_LEVEL);
                }
                Some(attempts)
            })
            .and_then(|number| u32::try_from(number).ok()),
        on: d.optional(&f, "on", |d, node| failures(d, node, 400)),
        budget: d.optional(&f, "budget", |d, node| d.share(node, false)),
        backoff: d.optional(&f, "backoff", Decoder::backoff),
    })
}

pub(super) fn health<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Health> {
    let f = d.fields(node, fields::HEALTH, "a map with active, passive")?;
    Some(Health {
        active: d.optional(&f, "active", active),
        passive: d.optional(&f, "passive", passive),
    })
}

fn active<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Active> {
    let f = d.fields(
        node,
        fields::ACTIVE,
        "a map with path, every, unhealthy_after, healthy_after",
    )?;
    let every = d.optional(&f, "every", |d, node| {
        const EXPECTED: &str = "a duration from 100ms to 1h";
        let every = d.duration(node)?;
        if !(100..=3_600_000).contains(&every.0.as_millis()) {
            let finding = Finding::error("out_of_range", "checks are 100ms to 1h apart");
            d.report(finding.at(node.at).found(node.describe()).expected(EXPECTED));
            return None;
        }
        Some(every)
    });
    let unhealthy_after = d.optional(&f, "unhealthy_after", count);
    let healthy_after = d.optional(&f, "healthy_after", count);
    let path = d.required(&f, "path", |d, node| {
        const EXPECTED: &str = "a path like /healthz";
        let path = d.filled(node, EXPECTED)?;
        let sound = path.starts_with('/') && !path.contains('#') && path.parse::<http::uri::PathAndQuery>().is_ok();
        if !sound || path.len() > super::route::LONGEST {
            d.bad(node, "this is no path that can be asked for", EXPECTED);
            return None;
        }
        Some(path.to_owned())
    })?;
    Some(Active {
        path,
        every,
        unhealthy_after,
        healthy_after,
    })
}

fn passive<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Passive> {
    let f = d.fields(
        node,
        fields::PASSIVE,
        "a map with errors, eject_for, max_ejected, panic",
    )?;
    Some(Passive {
        errors: d.optional(&f, "errors", count),
        eject_for: d.optional(&f, "eject_for", Decoder::duration),
        max_ejected: d.optional(&f, "max_ejected", |d, node| d.share(node, true)),
        panic: d.optional(&f, "panic", |d, node| d.share(node, true)),
    })
}

pub(super) fn breaker<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Breaker> {
    let f = d.fields(node, fields::BREAKER, "a map; {} is a breaker with all defaults")?;
    let breaker = Breaker {
        failure_rate: d.optional(&f, "failure_rate", |d, node| d.share(node, false)),
        slow_rate: d.optional(&f, "slow_rate", |d, node| d.share(node, false)),
        slow_after: d.optional(&f, "slow_after", Decoder::duration),
        consecutive: d.optional(&f, "consecutive", count),
        failures: d.optional(&f, "failures", |d, node| failures(d, node, 500)),
        window: d.optional(&f, "window", |d, node| {
            let window = d.duration(node)?;
            if !(100..=LONGEST_WINDOW).contains(&window.0.as_millis()) {
                let finding = Finding::error("out_of_range", "a window is 100ms to 1h long");
                d.report(
                    finding
                        .at(node.at)
                        .found(node.describe())
                        .expected("a duration from 100ms to 1h"),
                );
                return None;
            }
            Some(window)
        }),
        min_requests: d.optional(&f, "min_requests", count),
        open_for: d.optional(&f, "open_for", Decoder::duration),
        max_open_for: d.optional(&f, "max_open_for", Decoder::duration),
        probes: d.optional(&f, "probes", count),
        observers: d.optional(&f, "observers", count),
        fallback: d.optional(&f, "fallback", fallback),
    };
    for (one, other) in [("slow_rate", "slow_after"), ("slow_after", "slow_rate")] {
        if let (Some(entry), None) = (f.get(one), f.get(other)) {
            let message = format!("`{one}` says nothing without `{other}`");
            let finding = Finding::error("missing", message).at(entry.key_at).found(one);
            d.within(Step::Key(one), |d| d.report(finding.expected(other)));
        }
    }
    if let (Some(open), Some(most), Some(entry)) = (breaker.open_for, breaker.max_open_for, f.get("max_open_for"))
        && most < open
    {
        let finding = Finding::error("out_of_range", "`max_open_for` is shorter than `open_for`");
        let finding = finding.at(entry.value.at).found(entry.value.describe());
        d.within(Step::Key("max_open_for"), |d| {
            d.report(finding.expected(format!("at least {open}")))
        });
    }
    Some(breaker)
}

fn fallback<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Fallback> {
    let entries = d.entries(
        node,
        "{ upstream }, or an answer: { status, text, json, html, headers }",
    )?;
    let named = entries.iter().any(|entry| entry.key == "upstream");
    if !named {
        // An unknown field is told with those of an answer, and with `upstream` where that is meant.
        if let Some(entry) = entries.iter().find(|entry| nearest(&entry.key, ["upstream"]).is_some()) {
            let message = format!(
                "`{}` is not a field that is known here; did you mean `upstream`?",
                shorten(&entry.key)
            );
            let finding = Finding::error("unknown_field", message)
                .at(entry.key_at)
                .found(shorten(&entry.key));
            d.within(Step::Key(&entry.key), |d| d.report(finding.nearest(Some("upstream"))));
            return None;
        }
        return message::respond(d, node).map(Fallback::Respond);
    }
    if let Some(other) = entries.iter().find(|entry| entry.key != "upstream") {
        let message = "a fallback is another upstream or a fixed answer, not both";
        let finding = Finding::error("one_of", message)
            .at(other.key_at)
            .found(shorten(&other.key));
        d.within(Step::Key(&other.key), |d| d.report(finding));
        return None;
    }
    let f = d.fields(node, fields::FALLBACK_UPSTREAM, "{ upstream }")?;
    d.required(&f, "upstream", |d, node| d.spelt(node, "the name of an upstream"))
        .map(Fallback::Upstream)
}

/// A count that is not 0.
fn count<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<u32> {
    d.integer(node, 1, MOST).and_then(|number| u32::try_from(number).ok())
}

/// Words and statuses from `least` to 599 (and 429, with which a service says that it is overloaded).
fn failures<'t>(d: &mut Decoder<'t>, node: &'t Node, least: u16) -> Option<Vec<Failure>> {
    const EXPECTED: &str = "a list of connect, reset, timeout and statuses, like [connect, 503]";
    d.set(node, EXPECTED, 100, |d, node| failure(d, node, least))
}

fn failure<'t>(d: &mut Decoder<'t>, node: &'t Node, least: u16) -> Option<Failure> {
    let expected = match least {
        400 => "connect, reset, timeout, or a status from 400 to 599",
        _ => "connect, reset, timeout, 429, or a status from 500 to 599",
    };
    let status = match &node.kind {
        Kind::Number(number) => match number.value {
            Value::Integer(status) => Some(u16::try_from(status).unwrap_or(0)),
            Value::Float(_) => None,
        },
        Kind::Text(text) => match Failure::WORDS.iter().find(|(word, _)| word == text) {
            Some((_, failure)) => return Some(*failure),
            None => text.parse().ok(),
        },
        _ => None,
    };
    match status {
        Some(status) if status == 429 || (least..=599).contains(&status) => Some(Failure::Status(status)),
        Some(400..=499) => {
            d.bad(
                node,
                "a 4xx is the request's failure, not the service's; of them 429 alone may count",
                expected,
            );
            None
        }
        Some(_) => {
            d.bad(node, "an answer of this status is no failure", expected);
            None
        }
        None => {
            let near = match &node.kind {
                Kind::Text(text) => nearest(text, Failure::WORDS.iter().map(|(word, _)| *word)),
                _ => None,
            };
            let mut message = "this is no kind of failure".to_owned();
            if let Some(near) = near {
                message.push_str(&format!("; did you mean `{near}`?"));
            }
            let finding = Finding::error("bad_value", message).at(node.at).found(node.describe());
            d.report(finding.expected(expected).nearest(near));
            None
        }
    }
}
