//! The paths.

mod breakers;
mod cluster;
mod config;
mod events;
mod health;
mod limits;
mod tokens;

use crate::Config;
use crate::access::{check, no_such_method, nowhere};
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, delete, get, post};
use axum::{Router, middleware};

/// The largest document that is taken.
const LARGEST: usize = 64 * 1024 * 1024;

/// All of the API.
pub(crate) fn router(config: Config) -> Router {
    let guarded = Router::new()
        .route("/v1/config", get(config::read).put(config::write))
        .route("/v1/config/history", get(config::history))
        .route("/v1/config/rollback/{version}", post(config::rollback))
        .route("/v1/config/confirm", post(config::confirm))
        .route("/v1/config/promote/{version}", post(config::promote))
        .route("/v1/config/original", get(config::original))
        .route(
            "/v1/config/{*part}",
            get(config::read_part)
                .put(config::write_part)
                .delete(config::delete_part),
        )
        .route("/v1/cluster", get(cluster::view))
        .route("/v1/cluster/members/form", post(cluster::form))
        .route("/v1/cluster/members/{name}/{op}", post(cluster::change))
        .route("/v1/cluster/transfer", post(cluster::transfer))
        .route("/v1/cluster/upgrade/finalize", post(cluster::finalize))
        .route("/v1/drain", post(cluster::drain))
        .route("/v1/undrain", post(cluster::undrain))
        .route("/v1/breakers", get(breakers::list))
        .route("/v1/breakers/{upstream}/{act}", post(breakers::order))
        .route("/v1/limits", get(limits::list))
        .route("/v1/limits/{name}", get(limits::show))
        .route("/v1/limits/{name}/reset", post(limits::reset))
        .route("/v1/events", get(events::events))
        .route("/v1/settings", get(health::settings))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{name}", delete(tokens::revoke))
        .route("/v1/{*rest}", any(nowhere))
        .layer(DefaultBodyLimit::max(LARGEST))
        .route_layer(middleware::from_fn_with_state(config.clone(), check))
        .with_state(config.clone());
    let all = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(nowhere)
        .with_state(config.clone())
        .merge(guarded);
    // Around the whole: the router names what it allows last.
    Router::new()
        .fallback_service(all)
        .layer(middleware::from_fn_with_state(config, no_such_method))
}
