#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A request, by what is written for its values.
#[derive(Debug, Default)]
pub(super) struct Request(BTreeMap<String, String>);

impl Request {
    fn new<const N: usize>(values: [(&str, &str); N]) -> Self {
        Self(values.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

impl Inputs for Request {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        self.0
            .get(&field.to_string())
            .map(|value| Cow::Borrowed(value.as_str()))
    }
}

pub(super) fn request() -> Request {
    Request::new([
        ("request.method", "GET"),
        ("request.path", "/orders/42"),
        ("request.host", "shop.example.com"),
        ("request.scheme", "https"),
        ("request.query", "page=2&sort=up"),
        ("request.query['page']", "2"),
        ("request.headers['x-canary']", "1"),
        ("request.headers['x-empty']", ""),
        ("request.id", "0af7"),
        ("client.ip", "192.0.2.7"),
        ("params.id", "42"),
    ])
}

pub(super) fn scope() -> Scope {
    Scope::with_params(["id"])
}

fn compiled(text: &str) -> Condition {
    Condition::parse(text, &scope()).unwrap_or_else(|errors| panic!("{text}: {errors:#?}"))
}

fn holds(text: &str) -> bool {
    compiled(text).holds(&request())
}

fn is_native(text: &str) -> bool {
    fn native(node: &Node) -> bool {
        match node {
            Node::Interpreted(_) => false,
            Node::Not(inner) => native(inner),
            Node::And(both) | Node::Or(both) => native(&both.0) && native(&both.1),
            _ => true,
        }
    }
    native(compiled(text).0.root())
}

/// What is said of it, and of which piece of the text.
fn told(text: &str) -> Vec<(String, String)> {
    let errors = Condition::parse(text, &scope()).expect_err(text);
    let piece = |at: &std::ops::Range<usize>| text.get(at.clone()).unwrap_or("?").to_owned();
    errors
        .iter()
        .map(|error| (error.to_string(), piece(&error.at)))
        .collect()
}

fn refused(text: &str, message: &str, piece: &str) {
    let told = told(text);
    assert!(told[0].0.contains(message), "{text}: {told:?}");
    assert_eq!(told[0].1, piece, "{text}: {told:?}");
}

#[test]
fn what_is_true_of_a_request_holds() {
    for text in [
        "true",
        "request.method == 'GET'",
        "'GET' == request.method",
        "request.method in ['GET', \"HEAD\"]",
        "request.path.startsWith('/orders/') && !request.path.endsWith('/')",
        "request.host.contains('example') || false",
        "request.scheme != 'http'",
        "request.headers['X-Canary'] == '1'",
        "'x-canary' in request.headers && !('x-other' in request.headers)",
        "has(request.query.page) && !has(request.query.other)",
        "request.query.page == request.query['page']",
        "request.query == 'page=2&sort=up'",
        "int(request.query.page) > 1 && int(params.id) % 2 == 0",
        "params.id == '42'",
        "client.ip.startsWith('192.0.2.')",
        "request.id.size() == 4 && size(request.id) == 4",
        "request.path.matches('^/orders/[0-9]+$')",
        "request.host.upperAscii() == 'SHOP.EXAMPLE.COM'",
        "request.headers[?'x-other'].orValue('none') == 'none'",
        "request.headers.?host.orValue('none') == 'none'",
        "request.headers[?'x-canary'].hasValue()",
        "['/orders/', '/carts/'].exists(prefix, request.path.startsWith(prefix))",
        "[1, 2, 3].all(n, n < 4)",
        "request.method == 'GET' ? params.id == '42' : false",
        "request.method + ' ' + request.path == 'GET /orders/42'",
        "request.headers['x-empty'] == ''",
    ] {
        assert!(holds(text), "{text}");
    }
    for text in [
        "false",
        "request.method == 'get'",
        "params.id in []",
        "'a' == 'b'",
        "1 > 2",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn a_condition_on_what_is_not_there_does_not_hold_unless_the_rest_decides() {
    assert!(!holds("request.headers['x-other'] == '1'"));
    assert!(!holds("request.headers['x-other'] != '1'"));
    assert!(!holds("!(request.headers['x-other'] == '1')"));
    assert!(!holds("request.headers['x-other'].matches('.*')"));
    assert!(!holds("request.headers['x-other'] == request.method"));
    assert!(!holds("int(request.headers['x-canary'] + 'x') == 1"));
    assert!(!holds("1 / (int(params.id) - 42) == 1"));
    assert!(holds("request.headers['x-other'] == '1' || request.method == 'GET'"));
    assert!(holds("request.method == 'GET' || request.headers['x-other'] == '1'"));
    assert!(!holds("request.headers['x-other'] == '1' || request.method == 'PUT'"));
    assert!(holds("!(request.headers['x-other'] == '1' && request.method == 'PUT')"));
}

#[test]
fn comparisons_with_what_is_written_out_need_no_interpreter() {
    for text in [
        "request.headers['x-canary'] == '1'",
        "'1' != request.headers['x-canary'] && (true || !('a' in request.headers))",
        "request.path.startsWith('/a') || request.path.endsWith('b') || request.path.contains('c')",
        "client.ip in ['192.0.2.7', '192.0.2.8']",
        "request.path.matches('^/a')",
        "has(request.query.page)",
    ] {
        assert!(is_native(text), "{text}");
    }
    assert!(!is_native("request.path == params.id"));
    assert!(!is_native("request.path in ['/a', params.id]"));
}

#[test]
fn unknown_names_and_functions_are_told_with_their_place_and_the_nearest() {
    refused("request.methd == 'GET'", "did you mean request.method?", "methd");
    refused("true && requst.path == 'é'", "did you mean request?", "requst");
    refused("'é' == request.header['x']", "did you mean request.headers?", "header");
    refused(
        "params.nr == '1'",
        "params.nr is not known; expected one of params.id",
        "nr",
    );
    refused("request.path.startWith('/a')", "did you mean startsWith?", "startWith");
    refused(
        "'é' == request.path && hash(request.path)",
        "`hash` is not a function that is known",
        "hash",
    );
    refused("'x' in request.heders", "did you mean request.headers?", "heders");
    refused("has(request.headrs.host)", "did you mean request.headers?", "headrs");
    refused(
        "claims.sub == '1'",
        "claims is not known; expected one of params, request, client",
        "claims",
    );
    refused(".request.path == '/'", "is not known", "request");
    assert_eq!(told("requst.path == reqest.path").len(), 2, "all at once");
}

#[test]
fn what_can_never_be_right_is_refused_when_it_is_compiled() {
    refused(
        "params.id == 42",
        "a text and a number cannot be compared",
        "params.id == 42",
    );
    refused(
        "request.path",
        "a condition is true or false, this is a text",
        "request.path",
    );
    refused("size(request.path)", "this is a number", "size(request.path)");
    refused("request.headers == 'x'", "request.headers is not a text", "headers");
    refused(
        "request.path && true",
        "`&&` takes what is true or false",
        "request.path && true",
    );
    refused("!request.path", "`!` takes what is true or false", "!request.path");
    refused(
        "int(params.id) > '5'",
        "compares two texts or two numbers",
        "int(params.id) > '5'",
    );
    refused("params.id + 1 == '421'", "`+` joins two texts", "params.id + 1");
    refused(
        "request.path.startsWith(1)",
        "`startsWith` is asked of a text",
        "request.path.startsWith(1",
    );
    refused(
        "request.path.matches(request.host)",
        "a regular expression that is written out",
        "request.host",
    );
    refused("request.path.matches('(')", "unclosed group", "'('");
    refused(
        "request.path.matches('(a{999}){999}')",
        "more than 1048576 bytes",
        "'(a{999}){999}'",
    );
    refused(
        "request.headers[request.method] == '1'",
        "a text that is written out",
        "request.method",
    );
    refused(
        "request.method in request.headers",
        "a text that is written out",
        "request.method",
    );
    refused(
        "request.path.size.big == 1",
        "request.path is a text and has no members",
        "size",
    );
    refused(
        "request.headers.exists(h, h == 'a')",
        "only a list that is written out",
        "request.headers",
    );
    refused(
        "['a'].exists(x, ['b'].exists(y, x == y))",
        "inside of each other",
        "['b'].exists(",
    );
    refused("request.id == null", "is ever null", "null");
    refused("{'a': 1}['a'] == 1", "maps cannot be written here", "{");
}

#[test]
fn what_is_no_cel_is_told_in_words() {
    refused("", "the expression is empty", "");
    refused(" \n", "the expression is empty", " \n");
    refused("request.path ==", "unexpected end", "");
    refused("request.path = '/'", "unexpected '= '", "=");
    refused("(true", "missing ')' at end", "");
    refused("true\nfalse", "unexpected 'false'", "f");
    refused("${request.path} == '/'", "unexpected '$'", "$");
    refused("'é' == é", "unexpected", "é");
    refused(&"x".repeat(2_000), "more than 1024 bytes", &"x".repeat(2_000));
}

/// The texts that hurt parsers and interpreters: each as long as a condition may be.
fn monsters() -> Vec<String> {
    let fill = |piece: &str, end: &str| {
        let times = (LONGEST_CONDITION - end.len()) / piece.len();
        format!("{}{end}", piece.repeat(times))
    };
    let around = |open: &str, middle: &str, close: &str| {
        let times = (LONGEST_CONDITION - middle.len()) / (open.len() + close.len());
        format!("{}{middle}{}", open.repeat(times), close.repeat(times))
    };
    vec![
        fill("1+", "1==1"),
        fill("true&&", "true"),
        fill("true||", "true"),
        fill("!", "true"),
        fill("-", "1==1"),
        fill("a.", "b"),
        fill("a?b:", "c"),
        fill("1<", "1"),
        fill("[", ""),
        fill("{", ""),
        fill("(", ""),
        fill("'", ""),
        fill("\"\"\"", ""),
        fill("a(", ""),
        fill("has(", ""),
        fill("a[b{c(", ""),
        fill("&", ""),
        fill("\u{fffd}", ""),
        fill("x ", ""),
        fill("request.path.size().", "a"),
        around("(", "true", ")"),
        around("[", "", "]"),
        around("[1].all(x,", "true", ")"),
        around("!(", "true", ")"),
        around("size([", "", "])==0"),
        format!(
            "[{}].all(x, request.path + request.host == x)",
            fill("'a',", "'a'").split_at(900).0.trim_end_matches(['\'', 'a', ','])
        ),
        format!("['{}'].exists(x, x in [{}])", "a", vec!["'b'"; 240].join(",")),
    ]
}

#[test]
fn no_text_overflows_a_stack_or_takes_long() {
    for text in monsters() {
        // Whatever becomes of it, on a thread as small as any.
        let small = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
            if let Ok(condition) = Condition::parse(&text, &scope()) {
                let _ = condition.holds(&request());
            }
        });
        small.unwrap().join().unwrap();
    }
    refused(
        &format!("{}1 == 1", "1+".repeat(100)),
        "nested more than 64 deep",
        &format!("{}1 == 1", "1+".repeat(100)),
    );
    assert!(
        holds(&format!("{}true", "true && ".repeat(100))),
        "a chain of && is no deeper than its logarithm"
    );
}

#[test]
fn the_deepest_that_is_taken_is_evaluated_on_a_small_stack() {
    let texts = [
        format!("int(params.id){} == 42", " + 0".repeat(60)),
        format!("{}params.id == request.id{}", "!(".repeat(60), ")".repeat(60)),
        format!("{}params.id{} == '42'", "string(".repeat(60), ")".repeat(60)),
        format!("[1].all(x, {}x{} == 1)", "int(".repeat(50), ")".repeat(50)),
    ];
    for text in texts {
        let condition = compiled(&text);
        let small = std::thread::Builder::new().stack_size(512 << 10);
        small
            .spawn(move || condition.holds(&request()))
            .unwrap()
            .join()
            .unwrap();
    }
}

#[test]
fn what_could_take_long_is_refused() {
    let items = vec!["'a'"; 100].join(", ");
    refused(
        &format!("[{items}].exists(x, x + request.path + request.host == request.id)"),
        "more than 2000 steps",
        &format!("[{items}].exists(x, x + request.path + request.host == request.id)"),
    );
    assert!(holds(&format!("[{items}].all(x, x == 'a')")));
}

#[test]
fn a_pattern_is_searched_by_many_threads_and_forgotten_in_time() {
    let conditions: Vec<_> = (0..100)
        .map(|n| compiled(&format!("request.path.matches('^/orders/{n}$')")))
        .collect();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..3 {
                    let held = conditions
                        .iter()
                        .filter(|condition| condition.holds(&request()))
                        .count();
                    assert_eq!(held, 1);
                }
            });
        }
    });
}

