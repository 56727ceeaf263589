//! From a listener and a host to a gateway.

use crate::persistent::Map;
use sluice_http_semantics::host::HostPattern;
use std::sync::Arc;

/// The hosts of one listener, each with the slot of its gateway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    exact: Map<Arc<str>, usize>,
    /// By the name that the star stands before.
    subdomains: Map<Arc<str>, usize>,
    any: Option<usize>,
}

// === impl Hosts ===

impl Hosts {
    /// The name itself, then the longest `*.` that fits, then `*`.
    pub(crate) fn find(&self, host: &str) -> Option<usize> {
        if let Some(slot) = self.exact.get(host) {
            return Some(*slot);
        }
        if !self.subdomains.is_empty() {
            // From the second label on: a star is at least one label.
            let mut below = host;
            while let Some((_, parent)) = below.split_once('.') {
                if let Some(slot) = self.subdomains.get(parent) {
                    return Some(*slot);
                }
                below = parent;
            }
        }
        self.any
    }

    /// # Errors
    ///
    /// The slot that has the host already.
    pub(crate) fn insert(&mut self, host: &HostPattern, slot: usize) -> Result<(), usize> {
        let old = match host {
            HostPattern::Exact(name) => self.exact.insert((&**name).into(), slot),
            HostPattern::Subdomains(name) => self.subdomains.insert((&**name).into(), slot),
            HostPattern::Any => self.any.replace(slot),
        };
        match old {
            Some(other) if other != slot => Err(other),
            _ => Ok(()),
        }
    }

    pub(crate) fn remove(&mut self, host: &HostPattern) {
        match host {
            HostPattern::Exact(name) => drop(self.exact.remove(&**name)),
            HostPattern::Subdomains(name) => drop(self.subdomains.remove(&**name)),
            HostPattern::Any => self.any = None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.subdomains.is_empty() && self.any.is_none()
    }
}

/// Whether every name that `narrow` takes is taken by one of `wide`.
pub(crate) fn cover(wide: &[HostPattern], narrow: &HostPattern) -> bool {
    wide.iter().any(|wide| match (wide, narrow) {
        (HostPattern::Any, _) => true,
        (wide, narrow) if wide == narrow => true,
        (HostPattern::Subdomains(_), HostPattern::Exact(name) | HostPattern::Subdomains(name)) => wide.matches(name),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_narrowest_host_has_the_request_however_many_there_are() {
        for more in [0, 150] {
            let mut hosts = Hosts::default();
            let table = ["*", "*.shop.example.com", "a.shop.example.com", "*.example.com"];
            for (slot, host) in table.iter().enumerate() {
                hosts.insert(&HostPattern::parse(host).unwrap(), slot).unwrap();
            }
            for i in 0..more {
                let host = HostPattern::parse(&format!("h{i}.example.org")).unwrap();
                hosts.insert(&host, 100 + i).unwrap();
            }
            for (host, slot) in [
                ("a.shop.example.com", 2),
                ("bb.shop.example.com", 1),
                ("x.a.shop.example.com", 1),
                ("shop.example.com", 3),
                ("example.com", 0),
                ("example.net", 0),
                ("[::1]", 0),
            ] {
                assert_eq!(hosts.find(host), Some(slot), "{host}");
            }
        }
    }

    #[test]
    fn a_star_covers_what_is_below_it_and_not_the_bare_name() {
        let pattern = |text| HostPattern::parse(text).unwrap();
        for (wide, narrow, covered) in [
            ("*", "*", true),
            ("*", "*.a", true),
            ("*.a", "*", false),
            ("*.a", "b.a", true),
            ("*.a", "*.b.a", true),
            ("*.a", "a", false),
            ("*.b.a", "*.a", false),
            ("a", "*.a", false),
            ("b.a", "b.a", true),
        ] {
            assert_eq!(cover(&[pattern(wide)], &pattern(narrow)), covered, "{wide} {narrow}");
        }
    }

    #[test]
    fn a_host_is_of_one_gateway_until_it_is_given_up() {
        let mut hosts = Hosts::default();
        for host in ["*", "*.a", "a"].map(|host| HostPattern::parse(host).unwrap()) {
            hosts.insert(&host, 0).unwrap();
            hosts.insert(&host, 0).unwrap();
            assert_eq!(hosts.insert(&host, 1), Err(0));
            hosts.remove(&host);
            hosts.insert(&host, 2).unwrap();
            hosts.remove(&host);
        }
        assert!(hosts.is_empty());
        assert_eq!(hosts.find("a"), None);
    }
}
