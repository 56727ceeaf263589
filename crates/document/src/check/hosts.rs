//! Hosts of a gateway, and those of its routes, which must be among them.

use super::{Checker, text};
use crate::declared::Gateway;
use crate::decode::Step;
use crate::diagnostic::Finding;
use sluice_http_semantics::host::HostPattern;
use std::collections::HashSet;

/// The checker stands at the gateway.
pub(super) fn check<'d>(c: &mut Checker<'d>, gateway: &'d Gateway) {
    let mut hosts = HashSet::new();
    let mut sound = true;
    c.within(Step::Key("hosts"), |c| {
        for (i, host) in gateway.hosts.iter().enumerate().filter(|(_, host)| !host.is_empty()) {
            match c.within(Step::Index(i), |c| text::host(c, host)) {
                Some(pattern) => drop(hosts.insert(pattern)),
                None => sound = false,
            }
        }
    });
    if !sound || hosts.is_empty() {
        return;
    }
    c.within(Step::Key("routes"), |c| {
        for (i, route) in gateway.routes.iter().enumerate() {
            for (j, host) in route.hosts.iter().enumerate() {
                let outside = HostPattern::parse(host).is_ok_and(|pattern| !covered(&hosts, &pattern));
                if outside {
                    let message = format!("the gateway does not have the host `{host}`, so this never gets a request");
                    let finding = Finding::error("outside_gateway", message).found(host);
                    let finding =
                        finding.expected(gateway.hosts.iter().take(10).cloned().collect::<Vec<_>>().join(", "));
                    c.report_at(finding, &[Step::Index(i), Step::Key("hosts"), Step::Index(j)]);
                }
            }
        }
    });
}

/// Whether some pattern of the set takes every name that `pattern` takes.
fn covered(hosts: &HashSet<HostPattern>, pattern: &HostPattern) -> bool {
    if hosts.contains(&HostPattern::Any) || hosts.contains(pattern) {
        return true;
    }
    let mut name = match pattern {
        HostPattern::Exact(name) | HostPattern::Subdomains(name) => &**name,
        HostPattern::Any => return false,
    };
    while let Some((_, parent)) = name.split_once('.') {
        if hosts.contains(&HostPattern::Subdomains(parent.into())) {
            return true;
        }
        name = parent;
    }
    false
}

/// Whether `wide` takes every name that `narrow` takes.
pub(super) fn covers(wide: &HostPattern, narrow: &HostPattern) -> bool {
    match (wide, narrow) {
        (HostPattern::Any, _) => true,
        (_, HostPattern::Any) => false,
        (HostPattern::Subdomains(parent), HostPattern::Exact(name) | HostPattern::Subdomains(name)) => {
            wide == narrow || HostPattern::Subdomains(parent.clone()).matches(name)
        }
        (wide, narrow) => wide == narrow,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wide_pattern_covers_the_narrow_ones_and_not_the_bare_name() {
        let pattern = |text| HostPattern::parse(text).unwrap();
        let pairs = [
            ("*", "a.example", true),
            ("*.example", "a.example", true),
            ("*.example", "*.b.example", true),
            ("*.example", "*.example", true),
            ("*.example", "example", false),
            ("a.example", "*.a.example", false),
            ("*.b.example", "*.example", false),
            ("a.example", "*", false),
        ];
        for (wide, narrow, expected) in pairs {
            assert_eq!(covers(&pattern(wide), &pattern(narrow)), expected, "{wide} {narrow}");
            assert_eq!(
                covered(&HashSet::from([pattern(wide)]), &pattern(narrow)),
                expected,
                "{wide} {narrow}"
            );
        }
    }
}
