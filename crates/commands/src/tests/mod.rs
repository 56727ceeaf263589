//! The commands against a server that answers as a test says, over real sockets.

#![allow(clippy::unwrap_used)]

mod changes;
mod cluster;
mod double;
mod failures;
mod shared;
mod split;
mod top;
mod trials;
mod words;

use crate::arguments::Line;
use crate::client::Environment;
use crate::exit::Exit;
use crate::run::{reached, with_client};
use crate::terminal::Terminal;
use clap::Parser as _;
use double::Double;
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What a command did.
struct Done {
    exit: Exit,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} / {}", self.out, self.err))
    }
}

#[derive(Clone, Default)]
struct Pen(Arc<Mutex<Vec<u8>>>);

impl Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Pen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn run_at(admin: &str, words: &[&str]) -> Done {
    let line = Line::try_parse_from(std::iter::once(&"sluice").chain(words)).unwrap_or_else(|error| panic!("{error}"));
    let environment = Environment {
        admin: Some(admin.to_owned()),
        token: Some("a-token".to_owned()),
        notes: None,
    };
    let json = words.contains(&"--json");
    let (out, err) = (Pen::default(), Pen::default());
    let terminal = Terminal::to(json, Box::new(out.clone()), Box::new(err.clone()));
    let reach = reached(&line).unwrap_or_default();
    let exit = with_client(&line.verb, &reach, &environment, &terminal);
    Done {
        exit,
        out: out.text(),
        err: err.text(),
    }
}

fn run(double: &Double, words: &[&str]) -> Done {
    run_at(&double.url(), words)
}

const ORDERS: &str = "\
upstreams:
  orders:
    targets: [\"http://127.0.0.1:9101\"]
gateways:
  web:
    hosts: [\"*\"]
    routes:
      - path: /orders
        upstream: orders
";

/// A file with this text, in a folder of its own.
fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}
