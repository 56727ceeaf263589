//! `/v1/tokens`: who may operate the cluster.

use crate::Config;
use crate::access::Caller;
use crate::problem::{Answer, bad};
use axum::Extension;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{Json, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use sluice_control::TokenRole;

/// A token to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    name: String,
    role: TokenRole,
}

/// `GET /v1/tokens`.
pub(crate) async fn list(State(config): State<Config>) -> Json<serde_json::Value> {
    Json(json!({ "tokens": config.control.tokens() }))
}

/// `POST /v1/tokens`.
pub(crate) async fn create(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<CreateBody>, JsonRejection>,
) -> Response {
    let create = async {
        let Json(body) = body.map_err(|error| bad(error.body_text()))?;
        let actor = caller.actor(config.control.name());
        let token = config.control.create_token(&body.name, body.role, actor).await?;
        Ok(Json(json!({ "name": body.name, "role": body.role, "token": token })))
    };
    answer.give(create.await)
}

/// `DELETE /v1/tokens/{name}`.
pub(crate) async fn revoke(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    name: Result<Path<String>, PathRejection>,
) -> Response {
    let revoke = async {
        let Path(name) = name.map_err(|error| bad(error.body_text()))?;
        let actor = caller.actor(config.control.name());
        config.control.revoke_token(&name, actor).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    answer.give(revoke.await)
}
