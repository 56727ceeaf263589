//! Why a call failed, for people and for scripts.

use super::Endpoint;
use crate::exit::Exit;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_document::Diagnostic;
use std::time::Duration;

/// Why a call failed. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command was used wrongly.
    #[error("{0}")]
    Usage(String),
    /// No connection; nothing was sent.
    #[error("cannot reach the admin API at {endpoint}: {why}. {}", hint(endpoint))]
    Unreachable { endpoint: Endpoint, why: String },
    /// The connection broke after the request was sent.
    #[error("the connection to {endpoint} broke before the answer came: {why}")]
    Broken { endpoint: Endpoint, why: String },
    /// No answer in time.
    #[error("{endpoint} did not answer within {} s", time.as_secs())]
    Late { endpoint: Endpoint, time: Duration },
    /// Somewhere else is meant to know; tokens are not carried there.
    #[error("{endpoint} says that it is at {to}: give that URL by --admin, if you trust it")]
    Redirected { endpoint: Endpoint, to: String },
    /// An answer that no admin API gives.
    #[error("what answers at {endpoint} is not Sluice's admin API ({why}): check the address and the port")]
    Strange { endpoint: Endpoint, why: String },
    /// A document that this binary is too old for.
    #[error(
        "the cluster's document says what this command does not know: {what}. Use the `sluice` of the cluster's nodes"
    )]
    Newer { what: String },
    /// A change that may have been made.
    #[error("{0}. Nobody knows whether it was done: look with `sluice status` and `sluice history`")]
    Unknown(Box<Failure>),
    /// The admin API said no.
    #[error("{0}")]
    Problem(Box<Problem>),
}

/// A problem of the admin API.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Problem {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) request_id: Option<String>,
    #[serde(default)]
    pub(crate) errors: Vec<Diagnostic>,
    /// All of it, as it came.
    #[serde(skip)]
    pub(crate) whole: Value,
}

fn hint(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Socket(_) => "Is --data the data folder of a node that runs on this machine, and are you its owner?",
        Endpoint::Http { .. } => {
            "Does a node run there? Another is chosen by --admin URL or SLUICE_ADMIN, a node of this machine by --data DIR"
        }
    }
}

impl Failure {
    /// What the answer says, if it is one of the admin API's problems.
    pub(crate) fn of_answer(endpoint: &Endpoint, status: StatusCode, body: &[u8]) -> Self {
        let whole: Option<Value> = serde_json::from_slice(body).ok();
        let problem = whole.and_then(|whole| {
            let mut problem: Problem = serde_json::from_value(whole.clone()).ok()?;
            problem.whole = whole;
            for error in &mut problem.errors {
                // Lines count from 1; whoever says 0 knows none.
                error.line = error.line.filter(|line| *line > 0);
                error.column = error.column.filter(|column| *column > 0);
            }
            Some(problem)
        });
        match problem {
            Some(problem) => Self::Problem(Box::new(problem)),
            None => Self::Strange {
                endpoint: endpoint.clone(),
                why: format!("it answered {status}"),
            },
        }
    }

    /// The code of the problem; empty where it is none.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Problem(problem) => &problem.code,
            _ => "",
        }
    }

    /// Whether a change may have been done all the same.
    pub(crate) fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Late { .. }) || self.code() == "outcome_unknown"
    }

    /// The exit code of a command that ends by it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Newer { .. } => Exit::Refused,
            Self::Unknown(_) => Exit::NotEverywhere,
            Self::Problem(problem) => match problem.code.as_str() {
                "no_leader" | "no_majority" => Exit::Unreachable,
                "version_conflict" | "pending_change" | "idempotency_reuse" => Exit::Conflict,
                "outcome_unknown" => Exit::NotEverywhere,
                _ => Exit::Refused,
            },
            _ => Exit::Unreachable,
        }
    }

    /// For `--json`: a problem as it came, anything else in the same shape.
    pub(crate) fn object(&self) -> Value {
        let code = match self {
            Self::Problem(problem) => return problem.whole.clone(),
            Self::Usage(_) => "usage",
            Self::Newer { .. } => "newer_document",
            Self::Unknown(_) => "outcome_unknown",
            Self::Unreachable { .. } => "unreachable",
            Self::Broken { .. } | Self::Late { .. } => "no_answer",
            Self::Redirected { .. } => "redirected",
            Self::Strange { .. } => "not_sluice",
        };
        json!({"code": code, "detail": self.to_string()})
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let title = if self.title.is_empty() { &self.code } else { &self.title };
        match self.detail.as_str() {
            "" => write!(f, "{title}")?,
            detail => write!(f, "{detail}")?,
        }
        let advice = match self.code.as_str() {
            "unauthenticated" => {
                "set SLUICE_ADMIN_TOKEN to a token of this cluster, or use --data DIR on the node's machine"
            }
            "forbidden" => "the token may only look; use one of the role admin",
            "no_majority" => "`sluice status` shows which nodes are missing",
            "version_conflict" => {
                "somebody changed it meanwhile; look with `sluice diff` and `sluice history`, then apply again"
            }
            "version_pruned" => "`sluice history` shows the versions that are kept",
            "limit_store" => "`sluice status` shows which nodes reach it",
            "outcome_unknown" => "`sluice history` shows whether it was done",
            _ => "",
        };
        if !advice.is_empty() {
            write!(f, " ({advice})")?;
        }
        match &self.request_id {
            Some(id) if self.status >= 500 => write!(f, " [request {id}]"),
            _ => Ok(()),
        }
    }
}
