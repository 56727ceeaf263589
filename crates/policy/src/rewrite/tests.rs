#![allow(clippy::unwrap_used)]
use super::*;
use crate::values::fixture::Request;
use proptest::prelude::*;

fn scope() -> Scope {
    Scope::with_params(["id", "rest"])
}

fn compiled(declared: &declared::Rewrite) -> Result<Rewrite, FaultKind> {
    let mut faults = Vec::new();
    match Rewrite::compile(declared, &scope(), &mut faults) {
        Some(rewrite) => Ok(rewrite),
        None => Err(faults.remove(0).kind),
    }
}

fn stripped(prefix: &str, path: &str) -> (String, bool) {
    let rewrite = compiled(&declared::Rewrite::StripPrefix(prefix.to_owned())).unwrap();
    let path = Path::normalize(path).unwrap();
    let rewritten = rewrite.apply(&path, Some("x=1"), &Request::default()).unwrap();
    assert_eq!(rewritten.query.as_deref(), Some("x=1"));
    (rewritten.path.into_owned(), rewritten.bare)
}

fn make(text: &str) -> Result<Rewrite, FaultKind> {
    compiled(&declared::Rewrite::Path(text.to_owned()))
}

fn made(text: &str, values: &[(&str, &str)], query: Option<&str>) -> Result<String, RewriteError> {
    let rewrite = make(text).unwrap();
    let path = Path::normalize("/any").unwrap();
    let mut pairs = [("", ""); 4];
    pairs[..values.len()].copy_from_slice(values);
    let rewritten = rewrite.apply(&path, query, &Request::new(pairs))?;
    Ok(match rewritten.query {
        Some(query) => format!("{}?{query}", rewritten.path),
        None => rewritten.path.into_owned(),
    })
}

#[test]
fn a_prefix_is_cut_off_by_whole_segments() {
    assert_eq!(
        stripped("/shop", "/shop/my%20file.txt"),
        ("/my%20file.txt".to_owned(), false)
    );
    assert_eq!(stripped("/shop/", "/shop/a%25b/"), ("/a%25b/".to_owned(), false));
    assert_eq!(stripped("/shop", "/shop"), ("/".to_owned(), true));
    assert_eq!(stripped("/shop", "/shop/"), ("/".to_owned(), false));
    assert_eq!(stripped("/shop", "/shopping/x"), ("/shopping/x".to_owned(), false));
    assert_eq!(stripped("/shop", "/other"), ("/other".to_owned(), false));
    assert_eq!(stripped("/api", "/api../admin"), ("/api../admin".to_owned(), false));
    assert_eq!(stripped("/a", "/a%2Fb"), ("/a%2Fb".to_owned(), false));
    assert_eq!(stripped("/", "/x"), ("/x".to_owned(), false));
    assert_eq!(stripped("/", "/"), ("/".to_owned(), false));
    assert_eq!(stripped("/caf%c3%a9", "/caf%C3%A9/x"), ("/x".to_owned(), false));
    assert_eq!(stripped("/a", "*"), ("*".to_owned(), false));
}

#[test]
fn a_value_in_a_path_is_encoded_once() {
    let item = |id| made("/items/${params.id}/show", &[("params.id", id)], None).unwrap();
    assert_eq!(item("12%203"), "/items/12%203/show");
    assert_eq!(item("%E2%82%AC"), "/items/%E2%82%AC/show");
    assert_eq!(item("a%2Fb"), "/items/a%2Fb/show");
    assert_eq!(item("a+b"), "/items/a+b/show");
    assert_eq!(
        made("/v2/${params.rest}", &[("params.rest", "a/b%20c/")], Some("q")).unwrap(),
        "/v2/a/b%20c/?q"
    );
    assert_eq!(
        made("/v2/${params.rest}", &[("params.rest", "")], None).unwrap(),
        "/v2/"
    );
    assert_eq!(
        made("/v2/${params.rest}/x", &[("params.rest", "")], None).unwrap(),
        "/v2/x"
    );
    assert_eq!(
        made("/v2${request.path}", &[("request.path", "/a%2Fb")], None).unwrap(),
        "/v2/a%2Fb"
    );
    assert_eq!(
        made("/u/${request.headers['x']}", &[("request.headers['x']", "a/b c")], None).unwrap(),
        "/u/a%2Fb%20c"
    );
}

