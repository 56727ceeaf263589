//! Limits of a gateway or a route: names that are told apart, keys that can be read.

use super::{Checker, text};
use crate::declared::{Concurrency, Gateway, RateLimit, Route};
use crate::decode::Step;
use crate::diagnostic::Finding;
use sluice_expression::Scope;
use std::collections::HashMap;

/// Where a limit stands: its list, and its place in it.
type Place = (&'static str, usize);

/// The limits of a gateway; keys of it can name no parameter of a path. The checker stands at the gateway.
pub(super) fn of_gateway<'d>(c: &mut Checker<'d>, gateway: &'d Gateway) {
    check(c, &gateway.rate_limits, &gateway.concurrency, Some(&Scope::default()));
    let own: HashMap<&str, Place> = named(&gateway.rate_limits, &gateway.concurrency).collect();
    if own.is_empty() {
        return;
    }
    for (index, route) in gateway.routes.iter().enumerate() {
        for (name, (list, at)) in named(&route.rate_limits, &route.concurrency) {
            let Some((its_list, its_at)) = own.get(name) else {
                continue;
            };
            let message =
                format!("the gateway has a limit `{name}` already, and both hold for this route; name one otherwise");
            let here = [
                Step::Key("routes"),
                Step::Index(index),
                Step::Key(list),
                Step::Index(at),
                Step::Key("name"),
            ];
            let there = [Step::Key(its_list), Step::Index(*its_at), Step::Key("name")];
            c.report_two(Finding::error("duplicate", message).found(name), &here, &there);
        }
    }
}

/// The limits of a route. The checker stands at the route.
pub(super) fn of_route<'d>(c: &mut Checker<'d>, route: &'d Route, scope: Option<&Scope>) {
    check(c, &route.rate_limits, &route.concurrency, scope);
}

fn check<'d>(c: &mut Checker<'d>, rates: &'d [RateLimit], in_flight: &'d [Concurrency], scope: Option<&Scope>) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    for (name, place) in named(rates, in_flight) {
        let first = *seen.entry(name).or_insert(place);
        if first != place {
            let steps = |(list, at)| [Step::Key(list), Step::Index(at), Step::Key("name")];
            let finding = Finding::error("duplicate", format!("two limits have the name `{name}`"));
            c.report_two(finding.found(name), &steps(place), &steps(first));
        }
    }
    let rates = rates.iter().map(|limit| &limit.key).enumerate();
    let in_flight = in_flight.iter().map(|limit| &limit.key).enumerate();
    let rates = rates.map(|(i, key)| ("rate_limits", i, key));
    for (list, i, key) in rates.chain(in_flight.map(|(i, key)| ("concurrency", i, key))) {
        if let Some(key) = key {
            c.within(Step::Key(list), |c| {
                c.within(Step::Index(i), |c| {
                    c.within(Step::Key("key"), |c| text::value(c, key, scope));
                });
            });
        }
    }
}

/// All that have a name; one without stands in for what could not be read.
fn named<'d>(rates: &'d [RateLimit], in_flight: &'d [Concurrency]) -> impl Iterator<Item = (&'d str, Place)> {
    let rates = rates.iter().map(|limit| &*limit.name).enumerate();
    let in_flight = in_flight.iter().map(|limit| &*limit.name).enumerate();
    let rates = rates.map(|(i, name)| (name, ("rate_limits", i)));
    let all = rates.chain(in_flight.map(|(i, name)| (name, ("concurrency", i))));
    all.filter(|(name, _)| !name.is_empty())
}
