//! Upstreams by themselves.

use super::{Checker, resilience, text};
use crate::declared::{HostPolicy, Upstream};
use crate::decode::Step;
use crate::diagnostic::Finding;
use crate::tree::shorten;
use sluice_expression::Scope;
use sluice_http_semantics::host::Host;
use sluice_http_semantics::path::Path;

/// The checker stands at the upstream.
pub(super) fn check<'d>(c: &mut Checker<'d>, upstream: &'d Upstream) {
    c.within(Step::Key("targets"), |c| {
        for (i, target) in upstream
            .targets
            .iter()
            .enumerate()
            .filter(|(_, target)| !target.url.is_empty())
        {
            c.within(Step::Index(i), |c| c.within(Step::Key("url"), |c| url(c, &target.url)));
        }
        if !upstream.targets.is_empty() && upstream.targets.iter().all(|target| target.weight == Some(0)) {
            let message = "every target has weight 0, so none gets a request: all of them are answered with 503";
            c.report(Finding::warning("no_target", message));
        }
    });
    if let Some(HostPolicy::Literal(host)) = &upstream.host {
        c.within(Step::Key("host"), |c| text::authority(c, host));
    }
    resilience::retry(c, upstream.retry.as_ref(), Some(&upstream.timeout.unwrap_or_default()));
    resilience::breaker(c, upstream.breaker.as_ref(), Some(&Scope::default()));
}

fn url(c: &mut Checker<'_>, url: &str) {
    let finding = match fault(url) {
        None => return,
        Some((code, message)) => Finding::error(code, message),
    };
    c.report(
        finding
            .found(shorten(url))
            .expected("a URL like http://10.0.0.1:8080 or http://orders.internal/base"),
    );
}

fn fault(url: &str) -> Option<(&'static str, String)> {
    let bad = |message: &str| Some(("bad_target", message.to_owned()));
    let Some((scheme, rest)) = url.split_once("://") else {
        return bad("a target is a URL with its scheme: http://host or http://host:port");
    };
    match scheme {
        "http" => {}
        "https" => return Some(("not_built", "TLS to targets is not built yet; take http".to_owned())),
        other => {
            return Some((
                "bad_target",
                format!("the scheme `{}` is not known; take http", shorten(other)),
            ));
        }
    }
    if rest.contains(['?', '#']) {
        return bad("a target has no query and no fragment");
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    match Host::parse(authority) {
        Err(error) => return Some(("bad_target", error.to_string())),
        Ok(host) if host.port() == Some(0) || authority.ends_with(':') => return bad("there is no such port"),
        Ok(_) => {}
    }
    if path.is_empty() || path == "/" {
        return None;
    }
    match Path::normalize(path) {
        Err(error) => Some(("bad_target", format!("the path of the target: {error}"))),
        Ok(normal) if normal.as_str() != path => Some((
            "bad_target",
            format!("write the path of the target in its normal form: {}", normal.as_str()),
        )),
        Ok(_) => None,
    }
}
