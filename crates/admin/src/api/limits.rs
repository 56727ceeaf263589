//! `/v1/limits`: what is left of the cluster's limits, and for whom.

use crate::Config;
use crate::problem::{Answer, Refused, bad};
use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{Json, Response};
use serde::Deserialize;

/// Which of the keys that were refused most.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    top: Option<usize>,
}

/// Which value of a limit's key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyQuery {
    key: Option<String>,
}

/// So many keys are told at most.
const MOST: usize = 1000;

/// `GET /v1/limits`.
pub(crate) async fn list(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Response {
    let list = async {
        let Query(query) = query.map_err(|error| bad(error.body_text()))?;
        let top = query.top.unwrap_or(0).min(MOST);
        Ok(Json(config.control.limits(top).await))
    };
    answer.give(list.await)
}

/// `GET /v1/limits/{name}`.
pub(crate) async fn show(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<KeyQuery>, QueryRejection>,
) -> Response {
    let show = async {
        let Path(name) = name.map_err(|error| bad(error.body_text()))?;
        let key = key(query)?;
        Ok(Json(config.control.limit(&name, &key).await?))
    };
    answer.give(show.await)
}

/// `POST /v1/limits/{name}/reset`.
pub(crate) async fn reset(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<KeyQuery>, QueryRejection>,
) -> Response {
    let reset = async {
        let Path(name) = name.map_err(|error| bad(error.body_text()))?;
        let key = key(query)?;
        Ok(Json(config.control.reset_limit(&name, &key).await?))
    };
    answer.give(reset.await)
}

/// An empty value is one, too: it counts the requests that have none.
fn key(query: Result<Query<KeyQuery>, QueryRejection>) -> Result<String, Refused> {
    let Query(query) = query.map_err(|error| bad(error.body_text()))?;
    query.key.ok_or_else(|| {
        bad("?key= is missing: the value of the limit's key, such as the client's address; /v1/limits?top=20 shows those that are refused".to_owned())
    })
}
