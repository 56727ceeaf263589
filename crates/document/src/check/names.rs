//! Names: that what is referred to is there, and that nothing has the name of another.

use super::{Checker, resilience};
use crate::declared::{Action, Document, Gateway};
use crate::decode::{Step, fields::nearest};
use crate::diagnostic::Finding;
use std::collections::{HashMap, HashSet};

/// The listener of a gateway that names none.
const PUBLIC: &str = "public";

/// Two gateways cannot have one host on one listener. The checker stands at `gateways`.
pub(super) fn shared_hosts<'d>(c: &mut Checker<'d>, document: &'d Document) {
    let mut taken: HashMap<(&str, &str), (&str, usize)> = HashMap::new();
    for (name, gateway) in &document.gateways {
        let mut told = HashSet::new();
        let listeners = if gateway.listen.is_empty() {
            vec![PUBLIC]
        } else {
            refs(&gateway.listen)
        };
        for listener in listeners {
            for (i, host) in gateway.hosts.iter().enumerate().filter(|(_, host)| !host.is_empty()) {
                let (other, at) = *taken.entry((listener, host)).or_insert((name, i));
                if other != name && told.insert(i) {
                    let message = format!(
                        "gateways `{other}` and `{name}` both have the host `{host}` on the listener `{listener}`"
                    );
                    let finding = Finding::error("host_taken", message).found(host);
                    let here = [Step::Key(name), Step::Key("hosts"), Step::Index(i)];
                    let there = [Step::Key(other), Step::Key("hosts"), Step::Index(at)];
                    c.report_two(finding, &here, &there);
                }
            }
        }
    }
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Upstreams that routes name are there. The checker stands at the gateway.
pub(super) fn references<'d>(c: &mut Checker<'d>, document: &'d Document, gateway: &'d Gateway) {
    for (i, route) in gateway.routes.iter().enumerate() {
        let at = [Step::Key("routes"), Step::Index(i)];
        match &route.action {
            Action::Upstream(name) => reference(c, document, name, &[&at[..], &[Step::Key("upstream")]].concat()),
            Action::Split(split) => {
                for (arm, to) in split.to.iter().enumerate() {
                    let steps = [
                        Step::Key("split"),
                        Step::Key("to"),
                        Step::Index(arm),
                        Step::Key("upstream"),
                    ];
                    reference(c, document, &to.upstream, &[&at[..], &steps].concat());
                }
            }
            Action::Redirect(_) | Action::Respond(_) => {}
        }
        let targets: Vec<&str> = match &route.action {
            Action::Upstream(name) => vec![name],
            Action::Split(split) => split.to.iter().map(|arm| &*arm.upstream).collect(),
            Action::Redirect(_) | Action::Respond(_) => vec![],
        };
        resilience::fallback_of_route(c, document, route.breaker.as_ref(), &targets, &at);
    }
}

/// The upstream `name`, which is named at `steps`, is there.
pub(super) fn reference(c: &mut Checker<'_>, document: &Document, name: &str, steps: &[Step<'_>]) {
    // An empty name stands in for one that could not be read.
    if name.is_empty() || document.upstreams.contains_key(name) {
        return;
    }
    let names = document.upstreams.keys().map(String::as_str);
    let near = if c.many() { None } else { nearest(name, names) };
    let mut message = format!("there is no upstream `{}`", crate::tree::shorten(name));
    if let Some(near) = near {
        message.push_str(&format!("; did you mean `{near}`?"));
    }
    let finding = Finding::error("unknown_upstream", message)
        .found(crate::tree::shorten(name))
        .expected("the name of an upstream of this document")
        .nearest(near);
    c.report_at(finding, steps);
}

/// Ids are told apart. The checker stands at the gateway.
pub(super) fn route_ids<'d>(c: &mut Checker<'d>, gateway: &'d Gateway) {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(gateway.routes.len());
    for (i, route) in gateway
        .routes
        .iter()
        .enumerate()
        .filter(|(_, route)| !route.id.is_empty())
    {
        let first = *seen.entry(&route.id).or_insert(i);
        if first != i {
            let finding = Finding::error("duplicate", format!("two routes have the id `{}`", route.id));
            let steps = |i| [Step::Key("routes"), Step::Index(i), Step::Key("id")];
            c.report_two(finding.found(&*route.id), &steps(i), &steps(first));
        }
    }
}
