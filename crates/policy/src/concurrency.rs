//! `concurrency`: how many requests may be under way at once.

use crate::fault::{Fault, FaultKind};
use crate::limits::{Around, Key, Limit};
use sluice_document::declared::Concurrency;
use sluice_http_semantics::rate_limit::Quota;
use sluice_shared_state::{Algorithm, Mode, OnFailure, Rule, RuleId};
use std::sync::Arc;
use std::time::Duration;

/// How long the places of a node that died are kept, where no time-out says how long its requests may still have run.
pub(crate) const HOLD: Duration = Duration::from_secs(60);

/// Compiles what is declared. `hold` is how long requests may run that were begun before their node died.
pub(crate) fn compile(
    declared: &[Concurrency],
    field: &str,
    around: &Around<'_>,
    hold: Duration,
    faults: &mut Vec<Fault>,
) -> Vec<Limit> {
    let mut limits = Vec::with_capacity(declared.len());
    for (i, declared) in declared.iter().enumerate() {
        let place = format!("{field}[{i}]");
        if declared.limit == 0 {
            let kind = FaultKind::Limit("a limit is at least 1".to_owned());
            faults.push(Fault::new(format!("{place}.limit"), kind));
            continue;
        }
        let limit = declared.limit;
        let rule = Rule {
            name: declared.name.as_str().into(),
            scope: around.over.clone(),
            algorithm: Algorithm::Concurrency { limit, hold },
            mode: Mode::Exact,
            on_failure: OnFailure::Local,
            version: around.version,
            id: RuleId(0),
        };
        limits.push(Limit {
            rule: Arc::new(rule.seal()),
            cost: 1,
            patience: Duration::ZERO,
            dry_run: false,
            quota: Quota::InFlight { quota: limit.into() },
            key: Key::compile(declared.key.as_deref(), &place, around, faults),
        });
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_expression::Scope;
    use sluice_shared_state::Scope as Over;

    #[test]
    fn a_limit_of_what_is_under_way_is_exact_and_local() {
        let around = Around {
            over: Over::Route("web".into(), "exports".into()),
            scope: &Scope::with_params(["id"]),
            version: 3,
        };
        let declared = |limit, key: Option<&str>| Concurrency {
            name: "exports".to_owned(),
            limit,
            key: key.map(str::to_owned),
        };
        let mut faults = Vec::new();
        let all = [
            declared(8, Some("params.id")),
            declared(0, None),
            declared(1, Some("params.nr")),
        ];
        let limits = compile(&all, "concurrency", &around, HOLD, &mut faults);
        let rule = &limits[0].rule;
        assert_eq!(rule.algorithm, Algorithm::Concurrency { limit: 8, hold: HOLD });
        assert_eq!((rule.mode, rule.on_failure), (Mode::Exact, OnFailure::Local));
        assert!(limits[0].is_in_flight());
        assert_eq!(limits[0].scope().to_string(), "gateways/web/routes/exports");
        let fields: Vec<&str> = faults.iter().map(|fault| &*fault.field).collect();
        assert_eq!(fields, ["concurrency[1].limit", "concurrency[2].key"]);
    }
}
