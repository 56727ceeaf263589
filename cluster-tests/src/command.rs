//! The command line, run as people and scripts run it.

use crate::node::{ADMIN_TOKEN, CLUSTER_TOKEN};
use crate::process::Start;
use crate::program;
use crate::world::World;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// A command to be run.
#[derive(Debug)]
pub struct Command {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: PathBuf,
}

/// What it did.
#[derive(Debug, Clone)]
pub struct Done {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

impl Command {
    /// `sluice …` with these arguments, in the world's directory.
    pub fn new<S: AsRef<str>>(world: &World, arguments: &[S]) -> Self {
        Self {
            arguments: arguments.iter().map(|argument| argument.as_ref().to_owned()).collect(),
            environment: Vec::new(),
            directory: world.directory().to_owned(),
        }
    }

    /// Aims it at a node's admin API, with the operator's token.
    pub fn at(self, admin: SocketAddr) -> Self {
        self.env("SLUICE_ADMIN", &format!("http://{admin}"))
            .env("SLUICE_ADMIN_TOKEN", ADMIN_TOKEN)
    }

    /// Shows the cluster token too.
    pub fn with_cluster_token(self) -> Self {
        self.env("SLUICE_CLUSTER_TOKEN", CLUSTER_TOKEN)
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it to its end, for at most two minutes.
    pub async fn run(self) -> Done {
        let line = format!("sluice {}", self.arguments.join(" "));
        let mut command = std::process::Command::new(program::sluice());
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        for name in [
            "SLUICE_ADMIN",
            "SLUICE_ADMIN_TOKEN",
            "SLUICE_CLUSTER_TOKEN",
            "SLUICE_DATA",
        ] {
            command.env_remove(name);
        }
        command.envs(self.environment);
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = tokio::time::timeout(Duration::from_secs(120), run)
            .await
            .unwrap_or_else(|_| panic!("`{line}` does not end"))
            .expect("no panic")
            .unwrap_or_else(|error| panic!("`{line}`: {error}"));
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it as a process that goes on, its words kept in `NAME.log`.
    pub fn start(self, world: &World, name: &str) -> crate::process::Process {
        let mut start = Start::new(name, program::sluice(), world.path(&format!("{name}.log"))).args(self.arguments);
        for (name, value) in &self.environment {
            start = start.env(name, value);
        }
        start
            .directory(self.directory)
            .start()
            .expect("the sluice binary starts")
    }
}

impl Done {
    /// Panics with all that it said unless the exit code is this.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// The one object on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {}\n{}", self.out, self.err))
    }

    /// Both streams, for tests that look for words.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}