// === the native tree and the interpreter say the same ===

/// A value of the request, as it is written.
pub(super) fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "request.method",
        "request.path",
        "request.headers['x-canary']",
        "request.headers['x-other']",
        "request.query['page']",
        "request.query.other",
        "params.id",
        "client.ip",
    ])
    .prop_map(str::to_owned)
}

pub(super) fn literal() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "''",
        "'1'",
        "'2'",
        "'GET'",
        "'/orders/42'",
        "'42'",
        "\"é\"",
        "'/orders'",
        "r'\\'",
        "'2\\u0000'",
    ])
    .prop_map(str::to_owned)
}

pub(super) fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        (value(), prop::bool::ANY, literal())
            .prop_map(|(v, same, l)| format!("{v} {} {l}", if same { "==" } else { "!=" })),
        (literal(), value()).prop_map(|(l, v)| format!("{l} == {v}")),
        (value(), prop::collection::vec(literal(), 0..3)).prop_map(|(v, l)| format!("{v} in [{}]", l.join(", "))),
        (
            value(),
            prop::sample::select(vec!["startsWith", "endsWith", "contains"]),
            literal()
        )
            .prop_map(|(v, f, l)| format!("{v}.{f}({l})")),
        (value(), literal())
            .prop_map(|(v, l)| format!("{v}.matches({})", l.replace("'/", "'^/").replace("r'\\'", "'a|b'"))),
        prop::sample::select(vec![
            "'x-canary' in request.headers",
            "'x-other' in request.headers",
            "has(request.query.page)"
        ])
        .prop_map(str::to_owned),
        (value(), value()).prop_map(|(a, b)| format!("{a} == {b}")),
        value().prop_map(|v| format!("int({v}) > 1")),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

