//! To which of its upstreams a route sends a request.

use super::asked::Asked;
use crate::exchange::Exchange;
use http::HeaderValue;
use http::header::COOKIE;
use sluice_http_semantics::forwarded::Scheme;
use sluice_snapshot::{Destination, Route, Split};
use std::sync::Arc;

/// Where a request goes.
#[derive(Clone, Copy)]
pub(super) struct Toward<'s> {
    pub(super) destination: &'s Destination,
    /// What the client is given to come back there.
    pub(super) set_cookie: Option<&'s HeaderValue>,
}

// === impl Toward ===

impl<'s> Toward<'s> {
    /// The one that the route has.
    pub(super) fn only(destination: &'s Destination) -> Self {
        Self {
            destination,
            set_cookie: None,
        }
    }

    /// An arm of the route's split; the arm counts the request.
    pub(super) fn arm(exchange: &Exchange, route: &Arc<Route>, split: &'s Split, asked: &Asked<'_>) -> Self {
        let cookies = asked.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let secure = asked.scheme == Scheme::Https;
        let choice = split.policy.choose(asked, cookies, secure, fastrand::u64(..));
        exchange.worker.routes.chosen(route, choice.arm);
        Self {
            destination: &split.arms[choice.arm],
            set_cookie: choice.set_cookie,
        }
    }
}
