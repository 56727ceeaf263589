#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::borrow::Cow;

/// Gives every value as its own name in brackets, but for the header `none`.
struct Names;

impl Inputs for Names {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        match field {
            Field::RequestHeader(name) if &**name == "none" => None,
            field => Some(Cow::Owned(format!("<{field}>"))),
        }
    }
}

fn scope() -> Scope {
    Scope::with_params(["id", "rest"])
}

fn rendered(text: &str) -> String {
    let template = Template::parse(text, &scope()).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let mut out = String::new();
    template.render(&Names, &mut out);
    out
}

fn errors(text: &str) -> Vec<TemplateError> {
    Template::parse(text, &scope()).expect_err(text)
}

fn message(text: &str) -> String {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].to_string()
}

#[test]
fn values_stand_where_they_are_named() {
    assert_eq!(rendered("/v2/${params.rest}"), "/v2/<params.rest>");
    assert_eq!(
        rendered("${request.scheme}://${request.host}${request.path}?${request.query}"),
        "<request.scheme>://<request.host><request.path>?<request.query>"
    );
    assert_eq!(
        rendered("${ client . ip }-${request.id}-${request.method}"),
        "<client.ip>-<request.id>-<request.method>"
    );
    assert_eq!(rendered("é${params['id']}é"), "é<params.id>é");
}

#[test]
fn headers_and_parameters_are_named_by_member_or_by_key() {
    assert_eq!(
        rendered("${request.headers['X-Region']}${request.headers.accept}${request.headers[\"a\"]}"),
        "<request.headers['x-region']><request.headers['accept']><request.headers['a']>"
    );
    assert_eq!(
        rendered(r"${request.query['a}b']}${request.query.Q}${request.query['it\'s']}"),
        r"<request.query['a}b']><request.query['Q']><request.query['it\'s']>"
    );
}

#[test]
fn a_missing_value_is_empty() {
    assert_eq!(rendered("[${request.headers.none}]"), "[]");
}

#[test]
fn two_dollars_make_a_plain_brace() {
    assert_eq!(rendered("$${params.id}"), "${params.id}");
    assert_eq!(rendered("a$$${x}$ $5 $$ {}"), "a$${x}$ $5 $$ {}");
    assert_eq!(rendered("$${a}${params.id}"), "${a}<params.id>");
}

#[test]
fn a_text_without_expressions_is_a_literal() {
    let literal = |text| Template::parse(text, &scope()).unwrap().as_literal().map(str::to_owned);
    assert_eq!(literal("plain $ {}"), Some("plain $ {}".to_owned()));
    assert_eq!(literal(""), Some(String::new()));
    assert_eq!(literal("$${a}"), Some("${a}".to_owned()));
    assert_eq!(literal("${client.ip}"), None);
    assert_eq!(Template::literal("${x").as_literal(), Some("${x"));
}

#[test]
fn a_lone_expression_is_known() {
    let template = Template::parse("${client.ip}", &scope()).unwrap();
    assert_eq!(template.as_field(), Some(&Field::ClientIp));
    assert_eq!(Template::parse("x${client.ip}", &scope()).unwrap().as_field(), None);
}

#[test]
fn it_parts_at_a_mark_of_its_plain_text() {
    let template = Template::parse("/a/${request.query['?']}?q=${params.id}?", &scope()).unwrap();
    let (path, query) = template.split_once('?').unwrap();
    let text = |template: &Template| {
        let mut out = String::new();
        template.render(&Names, &mut out);
        out
    };
    assert_eq!(text(&path), "/a/<request.query['?']>");
    assert_eq!(text(&query), "q=<params.id>?");
    assert_eq!(path.split_once('?'), None);
    assert_eq!((path.leading_text(), path.trailing_text()), ("/a/", ""));
    assert_eq!((query.leading_text(), query.trailing_text()), ("q=", "?"));
}

#[test]
fn it_is_put_together_again_from_its_parts() {
    let template = Template::parse("a${params.id}b${client.ip}", &scope()).unwrap();
    assert_eq!(template.parts().collect::<Template>(), template);
    let texts: Template = [Part::Text("a"), Part::Text(""), Part::Text("b")].into_iter().collect();
    assert_eq!(texts, Template::literal("ab"));
}

