#![allow(clippy::unwrap_used)]
use super::*;
use crate::tree;
use crate::{Format, parse};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .build(&schema())
        .unwrap()
});

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Writes the page where it is asked to, and says whether it is as kept.
fn holds(name: &str, text: &str) {
    if std::env::var_os("SLUICE_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(docs(name).parent().unwrap()).unwrap();
        std::fs::write(docs(name), text).unwrap();
    }
    let kept = std::fs::read_to_string(docs(name)).unwrap_or_default();
    assert!(
        kept == text,
        "docs/{name} is stale: run `SLUICE_WRITE_DOCS=1 cargo test -p sluice-document schema`"
    );
}

#[test]
fn the_schema_in_the_documentation_is_that_of_today() {
    holds(
        "schema/sluice.schema.json",
        &(serde_json::to_string_pretty(&schema()).unwrap() + "\n"),
    );
}

#[test]
fn the_reference_in_the_documentation_is_that_of_today() {
    holds("reference.md", &reference());
}

/// A text as a value, as a validator sees it.
fn value(text: &str, format: Format) -> Option<Value> {
    serde_json::to_value(tree::read(text, format, 0).ok()?).ok()
}

fn told(value: &Value) -> Vec<String> {
    let errors = VALIDATOR.iter_errors(value);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn texts() -> Vec<(String, String)> {
    let mut texts: Vec<_> = std::fs::read_dir(docs("examples"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/src/sample.yaml");
    texts.push((demo.display().to_string(), std::fs::read_to_string(demo).unwrap()));
    texts.sort();
    assert!(texts.len() > 25);
    texts
}

#[test]
fn every_example_is_valid_by_the_schema() {
    for (name, text) in texts() {
        let value = value(&text, Format::Yaml).unwrap();
        assert_eq!(told(&value), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn what_editors_should_show_as_wrong_is_wrong_by_the_schema() {
    let upstream = |fields: Value| json!({ "upstreams": { "a": fields } });
    let route = |fields: Value| {
        let mut route = json!({ "path": "/", "upstream": "a" });
        for (name, value) in fields.as_object().unwrap() {
            route[name] = value.clone();
        }
        json!({ "gateways": { "web": { "hosts": ["*"], "routes": [route] } } })
    };
    let urls = json!(["http://127.0.0.1:1"]);
    for wrong in [
        json!(null),
        json!({}),
        json!({ "upstream": {} }),
        json!({ "format": 2 }),
        upstream(json!({})),
        upstream(json!({ "tagrets": [] })),
        upstream(json!({ "targets": [] })),
        upstream(json!({ "targets": urls, "balance": "fastest" })),
        upstream(json!({ "targets": urls, "timeout": { "connect": 5 } })),
        upstream(json!({ "targets": urls, "timeout": { "connect": "5 fortnights" } })),
        upstream(json!({ "targets": [{ "url": "http://a", "weight": 70000 }] })),
        upstream(json!({ "targets": urls, "tls": {} })),
        upstream(json!({ "targets": urls, "retry": { "attempts": 0 } })),
        upstream(json!({ "targets": urls, "retry": { "on": [] } })),
        upstream(json!({ "targets": urls, "retry": { "budget": 2 } })),
        upstream(json!({ "targets": urls, "health": { "active": {} } })),
        upstream(json!({ "targets": urls, "breaker": { "failures": [404] } })),
        upstream(json!({ "targets": urls, "breaker": { "fallback": { "upstream": "b", "status": 503 } } })),
        json!({ "upstreams": { "-a": { "targets": urls } } }),
        route(json!({ "paths": ["/x"] })),
        route(json!({ "respond": { "text": "x" } })),
        route(json!({ "split": { "to": [{ "upstream": "a" }] } })),
        route(json!({ "methods": ["get"] })),
        route(json!({ "max_body": "10MB" })),
        route(json!({ "match": { "headers": { "x": { "exact": "a", "prefix": "b" } } } })),
        route(json!({ "match": { "headers": { "x": {} } } })),
        route(json!({ "match": { "client": ["localhost"] } })),
        route(json!({ "priority": 0.5 })),
        route(json!({ "timeout": null })),
    ] {
        assert!(!VALIDATOR.is_valid(&wrong), "{wrong}");
        assert!(parse(&wrong.to_string(), Format::Json, None).is_err(), "{wrong}");
    }
}

// === the schema and the decoder ===

/// A place in a value, by a walk of numbers.
fn place<'v>(value: &'v mut Value, walk: &[u8]) -> &'v mut Value {
    let Some((step, rest)) = walk.split_first() else {
        return value;
    };
    let length = match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    if length == 0 {
        return value;
    }
    let at = usize::from(*step) % length;
    let within = match value {
        Value::Array(items) => items.get_mut(at),
        Value::Object(map) => map.values_mut().nth(at),
        _ => None,
    };
    place(within.unwrap(), rest)
}

/// Values that may be right in one place and wrong in another.
fn piece() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(65536),
        json!(1.5),
        json!(""),
        json!("a"),
        json!("orders"),
        json!("*"),
        json!("/x"),
        json!("GET"),
        json!("5s"),
        json!("1.5 h"),
        json!("5"),
        json!("1MiB"),
        json!("none"),
        json!("never"),
        json!("10.0.0.0/8"),
        json!("::1"),
        json!("http://127.0.0.1:1"),
        json!("${request.path}"),
        json!("request.method == 'GET'"),
        json!([]),
        json!(["a"]),
        json!(["a", "a"]),
        json!([1]),
        json!({}),
        json!({ "a": "b" }),
        json!({ "exact": "a" }),
        json!({ "not": { "prefix": "a" } }),
        json!({ "not": "a" }),
        json!({ "url": "http://127.0.0.1:1" }),
        json!({ "text": "a" }),
        json!({ "to": [{ "upstream": "a", "weight": 1 }] }),
        json!({ "upstream": "a" }),
    ])
}

/// One change to a value: another value in a place, a field more, a field less, or a field's name.
fn mangle(value: &mut Value, kind: u8, walk: &[u8], piece: Value, name: &str) {
    let here = place(value, walk);
    match (kind % 4, here) {
        (0, here) => *here = piece,
        (1, Value::Object(map)) => drop(map.insert(name.to_owned(), piece)),
        (1, Value::Array(items)) => items.push(piece),
        (2, Value::Object(map)) => {
            if let Some(gone) = map
                .keys()
                .nth(usize::from(walk.last().copied().unwrap_or(0)) % map.len().max(1))
                .cloned()
            {
                map.remove(&gone);
            }
        }
        (2, Value::Array(items)) => drop(items.pop()),
        (_, Value::Object(map)) => {
            if let Some(old) = map.keys().next().cloned()
                && let Some(value) = map.remove(&old)
            {
                map.insert(name.to_owned(), value);
            }
        }
        (_, here) => *here = piece,
    }
}

/// Every name that a field has.
fn names() -> Vec<&'static str> {
    let all = crate::decode::fields::DEFINITIONS.iter().copied().flatten();
    let mut names: Vec<_> = all
        .flat_map(|definition| definition.fields.iter().map(|field| field.name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.push("nonsense");
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// The schema is never narrower than the decoder: what it refuses is refused.
    #[test]
    fn what_the_schema_refuses_the_decoder_refuses(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..8), piece(), prop::sample::select(names())), 1..4),
    ) {
        static TEXTS: LazyLock<Vec<Value>> =
            LazyLock::new(|| texts().iter().map(|(_, text)| value(text, Format::Yaml).unwrap()).collect());
        let mut document = TEXTS[which.index(TEXTS.len())].clone();
        for (kind, walk, piece, name) in changes {
            mangle(&mut document, kind, &walk, piece, name);
        }
        if parse(&document.to_string(), Format::Json, None).is_ok() {
            prop_assert_eq!(told(&document), Vec::<String>::new(), "{}", document);
        }
    }
}
