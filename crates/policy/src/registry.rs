//! The one list of what may stand in a route and change or answer its requests.

use crate::fault::Fault;
use crate::{Redirect, Respond, Rewrite, Split, headers, query};
use sluice_document::declared::{Action, Route};
use sluice_expression::Scope;
use sluice_http_semantics::pattern::Pattern;

/// When a policy acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// On which upstream the request goes to.
    Choice,
    /// On the request, before it goes to the upstream.
    Request,
    /// In place of an upstream.
    Answer,
    /// On the upstream's answer, before it goes to the client.
    Response,
}

/// One kind of policy.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The name of its module.
    pub name: &'static str,
    /// When it acts.
    pub phase: Phase,
    /// Where it is declared, within a route.
    pub field: &'static str,
    compile: fn(&Route, &Scope, &mut Policies, &mut Vec<Fault>),
}

/// All policies of a route, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// `rewrite`.
    pub rewrite: Option<Rewrite>,
    /// `request.query`, done after `rewrite`.
    pub request_query: Option<query::Transform>,
    /// `request.headers`.
    pub request_headers: Option<headers::Transform>,
    /// `response.headers`.
    pub response_headers: Option<headers::Transform>,
    /// `redirect`.
    pub redirect: Option<Redirect>,
    /// `respond`.
    pub respond: Option<Respond>,
    /// `split`.
    pub split: Option<Split>,
}

/// Every kind, sorted by name and field.
pub const KINDS: [Kind; 7] = [
    Kind {
        name: "headers",
        phase: Phase::Request,
        field: "request.headers",
        compile: |route, scope, policies, faults| {
            policies.request_headers =
                headers::Transform::compile(&route.request.headers, "request.headers", scope, faults);
        },
    },
    Kind {
        name: "headers",
        phase: Phase::Response,
        field: "response.headers",
        compile: |route, scope, policies, faults| {
            policies.response_headers =
                headers::Transform::compile(&route.response.headers, "response.headers", scope, faults);
        },
    },
    Kind {
        name: "query",
        phase: Phase::Request,
        field: "request.query",
        compile: |route, scope, policies, faults| {
            policies.request_query = query::Transform::compile(&route.request.query, "request.query", scope, faults);
        },
    },
    Kind {
        name: "redirect",
        phase: Phase::Answer,
        field: "redirect",
        compile: |route, scope, policies, faults| {
            if let Action::Redirect(redirect) = &route.action {
                policies.redirect = Redirect::compile(redirect, scope, faults);
            }
        },
    },
    Kind {
        name: "respond",
        phase: Phase::Answer,
        field: "respond",
        compile: |route, scope, policies, faults| {
            if let Action::Respond(respond) = &route.action {
                policies.respond = Respond::compile(respond, "respond", scope, faults);
            }
        },
    },
    Kind {
        name: "rewrite",
        phase: Phase::Request,
        field: "rewrite",
        compile: |route, scope, policies, faults| {
            if let Some(rewrite) = &route.rewrite {
                policies.rewrite = Rewrite::compile(rewrite, scope, faults);
            }
        },
    },
    Kind {
        name: "split",
        phase: Phase::Choice,
        field: "split",
        compile: |route, scope, policies, faults| {
            if let Action::Split(split) = &route.action {
                policies.split = Split::compile(split, "split", scope, faults);
            }
        },
    },
];

// === impl Policies ===

impl Policies {
    /// Compiles all policies of a route.
    ///
    /// # Errors
    ///
    /// Every fault of all of them.
    pub fn compile(route: &Route, scope: &Scope) -> Result<Self, Vec<Fault>> {
        let mut policies = Self::default();
        let mut faults = Vec::new();
        for kind in &KINDS {
            (kind.compile)(route, scope, &mut policies, &mut faults);
        }
        if faults.is_empty() { Ok(policies) } else { Err(faults) }
    }
}

/// The parameters that expressions of a route may name: those that each of its paths has.
pub fn scope_of<'p>(paths: impl IntoIterator<Item = &'p Pattern>) -> Scope {
    let mut paths = paths.into_iter();
    let Some(first) = paths.next() else {
        return Scope::default();
    };
    let mut params: Vec<String> = first.params().map(str::to_owned).collect();
    for path in paths {
        params.retain(|name| path.params().any(|other| other == name));
    }
    Scope { params }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sluice_document::declared::{self, HeaderChanges, Match, MessageChanges};

    fn changes(value: &str) -> MessageChanges {
        let changes = HeaderChanges {
            set: [("x-a".to_owned(), value.to_owned())].into(),
            ..HeaderChanges::default()
        };
        MessageChanges {
            headers: changes.clone(),
            query: changes,
        }
    }

    fn route(value: &str, action: Action) -> Route {
        Route {
            id: "r".to_owned(),
            paths: vec!["/a/{id}".to_owned()],
            methods: vec![],
            hosts: vec![],
            matches: Match::default(),
            priority: None,
            action,
            rewrite: Some(declared::Rewrite::Path(format!("/{value}"))),
            request: changes(value),
            response: MessageChanges {
                query: HeaderChanges::default(),
                ..changes(value)
            },
            timeout: None,
            retry: None,
            breaker: None,
            max_body: None,
            encoded_slash: None,
            upgrade: None,
        }
    }

    #[test]
    fn kinds_are_sorted_and_each_field_is_listed_once() {
        let keys: Vec<_> = KINDS.iter().map(|kind| (kind.name, kind.field)).collect();
        assert!(keys.is_sorted());
        let mut fields: Vec<_> = KINDS.iter().map(|kind| kind.field).collect();
        fields.sort_unstable();
        fields.dedup();
        assert_eq!(fields.len(), KINDS.len());
    }

    #[test]
    fn every_kind_compiles_and_tells_its_faults_under_its_field() {
        let redirect = |value: &str| {
            Action::Redirect(declared::Redirect {
                to: format!("/{value}"),
                status: None,
            })
        };
        let respond = |value: &str| {
            Action::Respond(declared::Respond {
                payload: Some(declared::Payload::Text(value.to_owned())),
                ..declared::Respond::default()
            })
        };
        let scope = Scope::with_params(["id"]);
        for action in [redirect, respond] as [fn(&str) -> Action; 2] {
            let good = Policies::compile(&route("${params.id}", action("${params.id}")), &scope).unwrap();
            assert!(good.rewrite.is_some() && good.request_query.is_some());
            assert!(good.request_headers.is_some() && good.response_headers.is_some());
            assert!(good.redirect.is_some() != good.respond.is_some());
            let faults = Policies::compile(&route("${nope}", action("${nope}")), &scope).unwrap_err();
            assert_eq!(faults.len(), 5);
            for fault in faults {
                assert!(KINDS.iter().any(|kind| fault.field.starts_with(kind.field)), "{fault}");
            }
        }
    }

    #[test]
    fn a_scope_has_what_all_paths_have() {
        let pattern = |text: &str| Pattern::parse(text).unwrap();
        let scope = |paths: &[&str]| scope_of(&paths.iter().map(|path| pattern(path)).collect::<Vec<_>>()).params;
        assert_eq!(scope(&["/a/{id}/{x}", "/b/{x}/**"]), ["x"]);
        assert_eq!(scope(&["/a/{id}/**"]), ["id", "rest"]);
        assert_eq!(scope(&["/a/{id}", "regex:^/b"]), Vec::<String>::new());
        assert_eq!(scope(&[]), Vec::<String>::new());
    }
}
