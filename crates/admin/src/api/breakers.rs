//! `/v1/breakers`: what the cluster decided of its upstreams, and what an operator says of them.

use crate::Config;
use crate::access::{Caller, MESSAGE_LIMIT};
use crate::problem::{Answer, Refused, bad};
use crate::query::override_for;
use axum::Extension;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{Json, Response};
use bytes::Bytes;
use serde::Deserialize;
use sluice_control::{BreakerAct, BreakerOrder};
use sluice_http_semantics::problem::{Code, Problem};
use std::time::Duration;

/// How a breaker is to be set.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderBody {
    why: Option<String>,
    #[serde(rename = "for")]
    lasting: Option<String>,
    route: Option<String>,
}

/// How long an override lasts where nothing else is said.
const LASTING: Duration = Duration::from_secs(600);

/// `GET /v1/breakers`.
pub(crate) async fn list(State(config): State<Config>) -> Json<sluice_control::BreakersView> {
    Json(config.control.breakers().await)
}

/// `POST /v1/breakers/{upstream}/{act}`.
pub(crate) async fn order(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let order = async {
        let Path((upstream, act)) = path.map_err(|error| bad(error.body_text()))?;
        let body = body.map_err(|error| bad(error.body_text()))?;
        let body: OrderBody = match body.is_empty() {
            true => OrderBody::default(),
            false => serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?,
        };
        let lasting = match &body.lasting {
            Some(text) => override_for(text)?,
            None => LASTING,
        };
        let act = match act.as_str() {
            "open" => BreakerAct::Open { lasting },
            "close" => BreakerAct::Close { lasting },
            "release" => BreakerAct::Release,
            other => {
                let detail = format!("nothing is called {other}: expected open, close or release");
                return Err(Problem::new(Code::NotFound, detail).into());
            }
        };
        let mut actor = caller.actor(config.control.name());
        if let Some(why) = &body.why {
            let why = why.chars().filter(|c| !c.is_control()).take(MESSAGE_LIMIT).collect();
            actor.why = Some(why);
        }
        if act != BreakerAct::Release && actor.why.as_ref().is_none_or(|why: &String| why.trim().is_empty()) {
            return Err(bad(
                "say why: {\"why\": \"...\"}, for whoever finds the breaker set by hand at night".to_owned(),
            ));
        }
        let route = body.route.as_deref().map(route).transpose()?;
        let order = BreakerOrder {
            upstream,
            route,
            act,
            actor,
        };
        Ok(Json(config.control.order_breaker(order).await?))
    };
    answer.give(order.await)
}

/// A gateway and the id of one of its routes.
fn route(text: &str) -> Result<(String, String), Refused> {
    match text.split_once('/') {
        Some((gateway, id)) if !gateway.is_empty() && !id.is_empty() && !id.contains('/') => {
            Ok((gateway.to_owned(), id.to_owned()))
        }
        _ => Err(bad(format!(
            "route {text:?}: expected the gateway's name and the route's id, as web/checkout"
        ))),
    }
}
