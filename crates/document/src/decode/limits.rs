//! `rate_limits` and `concurrency` of a gateway or a route.

use super::{Decoder, Fields, check_name, fields};
use crate::declared::{Concurrency, LimitAlgorithm, LimitMode, OnFailure, Per, RateLimit, Zone};
use crate::diagnostic::Finding;
use crate::tree::{Kind, Node, shorten};
use fields::nearest;

/// Limits of one kind of one gateway or route.
pub(super) const MOST_LIMITS: usize = 16;
/// The greatest `cost`.
const DEAREST: i64 = 1_000_000;

const PER: &str = "a duration from 10ms to 31d, or minute, hour, day, month";

pub(super) fn rate_limits<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Vec<RateLimit>> {
    limits(d, node, "a list of { name, limit, per, … }", rate_limit)
}

pub(super) fn concurrency<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Vec<Concurrency>> {
    limits(d, node, "a list of { name, limit, key }", in_flight)
}

/// Unlike other lists these may be empty: there is nothing that they could say by it but nothing.
fn limits<'t, T: Default>(
    d: &mut Decoder<'t>,
    node: &'t Node,
    expected: &str,
    one: impl FnMut(&mut Decoder<'t>, &'t Node) -> Option<T>,
) -> Option<Vec<T>> {
    let all = d.list(node, expected, one)?;
    if all.len() > MOST_LIMITS {
        let message = format!("the list has {} limits; at most {MOST_LIMITS} are taken", all.len());
        d.bad(node, message, expected);
    }
    Some(all)
}

fn rate_limit<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<RateLimit> {
    let f = d.fields(node, fields::RATE_LIMIT, "a limit: { name, limit, per }")?;
    let before = d.errors();
    let name = name(d, &f);
    let count = d.required(&f, "limit", |d, node| d.integer(node, 1, GREATEST_COUNT));
    let per = d.required(&f, "per", per);
    let zone = d.optional(&f, "zone", zone);
    let key = key(d, &f);
    let algorithm = d.optional(&f, "algorithm", |d, node| {
        let words = [
            ("sliding_window", LimitAlgorithm::SlidingWindow),
            ("token_bucket", LimitAlgorithm::TokenBucket),
            ("fixed_window", LimitAlgorithm::FixedWindow),
        ];
        d.word(node, &words, &[])
    });
    let burst = d.optional(&f, "burst", |d, node| d.integer(node, 1, GREATEST));
    let mode = d.optional(&f, "mode", |d, node| {
        d.word(node, &[("exact", LimitMode::Exact), ("fast", LimitMode::Fast)], &[])
    });
    let on_failure = d.optional(&f, "on_failure", |d, node| {
        let words = [
            ("local", OnFailure::Local),
            ("open", OnFailure::Open),
            ("closed", OnFailure::Closed),
        ];
        d.word(node, &words, &[])
    });
    let cost = d.optional(&f, "cost", |d, node| d.integer(node, 1, DEAREST));
    let delay = d.optional(&f, "delay", delay);
    let dry_run = d.optional(&f, "dry_run", Decoder::truth);
    // What goes together is asked of what could be read.
    if d.errors() > before {
        return None;
    }
    let limit = RateLimit {
        name: name?,
        limit: u64::try_from(count?).ok()?,
        per: per?,
        zone,
        key,
        algorithm,
        burst: burst.and_then(|burst| u32::try_from(burst).ok()),
        mode,
        on_failure,
        cost: cost.and_then(|cost| u32::try_from(cost).ok()),
        delay,
        dry_run,
    };
    together(d, &f, &limit);
    Some(limit)
}

