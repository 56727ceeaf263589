//! `/v1/cluster`: the members, and what is done to them.

use crate::Config;
use crate::access::Caller;
use crate::problem::{Answer, Refused, bad};
use crate::query::ReadQuery;
use axum::Extension;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{Json, Response};
use bytes::Bytes;
use serde::Deserialize;
use sluice_control::{ClusterView, Freshness, MemberOp};
use sluice_http_semantics::problem::{Code, Problem};

/// Which nodes shall form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormBody {
    only: Vec<String>,
}

/// To whom the leadership goes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferBody {
    to: Option<String>,
}

/// `GET /v1/cluster`.
pub(crate) async fn view(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Response {
    let view = async {
        let Query(query) = query.map_err(|error| bad(error.body_text()))?;
        Ok(Json(config.control.cluster(query.freshness()?).await?))
    };
    answer.give(view.await)
}

/// `POST /v1/cluster/members/{name}/{op}`.
pub(crate) async fn change(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let change = async {
        let Path((name, op)) = path.map_err(|error| bad(error.body_text()))?;
        let op = match op.as_str() {
            "promote" => MemberOp::Promote,
            "remove" => MemberOp::Remove,
            "replace" => MemberOp::Replace,
            "drain" => MemberOp::Drain,
            "undrain" => MemberOp::Undrain,
            other => {
                let detail = format!("nothing is called {other}: expected promote, remove, replace, drain or undrain");
                return Err(Problem::new(Code::NotFound, detail).into());
            }
        };
        // A node that was just removed hears no more of the others.
        let hears = op != MemberOp::Remove || name != config.control.name();
        config
            .control
            .change_member(&name, op, caller.actor(config.control.name()))
            .await?;
        if !hears {
            return now(&config).await;
        }
        // This node may be an entry behind the leader that did it, and its answer shows what was asked for.
        match config.control.cluster(Freshness::Linearizable).await {
            Ok(view) => Ok(Json(view)),
            Err(_) => now(&config).await,
        }
    };
    answer.give(change.await)
}

/// `POST /v1/cluster/members/form`.
pub(crate) async fn form(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    body: Result<Json<FormBody>, JsonRejection>,
) -> Response {
    let form = async {
        let Json(body) = body.map_err(|error| bad(error.body_text()))?;
        config.control.form_only(&body.only).await?;
        now(&config).await
    };
    answer.give(form.await)
}

/// `POST /v1/cluster/transfer`.
pub(crate) async fn transfer(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let transfer = async {
        let body = body.map_err(|error| bad(error.body_text()))?;
        let TransferBody { to } = match body.is_empty() {
            true => TransferBody::default(),
            false => serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?,
        };
        config.control.transfer(to, caller.actor(config.control.name())).await?;
        now(&config).await
    };
    answer.give(transfer.await)
}

/// `POST /v1/cluster/upgrade/finalize`.
pub(crate) async fn finalize(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let finalize = async {
        config
            .control
            .finalize_upgrade(caller.actor(config.control.name()))
            .await?;
        Ok(Json(config.control.cluster(Freshness::Linearizable).await?))
    };
    answer.give(finalize.await)
}

/// `POST /v1/drain`: this node.
pub(crate) async fn drain(State(config): State<Config>, Extension(answer): Extension<Answer>) -> Response {
    config.control.set_draining(true);
    answer.give(now(&config).await)
}

/// `POST /v1/undrain`: this node.
pub(crate) async fn undrain(State(config): State<Config>, Extension(answer): Extension<Answer>) -> Response {
    config.control.set_draining(false);
    answer.give(now(&config).await)
}

async fn now(config: &Config) -> Result<Json<ClusterView>, Refused> {
    Ok(Json(config.control.cluster(Freshness::Local).await?))
}
