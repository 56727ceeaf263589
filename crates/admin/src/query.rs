//! Queries, fields and media types, taken apart.

use crate::problem::{Refused, bad};
use http::{HeaderMap, header};
use serde::Deserialize;
use sluice_control::{
    Actor, Freshness, LONGEST_OVERRIDE, LONGEST_TRIAL, SHORTEST_OVERRIDE, SHORTEST_TRIAL, TrialOp, TrialOrder,
    TrialRequest, Wait,
};
use sluice_document::Format;
use sluice_http_semantics::problem::{Code, Problem};
use std::time::Duration;

/// How a change is to be made. A flag may stand alone: `?dry_run`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeQuery {
    dry_run: Option<String>,
    force: Option<String>,
    wait: Option<Wait>,
    timeout: Option<String>,
    pub(crate) scope: Option<String>,
    confirm_within: Option<String>,
    on: Option<String>,
}

/// How a version on trial is to be confirmed or promoted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialQuery {
    pub(crate) version: Option<u64>,
    force: Option<String>,
    wait: Option<Wait>,
    timeout: Option<String>,
}

/// Which configuration is to be read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadQuery {
    pub(crate) version: Option<u64>,
    read: Option<String>,
}

/// Which part of the history.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    pub(crate) limit: Option<usize>,
    pub(crate) before: Option<u64>,
    since: Option<String>,
}

/// How long a change waits where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(5);

/// No answer is waited for longer.
const LONGEST: Duration = Duration::from_secs(600);

// === impl ChangeQuery ===

impl ChangeQuery {
    pub(crate) fn dry_run(&self) -> Result<bool, Refused> {
        flag("dry_run", self.dry_run.as_deref())
    }

    pub(crate) fn force(&self) -> Result<bool, Refused> {
        flag("force", self.force.as_deref())
    }

    pub(crate) fn wait(&self) -> Wait {
        self.wait.unwrap_or_default()
    }

    pub(crate) fn timeout(&self) -> Result<Duration, Refused> {
        timeout(self.timeout.as_deref())
    }

    pub(crate) fn trial(&self) -> Result<TrialRequest, Refused> {
        Ok(TrialRequest {
            on: self.on.as_deref().map(names).transpose()?,
            confirm_within: self.confirm_within.as_deref().map(confirm_within).transpose()?,
        })
    }
}

// === impl TrialQuery ===

impl TrialQuery {
    pub(crate) fn order(&self, op: TrialOp, actor: Actor) -> Result<TrialOrder, Refused> {
        Ok(TrialOrder {
            op,
            force: flag("force", self.force.as_deref())?,
            wait: self.wait.unwrap_or_default(),
            timeout: timeout(self.timeout.as_deref())?,
            actor,
        })
    }
}

// === impl HistoryQuery ===

impl HistoryQuery {
    pub(crate) fn since(&self) -> Result<Option<Duration>, Refused> {
        let Some(text) = &self.since else { return Ok(None) };
        let since =
            duration(text).ok_or_else(|| bad(format!("since={text}: expected how long ago, such as 30m or 1h")));
        since.map(Some)
    }
}

// === impl ReadQuery ===

impl ReadQuery {
    pub(crate) fn freshness(&self) -> Result<Freshness, Refused> {
        match self.read.as_deref() {
            None | Some("local") => Ok(Freshness::Local),
            Some("linearizable") => Ok(Freshness::Linearizable),
            Some(other) => Err(bad(format!("read={other}: expected linearizable or local"))),
        }
    }
}

/// `If-Match: "N"`, or `*`, which any version satisfies.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let number = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| {
        bad(format!(
            "If-Match: {text}: expected one version in quotes, such as \"7\", as ETag has it"
        ))
    })
}

/// `If-None-Match: *`: the part must not exist.
pub(crate) fn must_be_new(headers: &HeaderMap) -> bool {
    headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes().trim_ascii() == b"*")
}

/// The key that makes a repetition harmless.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= 256 => Ok(Some(key.to_owned())),
        _ => Err(bad("Idempotency-Key: expected 1 to 256 visible characters".to_owned())),
    }
}

