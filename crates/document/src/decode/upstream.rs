//! `upstreams.NAME`.

use super::{Decoder, Step, fields, resilience};
use crate::declared::{Balance, HostPolicy, Pool, Protocol, Target, Timeout, Upstream};
use crate::diagnostic::Finding;
use crate::source::Place;
use crate::tree::{Kind, Node};
use std::collections::HashMap;

/// Targets of one upstream.
const MOST_TARGETS: usize = 1_000;

pub(crate) fn upstream<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Upstream> {
    let f = d.fields(node, fields::UPSTREAM, "an upstream: a map with `targets`")?;
    Some(Upstream {
        targets: d.required(&f, "targets", targets).unwrap_or_default(),
        host: d.optional(&f, "host", host),
        balance: d.optional(&f, "balance", balance),
        timeout: d.optional(&f, "timeout", timeout),
        pool: d.optional(&f, "pool", pool),
        protocol: d.optional(&f, "protocol", protocol),
        retry: d.optional(&f, "retry", resilience::retry),
        health: d.optional(&f, "health", resilience::health),
        breaker: d.optional(&f, "breaker", resilience::breaker),
    })
}

fn targets<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Vec<Target>> {
    const EXPECTED: &str = "a list of URLs";
    let known = d.list(node, EXPECTED, target)?;
    let Kind::List(items) = &node.kind else { return None };
    if items.is_empty() || items.len() > MOST_TARGETS {
        d.bad(node, format!("an upstream has 1 to {MOST_TARGETS} targets"), EXPECTED);
    }
    let mut seen: HashMap<&str, Place> = HashMap::with_capacity(items.len());
    for (i, (target, item)) in known
        .iter()
        .zip(items)
        .enumerate()
        .filter(|(_, (target, _))| !target.url.is_empty())
    {
        if let Some(first) = seen.get(&*target.url) {
            let message = "this target stands in the list twice; give it a greater weight instead";
            let finding = Finding::error("duplicate", message).at(item.at).other(*first);
            d.within(Step::Index(i), |d| d.report(finding.found(&*target.url)));
        }
        seen.entry(&target.url).or_insert(item.at);
    }
    Some(known)
}

fn target<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Target> {
    match &node.kind {
        Kind::Text(_) => Some(Target {
            url: url(d, node)?,
            weight: None,
        }),
        Kind::Map(_) => {
            let f = d.fields(node, fields::TARGET, "a target")?;
            let weight = d.optional(&f, "weight", |d, node| d.integer(node, 0, i64::from(u16::MAX)));
            let url = d.required(&f, "url", url)?;
            Some(Target {
                url,
                weight: weight.and_then(|weight| u16::try_from(weight).ok()),
            })
        }
        _ => {
            d.wrong(node, "a URL or { url, weight }");
            None
        }
    }
}

fn url<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<String> {
    d.filled(node, "a URL like http://10.0.0.1:8080").map(str::to_owned)
}

fn host<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<HostPolicy> {
    Some(match d.filled(node, "preserve, target, or a host")? {
        "preserve" => HostPolicy::Preserve,
        "target" => HostPolicy::Target,
        literal => HostPolicy::Literal(literal.to_owned()),
    })
}

fn balance<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Balance> {
    if let Kind::Map(entries) = &node.kind
        && let [entry] = entries.as_slice()
        && fields::BALANCE_PLANNED.contains(&entry.key.as_str())
    {
        let message = format!("`{}` is not built yet; it will come with a later version", entry.key);
        d.report(Finding::error("not_built", message).at(entry.key_at).found(&*entry.key));
        return None;
    }
    let words = [
        ("least_request", Balance::LeastRequest),
        ("round_robin", Balance::RoundRobin),
    ];
    d.word(node, &words, fields::BALANCE_PLANNED)
}

fn protocol<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Protocol> {
    let protocol = d.word(node, &[("h1", Protocol::H1), ("h2c", Protocol::H2c)], &[])?;
    if protocol == Protocol::H2c {
        d.needs(fields::H2C_LEVEL);
    }
    Some(protocol)
}

pub(super) fn timeout<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Timeout> {
    let f = d.fields(node, fields::TIMEOUT, "a map of durations")?;
    let mut read = |name| d.optional(&f, name, Decoder::duration);
    Some(Timeout {
        connect: read("connect"),
        attempt: read("try"),
        first_byte: read("first_byte"),
        idle: read("idle"),
        total: read("total"),
        tunnel: read("tunnel"),
    })
}

fn pool<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Pool> {
    let f = d.fields(node, fields::POOL, "a map with idle, max_idle, max_age")?;
    Some(Pool {
        idle: d.optional(&f, "idle", Decoder::duration),
        max_idle: d
            .optional(&f, "max_idle", |d, node| d.integer(node, 0, 100_000))
            .and_then(|number| u32::try_from(number).ok()),
        max_age: d.optional(&f, "max_age", Decoder::duration),
    })
}
