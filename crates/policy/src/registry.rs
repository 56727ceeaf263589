//! The one list of what may stand in a route and change or answer its requests.

use crate::fault::Fault;
use crate::limits::{Around, names_twice};
use crate::{Limit, Redirect, Respond, Rewrite, Split, concurrency, headers, query, rate_limits};
use sluice_document::declared::{Action, Gateway, Route};
use sluice_expression::Scope;
use sluice_http_semantics::pattern::Pattern;
use sluice_shared_state::Scope as CountedOver;
use std::sync::Arc;

/// When a policy acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// On whether the request goes on at all.
    Admission,
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
    compile: fn(&Route, &Context<'_>, &mut Policies, &mut Vec<Fault>),
}

/// What a route's policies are compiled with.
#[derive(Debug, Clone)]
pub struct Context<'c> {
    /// What expressions may name.
    pub scope: Scope,
    /// The name of the route's gateway.
    pub gateway: &'c Arc<str>,
    /// The version of the configuration.
    pub version: u64,
    /// Seconds since the Unix epoch, by which the offsets of zones are known.
    pub now: i64,
}

/// All policies of a route, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// `rate_limits`, then `concurrency`; the gateway's are apart.
    pub limits: Vec<Limit>,
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
pub const KINDS: [Kind; 9] = [
    Kind {
        name: "concurrency",
        phase: Phase::Admission,
        field: "concurrency",
        compile: |route, context, policies, faults| {
            let around = context.around(route);
            let limits = concurrency::compile(&route.concurrency, "concurrency", &around, faults);
            policies.limits.extend(limits);
        },
    },
    Kind {
        name: "headers",
        phase: Phase::Request,
        field: "request.headers",
        compile: |route, context, policies, faults| {
            policies.request_headers =
                headers::Transform::compile(&route.request.headers, "request.headers", &context.scope, faults);
        },
    },
    Kind {
        name: "headers",
        phase: Phase::Response,
        field: "response.headers",
        compile: |route, context, policies, faults| {
            policies.response_headers =
                headers::Transform::compile(&route.response.headers, "response.headers", &context.scope, faults);
        },
    },
    Kind {
        name: "query",
        phase: Phase::Request,
        field: "request.query",
        compile: |route, context, policies, faults| {
            policies.request_query =
                query::Transform::compile(&route.request.query, "request.query", &context.scope, faults);
        },
    },
    Kind {
        name: "rate_limits",
        phase: Phase::Admission,
        field: "rate_limits",
        compile: |route, context, policies, faults| {
            let around = context.around(route);
            let mut limits = rate_limits::compile(&route.rate_limits, "rate_limits", &around, context.now, faults);
            limits.append(&mut policies.limits);
            names_twice(&limits, "rate_limits", faults);
            policies.limits = limits;
        },
    },
    Kind {
        name: "redirect",
        phase: Phase::Answer,
        field: "redirect",
        compile: |route, context, policies, faults| {
            if let Action::Redirect(redirect) = &route.action {
                policies.redirect = Redirect::compile(redirect, &context.scope, faults);
            }
        },
    },
    Kind {
        name: "respond",
        phase: Phase::Answer,
        field: "respond",
        compile: |route, context, policies, faults| {
            if let Action::Respond(respond) = &route.action {
                policies.respond = Respond::compile(respond, "respond", &context.scope, faults);
            }
        },
    },
    Kind {
        name: "rewrite",
        phase: Phase::Request,
        field: "rewrite",
        compile: |route, context, policies, faults| {
            if let Some(rewrite) = &route.rewrite {
                policies.rewrite = Rewrite::compile(rewrite, &context.scope, faults);
            }
        },
    },
    Kind {
        name: "split",
        phase: Phase::Choice,
        field: "split",
        compile: |route, context, policies, faults| {
            if let Action::Split(split) = &route.action {
                policies.split = Split::compile(split, "split", &context.scope, faults);
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
    pub fn compile(route: &Route, context: &Context<'_>) -> Result<Self, Vec<Fault>> {
        let mut policies = Self::default();
        let mut faults = Vec::new();
        for kind in &KINDS {
            (kind.compile)(route, context, &mut policies, &mut faults);
        }
        if faults.is_empty() { Ok(policies) } else { Err(faults) }
    }
}

/// Compiles the limits of a gateway, which its routes have in common. Their keys can name no parameter of a path.
///
/// # Errors
///
/// Every fault of all of them.
pub fn limits_of_gateway(gateway: &Gateway, name: &Arc<str>, version: u64, now: i64) -> Result<Vec<Limit>, Vec<Fault>> {
    let around = Around {
        over: CountedOver::Gateway(Arc::clone(name)),
        scope: &Scope::default(),
        version,
    };
    let mut faults = Vec::new();
    let mut limits = rate_limits::compile(&gateway.rate_limits, "rate_limits", &around, now, &mut faults);
    let in_flight = concurrency::compile(&gateway.concurrency, "concurrency", &around, &mut faults);
    limits.extend(in_flight);
    names_twice(&limits, "rate_limits", &mut faults);
    if faults.is_empty() { Ok(limits) } else { Err(faults) }
}

// === impl Context ===

impl Context<'_> {
    fn around(&self, route: &Route) -> Around<'_> {
        Around {
            over: CountedOver::Route(Arc::clone(self.gateway), route.id.as_str().into()),
            scope: &self.scope,
            version: self.version,
        }
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
        let inner = value.trim_start_matches("${").trim_end_matches('}');
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
            rate_limits: vec![declared::RateLimit {
                name: "rate".to_owned(),
                key: Some(inner.to_owned()),
                ..declared::RateLimit::default()
            }],
            concurrency: vec![declared::Concurrency {
                name: "at-once".to_owned(),
                key: Some(inner.to_owned()),
                ..declared::Concurrency::default()
            }],
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
        let context = Context {
            scope: Scope::with_params(["id"]),
            gateway: &"web".into(),
            version: 1,
            now: 0,
        };
        for action in [redirect, respond] as [fn(&str) -> Action; 2] {
            let good = Policies::compile(&route("${params.id}", action("${params.id}")), &context).unwrap();
            assert!(good.rewrite.is_some() && good.request_query.is_some());
            assert!(good.request_headers.is_some() && good.response_headers.is_some());
            assert!(good.redirect.is_some() != good.respond.is_some());
            let names: Vec<&str> = good.limits.iter().map(|limit| &*limit.rule.name).collect();
            assert_eq!(names, ["rate", "at-once"]);
            let faults = Policies::compile(&route("${nope}", action("${nope}")), &context).unwrap_err();
            assert_eq!(faults.len(), 7);
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