#[test]
fn a_value_in_a_query_keeps_its_meaning_as_a_form() {
    let find = |filter| made("/customer?id=${params.id}", &[("params.id", filter)], Some("gone=1")).unwrap();
    assert_eq!(find("customer%2Bme"), "/customer?id=customer%2Bme");
    assert_eq!(find("customer+me"), "/customer?id=customer%2Bme");
    assert_eq!(find("a%20b"), "/customer?id=a%20b");
    assert_eq!(find("a%26n%3D2"), "/customer?id=a%26n%3D2");
    assert_eq!(find("50%25"), "/customer?id=50%25");
    assert_eq!(
        made("/x?a=1&${request.query}", &[("request.query", "b=%2e+")], None).unwrap(),
        "/x?a=1&b=%2e+"
    );
    assert_eq!(made("/x?", &[], Some("a=1")).unwrap(), "/x");
}

#[test]
fn no_value_leads_out_of_the_place() {
    let header = |value| made("/u/${request.headers['x']}", &[("request.headers['x']", value)], None);
    for value in ["..", ".", "../admin", "..\\admin", "%2e%2e/..", "a/../b"] {
        let outcome = header(value);
        assert!(
            matches!(
                outcome,
                Err(RewriteError::DotSegment | RewriteError::Path(PathError::BackslashHidesDotSegment))
            ),
            "{value}: {outcome:?}"
        );
    }
    assert_eq!(header("%2e%2e").unwrap(), "/u/%252e%252e");
    assert_eq!(header("a\0"), Err(RewriteError::Path(PathError::EncodedNul)));
    assert_eq!(
        made("/a/.${params.rest}", &[("params.rest", "")], None),
        Err(RewriteError::DotSegment)
    );
    assert_eq!(
        made("/a/.${params.rest}", &[("params.rest", "./b")], None),
        Err(RewriteError::DotSegment)
    );
}

#[test]
fn what_could_never_be_sent_is_refused_when_compiled() {
    assert_eq!(make("v2/x"), Err(FaultKind::NotAPath));
    assert_eq!(make("${params.id}/x"), Err(FaultKind::NotAPath));
    assert_eq!(make(""), Err(FaultKind::NotAPath));
    assert_eq!(make("/a/../b"), Err(FaultKind::DotSegment));
    assert_eq!(make("/a/%2E%2e/b"), Err(FaultKind::DotSegment));
    assert_eq!(make("/a b"), Err(FaultKind::Path(PathError::Control(b' '))));
    assert_eq!(make("/{id}"), Err(FaultKind::Path(PathError::Illegal('{'))));
    assert_eq!(make("/a?b c"), Err(FaultKind::LocationCharacter(' ')));
    assert!(matches!(make("/${params.ib}"), Err(FaultKind::Template(_))));
    assert!(make("${request.path}/x").is_ok());
    let strip = |prefix: &str| compiled(&declared::Rewrite::StripPrefix(prefix.to_owned()));
    assert_eq!(strip("api"), Err(FaultKind::Path(PathError::NotAbsolute)));
    assert_eq!(strip("*"), Err(FaultKind::NotAPath));
    assert_eq!(strip("/a/./b"), Err(FaultKind::DotSegment));
}

proptest! {
    #[test]
    fn what_is_left_of_a_path_is_normal(prefix in "(/[a-b.%25]{0,3}){1,3}", path in "(/([a-b.]{0,3}|%2f|%41)){1,5}/?") {
        let (Ok(rewrite), Ok(path)) = (compiled(&declared::Rewrite::StripPrefix(prefix)), Path::normalize(&path)) else {
            return Ok(());
        };
        let rewritten = rewrite.apply(&path, None, &Request::default()).unwrap();
        let again = Path::normalize(&rewritten.path).unwrap();
        prop_assert!(again.was_normal());
    }

    #[test]
    fn whatever_the_values_a_made_path_stays_below_its_beginning(
        rest in "(/?([a-b.]{0,3}|%2f|%2e|%5c)){0,5}",
        header in "[ -~é]{0,8}",
    ) {
        let raw = format!("/in/{rest}");
        let Ok(path) = Path::normalize(&raw) else { return Ok(()) };
        let Some(rest) = path.as_str().strip_prefix("/in/") else { return Ok(()) };
        let rewrite = make("/out/${params.rest}/${request.headers['x']}").unwrap();
        let request = Request::new([("params.rest", rest), ("request.headers['x']", &header)]);
        if let Ok(rewritten) = rewrite.apply(&path, None, &request) {
            let again = Path::normalize(&rewritten.path).unwrap();
            prop_assert!(again.was_normal());
            prop_assert!(rewritten.path.starts_with("/out/"));
            let decoded = sluice_http_semantics::percent::decode(&rewritten.path);
            prop_assert!(!decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b".."));
        }
    }
}