#[test]
fn an_unknown_name_is_told_with_the_nearest_one() {
    let error = &errors("/v2/${params.ib}")[0];
    assert_eq!(error.at, 13..15);
    assert_eq!(error.nearest.as_deref(), Some("params.id"));
    assert_eq!(
        error.to_string(),
        "params.ib is not known; expected one of params.id, params.rest; did you mean params.id?"
    );
    assert_eq!(
        errors("${request.haeders.x}")[0].nearest.as_deref(),
        Some("request.headers")
    );
    assert_eq!(errors("${param.id}")[0].nearest.as_deref(), Some("params"));
    assert_eq!(errors("${client.port}")[0].nearest, None);
    assert!(message("${claims.sub}").starts_with("claims is not known"));
}

#[test]
fn what_is_no_text_and_what_has_no_members_is_told() {
    assert!(message("${params}").contains("as in params.id"));
    assert!(message("${request.headers}").contains("request.headers['name']"));
    assert!(message("${request.path.x}").contains("request.path is a text"));
    assert!(message("${request.query.a.b}").contains("request.query['a'] is a text"));
    assert!(message("${request.headers['a b']}").contains("no name of a header"));
}

#[test]
fn bad_syntax_is_told_at_its_place() {
    for (text, at, part) in [
        ("a${", 1..3, "never closed"),
        ("${params.id", 0..11, "never closed"),
        ("${}", 2..2, "nothing stands"),
        ("${ }", 2..3, "nothing stands"),
        ("${1}", 2..3, "a name, found `1`"),
        ("${params.}", 9..9, "a name, found the end"),
        ("${params.id + 1}", 12..13, "not built yet"),
        ("${size(x)}", 6..7, "not built yet"),
        ("${request.headers[x]}", 18..19, "a name in quotes"),
        ("${request.headers['x'}", 21..21, "`]`"),
        ("${request.headers['x}", 20..20, "the closing quote"),
        (r"${request.query['\n']}", 17..18, r"`\\`"),
        ("${params.é}", 9..11, "a name, found `é`"),
    ] {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{text}");
        assert_eq!(errors[0].at, at, "{text}: {}", errors[0]);
        assert!(errors[0].to_string().contains(part), "{text}: {}", errors[0]);
    }
}

#[test]
fn all_faults_of_a_text_are_told_at_once() {
    let errors = errors("${a}/${params.id}/${b}");
    assert_eq!(
        errors.iter().map(|error| error.at.clone()).collect::<Vec<_>>(),
        [2..3, 20..21]
    );
}

#[test]
fn length_and_number_are_bounded() {
    let kind = |text: &str| errors(text).remove(0).kind;
    assert_eq!(kind(&"a".repeat(LONGEST_TEMPLATE + 1)), ErrorKind::TooLong);
    assert_eq!(
        kind(&format!("${{{}}}", "a".repeat(LONGEST_EXPRESSION + 1))),
        ErrorKind::ExpressionTooLong
    );
    assert_eq!(kind(&"${client.ip}".repeat(MOST_EXPRESSIONS + 1)), ErrorKind::TooMany);
    assert!(Template::parse(&"${client.ip}".repeat(MOST_EXPRESSIONS), &scope()).is_ok());
}

proptest! {
    #[test]
    fn any_text_at_all_is_answered(text in "[ab$\\{\\}'\"\\[\\]\\\\. é]{0,24}") {
        if let Err(errors) = Template::parse(&text, &scope()) {
            for error in errors {
                prop_assert!(text.get(error.at.clone()).is_some(), "{:?}", error);
            }
        }
    }

    #[test]
    fn a_field_reads_as_it_prints(name in "\\PC{0,8}") {
        let field = Field::RequestQuery(name.into());
        let template = Template::parse(&format!("${{{field}}}"), &scope()).unwrap();
        prop_assert_eq!(template.as_field(), Some(&field));
    }
}
