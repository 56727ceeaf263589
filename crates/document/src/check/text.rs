//! Texts that are more than texts: hosts, path patterns, texts with `${…}`, regular expressions, names of headers.
//! The grammars are those that serve later; here they are read to tell what is wrong, and thrown away.

use super::Checker;
use crate::diagnostic::Finding;
use crate::tree::shorten;
use regex_automata::MatchKind;
use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::syntax;
use sluice_expression::{Condition, JsonTemplate, Scope, Template, TemplateError, Value};
use sluice_http_semantics::host::{Host, HostPattern};
use sluice_http_semantics::pattern::Pattern;
use sluice_http_semantics::reserved::forbidden;

/// Bytes that a compiled regular expression may take.
const REGEX_BYTES: usize = 1 << 20;
/// Groups in groups of a regular expression.
const DEEPEST_REGEX: u32 = 100;

/// A host of a gateway or route.
pub(super) fn host(c: &mut Checker<'_>, text: &str) -> Option<HostPattern> {
    let read = HostPattern::parse(text);
    if let Err(error) = &read {
        let finding = Finding::error("bad_host", error.to_string()).found(shorten(text));
        c.report(finding.expected("a name like shop.example.com, *.example.com, or *"));
    }
    read.ok()
}

/// A literal `host[:port]`.
pub(super) fn authority(c: &mut Checker<'_>, text: &str) -> Option<()> {
    let read = Host::parse(text).map(drop);
    if let Err(error) = &read {
        let finding = Finding::error("bad_host", error.to_string()).found(shorten(text));
        c.report(finding.expected("preserve, target, or a host like orders.internal:8080"));
    }
    read.ok()
}

/// A route's path. A regular expression in it is tried.
pub(super) fn path(c: &mut Checker<'_>, text: &str) -> Option<Pattern> {
    match Pattern::parse(text) {
        Ok(Pattern::Regex(expression)) => path_regex(c, &expression).map(|()| Pattern::Regex(expression)),
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let finding = Finding::error("bad_path", error.to_string()).found(shorten(text));
            c.report(finding.expected("a path like /orders/{id}, /files/** or regex:^/v[0-9]+/"));
            None
        }
    }
}

/// A regular expression over values of fields.
pub(super) fn regex(c: &mut Checker<'_>, expression: &str) -> Option<()> {
    let result = compile(expression, syntax());
    told(c, expression, result)
}

/// One over paths, which are ASCII: classes are of bytes where that can be, for far smaller automata.
fn path_regex(c: &mut Checker<'_>, expression: &str) -> Option<()> {
    let bytes = compile(expression, syntax().unicode(false));
    let result = match bytes {
        Err(error) if error.syntax_error().is_some() => compile(expression, syntax()),
        result => result,
    };
    told(c, expression, result)
}

fn syntax() -> syntax::Config {
    syntax::Config::new().utf8(false).nest_limit(DEEPEST_REGEX)
}

fn compile(expression: &str, syntax: syntax::Config) -> Result<(), Box<BuildError>> {
    let config = Regex::config()
        .match_kind(MatchKind::All)
        .utf8_empty(false)
        .nfa_size_limit(Some(REGEX_BYTES));
    let config = config.onepass(false).dfa(false);
    Regex::builder()
        .configure(config)
        .syntax(syntax)
        .build(expression)
        .map(drop)
        .map_err(Box::new)
}

fn told(c: &mut Checker<'_>, expression: &str, result: Result<(), Box<BuildError>>) -> Option<()> {
    let Err(error) = result else { return Some(()) };
    let why = match (error.syntax_error(), error.size_limit()) {
        (Some(syntax), _) => {
            let text = syntax.to_string();
            text.lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned()
        }
        (None, Some(_)) => format!("compiled, it takes more than {REGEX_BYTES} bytes"),
        (None, None) => error.to_string(),
    };
    let finding = Finding::error(
        "bad_regex",
        format!("this is no regular expression that can be used: {why}"),
    );
    c.report(finding.found(shorten(expression)));
    None
}

/// A text with `${…}`; gives it if it is sound.
pub(super) fn template(c: &mut Checker<'_>, text: &str, scope: Option<&Scope>) -> Option<Template> {
    match Template::parse(text, scope?) {
        Ok(template) => Some(template),
        Err(errors) => {
            for error in errors {
                c.report(template_finding(error, text));
            }
            None
        }
    }
}

/// A value of requests.
pub(super) fn value(c: &mut Checker<'_>, text: &str, scope: Option<&Scope>) {
    let Some(scope) = scope else { return };
    for error in Value::parse(text, scope).err().unwrap_or_default() {
        let finding = Finding::error("bad_key", error.to_string()).nearest(error.nearest);
        let found = text.get(error.at).filter(|found| !found.is_empty());
        c.report(finding.found(shorten(found.unwrap_or(text))));
    }
}

/// A condition on requests.
pub(super) fn condition(c: &mut Checker<'_>, text: &str, scope: Option<&Scope>) {
    let Some(scope) = scope else { return };
    for error in Condition::parse(text, scope).err().unwrap_or_default() {
        let finding = Finding::error("bad_condition", error.to_string()).nearest(error.nearest);
        let found = text.get(error.at).filter(|found| !found.is_empty());
        c.report(finding.found(shorten(found.unwrap_or(text))));
    }
}

/// Texts inside of a JSON answer.
pub(super) fn json(c: &mut Checker<'_>, value: &serde_json::Value, scope: Option<&Scope>) {
    let Some(scope) = scope else { return };
    if let Err(errors) = JsonTemplate::parse(value, scope) {
        for error in errors {
            let mut finding = template_finding(error.error, "");
            if !error.path.is_empty() {
                finding.message = format!("in `{}`: {}", shorten(&error.path), finding.message);
            }
            c.report(finding);
        }
    }
}

fn template_finding(error: TemplateError, text: &str) -> Finding {
    let found = text
        .get(error.at.clone())
        .filter(|found| !found.is_empty())
        .map(shorten);
    let finding = Finding::error("bad_template", error.to_string()).nearest(error.nearest);
    match found {
        Some(found) => finding.found(found),
        None => finding,
    }
}

/// A header's value, a text with `${…}`: no control character is written out but the tab.
pub(super) fn header_value(c: &mut Checker<'_>, text: &str, scope: Option<&Scope>) {
    template(c, text, scope);
    if let Some(bad) = text.chars().find(|c| c.is_ascii_control() && *c != '\t') {
        let message = "a header's value cannot hold a control character (RFC 9110 §5.5)";
        c.report(Finding::error("bad_value", message).found(format!("the character {bad:?}")));
    }
}

/// The name of a header that a document wants to change.
pub(super) fn changed_header(c: &mut Checker<'_>, name: &str) {
    if let Some(why) = forbidden(name) {
        let message = format!("`{name}` cannot be changed: {why}");
        c.report(Finding::error("reserved_header", message).found(name));
    }
}