/// In which format a body is. Without a word it is YAML, which JSON is as well.
pub(crate) fn format_of(headers: &HeaderMap) -> Result<Format, Refused> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Format::Yaml);
    };
    let text = value.to_str().unwrap_or_default();
    Format::from_media_type(text).ok_or_else(|| {
        let detail = format!("Content-Type: {text}: expected application/yaml, application/json or application/toml");
        Problem::new(Code::UnsupportedMediaType, detail).into()
    })
}

/// In which format an answer is wanted: the first of the list that is known, else JSON.
pub(crate) fn wanted(headers: &HeaderMap) -> Format {
    let text = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(',')
        .find_map(|one| Format::from_media_type(one.trim()))
        .unwrap_or(Format::Json)
}

fn flag(name: &str, value: Option<&str>) -> Result<bool, Refused> {
    match value {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => Err(bad(format!("{name}={other}: expected true, false or nothing"))),
    }
}

fn timeout(text: Option<&str>) -> Result<Duration, Refused> {
    let Some(text) = text else { return Ok(TIMEOUT) };
    let duration =
        duration(text).ok_or_else(|| bad(format!("timeout={text}: expected a duration such as 500ms, 5s or 1m")))?;
    Ok(duration.min(LONGEST))
}

fn confirm_within(text: &str) -> Result<Duration, Refused> {
    let within = duration(text).filter(|within| (SHORTEST_TRIAL..=LONGEST_TRIAL).contains(within));
    within.ok_or_else(|| {
        bad(format!(
            "confirm_within={text}: expected a duration of 1s to 24h, such as 10m"
        ))
    })
}

/// How long a breaker is to stay as it is set.
pub(crate) fn override_for(text: &str) -> Result<Duration, Refused> {
    let lasting = duration(text).filter(|lasting| (SHORTEST_OVERRIDE..=LONGEST_OVERRIDE).contains(lasting));
    lasting.ok_or_else(|| {
        bad(format!(
            "for {text:?}: expected a duration of 1s to 168h, such as 10m; what is to hold for good belongs into the document"
        ))
    })
}

fn names(text: &str) -> Result<Vec<String>, Refused> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().any(String::is_empty) {
        true => Err(bad(format!(
            "on={text}: expected names of nodes with commas between, such as n1,n2"
        ))),
        false => Ok(names),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn if_match_is_one_version_in_quotes() {
        assert_eq!(if_match(&headers("if-match", "\"17\"")).unwrap(), Some(17));
        assert_eq!(if_match(&headers("if-match", "*")).unwrap(), None);
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        for bad in ["17", "W/\"17\"", "\"x\"", "\"1\", \"2\"", "\"-1\""] {
            assert!(if_match(&headers("if-match", bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        for bad in ["", "5", "s", "-1s", "5y", "99999999999999999999s", "1.5s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn media_types_with_parameters_are_known() {
        assert_eq!(
            format_of(&headers("content-type", "Application/JSON; charset=utf-8")).unwrap(),
            Format::Json
        );
        assert!(format_of(&headers("content-type", "text/html")).is_err());
        assert_eq!(
            wanted(&headers("accept", "text/html, application/toml;q=0.9")),
            Format::Toml
        );
        assert_eq!(wanted(&headers("accept", "*/*")), Format::Json);
    }

    #[test]
    fn a_trial_has_its_bounds() {
        assert_eq!(confirm_within("1s").unwrap(), Duration::from_secs(1));
        assert_eq!(confirm_within("24h").unwrap(), Duration::from_secs(86_400));
        for bad in ["999ms", "0s", "25h", "10", ""] {
            assert!(confirm_within(bad).is_err(), "{bad}");
        }
        assert_eq!(names("n1, n2").unwrap(), ["n1", "n2"]);
        for bad in ["", ",", "n1,", "n1,,n2"] {
            assert!(names(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_breaker_is_set_for_a_second_to_a_week() {
        assert_eq!(override_for("10m").unwrap(), Duration::from_secs(600));
        assert_eq!(override_for("168h").unwrap(), LONGEST_OVERRIDE);
        for bad in ["0s", "999ms", "169h", "10", "for ever", ""] {
            assert!(override_for(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flag_may_stand_alone() {
        assert!(flag("dry_run", Some("")).unwrap());
        assert!(!flag("dry_run", None).unwrap());
        assert!(flag("dry_run", Some("maybe")).is_err());
    }
}
