//! `concurrency`: how many requests may be under way at once.

use crate::fault::{Fault, FaultKind};
use crate::limits::{Around, Key, Limit};
use sluice_document::declared::Concurrency;
use sluice_http_semantics::rate_limit::Quota;
use sluice_shared_state::{Algorithm, Mode, OnFailure, Rule, RuleId};
use std::sync::Arc;
use std::time::Duration;

/// How long the places of a node that died are kept, where no time-out says how long its requests may still run.
const HOLD: Duration = Duration::from_secs(60);

/// Compiles what is declared, for requests of which no time-out is known: see [`Limit::hold`].
pub(crate) fn compile(
    declared: &[Concurrency],
    field: &str,
    around: &Around<'_>,
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
            algorithm: Algorithm::Concurrency { limit, hold: HOLD },
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

// === impl Limit ===

impl Limit {
    /// Says of a route how long its requests last at most, if anything bounds that. A node that is cut off from the others
    /// serves on what it began: its places are free again when the last of that must be over, and no sooner.
    ///
    /// A rule that this changes has the numbers of `version`.
    pub fn hold(limits: &mut [Self], longest: Option<Duration>, version: u64) {
        let now = longest.unwrap_or(HOLD);
        for limit in limits {
            if let Algorithm::Concurrency { limit: most, hold } = limit.rule.algorithm
                && hold != now
            {
                limit.rule = Arc::new(Rule {
                    algorithm: Algorithm::Concurrency { limit: most, hold: now },
                    version,
                    ..Rule::clone(&limit.rule)
                });
            }
        }
    }
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
        let limits = compile(&all, "concurrency", &around, &mut faults);
        let rule = &limits[0].rule;
        assert_eq!(rule.algorithm, Algorithm::Concurrency { limit: 8, hold: HOLD });
        assert_eq!((rule.mode, rule.on_failure), (Mode::Exact, OnFailure::Local));
        assert!(limits[0].is_in_flight());
        assert_eq!(limits[0].scope().to_string(), "gateways/web/routes/exports");
        let fields: Vec<&str> = faults.iter().map(|fault| &*fault.field).collect();
        assert_eq!(fields, ["concurrency[1].limit", "concurrency[2].key"]);
    }

    #[test]
    fn a_bound_of_requests_is_a_change_of_the_numbers_and_no_other_limit() {
        let around = Around {
            over: Over::Route("web".into(), "exports".into()),
            scope: &Scope::default(),
            version: 3,
        };
        let declared = [Concurrency {
            name: "exports".to_owned(),
            limit: 8,
            key: None,
        }];
        let first = compile(&declared, "concurrency", &around, &mut Vec::new());
        let mut limits = first.clone();
        Limit::hold(&mut limits, None, 4);
        assert_eq!(limits, first);
        let bound = Duration::from_secs(5);
        for version in [5, 6] {
            Limit::hold(&mut limits, Some(bound), version);
            let rule = &limits[0].rule;
            assert_eq!(rule.algorithm, Algorithm::Concurrency { limit: 8, hold: bound });
            assert_eq!((rule.version, rule.id), (5, first[0].rule.id));
        }
    }
}
