//! `/v1/config`: the document, whole and by part.

use crate::Config;
use crate::access::Caller;
use crate::problem::{Answer, Refused, bad};
use crate::query::{
    ChangeQuery, HistoryQuery, ReadQuery, TrialQuery, format_of, idempotency_key, if_match, must_be_new, wanted,
};
use axum::Extension;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use sluice_control::{ChangeReply, ChangeRequest, Refusal, Target, TrialOp};
use sluice_document::{Format, PartKey, encode_part, join, parse, parse_part, print, print_part, split};
use sluice_http_semantics::problem::{Code, Problem};

/// `GET /v1/config`.
pub(crate) async fn read(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    query: Result<Query<ReadQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let read = async {
        let Query(query) = query.map_err(|error| bad(error.body_text()))?;
        let reading = config.control.read(query.version, query.freshness()?).await?;
        let document = join(reading.parts.iter().map(|(key, text)| (key, text.as_str()))).map_err(internal)?;
        let format = wanted(&headers);
        let text = print(&document, format).map_err(internal)?;
        Ok(typed(text, format, reading.version))
    };
    answer.give(read.await)
}

/// `PUT /v1/config`.
pub(crate) async fn write(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<ChangeQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let write = async {
        let query = taken(query)?;
        let text = text(body)?;
        let format = format_of(&headers)?;
        let scope = query.scope.clone();
        if let Some(scope) = &scope
            && scope.parse::<PartKey>().is_err()
        {
            return Err(bad(format!(
                "scope={scope}: expected a part such as gateways/web or upstreams/orders"
            )));
        }
        let target = on_a_thread(move || {
            let parsed = parse(&text, format, None).map_err(|errors| Refusal::Invalid { errors })?;
            let parts = split(&parsed.document)
                .into_iter()
                .map(|(key, text)| (key.to_string(), text))
                .collect();
            Ok(Target::Whole {
                parts,
                scope,
                original: Some(text),
            })
        })
        .await?;
        let mut request = request(&config, &caller, &query, &headers, target)?;
        request.if_version = if_match(&headers)?;
        change(&config, request).await
    };
    answer.give(write.await)
}

/// `GET /v1/config/upstreams/{name}`, `/gateways/{name}`, `/gateways/{name}/routes/{id}`.
pub(crate) async fn read_part(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let read = async {
        let key = key(path)?;
        let Query(query) = query.map_err(|error| bad(error.body_text()))?;
        if query.version.is_some() {
            return Err(bad(
                "version: an earlier version is read whole, at /v1/config?version=N".to_owned(),
            ));
        }
        let part = config.control.read_part(&key, query.freshness()?).await?;
        let format = wanted(&headers);
        let parts = part.parts.iter().map(|(key, text)| (key, text.as_str()));
        let text = print_part(&key, parts, format).map_err(internal)?;
        Ok(typed(text, format, part.version))
    };
    answer.give(read.await)
}

/// `PUT` of a part.
pub(crate) async fn write_part(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ChangeQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let write = async {
        let (key, query, text) = (key(path)?, part_query(query)?, text(body)?);
        let format = format_of(&headers)?;
        let if_part_version = if must_be_new(&headers) {
            Some(0)
        } else {
            if_match(&headers)?
        };
        let target = on_a_thread(move || {
            let parts = parse_part(&key, &text, format).map_err(|errors| Refusal::Invalid { errors })?;
            let parts = parts
                .iter()
                .map(|(key, part)| (key.to_string(), encode_part(part)))
                .collect();
            Ok(Target::Part {
                key: key.to_string(),
                parts,
                if_part_version,
            })
        })
        .await?;
        change(&config, request(&config, &caller, &query, &headers, target)?).await
    };
    answer.give(write.await)
}

/// `DELETE` of a part.
pub(crate) async fn delete_part(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ChangeQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let delete = async {
        let (key, query) = (key(path)?, part_query(query)?);
        let target = Target::Delete {
            key: key.to_string(),
            if_part_version: if_match(&headers)?,
        };
        change(&config, request(&config, &caller, &query, &headers, target)?).await
    };
    answer.give(delete.await)
}

/// `GET /v1/config/history`.
pub(crate) async fn history(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Response {
    let list = query.map_err(|error| bad(error.body_text())).map(|Query(query)| {
        let since = query.since()?;
        let limit = query.limit.unwrap_or(if since.is_some() { 1000 } else { 50 }).min(1000);
        let versions = config.control.history(query.before, since, limit);
        Ok(Json(json!({ "versions": versions })))
    });
    answer.give(list.flatten())
}

/// `GET /v1/config/original`: the text that was applied last.
pub(crate) async fn original(State(config): State<Config>, Extension(answer): Extension<Answer>) -> Response {
    let text = config
        .control
        .original()
        .ok_or_else(|| Refused::from(Problem::new(Code::NotFound, "no whole document was applied yet")));
    answer.give(text.map(|text| ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.to_string())))
}

