//! The JSON Schema of a document (draft 2020-12).

use crate::decode::fields::{DEFINITIONS, Definition, Field, Group, Names, Preset, Shape};
use serde_json::{Map, Value, json};

/// What a duration may look like; whether it is too long, or no whole number of milliseconds, is for the decoder.
const DURATION: &str = "^[0-9]*\\.?[0-9]*\\s*(ms|s|m|h|d)$";
const SIZE: &str = "^[0-9]*\\.?[0-9]*\\s*(B|KiB|MiB|GiB)$";
const SHARE: &str = "^[0-9]*\\.?[0-9]*\\s*%?$";
const ADDRESS: &str = "^[0-9A-Fa-f:.]+(/[0-9]+)?$";
/// RFC 9110 §5.6.2.
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]*$";

/// The JSON Schema of a gateway document, which editors complete and check by. It takes every document that is taken;
/// what it refuses is refused by `sluice check` as well, and there is more that only that sees: references, conflicts,
/// what texts mean.
#[must_use]
pub fn schema() -> Value {
    let all = || DEFINITIONS.iter().copied().flatten();
    let definitions: Map<String, Value> = all().skip(1).map(|d| (d.title.to_owned(), definition(d))).collect();
    let mut root = all().next().map_or(Value::Null, definition);
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["$id"] = "urn:sluice:document:1".into();
    root["title"] = "Sluice gateway document".into();
    root["minProperties"] = 1.into();
    root["$defs"] = Value::Object(definitions);
    root
}

fn definition(definition: &Definition) -> Value {
    let built = || definition.fields.iter().filter(|field| field.level().is_some());
    let properties: Map<String, Value> = built().map(|field| (field.name.to_owned(), property(field))).collect();
    let required: Vec<&str> = built()
        .filter(|field| matches!(field.preset, Preset::Required))
        .map(|field| field.name)
        .collect();
    let mut map = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        map["required"] = required.into();
    }
    let groups: Vec<Value> = definition.groups.iter().map(group).collect();
    if !groups.is_empty() {
        map["allOf"] = groups.into();
    }
    let mut whole = match &definition.short {
        Some(short) => json!({ "oneOf": [shape(short), map] }),
        None => map,
    };
    whole["description"] = plain(definition.doc).into();
    whole
}

fn group(group: &Group) -> Value {
    let required = |name: &str| json!({ "required": [name] });
    match group {
        Group::One(names) => json!({ "oneOf": names.iter().map(|name| required(name)).collect::<Vec<_>>() }),
        Group::AtMostOne(names) => {
            let pairs = names.iter().enumerate();
            let pairs = pairs.flat_map(|(i, a)| names[i + 1..].iter().map(move |b| json!({ "required": [a, b] })));
            json!({ "not": { "anyOf": pairs.collect::<Vec<_>>() } })
        }
        Group::OneOrAlone(alone, names) => {
            let others: Vec<Value> = names.iter().map(|name| required(name)).collect();
            let mut all = others.clone();
            all.push(json!({ "required": [alone], "not": { "anyOf": others } }));
            json!({ "oneOf": all })
        }
    }
}

fn property(field: &Field) -> Value {
    let mut property = field.shape.as_ref().map_or(json!({}), shape);
    let mut doc = format!("{}.", plain(field.doc));
    match field.preset {
        Preset::Required | Preset::Nothing => {}
        Preset::Value(value) => {
            property["default"] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        }
        Preset::Told(told) => doc.push_str(&format!(" Default: {}.", plain(told))),
    }
    if let Some(level @ 2..) = field.level() {
        doc.push_str(&format!(" Since feature level {level}."));
    }
    property["description"] = doc.into();
    property
}

fn shape(of: &Shape) -> Value {
    match of {
        Shape::Text(_) => json!({ "type": "string" }),
        Shape::Filled(_) => json!({ "type": "string", "minLength": 1 }),
        Shape::Pattern(pattern, _) => json!({ "type": "string", "pattern": pattern }),
        Shape::Spelt(_) => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Truth => json!({ "type": "boolean" }),
        Shape::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Numbers(numbers) => json!({ "enum": numbers }),
        Shape::Words(words) => json!({ "enum": words }),
        Shape::Duration => json!({ "type": "string", "pattern": DURATION, "examples": ["300ms", "2s", "1m"] }),
        Shape::Size => json!({ "oneOf": [
            { "type": "string", "pattern": SIZE, "examples": ["512KiB", "1MiB"] },
            { "type": "integer", "minimum": 0 },
        ] }),
        Shape::Share => json!({ "oneOf": [
            { "type": "string", "pattern": SHARE, "examples": ["20%", "0.2"] },
            { "type": "number", "minimum": 0, "maximum": 1 },
        ] }),
        Shape::Address => json!({ "type": "string", "pattern": ADDRESS, "examples": ["10.0.0.1", "10.0.0.0/8"] }),
        Shape::Json => json!({}),
        Shape::List(list) => {
            let mut value = json!({ "type": "array", "items": shape(&list.of) });
            if list.least > 0 {
                value["minItems"] = list.least.into();
            }
            if let Some(most) = list.most {
                value["maxItems"] = most.into();
            }
            if !list.repeats {
                value["uniqueItems"] = true.into();
            }
            value
        }
        Shape::Map(names, of) => {
            let names = match names {
                Names::Parts => json!({ "pattern": NAME, "maxLength": 100 }),
                Names::Headers => json!({ "pattern": TOKEN }),
                Names::Parameters => json!({ "minLength": 1 }),
            };
            json!({ "type": "object", "propertyNames": names, "additionalProperties": shape(of) })
        }
        Shape::Either(shapes) => json!({ "oneOf": shapes.iter().map(shape).collect::<Vec<_>>() }),
        Shape::Defined(title) => json!({ "$ref": format!("#/$defs/{title}") }),
    }
}

/// Markdown without its marks: editors show it as it is.
fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut rest = markdown;
    // `[text](place)` is the text.
    while let Some((before, after)) = rest.split_once('[') {
        let link = after
            .split_once("](")
            .and_then(|(word, end)| Some((word, end.split_once(')')?.1)));
        match link.filter(|(word, _)| !word.contains('[') && !word.is_empty()) {
            Some((word, end)) => {
                text.push_str(before);
                text.push_str(word);
                rest = end;
            }
            None => {
                text.push_str(before);
                text.push('[');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text.replace('`', "").replace("\\*", "*")
}
