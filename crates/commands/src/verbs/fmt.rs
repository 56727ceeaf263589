//! `sluice fmt`.

use crate::arguments::Fmt;
use crate::documents::{self, Text};
use crate::exit::Exit;
use crate::terminal::Terminal;
use serde_json::{Value, json};
use sluice_document::{Layout, layout};
use std::io::Write as _;
use std::path::Path;

const STDIN: &str = "stdin";

pub(crate) fn fmt(args: &Fmt, terminal: &Terminal) -> Exit {
    let texts = match documents::read(&args.documents) {
        Ok(texts) => texts,
        Err(why) => return failed(terminal, "unreadable", &why, Exit::Refused),
    };
    let in_place = args.check || args.write;
    if texts.len() > 1 && !in_place {
        let why = "several files cannot be printed as one: add -w to rewrite them, or --check";
        return failed(terminal, "usage", why, Exit::Usage);
    }
    if args.write && texts.iter().any(|text| text.name == STDIN) {
        return failed(
            terminal,
            "usage",
            "stdin cannot be rewritten: leave -w out",
            Exit::Usage,
        );
    }
    let mut exit = Exit::Done;
    let mut told = Vec::new();
    for text in &texts {
        let (ok, entry) = one(args, terminal, text);
        if !ok {
            exit = Exit::Refused;
        }
        told.push(entry);
    }
    if terminal.json {
        terminal.object(&json!({"formatted": exit == Exit::Done, "files": told}));
    }
    exit
}

/// Lays one out; whether that is as it was asked for, and what there is to tell.
fn one(args: &Fmt, terminal: &Terminal, text: &Text) -> (bool, Value) {
    let Layout { text: laid_out, lost } = match layout(&text.text, text.format, Some(&text.name)) {
        Ok(layout) => layout,
        Err(errors) => {
            documents::tell(terminal, &errors, std::slice::from_ref(text));
            return (false, json!({"file": text.name, "errors": errors}));
        }
    };
    let is_formatted = laid_out == text.text;
    let mut entry = json!({"file": text.name, "was_formatted": is_formatted, "lost": lost});
    if !lost.is_empty() && !args.drop && !is_formatted {
        terminal.say(&format!(
            "error: {}: {} would be lost: leave the file as it is, or add --drop",
            text.name,
            lost.join(" and ")
        ));
        return (false, entry);
    }
    if args.check {
        if !is_formatted {
            terminal.say(&format!("{} is laid out otherwise", text.name));
        }
        return (is_formatted, entry);
    }
    if args.write {
        if !is_formatted {
            if let Err(error) = replace(Path::new(&text.name), &laid_out) {
                terminal.say(&format!("error: cannot write {}: {error}", text.name));
                return (false, entry);
            }
            terminal.say(&format!("{} was rewritten", text.name));
        }
        entry["written"] = json!(!is_formatted);
    } else if terminal.json {
        entry["text"] = json!(laid_out);
    } else {
        terminal.out(&laid_out);
    }
    (true, entry)
}

/// In one step: whoever reads the file meanwhile reads the old text or the new one. A link stays one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = folder.join(format!(".{name}.{:08x}", fastrand::u32(..)));
    let permissions = std::fs::metadata(&path)?.permissions();
    let written = (|| {
        let mut file = std::fs::File::create_new(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)
    })();
    if written.is_err() {
        // What was begun is of no use to anybody.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn failed(terminal: &Terminal, code: &str, why: &str, exit: Exit) -> Exit {
    if terminal.json {
        terminal.object(&json!({"code": code, "detail": why}));
    }
    terminal.say(&format!("error: {why}"));
    exit
}
