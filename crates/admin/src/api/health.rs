//! What balancers, scrapers and people at night look at.

use crate::Config;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Json, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use sluice_telemetry::Metrics;

/// `GET /healthz`.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "alive": true }))
}

/// `GET /readyz`, and `/readyz?safe-to-stop`.
pub(crate) async fn ready(State(config): State<Config>, RawQuery(query): RawQuery) -> Response {
    let mut view = config.control.ready();
    if query.is_some_and(|query| {
        query
            .split('&')
            .any(|name| name == "safe-to-stop" || name == "safe-to-stop=true")
    }) && let Err(why) = config.control.safe_to_stop()
    {
        view.ready = false;
        view.reason.get_or_insert(format!("not safe to stop: {why}"));
    }
    let status = if view.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(config): State<Config>, headers: HeaderMap) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let openmetrics = accept.contains("application/openmetrics-text");
    let kind = Metrics::content_type(openmetrics);
    ([(header::CONTENT_TYPE, kind)], config.metrics.encode(openmetrics)).into_response()
}

/// `GET /v1/settings`.
pub(crate) async fn settings(State(config): State<Config>) -> Json<Value> {
    Json(config.settings.clone())
}
