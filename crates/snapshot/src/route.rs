//! A route, ready to serve.

use crate::label::Label;
use sluice_upstream::{Spec, Timeouts};
use std::sync::Arc;

/// What to do with a request that was matched. Immutable, shared between snapshots where nothing of it changed; a
/// stream may hold it on its own, long after its snapshot is gone.
#[derive(Debug)]
pub struct Route {
    /// The name of its gateway.
    pub gateway: Arc<str>,
    /// Unique in its gateway.
    pub id: Arc<str>,
    /// The pattern as declared, for `http.route`; of several patterns all, separated by a space.
    pub http_route: Arc<str>,
    /// What it does.
    pub action: Action,
    /// The route's own where it has them, else its upstream's, else the defaults.
    pub timeouts: Timeouts,
    /// Bytes that a request's body may have; `None`: any number.
    pub max_body: Option<u64>,
    /// Whether any `%2F` in a path is refused, and not only one that hides a dot segment.
    pub(crate) refuses_encoded_slash: bool,
    /// The number of its cells in metrics.
    pub label: Label,
}

/// What a route does with a request.
#[derive(Debug)]
pub enum Action {
    /// Forwards it to a target of this upstream.
    Forward {
        /// The same one in all routes of the snapshot that name it.
        upstream: Arc<Spec>,
    },
}
