//! `upstreams.NAME`: declared → [`Spec`].

use super::resilience;
use crate::fallback::Fallback;
use http::HeaderValue;
use sluice_document::declared;
use sluice_http_semantics::host::Host;
use sluice_shared_state::BreakerKey;
use sluice_upstream::{Balance, Guard, HealthRule, HostPolicy, PoolSpec, Protocol, Retry, Spec, TargetSpec, Timeouts};
use std::sync::Arc;

/// # Errors
///
/// All that is wrong with it.
pub(super) fn upstream(
    name: &str,
    declared: &declared::Upstream,
    version: u64,
) -> Result<(Spec, Option<Fallback>), Vec<String>> {
    let mut faults = Vec::new();
    let mut targets = Vec::with_capacity(declared.targets.len());
    for target in &declared.targets {
        match TargetSpec::parse(&target.url, target.weight.unwrap_or(1)) {
            Ok(target) => targets.push(target),
            Err(error) => faults.push(format!("targets: {error}")),
        }
    }
    if declared.targets.is_empty() {
        faults.push("targets: there is none".to_owned());
    }
    let host = match &declared.host {
        None | Some(declared::HostPolicy::Preserve) => HostPolicy::Preserve,
        Some(declared::HostPolicy::Target) => HostPolicy::Target,
        Some(declared::HostPolicy::Literal(host)) => match (Host::parse(host), HeaderValue::from_str(host)) {
            (Ok(_), Ok(value)) => HostPolicy::Literal(value),
            (Err(error), _) => {
                faults.push(format!("host: {error}"));
                HostPolicy::Preserve
            }
            (_, Err(error)) => {
                faults.push(format!("host: {error}"));
                HostPolicy::Preserve
            }
        },
    };
    let health = declared
        .health
        .as_ref()
        .map_or(Ok(HealthRule::default()), resilience::health);
    let health = health.unwrap_or_else(|found| {
        faults.extend(found);
        HealthRule::default()
    });
    let breaker = declared.breaker.as_ref();
    let fallback = breaker.and_then(|breaker| resilience::fallback(breaker, &[], &mut faults));
    if !faults.is_empty() {
        return Err(faults);
    }
    let own = crate::route::OwnTimeouts(declared.timeout.unwrap_or_default());
    let defaults = PoolSpec::default();
    let pool = declared.pool.unwrap_or_default();
    let timeouts = own.over(Timeouts::default());
    let name: Arc<str> = name.into();
    let spec = Spec {
        breaker: breaker.map(|breaker| {
            let key = BreakerKey {
                upstream: Arc::clone(&name),
                route: None,
            };
            let rule = resilience::rule(breaker, version);
            Arc::new(Guard::new(key, resilience::for_timeouts(&rule, &timeouts)))
        }),
        retry: declared
            .retry
            .as_ref()
            .map_or_else(Retry::default, |retry| resilience::retry(retry, &Retry::default())),
        health,
        name,
        targets,
        host,
        balance: match declared.balance {
            None | Some(declared::Balance::LeastRequest) => Balance::LeastRequest,
            Some(declared::Balance::RoundRobin) => Balance::RoundRobin,
        },
        protocol: match declared.protocol {
            None | Some(declared::Protocol::H1) => Protocol::Http1,
            Some(declared::Protocol::H2c) => Protocol::Http2,
        },
        timeouts,
        pool: PoolSpec {
            idle: pool.idle.map_or(defaults.idle, |own| own.0),
            max_idle: pool
                .max_idle
                .map_or(defaults.max_idle, |own| usize::try_from(own).unwrap_or(usize::MAX)),
            max_age: pool.max_age.map_or(defaults.max_age, |own| own.0),
        },
        digest: 0,
    };
    Ok((spec.seal(), fallback))
}

/// Bytes, about.
pub(super) fn weight(spec: &Spec) -> usize {
    let texts = |target: &TargetSpec| target.url.len() + target.host.len() + target.base_path.len();
    let targets = spec
        .targets
        .iter()
        .map(|target| size_of::<TargetSpec>() + 2 * texts(target));
    size_of::<Spec>() + spec.name.len() + targets.sum::<usize>()
}
