//! What the cluster has: a version of its document, by part.

use crate::client::{Call, Client, Failure};
use http::header;
use serde_json::{Value, json};
use sluice_document::{Change, ChangeKind, Format, PartKey, split};
use std::collections::BTreeMap;

/// A version of the cluster's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) version: u64,
    pub(crate) parts: BTreeMap<PartKey, String>,
}

/// Fetches a version; `None` is the newest of the cluster, or where that cannot be known now, of the node that answers.
///
/// A node that lags by a moment would otherwise have a change made for a version that is past.
pub(crate) async fn present(client: &Client, version: Option<u64>) -> Result<Present, Failure> {
    let get = |target: String| client.call(Call::get(target).header(header::ACCEPT, Format::Json.media_type()));
    let answer = match version {
        Some(version) => get(format!("/v1/config?version={version}")).await?,
        None => match get("/v1/config?read=linearizable".to_owned()).await {
            Err(failure) if matches!(failure.code(), "no_leader" | "no_majority") => {
                get("/v1/config".to_owned()).await?
            }
            answer => answer?,
        },
    };
    let found = answer.version()?;
    // A new cluster has nothing, which is no document.
    let empty = answer
        .json::<Value>()?
        .as_object()
        .is_some_and(serde_json::Map::is_empty);
    if found == 0 || empty {
        return Ok(Present {
            version: found,
            parts: BTreeMap::new(),
        });
    }
    match sluice_document::parse(&answer.text(), Format::Json, None) {
        Ok(parsed) => Ok(Present {
            version: found,
            parts: split(&parsed.document),
        }),
        Err(errors) => Err(Failure::Newer {
            what: errors.first().map(ToString::to_string).unwrap_or_default(),
        }),
    }
}

/// What there is, with this part of it, and what lies under it, as it is wanted. Without a scope: what is wanted.
pub(crate) fn within(
    scope: Option<&str>,
    present: &BTreeMap<PartKey, String>,
    wanted: BTreeMap<PartKey, String>,
) -> BTreeMap<PartKey, String> {
    let Some(scope) = scope else { return wanted };
    let in_scope = |key: &PartKey| {
        let key = key.to_string();
        let rest = key.strip_prefix(scope);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let kept = present.iter().filter(|(key, _)| !in_scope(key));
    let kept = kept.map(|(key, text)| (key.clone(), text.clone()));
    kept.chain(wanted.into_iter().filter(|(key, _)| in_scope(key)))
        .collect()
}

/// The changes as values, for programs.
pub(crate) fn as_json(changes: &[Change]) -> Value {
    let part = |text: &Option<String>| {
        text.as_deref()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_default())
    };
    let changes = changes.iter().map(|change| {
        json!({
            "part": change.key.to_string(),
            "kind": change.kind,
            "before": part(&change.before),
            "after": part(&change.after),
        })
    });
    changes.collect()
}

/// The parts that would be gone.
pub(crate) fn removed(changes: &[Change]) -> Vec<String> {
    let removed = changes.iter().filter(|change| change.kind == ChangeKind::Removed);
    removed.map(|change| change.key.to_string()).collect()
}
