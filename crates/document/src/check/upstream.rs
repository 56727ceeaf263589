//! Upstreams by themselves.

use super::Checker;
use crate::declared::Upstream;
use crate::decode::Step;
use crate::diagnostic::Finding;

pub(super) fn check<'d>(c: &mut Checker<'d>, upstream: &'d Upstream) {
    if !upstream.targets.is_empty() && upstream.targets.iter().all(|target| target.weight == Some(0)) {
        let message = "every target has weight 0, so none gets a request: all of them are answered with 503";
        c.within(Step::Key("targets"), |c| {
            c.report(Finding::warning("no_target", message))
        });
    }
}
