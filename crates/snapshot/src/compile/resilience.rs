//! `retry`, `health` and `breaker`: declared → what requests are sent by.

use crate::fallback::Fallback;
use http::uri::PathAndQuery;
use sluice_document::declared;
use sluice_http_semantics::pattern::Pattern;
use sluice_policy::{Respond, scope_of};
use sluice_shared_state::BreakerRule;
use sluice_shared_state::breaker::Failures;
use sluice_upstream::{Active, HealthRule, Passive, Retry, Timeouts};
use std::sync::Arc;
use std::time::Duration;

/// The fields that are given over those of `rest`.
pub(crate) fn retry(declared: &declared::Retry, rest: &Retry) -> Retry {
    Retry {
        attempts: declared.attempts.unwrap_or(rest.attempts),
        on: declared.on.as_deref().map_or_else(|| rest.on.clone(), failures),
        budget: declared.budget.map_or(rest.budget, |share| share.0),
        backoff: declared.backoff.map_or(rest.backoff, |range| range.first.0),
        most_backoff: declared.backoff.map_or(rest.most_backoff, |range| range.most.0),
    }
}

/// # Errors
///
/// All that is wrong with it.
pub(super) fn health(declared: &declared::Health) -> Result<HealthRule, Vec<String>> {
    let passive = declared.passive.unwrap_or_default();
    let rest = Passive::default();
    let mut faults = Vec::new();
    let active = declared.active.as_ref().and_then(|active| {
        let path = PathAndQuery::try_from(active.path.as_str());
        let path = path
            .map_err(|error| faults.push(format!("health.active.path: {error}")))
            .ok()?;
        Some(Active {
            path,
            every: active.every.map_or(Duration::from_secs(5), |every| every.0),
            unhealthy_after: active.unhealthy_after.unwrap_or(3).max(1),
            healthy_after: active.healthy_after.unwrap_or(2).max(1),
        })
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(HealthRule {
        passive: Passive {
            errors: passive.errors.map_or(rest.errors, |errors| errors.max(1)),
            eject_for: passive.eject_for.map_or(rest.eject_for, |time| time.0),
            max_ejected: passive.max_ejected.map_or(rest.max_ejected, |share| share.0),
            panic: passive.panic.map_or(rest.panic, |share| share.0),
        },
        active,
    })
}

/// Without what depends on the upstream: see [`for_timeouts`].
pub(super) fn rule(declared: &declared::Breaker, version: u64) -> BreakerRule {
    let rate = |share: declared::Share| share.0 as f32 / 1e6;
    let open_for = declared.open_for.map_or(Duration::from_secs(5), |time| time.0);
    BreakerRule {
        failure_rate: Some(declared.failure_rate.map_or(0.5, rate)),
        slow_rate: declared.slow_rate.map(rate),
        slow_after: declared.slow_after.map(|time| time.0),
        consecutive: declared.consecutive,
        failures: declared.failures.as_deref().map_or_else(Failures::default, failures),
        window: declared.window.map_or(Duration::from_secs(10), |time| time.0),
        min_requests: declared.min_requests.unwrap_or(20).max(1),
        open_for,
        max_open_for: declared
            .max_open_for
            .map_or(open_for.saturating_mul(10), |time| time.0)
            .max(open_for),
        probes: declared.probes.unwrap_or(1).max(1),
        observers: declared.observers.unwrap_or(2).max(1),
        probe_timeout: Duration::ZERO,
        version,
    }
}

/// A probe is over when its one try is.
pub(crate) fn for_timeouts(rule: &BreakerRule, timeouts: &Timeouts) -> Arc<BreakerRule> {
    let bounds = [timeouts.attempt, Some(timeouts.first_byte), timeouts.total];
    Arc::new(BreakerRule {
        probe_timeout: bounds.into_iter().flatten().min().unwrap_or(timeouts.first_byte),
        ..rule.clone()
    })
}

/// Of a route with these paths, or of an upstream. Faults are told under `breaker.fallback`.
pub(super) fn fallback(declared: &declared::Breaker, paths: &[Pattern], faults: &mut Vec<String>) -> Option<Fallback> {
    match declared.fallback.as_ref()? {
        declared::Fallback::Upstream(name) => Some(Fallback::Upstream(name.as_str().into())),
        declared::Fallback::Respond(respond) => {
            let mut found = Vec::new();
            let respond = Respond::compile(respond, "breaker.fallback", &scope_of(paths), &mut found);
            faults.extend(found.iter().map(|fault| format!("{}: {}", fault.field, fault.kind)));
            respond.map(|respond| Fallback::Respond(Arc::new(respond)))
        }
    }
}

fn failures(declared: &[declared::Failure]) -> Failures {
    use declared::Failure::{Connect, Reset, Status, Timeout};
    let mut statuses: Vec<u16> = declared
        .iter()
        .filter_map(|failure| match failure {
            Status(status) => Some(*status),
            Connect | Reset | Timeout => None,
        })
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    Failures {
        connect: declared.contains(&Connect),
        reset: declared.contains(&Reset),
        timeout: declared.contains(&Timeout),
        statuses,
    }
}
