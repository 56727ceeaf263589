//! Where settings come from: flags, the environment, a file; and which one wins.

use super::fault::{Fault, Origin};
use super::registry::{self, Kind, Setting};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// All that settings are made from, as values: nothing is read behind its back.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Flags by the setting's key, in the order given; a list may be given in several, of anything else the last counts.
    pub flags: Vec<(String, String)>,
    /// The environment. What does not begin with `SLUICE_` is left alone.
    pub environment: Vec<(String, String)>,
    /// The settings file, if one is named.
    pub file: Option<File>,
    /// The machine's name, for `name`.
    pub host_name: Option<String>,
    /// Cores that the process may use, for `workers`.
    pub cores: NonZeroUsize,
}

/// A settings file that was read.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name, for messages.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// What was said for one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// The values of a list, the `name=value` of pairs, or one value.
    pub(super) items: Vec<String>,
    pub(super) origin: Origin,
}

/// The settings that were given, and what to tell about the rest.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) given: BTreeMap<&'static str, Given>,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<String>,
}

/// Variables that are not settings of a node.
const OTHER_VARIABLES: &[&str] = &["SLUICE_ADMIN", "SLUICE_CONFIG", "SLUICE_LOG", "SLUICE_LOG_FORM"];

impl Sources {
    /// Sources with these flags alone, for nodes that are started from within a process.
    pub fn of<K: Into<String>, V: Into<String>>(flags: impl IntoIterator<Item = (K, V)>) -> Self {
        Self {
            flags: flags
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            environment: Vec::new(),
            file: None,
            host_name: None,
            cores: NonZeroUsize::MIN,
        }
    }

    /// Puts the sources over each other: flag over variable over file.
    pub(super) fn gather(&self) -> Gathered {
        let mut all = Gathered::default();
        if let Some(file) = &self.file {
            all.file(file);
        }
        for (name, value) in &self.environment {
            all.variable(name, value);
        }
        all.flags(&self.flags);
        all
    }
}

impl Gathered {
    fn give(&mut self, setting: &'static Setting, items: Vec<String>, origin: Origin) {
        self.given.insert(setting.key, Given { items, origin });
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        let mut seen: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (key, value) in flags {
            match registry::find(key) {
                Some(setting) => {
                    let so_far = seen.entry(setting.key).or_default();
                    // A list grows; of anything else the last word counts, so that scripts can append theirs.
                    if !matches!(setting.kind, Kind::List | Kind::Pairs) {
                        so_far.clear();
                    }
                    so_far.extend(items(setting.kind, value));
                }
                None => self.faults.push(Fault::Unknown {
                    key: key.clone(),
                    origin: Origin::Flag(key.replace(['.', '_'], "-")),
                    nearest: registry::nearest(key),
                }),
            }
        }
        for (key, items) in seen {
            if let Some(setting) = registry::find(key) {
                self.give(setting, items, Origin::Flag(setting.flag()));
            }
        }
    }

    fn variable(&mut self, name: &str, value: &str) {
        let Some(rest) = name.strip_prefix("SLUICE_") else {
            return;
        };
        if OTHER_VARIABLES.contains(&name) {
            return;
        }
        if let Some(setting) = registry::all().find(|setting| setting.variable_name() == name) {
            // An empty variable is how many tools say "not set".
            if !value.is_empty() {
                self.give(setting, items(setting.kind, value), Origin::Variable(name.to_owned()));
            }
            return;
        }
        // Kubernetes puts such variables into every container beside a service called sluice.
        if rest.starts_with("SERVICE_") || rest.starts_with("PORT") {
            return;
        }
        let nearest = registry::all()
            .map(|setting| {
                (
                    strsim::damerau_levenshtein(&setting.variable_name(), name),
                    setting.variable_name(),
                )
            })
            .min()
            .filter(|(distance, _)| *distance <= 4)
            .map_or_else(String::new, |(_, known)| format!(", did you mean {known}?"));
        self.warnings
            .push(format!("the variable {name} is no setting and does nothing{nearest}"));
    }

    fn file(&mut self, file: &File) {
        match DeTable::parse(&file.text) {
            Ok(table) => self.table(file, "", table.get_ref()),
            Err(error) => self.faults.push(Fault::Syntax {
                path: file.path.clone(),
                line: line(&file.text, error.span().map_or(0, |span| span.start)),
                why: error.message().to_owned(),
            }),
        }
    }

    fn table(&mut self, file: &File, above: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = if above.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{above}.{}", name.get_ref())
            };
            let origin = Origin::File {
                path: file.path.clone(),
                line: line(&file.text, name.span().start),
            };
            // `redis = "…"` is the short form, `[redis]` the table.
            let group = registry::all().any(|setting| setting.key.starts_with(&format!("{key}.")));
            match (value.get_ref(), registry::find(&key)) {
                (DeValue::Table(inner), _) if group => self.table(file, &key, inner),
                (_, Some(setting)) if setting.secret() => self.faults.push(Fault::SecretInFile {
                    key: setting.key,
                    origin,
                    variable: setting.variable_name(),
                }),
                (value, Some(setting)) => match from_toml(setting.kind, value) {
                    Ok(items) => self.give(setting, items, origin),
                    Err(found) => self.faults.push(Fault::WrongType {
                        key: setting.key,
                        origin,
                        found,
                        kind: setting.kind,
                    }),
                },
                (_, None) => self.faults.push(Fault::Unknown {
                    nearest: registry::nearest(&key),
                    key,
                    origin,
                }),
            }
        }
    }
}

/// Reads the settings file.
///
/// # Errors
/// [`Fault::FileUnreadable`].
pub fn read_file(path: &Path) -> Result<File, Fault> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(File {
            path: path.to_owned(),
            text,
        }),
        Err(error) => Err(Fault::FileUnreadable {
            path: path.to_owned(),
            why: error.to_string(),
        }),
    }
}

/// The values in one flag or variable.
fn items(kind: Kind, value: &str) -> Vec<String> {
    match kind {
        Kind::List | Kind::Pairs => {
            let parts = value.split(',').map(|item| item.trim().to_owned());
            parts.filter(|item| !item.is_empty()).collect()
        }
        _ => vec![value.to_owned()],
    }
}

/// The same values out of the file, or what stands there instead.
fn from_toml(kind: Kind, value: &DeValue<'_>) -> Result<Vec<String>, &'static str> {
    match (kind, value) {
        (Kind::List, DeValue::Array(array)) => {
            let texts = array.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                other => Err(called(other)),
            });
            texts.collect()
        }
        (Kind::Pairs, DeValue::Table(table)) => {
            let pairs = table.iter().map(|(name, value)| match value.get_ref() {
                DeValue::String(text) => Ok(format!("{}={text}", name.get_ref())),
                other => Err(called(other)),
            });
            pairs.collect()
        }
        (Kind::Switch, DeValue::Boolean(on)) => Ok(vec![on.to_string()]),
        (Kind::Count | Kind::Size, DeValue::Integer(number)) if number.radix() == 10 => {
            Ok(vec![number.as_str().to_owned()])
        }
        (Kind::Text | Kind::Path | Kind::Address | Kind::Size | Kind::Duration, DeValue::String(text)) => {
            Ok(vec![text.to_string()])
        }
        (_, other) => Err(called(other)),
    }
}

fn called(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn line(text: &str, offset: usize) -> u32 {
    let before = text
        .as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count();
    u32::try_from(before).map_or(u32::MAX, |before| before.saturating_add(1))
}
