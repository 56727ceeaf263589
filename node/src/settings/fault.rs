//! What can be wrong with settings. Each message says what to do.

use super::registry::{self, Kind, Setting};
use std::fmt;
use std::path::PathBuf;

/// Where a value was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the command line, by this flag (without its dashes).
    Flag(String),
    /// In the environment, by this variable.
    Variable(String),
    /// In the settings file.
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u32,
    },
    /// Nowhere.
    Default,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}: {why}; check the path that --config or SLUICE_CONFIG gives", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The settings file is not TOML.
    #[error("{}:{line}: not TOML: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u32,
        /// What the parser says.
        why: String,
    },
    /// No setting has this name.
    #[error("{origin}: there is no setting {key:?}{}; `sluice node --help` lists all", hint(*nearest))]
    Unknown {
        /// The name, with dots.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The known name most like it.
        nearest: Option<&'static str>,
    },
    /// A setting of a feature that is not built yet.
    #[error("{origin}: {key} is not built yet ({feature}); leave it out")]
    NotBuilt {
        /// The setting.
        key: &'static str,
        /// Where it was said.
        origin: Origin,
        /// The feature.
        feature: &'static str,
    },
    /// The file has another type of value there.
    #[error("{origin}: {key} is {found}, expected {}", expected(*kind))]
    WrongType {
        /// The setting.
        key: &'static str,
        /// Where it stands.
        origin: Origin,
        /// What stands there.
        found: &'static str,
        /// What should.
        kind: Kind,
    },
    /// A secret in the file.
    #[error(
        "{origin}: a secret has no place in this file: put it into a file of its own and name that by {key}_file, or set {variable}"
    )]
    SecretInFile {
        /// The setting.
        key: &'static str,
        /// Where it stands.
        origin: Origin,
        /// The variable that may hold it.
        variable: String,
    },
    /// A value that cannot be.
    #[error("{}: {why}", place(origin, key))]
    Invalid {
        /// The setting.
        key: &'static str,
        /// Where it was said.
        origin: Origin,
        /// What is wrong and what to write.
        why: String,
    },
    /// A setting that is needed here and was not given.
    #[error("{key} is needed: {why}; set {} or --{}", .key.variable_name(), .key.flag())]
    Missing {
        /// The setting.
        key: Name,
        /// Why it is needed and what to set.
        why: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Clash(String),
}

/// A setting's key, for messages that need its flag and variable too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub &'static str);

/// Everything that is wrong, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

// === impl ===

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |known| format!(", did you mean {known:?}?"))
}

fn place(origin: &Origin, key: &str) -> String {
    match origin {
        Origin::Flag(_) => origin.to_string(),
        _ => format!("{origin}: {key}"),
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Path | Kind::Address => "a text in quotes",
        Kind::Switch => "true or false",
        Kind::Count => "a whole number",
        Kind::Size => "a size in quotes, such as \"8KiB\"",
        Kind::Duration => "a duration in quotes, such as \"5s\"",
        Kind::List => "a list of texts, such as [\"a\", \"b\"]",
        Kind::Pairs => "a table of texts, such as { a = \"b\" }",
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Name {
    fn setting(self) -> &'static Setting {
        registry::find(self.0).unwrap_or_else(|| unreachable!("{} is not registered", self.0))
    }

    fn variable_name(self) -> String {
        self.setting().variable_name()
    }

    fn flag(self) -> String {
        self.setting().flag()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}
