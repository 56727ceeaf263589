//! Documents of the operator: files, folders of files, or stdin.

use crate::exit::Exit;
use crate::terminal::Terminal;
use serde_json::json;
use sluice_document::{Diagnostic, Format, Parsed, Severity};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A little more than a document may have, so that its own check says so.
const MOST: u64 = sluice_document::MAX_BYTES as u64 + 1;

/// One text of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) format: Format,
}

/// Texts that were read, and what they say.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) texts: Vec<Text>,
    pub(crate) parsed: Parsed,
}

/// Reads the texts of a document.
///
/// # Errors
/// A sentence for people: what cannot be read.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Text>, String> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin()
                .take(MOST)
                .read_to_end(&mut bytes)
                .map_err(|error| format!("cannot read stdin: {error}"))?;
            // JSON is YAML too.
            texts.push(text("stdin".to_owned(), bytes, Format::Yaml)?);
        } else if path.is_dir() {
            let before = texts.len();
            folder(path, &mut texts)?;
            if texts.len() == before {
                return Err(format!(
                    "{} holds no file that ends in .yaml, .yml, .json or .toml",
                    path.display()
                ));
            }
        } else {
            texts.push(file(path)?);
        }
    }
    Ok(texts)
}

/// All documents below a folder, in the order of their names; hidden ones and other files are not for us.
fn folder(path: &Path, texts: &mut Vec<Text>) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let entries: Result<Vec<_>, _> = std::fs::read_dir(path).map_err(fail)?.collect();
    let mut paths: Vec<_> = entries.map_err(fail)?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            folder(&path, texts)?;
        } else if Format::from_file_name(&name).is_some() {
            texts.push(file(&path)?);
        }
    }
    Ok(())
}

fn file(path: &Path) -> Result<Text, String> {
    let name = path.display().to_string();
    let fail = |error: std::io::Error| format!("cannot read {name}: {error}");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(MOST).read_to_end(&mut bytes).map_err(fail)?;
    let format = Format::from_file_name(&name).unwrap_or(Format::Yaml);
    text(name, bytes, format)
}

fn text(name: String, bytes: Vec<u8>, format: Format) -> Result<Text, String> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Text { name, text, format }),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(format!("{name}:{line}: not UTF-8: save the document as UTF-8"))
        }
    }
}

/// Reads and checks, and tells what is wrong.
///
/// # Errors
/// How the command ends; everything is said by then.
pub(crate) fn declared(terminal: &Terminal, paths: &[PathBuf]) -> Result<Declared, Exit> {
    let texts = match read(paths) {
        Ok(texts) => texts,
        Err(why) => {
            if terminal.json {
                terminal.object(&json!({"code": "unreadable", "detail": why}));
            }
            terminal.say(&format!("error: {why}"));
            return Err(Exit::Refused);
        }
    };
    match parse(&texts) {
        Ok(parsed) => {
            tell(terminal, &parsed.warnings, &texts);
            Ok(Declared { texts, parsed })
        }
        Err(found) => {
            tell(terminal, &found, &texts);
            if terminal.json {
                let (errors, warnings): (Vec<_>, Vec<_>) =
                    found.into_iter().partition(|one| one.severity == Severity::Error);
                terminal.object(&json!({
                    "code": "invalid_config",
                    "valid": false,
                    "detail": "the document is not valid",
                    "errors": errors,
                    "warnings": warnings,
                }));
            }
            Err(Exit::Refused)
        }
    }
}

fn parse(texts: &[Text]) -> Result<Parsed, Vec<Diagnostic>> {
    match texts {
        [one] => sluice_document::parse(&one.text, one.format, Some(&one.name)),
        several => {
            let files: Vec<_> = several
                .iter()
                .map(|text| (&text.name, &text.text, text.format))
                .collect();
            sluice_document::parse_files(&files)
        }
    }
}

/// Shows diagnostics with the lines that they are about, where those lines are at hand.
pub(crate) fn tell(terminal: &Terminal, found: &[Diagnostic], texts: &[Text]) {
    if found.is_empty() {
        return;
    }
    let sources: Vec<_> = texts.iter().map(|text| (&text.name, &text.text)).collect();
    terminal.say(&sluice_document::render(found, &sources, terminal.color_err));
}
