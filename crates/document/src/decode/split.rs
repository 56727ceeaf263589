//! `gateways.NAME.routes[…].split`.

use super::{Decoder, Step, fields};
use crate::declared::{Arm, Split, Sticky};
use crate::diagnostic::Finding;
use crate::source::Place;
use crate::tree::{Kind, Node};
use std::collections::HashMap;

/// Arms of one split.
const MOST_ARMS: usize = 100;
/// Bytes of the name of a cookie.
const LONGEST_COOKIE: usize = 100;

pub(super) fn split<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Split> {
    let f = d.fields(node, fields::SPLIT, "a split: a map with `to`, a list of arms")?;
    let sticky = d.optional(&f, "sticky", sticky);
    let to = d.required(&f, "to", arms)?;
    Some(Split { to, sticky })
}

fn arms<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Vec<Arm>> {
    const EXPECTED: &str = "a list of { upstream, weight, when }";
    let before = d.errors();
    let arms = d.list(node, EXPECTED, arm)?;
    let Kind::List(items) = &node.kind else { return None };
    if items.is_empty() || items.len() > MOST_ARMS {
        d.bad(node, format!("a split has 1 to {MOST_ARMS} arms"), EXPECTED);
        return None;
    }
    let mut seen: HashMap<&str, Place> = HashMap::with_capacity(items.len());
    let named = arms.iter().zip(items).enumerate();
    for (i, (arm, item)) in named.filter(|(_, (arm, _))| !arm.upstream.is_empty()) {
        if let Some(first) = seen.insert(&arm.upstream, item.at) {
            let message = "this upstream has an arm already; join conditions by ||, and give its weight beside them";
            let finding = Finding::error("duplicate", message).at(item.at).other(first);
            d.within(Step::Index(i), |d| d.report(finding.found(&*arm.upstream)));
        }
    }
    // What could not be read may be the arm that had the weight.
    if d.errors() == before && arms.iter().all(|arm| arm.share() == 0) {
        let message = match arms.iter().any(|arm| arm.when.is_some()) {
            true => "no arm has a weight above 0, so a request for which no `when` holds has nowhere to go",
            false => "all weights are 0, so no request has anywhere to go",
        };
        d.bad(node, message, "at least one arm with a weight above 0");
    }
    Some(arms)
}

fn arm<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Arm> {
    let f = d.fields(node, fields::ARM, "an arm: { upstream, weight, when }")?;
    let weight = d.optional(&f, "weight", |d, node| d.integer(node, 0, i64::from(u16::MAX)));
    let when = d.optional(&f, "when", |d, node| {
        d.filled(node, "a condition like request.headers['x-canary'] == '1'")
            .map(str::to_owned)
    });
    let upstream = d.required(&f, "upstream", |d, node| d.spelt(node, "the name of an upstream"))?;
    Some(Arm {
        upstream,
        weight: weight.and_then(|weight| u16::try_from(weight).ok()),
        when,
    })
}

fn sticky<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Sticky> {
    let f = d.fields(node, fields::STICKY, "a map with cookie")?;
    let cookie = d.required(&f, "cookie", |d, node| {
        const EXPECTED: &str = "the name of a cookie, like canary";
        let name = d.filled(node, EXPECTED)?;
        // A cookie's name is a token, as that of a header is (RFC 6265 §4.1.1).
        if name.len() > LONGEST_COOKIE || name.parse::<http::HeaderName>().is_err() {
            let message = "this is no name of a cookie (RFC 6265 §4.1.1, at most 100 bytes)";
            d.bad(node, message, EXPECTED);
            return None;
        }
        Some(name.to_owned())
    })?;
    Some(Sticky { cookie })
}
