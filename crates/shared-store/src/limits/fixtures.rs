//! Limits for tests.

use sluice_shared_state::{Algorithm, Mode, OnFailure, Rule, RuleId, Scope};
use std::time::Duration;

/// So many in any second, over a gateway, exact, local without the store.
pub(crate) fn sliding(name: &str, limit: u32) -> Rule {
    let algorithm = Algorithm::SlidingWindow {
        limit,
        window: Duration::from_secs(1),
    };
    Rule {
        name: name.into(),
        scope: Scope::Gateway("web".into()),
        algorithm,
        mode: Mode::Exact,
        on_failure: OnFailure::Local,
        version: 1,
        id: RuleId(0),
    }
    .seal()
}
