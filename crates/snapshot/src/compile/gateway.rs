//! `gateways.NAME` without its routes: declared → [`Gateway`].

use super::At;
use crate::gateway::Gateway;
use sluice_document::declared::{self, Expose};
use sluice_http_semantics::host::HostPattern;
use sluice_policy::{Limit, limits_of_gateway};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The listener of a gateway that names none.
const PUBLIC: &str = "public";

/// With the routes of the one before.
///
/// # Errors
///
/// All that is wrong with it.
pub(super) fn gateway(
    name: &str,
    declared: &declared::Gateway,
    old: Option<&Gateway>,
    at: At,
) -> Result<Gateway, Vec<String>> {
    let name: Arc<str> = old.map_or_else(|| name.into(), |old| Arc::clone(&old.name));
    let mut faults = Vec::new();
    let mut hosts = Vec::with_capacity(declared.hosts.len());
    for host in &declared.hosts {
        match HostPattern::parse(host) {
            Ok(host) => hosts.push(host),
            Err(error) => faults.push(format!("hosts: {host:?}: {error}")),
        }
    }
    if declared.hosts.is_empty() {
        faults.push("hosts: there is none; \"*\" is any host".to_owned());
    }
    let mut listen: BTreeSet<&str> = declared.listen.iter().map(String::as_str).collect();
    if listen.is_empty() {
        listen.insert(PUBLIC);
    }
    let limits = limits_of_gateway(declared, &name, at.version, at.now).unwrap_or_else(|found| {
        faults.extend(found.iter().map(ToString::to_string));
        Vec::new()
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    let texts: usize = declared.hosts.iter().chain(&declared.listen).map(String::len).sum();
    let entries = hosts.len() * listen.len();
    let limits = kept(limits, old);
    let of_limits: usize = limits.iter().map(Limit::memory).sum();
    Ok(Gateway {
        name,
        limits,
        expose_version: declared.expose.contains(&Expose::Version),
        expose_node: declared.expose.contains(&Expose::Node),
        trusted: declared.trusted_proxies.clone(),
        hosts: hosts.into(),
        listen: listen.into_iter().map(Into::into).collect(),
        routes: old.map(|old| old.routes.clone()).unwrap_or_default(),
        router: old.map(|old| old.router.clone()).unwrap_or_default(),
        weight: size_of::<Gateway>() + 4 * texts + 100 * entries + 20 * declared.trusted_proxies.len() + of_limits,
    })
}

/// The same as before where nothing of them changed.
fn kept(mut limits: Vec<Limit>, old: Option<&Gateway>) -> Arc<[Limit]> {
    let Some(old) = old else { return limits.into() };
    Limit::keep(&mut limits, &old.limits);
    match limits == *old.limits {
        true => Arc::clone(&old.limits),
        false => limits.into(),
    }
}
