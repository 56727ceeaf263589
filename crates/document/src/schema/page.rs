//! docs/reference.md: every field with its values, its default and its level.

use crate::decode::fields::{DEFINITIONS, Definition, Field, Group, Names, Preset, Shape};
use std::fmt::Write as _;

const HEAD: &str = "\
# Reference of the gateway document

<!-- Generated from the registry of fields, crates/document/src/decode/fields; a test holds this page against it. -->

Every map of a document with its fields: how a value is written, what stands where it is left out, and from which feature
level of the cluster it can be used (`sluice upgrade status` tells that). [document.md](document.md) says how values are
written and what they mean together. The same as a JSON Schema, for editors: [schema/sluice.schema.json](schema/sluice.schema.json),
or `sluice schema`.
";

/// The reference as a page in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for definition in DEFINITIONS.iter().copied().flatten() {
        section(&mut page, definition);
    }
    page
}

fn section(page: &mut String, definition: &Definition) {
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {}\n\n", definition.title);
    if !definition.at.is_empty() {
        let places: Vec<String> = definition
            .at
            .split(", ")
            .map(|place| match place.split_once(' ') {
                Some(_) => place.to_owned(),
                None => format!("`{place}`"),
            })
            .collect();
        let _ = writeln!(page, "At {}. {}", places.join(", "), definition.doc);
    } else {
        let _ = writeln!(page, "{}", definition.doc);
    }
    if let Some(short) = &definition.short {
        let _ = writeln!(page, "\nIn place of the map: {}.", values(short));
    }
    for group in definition.groups {
        let _ = writeln!(page, "\n{}", told(group));
    }
    page.push_str("\n| field | values | default | level | |\n|---|---|---|---|---|\n");
    for field in definition.fields {
        if let (Some(level), Some(shape)) = (field.level(), &field.shape) {
            let values = values(shape);
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {level} | {} |",
                field.name,
                cell(&values),
                cell(&preset(field)),
                cell(field.doc)
            );
        }
    }
    let planned: Vec<String> = definition
        .fields
        .iter()
        .filter(|field| field.level().is_none())
        .map(|field| format!("`{}`", field.name))
        .collect();
    if !planned.is_empty() {
        let _ = writeln!(page, "\nNot built yet, and refused: {}.", planned.join(", "));
    }
}

fn told(group: &Group) -> String {
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    match group {
        Group::One(names) => format!("Exactly one of {} is given.", named(names)),
        Group::AtMostOne(names) => format!("At most one of {} is given.", named(names)),
        Group::OneOrAlone(alone, names) => {
            format!(
                "One of {} is given, or `{alone}` alone around another one.",
                named(names)
            )
        }
    }
}

fn preset(field: &Field) -> String {
    match field.preset {
        Preset::Required => "required".to_owned(),
        Preset::Nothing => "–".to_owned(),
        Preset::Value(value) => format!("`{}`", value.replace('"', "")),
        Preset::Told(told) => told.to_owned(),
    }
}

/// A shape in words.
fn values(shape: &Shape) -> String {
    let words = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    match shape {
        Shape::Text(told) | Shape::Filled(told) | Shape::Pattern(_, told) | Shape::Spelt(told) => (*told).to_owned(),
        Shape::Truth => "`true`, `false`".to_owned(),
        Shape::Integer(least, most) if least == most => least.to_string(),
        Shape::Integer(least, most) if *least == i64::from(i32::MIN) && *most == i64::from(i32::MAX) => {
            "a whole number of 32 bits".to_owned()
        }
        Shape::Integer(least, most) => format!("{least} to {most}"),
        Shape::Numbers(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
            numbers.join(", ")
        }
        Shape::Words(all) => words(all),
        Shape::Duration => "[duration](document.md#how-values-are-written)".to_owned(),
        Shape::Size => "[size](document.md#how-values-are-written)".to_owned(),
        Shape::Share => "[share](document.md#how-values-are-written)".to_owned(),
        Shape::Address => "[address](document.md#how-values-are-written)".to_owned(),
        Shape::Json => "any JSON".to_owned(),
        Shape::List(list) => {
            let bounds = match (list.least, list.most) {
                (0, None) => String::new(),
                (0, Some(most)) => format!(" of at most {most}"),
                (least, None) => format!(" of at least {least}"),
                (least, Some(most)) => format!(" of {least} to {most}"),
            };
            format!("list{bounds}: {}", values(&list.of))
        }
        Shape::Map(names, of) => {
            let names = match names {
                Names::Parts => "name",
                Names::Headers => "header",
                Names::Parameters => "name",
            };
            format!("{names} → {}", values(of))
        }
        Shape::Either(shapes) => {
            let all: Vec<String> = shapes.iter().map(values).collect();
            all.join(", or ")
        }
        Shape::Defined(title) => format!("[{title}](#{})", title.to_lowercase()),
    }
}

/// A text as it may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
