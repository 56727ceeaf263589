//! `upstreams.NAME`: declared → [`Spec`].

use http::HeaderValue;
use sluice_document::declared;
use sluice_http_semantics::host::Host;
use sluice_upstream::{Balance, HostPolicy, PoolSpec, Protocol, Spec, TargetSpec, Timeouts};

/// # Errors
///
/// All that is wrong with it.
pub(super) fn upstream(name: &str, declared: &declared::Upstream) -> Result<Spec, Vec<String>> {
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
    faults.extend(retry(declared.retry.as_ref()).err());
    for (field, given) in [
        ("health", declared.health.is_some()),
        ("breaker", declared.breaker.is_some()),
    ] {
        if given {
            faults.push(format!("{field}: this is not built yet"));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let own = crate::route::OwnTimeouts(declared.timeout.unwrap_or_default());
    let defaults = PoolSpec::default();
    let pool = declared.pool.unwrap_or_default();
    let spec = Spec {
        name: name.into(),
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
        timeouts: own.over(Timeouts::default()),
        pool: PoolSpec {
            idle: pool.idle.map_or(defaults.idle, |own| own.0),
            max_idle: pool
                .max_idle
                .map_or(defaults.max_idle, |own| usize::try_from(own).unwrap_or(usize::MAX)),
            max_age: pool.max_age.map_or(defaults.max_age, |own| own.0),
        },
        digest: 0,
    };
    Ok(spec.seal())
}

/// # Errors
///
/// Where it asks for more than one attempt.
pub(super) fn retry(declared: Option<&declared::Retry>) -> Result<(), String> {
    match declared {
        Some(retry)
            if retry.attempts.is_some_and(|attempts| attempts != 1) || retry.budget.is_some() || retry.on.is_some() =>
        {
            Err("retry: only `attempts: 1` is built yet".to_owned())
        }
        _ => Ok(()),
    }
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