pub(super) fn values() -> impl Strategy<Value = Request> {
    let text = prop::sample::select(vec![
        "",
        "1",
        "2",
        "GET",
        "/orders/42",
        "42",
        "é",
        "/orders",
        "\\",
        "2\0",
    ]);
    let names = vec![
        "request.headers['x-canary']",
        "request.headers['x-other']",
        "request.query['page']",
        "request.query['other']",
    ];
    (
        prop::collection::btree_map(prop::sample::select(names), text.clone(), 0..4),
        [text.clone(), text.clone(), text.clone(), text],
    )
        .prop_map(|(some, always)| {
            let always = ["request.method", "request.path", "params.id", "client.ip"]
                .into_iter()
                .zip(always);
            Request(
                some.into_iter()
                    .chain(always)
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_native_tree_says_what_the_interpreter_says(text in condition().prop_filter("length", |t| t.len() <= LONGEST_CONDITION), requests in prop::collection::vec(values(), 4)) {
        let condition = compiled(&text);
        let compiled = &condition.0;
        // The same expression, all of it left to cel.
        let (variables, whole) = resolve::for_the_interpreter(&text, &scope(), kind::Kind::Truth);
        for request in &requests {
            let native = compiled.root().evaluate(compiled.variables(), request);
            let interpreted = interpret::evaluate(&whole, &variables, request);
            prop_assert_eq!(native, interpreted, "{} of {:?}", text, request);
        }
    }

    #[test]
    fn any_text_is_taken_or_refused_with_a_place(text in "[ -~é\\n]{0,60}", pieces in prop::collection::vec(prop::sample::select(vec!["request", ".", "path", "headers", "['x']", "(", ")", "[", "]", "'a'", "==", "&&", "!", "in", "has", "exists", "x", ",", "1", " ", "?", ":", "\"", "\\", "+", "r'", "b'", "{", "}"]), 0..30)) {
        for text in [text, pieces.concat()] {
            match Condition::parse(&text, &scope()) {
                Ok(condition) => drop(condition.holds(&request())),
                Err(errors) => {
                    prop_assert!(!errors.is_empty());
                    for error in errors {
                        prop_assert!(text.get(error.at.clone()).is_some(), "{:?} in {:?}", error, text);
                        prop_assert!(!error.to_string().is_empty() && error.to_string().len() < 600, "{}", error);
                    }
                }
            }
        }
    }
}