/// What fields ask of each other.
fn together<'t>(d: &mut Decoder<'t>, f: &Fields<'t>, limit: &RateLimit) {
    let calendar = !matches!(limit.per, Per::Every(_));
    let algorithm = limit.algorithm();
    let mut told = |name: &'static str, code, message: String, expected: &str| {
        // Asked of fields that are there.
        if let Some(entry) = f.get(name) {
            d.within(super::Step::Key(name), |d| {
                let finding = Finding::error(code, message).at(entry.value.at);
                d.report(finding.found(entry.value.describe()).expected(expected));
            });
        }
    };
    if calendar && algorithm != LimitAlgorithm::FixedWindow {
        let message = format!(
            "a count per {} begins anew with each one, so it is a fixed_window; give a duration, as per: 1m, for another \
             algorithm",
            limit.per
        );
        match limit.algorithm {
            Some(_) => told("algorithm", "bad_value", message, "fixed_window"),
            None => told("burst", "bad_value", message, "no burst beside a word of the calendar"),
        }
    } else if limit.burst.is_some() && algorithm != LimitAlgorithm::TokenBucket {
        let message = "a burst is the depth of a token_bucket; the other algorithms have none".to_owned();
        told("burst", "bad_value", message, "no burst, or algorithm: token_bucket");
    }
    if limit.zone.is_some() && !matches!(limit.per, Per::Hour | Per::Day | Per::Month) {
        let message = format!(
            "a zone says where hours, days and months begin; this is per {}",
            limit.per
        );
        told("zone", "bad_value", message, "no zone, or per: hour, day or month");
    }
    if algorithm != LimitAlgorithm::FixedWindow && limit.limit > RateLimit::GREATEST {
        let message = format!(
            "a limit that does not begin anew with a window is at most {}",
            RateLimit::GREATEST
        );
        told(
            "limit",
            "out_of_range",
            message,
            "a smaller limit, or algorithm: fixed_window",
        );
    }
    if limit.cost.is_some_and(|cost| u64::from(cost) > limit.most()) {
        let of = match limit.burst {
            Some(_) => "burst",
            None => "limit",
        };
        let message = format!(
            "a request would cost more than the {of} of {}, so that none would pass",
            limit.most()
        );
        told("cost", "out_of_range", message, "a cost within the limit and the burst");
    }
}

fn in_flight<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Concurrency> {
    let f = d.fields(node, fields::CONCURRENCY, "a limit: { name, limit, key }")?;
    let name = name(d, &f);
    let limit = d.required(&f, "limit", |d, node| d.integer(node, 1, GREATEST));
    let key = key(d, &f);
    Some(Concurrency {
        name: name?,
        limit: limit.and_then(|limit| u32::try_from(limit).ok())?,
        key,
    })
}

fn name<'t>(d: &mut Decoder<'t>, f: &Fields<'t>) -> Option<String> {
    d.required(f, "name", |d, node| {
        let name = d.text(node, "a name like per-client")?;
        check_name(d, name, node.at).then(|| name.to_owned())
    })
}

fn key<'t>(d: &mut Decoder<'t>, f: &Fields<'t>) -> Option<String> {
    d.optional(f, "key", |d, node| {
        d.filled(node, "a value like client.ip, 'all' or request.headers['x-tenant']")
            .map(str::to_owned)
    })
}

fn per<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Per> {
    if let Kind::Text(text) = &node.kind
        && !text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
    {
        let words = [
            ("minute", Per::Minute),
            ("hour", Per::Hour),
            ("day", Per::Day),
            ("month", Per::Month),
        ];
        if let Some((_, per)) = words.iter().find(|(word, _)| word == text) {
            return Some(*per);
        }
        let near = nearest(text, words.iter().map(|(word, _)| *word));
        let mut message = "this is no duration and no word of the calendar".to_owned();
        if let Some(near) = near {
            message.push_str(&format!("; did you mean `{near}`?"));
        }
        let finding = Finding::error("bad_value", message).at(node.at).found(node.describe());
        d.report(finding.expected(PER).nearest(near));
        return None;
    }
    let length = d.duration(node)?;
    if !(RateLimit::SHORTEST..=RateLimit::LONGEST).contains(&length.0) {
        let message = "a window is from 10ms to 31d long";
        d.report(
            Finding::error("out_of_range", message)
                .at(node.at)
                .found(node.describe())
                .expected(PER),
        );
        return None;
    }
    Some(Per::Every(length))
}

fn zone<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Zone> {
    const EXPECTED: &str = "UTC, an offset like +02:00, or a name like Europe/Berlin";
    let text = d.filled(node, EXPECTED)?;
    let read = text.parse();
    if read.is_err() {
        let names: Vec<String> = Zone::names().collect();
        let near = nearest(text, names.iter().map(String::as_str));
        let mut message = format!("`{}` is no zone that is known", shorten(text));
        if let Some(near) = near {
            message.push_str(&format!("; did you mean `{near}`?"));
        }
        let finding = Finding::error("bad_value", message).at(node.at).found(node.describe());
        d.report(finding.expected(EXPECTED).nearest(near));
    }
    read.ok()
}

fn delay<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<crate::declared::Duration> {
    let delay = d.duration(node)?;
    if delay.0 > RateLimit::LONGEST_DELAY {
        let finding = Finding::error("out_of_range", "a request is held back for 30s at most").at(node.at);
        d.report(finding.found(node.describe()).expected("a duration up to 30s"));
        return None;
    }
    Some(delay)
}

// Both are far below the greatest i64.
const GREATEST: i64 = RateLimit::GREATEST as i64;
const GREATEST_COUNT: i64 = RateLimit::GREATEST_COUNT as i64;