/// `POST /v1/config/rollback/{version}`.
pub(crate) async fn rollback(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    version: Result<Path<u64>, PathRejection>,
    query: Result<Query<ChangeQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let roll = async {
        let Path(version) = version.map_err(|error| bad(error.body_text()))?;
        let query = part_query(query)?;
        let mut request = request(&config, &caller, &query, &headers, Target::Rollback { version })?;
        request.if_version = if_match(&headers)?;
        change(&config, request).await
    };
    answer.give(roll.await)
}

fn request(
    config: &Config,
    caller: &Caller,
    query: &ChangeQuery,
    headers: &HeaderMap,
    target: Target,
) -> Result<ChangeRequest, Refused> {
    Ok(ChangeRequest {
        target,
        if_version: None,
        dry_run: query.dry_run()?,
        force: query.force()?,
        wait: query.wait(),
        timeout: query.timeout()?,
        idempotency_key: idempotency_key(headers)?,
        actor: caller.actor(config.control.name()),
        trial: query.trial()?,
    })
}

/// `POST /v1/config/confirm`: the version on trial is not undone any more.
pub(crate) async fn confirm(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<TrialQuery>, QueryRejection>,
) -> Response {
    let confirm = async {
        let Query(query) = query.map_err(|error| bad(error.body_text()))?;
        let op = TrialOp::Confirm { version: query.version };
        let order = query.order(op, caller.actor(config.control.name()))?;
        Ok::<_, Refused>(written(config.control.trial(order).await?))
    };
    answer.give(confirm.await)
}

/// `POST /v1/config/promote/{version}`: the version on trial is live on all nodes.
pub(crate) async fn promote(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    Extension(caller): Extension<Caller>,
    version: Result<Path<u64>, PathRejection>,
    query: Result<Query<TrialQuery>, QueryRejection>,
) -> Response {
    let promote = async {
        let Path(version) = version.map_err(|error| bad(error.body_text()))?;
        let Query(query) = query.map_err(|error| bad(error.body_text()))?;
        if query.version.is_some() {
            return Err(bad("version stands in the path".to_owned()));
        }
        let op = TrialOp::Promote { version };
        let order = query.order(op, caller.actor(config.control.name()))?;
        Ok(written(config.control.trial(order).await?))
    };
    answer.give(promote.await)
}

async fn change(config: &Config, request: ChangeRequest) -> Result<Response, Refused> {
    Ok(written(config.control.change(request).await?))
}

fn written(reply: ChangeReply) -> Response {
    let tag = etag(reply.version);
    (StatusCode::OK, [(header::ETAG, tag)], Json(reply)).into_response()
}

fn taken(query: Result<Query<ChangeQuery>, QueryRejection>) -> Result<ChangeQuery, Refused> {
    query.map(|Query(query)| query).map_err(|error| bad(error.body_text()))
}

fn part_query(query: Result<Query<ChangeQuery>, QueryRejection>) -> Result<ChangeQuery, Refused> {
    let query = taken(query)?;
    match query.scope {
        Some(_) => Err(bad("scope belongs to PUT /v1/config".to_owned())),
        None => Ok(query),
    }
}

fn key(path: Result<Path<String>, PathRejection>) -> Result<PartKey, Refused> {
    let Path(path) = path.map_err(|error| bad(error.body_text()))?;
    path.parse().map_err(|_| {
        let detail = format!(
            "there is no /v1/config/{path}: expected upstreams/NAME, gateways/NAME, gateways/NAME/routes/ID, cluster or telemetry"
        );
        Problem::new(Code::NotFound, detail).into()
    })
}

fn text(body: Result<Bytes, BytesRejection>) -> Result<String, Refused> {
    let bytes = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refused::from(Problem::new(Code::BodyTooLarge, "a document has at most 64 MiB"))
        }
        _ => bad(error.body_text()),
    })?;
    String::from_utf8(bytes.into()).map_err(|error| bad(format!("the body is not UTF-8: {error}")))
}

/// Parsing a large document takes a moment that other requests shall not wait for.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Refused::from),
        Err(error) => Err(internal(error)),
    }
}

fn typed(text: String, format: Format, version: u64) -> Response {
    let kind = HeaderValue::from_static(format.media_type());
    ([(header::CONTENT_TYPE, kind), (header::ETAG, etag(version))], text).into_response()
}

fn etag(version: u64) -> HeaderValue {
    // Digits in quotes are a legal value of a field.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

fn internal(error: impl std::fmt::Display) -> Refused {
    Refusal::Internal { why: error.to_string() }.into()
}
